"""What networks a simulated recording has: arguments, checked, and defaults for the rest."""

from typing import Any, NamedTuple

import numpy as np

from .._utils.checks import check_number, check_option, listed, plural
from ..model.hmm import default_state_names
from .presets import PRESETS

# Center frequencies of the networks in hertz, from theta to gamma; reused in turn.
FREQUENCIES = (4.0, 7.0, 10.0, 14.0, 20.0, 28.0, 36.0)


class Networks(NamedTuple):
    """All there is to know of the networks of a recording."""

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


def networks_of(preset: str | None, given: dict[str, Any]) -> Networks:
    """Check what was given, and put defaults or those of a preset in place of the rest."""
    chosen = None
    if preset is not None:
        check_option(preset, "preset", tuple(PRESETS))
        chosen = PRESETS[preset]
        fixed = [name for name in ("n_states", "n_channels", "frequencies", "patterns")
                 if name in given]  # fmt: skip
        if fixed:
            raise ValueError(
                f"{listed(fixed)} cannot be given with preset={preset!r}, which has its own; leave "
                "them out, or leave preset out"
            )
    rate = check_number(given.get("sfreq", 250.0), "sfreq", rule="a rate above 0 Hz", above=0)
    default_snr = 1.0 if chosen is None else chosen.snr
    snr = check_number(given.get("snr", default_snr), "snr", rule="a number above 0", above=0)
    arrays: dict[str, np.ndarray] = {
        name: _numbers(given[name], name)
        for name in ("occupancy", "transition_matrix", "frequencies", "patterns")
        if name in given
    }
    lifetime = given.get("mean_lifetime", 0.2)
    if np.ndim(lifetime) > 0:
        arrays["mean_lifetime"] = _numbers(lifetime, "mean_lifetime")
    else:
        lifetime = check_number(lifetime, "mean_lifetime", rule="seconds above 0", above=0)
    n_states = _n_states(given.get("n_states"), arrays, chosen)
    transitions = arrays.get("transition_matrix")
    if transitions is not None:
        _check_transitions(transitions, given)
    occupancy = arrays.get("occupancy")
    if occupancy is not None and (
        (occupancy <= 0).any() or abs(occupancy.sum() - 1) > 1e-6 or occupancy.ndim != 1
    ):
        raise ValueError(
            "occupancy must hold a share of the time above 0 for each state, which sum to 1, got "
            f"{listed(given['occupancy'], 12)}; leave out a state that is never on"
        )
    if "mean_lifetime" in arrays:
        own = arrays["mean_lifetime"]
    elif chosen is not None and "mean_lifetime" not in given:
        own = np.array([one.mean_lifetime for one in chosen.networks])
    else:
        own = np.full(n_states, lifetime)
    if own.ndim != 1 or (own <= 0).any():
        raise ValueError(
            "mean_lifetime must be seconds above 0, or a number of them for each state, got "
            f"{listed(own, 12)}"
        )
    if chosen is not None and occupancy is None and transitions is None:
        occupancy = np.array([one.occupancy for one in chosen.networks])
    frequencies = _frequencies(arrays.get("frequencies"), n_states, rate, chosen)
    if chosen is not None:
        return Networks(
            *(rate, own, occupancy, transitions, frequencies, chosen.patterns(chosen.networks)),
            snr,
            tuple(one.name for one in chosen.networks),
            chosen.channels,
            chosen.ch_type,
            chosen.scale,
        )
    patterns = _patterns(arrays.get("patterns"))
    n_channels = given.get("n_channels", 38 if patterns is None else patterns.shape[2])
    rule = "a whole number ≥ 2"
    n_channels = check_number(n_channels, "n_channels", rule=rule, low=2, integer=True)
    if patterns is not None and patterns.shape[2] != n_channels:
        raise ValueError(
            f"n_channels={n_channels}, but patterns have {plural(patterns.shape[2], 'channel')}; "
            "leave n_channels out, or make them fit"
        )
    names = tuple(f"parcel_{i:02d}" for i in range(n_channels))
    return Networks(
        *(rate, own, occupancy, transitions, frequencies, patterns, snr),
        default_state_names(n_states),
        names,
    )


def _numbers(value, name):
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


def _n_states(n_states, arrays, chosen):
    """Find the number of states, which all that is given must have."""
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
        each = ", ".join(f"{name} for {number}" for name, number in lengths.items())
        raise ValueError(f"parameters must be for as many states, but are: {each}; make them fit")
    (first, number) = next(iter(lengths.items()))
    if number < 2:
        raise ValueError(f"{first} must be for 2 states or more, got {plural(number, 'state')}")
    return number


def _check_transitions(transitions, given):
    both = [name for name in ("mean_lifetime", "occupancy") if name in given]
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


def _frequencies(frequencies, n_states, rate, chosen):
    """Center frequencies of all states in hertz."""
    if frequencies is None and chosen is None:
        cycle = np.array(FREQUENCIES)[np.arange(n_states) % len(FREQUENCIES)]
        return np.minimum(cycle, 0.4 * rate)
    if frequencies is None:
        frequencies = np.array([one.frequency for one in chosen.networks])
    if frequencies.ndim != 1 or (frequencies <= 0).any() or (frequencies >= rate / 2).any():
        raise ValueError(
            "frequencies must be one for each state, above 0 Hz and below half the sampling rate "
            f"({rate / 2:g} Hz), got {listed(np.ravel(frequencies), 12)}; raise sfreq for higher "
            "ones"
        )
    return frequencies


def _patterns(patterns):
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
