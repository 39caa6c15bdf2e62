"""States of a stream, block by block as samples arrive."""

from dataclasses import dataclass, field
from typing import Any

import mne
import numpy as np

from .._utils.arrays import row_blocks
from .._utils.checks import check_number, check_option, listed, plural
from .._utils.mne_private import warn
from ..io.channels import ModelChannels, model_picks
from ..preparation.embedding import embed
from ..preparation.signals import Scale
from .causal_filter import Buffer, FilterRun, design_filter
from .fixed_lag import FixedLagSmoother
from .stream_statistics import check_causal, statistics_from_calibration

# Samples of the stream that go through at once, however many a block has.
STREAM_BLOCK_LENGTH = 4096

# Rows of the embedded matrix that are there at once.
MAX_EMBEDDED_ROWS = 1024

# Times of samples that follow each other may differ from the rate by this many seconds. Those of
# streams jitter by some milliseconds where one packet ends and the next begins.
MAX_JITTER = 0.1

# Values beyond this are no measurements, and their squares would be infinite.
MAX_VALUE = 1e100

# Signals that are larger or smaller than those of the calibration by this factor, over the first
# seconds, are in other units.
MAX_SIZE_RATIO = 100.0
SECONDS_COMPARED = 2.0


@dataclass(frozen=True, eq=False)
class OnlineStates:
    """States of some samples of a stream.

    Made by :meth:`OnlineDecoder.process`.

    Parameters
    ----------
    probabilities : array, shape (n_states, n_times)
        Probability of each state, at the sampling rate of the features.
    times : array, shape (n_times,)
        When that was in the stream, in seconds.
    state_names : tuple of str
        Names of the states.
    """

    probabilities: np.ndarray = field(repr=False)
    times: np.ndarray = field(repr=False)
    state_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.times)

    @property
    def labels(self) -> np.ndarray:
        """Most probable state of each sample, shape (n_times,)."""
        return self.probabilities.argmax(0)

    def __str__(self) -> str:
        if not len(self):
            return "OnlineStates: no samples"
        return (
            f"OnlineStates: {plural(len(self), 'sample')} from {self.times[0]:.3f} to "
            f"{self.times[-1]:.3f} s"
        )

    __repr__ = __str__


