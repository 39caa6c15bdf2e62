"""Streams of mne_lsl: their blocks, one after another, to a decoder or into a recording."""

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import mne
import numpy as np

from .._utils.checks import check_number, listed, plural
from .._utils.mne_private import warn
from .decoder import OnlineDecoder, OnlineStates

# Seconds between two looks for new samples; a block has a few milliseconds of them or more.
SECONDS_BETWEEN_POLLS = 0.002


def decode_stream(
    decoder: OnlineDecoder, stream: Any, *, timeout: float = 5.0
) -> Iterator[OnlineStates]:
    """Find the states of a stream of mne_lsl as long as it lasts.

    Parameters
    ----------
    decoder : OnlineDecoder
        What :meth:`HMM.online` gives for ``stream.info``.
    stream : mne_lsl.stream.StreamLSL
        The stream, connected, with its acquisition in the background.
    timeout : float
        Seconds without a new sample after which the stream is over.

    Returns
    -------
    states : iterator of OnlineStates
        In each round the states that became known since the last one, of one sample or more. Times
        are the stream's timestamps.

    Raises
    ------
    TypeError
        If ``decoder`` or ``stream`` is something else.
    ValueError
        If the stream is not connected, or not the one the decoder was made for.

    See Also
    --------
    HMM.online : Makes the decoder.
    record_stream : Records a stream for calibration.

    Notes
    -----
    A block is what has arrived since the last one. Values are brought to MNE-Python's units where
    the stream tells a power of ten (as microvolts). Where samples were lost because the buffer of
    the stream was full, where timestamps jump by more than 0.1 s, and where there are NaN, a chain
    ends and a new one begins, with a warning; no filter and no state goes across.

    It ends when the stream is disconnected or silent, or when the loop around it is left. States
    that are waited for come last.

    Examples
    --------
    With a stream that is there::

        stream = mne_lsl.stream.StreamLSL(bufsize=5, name="EEG").connect()
        calibration = mne_hmm.record_stream(stream, 60)
        decoder = hmm.online(stream.info, calibration=calibration)
        for states in mne_hmm.decode_stream(decoder, stream):
            print(states.times[-1], states.labels[-1])
    """
    if not isinstance(decoder, OnlineDecoder):
        raise TypeError(
            "decoder must be an OnlineDecoder, as hmm.online(stream.info) gives, got "
            f"{type(decoder).__name__}"
        )
    _check_stream(stream)
    theirs, ours = stream.info, decoder.info
    if theirs.ch_names != ours.ch_names or theirs["sfreq"] != ours["sfreq"]:
        raise ValueError(
            f"stream has {plural(len(theirs.ch_names), 'channel')} ({listed(theirs.ch_names)}) at "
            f"{theirs['sfreq']:g} Hz, but the decoder was made for {len(ours.ch_names)} "
            f"({listed(ours.ch_names)}) at {ours['sfreq']:g} Hz; make one for this stream: "
            "hmm.online(stream.info, ...)"
        )
    timeout = check_number(timeout, "timeout", rule="a number of seconds above 0", above=0)
    # A function of its own, so that errors are raised at once and not in the first round.
    return _decoded(decoder, stream, timeout)


def _decoded(decoder: OnlineDecoder, stream: Any, timeout: float) -> Iterator[OnlineStates]:
    """Yield the states of a stream; what is wrong with arguments was checked before."""
    for block, times, lost in _blocks(stream, timeout):
        finite = np.isfinite(block[decoder.picks]).all(0)
        if lost:
            warn(
                "Samples of the stream were lost, as its buffer was full; give it a larger one "
                "(bufsize). A new chain of states begins"
            )
        if not finite.all():
            warn(
                f"{plural(int((~finite).sum()), 'sample')} of the stream left out that hold NaN "
                "or infinite values. A new chain of states begins"
            )
        jumps = decoder.jumps(times)
        if len(jumps) and not lost:
            warn("Timestamps of the stream jump. A new chain of states begins")
        begins = {0, *jumps.tolist(), *(np.flatnonzero(np.diff(finite)) + 1).tolist()}
        edges = [*sorted(begins), len(times)]
        for begin, end in pairwise(edges):
            if begin in jumps or not finite[begin] or (begin == 0 and lost):
                yield from _unless_empty(decoder.finish())
            if finite[begin]:
                yield from _unless_empty(decoder.process(block[:, begin:end], times[begin:end]))
    yield from _unless_empty(decoder.finish())


