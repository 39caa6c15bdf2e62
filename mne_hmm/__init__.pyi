from . import datasets, viz
from .cache import read_prepared
from .components import SpectralComponents, find_spectral_components
from .contrasts import GroupContrast, contrast_groups
from .dual_estimate import DualEstimate
from .evoked import compute_state_evoked
from .evoked_clusters import StateClusterTest, cluster_test_state_evoked
from .fit import fit_hmm
from .hmm import HMM, read_hmm
from .maps import StateMaps, mean_maps, power_maps
from .model_spectra import ModelAutocovariance, compute_model_spectra, model_autocovariance
from .networks import StateNetworks, coherence_networks
from .parcellation.fmri import parcellate_nifti
from .parcellation.parcellate import parcellate
from .parcellation.signs import SignAlignment, align_signs
from .preparation import prepare
from .prepared import PreparedData
from .priors import Priors
from .reference import Reference, ReferenceComparison
from .report import add_hmm_to_report
from .settings import FittedPreparation, Preparation
from .simulation import simulate_raw
from .spectra import average_state_spectra, compute_state_spectra
from .state_spectra import StateSpectra
from .states import StateTimeCourse
from .statistics import StateStatistics
from .tables import (
    compute_occupancy_over_time,
    list_visits,
    summarize_recordings,
    summarize_states,
)
from .tinda import CycleTest, Tinda, compute_tinda
from .workers import multi_worker_strategy

__version__: str

__all__ = [
    "HMM",
    "CycleTest",
    "DualEstimate",
    "FittedPreparation",
    "GroupContrast",
    "ModelAutocovariance",
    "Preparation",
    "PreparedData",
    "Priors",
    "Reference",
    "ReferenceComparison",
    "SignAlignment",
    "SpectralComponents",
    "StateClusterTest",
    "StateMaps",
    "StateNetworks",
    "StateSpectra",
    "StateStatistics",
    "StateTimeCourse",
    "Tinda",
    "add_hmm_to_report",
    "align_signs",
    "average_state_spectra",
    "cluster_test_state_evoked",
    "coherence_networks",
    "compute_model_spectra",
    "compute_occupancy_over_time",
    "compute_state_evoked",
    "compute_state_spectra",
    "compute_tinda",
    "contrast_groups",
    "datasets",
    "find_spectral_components",
    "fit_hmm",
    "list_visits",
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
    "summarize_recordings",
    "summarize_states",
    "viz",
]
