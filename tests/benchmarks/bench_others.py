"""How mne-hmm compares with other toolboxes, on the same data in the same process.

Run as ``pytest -n 0 -s tests/benchmarks/bench_others.py`` on a machine with nothing else to do, in
an environment where the other toolboxes are installed next to mne-hmm::

    pip install hmmlearn numba pandas pyyaml mat73 tensorflow-probability "tf-keras~=2.21.0"
    pip install --no-deps osl-dynamics glhmm

osl-dynamics itself does not hold TensorFlow to a version, only its extra ``[tf]`` does, so it
runs on ours; tf-keras must bear the number of the TensorFlow that is there. What is not
installed is skipped. All of it takes some twenty minutes; parts of it run by name, as in
``-k "training and glhmm"``, ``-k preparation``, ``-k viterbi``. Leave ``OPENBLAS_NUM_THREADS``
and the like unset: the others do their products in NumPy.

Nothing here can fail for being slow; a table is printed at the end. Models are compared by the
free energy of the parameters they found, which one plain function computes for all.

osl-dynamics cuts the data into sequences of 200 samples and leaves out the last, incomplete one.
"""
# ruff: noqa: T201

import itertools
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import parcels
import pytest
from scipy.linalg import solve_triangular

import mne_hmm
from mne_hmm.engine import Parameters, Samples, decode, infer, most_probable_path, smooth

N_TIMES, K = 75_000, 6
ROUNDS = 5
# Seconds between turns, in which the threads of the one before come to rest.
POLL_INTERVAL = 1.0
# What others train for at most: epochs of osl-dynamics (its tutorial's), passes of the rest.
EPOCHS, GLHMM_PASSES, HMMLEARN_PASSES = 20, 40, 10
# The tutorial's batches of 256 sequences make 2 of all our data; 16 make 24.
BATCH_SIZES = (16, 256)

WITHOUT_FILTER = mne_hmm.Preparation(l_freq=None, h_freq=None, sfreq=None)
WITH_FILTER = mne_hmm.Preparation()
TDE_PCA = {
    "tde_pca": {"n_embeddings": parcels.N_LAGS, "n_pca_components": parcels.N_COMPONENTS},
    "standardize": {},
}
FILTERED_TDE_PCA = {"filter": {"low_freq": 1, "high_freq": 45}, **TDE_PCA}
PREPARATIONS = {
    "embedding": (WITHOUT_FILTER, TDE_PCA),
    "filtered": (WITH_FILTER, FILTERED_TDE_PCA),
}

# The other toolboxes warn a lot, and their warnings are not ours to heed.
pytestmark = pytest.mark.filterwarnings("ignore")


# What the models are judged by


def log_densities(x, means, covariances):
    """Log density of each sample under each state in float64, shape (n_samples, n_states)."""
    out = np.empty((len(x), len(means)))
    for state, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
        factor = np.linalg.cholesky(np.asarray(covariance, float))
        z = solve_triangular(factor, (x - mean).T, lower=True)
        volume = 2 * np.log(np.diag(factor)).sum() + len(factor) * np.log(2 * np.pi)
        out[:, state] = -0.5 * (np.square(z).sum(0) + volume)
    return out


def free_energy(x, initial, transition, means, covariances):
    """Minus the log evidence of one chain in nats per sample, by the plain forward recursion."""
    densities = log_densities(x, means, covariances)
    peaks = densities.max(1)
    evidence = peaks.sum()
    alpha = np.asarray(initial, float)
    transition = np.asarray(transition, float)
    for t, likelihoods in enumerate(np.exp(densities - peaks[:, None])):
        alpha = (alpha if t == 0 else alpha @ transition) * likelihoods
        total = alpha.sum()
        evidence += np.log(total)
        alpha /= total
    return -evidence / len(x)


