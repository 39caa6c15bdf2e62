"""The networks of a simulated recording: arguments are checked, defaults fill in the rest."""

from typing import Any, NamedTuple

import numpy as np

from .._utils.checks import check_number, check_option, listed, plural
from ..model.hmm import default_state_names
from .presets import PRESETS, Preset

# Center frequencies of the networks in hertz, from theta to gamma; reused in turn.
FREQUENCIES = (4.0, 7.0, 10.0, 14.0, 20.0, 28.0, 36.0)
# Mean duration of a visit in seconds.
MEAN_LIFETIME = 0.2


class Networks(NamedTuple):
    """The networks of a recording, their dynamics and their channels."""

    sfreq: float
    lifetimes: np.ndarray
    """Seconds, shape (n_states,)."""
    occupancy: np.ndarray | None
    transition_matrix: np.ndarray | None
    frequencies: np.ndarray
    """Hertz, shape (n_states,)."""
    patterns: np.ndarray | None
    """Shape (n_states, n_sources, n_channels)."""
    snr: float
    state_names: tuple[str, ...]
    ch_names: tuple[str, ...]
    ch_type: str = "misc"
    scale: float = 1.0


def networks_of(preset: str | None, arguments: dict[str, Any]) -> Networks:
    """Check the arguments of `simulate_raw`; a preset or defaults fill in the missing ones."""
    chosen = None if preset is None else _chosen_preset(preset, arguments)
    rate = check_number(arguments.get("sfreq", 250.0), "sfreq", rule="a rate above 0 Hz", above=0)
    default_snr = 1.0 if chosen is None else chosen.snr
    snr = check_number(arguments.get("snr", default_snr), "snr", rule="a number above 0", above=0)
    arrays = _arrays_of(arguments)
    n_states = _n_states(arguments.get("n_states"), arrays, chosen)
    transitions = _transitions(arrays.get("transition_matrix"), arguments)
    occupancy = _occupancy(arrays.get("occupancy"), arguments)
    lifetimes = _lifetimes(arrays, arguments, n_states, chosen)
    if chosen is not None and occupancy is None and transitions is None:
        occupancy = np.array([network.occupancy for network in chosen.networks])
    frequencies = _frequencies(arrays.get("frequencies"), n_states, rate, chosen)
    dynamics = (rate, lifetimes, occupancy, transitions, frequencies)
    if chosen is not None:
        return Networks(
            *(*dynamics, chosen.patterns(chosen.networks), snr),
            tuple(network.name for network in chosen.networks),
            chosen.channels,
            chosen.ch_type,
            chosen.scale,
        )
    patterns = _patterns(arrays.get("patterns"))
    n_channels = _n_channels(arguments.get("n_channels"), patterns)
    ch_names = tuple(f"parcel_{i:02d}" for i in range(n_channels))
    return Networks(*(*dynamics, patterns, snr), default_state_names(n_states), ch_names)


def _chosen_preset(preset: str, arguments: dict[str, Any]) -> Preset:
    """Find a preset by its name; what it fixes must not be among the arguments."""
    check_option(preset, "preset", tuple(PRESETS))
    fixed = [
        name for name in ("n_states", "n_channels", "frequencies", "patterns") if name in arguments
    ]
    if fixed:
        raise ValueError(
            f"{listed(fixed)} cannot be given with preset={preset!r}, which has its own; leave "
            "them out, or leave preset out"
        )
    return PRESETS[preset]


def _arrays_of(arguments: dict[str, Any]) -> dict[str, np.ndarray]:
    """Arrays among the arguments; a lifetime that is one number is checked and left out."""
    names = ["occupancy", "transition_matrix", "frequencies", "patterns"]
    lifetime = arguments.get("mean_lifetime", MEAN_LIFETIME)
    if np.ndim(lifetime) > 0:
        names.append("mean_lifetime")
    arrays = {name: _numbers(arguments[name], name) for name in names if name in arguments}
    if "mean_lifetime" not in arrays:
        check_number(lifetime, "mean_lifetime", rule="seconds above 0", above=0)
    return arrays


def _occupancy(occupancy: np.ndarray | None, arguments: dict[str, Any]) -> np.ndarray | None:
    """Occupancies, checked."""
    if occupancy is not None and (
        (occupancy <= 0).any() or abs(occupancy.sum() - 1) > 1e-6 or occupancy.ndim != 1
    ):
        raise ValueError(
            "occupancy must hold a share of the time above 0 for each state, which sum to 1, got "
            f"{listed(arguments['occupancy'], 12)}; leave out a state that is never on"
        )
    return occupancy


