"""Commands, run in this process."""

import contextlib
import io

import pytest

from mne_hmm.cli.main import main


def run(*argv):
    """Run a command that works; give what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        assert main([*map(str, argv)]) == 0
    return text.getvalue()


def fails(capsys, *argv, code=1):
    """Run a command that ends with an error of one line; give the line."""
    capsys.readouterr()
    if code == 2:
        with pytest.raises(SystemExit, match=r"^2$"):
            main([*map(str, argv)])
        return capsys.readouterr().err.splitlines()[-1]
    assert main([*map(str, argv)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("mne-hmm: ")]
    assert err.splitlines()[-1] == lines[-1]
    return lines[-1]
