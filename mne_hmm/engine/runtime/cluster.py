"""The processes of a cluster: their addresses, who of them is there, and a common start."""

import contextlib
import faulthandler
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ._tensorflow import tf

# How long a worker may take to say a first byte, in seconds.
GREETING_TIMEOUT = 2.0
# Time between two looks for workers that are still missing, in seconds.
POLL_INTERVAL = 0.2

JOBS = ("chief", "worker")  # in the order in which TensorFlow counts them
EXAMPLE = json.dumps(
    {
        "cluster": {"worker": ["10.0.0.1:12345", "10.0.0.2:12345"]},
        "task": {"type": "worker", "index": 0},
    }
)


class WorkerError(RuntimeError):
    """Another worker is not there, so that this one cannot go on."""


@dataclass(frozen=True)
class Cluster:
    """The addresses of all workers, and which of them this process is.

    Parameters
    ----------
    jobs : dict
        Addresses (host:port) of the tasks of each job, "chief" or "worker".
    task_type : str
        Job of this process.
    task_id : int
        Index of this process in its job.
    """

    jobs: dict[str, list[str]]
    task_type: str
    task_id: int

    @classmethod
    def of(cls, resolver: "tf.distribute.cluster_resolver.ClusterResolver | None") -> "Cluster":
        """Ask a resolver, or TF_CONFIG where there is none."""
        if resolver is None:
            return cls._of_environment()
        if not isinstance(resolver, tf.distribute.cluster_resolver.ClusterResolver):
            raise TypeError(
                "cluster_resolver must be a tf.distribute.cluster_resolver.ClusterResolver, or "
                f"None for TF_CONFIG, got {resolver!r} of type {type(resolver).__name__}"
            )
        jobs = resolver.cluster_spec().as_dict()
        # SLURM's resolver knows its task only after it was asked for the cluster.
        return cls._checked(jobs, resolver.task_type, resolver.task_id, "cluster_resolver")

    @classmethod
    def _of_environment(cls) -> "Cluster":
        text = os.environ.get("TF_CONFIG")
        if not text:
            raise ValueError(
                "the environment variable TF_CONFIG must say where the workers are, and it is not "
                f"set. Set it in each process, as in TF_CONFIG='{EXAMPLE}', with an index of its "
                "own, or pass a cluster_resolver"
            )
        try:
            config = json.loads(text)
            jobs, task = config["cluster"], config["task"]
            return cls._checked(jobs, task["type"], int(task["index"]), "TF_CONFIG")
        except (AttributeError, LookupError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"TF_CONFIG must have the form of TF_CONFIG='{EXAMPLE}', got {text!r}"
            ) from error

    @classmethod
    def _checked(
        cls, given_jobs: Mapping[str, Iterable[str]], task_type: str, task_id: int, name: str
    ) -> "Cluster":
        jobs = {job: list(addresses) for job, addresses in given_jobs.items()}
        rule = None
        if not jobs or not set(jobs) <= set(JOBS):
            rule = f"jobs named {' or '.join(map(repr, JOBS))} only, got {list(jobs)}"
        elif task_type not in jobs or not 0 <= task_id < len(jobs[task_type]):
            rule = f"the task of this process, got {task_type} {task_id} of {jobs}"
        for address in (address for addresses in jobs.values() for address in addresses):
            if not re.fullmatch(r".+:\d+", str(address)):
                rule = f"addresses of the form host:port, got {address!r}"
        if rule is not None:
            raise ValueError(f"{name} must give {rule}. An example: TF_CONFIG='{EXAMPLE}'")
        return cls(jobs, task_type, task_id)

    @property
    def _tasks(self) -> list[tuple[str, int]]:
        return [(job, index) for job in JOBS for index in range(len(self.jobs.get(job, [])))]

    @property
    def size(self) -> int:
        """Number of workers."""
        return len(self._tasks)

    @property
    def rank(self) -> int:
        """Index of this process among all."""
        return self._tasks.index((self.task_type, self.task_id))

    @property
    def others(self) -> dict[str, str]:
        """Addresses of all workers but this, by name, as in "worker 1"."""
        mine = (self.task_type, self.task_id)
        return {
            f"{job} {index}": self.jobs[job][index]
            for job, index in self._tasks
            if (job, index) != mine
        }

    @property
    def address(self) -> str:
        """Address of this worker."""
        return self.jobs[self.task_type][self.task_id]

    def lost(self, message: str) -> WorkerError:
        """Find out who is gone, after TensorFlow has noticed that somebody is."""
        others = self.others
        troubles = find_troubles(others)
        gone = set(troubles)
        # As in "/job:worker/replica:0/task:1". The message may also name who passed it on.
        tasks = re.findall(r"/job:(\w+)\S*/task:(\d+)", message)
        named = {f"{job} {index}" for job, index in tasks} & set(others)
        suspects = (named & gone) or gone or named or set(others)
        anew = "it answers now: it left, or was started anew"
        who = [
            f"{name} at {address} ({troubles.get(name, anew)})"
            for name, address in others.items()
            if name in suspects
        ]
        return WorkerError(
            f"training cannot go on without {' and '.join(who)}. Start all workers again, not "
            "only this: training resumes from the checkpoint"
        )


