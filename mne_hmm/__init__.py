"""Fast, recurring brain states in MEG, EEG and fMRI with hidden Markov models."""

from importlib.metadata import PackageNotFoundError, version

import lazy_loader as lazy

try:
    __version__ = version("mne-hmm")
except PackageNotFoundError:  # used from a source folder
    __version__ = "0.0.0"

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
