from . import viz
from .fit import fit_hmm
from .hmm import HMM, read_hmm
from .preparation import PreparedData, prepare
from .settings import FittedPreparation, Preparation
from .simulation import simulate_raw
from .states import StateTimeCourse
from .statistics import StateStatistics
from .workers import multi_worker_strategy

__version__: str

__all__ = [
    "HMM",
    "FittedPreparation",
    "Preparation",
    "PreparedData",
    "StateStatistics",
    "StateTimeCourse",
    "fit_hmm",
    "multi_worker_strategy",
    "prepare",
    "read_hmm",
    "simulate_raw",
    "viz",
]
