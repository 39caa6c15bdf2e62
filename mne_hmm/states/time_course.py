"""State time courses on the recording's own time grid, and what MNE-Python makes of them."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mne
import numpy as np
from scipy.special import entr

from .._utils.checks import check_number, listed, plural
from .._utils.mne_private import check_pandas
from .._utils.typing import RecordingLike
from ..io.timeline import Timeline, TimeMap
from .visits import StateStatistics, Visits, compute_statistics, find_visits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

PREFIX = "hmm/"
NOT_MODELED = "BAD_hmm_not_modeled"


@dataclass(frozen=True, eq=False)
class StateTimeCourse:
    """Which state a recording is in, sample by sample.

    Made by :meth:`HMM.predict`.

    Parameters
    ----------
    probabilities : array, shape (n_states, n_times) | (n_epochs, n_states, n_times)
        Probability of each state at each sample of the recording. NaN where the recording
        was not modeled: bad spans, and the samples the embedding takes off their edges.
        States of epochs have an axis for the epochs.
    labels : array of int, shape (n_times,) | (n_epochs, n_times)
        Most probable state at each sample; -1 where the recording was not modeled.
    timeline : Timeline
        The recording's time grid.
    spans : list of tuple of int
        First sample, and the one after the last, of each span that was modeled. Samples of
        epochs are counted through, as if they were laid end to end.
    state_names : tuple of str
        Names of the states.
    ch_names : tuple of str
        Channels of the recording that the states were found in; empty where nothing is known
        of them.

    Examples
    --------
    >>> import mne_hmm
    >>> raw, states = mne_hmm.simulate_raw(n_channels=4, duration=10., random_state=0)
    >>> states.labels.shape == raw.times.shape
    True
    >>> states.to_annotations().description[0].startswith("hmm/state_")
    True
    """

    probabilities: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    timeline: Timeline
    spans: list[tuple[int, int]]
    state_names: tuple[str, ...]
    ch_names: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def from_rows(
        cls,
        probabilities: np.ndarray,
        labels: np.ndarray,
        time_map: TimeMap,
        state_names: tuple[str, ...],
        ch_names: tuple[str, ...] = (),
    ) -> "StateTimeCourse":
        """Bring states of prepared samples to the recording's grid.

        Parameters
        ----------
        probabilities : array, shape (n_rows, n_states)
            Probability of each state at each prepared sample.
        labels : array of int, shape (n_rows,)
            State of each prepared sample.
        time_map : TimeMap
            Where they lie in time.
        state_names : tuple of str
            Names of the states.
        ch_names : tuple of str
            Channels they were found in.
        """
        shape = time_map.timeline.shape
        spread = time_map.spread(probabilities, np.nan).reshape(*shape, -1)
        return cls(
            np.ascontiguousarray(np.moveaxis(spread, -1, -2)),
            time_map.spread(np.asarray(labels, np.int64), -1).reshape(shape),
            time_map.timeline,
            time_map.modeled(),
            tuple(state_names),
            tuple(ch_names),
        )

    @classmethod
    def from_labels(
        cls,
        labels: np.ndarray,
        time_map: TimeMap,
        state_names: tuple[str, ...],
        ch_names: tuple[str, ...] = (),
    ) -> "StateTimeCourse":
        """Bring labels of prepared samples to the recording's grid, as probabilities of 0 and 1.

        Parameters
        ----------
        labels : array of int, shape (n_rows,)
            State of each prepared sample.
        time_map : TimeMap
            Where they lie in time.
        state_names : tuple of str
            Names of the states.
        ch_names : tuple of str
            Channels they were found in.
        """
        certain = np.equal(labels[:, None], np.arange(len(state_names)))
        return cls.from_rows(certain.astype(float), labels, time_map, state_names, ch_names)

    @property
    def n_states(self) -> int:
        """Number of states."""
        return len(self.state_names)

    @property
    def times(self) -> np.ndarray:
        """Seconds from the recording's first sample to each sample; of epochs, from the event."""
        return self.timeline.times

    @property
    def entropy(self) -> np.ndarray:
        """How unsure each sample's state is, in nats, shape (n_times,) or (n_epochs, n_times).

        The entropy of the probabilities: 0 where one state is certain, log(n_states) where all
        are as probable, NaN where the recording was not modeled.
        """
        return entr(self.probabilities).sum(axis=-2)

    @property
    def info(self) -> mne.Info:
        """Measurement info with one ``misc`` channel per state."""
        info = mne.create_info(list(self.state_names), self.timeline.sfreq, "misc")
        info.set_meas_date(self.timeline.meas_date)
        return info

    @property
    def visits(self) -> Visits:
        """Uninterrupted stays in one state; see `mne_hmm.states.visits.Visits`."""
        return find_visits(self.labels.ravel(), self.spans)

    def to_annotations(self, min_duration: float = 0.0) -> mne.Annotations:
        """Get the states as annotations.

        Parameters
        ----------
        min_duration : float
            Leave out visits shorter than this, in seconds.

        Returns
        -------
        annotations : mne.Annotations
            One annotation per visit, named ``hmm/state_0`` and so on. They never overlap,
            never cross a bad span, and add to those of the recording:
            ``raw.set_annotations(raw.annotations + annotations)``. For epochs that is the
            Raw they were cut out of.

        Raises
        ------
        ValueError
            If epochs overlap, so that annotations would.

        Notes
        -----
        Epochs know where they lie in their Raw by the samples of their events. Where there is
        no measurement date, they do not know at which sample the Raw begins: if that is not
        sample 0, take ``raw.first_time`` from the onsets.

        MNE-Python shifts annotations that are set a second time if the recording has no
        measurement date and does not start at sample 0, say because it was cropped
        (mne-tools/mne-python#11731). If such a recording has annotations already, give it
        a date before anything else: ``raw.set_meas_date(0)``.
        """
        check_number(min_duration, "min_duration", rule="a number of seconds ≥ 0", low=0)
        pair = self.timeline.overlap(self.spans)
        if pair is not None:
            raise ValueError(
                f"epochs {pair[0]} and {pair[1]} overlap in the recording they were cut out of, by "
                "the samples of their events (in arrays these may be made up), and so would "
                "annotations; use labels and probabilities, which have an axis for the epochs, "
                "or to_epochs()"
            )
        visits = self.visits
        # The little less is for the rounding of the product.
        kept = visits.stops - visits.starts >= min_duration * self.timeline.sfreq - 1e-6
        return self._annotations(
            visits.starts[kept],
            visits.stops[kept],
            [PREFIX + self.state_names[state] for state in visits.states[kept]],
        )

    def _annotations(
        self, starts: np.ndarray, stops: np.ndarray, descriptions: list[str]
    ) -> mne.Annotations:
        """Annotations from samples of the recording."""
        begin, end = self.timeline.microseconds(starts, stops)
        return mne.Annotations(
            begin / 1e6, (end - begin) / 1e6, descriptions, orig_time=self.timeline.meas_date
        )

    def to_raw(self) -> mne.io.RawArray:
        """Get the state probabilities as a recording of their own.

        Returns
        -------
        raw : mne.io.RawArray
            One ``misc`` channel per state, on the time grid of the recording. Samples that
            were not modeled are NaN and annotated as bad.

        Raises
        ------
        ValueError
            If these are states of epochs, which are no Raw.
        """
        if self.timeline.epochs is not None:
            raise ValueError("these are states of epochs, which are no Raw; use to_epochs()")
        raw = mne.io.RawArray(
            self.probabilities.copy(),
            self.info,
            first_samp=self.timeline.first_samp,
            verbose="ERROR",
        )
        edges = np.flatnonzero(np.diff(np.concatenate([[0], self.labels < 0, [0]])))
        missing = self._annotations(edges[::2], edges[1::2], [NOT_MODELED] * (len(edges) // 2))
        return raw.set_annotations(self.to_annotations() + missing)

    def to_epochs(self) -> mne.EpochsArray:
        """Get the state probabilities as epochs of their own.

        Returns
        -------
        epochs : mne.EpochsArray
            One ``misc`` channel per state, with the events, times and metadata of the epochs
            the states were found in. Samples that were not modeled are NaN.

        Raises
        ------
        ValueError
            If these are states of a recording that did not come as epochs.
        """
        if self.timeline.epochs is None:
            raise ValueError(
                "these are states of a recording without epochs; cut mne.Epochs(raw, events) out "
                "of raw = to_raw(), or give epochs to predict"
            )
        return self.timeline.epochs.epochs_of(self.probabilities.copy(), self.info)

    def statistics(self, *, include_censored: bool = False) -> StateStatistics:
        """Compute occupancy, lifetimes, intervals and switching rates.

        Parameters
        ----------
        include_censored : bool
            Whether visits cut by the edge of a span count as lifetimes, at the length that is
            seen of them. If False (default), they are left out.

        Returns
        -------
        statistics : StateStatistics
            One value per state. What cannot be said is NaN.
        """
        return compute_statistics(
            self.labels.ravel(),
            self.spans,
            self.timeline.sfreq,
            self.state_names,
            include_censored=include_censored,
        )

    def to_data_frame(self) -> "DataFrame":
        """Get the state time course as a table with one row per sample.

        Returns
        -------
        df : pandas.DataFrame
            Columns ``time`` (seconds), ``label`` and one per state; needs pandas. Of epochs
            also, as in MNE-Python, ``condition`` (name of the event) and ``epoch`` (its
            number before any were dropped).
        """
        pd = check_pandas()
        n_epochs = self.labels.size // len(self.times)
        columns = {"time": np.tile(self.times, n_epochs)}
        if self.timeline.epochs is not None:
            grid = self.timeline.epochs
            columns["condition"] = np.repeat(grid.conditions, len(self.times))
            columns["epoch"] = np.repeat(grid.selection, len(self.times))
        columns["label"] = self.labels.ravel()
        for i_state, name in enumerate(self.state_names):
            columns[name] = self.probabilities[..., i_state, :].ravel()
        return pd.DataFrame(columns)

    def plot(
        self,
        *,
        start: float = 0.0,
        duration: float = 10.0,
        axes: "Axes | None" = None,
        show: bool = True,
    ) -> "Figure":
        """Plot the state probabilities over time; of epochs, end to end.

        Parameters
        ----------
        start : float
            Where to begin, in seconds.
        duration : float
            How many seconds to show.
        axes : matplotlib.axes.Axes | None
            Where to plot. None makes a new figure.
        show : bool
            Whether to show the figure.

        Returns
        -------
        fig : matplotlib.figure.Figure
            The figure.
        """
        from ..viz import plot_states

        return plot_states(self, start=start, duration=duration, axes=axes, show=show)

    def plot_with_data(
        self,
        inst: RecordingLike,
        *,
        picks: Any = None,
        start: float = 0.0,
        duration: float = 10.0,
        sfreq: float | None = None,
        axes: "Axes | None" = None,
        show: bool = True,
    ) -> "Figure":
        """Plot signals, with the colors of the states behind them.

        Parameters
        ----------
        inst : Raw | Epochs | array, shape (n_channels, n_times) | path-like
            The recording the states were found in.
        picks : str | array-like | slice | None
            Channels to show. None (default) takes some of those the states were found in.
        start : float
            Where to begin, in seconds.
        duration : float
            How many seconds to show.
        sfreq : float | None
            Sampling rate of arrays in hertz.
        axes : matplotlib.axes.Axes | None
            Where to plot. None makes a new figure.
        show : bool
            Whether to show the figure.

        Returns
        -------
        fig : matplotlib.figure.Figure
            The figure.
        """
        from ..viz import plot_states_with_data

        return plot_states_with_data(
            self,
            inst,
            picks=picks,
            start=start,
            duration=duration,
            sfreq=sfreq,
            axes=axes,
            show=show,
        )

    def __str__(self) -> str:
        n_modeled = sum(stop - start for start, stop in self.spans)
        sfreq = self.timeline.sfreq
        samples = f"{len(self.times):,} samples"
        if self.timeline.epochs is not None:
            samples = f"{plural(len(self.labels), 'epoch')} of {samples}"
        return (
            f"<StateTimeCourse | {plural(self.n_states, 'state')}, {samples} at "
            f"{sfreq:g} Hz, {n_modeled / sfreq:.1f} of {self.labels.size / sfreq:.1f} s modeled>"
        )

    __repr__ = __str__


def as_courses(states: Any) -> list[StateTimeCourse]:
    """Get the states of one recording, or of several, as a list."""
    courses = [states] if isinstance(states, StateTimeCourse) else states
    if not isinstance(courses, (list, tuple)) or not all(
        isinstance(course, StateTimeCourse) for course in courses
    ):
        raise TypeError(
            "states must be a StateTimeCourse or a list of them, as hmm.predict(inst) gives, got "
            f"{type(states).__name__}"
        )
    if not courses:
        raise ValueError("states is an empty list; pass the states of at least one recording")
    first = courses[0]
    for i_recording, course in enumerate(courses):
        for what in ("state_names", "ch_names"):
            expected, actual = getattr(first, what), getattr(course, what)
            if expected != actual:
                raise ValueError(
                    f"states must all be of one model, but {what} are {listed(expected)} in "
                    f"recording 0 and {listed(actual)} in recording {i_recording}; find all with "
                    "the same model"
                )
    return list(courses)
