"""Training in several processes, as those who start it see it."""

from typing import Any


def multi_worker_strategy(
    cluster_resolver: Any = None, *, timeout: float = 60.0
) -> Any:  # TensorFlow's types are not imported here
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
    from ..engine import multi_worker_strategy as make

    return make(cluster_resolver, timeout=timeout)
