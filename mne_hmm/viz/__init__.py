"""Figures. Matplotlib is imported inside the functions that draw."""

from .spectra import plot_state_coherence, plot_state_spectra
from .states import plot_states
from .training import plot_history

__all__ = ["plot_history", "plot_state_coherence", "plot_state_spectra", "plot_states"]
