"""Several workers: shares, sums and bytes, and errors in time where one is lost."""

import contextlib
import signal
import socket
import threading
import time
from fractions import Fraction

import numpy as np
import pytest
from child_processes import ChildProcess
from hypothesis import given
from hypothesis import strategies as st
from local_workers import free_addresses, tf_config

import mne_hmm
from mne_hmm.engine import WorkerError, Workers, multi_worker_strategy
from mne_hmm.engine.runtime._tensorflow import tf  # without start-up notes
from mne_hmm.engine.runtime.cluster import GREETING_TIMEOUT, Cluster, find_troubles

# What every worker's script begins with. TensorFlow's own notes go to stderr.
START = """
import sys, time
import numpy as np
from mne_hmm.engine import WorkerError, Workers, multi_worker_strategy
from mne_hmm.engine.runtime._tensorflow import tf

def say(*words):
    print(*words, flush=True)
"""
JOIN = f"""{START}
workers = Workers.of(multi_worker_strategy())
say("ready")
"""

# Seconds within which the others have ended when one was lost: TensorFlow's import takes up to ten
# on a busy machine, its heartbeats ten more, and training may take no more than sixty.
LIMIT = 60.0


def start(code, **environment):
    """Start a process that runs one script, and ends with the test."""
    return ChildProcess(code, environment=environment, limit=4 * LIMIT)


@contextlib.contextmanager
def started(code, n_workers):
    """Start workers that run the same script."""
    addresses = free_addresses(n_workers)
    with contextlib.ExitStack() as stack:
        yield (
            [stack.enter_context(start(code, **tf_config(addresses, i))) for i in range(n_workers)],
            addresses,
        )


@contextlib.contextmanager
def listening(address, greeting):
    """Take connections at an address, and greet them, or say nothing."""
    over = threading.Event()

    def serve():
        held = []
        while not over.is_set():
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                connection.sendall(greeting)
                held.append(connection)
        for connection in held:
            connection.close()

    with socket.create_server(("", int(address.rpartition(":")[2]))) as server:
        server.settimeout(0.1)
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        over.set()
        thread.join()


# ---- alone


@pytest.mark.parametrize("strategy", [None, tf.distribute.OneDeviceStrategy("CPU:0")])
def test_alone(strategy):
    """One process has all recordings, and its sums are its own numbers."""
    workers = Workers.of(strategy)
    assert (workers.rank, workers.size, workers.is_chief) == (0, 1, True)
    assert len(workers.devices) == (strategy is not None)
    assert workers.share([3, 0, 5]) == [0, 1, 2]
    arrays = [np.array([0.1, 0.2]), np.ones((2, 3))]
    assert all(a is b for a, b in zip(workers.total(arrays), arrays, strict=True))
    assert workers.broadcast(b"abc") == b"abc"
    workers.barrier()


def test_strategy_in_scope():
    """Without an argument, the strategy in scope counts, and TensorFlow's default is one too."""
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        (device,) = Workers.of().devices
    assert device.endswith("CPU:0")
    assert Workers.of().devices == ()
    assert Workers.of(tf.distribute.get_strategy()).devices == ()


def test_what_is_no_strategy():
    """A wrong type and a strategy without support are told apart, with the way out."""
    with pytest.raises(TypeError, match=r"strategy must be a tf\.distribute\.Strategy.*'mirrored'"):
        Workers.of("mirrored")
    central = tf.distribute.experimental.CentralStorageStrategy(["CPU:0"])
    with pytest.raises(ValueError, match=r"MultiWorkerMirroredStrategy.*got a CentralStorage"):
        Workers.of(central)


def test_content_must_be_bytes():
    """Nothing else is sent."""
    with pytest.raises(TypeError, match="content must be bytes on the chief, got NoneType"):
        Workers().broadcast(None)


# ---- shares


@given(st.lists(st.integers(0, 10**7), max_size=40), st.integers(1, 9))
def test_shares(costs, size):
    """Every recording has one worker, and loads differ by one recording at most."""
    shares = [Workers(rank, size).share(costs) for rank in range(size)]
    assert sorted(index for share in shares for index in share) == list(range(len(costs)))
    assert all(share == sorted(share) for share in shares)
    loads = [sum(costs[index] for index in share) for share in shares]
    assert max(loads) - min(loads) <= max(costs, default=0)


def test_long_recordings_go_first():
    """The order in which recordings come does not spoil the balance."""
    costs = [1, 1, 1, 1, 4]
    assert [Workers(rank, 2).share(costs) for rank in range(2)] == [[4], [0, 1, 2, 3]]