def test_judge():
    """The free energy by which models are judged, against the sum over all paths."""
    rng = np.random.default_rng(0)
    x, means = rng.standard_normal((5, 2)), rng.standard_normal((3, 2))
    covariances = np.eye(2) + 0.5 * rng.random((3, 1, 1))
    initial, transition = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3), 3)
    densities = log_densities(x, means, covariances)
    deviations = x[:, None] - means
    distances = np.einsum("tki,kij,tkj->tk", deviations, np.linalg.inv(covariances), deviations)
    expected = np.exp(-distances / 2) / (2 * np.pi * np.sqrt(np.linalg.det(covariances)))
    np.testing.assert_allclose(densities, np.log(expected), rtol=1e-12, atol=1e-12)
    evidence = sum(
        initial[path[0]]
        * np.prod([transition[step] for step in itertools.pairwise(path)])
        * np.prod([expected[t, state] for t, state in enumerate(path)])
        for path in itertools.product(range(3), repeat=5)
    )
    # Rounding of a few dozen operations in float64.
    estimate = free_energy(x, initial, transition, means, covariances)
    np.testing.assert_allclose(estimate, -np.log(evidence) / 5, rtol=1e-12, atol=0)


# What is compared, and how


class Row(NamedTuple):
    """One line of the table."""

    task: str
    who: str
    value: float
    """Seconds, or MiB."""
    ratio: float
    """Ours by theirs; NaN where the line is ours."""
    note: str = ""

    def __str__(self):
        ratio = "" if np.isnan(self.ratio) else f"{self.ratio:.2f}"
        return f"{self.task:<24} {self.who:<36} {self.value:>9.3f} {ratio:>11}  {self.note}"


@pytest.fixture(scope="module")
def table():
    """All results; printed in the end."""
    rows = []
    yield rows
    print(f"\n\n{'':<24} {'':<36} {'s or MiB':>9} {'ours/theirs':>11}")
    for row in rows:
        print(row)


def timed(function):
    """Result and seconds of a call."""
    began = time.perf_counter()
    result = function()
    return result, time.perf_counter() - began


def compare(benchmark, table, task, who, ours, theirs, note=""):
    """Let both take turns and add a line for each, with the median of their times.

    Parameters
    ----------
    benchmark : BenchmarkFixture
        It measures the others.
    table : list of Row
        Where the lines go.
    task : str
        What both do.
    who : tuple of str
        Names of the two.
    ours, theirs : callable
        The calls. Each is made once before anything is measured.
    note : str | callable
        What else to say, or what tells so from the two results.
    """
    seconds, results = [], []
    benchmark.group = task

    def our_turn():
        time.sleep(POLL_INTERVAL)
        result, taken = timed(ours)
        results[:] = [result]
        seconds.append(taken)
        time.sleep(POLL_INTERVAL)

    result = benchmark.pedantic(
        theirs, setup=our_turn, rounds=ROUNDS, iterations=1, warmup_rounds=1
    )
    if benchmark.stats is None:  # benchmarks are disabled
        return
    our_median, their_median = float(np.median(seconds[1:])), benchmark.stats.stats.median
    benchmark.extra_info.update(ours_median=our_median, ratio=our_median / their_median)
    said = note(results[0], result) if callable(note) else note
    table.append(Row(task, who[0], our_median, np.nan))
    table.append(Row(task, who[1], their_median, our_median / their_median, said))


@pytest.fixture(scope="module")
def simulated():
    """Five minutes of 38 parcels, and which of six networks is on."""
    return parcels.parcels(N_TIMES)


@pytest.fixture(scope="module")
def features(simulated):
    """Features that all train on, shape (n_samples, 80)."""
    return parcels.embedded(simulated[0])


@pytest.fixture(scope="module")
def prepared(features):
    """The same features, as ours takes them."""
    return mne_hmm.prepare(
        features.T, mne_hmm.Preparation.as_is(), sfreq=parcels.SFREQ, verbose="ERROR"
    )


@pytest.fixture(scope="module")
def from_truth(simulated, prepared):
    """Our model trained from the true states: what all decode with."""
    lost = parcels.N_LAGS // 2
    labels = simulated[1][lost:-lost]
    return mne_hmm.fit_hmm(prepared, K, init=labels, learn_means=False, verbose="ERROR")


def parameters_of(hmm):
    """Initial and transition probabilities, means and covariances of our model."""
    return hmm.initial_probs_, hmm.transition_matrix_, hmm.means_, hmm.covariances_


