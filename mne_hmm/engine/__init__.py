"""The engine: arrays in, arrays out, and the only importer of TensorFlow.

Nothing in here has heard of MNE-Python. Importing this package imports TensorFlow, so the
layers above do it inside the functions that compute.
"""

from .chain import decode, smooth
from .distribute import WorkerError, Workers, multi_worker_strategy
from .em import UpdateRule
from .gaussian import Emission, Parameters
from .samples import Samples
from .start import sample_states
from .train import GivenParameters, Training, train

__all__ = [
    "Emission",
    "GivenParameters",
    "Parameters",
    "Samples",
    "Training",
    "UpdateRule",
    "WorkerError",
    "Workers",
    "decode",
    "infer",
    "multi_worker_strategy",
    "sample_states",
    "settings",
    "smooth",
    "train",
]


def infer(samples, parameters, *, covariance_type="full", viterbi=False):
    """Infer the states of data under a model.

    Parameters
    ----------
    samples : Samples
        The data.
    parameters : Parameters
        The model.
    covariance_type : "full" | "diag"
        Form of the covariances.
    viterbi : bool
        Whether to find the most probable path instead of the posterior.

    Returns
    -------
    result : Posterior | Path
        The posterior, or the path.
    """
    n_columns = samples.n_features
    emission = Emission(parameters.means, parameters.covariances, covariance_type)
    densities = emission.log_densities(samples.blocked(n_columns))
    run = decode if viterbi else smooth
    return run(densities, samples.chains, parameters.transition_matrix, parameters.initial_probs)


def settings():
    """Tell what the bits of a result depend on, apart from the data and the seed."""
    import os

    from ._tensorflow import tf

    return {
        "tensorflow": tf.__version__,
        "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads()
        or os.cpu_count(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0",
    }
