"""What a report of a fault needs."""

import io
from importlib.metadata import version

import mne_hmm


def test_sys_info():
    """Our own versions first, then what MNE-Python says."""
    file = io.StringIO()
    mne_hmm.sys_info(file)
    ours, _, theirs = file.getvalue().partition("\n\n")
    lines = dict(line.split(maxsplit=1) for line in ours.splitlines())
    assert lines["mne-hmm"] == version("mne-hmm")
    assert lines["tensorflow"] == version("tensorflow")
    assert theirs.startswith("Platform")
    assert version("mne") in theirs


def test_sys_info_goes_to_the_standard_output(capsys):
    """As MNE-Python's does."""
    mne_hmm.sys_info(dependencies="developer")
    assert capsys.readouterr().out.startswith("mne-hmm")
