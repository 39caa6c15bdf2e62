from . import viz
from .cache import read_prepared
from .contrasts import GroupContrast, contrast_groups
from .dual_estimate import DualEstimate
from .evoked import compute_state_evoked
from .evoked_clusters import StateClusterTest, cluster_test_state_evoked
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
from .tables import (
    compute_occupancy_over_time,
    list_visits,
    summarize_recordings,
    summarize_states,
)
from .workers import multi_worker_strategy

__version__: str

__all__ = [
    "HMM",
    "DualEstimate",
    "FittedPreparation",
    "GroupContrast",
    "Preparation",
    "PreparedData",
    "Priors",
    "SignAlignment",
    "StateClusterTest",
    "StateSpectra",
    "StateStatistics",
    "StateTimeCourse",
    "align_signs",
    "cluster_test_state_evoked",
    "compute_occupancy_over_time",
    "compute_state_evoked",
    "contrast_groups",
    "fit_hmm",
    "list_visits",
    "multi_worker_strategy",
    "parcellate",
    "parcellate_nifti",
    "prepare",
    "read_hmm",
    "read_prepared",
    "simulate_raw",
    "summarize_recordings",
    "summarize_states",
    "viz",
]