@pytest.fixture(scope="module")
def osl(tmp_path_factory):
    """The parts of osl-dynamics that are used here, quiet."""
    osl_dynamics = pytest.importorskip("osl_dynamics")
    from osl_dynamics.data import Data
    from osl_dynamics.models.hmm import Config, Model
    from osl_dynamics.utils import set_random_seed

    osl_dynamics.set_verbosity("WARNING")
    store = str(tmp_path_factory.mktemp("osl"))

    def data(array):
        return Data(array, sampling_frequency=parcels.SFREQ, store_dir=store)

    def model(batch_size, **settings):
        shape = {"n_states": K, "n_channels": parcels.N_COMPONENTS, "sequence_length": 200}
        training = {"batch_size": batch_size, "learning_rate": 0.01, "n_epochs": EPOCHS}
        return Model(Config(**shape, **training, learn_means=False, **settings))

    return SimpleNamespace(data=data, model=model, seed=set_random_seed)


# Preparation


@pytest.mark.parametrize("name", PREPARATIONS)
def test_preparation_osl_dynamics(simulated, osl, benchmark, table, name):
    """Embedding and projection, without and with a filter (ours FIR, theirs Butterworth)."""
    signals = simulated[0]
    preparation, methods = PREPARATIONS[name]

    def note(ours, theirs):
        if name == "filtered":  # the filters differ, and so do the results
            return ""
        difference = np.abs(ours.data[0] - theirs.time_series()).max()
        return f"largest difference {difference:.1e} of a standard deviation"

    compare(
        benchmark,
        table,
        f"preparation, {name}",
        ("mne-hmm", "osl-dynamics"),
        lambda: mne_hmm.prepare(signals.T, preparation, sfreq=parcels.SFREQ, verbose="ERROR"),
        lambda: osl.data(signals).prepare(methods),
        note,
    )


# The high-water mark of this very process, set back to what it holds once all is imported and
# the recording is loaded.
MEMORY = """
import sys
import numpy as np
{imports}

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))

signals = np.load(sys.argv[1])
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
idle = peak()
{work}
print(idle, peak())
"""
OURS = (
    "from mne_hmm import Preparation, prepare",
    "result = prepare(signals.T, {!r}, sfreq=250.0, verbose='ERROR')",
)
OSL = (
    "from osl_dynamics.data import Data",
    "result = Data(signals, sampling_frequency=250.0, store_dir=sys.argv[2]).prepare({!r})",
)


@pytest.mark.skipif(sys.platform != "linux", reason="reads and resets the peak as Linux does")
@pytest.mark.parametrize("name", PREPARATIONS)
def test_preparation_memory_osl_dynamics(simulated, osl, tmp_path, table, name):
    """Peak memory of the same above that of an idle process, each in a fresh one."""
    fname = tmp_path / "parcels.npy"
    np.save(fname, simulated[0])
    peaks = []
    for (imports, work), what in zip((OURS, OSL), PREPARATIONS[name], strict=True):
        script = MEMORY.format(imports=imports, work=work.format(what))
        command = [sys.executable, "-c", script, str(fname), str(tmp_path)]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        idle, peak = map(float, ran.stdout.splitlines()[-1].split())
        peaks.append((peak - idle, f"above {idle:.0f} MiB"))
    (ours, our_note), (theirs, their_note) = peaks
    task = f"memory, {name}"
    table.append(Row(task, "mne-hmm", ours, np.nan, our_note))
    table.append(Row(task, "osl-dynamics", theirs, ours / theirs, their_note))


# Training. Seconds are those of one run, with the compilation in it.


@pytest.fixture(scope="module")
def our_training(features, prepared, from_truth, table):
    """Seconds of our search, and of one start alone."""
    seconds = {}
    for who, settings in {
        "mne-hmm, full search": {},
        "mne-hmm, one start": {"n_init": 1, "refine": False},
    }.items():
        time.sleep(POLL_INTERVAL)
        hmm, seconds[who] = timed(
            lambda settings=settings: mne_hmm.fit_hmm(
                prepared, K, learn_means=False, random_state=0, verbose="ERROR", **settings
            )
        )
        note = f"{hmm.history_['n_passes']:.0f} passes"
        _add_training(table, who, seconds[who], features, parameters_of(hmm), note)
    from_known = free_energy(features, *parameters_of(from_truth))
    print(f"\nTrained from the true states: {from_known:.4f} nats per sample")
    return seconds


