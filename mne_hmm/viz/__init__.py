"""Figures. Matplotlib is imported inside the functions that draw."""

from .evoked import plot_state_evoked
from .maps import plot_glass_brain, plot_topomap
from .model import plot_covariances, plot_transition_graph, plot_transition_matrix
from .networks import plot_components, plot_connectome, plot_network_circle, plot_network_matrix
from .reference import plot_reference
from .selection import plot_selection
from .spectra import plot_state_coherence, plot_state_spectra
from .states import plot_states, plot_states_with_data
from .statistics import plot_lifetimes, plot_occupancy_over_time, plot_statistics
from .tinda import plot_tinda
from .training import plot_history

__all__ = [
    "plot_components",
    "plot_connectome",
    "plot_covariances",
    "plot_glass_brain",
    "plot_history",
    "plot_lifetimes",
    "plot_network_circle",
    "plot_network_matrix",
    "plot_occupancy_over_time",
    "plot_reference",
    "plot_selection",
    "plot_state_coherence",
    "plot_state_evoked",
    "plot_state_spectra",
    "plot_states",
    "plot_states_with_data",
    "plot_statistics",
    "plot_tinda",
    "plot_topomap",
    "plot_transition_graph",
    "plot_transition_matrix",
]
