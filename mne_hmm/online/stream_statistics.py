"""What online decoding takes from a recording made before, since later samples are not there."""

from dataclasses import replace
from typing import Any

import mne
import numpy as np

from .._utils.checks import plural
from ..io.inputs import to_recordings
from ..io.recording import Recording
from ..preparation.alignment_groups import AlignmentGroups
from ..preparation.features import RecordingStatistics, statistics_of
from ..preparation.settings import FittedPreparation
from ..preparation.signals import prepare_signals

# What to do about a calibration that is too short to be aligned.
ADVICE_IF_TOO_SHORT = "Record a longer one, or train the model with fewer channels"


def check_causal(preparation: FittedPreparation, sfreq: float) -> None:
    """Check that a preparation can be done as samples arrive."""
    if preparation.envelope:
        raise ValueError(
            "the model's preparation takes amplitude envelopes (envelope=True), and these need the "
            "samples that come later; train a model without them, as with Preparation()"
        )
    _check_kept_rate(preparation, 'info["sfreq"]', sfreq)


def _check_kept_rate(preparation: FittedPreparation, name: str, sfreq: float) -> None:
    """Check a rate where a preparation changes none."""
    if preparation.sfreq is None and sfreq != preparation.sfreq_:
        raise ValueError(
            f"{name} is {sfreq:g} Hz, but the model was trained on data at "
            f"{preparation.sfreq_:g} Hz that were not resampled; let the amplifier send that rate, "
            f"or train the model with a rate of its own, as with Preparation(sfreq={sfreq:g})"
        )


def statistics_from_calibration(
    preparation: FittedPreparation, calibration: Any, info: mne.Info, reject_by_annotation: bool
) -> RecordingStatistics:
    """Take what a recording is prepared by from a calibration, where anything is needed.

    These are means, standard deviations, signs, and the map to the mean of all recordings.
    """
    if not _is_needed(preparation, calibration):
        return RecordingStatistics()
    recording = _calibration_recording(preparation, calibration, info, reject_by_annotation)
    signals = prepare_signals(recording, preparation, 1)
    alignment = None
    if preparation.aligned_to_ is not None:
        alone = AlignmentGroups(
            [recording], (recording.label,), ((0,),), (None,), ADVICE_IF_TOO_SHORT
        )
        scatter = alone.scatter(signals, 0, preparation)
        alignment = alone.alignment([scatter], 0, preparation.aligned_to_)
    return statistics_of(signals, preparation, alignment)


def _is_needed(preparation: FittedPreparation, calibration: Any) -> bool:
    """Check that there is a calibration where one is needed, and nowhere else."""
    needed = preparation.standardize or preparation.align is not None
    if needed and calibration is None:
        does = "standardizes" if preparation.standardize else "aligns"
        raise ValueError(
            f"calibration is None, but the model's preparation {does} each recording; pass a "
            "recording of a minute or more from the same person and set-up, as calibration=raw "
            "(of a stream of mne_lsl: mne_hmm.record_stream(stream, 60))"
        )
    if not needed and calibration is not None:
        raise ValueError(
            "calibration is of no use here, as the model's preparation does not standardize "
            "(standardize=False); leave it out"
        )
    return needed


def _calibration_recording(
    preparation: FittedPreparation, calibration: Any, info: mne.Info, reject_by_annotation: bool
) -> Recording:
    """Turn a calibration into one recording with the model's channels, at a rate that it takes."""
    if isinstance(calibration, np.ndarray):
        if calibration.ndim != 2 or len(calibration) != len(info.ch_names):
            raise ValueError(
                "calibration must be a recording, or an array of the shape (n_channels, n_times) "
                f"with the {plural(len(info.ch_names), 'channel')} of info, got the shape "
                f"{calibration.shape}"
            )
        calibration = mne.io.RawArray(calibration, info, verbose="ERROR")
    recordings = to_recordings(
        calibration,
        ch_names=preparation.ch_names_,
        channels_from=preparation.channels_from_,
        reject_by_annotation=reject_by_annotation,
    )
    if len(recordings) != 1:
        raise ValueError(
            f"calibration must be one recording, got {len(recordings)}; put them together with "
            "mne.concatenate_raws"
        )
    recording = replace(recordings[0], label="the calibration")
    _check_kept_rate(preparation, "the rate of calibration", recording.timeline.sfreq)
    return recording
