from . import datasets, viz
from ._utils.system import sys_info
from .engine import multi_worker_strategy
from .io.bids import find_bids_recordings, read_bids_recording
from .io.parcellation.nifti import parcellate_nifti
from .io.parcellation.parcellate import parcellate
from .model.bids_annotations import read_bids_annotations
from .model.bids_derivatives import write_bids_derivatives
from .model.dual_estimate import DualEstimate
from .model.fit import fit_hmm
from .model.hmm import HMM, read_hmm
from .model.osl import read_osl_hmm, write_osl_hmm
from .model.priors import Priors
from .model.training_reference import Reference, ReferenceComparison
from .online.decoder import OnlineDecoder, OnlineStates
from .online.stream import decode_stream, record_stream
from .preparation.cache import read_prepared
from .preparation.covariance_alignment import Alignment
from .preparation.prepare import prepare
from .preparation.prepared_data import PreparedData
from .preparation.settings import FittedPreparation, Preparation
from .preparation.sign_alignment import SignAlignment, align_signs
from .report import add_hmm_to_report
from .simulation.simulate import simulate_raw
from .spectral.components import SpectralComponents, find_spectral_components
from .spectral.from_model import ModelAutocovariance, compute_model_spectra, model_autocovariance
from .spectral.from_recordings import average_state_spectra, compute_state_spectra
from .spectral.maps import StateMaps, mean_maps, power_maps
from .spectral.networks import StateNetworks, coherence_networks
from .spectral.state_spectra import StateSpectra
from .states.agreement import StateAgreement, compute_agreement
from .states.matching import match_states
from .states.probability_calibration import Calibration, compute_calibration
from .states.time_course import StateTimeCourse
from .states.visits import StateStatistics
from .statistics.evoked import compute_state_evoked
from .statistics.evoked_clusters import StateClusterTest, cluster_test_state_evoked
from .statistics.group_contrast import GroupContrast, contrast_groups
from .statistics.recording_dependence import RecordingDependence, compute_recording_dependence
from .statistics.tables import (
    compute_occupancy_over_time,
    list_visits,
    summarize_recordings,
    summarize_states,
)
from .statistics.tinda import CycleTest, Tinda, compute_tinda
from .validation.bootstrap import BootstrapStatistics, bootstrap_statistics
from .validation.consensus import StateConsensus, compute_consensus
from .validation.cross_validation import CrossValidation, cross_validate
from .validation.recommendation import Recommendation
from .validation.select import select_n_states
from .validation.state_number_selection import StateNumberSelection

__version__: str

__all__ = [
    "HMM",
    "Alignment",
    "BootstrapStatistics",
    "Calibration",
    "CrossValidation",
    "CycleTest",
    "DualEstimate",
    "FittedPreparation",
    "GroupContrast",
    "ModelAutocovariance",
    "OnlineDecoder",
    "OnlineStates",
    "Preparation",
    "PreparedData",
    "Priors",
    "Recommendation",
    "RecordingDependence",
    "Reference",
    "ReferenceComparison",
    "SignAlignment",
    "SpectralComponents",
    "StateAgreement",
    "StateClusterTest",
    "StateConsensus",
    "StateMaps",
    "StateNetworks",
    "StateNumberSelection",
    "StateSpectra",
    "StateStatistics",
    "StateTimeCourse",
    "Tinda",
    "add_hmm_to_report",
    "align_signs",
    "average_state_spectra",
    "bootstrap_statistics",
    "cluster_test_state_evoked",
    "coherence_networks",
    "compute_agreement",
    "compute_calibration",
    "compute_consensus",
    "compute_model_spectra",
    "compute_occupancy_over_time",
    "compute_recording_dependence",
    "compute_state_evoked",
    "compute_state_spectra",
    "compute_tinda",
    "contrast_groups",
    "cross_validate",
    "datasets",
    "decode_stream",
    "find_bids_recordings",
    "find_spectral_components",
    "fit_hmm",
    "list_visits",
    "match_states",
    "mean_maps",
    "model_autocovariance",
    "multi_worker_strategy",
    "parcellate",
    "parcellate_nifti",
    "power_maps",
    "prepare",
    "read_bids_annotations",
    "read_bids_recording",
    "read_hmm",
    "read_osl_hmm",
    "read_prepared",
    "record_stream",
    "select_n_states",
    "simulate_raw",
    "summarize_recordings",
    "summarize_states",
    "sys_info",
    "viz",
    "write_bids_derivatives",
    "write_osl_hmm",
]
