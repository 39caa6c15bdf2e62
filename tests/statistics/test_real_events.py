"""Real EEG: one person who opens and closes the left or the right fist on cue, in three runs."""

import mne
import numpy as np
import pytest
from scipy import stats

import mne_hmm

# Over motor cortex, and where the cue is seen.
CHANNELS = [
    "C3..",
    "Cz..",
    "C4..",
    "Fc3.",
    "Fc4.",
    "Pz..",
    "P7..",
    "P8..",
    "Po3.",
    "Po4.",
    "O1..",
    "O2..",
]
HANDS = {"T1": 1, "T2": 2}
WINDOW = {"tmin": -0.5, "tmax": 1.0, "unit": "epoch"}


@pytest.fixture(scope="module")
def raws(eegbci):
    return [raw.pick(CHANNELS) for raw in eegbci(3, 7, 11, preload=True)]


@pytest.fixture(scope="module")
def states(raws):
    """Four states over the runs."""
    hmm = mne_hmm.fit_hmm(
        raws,
        4,
        preparation=mne_hmm.Preparation(n_components=15),
        n_init=1,
        refine=False,
        max_iter=30,
        random_state=0,
        verbose="ERROR",
    )
    return hmm.predict(raws, verbose="ERROR")


@pytest.fixture(scope="module")
def events(raws):
    return [mne.events_from_annotations(raw, HANDS, verbose="ERROR")[0] for raw in raws]


pytestmark = pytest.mark.slow


def test_cues_evoke_states(states, events):
    """The cue is seen, whichever hand it is for."""
    cues = [np.c_[rows[:, :2], np.ones(len(rows), int)] for rows in events]
    test = mne_hmm.cluster_test_state_evoked(
        states, cues, {"cue": 1}, n_permutations=999, random_state=0, **WINDOW
    )
    assert test.evokeds["cue"].nave == sum(map(len, events))
    # 0.022 of 999 permutations was seen: an answer to the cue from 0.16 s on.
    assert test.p_value <= 0.05
    significant = test.p <= 0.05
    assert (test.times[test.starts[significant]] > 0.1).all()
    assert (test.times[test.stops[significant] - 1] < 0.6).all()
    hands = mne_hmm.cluster_test_state_evoked(states, events, HANDS, random_state=0, **WINDOW)
    assert hands.contrast == "T1 - T2"
    assert 0 < hands.p_value <= 1


def test_shuffled_hands_give_uniform_p_values(states, events):
    rng = np.random.default_rng(0)
    p = []
    for _ in range(200):
        shuffled = [rows.copy() for rows in events]
        for rows in shuffled:
            rows[:, 2] = rng.permutation(rows[:, 2])
        test = mne_hmm.cluster_test_state_evoked(
            states, shuffled, HANDS, n_permutations=199, random_state=rng, **WINDOW
        )
        p.append(test.p_value)
    assert stats.kstest(p, "uniform").pvalue > 0.01


@pytest.mark.filterwarnings("ignore:.*left out")
def test_random_moments_give_uniform_p_values(raws, states):
    rng = np.random.default_rng(1)
    p = []
    for _ in range(200):
        moments = [
            np.c_[np.sort(rng.integers(0, raw.n_times, 15)), np.zeros(15, int), np.ones(15, int)]
            for raw in raws
        ]
        test = mne_hmm.cluster_test_state_evoked(
            states, moments, {"moment": 1}, n_permutations=199, random_state=rng, **WINDOW
        )
        p.append(test.p_value)
    assert stats.kstest(p, "uniform").pvalue > 0.01
