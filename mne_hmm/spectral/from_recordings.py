"""Spectra of states, from recordings: what they do while a state is on."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import mne
import numpy as np
from mne.utils import ProgressBar, verbose

from .._utils.arrays import end_to_end
from .._utils.checks import listed
from .._utils.docs import fill_doc
from .._utils.mne_private import warn
from .._utils.parallel import side_by_side
from .._utils.typing import Verbose
from ..io.recording import Recording
from ..model.hmm import HMM
from ..states.time_course import StateTimeCourse
from .multitaper import CrossSpectra, Windows
from .pairing import check_finite, common_spans, pair_with_states
from .state_spectra import StateSpectra

# Samples that the probabilities of a state must add up to, or it was never on.
MIN_SAMPLES_ON = 1.0


@verbose
@fill_doc
def compute_state_spectra(
    inst: Any,
    states: StateTimeCourse | HMM | Sequence[StateTimeCourse],
    *,
    method: str = "multitaper",
    fmin: float = 1.0,
    fmax: float = 45.0,
    window: float = 2.0,
    bandwidth: float | None = None,
    standardize: bool = False,
    edges: str = "exact",
    reject_by_annotation: bool = True,
    sfreq: float | None = None,
    keep_recordings: bool = True,
    n_jobs: int | None = None,
    verbose: Verbose = None,
) -> StateSpectra:
    """Compute power and cross-spectra of recordings while each state is on.

    Signals are multiplied by the probability of the state, tapered and transformed
    :footcite:`VidaurreEtAl2016`, window by window.

    Parameters
    ----------
    %(inst_to_prepare)s
    states : StateTimeCourse | HMM | list of StateTimeCourse
        The states of the recording, as :meth:`HMM.predict` gives them; a list of them for a
        list of recordings. With a model, the states are found first. The channels are those
        the states were found in.
    method : "multitaper" | "welch"
        Several orthogonal tapers per window, whose spectra are averaged, or one Hann taper and
        windows that overlap by half.
    fmin, fmax : float
        The band to keep, in hertz; both ends are in it.
    window : float
        Length of a window in seconds. Frequencies lie ``1 / window`` apart.
    bandwidth : float | None
        Full bandwidth of the tapers in hertz, as in MNE-Python. None is ``8 / window``, a time
        half-bandwidth of 4, so 4 Hz by default. There are ``bandwidth * window - 1`` tapers: 7.
    standardize : bool
        Whether each channel of each recording is divided by its standard deviation over the
        samples that were modeled. If False (default), spectra are in the channels' own units;
        take True where the recordings of a list have different ones.
    edges : "exact" | "osl"
        Where windows lie. "exact": within each span, and the sums are divided by what
        windows, tapers and probabilities cover, so that nothing is lost at the edges. "osl":
        as in osl-dynamics, centered on the first sample of a span and then end to end, with
        zeros around the span and nothing to make up for them, divided by the sum of squared
        probabilities.
    %(reject_by_annotation)s
    %(sfreq)s
    keep_recordings : bool
        Whether to keep the spectra of the single recordings of a list.
    %(n_jobs)s
    %(verbose)s

    Returns
    -------
    spectra : StateSpectra
        Densities of each state; of a list, the mean over recordings, weighted by the time in
        good data, with those of the single recordings in ``recordings``.

    Raises
    ------
    ValueError
        If an argument is out of its range, the states are not those of the recordings, a
        recording lacks channels, or all spans are shorter than a window.
    TypeError
        If ``inst`` or ``states`` is something else.

    See Also
    --------
    average_state_spectra : Joins spectra of recordings.

    Notes
    -----
    Signals are taken as they are, without the filters of the preparation. The mean of each
    span is taken off, so a constant offset does not leak. Slow drifts do: states come and go
    within tenths of a second, which spreads whatever goes on meanwhile over several hertz.
    Filter recordings with drifts before, as in ``raw.filter(1, None)``: in EEG as it was
    recorded they can more than double the power below 3 Hz.

    Spans are those that were modeled, less what has been annotated as bad since. No window
    crosses from one to the next. Spans shorter than a window are padded with zeros, which
    with ``edges="exact"`` costs them resolution, but no power.

    Of a list, one recording after another is read, or as many at once as jobs. The spectra
    of single recordings are kept in single precision: 6 MB each for 6 states of 38 channels,
    growing with the square of the channels. A recording in which a state is never on (its
    probabilities add up to less than a sample) has NaN there, and does not count in the mean.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> import mne_hmm
    >>> raw, states = mne_hmm.simulate_raw(3, n_channels=4, duration=20., random_state=0)
    >>> spectra = mne_hmm.compute_state_spectra(raw, states, verbose=False)
    >>> spectra.psd.shape, spectra.coherence.shape
    ((3, 4, 89), (3, 4, 4, 89))
    """
    recordings, courses = pair_with_states(
        inst, states, reject_by_annotation=reject_by_annotation, sfreq=sfreq, n_jobs=n_jobs
    )
    windows = {
        rate: Windows.of(
            rate,
            method=method,
            fmin=fmin,
            fmax=fmax,
            window=window,
            bandwidth=bandwidth,
            edges=edges,
        )
        for rate in {_rate(recording) for recording in recordings}
    }
    _check_same_freqs(windows, recordings)
    tasks = (
        _Task(recording, course, windows[_rate(recording)], bool(standardize))
        for recording, course in zip(recordings, courses, strict=True)
    )
    spectra = average_state_spectra(
        _compute_in_turn(tasks, len(recordings), n_jobs), keep_recordings=keep_recordings
    )
    if spectra.never_on:
        warn(f"States that are never on have no spectra (NaN): {listed(spectra.never_on, 12)}")
    return spectra


def average_state_spectra(
    spectra: Iterable[StateSpectra], *, keep_recordings: bool = True
) -> StateSpectra:
    """Average spectra of recordings, weighted by the time in good data.

    Parameters
    ----------
    spectra : iterable of StateSpectra
        Spectra of the same states, channels and frequencies.
    keep_recordings : bool
        Whether to keep the single ones, in single precision.

    Returns
    -------
    average : StateSpectra
        The mean. A recording in which a state is never on does not count in the mean of
        that state.

    Raises
    ------
    ValueError
        If there are none, or they differ in states, channels, frequencies or units.
    """
    first: StateSpectra | None = None
    single: list[StateSpectra] = []
    n_spectra = 0
    if not isinstance(spectra, Iterable):
        raise TypeError(
            f"spectra must be a sequence of StateSpectra, got {type(spectra).__name__}; make them "
            "with compute_state_spectra"
        )
    for entry in spectra:
        if not isinstance(entry, StateSpectra):
            raise TypeError(
                f"spectra must hold StateSpectra, got {type(entry).__name__} at place {n_spectra}"
            )
        n_spectra += 1
        seconds, is_on = entry.weights.sum(), ~entry._is_nan
        if first is None:
            first, total, time = entry, np.zeros(entry.csd.shape, complex), np.zeros(entry.n_states)
            weights = np.zeros(entry.n_states)
        else:
            _check_alike(first, entry, n_spectra - 1)
        total[is_on] += seconds * entry.csd[is_on]
        time += seconds * is_on
        weights += entry.weights
        if keep_recordings:
            recordings = entry.recordings or (entry,)
            single += [replace(each, csd=each.csd.astype(np.complex64)) for each in recordings]
    if first is None:
        raise ValueError("spectra is empty; pass at least one StateSpectra")
    if n_spectra == 1:
        return first if keep_recordings else replace(first, recordings=())
    total /= np.where(time > 0, time, np.nan)[:, np.newaxis, np.newaxis, np.newaxis]
    return replace(first, csd=total, weights=weights, recordings=tuple(single))


def _check_alike(first: StateSpectra, other: StateSpectra, index: int) -> None:
    """Check that spectra can be averaged."""
    for name in ("state_names", "ch_names", "standardized"):
        expected, got = getattr(first, name), getattr(other, name)
        if expected != got:
            raise ValueError(
                f"spectra must agree in {name}, but number 0 has {expected} and number {index} "
                f"{got}; compute them with the same states and settings"
            )
    if first.freqs.shape != other.freqs.shape or not np.allclose(
        first.freqs, other.freqs, rtol=1e-9
    ):
        raise ValueError(
            f"spectra must agree in freqs, but number 0 has {_in_words(first.freqs)} and number "
            f"{index} {_in_words(other.freqs)}; compute them with the same settings"
        )


def _in_words(freqs: np.ndarray) -> str:
    return f"{len(freqs)} from {freqs[0]:g} to {freqs[-1]:g} Hz"


class _Task(NamedTuple):
    """What the spectra of one recording need; may travel to another process."""

    recording: Recording
    states: StateTimeCourse
    windows: Windows
    standardize: bool


def _rate(recording: Recording) -> float:
    return recording.timeline.sfreq


def _check_same_freqs(windows: dict[float, Windows], recordings: Sequence[Recording]) -> None:
    """Check that recordings of different rates have the same frequencies."""
    first = windows[_rate(recordings[0])].freqs
    for recording in recordings:
        freqs = windows[_rate(recording)].freqs
        if freqs.shape != first.shape or not np.allclose(freqs, first, rtol=1e-9):
            raise ValueError(
                f"recordings of a list must have the same frequencies, but {recordings[0].label} "
                f"at {_rate(recordings[0]):g} Hz has {_in_words(first)} and {recording.label} at "
                f"{_rate(recording):g} Hz {_in_words(freqs)}; resample to one rate, or choose a "
                "window that is a whole number of samples at both"
            )


def _compute_in_turn(
    tasks: Iterator[_Task], n_tasks: int, n_jobs: int | None
) -> Iterator[StateSpectra]:
    """Compute spectra of one recording after another, or of as many at once as jobs."""
    parallel, run, n_at_once = side_by_side(_compute_spectra, n_jobs, max_jobs=n_tasks)
    progress = ProgressBar(n_tasks, mesg="Spectra")
    for start in range(0, n_tasks, n_at_once):
        group = [next(tasks) for _ in range(min(n_at_once, n_tasks - start))]
        if n_at_once == 1:
            yield _compute_spectra(group[0])
        else:
            yield from parallel(run(task) for task in group)
        progress.update(start + len(group))


def _compute_spectra(task: _Task) -> StateSpectra:
    """Compute the spectra of one recording."""
    recording, states, windows, standardize = task
    blocks = common_spans(recording, states)
    spans = [span for *_, inside in blocks for span in inside]
    _check_longest(spans, windows, recording)
    probabilities = end_to_end(states.probabilities)
    sums = CrossSpectra(windows, states.n_states, len(recording.picks))
    squares, on = np.zeros(len(recording.picks)), np.zeros(states.n_states)
    for start, stop, inside in blocks:
        signals = recording.read(start, stop)
        for a, b in inside:
            x, gamma = signals[:, a - start : b - start], probabilities[:, a:b].astype(float)
            check_finite(x, gamma, recording, a, b)
            x = x - x.mean(axis=1, keepdims=True)
            squares += np.square(x).sum(axis=1)
            on += gamma.sum(axis=1)
            sums.add(x, gamma)
    csd = sums.density()
    csd[on < MIN_SAMPLES_ON] = np.nan
    if standardize:
        deviations = np.sqrt(squares / sum(b - a for a, b in spans))
        _check_not_flat(deviations, recording)
        csd /= np.outer(deviations, deviations)[:, :, np.newaxis]
    return StateSpectra(
        windows.freqs,
        csd,
        mne.pick_info(recording.raw.info, recording.picks),
        states.state_names,
        on / _rate(recording),
        standardize,
    )


def _check_longest(spans: list[tuple[int, int]], windows: Windows, recording: Recording) -> None:
    """Check that a window fits into one of the spans."""
    sfreq = windows.sfreq
    longest = max(b - a for a, b in spans)
    if longest < windows.n_samples:
        raise ValueError(
            f"window={windows.n_samples / sfreq:g} seconds is longer than every span of "
            f"{recording.label}, the longest of which has {longest / sfreq:g} seconds; pass "
            f"window≤{longest / sfreq:g}"
        )


def _check_not_flat(deviations: np.ndarray, recording: Recording) -> None:
    """Check that each channel moves at all."""
    flat = np.array(recording.ch_names)[~(deviations > 0)]
    if len(flat):
        raise ValueError(
            f"standardize=True divides by standard deviations, but {listed(flat)} of "
            f"{recording.label} never moved; leave these channels out, or pass standardize=False"
        )
