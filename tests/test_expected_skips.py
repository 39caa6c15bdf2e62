"""A skip that is not expected is a failure where it is asked for, and only there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from expected_skips import VARIABLE, is_expected

NO_DATA = "Skipped: MNE_HMM_TEST_DATA does not say where the test data are"
FILE = """
import pytest

def test_without_data():
    pytest.skip({reason!r})

@pytest.mark.xfail
def test_that_fails():
    raise AssertionError
"""


@pytest.mark.parametrize(
    ("reason", "environ", "platform", "expected"),
    [
        (NO_DATA, {}, "linux", True),
        (NO_DATA, {"MNE_HMM_TEST_DATA": "data"}, "linux", False),
        ("reads /proc", {}, "darwin", True),
        ("reads /proc", {}, "linux", False),
        ("needs SIGKILL", {}, "win32", True),
        ("needs SIGKILL", {}, "darwin", False),
        ("could not import 'pandas': No module named 'pandas'", {}, "win32", False),
    ],
)
def test_what_is_expected(reason, environ, platform, expected):
    """Data that are not there, and what a system does not have; never a package."""
    assert is_expected(reason, environ, platform) is expected


@pytest.mark.parametrize(
    ("code", "variable", "code_of_exit", "closing"),
    [
        (FILE.format(reason="no reason"), "1", 1, "1 failed, 1 xfailed"),
        (FILE.format(reason="no reason"), "0", 0, "1 skipped, 1 xfailed"),
        (FILE.format(reason="there is no Chromium"), "1", 0, "1 skipped, 1 xfailed"),
        ("import pytest\npytest.importorskip('no_such_package')", "1", 2, "1 error"),
    ],
)
def test_run(tmp_path, code, variable, code_of_exit, closing):
    """Tests and whole modules fail, with the reason; an expected failure is no skip."""
    (tmp_path / "test_it.py").write_text(code, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "expected_skips", "-p", "no:cacheprovider", "."],
        cwd=tmp_path,
        env=os.environ
        | {VARIABLE: variable, "PYTHONPATH": str(Path(__file__).parent)}
        | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # most of the time is theirs
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == code_of_exit, ran.stdout
    assert closing in ran.stdout.splitlines()[-1]
    assert ("is not expected" in ran.stdout) is (code_of_exit > 0)
