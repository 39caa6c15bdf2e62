"""The engine: arrays in, arrays out, and the only importer of TensorFlow.

Nothing in here has heard of MNE-Python. Importing this package imports TensorFlow, so the
layers above do it inside the functions that compute.
"""

from .chain import decode, smooth
from .checkpoint import Journal, NoJournal, content_hash
from .dual import estimate
from .em import UpdateRule
from .gaussian import Emission, Parameters
from .log import Log, NoLog
from .samples import Samples
from .shards import Shard, Shards, rows_digest, write_shard
from .start import sample_states
from .distribute import ALONE, Workers
from .prior import Prior
from .stochastic import MiniBatches
from .train import GivenParameters, Plan, Training, train

__all__ = [
    "Emission",
    "GivenParameters",
    "Journal",
    "Log",
    "NoJournal",
    "NoLog",
    "Parameters",
    "Samples",
    "Shard",
    "Shards",
    "Training",
    "UpdateRule",
    "content_hash",
    "decode",
    "estimate",
    "infer",
    "rows_digest",
    "sample_states",
    "settings",
    "smooth",
    "train",
    "write_shard",
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
