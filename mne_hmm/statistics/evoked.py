"""Averages of state probabilities around events."""

from collections.abc import Sequence

import mne
import numpy as np
from mne.utils import verbose

from .._utils.docs import fill_doc
from .._utils.typing import Verbose
from ..states.time_course import StateTimeCourse
from .trials import cut_trials


@verbose
@fill_doc
def compute_state_evoked(
    states: StateTimeCourse | Sequence[StateTimeCourse],
    events: np.ndarray | Sequence[np.ndarray] | None = None,
    event_id: dict[str, int] | None = None,
    *,
    tmin: float | None = None,
    tmax: float | None = None,
    baseline: tuple[float | None, float | None] | None = (None, 0),
    verbose: Verbose = None,
) -> dict[str, mne.EvokedArray]:
    """Average state probabilities around events.

    Parameters
    ----------
    %(states)s
    %(events)s
    %(window_of_events)s
    %(baseline)s
    %(verbose)s

    Returns
    -------
    evokeds : dict of mne.EvokedArray
        The mean of each condition: one ``misc`` channel per state, named as the state;
        ``comment`` is the condition and ``nave`` the number of events.

    Raises
    ------
    ValueError
        If events and states do not fit, or a condition has no event with modeled data around
        it.

    See Also
    --------
    cluster_test_state_evoked : Test them.

    Notes
    -----
    Events without modeled data all around them, from ``tmin`` to ``tmax`` in one span, are left
    out; the log tells how many. Every event counts the same, whichever recording it is in. For
    a mean in which every recording counts the same, call this for each recording, and
    :func:`mne.grand_average` for the results.

    Examples
    --------
    >>> import mne_hmm
    >>> raw, states = mne_hmm.simulate_raw(3, duration=20., random_state=0)
    >>> events = mne.make_fixed_length_events(raw, id=1, start=2., stop=18.)
    >>> evokeds = mne_hmm.compute_state_evoked(states, events, {"cue": 1})
    >>> evokeds["cue"].nave, evokeds["cue"].ch_names
    (16, ['state_0', 'state_1', 'state_2'])
    """
    trials = cut_trials(states, events, event_id, tmin, tmax, baseline)
    data, codes = np.concatenate(trials.data), np.concatenate(trials.codes)
    return {
        name: trials.evoked(data[codes == code].mean(axis=0), name, int((codes == code).sum()))
        for code, name in enumerate(trials.conditions)
    }
