"""Several processes that train one model: shares of the recordings, sums, and errors in time.

TensorFlow's coordination service notices by heartbeats that a process is gone or stopped,
after some ten seconds. The threads that send them go on while a process computes, so one
that is slow is waited for, however long it takes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ._tensorflow import tf
from .cluster import Cluster, WorkerError, start_together

__all__ = ["WorkerError", "Workers", "multi_worker_strategy"]

SUPPORTED = (
    "tf.distribute.OneDeviceStrategy, tf.distribute.MirroredStrategy and "
    "tf.distribute.MultiWorkerMirroredStrategy"
)


@dataclass(frozen=True)
class Workers:
    """The processes and devices that share one training.

    All workers call the same methods in the same order. A method that talks to the others
    waits until they have come as far.

    Parameters
    ----------
    rank : int
        Index of this process, from 0.
    size : int
        Number of processes.
    devices : tuple of str
        Devices of this process that the blocks are spread over. Empty: where TensorFlow
        puts them.
    """

    rank: int = 0
    size: int = 1
    devices: tuple[str, ...] = ()
    _cluster: Cluster | None = None
    _sum: "Callable[[tf.Tensor], tf.Tensor] | None" = None

    @classmethod
    def of(cls, strategy: "tf.distribute.Strategy | None" = None) -> "Workers":
        """Find who takes part under a strategy."""
        if strategy is None:
            strategy = tf.distribute.get_strategy()
        if not isinstance(strategy, tf.distribute.Strategy):
            raise TypeError(
                "strategy must be a tf.distribute.Strategy or None, got "
                f"{strategy!r} of type {type(strategy).__name__}"
            )
        # The default strategy's class has no public name.
        if type(strategy).__name__ == "_DefaultDistributionStrategy":
            return cls()
        devices = tuple(strategy.extended.worker_devices)
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            if not strategy.cluster_resolver.cluster_spec():  # it was made without TF_CONFIG
                return cls(devices=devices)
            cluster = Cluster.of(strategy.cluster_resolver)
            if cluster.size == 1:
                return cls(devices=devices)
            return cls(cluster.rank, cluster.size, devices, cluster, _sum_over_workers(strategy))
        if isinstance(strategy, (tf.distribute.OneDeviceStrategy, tf.distribute.MirroredStrategy)):
            return cls(devices=devices)
        raise ValueError(
            f"strategy must be one of {SUPPORTED}, or None for none of them, got a "
            f"{type(strategy).__name__}; training has no other way to spread"
        )

    @property
    def is_chief(self) -> bool:
        """Whether this is the one process that writes files."""
        return self.rank == 0

    def share(self, costs: Sequence[int]) -> list[int]:
        """Find which of the recordings are this worker's.

        All workers come to the same shares, without a word between them.
        """
        loads = [0] * self.size
        counts = [0] * self.size
        mine = []
        for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
            # The longest that is left goes to who has least.
            least = min(range(self.size), key=lambda rank: (loads[rank], counts[rank]))
            loads[least] += costs[index]
            counts[least] += 1
            if least == self.rank:
                mine.append(index)
        return sorted(mine)

    def total(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Sum arrays over all workers."""
        arrays = [np.asarray(array, np.float64) for array in arrays]
        if self._sum is None or self._cluster is None or not arrays:
            return arrays
        # One vector: each reduction costs a round trip to all workers, whatever its size. It
        # always has an element, for TensorFlow does not reduce what has none.
        flat = np.concatenate([np.zeros(1), *(array.ravel() for array in arrays)])
        try:
            summed = self._sum(tf.constant(flat)).numpy()[1:]
        except tf.errors.InvalidArgumentError as error:
            raise RuntimeError(
                f"the workers do not add up the same arrays: worker {self.rank} has "
                f"{flat.size - 1} numbers, another has more or fewer. Start all workers with the "
                "same arguments, the same files and the same version"
            ) from error
        except tf.errors.OpError as error:
            raise self._cluster.lost(error.message) from error
        ends = np.cumsum([array.size for array in arrays])[:-1]
        parts = np.split(summed, ends)
        return [part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]

    def broadcast(self, content: bytes | None) -> bytes:
        """Give the chief's bytes to all workers."""
        if not self.is_chief:
            content = b""
        if not isinstance(content, bytes):
            raise TypeError(f"content must be bytes on the chief, got {type(content).__name__}")
        if self.size == 1:
            return content
        length = int(self.total([np.array([len(content)])])[0][0])
        # The others add zeros, and float64 holds every 32-bit number: nothing is rounded.
        words = np.zeros(-(-length // 4), "<u4")
        words.view(np.uint8)[: len(content)] = np.frombuffer(content, np.uint8)
        return self.total([words])[0].astype("<u4").tobytes()[:length]

    def barrier(self) -> None:
        """Wait until all workers are here."""
        self.total([np.zeros(1)])


ALONE = Workers()


def _sum_over_workers(strategy: "tf.distribute.Strategy") -> "Callable[[tf.Tensor], tf.Tensor]":
    """Make the function that sums a vector over all workers."""
    n_devices = len(strategy.extended.worker_devices)

    def on_device(vector: "tf.Tensor") -> "tf.Tensor":
        context = tf.distribute.get_replica_context()
        # All devices of a worker take part, but its numbers count once.
        first = tf.equal(context.replica_id_in_sync_group % n_devices, 0)
        mine = tf.where(first, vector, tf.zeros_like(vector))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, mine)

    # One trace for all lengths: a trace takes longer than many sums.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float64)], autograph=False)
    def summed(vector: "tf.Tensor") -> "tf.Tensor":
        return strategy.experimental_local_results(strategy.run(on_device, (vector,)))[0]

    return summed


def multi_worker_strategy(
    cluster_resolver: "tf.distribute.cluster_resolver.ClusterResolver | None" = None,
    *,
    timeout: float = 60.0,
) -> "tf.distribute.MultiWorkerMirroredStrategy":
    """Let several processes, on one machine or many, train one model together.

    Every process calls this first, before anything else that uses TensorFlow. It returns
    once all of them have called it.

    Parameters
    ----------
    cluster_resolver : tf.distribute.cluster_resolver.ClusterResolver | None
        What knows the addresses of all workers, and which of them this process is. None
        reads the environment variable ``TF_CONFIG``.
    timeout : float
        How long to wait for the other workers, in seconds.

    Returns
    -------
    strategy : tf.distribute.MultiWorkerMirroredStrategy
        The strategy to pass to :func:`fit_hmm`.

    Raises
    ------
    TypeError
        If the resolver is none, or the timeout no number.
    ValueError
        If there is no ``TF_CONFIG``, if it or the resolver does not describe workers that
        this process is one of, or if the timeout is not above zero.
    RuntimeError
        If another worker does not appear in time (the error names it), or if TensorFlow
        has already computed something in this process.
    OSError
        If another program uses this worker's port.

    Notes
    -----
    Should a worker get lost in the moment between its appearance and the start of
    TensorFlow's own server, the others end after ``timeout`` with exit status 1.
    """
    cluster = Cluster.of(cluster_resolver)
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds, got {timeout!r}")
    if not 0 < timeout < float("inf"):
        raise ValueError(f"timeout must be a number of seconds above 0, got {timeout!r}")
    # A resolver's own count of devices may be of the whole node, or of none: SLURM's cannot
    # say "no GPU". What counts is what this process sees.
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster.jobs),
        task_type=cluster.task_type,
        task_id=cluster.task_id,
        num_accelerators={"GPU": len(tf.config.get_visible_devices("GPU"))},
        rpc_layer="grpc",
    )
    ring = tf.distribute.experimental.CommunicationImplementation.RING
    options = tf.distribute.experimental.CommunicationOptions(implementation=ring)
    with start_together(cluster, timeout):
        try:
            return tf.distribute.MultiWorkerMirroredStrategy(resolver, options)
        except tf.errors.OpError as error:
            raise cluster.lost(error.message) from error
        except RuntimeError as error:
            raise RuntimeError(
                "multi_worker_strategy() must come before anything that TensorFlow computes in a "
                "process, and only once: call it first"
            ) from error
