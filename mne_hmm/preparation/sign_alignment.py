"""Signs of channels that agree between recordings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mne.io import BaseRaw
from mne.utils import logger, verbose

from .._utils.checks import check_number, check_random_state, listed, plural
from .._utils.docs import fill_doc
from ..io.inputs import to_recordings
from ..io.recording import MAX_VALUE, Recording
from .sign_search import (
    CovarianceEntries,
    Similarity,
    best_flips,
    compared_entries,
    lagged_covariance,
    median_recording,
    starts_of_search,
)


@dataclass(frozen=True, eq=False)
class SignAlignment:
    """Recordings whose channels' signs agree, and what was done to them.

    Made by :func:`align_signs`. It unpacks into its first four parameters:
    ``raws, flips, before, after = align_signs(...)``.

    Parameters
    ----------
    raws : list of Raw
        Copies of the recordings, with the signs of their channels changed.
    flips : array of int, shape (n_recordings, n_channels)
        What each channel was multiplied by, 1 or -1. All signs of a recording together change
        nothing; they are given such that fewer channels are flipped.
    similarity_before : array, shape (n_recordings,)
        Correlation of each recording's lagged covariances with the template's.
    similarity_after : array, shape (n_recordings,)
        The same after the flips.
    reference : int | None
        The recording that is the template, or None if the template is none of them.
    template : array, shape (n_channels * n_embeddings, n_channels * n_embeddings)
        Covariance of the embedded channels that the recordings were matched to. Passed as
        ``reference``, it aligns more recordings in the same way.
    ch_names : tuple of str
        Names of the channels, in the order of ``flips`` and ``template``.
    """

    raws: list[BaseRaw] = field(repr=False)
    flips: np.ndarray
    similarity_before: np.ndarray
    similarity_after: np.ndarray
    reference: int | None
    template: np.ndarray = field(repr=False)
    ch_names: tuple[str, ...] = field(repr=False)

    def __iter__(self) -> Iterator[Any]:
        return iter((self.raws, self.flips, self.similarity_before, self.similarity_after))

    def __str__(self) -> str:
        n_flipped = int(np.sum(self.flips == -1))
        to = "a template" if self.reference is None else f"recording {self.reference}"
        return (
            f"<SignAlignment | {plural(len(self.flips), 'recording')}, "
            f"{plural(len(self.ch_names), 'channel')}, {n_flipped:,} of {self.flips.size:,} "
            f"flipped; similarity to {to} from {_range(self.similarity_before)} before to "
            f"{_range(self.similarity_after)} after>"
        )

    __repr__ = __str__


def _range(values: np.ndarray) -> str:
    """Format the mean and the range of similarities."""
    return f"{values.mean():.2f} ({values.min():.2f} … {values.max():.2f})"


@verbose
@fill_doc
def align_signs(
    raws: Any,
    reference: Any = None,
    *,
    n_embeddings: int = 15,
    n_init: int = 20,
    picks: Any = None,
    random_state: Any = None,
    verbose: Any = None,
) -> SignAlignment:
    """Give the channels of all recordings signs that agree.

    The sign of a parcel's time course is arbitrary, if it is a principal component or if the
    orientation of its sources is not known, and it differs between people. What connects two
    parcels then cancels in a model of many people. This finds the channels to flip such that the
    lagged covariances of each recording become as similar as possible to those of a template
    :footcite:`VidaurreEtAl2016`.

    Parameters
    ----------
    raws : list of Raw
        The recordings of a group, at the sampling rate at which they will be embedded. They are
        not changed.
    reference : None | int | Raw | array, shape (n_columns, n_columns)
        What to match. None (default) is the median recording: the one in the middle when they are
        ordered by how similar they are to all others, whatever their signs. An int is a recording
        by its place in ``raws``, from 0. A Raw is a recording outside the list. An array is the
        covariance of a template's embedded channels, such as ``SignAlignment.template`` or that
        of a published model. It has ``n_columns = n_channels * n_embeddings``: all lags of the
        first channel of the first recording, the latest first, then those of the next.
    n_embeddings : int
        Number of lags. 1 compares covariances without a lag, which are close to 0 where parcels
        have been made orthogonal to each other.
    n_init : int
        Number of starts of the search: the first from the signs as they are, all others from
        random ones.
    %(picks)s
    %(random_state)s
    %(verbose)s

    Returns
    -------
    alignment : SignAlignment
        The new recordings, the flips, and the similarity before and after.

    Raises
    ------
    TypeError
        If an entry of ``raws`` is no Raw, or ``reference`` is nothing that it can be.
    ValueError
        If there is nothing to match (no recording, one recording and no
        ``reference``, or one channel); if
        recordings differ in their channels or sampling rates, are flat or hold values that are
        not finite in good spans, or have no good span for ``n_embeddings``; if ``reference`` is a
        place that does not exist, or an array of the wrong shape or of values that cannot be
        correlated.

    See Also
    --------
    prepare : Warns where the signs of recordings seem to differ.

    Notes
    -----
    Similarity is the Pearson correlation of the entries of two covariances on and above the
    diagonal ``n_embeddings``, each column of the embedded channels standardized. That leaves out
    what is within a channel, and half of the lags between channels that are neighbors. Covariances
    are those of good spans; nothing is embedded across a gap, and spans shorter than
    ``n_embeddings`` samples are not used.

    The search flips the channel that brings most until none brings anything, from each of
    ``n_init`` starts, and the best end counts. It works on one number per pair of channels, so it
    takes next to no time; computing the covariances takes all of it.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> import mne_hmm
    >>> raw, _ = mne_hmm.simulate_raw(n_channels=6, duration=20., random_state=0)
    >>> other = raw.copy().apply_function(lambda x: -x, picks=[1, 4])
    >>> aligned = mne_hmm.align_signs([raw, other], 0, random_state=0, verbose=False)
    >>> aligned.flips
    array([[ 1,  1,  1,  1,  1,  1],
           [ 1, -1,  1,  1, -1,  1]])
    """
    raws = _check_raws(raws)
    check_number(n_embeddings, "n_embeddings", rule="a whole number ≥ 1", low=1, integer=True)
    check_number(n_init, "n_init", rule="a whole number ≥ 1", low=1, integer=True)
    rng = check_random_state(random_state)
    recordings = to_recordings(raws, picks=picks)
    _check_rates(recordings)
    ch_names = recordings[0].ch_names
    n_channels = len(ch_names)
    entries = compared_entries(n_channels, n_embeddings)
    if len(entries.rows) < 2:
        raise ValueError(
            f"{plural(n_channels, 'channel')} × {plural(n_embeddings, 'lag')} leave nothing to "
            "compare; signs can be aligned between two channels with two lags or more"
        )
    template = _given_template(reference, recordings, n_embeddings)
    covariances = [_covariance(recording, n_embeddings) for recording in recordings]
    values = np.array([entries.of(covariance) for covariance in covariances])
    index = None
    if template is None:
        index = median_recording(values) if reference is None else int(reference)
        template = covariances[index]
    starts = starts_of_search(n_init, n_channels, rng)
    matches = [_matched(row, entries.of(template), entries, starts) for row in values]
    flips, before, after = map(np.array, zip(*matches, strict=True))
    aligned = [_flipped(*pair) for pair in zip(recordings, flips, strict=True)]
    alignment = SignAlignment(aligned, flips, before, after, index, template, ch_names)
    logger.info(str(alignment))
    return alignment


def _check_raws(raws: Any) -> list[BaseRaw]:
    """Check that recordings are Raw objects, one or more."""
    raws = list(raws) if isinstance(raws, (list, tuple)) else [raws]
    if not raws:
        raise ValueError("raws is an empty list; pass the recordings of a group")
    for i, raw in enumerate(raws):
        if not isinstance(raw, BaseRaw):
            raise TypeError(
                f"raws must be a list of Raw objects, got {type(raw).__name__} at place {i}; turn "
                "arrays into Raw with mne.io.RawArray, and read files with mne.io.read_raw"
            )
    return raws


def _matched(
    values: np.ndarray, template: np.ndarray, entries: CovarianceEntries, starts: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """Find the flips of one recording, and its similarity before and after."""
    similarity = Similarity(values, template, entries)
    flips = best_flips(similarity, starts)
    return flips, float(similarity.of(np.ones(len(flips)))), float(similarity.of(flips))


def _flipped(recording: Recording, flips: np.ndarray) -> BaseRaw:
    """Copy a recording, with the signs of its channels changed."""
    flipped = recording.picks[flips == -1]
    new = recording.raw.copy().load_data(verbose="ERROR")
    if len(flipped):
        new.apply_function(np.negative, picks=flipped, channel_wise=False, verbose="ERROR")
    return new


def _check_rates(recordings: Sequence[Recording], name: str = "") -> None:
    """Check that a lag is as long in one recording as in all others."""
    first = recordings[0]
    for recording in recordings[1:]:
        if recording.timeline.sfreq != first.timeline.sfreq:
            raise ValueError(
                f"{first.label} has {first.timeline.sfreq:g} Hz and {name or recording.label} "
                f"{recording.timeline.sfreq:g} Hz, so their lags differ; resample to one rate "
                "first (raw.resample)"
            )


def _given_template(
    reference: Any, recordings: Sequence[Recording], n_embeddings: int
) -> np.ndarray | None:
    """Get the covariance of a template that is none of the recordings; None if it is one."""
    if isinstance(reference, BaseRaw):
        return _covariance(_reference_recording(reference, recordings[0]), n_embeddings)
    if isinstance(reference, np.ndarray):
        return _checked_template(reference, len(recordings[0].ch_names), n_embeddings)
    if reference is None:
        if len(recordings) == 1:
            raise ValueError(
                "raws holds one recording and reference is None, so there is nothing to match; "
                "pass several recordings, or a template as reference"
            )
    elif isinstance(reference, (int, np.integer)) and not isinstance(reference, bool):
        if not 0 <= reference < len(recordings):
            raise ValueError(
                f"reference={reference} is none of the {plural(len(recordings), 'recording')}; "
                f"pass a place from 0 to {len(recordings) - 1}"
            )
    else:
        raise TypeError(
            "reference must be None, the place of a recording in raws, a Raw, or an array (the "
            f"covariance of a template), got {reference!r} of type {type(reference).__name__}"
        )
    return None


def _reference_recording(raw: BaseRaw, first: Recording) -> Recording:
    """Turn a recording outside the list into one with the list's channels."""
    missing = [n for n in first.ch_names if n not in raw.ch_names or n in raw.info["bads"]]
    if missing:
        raise ValueError(
            f"reference lacks {listed(missing)}, or has them marked as bad, which {first.label} "
            "has; pick channels that all recordings have (picks=...)"
        )
    recording = to_recordings(raw, ch_names=first.ch_names)[0]
    _check_rates([first, recording], "reference")
    return recording


