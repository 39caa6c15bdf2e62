"""The other side of `test_osl_format`: run by a Python that has osl-dynamics.

``python osl_side.py train FOLDER full|diag`` trains a small model and saves it, and in
``osl.npz`` what osl-dynamics says of it. ``python osl_side.py load FOLDER`` loads a model and
writes such a file from the data in ``data.npy`` there.
"""

import sys
from pathlib import Path

import numpy as np

N_STATES, N_CHANNELS, LENGTH = 3, 4, 200


def train(folder, kind):
    """Train a model with means and full covariances, or with diagonal ones alone."""
    from osl_dynamics.data import Data
    from osl_dynamics.models.hmm import Config, Model

    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((N_STATES, N_CHANNELS, N_CHANNELS))
    labels = np.repeat(rng.integers(0, N_STATES, 100), 40)
    data = rng.standard_normal((len(labels), 1, N_CHANNELS)) @ mixing[labels]
    data = (data[:, 0] + labels[:, None] - 1.0).astype(np.float32)
    covariances = np.swapaxes(mixing, 1, 2) @ mixing + np.eye(N_CHANNELS)
    config = Config(
        n_states=N_STATES,
        n_channels=N_CHANNELS,
        sequence_length=LENGTH,
        batch_size=4,
        learning_rate=0.05,
        n_epochs=2,
        learn_means=kind == "full",
        learn_covariances=True,
        diagonal_covariances=kind == "diag",
        # Arrays in the settings, which osl-dynamics writes as Python objects.
        initial_covariances=covariances,
        covariances_epsilon=1e-3,
    )
    model = Model(config)
    model.fit(Data(data), verbose=0)
    model.save(folder)
    keep(model, folder, data[: 2 * LENGTH])


def keep(model, folder, data):
    """Write what osl-dynamics says of a model, and of data under it."""
    from osl_dynamics.data import Data

    means, covariances = model.get_means_covariances()
    np.savez_compressed(
        Path(folder) / "osl.npz",
        data=data,
        means=means,
        covariances=covariances,
        transition_matrix=model.get_trans_prob(),
        initial_probs=model.get_initial_state_probs(),
        alpha=model.get_alpha(Data(data), concatenate=True, verbose=0).astype(np.float32),
        free=model.get_layer("covs").layers[0].tensor.numpy(),
    )


def load(folder):
    """Load a model as users of osl-dynamics do."""
    from osl_dynamics import models

    keep(models.load(folder), folder, np.load(Path(folder) / "data.npy"))


if __name__ == "__main__":
    {"train": train, "load": load}[sys.argv[1]](*sys.argv[2:])
