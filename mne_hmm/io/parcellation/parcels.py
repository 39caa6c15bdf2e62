"""Where the parcels of an atlas lie among the sources of a recording."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Parcels:
    """Weights of sources in parcels.

    Parameters
    ----------
    names : tuple of str
        Names of the parcels.
    weights : scipy.sparse.csc_array, shape (n_sources, n_parcels)
        Weight of each source in each parcel, 0 outside. The largest weight of a parcel is 1.
    flips : scipy.sparse.csc_array, shape (n_sources, n_parcels) | None
        1 or -1 for each source of a parcel, by which sources of opposite orientation do not
        cancel; None where orientations are not known.
    """

    names: tuple[str, ...]
    weights: Any
    flips: Any = None
