"""The engine: arrays in, arrays out, and the only importer of TensorFlow.

Nothing in here has heard of MNE-Python. Importing this package imports TensorFlow, so the
layers above do it inside the functions that compute.
"""

from .inference.chain import Path, Posterior, decode, smooth
from .inference.dual_estimate import estimate
from .inference.gaussian import FULL, Emission, Parameters
from .inference.samples import Data, Samples
from .runtime.checkpoint import Journal, NoJournal, content_hash
from .runtime.feature_store import Shard, Shards, rows_digest, write_shard
from .runtime.tensorboard import Log, NoLog
from .runtime.workers import WorkerError, Workers, multi_worker_strategy
from .training.em import posterior
from .training.initialization import sample_states
from .training.interrupt import Interrupt
from .training.mini_batches import MiniBatches
from .training.monitor import TrainingMonitor
from .training.prior import Prior
from .training.settings import InitialParameters, TrainingSettings, training_facts
from .training.train import Training, train
from .training.update_rule import UpdateRule

__all__ = [
    "Emission",
    "InitialParameters",
    "Interrupt",
    "Journal",
    "Log",
    "MiniBatches",
    "NoJournal",
    "NoLog",
    "Parameters",
    "Prior",
    "Samples",
    "Shard",
    "Shards",
    "Training",
    "TrainingMonitor",
    "TrainingSettings",
    "UpdateRule",
    "WorkerError",
    "Workers",
    "content_hash",
    "decode",
    "estimate",
    "infer",
    "most_probable_path",
    "multi_worker_strategy",
    "rows_digest",
    "runtime_settings",
    "sample_states",
    "smooth",
    "train",
    "training_facts",
    "write_shard",
]


def infer(samples: Samples, parameters: Parameters, *, covariance_type: str = FULL) -> Posterior:
    """Infer the states of data under a model, from densities in float64."""
    return posterior(_once(samples, parameters), parameters, covariance_type, precise=True)


def most_probable_path(
    samples: Samples, parameters: Parameters, *, covariance_type: str = FULL
) -> Path:
    """Find the most probable path of states; parameters as for `infer`."""
    emission = Emission(parameters.means, parameters.covariances, covariance_type, precise=True)
    return decode(
        emission.log_densities(_once(samples, parameters)),
        samples.chains,
        parameters.transition_matrix,
        parameters.initial_probs,
    )


def _once(samples: Samples, parameters: Parameters) -> Data:
    """Lay data out for one pass, in blocks of half the rows since it is in float64."""
    return Data(samples, 2 * parameters.means.size, once=True)


def runtime_settings() -> dict[str, str | int | bool | None]:
    """Collect what the bits of a result depend on, apart from the data and the seed."""
    import os

    from .runtime._tensorflow import tf

    threads = tf.config.threading.get_intra_op_parallelism_threads()
    if not threads:  # TensorFlow takes this variable, and then a thread for each core
        variable = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
        threads = int(variable) if variable.isdigit() else 0
    return {
        "tensorflow": tf.__version__,
        "intra_op_threads": threads or os.cpu_count(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0",
    }
