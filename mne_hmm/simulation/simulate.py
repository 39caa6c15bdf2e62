"""Recordings with known states."""

from collections.abc import Sequence
from typing import Any

import mne
import numpy as np
from scipy.ndimage import convolve1d
from scipy.signal import lfilter

from .._utils.checks import check_number, check_random_state, listed
from .._utils.docs import fill_doc
from .._utils.typing import RandomState
from ..io.timeline import Timeline
from ..model.hmm import HMM
from ..states.time_course import StateTimeCourse
from .autoregression import simulate_channels
from .networks import Networks, networks_of
from .presets import electrode_positions
from .state_sequences import jump_matrix, markov_labels, visit_labels

# Pole radius of the oscillators: a band some 4 Hz wide at 250 Hz.
SHARPNESS_HZ = 2.0
# Oscillators of a network where no patterns are given.
N_OSCILLATORS = 4
# Seconds in which a network fades in or out.
FADE = 0.1


@fill_doc
def simulate_raw(
    n_states: int | None = None,
    *,
    model: HMM | None = None,
    preset: str | None = None,
    n_channels: int | None = None,
    duration: float = 300.0,
    sfreq: float | None = None,
    mean_lifetime: float | Sequence[float] | None = None,
    occupancy: Sequence[float] | None = None,
    transition_matrix: np.ndarray | None = None,
    frequencies: Sequence[float] | None = None,
    patterns: np.ndarray | None = None,
    snr: float | None = None,
    random_state: RandomState = None,
) -> tuple[mne.io.RawArray, StateTimeCourse]:
    """Simulate a recording with known states.

    Each state is a network: a few oscillators with a frequency of their own, each with
    its own pattern over the channels, on while the state is. Pink noise, partly shared by
    the channels, goes on all the time. Networks come from a preset, or from the numbers a study is
    planned with. Or states are those of a model.

    Parameters
    ----------
    n_states : int | None
        Number of states. None takes as many as other parameters have, or 6.
    model : HMM | None
        A model of time-delay embedded data without means, whose states, channels, transitions and
        rate are taken; none of the other parameters but ``duration`` and ``random_state`` are
        for it.
    preset : str | None
        Networks by name: ``"resting-meg"``, ``"sensorimotor-meg"`` or ``"resting-eeg"``, see
        Notes. Lifetimes, occupancies, transitions, rate and ``snr`` may be given with it.
    n_channels : int | None
        Number of channels. None takes that of ``patterns``, or 38.
    duration : float
        Length in seconds.
    sfreq : float | None
        Sampling rate in hertz. None for 250.
    mean_lifetime : float | array, shape (n_states,) | None
        Mean duration of a visit in seconds, of all states or of each. None for 0.2. Half of a
        lifetime is certain, half by chance.
    occupancy : array, shape (n_states,) | None
        Share of the time that each state is on; sums to 1. None lets the lifetimes decide, with
        all states entered as often.
    transition_matrix : array, shape (n_states, n_states) | None
        Probability of a step from state i to state j, from one sample to the next. States are a
        Markov chain then, in place of ``mean_lifetime`` and ``occupancy``.
    frequencies : array, shape (n_states,) | None
        Center of each state's oscillations in hertz. None takes 4, 7, 10, 14, 20, 28, 36, and
        begins anew.
    patterns : array, shape (n_states, n_channels) | (n_states, n_sources, n_channels) | None
        How strong the oscillations of each state are in each channel; with three dimensions
        those of each of several oscillators, which are independent. A state may have none. They
        count relative to each other: ``snr`` sets the size. None draws four at random, in some 40
        %% of the channels each.
    snr : float | None
        Variance of the oscillations over that of the noise, mean over channels. None for 1.
    %(random_state)s

    Returns
    -------
    raw : mne.io.RawArray
        The recording; channels are of type ``misc``, as parcels commonly are, but those of
        ``"resting-eeg"``, in volts. Those of a model that standardizes are in standard deviations.
    states : StateTimeCourse
        The true states.

    Raises
    ------
    TypeError
        If ``model`` is no model.
    ValueError
        If a number is out of range, parameters are of different numbers of states, lifetimes and
        occupancies do not go together, ``model`` is of another kind, or what it or a preset has is
        given with it.

    See Also
    --------
    bootstrap_statistics : Tells how well a recording of some length shows what states do.

    Notes
    -----
    Presets have networks that are known from recordings, with rounded lifetimes of the order that
    is found in them :footcite:`BakerEtAl2014,VidaurreEtAl2018`. They are for planning and for
    tests, and measure nothing. ``states.state_names`` are the names of the networks:

    - ``"resting-meg"``: 68 parcels of the atlas ``aparc`` and 8 states of about 0.1 s: visual
      (10 Hz), posterior (9) and anterior (4) default mode, sensorimotor (20), left and right
      frontotemporal (6), frontoparietal (14), and a background without oscillations.
    - ``"sensorimotor-meg"``: the same parcels and 4 states: beta events on the left and on the
      right (20 Hz, 0.25 s, each on for 15 %% of the time), mu on both sides (11 Hz, 0.4 s, 25 %%),
      and a background.
    - ``"resting-eeg"``: 32 electrodes with their positions and 5 states: posterior alpha (10 Hz,
      0.3 s, 30 %% of the time), frontal theta (6), sensorimotor mu (12), frontal beta (20), and a
      background.

    With ``model``, states follow each other by its Markov chain, and each has a vector
    autoregression with the covariances over lags that the model has for it (block Yule-Walker
    equations, order ``n_embeddings - 1``, with 1 percent of noise in each channel). What the
    model's components left out is not there. Of a model whose recordings were aligned, channels are
    those of the mean, with its covariance. Even the model that signals are made from finds only
    some of their states back: states of a few samples leave little trace in lags that are as long.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> import mne_hmm
    >>> raw, states = mne_hmm.simulate_raw(n_states=3, duration=20., random_state=0)
    >>> len(raw.ch_names), states.n_states
    (38, 3)
    >>> raw, states = mne_hmm.simulate_raw(preset="resting-eeg", duration=5., random_state=0)
    >>> states.state_names[0], len(raw.ch_names)
    ('posterior_alpha', 32)
    >>> _, states = mne_hmm.simulate_raw(
    ...     occupancy=[0.6, 0.3, 0.1], mean_lifetime=[0.5, 0.2, 0.1], duration=20., random_state=0
    ... )
    >>> states.n_states
    3
    """
    duration = check_number(duration, "duration", rule="a number of seconds above 0", above=0)
    rng = check_random_state(random_state)
    parameters = {
        "n_states": n_states,
        "n_channels": n_channels,
        "sfreq": sfreq,
        "mean_lifetime": mean_lifetime,
        "occupancy": occupancy,
        "transition_matrix": transition_matrix,
        "frequencies": frequencies,
        "patterns": patterns,
        "snr": snr,
    }
    arguments = {name: value for name, value in parameters.items() if value is not None}
    if model is not None:
        _check_model(model, preset, arguments)
        rate = model.preparation_.sfreq_
        signals, labels = simulate_channels(model, max(round(duration * rate), 1), rng)
        names, state_names = model.preparation_.ch_names_, model.state_names
        info = mne.create_info(list(names), rate, "misc")
    else:
        networks = networks_of(preset, arguments)
        signals, labels, info = _oscillations(duration, rng, networks)
        rate, names, state_names = networks.sfreq, networks.ch_names, networks.state_names
    raw = mne.io.RawArray(signals.T, info, verbose="ERROR")
    states = StateTimeCourse(
        np.equal(labels, np.arange(len(state_names))[:, None]).astype(float),
        labels,
        Timeline(rate, len(labels)),
        [(0, len(labels))],
        state_names,
        tuple(names),
    )
    return raw, states