class OnlineDecoder:
    """Finds the states of a stream as its samples arrive.

    Made by :meth:`HMM.online`, which describes what happens to the samples.

    Parameters
    ----------
    hmm : HMM
        The model.
    info : mne.Info
        The stream's channels and sampling rate.
    calibration : Raw | array, shape (n_channels, n_times) | path-like | None
        A recording that says how large the signals are.
    lag : float
        Seconds that are waited for, for smoothing.
    phase : "minimum" | "zero"
        Phase of the filter.
    reject_by_annotation : bool
        Whether bad spans of the calibration are left out.

    Attributes
    ----------
    info : mne.Info
        The stream's channels and sampling rate.
    ch_names : tuple of str
        Channels that are used, in the model's order.
    picks : array of int, shape (n_channels,)
        Where they are in ``info``.
    sfreq : float
        Sampling rate of the states in hertz.
    lag : float
        Seconds that are waited for, for smoothing; whole samples of the features.
    delays : dict of str to float
        Seconds by which probabilities come after the time they are for, by cause: ``filter``,
        ``resampling``, ``embedding`` and ``lag``.
    """

    def __init__(
        self,
        hmm: Any,
        info: mne.Info,
        *,
        calibration: Any = None,
        lag: float = 0.1,
        phase: str = "minimum",
        reject_by_annotation: bool = True,
    ):
        self._preparation = preparation = hmm.preparation_
        if not isinstance(info, mne.Info):
            raise TypeError(
                "info must be the mne.Info of the stream, such as raw.info or stream.info, got "
                f"{info!r} of type {type(info).__name__}"
            )
        if info["sfreq"] <= 0:
            raise ValueError(
                'info["sfreq"] is 0 Hz, so the stream comes at no regular rate; a decoder needs '
                "samples at one rate"
            )
        lag = check_number(lag, "lag", rule="a number of seconds ≥ 0", low=0)
        check_option(phase, "phase", ("minimum", "zero"))
        check_causal(preparation, info["sfreq"])
        self.info = info = info.copy()
        channels = ModelChannels(preparation.ch_names_, preparation.channels_from_)
        raw = mne.io.RawArray(np.zeros((len(info.ch_names), 1)), info, verbose="ERROR")
        self.picks = model_picks(raw, channels, "info", True)
        self.ch_names = tuple(info.ch_names[pick] for pick in self.picks)
        self.sfreq = preparation.sfreq_
        self._design = design_filter(info["sfreq"], preparation, self.sfreq, phase)
        self._statistics = statistics_from_calibration(
            preparation, calibration, info, reject_by_annotation
        )
        self._n_lag = round(lag * self.sfreq)
        self.lag = self._n_lag / self.sfreq
        self.delays = {
            **self._design.delays,
            "embedding": preparation.n_lost / self.sfreq,
            "lag": self.lag,
        }
        self._components, self._spatial = (
            None if components is None else components.astype(float)
            for components in (preparation.components_, preparation.spatial_components_)
        )
        self._filter = FilterRun(self._design, len(self.picks))
        self._embedding = Buffer(preparation.n_inputs_ + 1, 2 * preparation.n_lost)
        self._densities = _Densities(hmm)
        self._smoother = FixedLagSmoother(hmm.initial_probs_, hmm.transition_matrix_, self._n_lag)
        self.state_names = hmm.state_names
        self._squares, self._n_compared = np.zeros(len(self.picks)), 0
        self.reset(time=0.0)

    @property
    def delay(self) -> float:
        """Seconds by which probabilities come after the time they are for.

        The last sample that is needed lies so long after it, to the sample. The time until a block
        is full and the time of computing come on top.
        """
        return sum(self.delays.values())

    def group_delay(self, freqs: Any) -> np.ndarray:
        """Compute by how much the filter delays each frequency.

        Parameters
        ----------
        freqs : array-like, shape (n_freqs,)
            Frequencies in hertz.

        Returns
        -------
        delays : array, shape (n_freqs,)
            Seconds. ``delays["filter"]`` and ``delays["resampling"]`` together are their median
            over the pass band.
        """
        return self._design.group_delay(np.atleast_1d(np.asarray(freqs, float)))

    def reset(self, time: float | None = None) -> None:
        """Begin a new chain, as after a gap in the stream.

        Nothing is carried over: the filter, the embedding and the states begin anew, and samples
        whose states are waited for are forgotten (`finish` gives them before).

        Parameters
        ----------
        time : float | None
            Time of the next sample in seconds. None: as if it followed on the last one.
        """
        if time is not None:
            self._origin = check_number(time, "time", rule="None or a number of seconds")
            self._n_since = 0
        self._last_time: float | None = None
        self._filter.reset()
        self._smoother.reset()
        self._n_embedded = 0
        self._waiting = np.empty(0)

    def process(self, block: Any, times: Any = None) -> OnlineStates:
        """Take the next samples, and get the states that are known by now.

        Parameters
        ----------
        block : array, shape (n_channels, n_samples)
            The samples, of all channels of ``info`` in its order and in the units of the
            calibration. As many as there are, also none.
        times : array, shape (n_samples,) | None
            When they were, in seconds, such as timestamps of the stream. None counts from 0, by the
            sampling rate.

        Returns
        -------
        states : OnlineStates
            The states, each with its time. Time and again there are none.

        Raises
        ------
        TypeError
            If the block holds no real numbers.
        ValueError
            If it has other channels than ``info``, holds values that are not finite, or its times
            jump. Nothing has happened then, and the stream can go on.
        """
        block, times = self._checked(block, times)
        n = block.shape[1]
        if n:
            self._last_time = float(times[-1])
        parts = [
            self._process(block[:, columns], times[columns])
            for columns in row_blocks(n, STREAM_BLOCK_LENGTH)
        ]
        return self._states(parts)

    def finish(self) -> OnlineStates:
        """Get the states that are waited for, given all samples there were, and end the chain.

        The next block begins a new one.

        Returns
        -------
        states : OnlineStates
            The states of the last ``lag`` seconds that the embedding has reached.
        """
        rest = self._smoother.flush(), self._waiting
        self.reset()
        return self._states([rest])

    def _process(self, block: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Get the probabilities that are known by now, and their times.

        Shapes: ``block`` (n_channels, n_samples), ``times`` (n_samples,); returns
        ``probabilities`` (n_out, n_states), ``times`` (n_out,).
        """
        rows, row_times = self._filter.push(block, times)
        parts = []
        for chosen in row_blocks(len(rows), MAX_EMBEDDED_ROWS):
            features = self._features(rows[chosen], row_times[chosen.start :])
            parts.append(self._smoother.push(self._densities.of(features)))
        probabilities = np.concatenate(parts) if parts else np.empty((0, len(self.state_names)))
        n = len(probabilities)
        out_times, self._waiting = self._waiting[:n], self._waiting[n:]
        return probabilities, out_times

    def _features(self, rows: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Make features of the samples whose lags are all there by now; their times will wait."""
        preparation, statistics = self._preparation, self._statistics
        signals = _scaled(rows, statistics.channels)
        self._compare_size(signals)
        signals = signals * statistics.flips
        if statistics.alignment is not None:
            signals = signals @ statistics.alignment.to_mean.T
        if self._spatial is not None:
            signals = _scaled(signals @ self._spatial, statistics.inputs)
        n_lags, n = preparation.n_embeddings, len(signals)
        if self._n_embedded == 0:
            self._embedding.fill(0.0)
        together = self._embedding.append(np.column_stack([signals, times[:n]]).T)
        self._n_embedded += n
        n_new = min(n, max(self._n_embedded - n_lags + 1, 0))
        if n_new == 0:
            return np.empty((0, preparation.n_features_))
        together = together[:, together.shape[1] - n_new - n_lags + 1 :]
        center = slice(preparation.n_lost, preparation.n_lost + n_new)
        self._waiting = np.concatenate([self._waiting, together[-1, center]])
        features = embed(together[:-1].T, n_lags)
        if self._components is not None:
            features = features @ self._components
        return _scaled(features, statistics.features)

    def _compare_size(self, signals: np.ndarray) -> None:
        """Warn once if the first seconds are of another size than the calibration."""
        enough = SECONDS_COMPARED * self.sfreq
        if self._n_compared >= enough or not self._preparation.standardize:
            return
        self._squares += np.square(signals).sum(0)
        self._n_compared += len(signals)
        if self._n_compared < enough:
            return
        size = float(np.sqrt(np.median(self._squares) / self._n_compared))
        if not 1 / MAX_SIZE_RATIO < size < MAX_SIZE_RATIO:
            warn(
                f"Signals of the stream's first {SECONDS_COMPARED:g} s are {size:.3g} times those "
                "of the calibration. Are both in the same units (of MNE-Python: volts, teslas)?"
            )

    def _checked(self, block: Any, times: Any) -> tuple[np.ndarray, np.ndarray]:
        """Take the samples of the model's channels, in float64, and their times."""
        block = np.asarray(block)
        names = self.info.ch_names
        if block.dtype.kind not in "iuf":
            raise TypeError(f"block must hold real numbers, got {block.dtype}")
        if block.ndim != 2 or len(block) != len(names):
            other_way = block.ndim == 2 and block.shape[1] == len(names)
            raise ValueError(
                f"block must have the shape (n_channels, n_samples) with the "
                f"{plural(len(names), 'channel')} of info ({listed(names)}), got {block.shape}"
                f"{'; pass block.T' if other_way else ''}"
            )
        block = block[self.picks].astype(float)
        wrong = ~(np.abs(block) < MAX_VALUE)
        if wrong.any():
            first = int(wrong.any(0).argmax())
            bad = [name for name, is_bad in zip(self.ch_names, wrong.any(1), strict=True) if is_bad]
            raise ValueError(
                f"block holds NaN, infinite or absurd values in {listed(bad)}, first at its sample "
                f"{first}; leave such samples out and call decoder.finish() or decoder.reset(), so "
                "that what follows is a chain of its own"
            )
        return block, self._times(times, block.shape[1])

    def _times(self, times: Any, n: int) -> np.ndarray:
        """Find when the samples of a block were, and check it."""
        sfreq = self.info["sfreq"]
        if times is None:
            times = self._origin + (self._n_since + np.arange(n)) / sfreq
            self._n_since += n
            return times
        times = np.asarray(times, float)
        if times.shape != (n,) or not np.isfinite(times).all():
            raise ValueError(
                f"times must be a finite number for each of the {plural(n, 'sample')} of block, "
                f"got an array of the shape {times.shape}"
            )
        jumps = self.jumps(times)
        if len(jumps):
            before = self._last_time if jumps[0] == 0 else times[jumps[0] - 1]
            raise ValueError(
                f"times jump from {before:.3f} to {times[jumps[0]]:.3f} s before sample {jumps[0]} "
                "of block; pass what comes before and after separately, and call decoder.finish() "
                "or decoder.reset() in between, so that what follows is a chain of its own"
            )
        if n:
            self._origin, self._n_since = float(times[-1]) + 1 / sfreq, 0
        return times

    def jumps(self, times: np.ndarray) -> np.ndarray:
        """Find gaps in the times of a block, and between it and the samples before.

        Parameters
        ----------
        times : array, shape (n_samples,)
            Times of the samples that are next, in seconds.

        Returns
        -------
        jumps : array of int
            Samples that do not follow on those before them.
        """
        first = times[:1] if self._last_time is None else [self._last_time]
        steps = np.diff(times, prepend=first) - 1 / self.info["sfreq"]
        if self._last_time is None:
            steps[:1] = 0
        return np.flatnonzero(np.abs(steps) > MAX_JITTER)

    def _states(self, parts: list[tuple[np.ndarray, np.ndarray]]) -> OnlineStates:
        """Put probabilities and their times together."""
        n_states = len(self.state_names)
        probabilities = [np.empty((0, n_states)), *(values for values, _ in parts)]
        times = [np.empty(0), *(values for _, values in parts)]
        return OnlineStates(
            np.ascontiguousarray(np.concatenate(probabilities).T),
            np.concatenate(times),
            self.state_names,
        )

    def __str__(self) -> str:
        channels = f"{plural(len(self.ch_names), 'channel')} ({listed(self.ch_names)})"
        causes = ", ".join(f"{name} {1e3 * value:.1f}" for name, value in self.delays.items())
        return "\n".join(
            [
                f"OnlineDecoder of {plural(len(self.state_names), 'state')}",
                f"  stream  {channels} at {self.info['sfreq']:g} Hz",
                f"  states  at {self.sfreq:g} Hz",
                f"  delay   {1e3 * self.delay:.1f} ms ({causes})",
            ]
        )

    __repr__ = __str__


class _Densities:
    """Log densities of features under all states, as one product, but for what they share."""

    def __init__(self, hmm: Any):
        covariances = hmm.covariances_
        if hmm.learned.covariance_type == "diag":
            covariances = covariances * np.eye(covariances.shape[1])
        factors = np.linalg.cholesky(covariances)
        inverses = np.linalg.inv(factors)
        n_states, n_features = hmm.means_.shape
        self._shifts = np.einsum("kij,kj->ki", inverses, hmm.means_)
        self._whiteners = np.ascontiguousarray(
            inverses.transpose(2, 0, 1).reshape(n_features, n_states * n_features)
        )
        self._constants = -np.log(np.einsum("kii->ki", factors)).sum(1)

    def of(self, features: np.ndarray) -> np.ndarray:
        """Compute log densities, shape (n_rows, n_states)."""
        white = (features @ self._whiteners).reshape(len(features), *self._shifts.shape)
        white -= self._shifts
        return self._constants - 0.5 * np.einsum("tki,tki->tk", white, white)


def _scaled(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Apply z-scores that were taken elsewhere."""
    return (values - scale.mean) / scale.spread
