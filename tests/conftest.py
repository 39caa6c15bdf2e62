"""What the tests share."""

import logging
import os
import sys
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Processes side by side share the cores. With a thread for each core, as libraries take them,
    # every one of them would wait for the others. To be said before any of them is loaded.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ.setdefault(name, "1")
# Most of the time of a small fit is compilation, which takes a third less without these. To compile
# as users do, say `XLA_FLAGS= pytest`.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")

import mne
import numpy as np
import pytest
from expected_skips import pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401

import mne_hmm

# So that their assertions say what differs, as those of tests do.
pytest.register_assert_rewrite("helpers", "input_cases", "oracle")

REFERENCE = Path(__file__).parent / "data" / "reference"


@pytest.fixture(autouse=True)
def leaves_nothing_behind():
    """Fail a test that changes MNE's log level or leaves figures open."""
    logger = logging.getLogger("mne")
    level = logger.level
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    figures = [] if pyplot is None else pyplot.get_fignums()
    if figures:
        pyplot.close("all")
    left, logger.level = logger.level, level
    assert left == level, f"the test left MNE's log level at {left}, it was {level}"
    assert not figures, f"the test left figures {figures} open"


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real recordings and atlases; the test is skipped where there is none."""
    folder = os.environ.get("MNE_HMM_TEST_DATA")
    if not folder:
        pytest.skip("MNE_HMM_TEST_DATA does not say where the test data are")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"MNE_HMM_TEST_DATA={folder} is not a folder")
    return path


@pytest.fixture(scope="session")
def reference():
    """Load one of the files of reference arrays."""

    def load(name):
        with np.load(REFERENCE / f"{name}.npz") as arrays:
            return dict(arrays)

    return load


@pytest.fixture(scope="session")
def eegbci():
    """Read runs of the first person of the EEG motor imagery data, fresh for every call."""
    variables = ("MNE_HMM_TEST_DATA", "MNE_DATASETS_EEGBCI_PATH")
    folder = next((os.environ[name] for name in variables if os.environ.get(name)), None)
    if folder is None:
        pytest.skip(f"neither {' nor '.join(variables)} says where the recordings are")

    def read(*runs, preload=False):
        fnames = mne.datasets.eegbci.load_data(1, runs, path=folder, update_path=False)
        return [mne.io.read_raw_edf(fname, preload=preload) for fname in fnames]

    return read


@pytest.fixture(scope="session")
def simulated():
    """A minute of eight parcels with three known states: the recording and the truth."""
    return mne_hmm.simulate_raw(
        3, n_channels=8, duration=60.0, snr=4.0, mean_lifetime=0.4, random_state=3
    )


@pytest.fixture(scope="session")
def fitted(simulated):
    """A small model of it. Shared by many tests: copy before you change it."""
    raw, _ = simulated
    preparation = mne_hmm.Preparation(n_components=12)
    return mne_hmm.fit_hmm(raw, 3, preparation=preparation, n_init=2, refine=False, random_state=3)