def _check_model(model: Any, preset: str | None, arguments: dict[str, Any]) -> None:
    """Check that a model is one, and that nothing is an argument that the model decides."""
    if not isinstance(model, HMM):
        raise TypeError(f"model must be an HMM or None, got {type(model).__name__}")
    names = [*(["preset"] if preset is not None else []), *arguments]
    if names:
        raise ValueError(
            f"{listed(names)} cannot be given with model, which has its own; leave them out"
        )


def _oscillations(
    duration: float, rng: np.random.Generator, networks: Networks
) -> tuple[np.ndarray, np.ndarray, mne.Info]:
    """Networks of oscillators in noise, shape (n_times, n_channels), their states, and the info."""
    rate, n_channels = networks.sfreq, len(networks.ch_names)
    n_times = round(duration * rate)
    if n_times < 2:
        raise ValueError(
            f"duration={duration:g} s has less than two samples at {rate:g} Hz; simulate more "
            "seconds, or raise sfreq"
        )
    labels = _labels(n_times, networks, rng)
    signal = np.zeros((n_times, n_channels))
    for state, frequency in enumerate(networks.frequencies):
        mixing = None if networks.patterns is None else networks.patterns[state]
        signal += _network(labels == state, n_channels, frequency, rate, mixing, rng)
    noise = _pink(n_times, n_channels, rng)
    # In a short recording no network may have been on.
    power = np.mean(signal.var(0)) or 1.0
    noise *= np.sqrt(power / np.mean(noise.var(0)) / networks.snr)
    data = signal + noise
    data *= networks.scale / data.std()
    info = mne.create_info(list(networks.ch_names), rate, networks.ch_type)
    if networks.ch_type == "eeg":
        info.set_montage(electrode_positions())
    return data, labels, info


