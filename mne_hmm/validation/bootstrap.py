"""How far statistics of states would be from those of a model, in recordings of some length."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mne
import numpy as np
from mne.utils import ProgressBar, verbose

from .._utils.checks import check_number, check_option, check_random_state, plural
from .._utils.docs import fill_doc
from .._utils.mne_private import check_pandas
from .._utils.typing import RandomState, Verbose
from ..model.hmm import HMM, copy_with
from ..model.inference import draw_features, engine_parameters
from ..simulation.simulate import simulate_raw
from ..simulation.state_sequences import markov_labels, markov_statistics
from ..states.visits import find_visits, stationary_occupancy

if TYPE_CHECKING:
    import pandas as pd

# Labels of states, good spans, and the number of states.
Decoded = tuple[np.ndarray, list[tuple[int, int]], int]


@dataclass(frozen=True, eq=False)
class BootstrapStatistics:
    """Occupancies and lifetimes of many simulated recordings of a model.

    Made by :func:`bootstrap_statistics`.

    Parameters
    ----------
    state_names : tuple of str
        Names of the states.
    fractional_occupancy : array, shape (n_states,)
        Share of the time in each state, by the model's transition probabilities.
    mean_lifetime : array, shape (n_states,)
        Mean duration of a visit in seconds, by the same. Infinite for a state that is never left.
    simulated_occupancy : array, shape (n_boot, n_states)
        Share of the time in each state, of each simulation.
    simulated_lifetime : array, shape (n_boot, n_states)
        Mean duration of whole visits in seconds, of each simulation. NaN without any.
    durations : tuple of float
        Length in seconds of the recordings of a simulation.
    confidence : float
        Share of the simulations that lie within the intervals.
    decoded : bool
        Whether states were found in simulated data, or are those that were simulated.
    """

    state_names: tuple[str, ...]
    fractional_occupancy: np.ndarray
    mean_lifetime: np.ndarray
    simulated_occupancy: np.ndarray = field(repr=False)
    simulated_lifetime: np.ndarray = field(repr=False)
    durations: tuple[float, ...]
    confidence: float
    decoded: bool

    @property
    def occupancy_interval(self) -> np.ndarray:
        """Lower and upper end for each state, shape (2, n_states)."""
        return self._interval(self.simulated_occupancy)

    @property
    def lifetime_interval(self) -> np.ndarray:
        """Lower and upper end in seconds for each state, shape (2, n_states).

        Of the simulations with a whole visit; NaN where there is none.
        """
        return self._interval(self.simulated_lifetime)

    @property
    def share_unseen(self) -> np.ndarray:
        """Share of the simulations without a whole visit to each state, shape (n_states,)."""
        return np.isnan(self.simulated_lifetime).mean(axis=0)

    def _interval(self, values: np.ndarray) -> np.ndarray:
        """Compute quantiles over simulations, shape (2, n_states); NaN without any."""
        tail = (1 - self.confidence) / 2
        out = np.full((2, values.shape[1]), np.nan)
        for state, column in enumerate(values.T):
            finite = column[~np.isnan(column)]
            if len(finite):
                out[:, state] = np.quantile(finite, [tail, 1 - tail])
        return out

    def to_data_frame(self) -> "pd.DataFrame":
        """Get the intervals as a table with one row per state.

        Returns
        -------
        df : pandas.DataFrame
            Columns ``state``; ``fractional_occupancy``, ``occupancy_low`` and ``occupancy_high``;
            ``mean_lifetime``, ``lifetime_low`` and ``lifetime_high`` in seconds; and
            ``share_unseen``. Needs pandas.
        """
        pandas = check_pandas()
        occupancy, lifetime = self.occupancy_interval, self.lifetime_interval
        return pandas.DataFrame(
            {
                "state": list(self.state_names),
                "fractional_occupancy": self.fractional_occupancy,
                "occupancy_low": occupancy[0],
                "occupancy_high": occupancy[1],
                "mean_lifetime": self.mean_lifetime,
                "lifetime_low": lifetime[0],
                "lifetime_high": lifetime[1],
                "share_unseen": self.share_unseen,
            }
        )

    def __str__(self) -> str:
        (low, high), (shortest, longest) = self.occupancy_interval, self.lifetime_interval
        width = max(map(len, (*self.state_names, "state")))
        rows = [
            f"{name:{width}s}  {share:9.3f} ({a:.3f} to {b:.3f})  "
            f"{1e3 * life:13.1f} ({1e3 * c:.1f} to {1e3 * d:.1f})"
            for name, share, a, b, life, c, d in zip(
                self.state_names,
                self.fractional_occupancy,
                low,
                high,
                self.mean_lifetime,
                shortest,
                longest,
                strict=True,
            )
        ]
        n = len(self.simulated_occupancy)
        states = "decoded" if self.decoded else "simulated"
        head = (
            f"{plural(n, 'simulation')} of {sum(self.durations):g} s in "
            f"{plural(len(self.durations), 'recording')}, {states} states, "
            f"{100 * self.confidence:g} % intervals"
        )
        return "\n".join(
            [
                head,
                f"{'state':{width}s}  occupancy                   lifetime (ms)",
                *rows,
            ]
        )

    __repr__ = __str__


@verbose
@fill_doc
def bootstrap_statistics(
    hmm: HMM,
    duration: float | Sequence[float],
    *,
    n_boot: int = 1000,
    confidence: float = 0.95,
    decode: bool = False,
    random_state: RandomState = None,
    verbose: Verbose = None,
) -> BootstrapStatistics:
    """Find how well recordings of some length show occupancies and lifetimes.

    The parametric bootstrap :footcite:`EfronTibshirani1993`: recordings of that length are
    simulated with the model many times over, and the middle of what they show is an interval.

    Parameters
    ----------
    hmm : HMM
        The model.
    duration : float | sequence of float
        Seconds that are modeled: of one recording, or of each of several that count together.
    n_boot : int
        Number of simulations.
    confidence : float
        Share of the simulations within the intervals, between 0 and 1.
    decode : bool
        If True, data are simulated as well, and states are found in them by the model, so that
        what is not seen of short visits counts. It takes much longer: begin with ``n_boot=100``.
        If False (default), states are taken as they were simulated.
    %(random_state)s
    %(verbose)s

    Returns
    -------
    statistics : BootstrapStatistics
        Values of the model, intervals, and what each simulation showed.

    Raises
    ------
    TypeError
        If ``hmm`` is no model.
    ValueError
        If a number is out of range.

    See Also
    --------
    simulate_raw : Simulates recordings.
    contrast_groups : Tests groups of recordings.

    Notes
    -----
    States are drawn from the model's transition probabilities; a recording begins anywhere in the
    chain. Occupancy is the share of all samples, and lifetimes are those of visits that begin and
    end within a recording, as `StateTimeCourse.statistics` has them.

    The intervals are the middle quantiles of the simulations. Given a model of one recording, they
    say how far from its values another recording of the same length may come out by chance, and
    hold the true values about as often as they promise. Data are another matter: real states last
    other than the geometric durations of a Markov chain, and what a person does from day to day
    is not in one recording. So real recordings differ by more.

    With ``decode``, signals are those of :func:`simulate_raw` for models of time-delay embedded
    data without means, and otherwise features that are independent given the states. Decoded
    lifetimes are longer than those of the model where short visits are missed.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> import mne_hmm
    >>> hmm = mne_hmm.fit_hmm(
    ...     mne_hmm.simulate_raw(2, n_channels=6, duration=20., random_state=0)[0],
    ...     2,
    ...     preparation=mne_hmm.Preparation(n_components=10),
    ...     n_init=1,
    ...     refine=False,
    ...     random_state=0,
    ...     verbose=False,
    ... )
    >>> found = mne_hmm.bootstrap_statistics(hmm, 60., n_boot=200, random_state=0, verbose=False)
    >>> low, high = found.occupancy_interval
    >>> bool((low < found.fractional_occupancy).all() and (found.fractional_occupancy < high).all())
    True
    """
    if not isinstance(hmm, HMM):
        raise TypeError(
            f"hmm must be a model, as fit_hmm and read_hmm give, got {type(hmm).__name__}"
        )
    n_boot = check_number(n_boot, "n_boot", rule="a whole number ≥ 2", low=2, integer=True)
    rule = "a share between 0 and 1"
    confidence = check_number(confidence, "confidence", rule=rule, above=0, high=1)
    if confidence == 1:
        raise ValueError(f"confidence must be {rule}, got 1; no interval holds everything")
    check_option(decode, "decode", (True, False))
    rng = check_random_state(random_state)
    sfreq = hmm.preparation_.sfreq_
    durations = _check_durations(duration, sfreq)
    lengths = [round(seconds * sfreq) for seconds in durations]
    simulate = _count_decoded if decode else _count_simulated
    occupied, whole_samples, n_whole = simulate(hmm, lengths, n_boot, rng)
    lifetime = np.divide(
        whole_samples, n_whole * sfreq, out=np.full(n_whole.shape, np.nan), where=n_whole > 0
    )
    leaves = 1 - np.diagonal(hmm.transition_matrix_)
    return BootstrapStatistics(
        hmm.state_names,
        stationary_occupancy(hmm.transition_matrix_),
        np.divide(1, leaves * sfreq, out=np.full(hmm.n_states, np.inf), where=leaves > 0),
        occupied / occupied.sum(axis=1, keepdims=True),
        lifetime,
        durations,
        confidence,
        decode,
    )


def _check_durations(duration: Any, sfreq: float) -> tuple[float, ...]:
    """Return the seconds of each recording of a simulation."""
    rule = "a number of seconds above 0, or one for each recording"
    durations = [duration] if np.isscalar(duration) or duration is None else list(duration)
    if not durations:
        raise ValueError(f"duration must be {rule}, but it is empty")
    seconds = [check_number(value, "duration", rule=rule, above=0) for value in durations]
    if round(min(seconds) * sfreq) < 1:
        raise ValueError(
            f"duration must be at least a sample of the model, {1 / sfreq:g} s, got {min(seconds)}"
        )
    return tuple(seconds)


def _count_simulated(
    hmm: HMM, lengths: list[int], n_boot: int, rng: np.random.Generator
) -> np.ndarray:
    """Count what simulated states do, all simulations side by side.

    Shapes: returns samples, samples in whole visits, and whole visits (3, n_boot, n_states).
    """
    total = np.zeros((3, n_boot, hmm.n_states), np.int64)
    progress = ProgressBar(len(lengths), mesg="Simulating")
    for n_done, length in enumerate(lengths, 1):
        total += np.array(markov_statistics(hmm.transition_matrix_, length, n_boot, rng))
        progress.update(n_done)
    return total


def _count_decoded(
    hmm: HMM, lengths: list[int], n_boot: int, rng: np.random.Generator
) -> np.ndarray:
    """Count what states do that are found in simulated data, one simulation after another.

    Shapes: as of `_count_simulated`.
    """
    embedded = hmm.preparation_.n_embeddings > 1 and not hmm.means_.any()
    decode = _decode_signals if embedded else _decode_features
    # A recording begins anywhere in the chain.
    hmm = copy_with(hmm, initial_probs=stationary_occupancy(hmm.transition_matrix_))
    total = np.zeros((3, n_boot, hmm.n_states))
    progress = ProgressBar(n_boot, mesg="Simulating")
    for i_boot in range(n_boot):
        for length in lengths:
            total[:, i_boot] += _count_visits(*decode(hmm, length, rng))
        progress.update(i_boot + 1)
    return total


def _decode_signals(hmm: HMM, length: int, rng: np.random.Generator) -> Decoded:
    """Simulate signals, so much longer as preparing them takes off, and find their states."""
    preparation = hmm.preparation_
    seconds = (length + preparation.n_embeddings - 1) / preparation.sfreq_
    raw, _ = simulate_raw(model=hmm, duration=seconds, random_state=rng)
    with mne.use_log_level("ERROR"):
        states = hmm.predict(raw)
    return states.labels, states.spans, hmm.n_states


def _decode_features(hmm: HMM, length: int, rng: np.random.Generator) -> Decoded:
    """Simulate features that are independent given the states, and find their states."""
    from ..engine import Samples, infer

    labels = markov_labels(hmm.transition_matrix_, length, rng)
    features = draw_features(hmm, labels, rng).astype(np.float32)
    samples, covariance_type = Samples([features], [[length]]), hmm.learned.covariance_type
    posterior = infer(samples, engine_parameters(hmm), covariance_type=covariance_type)
    return posterior.probabilities.argmax(1), [(0, length)], hmm.n_states


def _count_visits(labels: np.ndarray, spans: list[tuple[int, int]], n_states: int) -> np.ndarray:
    """Count samples in each state, those in whole visits, and these visits; (3, n_states)."""
    visits = find_visits(labels, spans)
    seen = visits.stops - visits.starts
    whole = ~visits.censored
    return np.array(
        [
            np.bincount(visits.states, seen, n_states),
            np.bincount(visits.states[whole], seen[whole], n_states),
            np.bincount(visits.states[whole], minlength=n_states),
        ]
    )
