"""Models nobody trained, for tests that need one at once."""

import numpy as np

import mne_hmm
from mne_hmm.model.file import Learned


def small_model(n_states=2, n_channels=3, sfreq=100.0, seed=0):
    """A model of features that are taken as they are; the seed tells models apart."""
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((n_states, n_channels, n_channels))
    sticky = np.full((n_states, n_states), 0.1 / max(n_states - 1, 1))
    np.fill_diagonal(sticky, 0.9 if n_states > 1 else 1.0)
    preparation = mne_hmm.FittedPreparation(
        **mne_hmm.Preparation.as_is().settings,
        ch_names_=tuple(f"channel_{i}" for i in range(n_channels)),
        rank_=n_channels,
        sfreq_=sfreq,
    )
    return mne_hmm.HMM(
        np.full(n_states, 1 / n_states),
        sticky,
        rng.standard_normal((n_states, n_channels)),
        factors @ factors.transpose(0, 2, 1) + np.eye(n_channels),
        preparation,
        learned=Learned(means=True),
        history={"free_energy": np.array([2.0, 1.5]), "starts": [], "moves": []},
        free_energy=1.5,
        versions={"mne_hmm": "0"},
    )


def same_model(first, second):
    """Tell whether two models have the same parameters, to the bit."""
    names = ("initial_probs_", "transition_matrix_", "means_", "covariances_")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)
