"""Models of osl-dynamics, in and out: parameters, and the numbers they are made of there.

Our own, so that osl-dynamics and TensorFlow Probability need not be installed.
"""

from typing import Any

import h5py
import numpy as np

from .._utils.checks import check_number, check_option
from .._utils.files import cannot_be_written, report_write_errors, written_atomically
from .._utils.locks import lock_held
from .._utils.typing import FileName
from ..preparation.settings import FittedPreparation, Preparation
from .file import Learned
from .hmm import HMM
from .osl_folder import (
    CONFIG,
    COVARIANCES,
    INITIAL,
    MARK,
    MEANS,
    TRANSITIONS,
    VERSION,
    WEIGHTS,
    Settings,
    Weights,
    existing_folder,
    import_yaml,
    path_of,
    read_config,
)

# Taken by one process at a time that writes to a folder.
LOCK = ".mne-hmm.lock"

# What osl-dynamics' bijector adds to the diagonal of Cholesky factors.
SHIFT = 1e-5

# What a configuration needs besides the model: how osl-dynamics would go on training it.
# The values are those of its own `train_hmm`.
TRAINING = {
    "sequence_length": 200,
    "batch_size": 256,
    "learning_rate": 0.01,
    "n_epochs": 20,
}


def read_osl_hmm(
    folder: FileName, *, sfreq: float | None = None, preparation: FittedPreparation | None = None
) -> HMM:
    """Read a hidden Markov model of osl-dynamics.

    Nothing in the folder is executed.

    Parameters
    ----------
    folder : path-like
        The folder, written by osl-dynamics' ``model.save``. It holds ``config.yml`` and
        ``model.weights.h5``.
    sfreq : float | None
        Sampling rate of the data in hertz, which the folder does not tell. Needed if there is
        no ``preparation``.
    preparation : FittedPreparation | None
        What makes the features of recordings, as in ``prepared.preparation``. None (default)
        takes features as they are given: arrays, shape (n_features, n_times), that were
        prepared elsewhere.

    Returns
    -------
    hmm : HMM
        The model. Its free energy is NaN and its history empty, since the folder does not hold
        them.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or a file is missing in it.
    ImportError
        If PyYAML is not installed.
    OSError
        If a file is damaged or cut off.
    TypeError
        If ``preparation`` is no FittedPreparation.
    ValueError
        If the model is of another kind, ``config.yml`` lacks a setting, the weights do not fit
        it, ``preparation`` makes another number of features, or there is neither ``sfreq`` nor
        ``preparation``.

    See Also
    --------
    write_osl_hmm : Writes such a folder.
    read_hmm : Reads a model that :meth:`HMM.save` wrote.

    Notes
    -----
    How data were prepared is no part of the model in osl-dynamics. Where data were saved,
    it lies beside them in ``preparation.pkl``, a pickle. Pickles can run any code, so they are
    not opened here, nor is ``history.pkl``. Embedding and principal components of osl-dynamics
    are not those that `prepare` would find: give its prepared data to the model, as in
    ``hmm.predict(array.T, sfreq=250)``.

    osl-dynamics cuts data into sequences and lets every one begin anew, with the initial
    probabilities. Here a good span is one chain, so state probabilities agree away from the
    ends of sequences, and are the same where spans are sequences.
    """
    path = existing_folder(folder)
    # First, so that a mistake in the call is said whatever the folder holds.
    if preparation is None:
        _check_sfreq(sfreq)
    elif not isinstance(preparation, FittedPreparation):
        raise TypeError(
            "preparation must be a fitted one, as in mne_hmm.prepare(recordings).preparation, "
            f"got {preparation!r} of type {type(preparation).__name__}"
        )
    elif sfreq is not None:
        raise ValueError(
            f"sfreq={sfreq!r} cannot be given with a preparation, which has its own "
            f"({preparation.sfreq_:g} Hz); leave sfreq out"
        )
    config, version = read_config(path / CONFIG)
    settings = Settings(config, path / CONFIG)
    settings.check_kind()
    k, d = settings.count("n_states"), settings.count("n_channels")
    if preparation is not None and preparation.n_features_ != d:
        raise ValueError(
            f"preparation makes {preparation.n_features_} features, but the model in {path} has "
            f"{d}; give the preparation of the data it was trained on, or none"
        )
    kind = "diag" if settings.flag("diagonal_covariances", False) else "full"
    learned = Learned(
        means=settings.flag("learn_means"),
        covariances=settings.flag("learn_covariances"),
        transitions=settings.flag("learn_trans_prob", True),
        covariance_type=kind,
    )
    epsilon = settings.epsilon(learned.covariances)
    weights = Weights(path / WEIGHTS)
    n_free = d if kind == "diag" else d * (d + 1) // 2
    return HMM(
        weights.probabilities(INITIAL, (k,)),
        weights.probabilities(TRANSITIONS, (k, k)),
        weights.read(MEANS, (k, d)),
        _from_free_numbers(weights.read(COVARIANCES[kind], (k, n_free)), kind, d, epsilon),
        _prepare_nothing(d, _check_sfreq(sfreq)) if preparation is None else preparation,
        learned=learned,
        versions={"osl_dynamics": version},
    )


