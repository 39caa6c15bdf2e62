"""Figures. Matplotlib is imported inside the functions that draw."""

from .states import plot_states
from .training import plot_history

__all__ = ["plot_history", "plot_states"]
