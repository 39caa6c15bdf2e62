"""Recordings with known states."""

from typing import Any

import mne
import numpy as np
from scipy.ndimage import convolve1d
from scipy.signal import lfilter

from ._utils.check import check_number, check_random_state
from ._utils.docs import fill_doc
from .states import StateTimeCourse
from .timeline import Timeline

# Center frequencies of the networks in hertz, from theta to gamma; reused in turn.
FREQUENCIES = (4.0, 7.0, 10.0, 14.0, 20.0, 28.0, 36.0)
# Pole radius of the oscillators: a band some 4 Hz wide at 250 Hz.
SHARPNESS_HZ = 2.0
# Seconds in which a network fades in or out.
FADE = 0.1


@fill_doc
def simulate_raw(
    n_states: int = 6,
    *,
    n_channels: int = 38,
    duration: float = 300.0,
    sfreq: float = 250.0,
    mean_lifetime: float = 0.2,
    snr: float = 1.0,
    random_state: Any = None,
) -> tuple[mne.io.RawArray, StateTimeCourse]:
    """Simulate parcel time courses of MEG with known states.

    Each state is a network: a few oscillators with a frequency of their own, each with
    its own pattern over the channels, on while the state is. Pink noise, partly shared by
    the channels, goes on all the time.

    Parameters
    ----------
    n_states : int
        Number of states.
    n_channels : int
        Number of channels.
    duration : float
        Length in seconds.
    sfreq : float
        Sampling rate in hertz.
    mean_lifetime : float
        Mean duration of a visit in seconds.
    snr : float
        Variance of the oscillations over that of the noise, mean over channels.
    %(random_state)s

    Returns
    -------
    raw : mne.io.RawArray
        The recording; channels are of type ``misc``, as parcels commonly are.
    states : StateTimeCourse
        The true states.

    Examples
    --------
    >>> import mne_hmm
    >>> raw, states = mne_hmm.simulate_raw(n_states=3, duration=20., random_state=0)
    >>> len(raw.ch_names), states.n_states
    (38, 3)
    """
    n_states = check_number(n_states, "n_states", rule="a whole number ≥ 2", low=2, integer=True)
    n_channels = check_number(
        n_channels, "n_channels", rule="a whole number ≥ 2", low=2, integer=True
    )
    duration = check_number(duration, "duration", rule="a number of seconds above 0", above=0)
    sfreq = check_number(sfreq, "sfreq", rule="a rate above 0 Hz", above=0)
    check_number(mean_lifetime, "mean_lifetime", rule="seconds above 0", above=0)
    check_number(snr, "snr", rule="a number above 0", above=0)
    rng = check_random_state(random_state)
    n_times = max(round(duration * sfreq), 1)
    labels = _visits(n_times, n_states, mean_lifetime * sfreq, rng)
    signal = np.zeros((n_times, n_channels))
    for state in range(n_states):
        signal += _network(
            labels == state, n_channels, FREQUENCIES[state % len(FREQUENCIES)], sfreq, rng
        )
    noise = _pink(n_times, n_channels, rng)
    noise *= np.sqrt(np.mean(signal.var(0)) / np.mean(noise.var(0)) / snr)
    data = (signal + noise).T
    data *= 1 / data.std()
    names = [f"parcel_{i:02d}" for i in range(n_channels)]
    raw = mne.io.RawArray(data, mne.create_info(names, sfreq, "misc"), verbose="ERROR")
    states = StateTimeCourse(
        np.equal(labels, np.arange(n_states)[:, None]).astype(float),
        labels,
        Timeline(sfreq, n_times),
        [(0, n_times)],
        tuple(f"state_{k}" for k in range(n_states)),
        tuple(names),
    )
    return raw, states


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
