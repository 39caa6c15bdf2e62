"""Recordings with known states."""

from typing import Any

import mne
import numpy as np
from scipy.ndimage import convolve1d
from scipy.signal import lfilter

from ._utils.check import check_number, check_random_state, listed
from ._utils.docs import fill_doc
from .hmm import HMM, default_state_names
from .states import StateTimeCourse
from .switching_var import simulate_channels
from .timeline import Timeline

# Center frequencies of the networks in hertz, from theta to gamma; reused in turn.
FREQUENCIES = (4.0, 7.0, 10.0, 14.0, 20.0, 28.0, 36.0)
# Pole radius of the oscillators: a band some 4 Hz wide at 250 Hz.
SHARPNESS_HZ = 2.0
# Seconds in which a network fades in or out.
FADE = 0.1


@fill_doc
def simulate_raw(
    n_states: int | None = None,
    *,
    model: HMM | None = None,
    n_channels: int | None = None,
    duration: float = 300.0,
    sfreq: float | None = None,
    mean_lifetime: float | None = None,
    snr: float | None = None,
    random_state: Any = None,
) -> tuple[mne.io.RawArray, StateTimeCourse]:
    """Simulate parcel time courses of MEG with known states.

    Each state is a network: a few oscillators with a frequency of their own, each with
    its own pattern over the channels, on while the state is. Pink noise, partly shared by
    the channels, goes on all the time. Or states are those of a model.

    Parameters
    ----------
    n_states : int | None
        Number of states. None for 6.
    model : HMM | None
        A model of time-delay embedded data without means, whose states, channels, transitions and
        rate are taken; none of the other parameters but ``duration`` and ``random_state`` are
        for it.
    n_channels : int | None
        Number of channels. None for 38.
    duration : float
        Length in seconds.
    sfreq : float | None
        Sampling rate in hertz. None for 250.
    mean_lifetime : float | None
        Mean duration of a visit in seconds. None for 0.2.
    snr : float | None
        Variance of the oscillations over that of the noise, mean over channels. None for 1.
    %(random_state)s

    Returns
    -------
    raw : mne.io.RawArray
        The recording; channels are of type ``misc``, as parcels commonly are. Those of a model
        that standardizes are in standard deviations.
    states : StateTimeCourse
        The true states.

    Raises
    ------
    TypeError
        If ``model`` is no model.
    ValueError
        If a number is out of range, ``model`` is of another kind, or other parameters are given
        with it.

    Notes
    -----
    With ``model``, states follow each other by its Markov chain, and each has a vector
    autoregression with the covariances over lags that the model has for it (block Yule-Walker
    equations, order ``n_embeddings - 1``, with 1 percent of noise in each channel). What the
    model's components left out is not there. Of a model whose recordings were aligned, channels are
    those of the mean, with its covariance. Even the model that signals are made from finds only
    some of their states back: states of a few samples leave little trace in lags that are as long.

    Examples
    --------
    >>> import mne_hmm
    >>> raw, states = mne_hmm.simulate_raw(n_states=3, duration=20., random_state=0)
    >>> len(raw.ch_names), states.n_states
    (38, 3)
    """
    duration = check_number(duration, "duration", rule="a number of seconds above 0", above=0)
    rng = check_random_state(random_state)
    own = {
        "n_states": n_states,
        "n_channels": n_channels,
        "sfreq": sfreq,
        "mean_lifetime": mean_lifetime,
        "snr": snr,
    }
    given = {name: value for name, value in own.items() if value is not None}
    if model is None:
        signals, labels, sfreq, names, state_names = _networks(duration, rng, **given)
    else:
        _check_model(model, given)
        sfreq = model.preparation_.sfreq_
        signals, labels = simulate_channels(model, max(round(duration * sfreq), 1), rng)
        names, state_names = model.preparation_.ch_names_, model.state_names
    raw = mne.io.RawArray(signals.T, mne.create_info(list(names), sfreq, "misc"), verbose="ERROR")
    states = StateTimeCourse(
        np.equal(labels, np.arange(len(state_names))[:, None]).astype(float),
        labels,
        Timeline(sfreq, len(labels)),
        [(0, len(labels))],
        state_names,
        tuple(names),
    )
    return raw, states