def write_osl_hmm(hmm: HMM, folder: FileName, overwrite: bool = False) -> None:
    """Write a model as a folder that osl-dynamics loads.

    Parameters
    ----------
    hmm : HMM
        The model.
    folder : path-like
        The folder; made if it is not there. ``osl_dynamics.models.load(folder)`` reads it.
    overwrite : bool
        Whether to replace a model that is in the folder. Other files there stay.

    Raises
    ------
    FileExistsError
        If there is a model in the folder and ``overwrite`` is False.
    OSError
        If the folder cannot be written to. A model that was there stays.
    ImportError
        If PyYAML is not installed.
    NotADirectoryError
        If ``folder`` is a file.
    TypeError
        If ``hmm`` is no model or ``folder`` no path.
    ValueError
        If the model has one state, or the covariance of a state is not positive definite, or
        so small or near to singular that osl-dynamics cannot hold it.

    See Also
    --------
    read_osl_hmm : Reads such a folder.

    Notes
    -----
    The folder has no place for the preparation, the names of states, history and annotations:
    keep the file of :meth:`HMM.save` as well. osl-dynamics must be given the features, as in
    ``Data(list(prepared.data))``.

    Numbers are rounded to float32, as osl-dynamics has them. ``covariances_epsilon``, which it
    adds to the diagonal of covariances, is 0, so that they stay what they are. Settings of
    training are the defaults of its ``train_hmm``, among them 200 samples per sequence; edit
    ``config.yml`` to change them.
    """
    yaml = import_yaml()
    if not isinstance(hmm, HMM):
        raise TypeError(f"hmm must be an HMM, got {hmm!r} of type {type(hmm).__name__}")
    path = path_of(folder)
    check_option(overwrite, "overwrite", (True, False))
    existing = [name for name in (CONFIG, WEIGHTS) if (path / name).exists()]
    if existing and not overwrite:
        raise FileExistsError(
            f"folder={str(path)!r} holds {' and '.join(existing)} already; pass overwrite=True to "
            "replace the model in it"
        )
    if hmm.n_states < 2:
        raise ValueError(f"a model of osl-dynamics has two states or more, got {hmm.n_states}")
    arrays = {
        MEANS: hmm.means_,
        COVARIANCES[hmm.learned.covariance_type]: _to_free_numbers(hmm),
        INITIAL: hmm.initial_probs_,
        TRANSITIONS: hmm.transition_matrix_,
    }
    text = f"# {MARK} {VERSION}\n# written by mne-hmm\n{yaml.safe_dump(_make_config(hmm))}"
    # In memory, for HDF5 does not always survive a disk that is full.
    with h5py.File("weights", "w", driver="core", backing_store=False) as file:
        for name, array in arrays.items():
            file[name] = np.asarray(array, np.float32)
        file.flush()
        image = file.id.get_file_image()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_be_written(path, error) from error
    busy = f"folder={str(path)!r} is being written to by another process"
    with (
        lock_held(path / LOCK, busy=busy, wait=True),
        # Both are whole before the first takes its place, so that they are of one model.
        written_atomically(path / CONFIG, overwrite=overwrite) as config,
        written_atomically(path / WEIGHTS, overwrite=overwrite) as weights,
    ):
        with report_write_errors(weights, path / WEIGHTS):
            weights.write_bytes(image)
        config.write_text(text, encoding="utf-8")


def _check_sfreq(sfreq: float | None) -> float:
    """Check that a sampling rate was passed."""
    if sfreq is None:
        raise ValueError(
            "a model of osl-dynamics does not tell the sampling rate of its data; pass it in "
            "hertz, as in sfreq=250, or a preparation"
        )
    return check_number(sfreq, "sfreq", rule="a rate above 0 Hz", above=0)


