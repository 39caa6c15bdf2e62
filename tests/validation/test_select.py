"""The number of states: numbers against computations of their own, the rule, and resuming."""

import signal
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from child_processes import ChildProcess
from helpers import three_states
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm._utils.arrays import nanmean_of_rows  # of nothing NaN, without a warning
from mne_hmm.model.fit_settings import FitSettings
from mne_hmm.states.matching import compare_states
from mne_hmm.validation import many_fits
from mne_hmm.validation.folds import Fold
from mne_hmm.validation.state_number_selection import StateNumberSelection

AS_IS = mne_hmm.Preparation.as_is()
SFREQ = 100.0
# As few and as short fits as will do.
QUICK = {"n_folds": 2, "n_repeats": 2, "n_init": 1, "random_state": 0, "sfreq": SFREQ}
QUICK |= {"preparation": AS_IS, "verbose": "WARNING"}


def select(x, n_states=(2, 3), **changes):
    return mne_hmm.select_n_states(x, n_states, **{**QUICK, **changes})


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A choice between two numbers, and the folder with its fits."""
    folder = tmp_path_factory.mktemp("selection") / "fits"
    return select(three_states(9000), checkpoint_dir=folder), folder


def assert_same(ours, theirs):
    for name, value in vars(ours).items():
        if name == "occupancy":
            for ours_of_fold, theirs_of_fold in zip(value, theirs.occupancy, strict=True):
                assert_array_equal(ours_of_fold, theirs_of_fold)
        else:
            assert_array_equal(value, getattr(theirs, name))


# What is known of each number


def test_finds_the_truth(done):
    """Three states explain held-out data best, and the rule says so."""
    selection, _ = done
    assert selection.n_states == (2, 3)
    choice = selection.recommend()
    assert choice.n_states == 3
    text = str(choice)
    assert "3 states\nRule: the fewest states whose held-out log evidence lies within one" in text
    assert "mean over 2 folds of blocks of recordings" in text
    assert "Fewer states (2) explain held-out data less well" in text
    assert selection.repeats_agreement.shape == (2, 1)
    assert selection.repeats_agreement[1, 0] > 0.99
    assert selection.halves_agreement[1] > 0.95
    assert "Recommended: 3" in str(selection)


def test_numbers_by_another_way(done):
    """Evidence of held-out blocks, criteria and occupancy are those of models fitted here."""
    selection, folder = done
    x = three_states(9000)
    n = x.shape[1]
    context = many_fits.FitContext.begin(
        mne_hmm.prepare(x, AS_IS, sfreq=SFREQ),
        FitSettings(learn_means=True, n_init=1, refine=False),
        1.0, int(np.random.default_rng(0).integers(2**62)), folder,
    )  # fmt: skip
    tasks = many_fits.list_tasks(3, [Fold(None, None)] * 2, [], 2, context.root_seed)
    fold = next(task for task in tasks if task.kind == "fold")
    repeats = [task for task in tasks if task.kind == "repeat"]
    settings = {"n_init": 1, "refine": False, "verbose": "WARNING"}
    # The first fold holds out the first half, and the gap is a second.
    train = mne_hmm.prepare(x[:, n // 2 + 100 :], AS_IS, sfreq=SFREQ)
    hmm = mne_hmm.fit_hmm(train, 3, random_state=fold.seed, **settings)
    held_out = hmm.score(x[:, : n // 2], sfreq=SFREQ)
    assert selection.held_out[1, 0] == pytest.approx(held_out, rel=1e-9)
    hmms = [
        mne_hmm.fit_hmm(x, 3, preparation=AS_IS, sfreq=SFREQ, random_state=task.seed, **settings)
        for task in repeats
    ]
    assert_allclose(selection.free_energy[1], [hmm.free_energy_ for hmm in hmms], rtol=1e-9)
    agreement = hmms[0].agreement(hmms[1], x, sfreq=SFREQ)
    assert selection.repeats_agreement[1, 0] == pytest.approx(agreement.kappa, rel=1e-6)
    # Float32 probabilities are the same, and sums of 9000 of them hardly differ.
    mean = agreement.correlation.mean()
    assert selection.repeats_correlation[1, 0] == pytest.approx(mean, abs=1e-6)
    order = mne_hmm.match_states(hmms[1], hmms[0])
    distances = compare_states(
        hmms[0].covariances_, hmms[1].covariances_, "riemannian", hmms[0].means_, hmms[1].means_
    )
    expected = distances[np.arange(3), order].mean()
    assert selection.repeats_distance[1, 0] == pytest.approx(expected, abs=1e-9)
    best = min(hmms, key=lambda hmm: hmm.free_energy_)
    states = best.predict(x, sfreq=SFREQ)
    assert_allclose(selection.occupancy[1], states.statistics().fractional_occupancy)
    # 2 + 3 * 2 probabilities, 3 * 3 means, and 3 * 6 variances and covariances.
    assert selection.n_parameters[1] == best.n_parameters == 2 + 6 + 9 + 18
    evidence = best.score(x, sfreq=SFREQ) * n
    assert selection.aic[1] == pytest.approx(2 * 35 - 2 * evidence, rel=1e-9)
    assert selection.bic[1] == pytest.approx(35 * np.log(n) - 2 * evidence, rel=1e-9)
    path = best.predict(x, sfreq=SFREQ, method="viterbi").labels
    deviations = x.T - best.means_[path]
    covs = best.covariances_[path]
    joint = (
        np.log(best.initial_probs_[path[0]])
        + np.log(best.transition_matrix_[path[:-1], path[1:]]).sum()
        - 0.5 * np.einsum("ti,tij,tj->", deviations, np.linalg.inv(covs), deviations)
        - 0.5 * np.linalg.slogdet(2 * np.pi * covs)[1].sum()
    )
    # Log densities are in float32.
    assert selection.icl[1] == pytest.approx(35 * np.log(n) - 2 * joint, rel=1e-6)
    assert selection.icl[1] > selection.bic[1]


def test_table(done):
    selection, _ = done
    frame = selection.to_data_frame().set_index("n_states")
    assert list(frame.index) == [2, 3]
    assert_allclose(frame["held_out"], selection.held_out.mean(axis=1))
    assert_allclose(frame["free_energy"], selection.free_energy.min(axis=1))
    assert frame["held_out_below_best"].min() == 0
    difference = selection.held_out[1] - selection.held_out[0]
    assert frame["held_out_below_best"][2] == pytest.approx(difference.mean())
    assert frame["held_out_error"][2] == pytest.approx(difference.std(ddof=1) / np.sqrt(2))
    assert_allclose(frame["bic"], selection.bic)
    assert_allclose(frame["min_occupancy"], [min(x) for x in selection.occupancy])


def test_figure(done):
    """Six axes show the numbers, and where the recommended one is."""
    selection, _ = done
    fig = selection.plot(show=False)
    axes = fig.axes
    titles = ["Held-out log evidence", "Free energy, training data", "Agreement of states"]
    titles += ["Occupancy of the weakest state", "Information criteria", "Distance of states"]
    assert [ax.get_title() for ax in axes] == titles
    for ax in axes:
        (mark,) = [line for line in ax.lines if line.get_linestyle() == "--"]
        assert_array_equal(mark.get_xdata(), [3, 3])
    assert_allclose(axes[0].lines[1].get_ydata(), -selection.below(1)[0])
    assert_allclose(axes[3].lines[0].get_ydata(), 100 * selection.min_occupancy)
    bic = axes[4].lines[1].get_ydata() * selection.n_samples
    assert_allclose(bic, selection.bic - selection.bic.min(), atol=1e-6)
    assert_allclose(axes[2].lines[-2].get_ydata(), selection.halves_correlation)
    assert_allclose(axes[5].lines[-2].get_ydata(), selection.halves_distance)
    assert axes[5].get_ylabel() == "Riemannian"
    matplotlib.pyplot.close(fig)
    with pytest.raises(ValueError, match="axes must be 6, got 1"):
        mne_hmm.viz.plot_selection(selection, axes=matplotlib.figure.Figure().add_subplot())


# Resuming


@pytest.fixture
def counted(monkeypatch):
    """Count fits; raise what is asked for at one of them."""
    calls = []

    def watched(*args, **kwargs):
        calls.append(args[1])
        if len(calls) == watched.stop:
            raise KeyboardInterrupt
        return fit(*args, **kwargs)

    fit = many_fits.fit_prepared
    watched.stop, watched.calls = None, calls
    monkeypatch.setattr(many_fits, "fit_prepared", watched)
    return watched


def test_the_same_call_again(done, counted):
    """Finished fits are not done again, not even for another choice of numbers and repeats."""
    selection, folder = done
    assert_same(select(three_states(9000), checkpoint_dir=folder), selection)
    partial = select(three_states(9000), (3, 2), n_repeats=1, checkpoint_dir=folder)
    assert partial.n_states == (2, 3)
    assert_array_equal(partial.held_out, selection.held_out)
    assert counted.calls == []


def test_interrupted(done, counted, tmp_path):
    """After an interruption the same call goes on, to the same bits."""
    selection, _ = done
    counted.stop = 3
    with pytest.raises(KeyboardInterrupt):
        select(three_states(9000), (3,), checkpoint_dir=tmp_path / "fits")
    assert len(list((tmp_path / "fits").glob("*.result"))) == 2
    again = select(three_states(9000), (3,), checkpoint_dir=tmp_path / "fits")
    assert len(counted.calls) == 3 + 4
    assert_array_equal(again.held_out[0], selection.held_out[1])
    assert_array_equal(again.free_energy[0], selection.free_energy[1])
    assert_array_equal(again.halves_agreement, selection.halves_agreement[1:2])


def test_damaged(done, counted, tmp_path):
    """A file that is damaged is told of, and its fit done again."""
    selection, folder = done
    copy = tmp_path / "fits"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (path,) = copy.glob("3-states-fold-1-of-2-*.result")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.warns(RuntimeWarning, match=r"3-states-fold-1.*damaged.*computed again"):
        again = select(three_states(9000), checkpoint_dir=copy)
    assert counted.calls == [3]
    assert_same(again, selection)


def test_another_call(done, tmp_path):
    """Fits to other data or with other settings are not taken."""
    _, folder = done
    with pytest.raises(ValueError, match=r"holds another training, which differs in data"):
        select(three_states(9000, 1), checkpoint_dir=folder)
    with pytest.raises(ValueError, match=r"differs in tol \(0.0001 there, 0.001 now\)"):
        select(three_states(9000), tol=1e-3, checkpoint_dir=folder)
    with pytest.raises(ValueError, match="differs in random_state"):
        select(three_states(9000), random_state=1, checkpoint_dir=folder)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is a file; give a folder"):
        select(three_states(9000), checkpoint_dir=tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="make it first"):
        select(three_states(9000), checkpoint_dir=tmp_path / "no" / "folder")


@pytest.mark.slow
def test_without_a_seed(counted, tmp_path):
    """Seeds are drawn once, and are those of the folder from then on."""
    first = select(three_states(9000), (3,), random_state=None, checkpoint_dir=tmp_path / "fits")
    n_fits = len(counted.calls)
    again = select(three_states(9000), (3,), random_state=None, checkpoint_dir=tmp_path / "fits")
    assert len(counted.calls) == n_fits == 6
    assert_same(first, again)


# Is dead before the third fit begins.
KILLED = """
import os, signal, sys
import test_select
from mne_hmm.validation import many_fits

