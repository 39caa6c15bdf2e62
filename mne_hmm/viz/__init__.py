"""Figures. Matplotlib is imported inside the functions that draw."""

from .evoked import plot_state_evoked
from .states import plot_states
from .statistics import plot_lifetimes, plot_occupancy_over_time, plot_statistics
from .training import plot_history

__all__ = [
    "plot_history",
    "plot_lifetimes",
    "plot_occupancy_over_time",
    "plot_state_evoked",
    "plot_states",
    "plot_statistics",
]
