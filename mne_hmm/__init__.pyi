from . import viz
from .cache import read_prepared
from .dual_estimate import DualEstimate
from .fit import fit_hmm
from .hmm import HMM, read_hmm
from .parcellation.fmri import parcellate_nifti
from .parcellation.parcellate import parcellate
from .parcellation.signs import SignAlignment, align_signs
from .preparation import prepare
from .prepared import PreparedData
from .priors import Priors
from .settings import FittedPreparation, Preparation
from .simulation import simulate_raw
from .spectra import StateSpectra
from .states import StateTimeCourse
from .statistics import StateStatistics
from .tinda import CycleTest, Tinda, compute_tinda
from .workers import multi_worker_strategy

__version__: str

__all__ = [
    "HMM",
    "CycleTest",
    "DualEstimate",
    "FittedPreparation",
    "Preparation",
    "PreparedData",
    "Priors",
    "SignAlignment",
    "StateSpectra",
    "StateStatistics",
    "StateTimeCourse",
    "Tinda",
    "align_signs",
    "compute_tinda",
    "fit_hmm",
    "multi_worker_strategy",
    "parcellate",
    "parcellate_nifti",
    "prepare",
    "read_hmm",
    "read_prepared",
    "simulate_raw",
    "viz",
]
