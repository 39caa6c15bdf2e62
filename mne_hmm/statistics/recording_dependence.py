"""Are states recordings: how much of what states do depends on which recording it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.arrays import divide_or_nan
from .._utils.checks import listed, plural
from .._utils.mne_private import check_pandas
from ..states.time_course import StateTimeCourse, as_courses

if TYPE_CHECKING:
    from pandas import DataFrame

# Blocks of a recording whose occupancies tell what chance does to that of the recording.
N_BLOCKS = 20
# With so many recordings or more, a state that is in one of them is hardly a state of the group ...
MIN_RECORDINGS = 3
# ... and it is in one if that has more than this share of its samples, and more than so many times
# the share of all samples that the recording has.
MIN_SHARE_IN_ONE, MIN_TIMES_EXPECTED = 0.9, 2.0
# Larger shares of the variance are warned of.
MAX_EXPLAINED = 0.5

# How a warning begins, by which it is recognized.
WARNING = "States may be recordings"


@dataclass(frozen=True, eq=False)
class RecordingDependence:
    """How much of what states do depends on which recording it is.

    Made by :func:`compute_recording_dependence`.

    Parameters
    ----------
    explained : float
        Share of the variance of state occupancy that is explained by recording, from 0 (all
        recordings have the same occupancies, but for chance) to 1 (each state is on in one
        recording only, or each recording has one state only). NaN for one recording.
    occupancy : array, shape (n_recordings, n_states)
        Share of each recording's samples in each state.
    n_samples : array of int, shape (n_recordings,)
        Number of samples of each recording.
    state_names : tuple of str
        Names of the states.
    names : tuple of str
        Names of the recordings.
    """

    explained: float
    occupancy: np.ndarray = field(repr=False)
    n_samples: np.ndarray = field(repr=False)
    state_names: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def shares(self) -> np.ndarray:
        """Share of each state's samples that lie in each recording, (n_recordings, n_states).

        NaN for states that are never on.
        """
        counts = self.occupancy * self.n_samples[:, np.newaxis]
        total = counts.sum(axis=0)
        return divide_or_nan(counts, total)

    @property
    def in_one(self) -> dict[str, str]:
        """States with over 90 % of their samples in one of several recordings, and which it is.

        A recording that has more than half as much of all data is none of these.
        """
        if len(self.names) < 2:
            return {}
        shares = np.nan_to_num(self.shares)
        largest = shares.argmax(axis=0)
        expected = self.n_samples / self.n_samples.sum()
        return {
            name: self.names[recording]
            for name, recording, share in zip(
                self.state_names, largest, shares.max(axis=0), strict=True
            )
            if share > MIN_SHARE_IN_ONE and share > MIN_TIMES_EXPECTED * expected[recording]
        }

    @property
    def are_recordings(self) -> bool:
        """Whether there is reason to say that states are recordings."""
        return len(self.names) >= MIN_RECORDINGS and (
            self.explained > MAX_EXPLAINED or bool(self.in_one)
        )

    def advice(self, align: str | None) -> str:
        """Say in words what is the matter, and what can be done.

        Parameters
        ----------
        align : str | None
            How the recordings were aligned.

        Returns
        -------
        advice : str
            A sentence or two.
        """
        shares = np.nan_to_num(self.shares).max(axis=0)
        where = [
            f"{name} has {100 * shares[self.state_names.index(name)]:.0f} % of its samples in "
            f"{recording}"
            for name, recording in self.in_one.items()
        ]
        share = f"{100 * self.explained:.0f} %"
        findings = [f"{share} of the variance of state occupancy is explained by recording"]
        if where:
            findings.append(listed(where, 3))
        if align in ("euclidean", "riemannian"):
            ways = (
                "they are aligned already, so look whether conditions differ, for artifacts, and "
                "for recordings that were cleaned in other ways"
            )
        else:
            ways = (
                'align them with Preparation(align="euclidean") (group=[...] keeps the recordings '
                "of one person together), and look whether conditions differ, for artifacts, and "
                "for channels with other signs"
            )
        return f"{WARNING}: {'; '.join(findings)}. If recordings should share their states, {ways}"

    def to_data_frame(self) -> "DataFrame":
        """Get the occupancies as a table with one row per recording and state.

        Returns
        -------
        df : pandas.DataFrame
            Columns ``recording``, ``state``, ``occupancy`` (share of the recording in the state)
            and ``share`` (share of the state in the recording); needs pandas.
        """
        pd = check_pandas()
        n_recordings, n_states = self.occupancy.shape
        return pd.DataFrame(
            {
                "recording": np.repeat(self.names, n_states),
                "state": np.tile(self.state_names, n_recordings),
                "occupancy": self.occupancy.ravel(),
                "share": self.shares.ravel(),
            }
        )

    def __str__(self) -> str:
        explained = "unknown" if np.isnan(self.explained) else f"{100 * self.explained:.0f} %"
        head = (
            f"<RecordingDependence | {plural(len(self.names), 'recording')}, "
            f"{plural(len(self.state_names), 'state')}, {explained} of the variance of state "
            "occupancy explained by recording>"
        )
        lines = [f"  {name} lives in {recording}" for name, recording in self.in_one.items()]
        return "\n".join([head, *lines])

    __repr__ = __str__


def compute_recording_dependence(
    states: StateTimeCourse | Sequence[StateTimeCourse], *, names: Sequence[Any] | None = None
) -> RecordingDependence:
    r"""Compute how much of what states do depends on which recording it is.

    Parameters
    ----------
    states : list of StateTimeCourse
        The states of several recordings, as :meth:`HMM.predict` returns them.
    names : sequence | None
        Names of the recordings; None numbers them from 0.

    Returns
    -------
    dependence : RecordingDependence
        The share of the variance, and where each state lives.

    Raises
    ------
    ValueError
        If there are more or fewer names than recordings, or a recording has no modeled sample.

    See Also
    --------
    summarize_states : A table of occupancies and more.

    Notes
    -----
    Let :math:`p_{rk}` be the share of state :math:`k` among the samples of recording :math:`r`,
    :math:`w_r` the recording's share of all samples, and :math:`p_k = \sum_r w_r p_{rk}`. The
    variance between recordings is :math:`B = \sum_r w_r \sum_k (p_{rk} - p_k)^2`. It is largest
    where each recording has states of its own, where it would be
    :math:`\sum_r w_r (1 - w_r) \sum_k p_{rk}^2`, or where each recording has one state, where it
    would be the variance of all samples, :math:`1 - \sum_k p_k^2`. With :math:`L`, the smaller of
    the two, and :math:`C`, what chance alone would give :math:`B`, the share is :math:`(B - C) / (L
    - C)`, or 0 if that is negative. For :math:`C` each recording is cut into 20 blocks in time, and
    the variance of their occupancies tells that of :math:`p_{rk}`.

    The share does not depend on how fast states change, as that of occupancies in windows would. It
    tells recordings apart, not why they differ: eyes that are closed in one of them count, too.

    Examples
    --------
    >>> import mne_hmm
    >>> _, first = mne_hmm.simulate_raw(n_states=3, duration=20., random_state=0)
    >>> _, second = mne_hmm.simulate_raw(n_states=3, duration=20., random_state=1)
    >>> round(mne_hmm.compute_recording_dependence([first, second]).explained, 1)
    0.0
    """
    courses = as_courses(states)
    names = (
        [str(i_recording) for i_recording in range(len(courses))] if names is None else list(names)
    )
    if len(names) != len(courses):
        raise ValueError(
            f"names must have one entry for each of {plural(len(courses), 'recording')}, got "
            f"{len(names)}"
        )
    counts = []
    for name, course in zip(names, courses, strict=True):
        labels = course.labels[course.labels >= 0]
        if not len(labels):
            raise ValueError(
                f"states of recording {name} have no modeled sample; leave the recording out"
            )
        counts.append(count_blocks(labels, course.n_states))
    return dependence_of(counts, courses[0].state_names, names)


def count_blocks(labels: np.ndarray, n_states: int) -> np.ndarray:
    """Count the samples of each state in blocks of a recording, shape (n_blocks, n_states)."""
    n_blocks = min(N_BLOCKS, len(labels))
    block = np.arange(len(labels)) * n_blocks // len(labels)
    flat = np.bincount(block * n_states + labels.astype(int), minlength=n_blocks * n_states)
    return flat.reshape(n_blocks, n_states)


def dependence_of(
    counts: Sequence[np.ndarray], state_names: Sequence[str], names: Sequence[Any]
) -> RecordingDependence:
    """Compute the dependence from the counts of recordings, shape (n_blocks, n_states) each."""
    n_samples = np.array([blocks.sum() for blocks in counts])
    occupancy = np.array([blocks.sum(axis=0) / blocks.sum() for blocks in counts])
    return RecordingDependence(
        _explained(counts, occupancy, n_samples / n_samples.sum()),
        occupancy,
        n_samples,
        tuple(state_names),
        tuple(map(str, names)),
    )


def _explained(counts: Sequence[np.ndarray], occupancy: np.ndarray, weights: np.ndarray) -> float:
    """Variance between recordings as a share of the largest that there could be."""
    if len(counts) < 2:
        return np.nan
    overall = weights @ occupancy
    between = weights @ np.square(occupancy - overall).sum(axis=1)
    largest = min(
        (weights * (1 - weights)) @ np.square(occupancy).sum(axis=1), 1 - np.square(overall).sum()
    )
    chance = (weights * (1 - weights)) @ np.array([_sampling_variance(blocks) for blocks in counts])
    if largest <= chance:  # one state for all
        return 0.0
    return float(np.clip((between - chance) / (largest - chance), 0, 1))


def _sampling_variance(counts: np.ndarray) -> float:
    """Variance of a recording's occupancies, summed over states, by that of its blocks."""
    n_blocks = len(counts)
    if n_blocks < 2:
        return 0.0
    blocks = counts / counts.sum(axis=1, keepdims=True)
    return blocks.var(axis=0, ddof=1).sum() / n_blocks
