"""Where recordings fall among those a model was trained on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .._utils.checks import plural
from .._utils.mne_private import check_pandas

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Percentiles between which a recording is taken for one like the others.
USUAL_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, eq=False)
class Reference:
    """Free energies of single recordings of the training data, for others to be compared with.

    Parameters
    ----------
    free_energy : array, shape (n_recordings,)
        Free energy of each under the model, in nats per sample.
    source : str
        What these recordings are.
    """

    free_energy: np.ndarray = field(repr=False)
    source: str = ""

    def compare(self, free_energy: np.ndarray, names: list[str]) -> "ReferenceComparison":
        """Find where recordings fall.

        Parameters
        ----------
        free_energy : array, shape (n_recordings,)
            Free energy of each under the model, in nats per sample.
        names : list of str
            What to call them.

        Returns
        -------
        comparison : ReferenceComparison
            Where they fall.
        """
        return ReferenceComparison(np.asarray(free_energy, float), tuple(names), self)


@dataclass(frozen=True, eq=False)
class ReferenceComparison:
    """Where recordings fall among those a model was trained on.

    Made by :meth:`HMM.compare_to_reference`.

    Parameters
    ----------
    free_energy : array, shape (n_recordings,)
        Free energy of each recording under the model, in nats per sample; lower is better.
    names : tuple of str
        What to call the recordings.
    reference : Reference
        The recordings of the training data.

    Notes
    -----
    People differ by several nats per sample. So a recording out of the range is one to look at, but
    one within it is no proof: parcels in another order, another sampling rate or line noise may
    change less than that.
    """

    free_energy: np.ndarray
    names: tuple[str, ...]
    reference: Reference

    @property
    def percentiles(self) -> np.ndarray:
        """Share of the training recordings with a lower free energy in percent, (n_recordings,)."""
        reference = np.sort(self.reference.free_energy)
        return 100 * np.searchsorted(reference, self.free_energy) / len(reference)

    @property
    def z_scores(self) -> np.ndarray:
        """Distance from their mean in their standard deviations, shape (n_recordings,)."""
        reference = self.reference.free_energy
        return (self.free_energy - reference.mean()) / reference.std(ddof=1)

    @property
    def verdicts(self) -> list[str]:
        """One line on each recording."""
        low, high = np.percentile(self.reference.free_energy, USUAL_PERCENTILES)
        usual = f"95 % of {self.reference.source or 'the training recordings'}"
        out = []
        for value in self.free_energy:
            if value > high:
                out.append(
                    f"worse described by the model than {usual}: check filter, sampling rate, "
                    "channels, their order and artifacts before its states are believed"
                )
            elif value < low:
                out.append(
                    f"simpler than {usual}: check for signals that are missing, filtered more "
                    "than theirs, or of low rank"
                )
            else:
                out.append(f"like {usual}")
        return out

    def __len__(self) -> int:
        return len(self.free_energy)

    def rows(self) -> Iterator[tuple[str, float, float, float, str]]:
        """Go through the recordings.

        Returns
        -------
        rows : iterator of tuple
            Name, free energy, percentile, z-score and verdict of each recording.
        """
        columns = (self.free_energy, self.percentiles, self.z_scores, self.verdicts)
        return zip(self.names, *columns, strict=True)

    def to_data_frame(self) -> "pd.DataFrame":
        """Get a table with one row per recording.

        Returns
        -------
        df : pandas.DataFrame
            Columns ``recording``, ``free_energy``, ``percentile``, ``z_score`` and ``verdict``.
        """
        pd = check_pandas()
        columns = ["recording", "free_energy", "percentile", "z_score", "verdict"]
        return pd.DataFrame(list(self.rows()), columns=columns)

    def plot(self, *, axes: "Axes | None" = None, show: bool = True) -> "Figure":
        """Plot the recordings on the distribution of the training recordings.

        Parameters
        ----------
        axes : matplotlib.axes.Axes | None
            Where to plot. None makes a new figure.
        show : bool
            Whether to show the figure.

        Returns
        -------
        fig : matplotlib.figure.Figure
            The figure.
        """
        from ..viz import plot_reference

        return plot_reference(self, axes=axes, show=show)

    def __str__(self) -> str:
        head = (
            f"<ReferenceComparison | {plural(len(self), 'recording')} against "
            f"{plural(len(self.reference.free_energy), 'recording')}>"
        )
        lines = [head]
        lines += [
            f"  {name}: {value:.2f} nats per sample, percentile {percentile:.1f}, z = {z:+.2f}; "
            f"{verdict}"
            for name, value, percentile, z, verdict in self.rows()
        ]
        return "\n".join(lines)

    __repr__ = __str__
