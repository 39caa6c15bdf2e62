"""Example data, published models and atlases, fetched when they are asked for."""

from .canonical import CanonicalResults, fetch_canonical_hmm, fetch_canonical_results

__all__ = [
    "CanonicalResults",
    "fetch_canonical_hmm",
    "fetch_canonical_results",
]
