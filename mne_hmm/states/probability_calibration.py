"""Whether probabilities of states are what they say, on recordings whose states are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .._utils.arrays import divide_or_nan
from .._utils.checks import check_number
from .._utils.mne_private import check_pandas
from .matching import best_match, common_samples, correlations, same_recordings
from .time_course import StateTimeCourse, as_courses

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class Calibration:
    """How often states were right that were called with a given probability.

    Made by :func:`compute_calibration`.

    Parameters
    ----------
    probability : array, shape (n_bins,)
        Mean probability of the most probable state, over the samples of each bin. NaN in bins
        without samples.
    share_right : array, shape (n_bins,)
        Share of these samples that were in that state. NaN in bins without samples.
    n_samples : array of int, shape (n_bins,)
        Number of samples in each bin.
    """

    probability: np.ndarray
    share_right: np.ndarray
    n_samples: np.ndarray

    @property
    def error(self) -> float:
        """Mean difference of the two over samples (the expected calibration error)."""
        filled = self.n_samples > 0
        gaps = np.abs(self.probability - self.share_right)[filled]
        return float(np.average(gaps, weights=self.n_samples[filled]))

    def to_data_frame(self) -> "DataFrame":
        """Get the calibration as a table with one row per bin.

        Returns
        -------
        df : pandas.DataFrame
            Columns ``probability``, ``share_right`` and ``n_samples``; needs pandas.
        """
        return check_pandas().DataFrame(dict(vars(self)))

    def __str__(self) -> str:
        rows = [
            f"{p:11.3f}  {right:11.3f}  {n:9,}"
            for p, right, n in zip(self.probability, self.share_right, self.n_samples, strict=True)
            if n
        ]
        return "\n".join(["probability  share right    samples", *rows])

    __repr__ = __str__


def compute_calibration(
    states: StateTimeCourse | Sequence[StateTimeCourse],
    truth: StateTimeCourse | Sequence[StateTimeCourse],
    *,
    n_bins: int = 10,
) -> Calibration:
    """Compare probabilities of states with how often they are right.

    Of all samples that a good model calls with a probability of 0.8, 80 % are right.

    Parameters
    ----------
    states : StateTimeCourse | list of StateTimeCourse
        States of one recording or several, as :meth:`HMM.predict` gives.
    truth : StateTimeCourse | list of StateTimeCourse
        The true states, as `simulate_raw` gives. They are matched with the others first.
    n_bins : int
        Number of bins of equal width that the probabilities are put into, from 0 to 1.

    Returns
    -------
    calibration : Calibration
        What was said, and what was right, over all recordings together.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If the two are not of the same recordings, or have no sample in common.

    Notes
    -----
    The probability is that of the most probable state, so bins below 1 / n_states are empty.
    A state without a partner among the true ones is never right. A model whose assumptions do
    not hold is overconfident: time-delay embedding shows each sample to a model as many times as
    there are lags, as if it were new each time.

    Examples
    --------
    >>> import mne_hmm
    >>> _, truth = mne_hmm.simulate_raw(n_states=3, n_channels=4, duration=10., random_state=0)
    >>> mne_hmm.compute_calibration(truth, truth).error
    0.0
    """
    rule = "a whole number from 1 to 10000"
    n_bins = check_number(n_bins, "n_bins", rule=rule, low=1, high=10_000, integer=True)
    pairs = [
        common_samples(a, b) for a, b in same_recordings(as_courses(states), as_courses(truth))
    ]
    order = best_match(correlations([(a.probabilities, b.probabilities) for a, b in pairs]))
    largest = np.concatenate([a.probabilities.max(axis=0) for a, _ in pairs]).astype(float)
    right = np.concatenate([order[a.labels] == b.labels for a, b in pairs])
    bins = np.minimum((largest * n_bins).astype(int), n_bins - 1)
    n_samples = np.bincount(bins, minlength=n_bins)
    probability, share = (
        divide_or_nan(np.bincount(bins, weights=values, minlength=n_bins), n_samples)
        for values in (largest, right)
    )
    return Calibration(probability, share, n_samples)