def test_empty_recordings_are_spread_too():
    """Recordings without samples count as recordings."""
    assert [Workers(rank, 2).share([0, 0, 0, 0]) for rank in range(2)] == [[0, 2], [1, 3]]


# ---- several


SUMS = f"""{JOIN}
rng = np.random.default_rng(workers.rank)
for number in range(3):   # lengths differ between rounds
    shapes = [(2, 3), (), (0, 4), (4, number + 1)]
    arrays = [rng.normal(size=shape) * 10.0 ** rng.integers(-9, 9, shape) for shape in shapes]
    totals = workers.total(arrays)
    say(*["x".join(map(str, total.shape)) + ":" + total.tobytes().hex() for total in totals])
content = bytes(range(256)) * 5 + b"end"
for length in (0, 1, 2, 3, 4, len(content)):
    assert workers.broadcast(content[:length] if workers.is_chief else None) == content[:length]
    assert workers.broadcast(content[:length] if workers.is_chief else b"other") == content[:length]
workers.barrier()
say(workers.rank, workers.size, workers.is_chief, len(workers.devices), *workers.share([1, 1, 1]))
"""
LOSE = """
workers.barrier()
say("waiting")
if workers.rank == LOST:
    time.sleep(1000)
workers.barrier()
"""


def lose(workers, rank, how):
    """Let a worker be lost while others wait for it; gives what each of these says to it."""
    for worker in workers:
        assert worker.line() == "waiting"
    workers[rank].send_signal(how)
    began = time.monotonic()
    others = [worker for i, worker in enumerate(workers) if i != rank]
    said = [worker.end(status=1)[1].strip().splitlines()[-1] for worker in others]
    assert time.monotonic() - began < LIMIT
    return said


@pytest.fixture(scope="module")
def pair():
    """Two workers that add up, of which one is killed then: their sums, and the other's words."""
    with started(SUMS + LOSE.replace("LOST", "0"), 2) as (workers, addresses):
        for worker in workers:
            assert worker.line() == "ready"
        outs = [[worker.line() for _ in range(4)] for worker in workers]
        said = lose(workers, 0, signal.SIGKILL)
    return outs, said, addresses


def check_sums(outs):
    size = len(outs)
    assert all(out[:3] == outs[0][:3] for out in outs)
    rngs = [np.random.default_rng(rank) for rank in range(size)]
    for i_worker, line in enumerate(outs[0][:3]):
        shapes = [(2, 3), (), (0, 4), (4, i_worker + 1)]
        drawn = [
            [rng.normal(size=shape) * 10.0 ** rng.integers(-9, 9, shape) for shape in shapes]
            for rng in rngs
        ]
        for shape, got, *parts in zip(shapes, line.split(" "), *drawn, strict=True):
            label, _, content = got.partition(":")
            assert label == "x".join(map(str, shape))
            total = np.frombuffer(bytes.fromhex(content)).reshape(shape)
            # Exact sums in fractions: each addition in float64 rounds once.
            for place in np.ndindex(*shape):
                numbers = [Fraction(float(part[place])) for part in parts]
                bound = float(sum(map(abs, numbers))) * (size - 1) * 2.0**-53
                assert abs(float(Fraction(float(total[place])) - sum(numbers))) <= bound
    assert [out[3] for out in outs] == [
        f"{rank} {size} {rank == 0} 1 " + " ".join(map(str, range(rank, 3, size)))
        for rank in range(size)
    ]


def test_sums(pair):
    """Sums are right, with shapes kept and the same bits everywhere; so are bytes."""
    outs, _, _ = pair
    check_sums(outs)


@pytest.mark.slow
def test_sums_of_three():
    with started(SUMS, 3) as (workers, _):
        check_sums([worker.end()[0].splitlines()[1:] for worker in workers])


# Waits in vain for another, does without, and ends with what was said of the other.
ALONE = f"""{START}
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
say("ready")
try:
    multi_worker_strategy(timeout=2)
except WorkerError as error:
    missing = error
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
workers = Workers.of(strategy)
say(workers.rank, workers.size, *workers.total([np.array([1.5])])[0])
for device in workers.devices:
    with tf.device(device):
        say(tf.reduce_sum(tf.ones(3)).device == device)
with strategy.scope():
    say(Workers.of().devices == workers.devices)
raise missing
"""


