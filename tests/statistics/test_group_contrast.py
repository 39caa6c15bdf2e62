"""Group contrasts by permutations."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import mne_hmm
from mne_hmm.statistics.permutation import label_shuffles, p_values, sign_flips

ALTERNATIVES = {0: "two-sided", 1: "greater", -1: "less"}


@pytest.fixture(scope="module")
def occupancies():
    """Occupancies of eleven recordings, five and six, with one state more often in the first."""
    rng = np.random.default_rng(4)
    values = rng.dirichlet([4, 3, 2, 3], 11)
    values[:5, 0] += 0.15
    return values, np.array(list("aabbabababb"))


def sorted_groups(values, groups):
    return values[groups == "a"], values[groups == "b"]


@pytest.mark.parametrize("tail", [0, 1, -1])
def test_independent_groups_like_scipy(occupancies, tail):
    values, groups = occupancies
    got = mne_hmm.contrast_groups(values, groups, tail=tail)
    first, second = sorted_groups(values, groups)
    assert got.n_permutations == 461  # the others of 462
    assert got.contrast == "a - b"
    assert_allclose(got.t, stats.ttest_ind(first, second).statistic, rtol=1e-12, atol=0)
    expected = stats.permutation_test(
        (first, second),
        lambda x, y, axis: stats.ttest_ind(x, y, axis=axis).statistic,
        n_resamples=np.inf,
        vectorized=True,
        alternative=ALTERNATIVES[tail],
    )
    if tail == 0:  # SciPy doubles the smaller tail; ours is of the absolute value
        null = np.abs(expected.null_distribution)
        p = (null >= np.abs(got.t) * (1 - 1e-9)).mean(axis=0)
        largest = (null.max(axis=1)[:, None] >= np.abs(got.t) * (1 - 1e-9)).mean(axis=0)
        assert_allclose(got.p_corrected, largest, rtol=1e-12, atol=0)
    else:
        p = expected.pvalue
    assert_allclose(got.p, p, rtol=1e-12, atol=0)
    assert (got.p_corrected >= got.p).all()


@pytest.mark.parametrize("tail", [0, 1, -1])
def test_pairs_like_scipy(occupancies, tail):
    values = occupancies[0][:10]
    order = np.array([3, 0, 7, 5, 1, 9, 2, 8, 4, 6])
    subjects = np.array(list("uuvvwwxxyy"))[order]
    sessions = np.tile([1, 2], 5)[order]
    shuffled = values[order]
    got = mne_hmm.contrast_groups(shuffled, sessions, pairs=subjects, tail=tail)
    difference = values[::2] - values[1::2]
    assert_allclose(got.difference, difference.mean(axis=0), rtol=1e-12, atol=0)
    assert_allclose(got.t, stats.ttest_1samp(difference, 0).statistic, rtol=1e-12, atol=0)
    expected = stats.permutation_test(
        (values[::2], values[1::2]),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
        alternative=ALTERNATIVES[tail],
    )
    assert got.n_permutations == 31
    # Flips are symmetric: twice the smaller tail is that of the absolute value.
    assert_allclose(got.p, expected.pvalue, rtol=1e-12, atol=0)
    one_sample = mne_hmm.contrast_groups(difference, tail=tail)
    assert_allclose(one_sample.p_corrected, got.p_corrected, rtol=1e-12, atol=0)
    assert one_sample.contrast == "mean"


def test_sampled_permutations_come_near_the_exact_ones(occupancies):
    values, groups = occupancies
    exact = mne_hmm.contrast_groups(values, groups)
    drawn = mne_hmm.contrast_groups(values, groups, n_permutations=400, random_state=0)
    assert drawn.n_permutations == 400
    # Five standard errors of a share of 400.
    for name in ("p", "p_corrected"):
        p = getattr(exact, name)
        error = 5 * np.sqrt(p * (1 - p) / 400) + 1 / 401
        assert (np.abs(getattr(drawn, name) - p) <= error).all()
    again = mne_hmm.contrast_groups(values, groups, n_permutations=400, random_state=0)
    assert_array_equal(again.p, drawn.p)


def test_family_wise_error():
    """Without any difference, some state is found in 5 % of the studies; states depend."""
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1], 8)
    significant = np.zeros((2, 400), bool)
    for study in range(400):
        values = rng.dirichlet([3.0] * 6, 16)
        got = mne_hmm.contrast_groups(values, groups, n_permutations=199, random_state=rng)
        significant[:, study] = got.p.min() <= 0.05, got.p_corrected.min() <= 0.05
    # 400 studies know a share of 0.05 to 0.011; uncorrected, one in four or so is found.
    assert 0.05 - 0.033 <= significant[1].mean() <= 0.05 + 0.033
    assert significant[0].mean() >= 0.15


def test_tables(fitted, simulated):
    pd = pytest.importorskip("pandas")
    states = fitted.predict(simulated[0])
    table = mne_hmm.summarize_states([states] * 6, names=list("zyxwvu"))
    rng = np.random.default_rng(1)
    table["mean_lifetime"] *= rng.uniform(0.5, 1.5, len(table))
    table["group"] = np.repeat(["old", "young", "young", "old", "old", "young"], 3)
    got = mne_hmm.contrast_groups(table, "group", measure="mean_lifetime")
    wide = table["mean_lifetime"].to_numpy().reshape(6, 3)
    same = mne_hmm.contrast_groups(wide, ["old", "young", "young", "old", "old", "young"])
    for name in ("difference", "t", "p", "p_corrected"):
        assert_allclose(getattr(got, name), getattr(same, name), rtol=1e-12, atol=0)
    frame = got.to_data_frame()
    assert isinstance(frame, pd.DataFrame)
    assert frame["state"].tolist() == list(states.state_names)
    assert list(frame.columns) == ["state", "difference", "t", "p", "p_corrected"]
    lines = str(got).splitlines()
    assert lines[0] == "mean_lifetime, old - young, 19 permutations"
    assert lines[2].split()[0] == "state_0"


def test_what_is_not_known_is_left_out(occupancies):
    values, groups = occupancies
    values = values.copy()
    values[[0, 3], 1] = np.nan
    values[:, 2] = np.nan
    got = mne_hmm.contrast_groups(values, groups)
    first, second = sorted_groups(values, groups)
    used = [0, 1, 3]
    expected = stats.ttest_ind(first[:, used], second[:, used], nan_policy="omit").statistic
    assert_allclose(got.t[used], expected, rtol=1e-12, atol=0)
    for name in ("difference", "t", "p", "p_corrected"):
        assert_array_equal(np.isnan(getattr(got, name)), [False, False, True, False])
    assert np.isnan(mne_hmm.contrast_groups(values[:, 2:3], groups).p).all()


def test_a_state_that_is_never_on_says_nothing(occupancies):
    values, groups = occupancies
    values = values.copy()
    values[:, 2] = 0.1
    got = mne_hmm.contrast_groups(values, groups)
    assert got.t[2] == 0
    assert got.p[2] == 1
    without = mne_hmm.contrast_groups(values[:, [0, 1, 3]], groups)
    assert_array_equal(got.p_corrected[[0, 1, 3]], without.p_corrected)


# Permutations


def test_few_permutations_come_once_each():
    signs = sign_flips(4, 100, np.random.default_rng(0))
    expected = set(itertools.product([1, -1], repeat=4)) - {(1, 1, 1, 1)}
    assert len(signs) == 15
    assert set(map(tuple, signs.astype(int).tolist())) == expected
    first = np.array([1, 0, 0, 1, 1, 0], bool)
    blocks = np.array([0, 0, 0, 1, 1, 1])
    shuffles = label_shuffles(first, blocks, 100, np.random.default_rng(0))
    assert len(shuffles) == 8
    assert len(np.unique(shuffles, axis=0)) == 8
    assert_array_equal(shuffles[:, :3].sum(axis=1), 1)
    assert_array_equal(shuffles[:, 3:].sum(axis=1), 2)
    assert (shuffles != first).any(axis=1).all()


def test_many_permutations_are_drawn_within_blocks():
    rng = np.random.default_rng(0)
    first = rng.random(60) < 0.4
    blocks = rng.integers(0, 3, 60)
    shuffles = label_shuffles(first, blocks, 500, rng)
    assert shuffles.shape == (500, 60)
    for block in range(3):
        inside = blocks == block
        assert_array_equal(shuffles[:, inside].sum(axis=1), first[inside].sum())
        # Each is in the first group as often as any other: five standard errors of 500.
        share = first[inside].mean()
        error = 5 * np.sqrt(share * (1 - share) / 500)
        assert_allclose(shuffles[:, inside].mean(axis=0), share, rtol=0, atol=error)
    signs = sign_flips(70, 500, rng)
    assert set(np.unique(signs)) == {-1, 1}
    assert_allclose(signs.mean(axis=0), 0, rtol=0, atol=5 / np.sqrt(500))


def test_p_values_count_what_is_observed():
    null = np.array([[1.0], [2.0], [2.0 * (1 - 1e-12)], [3.0]])
    assert_array_equal(p_values(np.array([2.0]), null), [4 / 5])
    assert_array_equal(p_values(np.array([4.0]), null), [1 / 5])


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"values": np.ones(3)}, r"\(n_recordings, n_states\), got an array of shape \(3,\)"),
        ({"groups": [1, 2, 3, 1, 2, 3]}, "two kinds, got 3: 1, 2, 3"),
        ({"groups": [1, 2]}, r"one entry per recording \(6\), got an array of shape \(2,\)"),
        ({"groups": "sex"}, "names a column, but values are an array"),
        ({"pairs": [1, 1, 2, 2, 3, 3]}, "pairs need groups"),
        ({"groups": [1, 2] * 3, "pairs": [1, 1, 2, 2, 3, 4]}, "'?3'?.* has 1 and 0"),
        ({"groups": [1, 2], "values": np.ones((2, 2))}, "at least 3 recordings, got 2"),
        ({"values": np.ones((1, 2))}, "at least 2 recordings, got 1"),
        ({"tail": 2}, "tail must be one of 0, 1, -1, got 2"),
        ({"n_permutations": 0}, "n_permutations must be a whole number ≥ 1, got 0"),
    ],
)
def test_wrong_arguments(kwargs, text):
    values = np.random.default_rng(0).random((6, 3))
    with pytest.raises(ValueError, match=text):
        mne_hmm.contrast_groups(**{"values": values, **kwargs})


def test_wrong_tables():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"recording": [0, 0, 1, 1], "state": list("abab"), "x": np.arange(4.0)})
    with pytest.raises(ValueError, match="measure must say which column"):
        mne_hmm.contrast_groups(table)
    with pytest.raises(ValueError, match="no column 'y', only recording, state, x"):
        mne_hmm.contrast_groups(table, measure="y")
    with pytest.raises(ValueError, match="no column 'sex'"):
        mne_hmm.contrast_groups(table, "sex", measure="x")
    with pytest.raises(ValueError, match="one row per recording and state"):
        mne_hmm.contrast_groups(pd.concat([table, table]), measure="x")