def _add_training(table, who, seconds, features, parameters, note, ratio=np.nan):
    estimate = free_energy(features, *parameters)
    table.append(Row("training", who, seconds, ratio, f"{estimate:.4f} nats per sample, {note}"))
    print(f"\n{table[-1]}")


def _train(benchmark, table, who, ours, theirs, features):
    """Time one run of theirs, which returns the parameters found and a note."""
    benchmark.group = "training"
    time.sleep(POLL_INTERVAL)
    parameters, note = benchmark.pedantic(theirs, rounds=1, iterations=1)
    if benchmark.stats is None:
        return
    seconds = benchmark.stats.stats.median
    ratios = {name: taken / seconds for name, taken in ours.items()}
    benchmark.extra_info.update(ratios)
    one_start = f"ours/theirs {ratios['mne-hmm, one start']:.2f} for one start"
    ratio = ratios["mne-hmm, full search"]
    _add_training(table, who, seconds, features, parameters, f"{note}; {one_start}", ratio)


@pytest.fixture(scope="module")
def random_visits(features):
    """Seeded states that those start from which have no such start of their own."""
    return parcels.visits(len(features), K, np.random.default_rng(1))


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_training_osl_dynamics(features, osl, our_training, benchmark, table, batch_size):
    """Best of three starts after an epoch, then the epochs of the tutorial."""

    def train():
        osl.seed(0)
        model, data = osl.model(batch_size, learn_covariances=True), osl.data(features)
        model.random_state_time_course_initialization(data, n_init=3, n_epochs=1, verbose=0)
        model.fit(data, verbose=0)
        emission = model.get_means_covariances()
        transition = model.get_trans_prob()
        initial = model.get_initial_state_probs()
        return (initial, transition, *emission), f"3 x 1 + {EPOCHS} epochs"

    who = f"osl-dynamics, batches of {batch_size}"
    _train(benchmark, table, who, our_training, train, features)


def test_training_glhmm(features, random_visits, our_training, benchmark, table):
    """One start from random visits, by its compiled recursions. Its own starts take no seed."""
    module = pytest.importorskip("glhmm.glhmm")
    x = features.astype(float)

    def train(x=x, passes=GLHMM_PASSES):
        model = module.glhmm(K=K, covtype="full", model_mean="no", model_beta="no")
        options = {"cyc": passes, "serial": True, "verbose": False}
        visits = np.eye(K)[random_visits[: len(x)]]
        *_, course = model.train(X=None, Y=x, Gamma=visits, options=options)
        covariances = np.moveaxis(model.get_covariance_matrices(), -1, 0)
        means = np.zeros(covariances.shape[:2])
        parameters = model.get_Pi(), model.get_P(), means, covariances
        return parameters, f"{len(course)} passes"

    train(x[:2000], 1)  # compiles
    _train(benchmark, table, "glhmm, one start", our_training, train, features)


def test_training_hmmlearn(features, random_visits, our_training, benchmark, table):
    """One start from random visits. It divides by zero unless it learns means too."""
    hmmlearn = pytest.importorskip("hmmlearn.hmm")
    x = features.astype(float)

    def train():
        model = hmmlearn.GaussianHMM(
            K, covariance_type="full", n_iter=HMMLEARN_PASSES, init_params=""
        )
        model.startprob_ = np.full(K, 1 / K)
        model.transmat_ = np.where(np.eye(K), 0.9, 0.1 / (K - 1))
        model.means_ = np.zeros((K, x.shape[1]))
        model.covars_ = np.stack([np.cov(x[random_visits == k].T) for k in range(K)])
        model.fit(x)
        parameters = model.startprob_, model.transmat_, model.means_, model.covars_
        return parameters, f"{model.monitor_.iter} passes"

    _train(benchmark, table, "hmmlearn, one start", our_training, train, features)


# Decoding with the parameters of the model trained from the truth


@pytest.fixture(params=["predict", "infer"])
def our_decoding(request, features, prepared, from_truth):
    """Our call for users, and the one of the engine (densities of the samples included)."""
    samples = Samples([features], [[len(features)]])
    parameters = Parameters(*parameters_of(from_truth))

    def labels(method):
        if request.param == "predict":
            return from_truth.predict(prepared, method=method)[0].labels
        if method == "viterbi":
            return most_probable_path(samples, parameters).labels
        return infer(samples, parameters).probabilities.argmax(1)

    return SimpleNamespace(who=f"mne-hmm, {request.param}", labels=labels)