def _prepare_nothing(n_features: int, sfreq: float) -> FittedPreparation:
    """Make the preparation of features that are taken as they are, as arrays."""
    names = tuple(f"channel_{i}" for i in range(n_features))
    settings = Preparation.as_is().settings
    return FittedPreparation(**settings, ch_names_=names, rank_=n_features, sfreq_=sfreq)


def _make_config(hmm: HMM) -> dict[str, Any]:
    """Put settings together for osl-dynamics; what is left out has its default there."""
    return {
        "model_name": "HMM",
        "n_states": hmm.n_states,
        "n_channels": hmm.n_features,
        "learn_means": bool(hmm.learned.means),
        "learn_covariances": bool(hmm.learned.covariances),
        "learn_trans_prob": bool(hmm.learned.transitions),
        "learn_initial_state_probs": bool(hmm.learned.transitions),
        "diagonal_covariances": hmm.learned.covariance_type == "diag",
        "covariances_epsilon": 0.0,
        **TRAINING,
    }


# Covariances


def _from_free_numbers(free: np.ndarray, kind: str, d: int, epsilon: float) -> np.ndarray:
    """Make covariances of the free numbers osl-dynamics learns.

    Shapes: ``free`` (n_states, n_free); returns covariances (n_states, d, d).
    """
    if kind == "diag":
        diagonal = _softplus(free)
        covariances = diagonal[:, :, None] * np.eye(d)
    else:
        factors = _fill_triangular(free, d)
        i = np.arange(d)
        factors[:, i, i] = _softplus(factors[:, i, i]) + SHIFT
        covariances = factors @ factors.transpose(0, 2, 1)
    return covariances + epsilon * np.eye(d)


def _to_free_numbers(hmm: HMM) -> np.ndarray:
    """Find the free numbers osl-dynamics would make the covariances of, in float32.

    Shapes: returns (n_states, n_free).
    """
    kind, d = hmm.learned.covariance_type, hmm.n_features
    i = np.arange(d)
    if kind == "diag":
        free = _inverse_softplus(hmm.covariances_[:, i, i])
    else:
        try:
            factors = np.linalg.cholesky(hmm.covariances_)
        except np.linalg.LinAlgError as error:
            raise ValueError(_cannot_hold("one is not positive definite")) from error
        factors[:, i, i] = _inverse_softplus(factors[:, i, i] - SHIFT)
        free = factors.reshape(len(factors), -1)[:, _triangular_order(d)]
    with np.errstate(all="ignore"):  # what float32 does not hold is found just below
        free = free.astype(np.float32)
        again = _from_free_numbers(free.astype(float), kind, d, 0.0).astype(np.float32)
        errors = np.abs(again - hmm.covariances_)
    deviations = np.sqrt(hmm.covariances_[:, i, i])
    # Float32 has seven digits, and a covariance is a sum of d products.
    close = errors <= 1e-5 * deviations[:, :, None] * deviations[:, None, :]
    if not (np.isfinite(free).all() and close.all()):
        raise ValueError(
            _cannot_hold(
                "variances, given the other features, are beyond float32, or too small for the "
                "1e-5 it adds to the diagonal of Cholesky factors"
            )
        )
    return free


def _cannot_hold(why: str) -> str:
    return (
        f"osl-dynamics cannot hold the covariances of this model: {why}; train the model on "
        "features that were standardized and do not depend on each other "
        "(Preparation(n_components=...))"
    )


def _triangular_order(d: int) -> np.ndarray:
    """Find where each free number lies in a flattened lower triangle: in a clockwise spiral."""
    numbers = _fill_triangular(np.arange(1, d * (d + 1) // 2 + 1)[None], d).ravel()
    return np.argsort(numbers, kind="stable")[d * (d - 1) // 2 :]


def _fill_triangular(free: np.ndarray, d: int) -> np.ndarray:
    """Fill lower triangles, as TensorFlow Probability's ``FillTriangular`` does.

    Shapes: ``free`` (n_states, n_free); returns (n_states, d, d).
    """
    square = np.concatenate([free[:, d:], free[:, ::-1]], axis=1)
    return np.tril(square.reshape(-1, d, d))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(x, 0)


def _inverse_softplus(y: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):  # what is not above 0 becomes NaN
        return y + np.log(-np.expm1(-y))
