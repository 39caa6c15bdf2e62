"""What a reviewer would ask about the states of a model."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .model.hmm import HMM
from .states.time_course import StateTimeCourse
from .statistics.recording_dependence import ONLY, compute_recording_dependence

# A state that is on for less than this share of the time says little.
RARE = 0.01
# A state has most of its time in one session if that holds more than this share of it, and more
# than so many times the share of all time that the session has.
MOST, TIMES_EXPECTED = 0.5, 2.0


def find_cautions(
    hmm: HMM,
    states: Sequence[StateTimeCourse],
    *,
    names: Sequence[Any],
    sessions: Sequence[Any] | None = None,
) -> list[str]:
    """Find what should be known before the states are believed.

    Parameters
    ----------
    hmm : HMM
        The model.
    states : sequence of StateTimeCourse
        States of the recordings.
    names : sequence
        Names of the recordings.
    sessions : sequence | None
        The session of each recording; None takes each recording as one.

    Returns
    -------
    cautions : list of str
        Sentences; empty if there is nothing to say.
    """
    out = []
    if not hmm.converged_:
        n_updates = max(len(hmm.history_.get("free_energy", [])) - 1, 0)
        out.append(
            f"Training had not converged after {n_updates} updates; fit again with a larger "
            "max_iter, or with more data."
        )
    seconds = np.array([_seconds(one) for one in states])  # (n_recordings, n_states)
    total = seconds.sum()
    of_state = seconds.sum(axis=0)
    for state, name in enumerate(hmm.state_names):
        share = of_state[state] / total
        if share == 0:
            out.append(f"{name} is never on.")
            continue
        if share < RARE:
            out.append(
                f"{name} is on for {100 * share:.2g} % of the time; its map and spectrum rest on "
                f"{of_state[state]:.3g} s."
            )
        concentrated = _in_one(seconds[:, state], names)
        if concentrated:
            out.append(f"{name} lives in one recording only: {concentrated}.")
        elif sessions is not None or len(states) > 2:
            tied = _tied(seconds, state, sessions if sessions is not None else names)
            if tied:
                out.append(f"{name} is tied to one session: {tied}.")
    if all((one.labels >= 0).any() for one in states):
        dependence = compute_recording_dependence(states, names=names)
        if dependence.are_recordings:
            out.append(f"{dependence.advice(hmm.preparation_.align)}.")
    return out


def _seconds(states):
    """Time each state is on in a recording."""
    counts = np.bincount(states.labels[states.labels >= 0], minlength=states.n_states)
    return counts / states.timeline.sfreq


def _in_one(seconds, names):
    """Say in which recording a state is on, if it is in one alone."""
    share = seconds / seconds.sum()
    largest = int(share.argmax())
    if len(names) < 2 or share[largest] <= ONLY:
        return ""
    return f"{names[largest]} has {100 * share[largest]:.1f} % of its time"


def _tied(seconds, state, sessions):
    """Say which session has most of a state's time, if it is more than its part."""
    labels = list(dict.fromkeys(sessions))
    if len(labels) < 2:
        return ""
    which = np.array([labels.index(one) for one in sessions])
    of_session = np.array([seconds[which == i].sum(axis=0) for i in range(len(labels))])
    share = of_session[:, state] / of_session[:, state].sum()
    expected = of_session.sum(axis=1) / of_session.sum()
    largest = int(share.argmax())
    if share[largest] <= MOST or share[largest] <= TIMES_EXPECTED * expected[largest]:
        return ""
    return (
        f"{labels[largest]} has {100 * share[largest]:.0f} % of its time, and "
        f"{100 * expected[largest]:.0f} % of all data"
    )