def _agreement(ours, theirs):
    """Say on how many samples two state sequences agree, as far as the shorter goes."""
    n = min(len(ours), len(theirs))
    return f"{100 * np.mean(ours[:n] == theirs[:n]):.2f} % of the states agree"


@pytest.fixture(scope="module")
def osl_decoder(features, osl, from_truth):
    """Model of osl-dynamics with our parameters, and its data."""
    initial, transition, means, covariances = parameters_of(from_truth)
    model = osl.model(
        256,
        learn_covariances=False,
        initial_means=means.astype(np.float32),
        initial_covariances=covariances.astype(np.float32),
        initial_trans_prob=transition,
        initial_state_probs=initial,
    )
    return model, osl.data(features)


@pytest.fixture(scope="module")
def hmmlearn_decoder(features, from_truth):
    """Model of hmmlearn with our parameters, and its data."""
    hmmlearn = pytest.importorskip("hmmlearn.hmm")
    model = hmmlearn.GaussianHMM(K, covariance_type="full")
    model.startprob_, model.transmat_, model.means_, model.covars_ = parameters_of(from_truth)
    return model, features.astype(float)


def test_posterior_osl_dynamics(our_decoding, osl_decoder, benchmark, table):
    """Posterior of the states, densities included, against `get_alpha`."""
    model, data = osl_decoder
    compare(
        benchmark,
        table,
        "posterior",
        (our_decoding.who, "osl-dynamics, get_alpha"),
        lambda: our_decoding.labels("posterior"),
        lambda: model.get_alpha(data, verbose=0).argmax(1),
        _agreement,
    )


def test_posterior_hmmlearn(our_decoding, hmmlearn_decoder, benchmark, table):
    """Posterior of the states, densities included, against `predict_proba`."""
    model, x = hmmlearn_decoder
    compare(
        benchmark,
        table,
        "posterior",
        (our_decoding.who, "hmmlearn, predict_proba"),
        lambda: our_decoding.labels("posterior"),
        lambda: model.predict_proba(x).argmax(1),
        _agreement,
    )


def test_viterbi_osl_dynamics(our_decoding, osl_decoder, benchmark, table):
    """Most probable path, densities included, against `get_viterbi_path`."""
    model, data = osl_decoder
    compare(
        benchmark,
        table,
        "viterbi",
        (our_decoding.who, "osl-dynamics, get_viterbi_path"),
        lambda: our_decoding.labels("viterbi"),
        lambda: model.get_viterbi_path(data).argmax(1),
        _agreement,
    )


def test_viterbi_hmmlearn(our_decoding, hmmlearn_decoder, benchmark, table):
    """Most probable path, densities included, against `predict`."""
    model, x = hmmlearn_decoder
    compare(
        benchmark,
        table,
        "viterbi",
        (our_decoding.who, "hmmlearn, predict"),
        lambda: our_decoding.labels("viterbi"),
        lambda: model.predict(x),
        _agreement,
    )


@pytest.mark.parametrize("method", ["posterior", "viterbi"])
def test_recursions_hmmlearn(features, from_truth, benchmark, table, method):
    """The recursions alone: both are given the densities of the samples."""
    base = pytest.importorskip("hmmlearn.base")
    initial, transition, means, covariances = parameters_of(from_truth)
    densities = log_densities(features, means, covariances)

    class GivenDensities(base.BaseHMM):
        def _check(self):
            pass

        def _compute_log_likelihood(self, x):
            return x

    model = GivenDensities(K)
    model.startprob_, model.transmat_ = initial, transition

    def ours():
        if method == "viterbi":
            return decode(densities, [len(densities)], transition, initial).labels
        return smooth(densities, [len(densities)], transition, initial).probabilities.argmax(1)

    def theirs():
        if method == "viterbi":
            return model.predict(densities)
        return model.predict_proba(densities).argmax(1)

    who = "mne-hmm, no densities", "hmmlearn, no densities"
    compare(benchmark, table, method, who, ours, theirs, _agreement)
