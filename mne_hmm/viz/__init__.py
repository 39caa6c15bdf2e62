"""Figures. Matplotlib is imported inside the functions that draw."""

from .model import plot_covariances, plot_transition_graph, plot_transition_matrix
from .states import plot_states, plot_states_with_data
from .tinda import plot_tinda
from .training import plot_history

__all__ = [
    "plot_covariances",
    "plot_history",
    "plot_states",
    "plot_states_with_data",
    "plot_tinda",
    "plot_transition_graph",
    "plot_transition_matrix",
]
