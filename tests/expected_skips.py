"""Which tests may be skipped here. Where all others are to run, another skip is a failure.

The hooks below do nothing unless the environment variable ``MNE_HMM_NO_UNEXPECTED_SKIPS`` is ``1``,
as `.ci/run` and the workflows set it.
"""

import os
import re
import sys
from collections.abc import Generator, Mapping

import pytest

VARIABLE = "MNE_HMM_NO_UNEXPECTED_SKIPS"


def expected_reasons(environ: Mapping[str, str], platform: str) -> list[str]:
    """Patterns of the reasons for which tests may be skipped."""
    reasons = [
        r"^only root can ",
        r"^no small disk can be mounted here",
        r"^root cannot be kept from writing here",
        r"^there is no Chromium",
    ]
    has_data = environ.get("MNE_HMM_TEST_DATA")
    if not has_data:
        reasons.append(r"^MNE_HMM_TEST_DATA does not say where the test data are")
    if not has_data and not environ.get("MNE_DATASETS_EEGBCI_PATH"):
        reasons.append(r"^neither MNE_HMM_TEST_DATA nor MNE_DATASETS_EEGBCI_PATH")
    if not environ.get("MNE_HMM_OSL_PYTHON"):
        reasons.append(r"^MNE_HMM_OSL_PYTHON does not name a Python")
    if platform != "linux":
        reasons += [r"^(reads|asks) /proc", r"^needs the C library of Linux"]
    if platform == "win32":
        reasons += [r"^needs (SIGKILL|SIGINT|a shell|named pipes)", r"^folders have other rights"]
    return reasons


def is_expected(
    reason: str, environ: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> bool:
    """Whether a test may be skipped for this reason, in this environment."""
    reason = reason.removeprefix("Skipped: ")
    return any(re.search(pattern, reason) for pattern in expected_reasons(environ, platform))


def fail_unexpected_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn the report of a skip that is not expected into that of a failure."""
    if (
        os.environ.get(VARIABLE) != "1"
        or report.outcome != "skipped"
        or hasattr(report, "wasxfail")
    ):
        return
    fname, line, reason = report.longrepr
    if not is_expected(reason):
        report.outcome = "failed"
        report.longrepr = f"{fname}:{line}: {VARIABLE}=1, and this skip is not expected: {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Check the skips of tests and fixtures."""
    report = yield
    fail_unexpected_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Check the skips of whole modules."""
    report = yield
    fail_unexpected_skip(report)
    return report