def _lifetimes(
    arrays: dict[str, np.ndarray],
    arguments: dict[str, Any],
    n_states: int,
    chosen: Preset | None,
) -> np.ndarray:
    """Mean lifetime of each state in seconds."""
    if "mean_lifetime" in arrays:
        lifetimes = arrays["mean_lifetime"]
    elif chosen is not None and "mean_lifetime" not in arguments:
        lifetimes = np.array([network.mean_lifetime for network in chosen.networks])
    else:
        lifetimes = np.full(n_states, float(arguments.get("mean_lifetime", MEAN_LIFETIME)))
    if lifetimes.ndim != 1 or (lifetimes <= 0).any():
        raise ValueError(
            "mean_lifetime must be seconds above 0, or a number of them for each state, got "
            f"{listed(lifetimes, 12)}"
        )
    return lifetimes


def _n_channels(n_channels: int | None, patterns: np.ndarray | None) -> int:
    """Find the number of channels, which must be that of the patterns."""
    if n_channels is None:
        n_channels = 38 if patterns is None else patterns.shape[2]
    rule = "a whole number ≥ 2"
    n_channels = check_number(n_channels, "n_channels", rule=rule, low=2, integer=True)
    if patterns is not None and patterns.shape[2] != n_channels:
        raise ValueError(
            f"n_channels={n_channels}, but patterns have {plural(patterns.shape[2], 'channel')}; "
            "leave n_channels out, or make them fit"
        )
    return n_channels


def _numbers(value: Any, name: str) -> np.ndarray:
    """Get finite numbers as an array."""
    try:
        array = np.array(value, float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if not array.size or not array.ndim or not np.isfinite(array).all():
        raise ValueError(
            f"{name} must hold finite numbers, one or more for each state, got {value!r}"
        )
    return array


def _n_states(n_states: int | None, arrays: dict[str, np.ndarray], chosen: Preset | None) -> int:
    """Find the number of states, which must be the same in all arguments."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if n_states is not None:
        rule = "a whole number ≥ 2"
        lengths = {
            "n_states": check_number(n_states, "n_states", rule=rule, low=2, integer=True),
            **lengths,
        }
    elif chosen is not None:
        lengths = {"preset": len(chosen.networks), **lengths}
    if not lengths:
        return 6
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{name} for {length}" for name, length in lengths.items())
        raise ValueError(f"parameters must be for as many states, but are: {each}; make them fit")
    name, length = next(iter(lengths.items()))
    if length < 2:
        raise ValueError(f"{name} must be for 2 states or more, got {plural(length, 'state')}")
    return length


def _transitions(transitions: np.ndarray | None, arguments: dict[str, Any]) -> np.ndarray | None:
    """Transition matrix, checked; lifetimes and occupancies must not be among the arguments."""
    if transitions is None:
        return None
    both = [name for name in ("mean_lifetime", "occupancy") if name in arguments]
    if both:
        raise ValueError(
            f"{listed(both)} cannot be given with transition_matrix, which decides them; leave one "
            "or the other out"
        )
    sums = transitions.sum(axis=-1)
    if (
        transitions.ndim != 2
        or transitions.shape[0] != transitions.shape[1]
        or (transitions < 0).any()
        or not np.allclose(sums, 1, rtol=0, atol=1e-6)
    ):
        raise ValueError(
            "transition_matrix must be square and hold probabilities that sum to 1 per row, got "
            f"shape {transitions.shape} and sums of {listed(np.round(np.ravel(sums), 6))}"
        )
    return transitions


def _frequencies(
    frequencies: np.ndarray | None, n_states: int, rate: float, chosen: Preset | None
) -> np.ndarray:
    """Center frequencies of all states in hertz."""
    if frequencies is None:
        if chosen is None:
            cycle = np.array(FREQUENCIES)[np.arange(n_states) % len(FREQUENCIES)]
            return np.minimum(cycle, 0.4 * rate)
        frequencies = np.array([network.frequency for network in chosen.networks])
    if frequencies.ndim != 1 or (frequencies <= 0).any() or (frequencies >= rate / 2).any():
        raise ValueError(
            "frequencies must be one for each state, above 0 Hz and below half the sampling rate "
            f"({rate / 2:g} Hz), got {listed(np.ravel(frequencies), 12)}; raise sfreq for higher "
            "ones"
        )
    return frequencies


def _patterns(patterns: np.ndarray | None) -> np.ndarray | None:
    """Patterns with an axis for the sources."""
    if patterns is None:
        return None
    if patterns.ndim == 2:
        patterns = patterns[:, np.newaxis]
    if patterns.ndim != 3 or not patterns.any():
        raise ValueError(
            "patterns must be of shape (n_states, n_channels) or (n_states, n_sources, n_channels) "
            f"and not all 0, got shape {patterns.shape}"
        )
    return patterns
