"""Real EEG: one person, eyes open and closed, and twelve runs of tasks."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mne_hmm


class Case(NamedTuple):
    """Runs of the person, and what is fitted to them."""

    runs: tuple[int, ...]
    n_components: int | str
    n_states: int


# The two runs of rest take seconds, and all of them a minute and a half.
REST, ALL = Case((1, 2), 20, 4), Case(tuple(range(1, 15)), "auto", 6)
CASES = [pytest.param(REST, id="rest"), pytest.param(ALL, id="all", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def runs(eegbci, case):
    """Runs of the person. Eyes are open in the first and closed in the second."""
    return eegbci(*case.runs, preload=True)


@pytest.fixture(scope="module")
def model(runs, case):
    """States that all these runs share."""
    preparation = mne_hmm.Preparation(n_components=case.n_components)
    kwargs = {"preparation": preparation, "n_init": 1, "refine": False, "random_state": 0}
    with pytest.warns(RuntimeWarning, match="without any signal"):  # files end in zeros
        return mne_hmm.fit_hmm(runs, case.n_states, **kwargs)


def test_eyes_closed_has_a_state_of_its_own(runs, model):
    """Some state is on three times as much with eyes closed as with eyes open."""
    with pytest.warns(RuntimeWarning, match="without any signal"):
        eyes_open, eyes_closed = model.predict(runs[:2])
    occupancy = [s.statistics().fractional_occupancy for s in (eyes_open, eyes_closed)]
    assert np.max(occupancy[1] / occupancy[0]) >= 3.0
    assert_allclose(np.sum(occupancy, axis=1), 1, rtol=1e-12)


def test_the_eyes_closed_state_is_alpha(runs, model):
    """The state that is on most with eyes closed, over eyes open, peaks between 8 and 13 Hz."""
    with pytest.warns(RuntimeWarning, match="without any signal"):
        states = model.predict(runs[:2])
    eyes_open, eyes_closed = (s.statistics().fractional_occupancy for s in states)
    state = int(np.argmax(eyes_closed / eyes_open))
    # As it was recorded it drifts, which is strongest at the lowest frequencies.
    for raw, fmin in ((runs[1], 3.0), (runs[1].copy().filter(1.0, None), 1.0)):
        spectra = mne_hmm.compute_state_spectra(raw, states[1])
        inside = spectra.band(fmin, 45)
        power = spectra.psd[:, :, inside].mean(axis=1)
        assert 8 <= spectra.freqs[inside][power[state].argmax()] <= 13
        share = spectra.power(8, 13).mean(axis=1) / power.mean(axis=1)
        assert share.argmax() == state


def test_free_energy_never_rises(model):
    """Exact EM on real data."""
    course = model.history_["free_energy"]
    # Densities are computed in float32: 1e-7 of the value is rounding.
    assert np.diff(course).max() <= 1e-7 * np.abs(course).max()
    assert model.converged_


def test_annotations_go_onto_the_recordings(tmp_path, runs, model):
    """They add to those of the file, and survive saving."""
    import mne

    raw = runs[1].copy()
    n_own = len(raw.annotations)
    raw.set_annotations(raw.annotations + model.annotations_[1])
    assert len(raw.annotations) == n_own + len(model.annotations_[1])
    model.save(tmp_path / "s01-hmm.h5")
    hmm = mne_hmm.read_hmm(tmp_path / "s01-hmm.h5")
    assert hmm.annotations_[1] == model.annotations_[1]
    raw.save(tmp_path / "closed_raw.fif")
    again = mne.io.read_raw_fif(tmp_path / "closed_raw.fif")
    assert again.annotations.count() == raw.annotations.count()
    # Each recording's own date, and nothing beyond the zeros it ends in.
    last = model.annotations_[1].onset[-1] + model.annotations_[1].duration[-1]
    assert last <= (raw.n_times - 127) / raw.info["sfreq"]
    assert model.annotations_[1].orig_time == raw.info["meas_date"]
