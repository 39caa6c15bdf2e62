"""What the tests share."""

import logging
import os
import sys
from pathlib import Path

import mne
import numpy as np
import pytest

import mne_hmm


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
def reference(test_data):
    """Load one of the reference arrays' files, which lie beside the test data."""
    folder = test_data.parent / "reference"

    def load(name):
        fname = folder / f"{name}.npz"
        if not fname.is_file():
            pytest.skip(f"there is no {name}.npz beside the test data")
        with np.load(fname) as arrays:
            return dict(arrays)

    return load


@pytest.fixture(scope="session")
def eegbci(test_data):
    """Read runs of the first person of the EEG motor imagery data, fresh for every call."""

    def read(*runs, preload=False):
        fnames = mne.datasets.eegbci.load_data(1, runs, path=test_data, update_path=False)
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