@pytest.fixture(scope="module", params=[0, pytest.param(1, marks=pytest.mark.slow)])
def alone(request):
    """A worker without the other: what it does, how it ends, and the name of who is missing."""
    rank = request.param
    addresses = free_addresses(2)
    with start(ALONE, **tf_config(addresses, rank)) as worker:
        assert worker.line() == "ready"
        began = time.monotonic()
        did = [worker.line() for _ in range(4)]
        _, err = worker.end(status=1)
        # The timeout, the last look at who is there, and TensorFlow's end.
        assert time.monotonic() - began < 2 + GREETING_TIMEOUT + 5
    return did, err.strip().splitlines()[-1], f"worker {1 - rank} at {addresses[1 - rank]}"


def test_a_missing_worker(alone):
    """A worker that waits in vain says for whom, and ends."""
    _, last, missing = alone
    assert f"WorkerError: {missing} (nothing listens" in last
    assert "within 2 seconds. Start all workers again" in last


def test_mirrored(alone):
    """Devices of one process are listed, and its sums are its own."""
    did, _, _ = alone
    assert did == ["0 1 1.5", "True", "True", "True"]


@pytest.mark.slow
def test_slurm():
    """SLURM's resolver does, on nodes without a GPU too."""
    code = f"""{START}
resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
    port_base=PORT, gpus_per_node=2, gpus_per_task=1, auto_set_gpu=False,
)
workers = Workers.of(multi_worker_strategy(resolver))
say(workers.rank, *workers.total([np.array([workers.rank + 1.0])])[0])
"""
    while True:  # two ports in a row
        port = int(free_addresses(1)[0].rpartition(":")[2])
        with contextlib.suppress(OSError), socket.create_server(("", port + 1)):
            break
    slurm = {
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_TASKS_PER_NODE": "2",
    }
    code = code.replace("PORT", str(port))
    with (
        start(code, **slurm, SLURM_PROCID="0") as first,
        start(code, **slurm, SLURM_PROCID="1") as second,
    ):
        assert [worker.end()[0] for worker in (first, second)] == ["0 3.0\n", "1 3.0\n"]


@pytest.mark.slow
def test_workers_that_differ():
    """Workers with different numbers add nothing up: one is told why, and all end."""
    code = f"{JOIN}\nworkers.total([np.ones(3 + workers.rank)])"
    with started(code, 2) as (workers, _):
        complaints = [worker.end(status=1)[1] for worker in workers]
    assert any("workers do not add up the same arrays" in err for err in complaints)


# ---- lost


def check_what_is_said(said, size, rank, addresses):
    assert len(said) == size - 1
    for last in said:
        assert "WorkerError: training cannot go on without" in last
        assert f"worker {rank} at {addresses[rank]} (" in last
        assert "Start all workers again" in last
        assert "resumes from the checkpoint" in last


def check_loss(size, rank, how):
    with started(JOIN + LOSE.replace("LOST", str(rank)), size) as (workers, addresses):
        for worker in workers:
            assert worker.line() == "ready"
        said = lose(workers, rank, how)
    check_what_is_said(said, size, rank, addresses)


def test_a_killed_worker(pair):
    """The others say who is gone, and end."""
    _, said, addresses = pair
    check_what_is_said(said, 2, 0, addresses)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "rank"), [(2, 1), (3, 0), (3, 1)])
def test_a_killed_worker_of_several(size, rank):
    check_loss(size, rank, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "rank"), [(2, 0), (2, 1), (3, 0), (3, 2)])
def test_a_stopped_worker(size, rank):
    """So they do if it only sleeps."""
    check_loss(size, rank, signal.SIGSTOP)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_slow_worker(rank):
    """One that computes for longer than heartbeats may fail to come is waited for."""
    code = f"""{JOIN}
if workers.rank == {rank}:
    end = time.monotonic() + 25  # the heartbeats' limit is ten
    while time.monotonic() < end:
        sum(range(10_000_000))
say(*workers.total([np.ones(1)])[0])
"""
    with started(code, 2) as (workers, _):
        assert [worker.end()[0] for worker in workers] == ["ready\n2.0\n"] * 2


@pytest.mark.slow
def test_lost_at_the_start():
    """A worker that is there, but never starts TensorFlow, does not hold the others forever."""
    addresses = free_addresses(2)
    code = f"{START}\nmulti_worker_strategy(timeout=2)"
    with (
        listening(addresses[1], b"here"),
        start(code, **tf_config(addresses, 0)) as worker,
    ):
        began = time.monotonic()
        _, err = worker.end(status=1)
        assert time.monotonic() - began < LIMIT
    assert "Timeout" in err
    assert "in multi_worker_strategy" in err


