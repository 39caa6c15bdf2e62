"""Figures. Matplotlib is imported inside the functions that draw."""

from .maps import plot_glass_brain, plot_topomap
from .states import plot_states
from .training import plot_history

__all__ = ["plot_glass_brain", "plot_history", "plot_states", "plot_topomap"]
