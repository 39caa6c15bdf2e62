"""Differences between groups of recordings in what their states do."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._utils.arrays import nanmean_of_rows
from .._utils.checks import check_number, check_option, check_random_state, listed
from .._utils.docs import fill_doc
from .._utils.mne_private import check_pandas
from .._utils.typing import RandomState
from .permutation import (
    folded,
    label_shuffles,
    one_sample_t,
    p_values,
    sign_flips,
    two_sample_t,
)

if TYPE_CHECKING:
    import numpy.typing as npt
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class GroupContrast:
    """Differences between groups of recordings, state by state.

    Made by :func:`contrast_groups`.

    Parameters
    ----------
    state_names : tuple of str
        Names of the states.
    measure : str
        What was compared.
    contrast : str
        Which groups were compared, as in ``controls - patients``.
    difference : array, shape (n_states,)
        Mean difference.
    t : array, shape (n_states,)
        Student's t of it.
    p : array, shape (n_states,)
        The p-value of each state by itself. NaN where there are too few recordings.
    p_corrected : array, shape (n_states,)
        The p-value corrected for the number of states: how often the largest t of all states
        reaches this one by chance.
    n_permutations : int
        Number of permutations, besides the groups as they are.
    tail : int
        0 for both tails, 1 for the upper, -1 for the lower.
    """

    state_names: tuple[str, ...]
    measure: str
    contrast: str
    difference: np.ndarray = field(repr=False)
    t: np.ndarray = field(repr=False)
    p: np.ndarray = field(repr=False)
    p_corrected: np.ndarray = field(repr=False)
    n_permutations: int
    tail: int

    def to_data_frame(self) -> "DataFrame":
        """Get the contrast as a table with one row per state.

        Returns
        -------
        df : pandas.DataFrame
            Columns ``state``, ``difference``, ``t``, ``p`` and ``p_corrected``; needs pandas.
        """
        pd = check_pandas()
        columns = {name: getattr(self, name) for name in ("difference", "t", "p", "p_corrected")}
        return pd.DataFrame({"state": list(self.state_names), **columns})

    def __str__(self) -> str:
        width = max(map(len, (*self.state_names, "state")))
        rows = [
            f"{name:{width}s}  {difference:10.4g}  {t:6.2f}  {p:6.4f}  {corrected:11.4f}"
            for name, difference, t, p, corrected in zip(
                self.state_names, self.difference, self.t, self.p, self.p_corrected, strict=True
            )
        ]
        title = f"{self.measure}, {self.contrast}, {self.n_permutations:,} permutations"
        head = f"{'state':{width}s}  difference       t       p  p corrected"
        return "\n".join([title, head, *rows])

    __repr__ = __str__


@fill_doc
def contrast_groups(
    values: "DataFrame | npt.ArrayLike",
    groups: Sequence[Any] | np.ndarray | str | None = None,
    *,
    pairs: Sequence[Any] | np.ndarray | str | None = None,
    measure: str | None = None,
    n_permutations: int = 10_000,
    tail: int = 0,
    random_state: RandomState = None,
) -> GroupContrast:
    """Test whether groups of recordings differ, by permutations.

    Parameters
    ----------
    values : pandas.DataFrame | array, shape (n_recordings, n_states)
        A table with columns ``recording``, ``state`` and the measure, as `summarize_states`
        makes it, or a value per recording and state. NaN where nothing is known.
    groups : array, shape (n_recordings,) | str | None
        The group of each recording, one of two; of a table, in the order in which recordings
        first appear, or the name of the column that has it. The difference is that of the
        first group in sorted order minus the second. None tests the mean of all recordings
        against 0.
    pairs : array, shape (n_recordings,) | str | None
        What belongs together, as the subject of each recording: each pair has one recording
        in either group. None if the groups are independent.
    measure : str | None
        The column of the table to compare, for instance ``"mean_lifetime"``.
    n_permutations : int
        Number of permutations. If there are no more than these, each is taken once and the
        p-values are exact.
    tail : 0 | 1 | -1
        Whether differences in both directions count, or only those above or below 0.
    %(random_state)s

    Returns
    -------
    contrast : GroupContrast
        Difference, t and p-values of each state.

    Raises
    ------
    ValueError
        If there are not two groups, pairs are incomplete, or the table lacks a column.

    Notes
    -----
    Labels of independent groups are shuffled; differences of pairs, and single values, have
    their signs flipped. The former is exact if recordings are exchangeable between groups, the
    latter if differences are symmetric about 0. Both correct for the number of states by the
    largest t of all states in each permutation :footcite:`NicholsHolmes2002`. All states of
    a recording are permuted together, so they may depend on each other in any way, as
    occupancies do. Recordings where a measure is NaN are left out for that state alone.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> import numpy as np
    >>> import mne_hmm
    >>> rng = np.random.default_rng(0)
    >>> occupancy = rng.dirichlet([5, 5, 5], size=20)
    >>> contrast = mne_hmm.contrast_groups(occupancy, ["a", "b"] * 10, random_state=0)
    >>> contrast.contrast
    'a - b'
    """
    n_permutations = check_number(
        n_permutations, "n_permutations", rule="a whole number ≥ 1", low=1, integer=True
    )
    check_option(tail, "tail", (0, 1, -1))
    rng = check_random_state(random_state)
    table = _Table.of(values, measure)
    labels = table.per_recording(groups, "groups")
    partners = table.per_recording(pairs, "pairs")
    if labels is None:
        if partners is not None:
            raise ValueError("pairs need groups, which say which recording of a pair is which")
        _check_count(len(table.values), 2, "recordings")
        contrast, statistics = "mean", _test_mean(table.values, n_permutations, rng)
    else:
        first, contrast = _two_groups(labels)
        if partners is None:
            statistics = _test_difference(table.values, first, n_permutations, rng)
        else:
            differences = _differences_of_pairs(table.values, first, partners)
            statistics = _test_mean(differences, n_permutations, rng)
    p, corrected = _p_values_of_states(statistics, tail)
    return GroupContrast(
        table.state_names,
        table.measure,
        contrast,
        statistics.difference,
        statistics.t,
        p,
        corrected,
        len(statistics.null),
        tail,
    )


class _Statistics(NamedTuple):
    """Differences and their t, shape (n_states,), and t of permutations."""

    difference: np.ndarray
    t: np.ndarray
    """NaN where there are too few recordings."""
    null: np.ndarray
    """Shape (n_permutations, n_states)."""


def _test_mean(values: np.ndarray, n_permutations: int, rng: np.random.Generator) -> _Statistics:
    """Test the mean over recordings or pairs against 0, by flips of signs."""
    t = one_sample_t(values, np.ones((1, len(values))))[0]
    null = one_sample_t(values, sign_flips(len(values), n_permutations, rng))
    too_few = (~np.isnan(values)).sum(axis=0) < 2
    return _Statistics(nanmean_of_rows(values.T), np.where(too_few, np.nan, t), null)


def _test_difference(
    values: np.ndarray, first: np.ndarray, n_permutations: int, rng: np.random.Generator
) -> _Statistics:
    """Test the difference of two independent groups, by shuffles of their labels."""
    _check_count(len(values), 3, "recordings")
    shuffles = label_shuffles(first, np.zeros(len(values), int), n_permutations, rng)
    t, null = two_sample_t(values, first[np.newaxis])[0], two_sample_t(values, shuffles)
    difference = nanmean_of_rows(values[first].T) - nanmean_of_rows(values[~first].T)
    too_few = np.isnan(difference) | ((~np.isnan(values)).sum(axis=0) < 3)
    return _Statistics(difference, np.where(too_few, np.nan, t), null)


def _p_values_of_states(statistics: _Statistics, tail: int) -> tuple[np.ndarray, np.ndarray]:
    """p-values of each state by itself, and corrected for the number of states."""
    p, corrected = np.full((2, len(statistics.t)), np.nan)
    tested = ~np.isnan(statistics.t)
    if tested.any():
        observed = folded(statistics.t[tested], tail)
        null = folded(statistics.null[:, tested], tail)
        p[tested] = p_values(observed, null)
        corrected[tested] = p_values(observed, null.max(axis=1)[:, np.newaxis])
    return p, corrected


def _check_count(count: int, minimum: int, noun: str) -> None:
    """Check that there are enough recordings or pairs."""
    if count < minimum:
        raise ValueError(f"a contrast needs at least {minimum} {noun}, got {count}")


def _two_groups(labels: np.ndarray) -> tuple[np.ndarray, str]:
    """Which recordings are in the first of two groups, and the name of the contrast."""
    names = sorted(set(labels.tolist()))
    if len(names) != 2:
        raise ValueError(
            f"groups must be of two kinds, got {len(names)}: {listed(names)}; leave out the "
            "recordings of the others, or pass groups=None to test the mean against 0"
        )
    return labels == names[0], f"{names[0]} - {names[1]}"


def _differences_of_pairs(
    values: np.ndarray, first: np.ndarray, partners: np.ndarray
) -> np.ndarray:
    """First minus second recording of each pair, shape (n_pairs, n_states)."""
    names = list(dict.fromkeys(partners.tolist()))
    _check_count(len(names), 2, "pairs")
    out = np.empty((len(names), values.shape[1]))
    for row, name in zip(out, names, strict=True):
        of_pair = partners == name
        if (of_pair & first).sum() != 1 or (of_pair & ~first).sum() != 1:
            raise ValueError(
                f"pairs must have one recording in either group, but {name!r} has "
                f"{(of_pair & first).sum()} and {(of_pair & ~first).sum()}; leave it out, or "
                "average its recordings"
            )
        row[:] = values[of_pair & first][0] - values[of_pair & ~first][0]
    return out


@dataclass(frozen=True, eq=False)
class _Table:
    """A measure per recording and state, and the columns of a table that describe recordings."""

    values: np.ndarray
    state_names: tuple[str, ...]
    measure: str
    frame: "DataFrame | None" = None

    @classmethod
    def of(cls, values: Any, measure: str | None) -> "_Table":
        """Read a table or an array."""
        if not hasattr(values, "columns"):
            return cls._of_array(values, measure)
        if measure is None:
            raise ValueError(
                "measure must say which column of the table to compare, for instance "
                '"fractional_occupancy"'
            )
        for column in ("recording", "state", measure):
            _check_column(values, column)
        if values.duplicated(["recording", "state"]).any():
            raise ValueError(
                "values must have one row per recording and state, as summarize_states makes "
                "them; average those that are repeated"
            )
        wide = values.pivot(index="recording", columns="state", values=measure)
        wide = wide.loc[values["recording"].unique(), values["state"].unique()]
        frame = values.drop_duplicates("recording")
        return cls(wide.to_numpy(float), tuple(map(str, wide.columns)), measure, frame)

    @classmethod
    def _of_array(cls, values: "npt.ArrayLike", measure: str | None) -> "_Table":
        """Check an array, and name its states."""
        try:
            array = np.asarray(values, float)
        except (TypeError, ValueError) as error:
            raise TypeError(
                "values must be a table, as summarize_recordings makes, or an array of "
                f"numbers, got {type(values).__name__} ({error})"
            ) from error
        if array.ndim != 2:
            raise ValueError(
                "values must be a table or an array of shape (n_recordings, n_states), got an "
                f"array of shape {array.shape}"
            )
        names = tuple(f"state_{k}" for k in range(array.shape[1]))
        return cls(array, names, measure or "values")

    def per_recording(self, labels: Any, name: str) -> np.ndarray | None:
        """Get one label per recording, from a column of the table or an array."""
        if labels is None:
            return None
        if isinstance(labels, str):
            if self.frame is None:
                raise ValueError(
                    f"{name}={labels!r} names a column, but values are an array; give a list with "
                    "an entry per recording"
                )
            _check_column(self.frame, labels)
            return self.frame[labels].to_numpy()
        array = np.asarray(labels)
        if array.shape != (len(self.values),):
            raise ValueError(
                f"{name} must have one entry per recording ({len(self.values)}), got an array of "
                f"shape {array.shape}"
            )
        return array


def _check_column(frame: "DataFrame", name: str) -> None:
    """Check that a table has a column."""
    if name not in frame.columns:
        raise ValueError(
            f"the table has no column {name!r}, only {listed(frame.columns, 12)}; "
            "summarize_states makes such tables"
        )