def _unless_empty(states: OnlineStates) -> Iterator[OnlineStates]:
    """Yield states if there are any."""
    if len(states):
        yield states


def record_stream(stream: Any, duration: float, *, timeout: float = 5.0) -> mne.io.RawArray:
    """Record a stream of mne_lsl, for the calibration of a decoder.

    Parameters
    ----------
    stream : mne_lsl.stream.StreamLSL
        The stream, connected.
    duration : float
        Seconds to record. What is in the stream's buffer already counts.
    timeout : float
        Seconds without a new sample after which it is an error.

    Returns
    -------
    raw : mne.io.RawArray
        The recording, in MNE-Python's units. Gaps are annotated ``EDGE boundary``.

    Raises
    ------
    TypeError
        If ``stream`` is something else.
    ValueError
        If it is not connected.
    RuntimeError
        If it ended before.

    See Also
    --------
    decode_stream : Finds the states of a stream.

    Examples
    --------
    With a stream that is there::

        calibration = mne_hmm.record_stream(stream, 60)
        decoder = hmm.online(stream.info, calibration=calibration)
    """
    _check_stream(stream)
    duration = check_number(duration, "duration", rule="a number of seconds above 0", above=0)
    timeout = check_number(timeout, "timeout", rule="a number of seconds above 0", above=0)
    info = stream.info.copy()
    n_wanted, n, blocks, gaps = round(duration * info["sfreq"]), 0, [], []
    for block, _, lost in _blocks(stream, timeout):
        if lost:
            gaps.append(n / info["sfreq"])
        blocks.append(block[:, : n_wanted - n])
        n += blocks[-1].shape[1]
        if n >= n_wanted:
            break
    else:
        raise RuntimeError(
            f"the stream ended after {n / info['sfreq']:.1f} of {duration:g} s; check that its "
            "source is running"
        )
    with info._unlock():
        for channel in info["chs"]:
            channel["unit_mul"] = 0
    raw = mne.io.RawArray(np.concatenate(blocks, axis=1), info, verbose="ERROR")
    raw.set_annotations(mne.Annotations(gaps, 0.0, "EDGE boundary"))
    return raw


def _check_stream(stream: Any) -> None:
    """Check that something is a stream that can be read."""
    if not (hasattr(stream, "get_data") and hasattr(stream, "connected")):
        raise TypeError(
            "stream must be a StreamLSL of mne_lsl, which comes with pip install "
            f'"mne-hmm[lsl]", got {type(stream).__name__}; blocks of anything else go to '
            "decoder.process(block)"
        )
    if not stream.connected:
        raise ValueError("stream is not connected; call stream.connect() first")


def _blocks(stream: Any, timeout: float) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """Yield what is new, its timestamps, and whether samples before it were lost.

    New is what comes after the last timestamp that was seen. The stream's own count of new samples
    may change between two calls, since a thread fills the buffer.
    """
    factors = 10.0 ** np.array([[float(channel["unit_mul"])] for channel in stream.info["chs"]])
    last, heard = 0.0, time.monotonic()  # what the buffer holds before it is filled
    while stream.connected:
        if stream.n_new_samples or last == 0.0:
            data, stamps = stream.get_data(exclude=())
            seen = np.flatnonzero(stamps == last)
            begin = seen[-1] + 1 if len(seen) else 0
            if begin < len(stamps):
                times, lost = stamps[begin:].copy(), last != 0.0 and not len(seen)
                last = times[-1]
                yield data[:, begin:] * factors, times, lost
                heard = time.monotonic()  # whoever takes long for a block misses none
                continue
        if time.monotonic() - heard > timeout:
            return
        time.sleep(SECONDS_BETWEEN_POLLS)