def _labels(n_times: int, networks: Networks, rng: np.random.Generator) -> np.ndarray:
    """Draw the states of all samples."""
    if networks.transition_matrix is not None:
        return markov_labels(networks.transition_matrix, n_times, rng)
    occupancy, jumps = networks.occupancy, None
    if occupancy is not None:
        jumps = jump_matrix(occupancy, networks.lifetimes)
    elif np.ptp(networks.lifetimes) > 0:
        occupancy = networks.lifetimes / networks.lifetimes.sum()
    return visit_labels(n_times, networks.lifetimes * networks.sfreq, jumps, occupancy, rng)


def _network(
    on: np.ndarray,
    n_channels: int,
    frequency: float,
    sfreq: float,
    mixing: np.ndarray | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Oscillators of one frequency, mixed into channels, while a state is on."""
    n_oscillators = N_OSCILLATORS if mixing is None else len(mixing)
    radius = np.exp(-np.pi * SHARPNESS_HZ / sfreq)
    angle = 2 * np.pi * frequency / sfreq
    noise = rng.standard_normal((len(on), n_oscillators))
    sources = lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], noise, axis=0)
    sources /= sources.std(0)
    if mixing is None:
        mixing = rng.standard_normal((n_oscillators, n_channels))
        mixing *= rng.random((n_oscillators, n_channels)) < 0.4
    # Networks fade in and out: a jump would be a signal of its own.
    fade = np.hanning(max(round(FADE * sfreq), 1) + 2)[1:-1]
    envelope = convolve1d(on.astype(float), fade / fade.sum(), mode="nearest")
    return (sources * envelope[:, None]) @ mixing


def _pink(n_times: int, n_channels: int, rng: np.random.Generator) -> np.ndarray:
    """Noise with more power at low frequencies, partly shared by the channels."""
    noise = lfilter([1], [1, -0.95], rng.standard_normal((n_times, n_channels)), axis=0)
    shared = np.eye(n_channels) + 0.1 * rng.standard_normal((n_channels, n_channels))
    return noise @ shared