def last(*args, count=[0], **kwargs):
    count[0] += 1
    if count[0] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return fit(*args, **kwargs)

fit = many_fits.fit_prepared
many_fits.fit_prepared = last
test_select.select(test_select.three_states(9000), checkpoint_dir=sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_and_resumed(done, counted, tmp_path):
    """What a process had finished when it was killed is there for the next."""
    selection, _ = done
    with ChildProcess(KILLED, tmp_path / "fits", path=[Path(__file__).parent]) as process:
        process.end(status=-signal.SIGKILL)
    assert_same(select(three_states(9000), checkpoint_dir=tmp_path / "fits"), selection)
    assert len(counted.calls) == 12 - 2


@pytest.mark.slow
def test_jobs(done, tmp_path):
    """Processes side by side change nothing but rounding, and keep their fits."""
    selection, _ = done
    both = select(three_states(9000), n_jobs=2, checkpoint_dir=tmp_path / "fits")
    assert len(list((tmp_path / "fits").glob("*.result"))) == 12
    assert_allclose(both.held_out, selection.held_out, rtol=1e-4)
    assert_allclose(both.free_energy, selection.free_energy, rtol=1e-4)
    assert both.recommend().n_states == 3


# Other ways in


@pytest.mark.slow
def test_recordings_in_a_folder(tmp_path):
    """Folds of recordings, which are read from where they are."""
    x = three_states(20_000)
    parts = [x[:, :5000], x[:, 5000:11_000], x[:, 11_000:]]
    kept = mne_hmm.prepare(parts, AS_IS, sfreq=SFREQ, cache_dir=tmp_path / "prepared")
    on_disk = select(kept, sfreq=None, preparation=None, n_folds=3)
    assert on_disk.folds == "3 folds of recordings"
    assert on_disk.n_samples == 20_000
    assert on_disk.recommend().n_states == 3
    in_memory = select(parts, n_folds=3)
    assert_allclose(on_disk.held_out, in_memory.held_out, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("n_true", [2, 4, 5])
def test_finds_other_truths(n_true):
    """The rule finds other numbers, too, among smaller and larger ones."""
    rng = np.random.default_rng(n_true)
    visits = rng.geometric(1 / 40, 2000)
    states = np.cumsum(rng.integers(1, n_true, len(visits))) % n_true
    labels = np.repeat(states, visits)[:20_000]
    loud = labels == np.arange(5)[:, np.newaxis]
    x = rng.standard_normal((5, 20_000)) * np.where(loud, 3, 1)
    numbers = range(max(n_true - 1, 2), n_true + 3)
    selection = select(x, numbers, n_folds=3)
    assert selection.recommend().n_states == n_true, str(selection.recommend())


def test_unsettled():
    """Fits that had not settled are counted, and told of once."""
    tasks = many_fits.list_tasks(2, [], [], 3, 0)
    fits = [{"converged": i_fit == 1, "warnings": []} for i_fit in range(3)]
    with pytest.warns(
        RuntimeWarning, match="2 of 3 fits had not settled after max_iter=9 "
    ) as warned:
        many_fits.warn_of_fits(tasks, fits, 9)
    assert len(warned) == 1
    choice = known(EVIDENCE, GOOD, ON, n_unsettled=np.arange(6)).recommend()
    assert "4 fits with this number had not settled" in str(choice)


@pytest.mark.slow
def test_nothing_settles():
    """The warning of every fit becomes one."""
    with pytest.warns(
        RuntimeWarning, match="6 of 6 fits had not settled after max_iter=1 "
    ) as warned:
        selection = select(three_states(3000), (2,), max_iter=1)
    assert len(warned) == 1
    assert_array_equal(selection.n_unsettled, [6])


def test_warnings_are_told_once():
    """The same warning of many fits is one, with the numbers of states."""
    tasks = many_fits.list_tasks(2, [], [], 2, 0) + many_fits.list_tasks(5, [], [], 1, 0)
    fits = [{"converged": True, "warnings": ["Rank is low."]} for _ in tasks]
    with pytest.warns(RuntimeWarning, match="Rank is low. .in 3 of 3 fits, with 2, 5 st") as warned:
        many_fits.warn_of_fits(tasks, fits, 100)
    assert len(warned) == 1


def test_seeds_depend_on_the_fit_alone():
    """Other numbers, folds or repeats beside it change nothing."""
    few = many_fits.list_tasks(3, [Fold(None, None)] * 2, [None] * 2, 2, 7)
    more = many_fits.list_tasks(3, [Fold(None, None)] * 2, [None] * 2, 5, 7)
    seeds = {task.step: task.seed for task in more}
    assert all(seeds[task.step] == task.seed for task in few)
    assert len(set(seeds.values())) == len(seeds) == 9
    other = many_fits.list_tasks(3, [Fold(None, None)] * 3, [], 0, 7)
    assert not {task.step for task in other} & set(seeds)  # other folds are other data


# The rule


def known(held_out, agreement, occupancy, **changes):
    """What is known of numbers from 2 on."""
    held_out = np.asarray(held_out, float)
    n = len(held_out)
    values = {
        "n_states": tuple(range(2, 2 + n)),
        "free_energy": -held_out[:, :1] * np.ones((1, 3)),
        "held_out": held_out,
        "repeats_agreement": np.asarray(agreement, float)[:, np.newaxis] * np.ones((1, 3)),
        "halves_agreement": np.full(n, 0.5),
        "repeats_correlation": np.full((n, 3), 0.8),
        "halves_correlation": np.full(n, 0.4),
        "repeats_distance": np.full((n, 3), 0.1),
        "halves_distance": np.full(n, 0.2),
        "metric": "riemannian",
        "occupancy": tuple(
            np.array([occupancy_of_state, 1 - occupancy_of_state])
            for occupancy_of_state in occupancy
        ),
        "n_parameters": np.arange(n),
        "log_evidence": np.zeros(n),
        "log_path": np.zeros(n),
        "n_samples": 1000,
        "folds": "3 folds of recordings",
        "n_unsettled": np.zeros(n, int),
        "explained_by_recording": np.zeros(n),
    }
    return StateNumberSelection(**values | changes)


# Recordings are further apart than numbers of states; 4 states are better than 3 by 0.1 each time,
# 5 by another 0.01, 0 and 0.02, and 6 and 7 hardly so.
EVIDENCE = np.array([0.0, 3.0, 10.0]) + np.array(
    [[-0.5, -0.6, -0.4], [-0.1, -0.1, -0.1], [0, 0, 0], [0.01, 0, 0.02], [0.02, -0.01, 0.03],
     [0.02, 0.02, 0.03]]
)  # fmt: skip
GOOD, ON = [0.95] * 6, [0.1] * 6


def test_one_standard_error_within_folds():
    """By hand: 7 are best; 6 are close enough, 5 (by 0.0133 ± 0.0033) are not."""
    selection = known(EVIDENCE, GOOD, ON)
    difference, error = selection.below(5)
    assert_allclose(difference, [0.5233, 0.1233, 0.0233, 0.0133, 0.01, 0], atol=5e-5)
    assert error[3] == pytest.approx(np.std([0.01, 0.02, 0.01], ddof=1) / np.sqrt(3))
    choice = selection.recommend()
    assert choice.n_states == 6
    assert "With 6 states it is lower by 0.01, within the standard error" in str(choice)
    assert "Fewer states (2, 3, 4, 5) explain held-out data less well: 5 by 0.013" in str(choice)


def test_states_must_recur_and_be_on():
    """Numbers that do not meet the conditions are no part of the rule, and it says why."""
    agreement = [0.95, 0.9, 0.9, 0.55, 0.9, 0.2]
    choice = known(EVIDENCE, agreement, [0.1, 0.1, 0.1, 0.1, 0.004, 0.1]).recommend()
    assert choice.n_states == 4
    text = str(choice)
    assert "Held-out log evidence is highest with 4 states" in text
    assert "Repeats do not agree well enough with 5, 7 states (0.55, 0.20)" in text
    assert "A state is hardly ever on with 6 states (0.4 %)" in text
    assert "kappa of at least 0.6 and all states are on for at least 1 %" in choice.rule
    looser = known(EVIDENCE, agreement, ON).recommend(min_agreement=0.5)
    assert looser.n_states == 5  # 6 are better by 0.0033 ± 0.0067
    # 6 come close to 7, but do not recur.
    assert known(EVIDENCE, [0.9] * 4 + [0.2, 0.9], ON).recommend().n_states == 7
    looser = known(EVIDENCE, GOOD, [0.1] * 4 + [0.004] * 2).recommend(min_occupancy=0.003)
    assert looser.n_states == 6


def test_nothing_meets_the_conditions():
    """The rule goes on without them, and warns."""
    choice = known(EVIDENCE, [0.1] * 6, ON).recommend()
    assert choice.n_states == 6
    assert choice.reasons[0].startswith("No number meets the conditions")


def test_edges_of_what_was_tried():
    """At an end of the range, try further; but there is nothing below two states."""
    rising = np.arange(6)[:, np.newaxis] * np.array([1.0, 1.1, 0.9])
    choice = known(rising, GOOD, ON).recommend()
    assert (choice.n_states, choice.reasons[-1][:40]) == (
        7,
        "7 is the largest number that was tried; ",
    )
    falling = known(-rising, GOOD, ON, n_states=(4, 5, 6, 7, 8, 9)).recommend()
    assert falling.reasons[-1] == "4 is the smallest number that was tried; try smaller ones too."
    assert "smallest" not in str(known(-rising, GOOD, ON).recommend())


def test_nothing_is_known_of_repeats():
    """With one repeat the rule does not speak of them."""
    selection = known(EVIDENCE, GOOD, ON, repeats_agreement=np.empty((6, 0)))
    assert np.isnan(nanmean_of_rows(selection.repeats_agreement)).all()
    choice = selection.recommend()
    assert choice.n_states == 6
    assert "repeats" not in choice.rule
    assert "No number meets the conditions" not in str(choice)
    assert "Nothing is known of whether its states recur" in str(choice)
    fig = selection.plot(show=False)
    matplotlib.pyplot.close(fig)


# Errors


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"n_states": 4}, TypeError, "n_states must be a sequence of whole numbers.*fit_hmm"),
        ({"n_states": "45"}, TypeError, "n_states must be a sequence"),
        ({"n_states": []}, ValueError, "but it is empty"),
        ({"n_states": [3, 1]}, ValueError, "n_states must be whole numbers ≥ 2.*got 1"),
        ({"n_states": [2.5]}, TypeError, "n_states must be whole numbers ≥ 2"),
        ({"n_states": [3, 3]}, ValueError, "different numbers, got 3, 3"),
        ({"n_folds": 1}, ValueError, "n_folds must be a whole number ≥ 2, got 1"),
        ({"n_repeats": 0}, ValueError, "n_repeats must be a whole number ≥ 1, got 0"),
        ({"gap": -1}, ValueError, "gap must be a number of seconds ≥ 0, got -1"),
        ({"metric": "frobenius"}, ValueError, "metric must be one of 'riemannian', 'wasserstein'"),
        ({"gap": 50.0}, ValueError, "cannot be cut into 2 blocks with gaps of 50.00 s"),
        ({"learn_means": "no"}, ValueError, "learn_means must be one of 'auto', True, False"),
        ({"covariance_type": "x"}, ValueError, "covariance_type must be one of 'full', 'diag'"),
        ({"n_init": 0}, ValueError, "n_init must be a whole number ≥ 1, got 0"),
        ({"refine": 1}, ValueError, "refine must be one of True, False, got 1"),
        ({"max_iter": 0}, ValueError, "max_iter must be a whole number ≥ 1, got 0"),
        ({"tol": -1}, ValueError, "tol must be a number ≥ 0, got -1"),
        ({"priors": "auto"}, TypeError, "priors must be Priors or None"),
        ({"random_state": -1}, ValueError, "random_state must be None, a non-negative"),
        ({"checkpoint_dir": 1}, TypeError, "checkpoint_dir must be a path of a folder or None"),
        ({"n_states": [2, 400]}, ValueError, "n_states=400 has .* free parameters, but the data"),
    ],
)
def test_errors(changes, kind, message):
    """Said before the first fit, whatever is wrong."""
    with pytest.raises(kind, match=message):
        select(three_states(3000), **{"n_states": (2, 3)} | changes)


def test_wrong_limits():
    with pytest.raises(ValueError, match="min_agreement must be a number from 0 to 1, got 2"):
        known(EVIDENCE, GOOD, ON).recommend(min_agreement=2)
    with pytest.raises(ValueError, match="min_occupancy must be a number from 0 to 1, got -1"):
        known(EVIDENCE, GOOD, ON).recommend(min_occupancy=-1)


def test_prepared_already():
    prepared = mne_hmm.prepare(three_states(3000), AS_IS, sfreq=SFREQ)
    with pytest.raises(ValueError, match="preparation cannot be given with PreparedData"):
        select(prepared, sfreq=None)
