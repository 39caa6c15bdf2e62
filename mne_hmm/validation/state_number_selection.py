"""What is known of each number of states: a table, a figure, and the rule that chooses."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .._utils.arrays import nanmean_of_rows
from .._utils.checks import check_number
from .._utils.mne_private import check_pandas
from .recommendation import Recommendation, recommend

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CRITERIA = ("aic", "bic", "icl")
MEASURES = ("agreement", "correlation", "distance")


@dataclass(frozen=True, eq=False)
class StateNumberSelection:
    """What is known of each number of states.

    Made by :func:`select_n_states`.

    Parameters
    ----------
    n_states : tuple of int
        The numbers of states that were tried.
    free_energy : array, shape (n_numbers, n_repeats)
        Free energy of the training data in nats per sample, of each fit on all data; lower is
        better.
    held_out : array, shape (n_numbers, n_folds)
        Log evidence of the held-out data in nats per sample; higher is better.
    repeats_agreement : array, shape (n_numbers, n_pairs)
        Share of samples alike, corrected for chance (Cohen's kappa), of each pair of repeats.
        NaN where nothing can be said.
    halves_agreement : array, shape (n_numbers,)
        The same of the two models trained on half of the data each, over all data.
    repeats_correlation : array, shape (n_numbers, n_pairs)
        Correlation of the state probabilities of each pair of repeats, mean over states.
    halves_correlation : array, shape (n_numbers,)
        The same of the models of the two halves.
    repeats_distance : array, shape (n_numbers, n_pairs)
        Distance of the state covariances of each pair of repeats, mean over states.
    halves_distance : array, shape (n_numbers,)
        The same of the models of the two halves.
    metric : "riemannian" | "wasserstein"
        The distance.
    occupancy : tuple of array, shape (n_states,)
        Share of the samples in each state of the best repeat, for each number of states.
    n_parameters : array of int, shape (n_numbers,)
        Number of free parameters.
    log_evidence : array, shape (n_numbers,)
        Log evidence of all data in nats, of the best repeat.
    log_path : array, shape (n_numbers,)
        Joint log probability of all data and the most probable path, of the best repeat.
    n_samples : int
        Number of samples of all data.
    folds : str
        What the folds are, in words.
    n_unsettled : array of int, shape (n_numbers,)
        Number of fits that had not converged.
    explained_by_recording : array, shape (n_numbers,)
        Share of the variance of state occupancy that is explained by recording, of the best
        repeat. NaN for one recording.
    """

    n_states: tuple[int, ...]
    free_energy: np.ndarray = field(repr=False)
    held_out: np.ndarray = field(repr=False)
    repeats_agreement: np.ndarray = field(repr=False)
    halves_agreement: np.ndarray = field(repr=False)
    repeats_correlation: np.ndarray = field(repr=False)
    halves_correlation: np.ndarray = field(repr=False)
    repeats_distance: np.ndarray = field(repr=False)
    halves_distance: np.ndarray = field(repr=False)
    metric: str
    occupancy: tuple[np.ndarray, ...] = field(repr=False)
    n_parameters: np.ndarray = field(repr=False)
    log_evidence: np.ndarray = field(repr=False)
    log_path: np.ndarray = field(repr=False)
    n_samples: int
    folds: str
    n_unsettled: np.ndarray = field(repr=False)
    explained_by_recording: np.ndarray = field(repr=False)

    @property
    def min_occupancy(self) -> np.ndarray:
        """Occupancy of the weakest state, shape (n_numbers,)."""
        return np.array([occupancy.min() for occupancy in self.occupancy])

    @property
    def aic(self) -> np.ndarray:
        """Akaike's information criterion, shape (n_numbers,); lower is better."""
        return 2 * self.n_parameters - 2 * self.log_evidence

    @property
    def bic(self) -> np.ndarray:
        """Bayesian information criterion, shape (n_numbers,); lower is better."""
        return self.n_parameters * np.log(self.n_samples) - 2 * self.log_evidence

    @property
    def icl(self) -> np.ndarray:
        """Integrated completed likelihood, shape (n_numbers,); lower is better."""
        return self.n_parameters * np.log(self.n_samples) - 2 * self.log_path

    def below(self, best: int) -> tuple[np.ndarray, np.ndarray]:
        """Compute how much less held-out evidence each number has than a given one.

        Folds differ more from each other than numbers of states do, so numbers are compared
        within folds.

        Parameters
        ----------
        best : int
            Place of the number that the others are compared with.

        Returns
        -------
        difference : array, shape (n_numbers,)
            Mean over folds, in nats per sample.
        error : array, shape (n_numbers,)
            Its standard error.
        """
        differences = self.held_out[best] - self.held_out
        error = differences.std(axis=1, ddof=1) / np.sqrt(self.held_out.shape[1])
        return differences.mean(axis=1), error

    def recommend(
        self, *, min_agreement: float = 0.6, min_occupancy: float = 0.01
    ) -> Recommendation:
        """Choose a number of states.

        Parameters
        ----------
        min_agreement : float
            Mean agreement (kappa) of the repeats that a number must reach. From 0.6 on
            agreement is commonly called substantial :footcite:`LandisKoch1977`.
        min_occupancy : float
            Share of the samples that every state must have.

        Returns
        -------
        recommendation : Recommendation
            The number, the rule and the reasons; ``print`` shows them.

        Notes
        -----
        Among the numbers whose states recur and are all on, the fewest states are taken whose
        held-out log evidence lies within one standard error of the best (the one-standard-error
        rule :footcite:`BreimanEtAl1984`). The standard error is that of the differences within
        folds. Where no number meets the conditions, the rule does without them and the reasons
        say so. Information criteria take no part: they count neighboring samples as if each were
        new, and nearly always ask for more states.

        References
        ----------
        .. footbibliography::
        """
        rule = "a number from 0 to 1"
        min_agreement = check_number(min_agreement, "min_agreement", rule=rule, low=0, high=1)
        min_occupancy = check_number(min_occupancy, "min_occupancy", rule=rule, low=0, high=1)
        return recommend(self, min_agreement, min_occupancy)

    def to_data_frame(self) -> "pd.DataFrame":
        """Get what is known as a table with one row per number of states.

        Returns
        -------
        df : pandas.DataFrame
            Columns ``n_states``, ``free_energy`` (of the best repeat, nats per sample),
            ``held_out`` (mean over folds, nats per sample), ``held_out_below_best`` and
            ``held_out_error`` (mean difference from the best, and its standard error),
            ``repeats_agreement``, ``repeats_correlation`` and ``repeats_distance`` (means over
            pairs), ``halves_agreement``, ``halves_correlation``, ``halves_distance``,
            ``min_occupancy``, ``n_parameters``, ``aic``, ``bic``, ``icl``, ``n_unsettled`` and
            ``explained_by_recording``; needs pandas.
        """
        pandas = check_pandas()
        held_out = self.held_out.mean(axis=1)
        difference, error = self.below(int(held_out.argmax()))
        return pandas.DataFrame(
            {
                "n_states": list(self.n_states),
                "free_energy": self.free_energy.min(axis=1),
                "held_out": held_out,
                "held_out_below_best": difference,
                "held_out_error": error,
                **{
                    f"repeats_{name}": nanmean_of_rows(getattr(self, f"repeats_{name}"))
                    for name in MEASURES
                },
                **{f"halves_{name}": getattr(self, f"halves_{name}") for name in MEASURES},
                "min_occupancy": self.min_occupancy,
                "n_parameters": self.n_parameters,
                **{name: getattr(self, name) for name in CRITERIA},
                "n_unsettled": self.n_unsettled,
                "explained_by_recording": self.explained_by_recording,
            }
        )

    def plot(
        self, *, axes: "Sequence[Axes] | np.ndarray | None" = None, show: bool = True
    ) -> "Figure":
        """Plot what is known of each number of states.

        Parameters
        ----------
        axes : array of matplotlib.axes.Axes | None
            Where to plot, six of them. None makes a new figure.
        show : bool
            Whether to show the figure.

        Returns
        -------
        fig : matplotlib.figure.Figure
            The figure.
        """
        from ..viz import plot_selection

        return plot_selection(self, axes=axes, show=show)

    def __str__(self) -> str:
        held_out, agreement = self.held_out.mean(axis=1), nanmean_of_rows(self.repeats_agreement)
        _, error = self.below(int(held_out.argmax()))
        rows = [
            f"{k:6d}  {evidence:12.5f} ± {e:.5f}  {free:11.5f}  {repeats:7.3f}  {halves:6.3f}  "
            f"{100 * weakest:9.2f} %"
            for k, evidence, e, free, repeats, halves, weakest in zip(
                self.n_states,
                held_out,
                error,
                self.free_energy.min(axis=1),
                agreement,
                self.halves_agreement,
                self.min_occupancy,
                strict=True,
            )
        ]
        chosen = self.recommend()
        return "\n".join(
            [
                f"Number of states, by {self.folds}",
                "states  held-out evidence     free energy  repeats  halves  weakest state",
                *rows,
                f"Recommended: {chosen.n_states} (recommend() tells why)",
            ]
        )

    __repr__ = __str__
