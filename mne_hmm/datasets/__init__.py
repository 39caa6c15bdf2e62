"""Example data and atlases, fetched when they are asked for."""

from .atlases import fetch_atlas
from .osf import fetch_osf

__all__ = [
    "fetch_atlas",
    "fetch_osf",
]
