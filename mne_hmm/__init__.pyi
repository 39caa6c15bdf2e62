from . import viz
from .dual_estimate import DualEstimate
from .cache import read_prepared
from .fit import fit_hmm
from .hmm import HMM, read_hmm
from .preparation import prepare
from .prepared import PreparedData
from .settings import FittedPreparation, Preparation
from .simulation import simulate_raw
from .states import StateTimeCourse
from .statistics import StateStatistics

__version__: str

__all__ = [
    "HMM",
    "DualEstimate",
    "FittedPreparation",
    "Preparation",
    "PreparedData",
    "StateStatistics",
    "StateTimeCourse",
    "fit_hmm",
    "prepare",
    "read_hmm",
    "read_prepared",
    "simulate_raw",
    "viz",
]
