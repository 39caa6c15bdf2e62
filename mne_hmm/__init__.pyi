from . import viz
from .cache import read_prepared
from .dual_estimate import DualEstimate
from .fit import fit_hmm
from .hmm import HMM, read_hmm
from .maps import StateMaps, mean_maps, power_maps
from .model_spectra import ModelAutocovariance, compute_model_spectra, model_autocovariance
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
from .workers import multi_worker_strategy

__version__: str

__all__ = [
    "HMM",
    "DualEstimate",
    "FittedPreparation",
    "ModelAutocovariance",
    "Preparation",
    "PreparedData",
    "Priors",
    "SignAlignment",
    "StateMaps",
    "StateSpectra",
    "StateStatistics",
    "StateTimeCourse",
    "align_signs",
    "compute_model_spectra",
    "fit_hmm",
    "mean_maps",
    "model_autocovariance",
    "multi_worker_strategy",
    "parcellate",
    "parcellate_nifti",
    "power_maps",
    "prepare",
    "read_hmm",
    "read_prepared",
    "simulate_raw",
    "viz",
]