def _check_model(model, given):
    if not isinstance(model, HMM):
        raise TypeError(f"model must be an HMM or None, got {type(model).__name__}")
    if given:
        raise ValueError(
            f"{listed(given)} cannot be given with model, which has its own; leave them out"
        )


def _networks(duration, rng, n_states=6, n_channels=38, sfreq=250.0, mean_lifetime=0.2, snr=1.0):
    """Networks of oscillators in noise, their states, the rate, and all names."""
    n_states = check_number(n_states, "n_states", rule="a whole number ≥ 2", low=2, integer=True)
    n_channels = check_number(
        n_channels, "n_channels", rule="a whole number ≥ 2", low=2, integer=True
    )
    sfreq = check_number(sfreq, "sfreq", rule="a rate above 0 Hz", above=0)
    check_number(mean_lifetime, "mean_lifetime", rule="seconds above 0", above=0)
    check_number(snr, "snr", rule="a number above 0", above=0)
    n_times = max(round(duration * sfreq), 1)
    labels = _visits(n_times, n_states, mean_lifetime * sfreq, rng)
    signal = np.zeros((n_times, n_channels))
    for state in range(n_states):
        signal += _network(
            labels == state, n_channels, FREQUENCIES[state % len(FREQUENCIES)], sfreq, rng
        )
    noise = _pink(n_times, n_channels, rng)
    noise *= np.sqrt(np.mean(signal.var(0)) / np.mean(noise.var(0)) / snr)
    data = signal + noise
    data *= 1 / data.std()
    names = [f"parcel_{i:02d}" for i in range(n_channels)]
    return data, labels, sfreq, names, default_state_names(n_states)


def _visits(n_times, n_states, mean_samples, rng):
    """Draw visits one after another; half of a lifetime is certain, half by chance."""
    shortest = int(mean_samples / 2)
    n_visits = int(np.ceil(n_times / max(shortest, 1))) + 1
    durations = shortest + rng.geometric(1 / max(mean_samples - shortest, 1), n_visits)
    steps = rng.integers(1, n_states, n_visits)  # never to itself
    states = np.cumsum(steps) % n_states
    n_needed = int(np.searchsorted(np.cumsum(durations), n_times)) + 1
    return np.repeat(states[:n_needed], durations[:n_needed])[:n_times]


def _network(on, n_channels, frequency, sfreq, rng, n_oscillators=4):
    """Oscillators of one frequency, mixed into channels, while a state is on."""
    radius = np.exp(-np.pi * SHARPNESS_HZ / sfreq)
    angle = 2 * np.pi * min(frequency, 0.4 * sfreq) / sfreq
    noise = rng.standard_normal((len(on), n_oscillators))
    sources = lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], noise, axis=0)
    sources /= sources.std(0)
    mixing = rng.standard_normal((n_oscillators, n_channels))
    mixing *= rng.random((n_oscillators, n_channels)) < 0.4
    # Networks fade in and out: a jump would be a signal of its own.
    fade = np.hanning(max(round(FADE * sfreq), 1) + 2)[1:-1]
    envelope = convolve1d(on.astype(float), fade / fade.sum(), mode="nearest")
    return (sources * envelope[:, None]) @ mixing


def _pink(n_times, n_channels, rng):
    """Noise with more power at low frequencies, partly shared by the channels."""
    noise = lfilter([1], [1, -0.95], rng.standard_normal((n_times, n_channels)), axis=0)
    shared = np.eye(n_channels) + 0.1 * rng.standard_normal((n_channels, n_channels))
    return noise @ shared
