"""Data sets, published models and atlases, fetched when they are asked for."""

from .atlases import fetch_atlas
from .canonical import CanonicalResults, fetch_canonical_hmm, fetch_canonical_results
from .osf import fetch_osf

__all__ = [
    "CanonicalResults",
    "fetch_atlas",
    "fetch_canonical_hmm",
    "fetch_canonical_results",
    "fetch_osf",
]