def test_who_answers():
    """Who is gone and who is deaf are told from who is there."""
    there, deaf, gone = free_addresses(3)
    with listening(there, b"here"), listening(deaf, b""):
        troubles = find_troubles({"a": there, "b": deaf, "c": gone})
    assert troubles == {"b": "it does not answer", "c": "nothing listens there"}


def test_who_is_named():
    """Who is silent is named; of several, those TensorFlow names; without any, all."""
    there, also, gone, lost = free_addresses(4)
    cluster = Cluster({"chief": [there], "worker": [also, gone, lost, "127.0.0.1:1"]}, "worker", 3)
    assert (cluster.rank, cluster.size) == (4, 5)
    with listening(there, b"here"), listening(also, b"here"):
        both = str(cluster.lost("aborted"))
        peer = str(cluster.lost("/job:chief/replica:0/task:0 says: /job:worker/replica:0/task:1"))
        with listening(gone, b"here"), listening(lost, b"here"):
            message = str(cluster.lost("from /job:worker/replica:0/task:2 while"))
            untold = str(cluster.lost("aborted"))
    names = ["chief 0", "worker 0", "worker 1", "worker 2", "worker 3"]
    assert [name for name in names if name in both] == ["worker 1", "worker 2"]
    assert [name for name in names if name in peer] == ["worker 1"]
    assert [name for name in names if name in message] == ["worker 2"]
    assert [name for name in names if name in untold] == names[:4]


# ---- arguments


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "TF_CONFIG must say where the workers are.*as in TF_CONFIG='{"),
        ("{", "must have the form of TF_CONFIG='{.*got '{'"),
        ("[]", "must have the form"),
        ('{"cluster": {"worker": ["a:1"]}}', "must have the form"),
        ('{"cluster": 3, "task": {"type": "worker", "index": 0}}', "must have the form"),
        (
            '{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
            r"jobs named 'chief' or 'worker' only, got \['ps'\]",
        ),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
            "the task of this process, got worker 1",
        ),
        (
            '{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}',
            "addresses of the form host:port, got 'a'",
        ),
    ],
)
def test_a_wrong_environment(text, complaint, monkeypatch):
    """Errors about TF_CONFIG show how it should look."""
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=complaint):
        multi_worker_strategy()


def test_wrong_arguments(monkeypatch):
    """What is no resolver and no time is refused."""
    with pytest.raises(TypeError, match=r"cluster_resolver must be.*got 'here' of type str"):
        multi_worker_strategy("here")
    with pytest.raises(ValueError, match="cluster_resolver must give jobs named"):
        multi_worker_strategy(
            tf.distribute.cluster_resolver.SimpleClusterResolver(tf.train.ClusterSpec({}))
        )
    monkeypatch.setenv("TF_CONFIG", tf_config(["a:1"], 0)["TF_CONFIG"])
    with pytest.raises(ValueError, match="timeout must be a number of seconds above 0, got 0"):
        multi_worker_strategy(timeout=0)
    with pytest.raises(TypeError, match="timeout must be a number of seconds, got '60'"):
        multi_worker_strategy(timeout="60")


def test_a_port_that_is_taken(monkeypatch):
    """A training that still runs at the port is noticed."""
    mine, other = free_addresses(2)
    monkeypatch.setenv("TF_CONFIG", tf_config([mine, other], 0)["TF_CONFIG"])
    with listening(mine, b""), pytest.raises(OSError, match=f"cannot listen at {mine}"):
        multi_worker_strategy(timeout=1)


def test_missing_worker_through_the_front_door(monkeypatch):
    """The public function is the same; the error is raised, so that it can be caught."""
    mine, other = free_addresses(2)
    monkeypatch.setenv("TF_CONFIG", tf_config([mine, other], 0)["TF_CONFIG"])
    with pytest.raises(WorkerError, match="worker 1 at"):
        mne_hmm.multi_worker_strategy(timeout=0.5)


def test_too_late(monkeypatch):
    """TensorFlow takes no strategy of several processes once it has computed."""
    tf.ones(1)
    monkeypatch.setenv("TF_CONFIG", tf_config(free_addresses(1), 0)["TF_CONFIG"])
    with pytest.raises(RuntimeError, match="must come before anything that TensorFlow computes"):
        multi_worker_strategy()