def _checked_template(template: np.ndarray, n_channels: int, n_embeddings: int) -> np.ndarray:
    """Check an array that is the covariance of embedded channels."""
    n = n_channels * n_embeddings
    if template.shape != (n, n):
        raise ValueError(
            f"reference is an array of shape {template.shape}, but the covariance of "
            f"{plural(n_channels, 'channel')} × {plural(n_embeddings, 'lag')} has {(n, n)}; "
            "pass its n_embeddings, and recordings with its channels (picks=...)"
        )
    template = template.astype(float)
    entries = compared_entries(n_channels, n_embeddings).of(template)
    if not (np.isfinite(entries).all() and np.ptp(entries) > 0):
        raise ValueError(
            "reference holds NaN or infinite values, or one value in all entries between "
            "channels; pass the covariance of a template's embedded channels"
        )
    return template


def _covariance(recording: Recording, n_embeddings: int) -> np.ndarray:
    """Covariance of the embedded channels in the good spans of a recording."""
    spans = [recording.read(a, b).T for a, b in recording.spans if b - a >= n_embeddings]
    if sum(len(x) - n_embeddings + 1 for x in spans) < 2:
        raise ValueError(
            f"{recording.label} has no good span long enough for n_embeddings={n_embeddings}, "
            "which needs more samples than that in a row; check raw.annotations, or use fewer lags"
        )
    names = np.array(recording.ch_names)
    good = np.all([(np.abs(x) <= MAX_VALUE).all(0) for x in spans], axis=0)
    if not good.all():
        raise ValueError(
            f"{recording.label} holds NaN or infinite values, or values beyond ±{MAX_VALUE:g}, in "
            f"{listed(names[~good])}; annotate "
            'such spans as bad ("BAD_nan"), or leave the channels out (picks=...)'
        )
    flat = np.all([np.ptp(x, axis=0) == 0 for x in spans], axis=0)
    flat &= np.ptp([x[0] for x in spans], axis=0) == 0
    if flat.any():
        raise ValueError(
            f"{recording.label} is flat in {listed(names[flat])} (one value in all good samples); "
            "leave such channels out (picks=...)"
        )
    return lagged_covariance(spans, n_embeddings)