def find_troubles(workers: dict[str, str]) -> dict[str, str]:
    """Find who does not answer, and why."""
    if not workers:
        return {}
    with ThreadPoolExecutor(min(len(workers), 32)) as pool:
        troubles = pool.map(_trouble_with, workers.values())
        return {name: trouble for name, trouble in zip(workers, troubles, strict=True) if trouble}


def _trouble_with(address: str) -> str:
    """Find out why a worker does not answer; an empty string if it does.

    Whoever connects to a running worker is greeted at once, by `_greeting` or TensorFlow's server.
    The system takes connections for a process that is stopped, but nobody says a word.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection(
            (host.strip("[]"), int(port)), GREETING_TIMEOUT
        ) as connection:
            return "" if connection.recv(1) else "it hangs up"
    except TimeoutError:
        return "it does not answer"
    except ConnectionRefusedError:
        return "nothing listens there"
    except OSError as error:
        return error.strerror or str(error)


@contextlib.contextmanager
def start_together(cluster: Cluster, timeout: float) -> Iterator[None]:
    """Wait until all workers are there, then guard the start of TensorFlow's servers.

    TensorFlow would wait for an hour, and deaf to interrupts and other threads, since it
    holds Python's lock meanwhile. So nobody starts its server before all are there. Should
    one get lost between here and there, only a clock outside of Python can end the process.
    """
    _wait_for_all(cluster, timeout)
    faulthandler.dump_traceback_later(timeout, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _wait_for_all(cluster: Cluster, timeout: float) -> None:
    missing = cluster.others
    end = time.monotonic() + timeout
    with _greeting(cluster.address):
        while True:
            troubles = find_troubles(missing)
            missing = {name: missing[name] for name in troubles}
            if not missing:
                return
            if time.monotonic() > end:
                break
            time.sleep(POLL_INTERVAL)
    who = [f"{name} at {address} ({troubles[name]})" for name, address in missing.items()]
    raise WorkerError(
        f"{' and '.join(who)} did not appear within {timeout:g} seconds. Start all workers again, "
        "at about the same time: training resumes from the checkpoint, if there is one. Should "
        "they be running, see whether the addresses are right and reachable"
    )


@contextlib.contextmanager
def _greeting(address: str) -> Iterator[None]:
    """Greet whoever connects to this worker's port."""
    port = int(address.rpartition(":")[2])
    both = socket.has_dualstack_ipv6()
    try:
        server = socket.create_server(
            ("", port),
            family=socket.AF_INET6 if both else socket.AF_INET,
            dualstack_ipv6=both,
        )
    except OSError as error:
        raise OSError(
            error.errno,
            f"this worker cannot listen at {address} ({error.strerror}). Is another training still "
            "running there? End it, or choose another port",
        ) from error
    over = threading.Event()

    def greet() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):  # nobody came, or who came is gone
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"here")

    with server:
        server.settimeout(0.1)
        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
