"""A page on a model and its states, as a section of MNE-Python's reports, with its warnings."""

import html
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import mne
import numpy as np
from mne.utils import logger, verbose

from ._utils.checks import listed, plural
from ._utils.docs import fill_doc
from ._utils.typing import Verbose
from .io.inputs import is_several
from .model.hmm import HMM
from .model.training_reference import ReferenceComparison
from .spectral.from_recordings import compute_state_spectra
from .spectral.maps import StateMaps, mean_maps, power_maps
from .spectral.networks import coherence_networks
from .states.time_course import StateTimeCourse, as_courses
from .statistics.recording_dependence import MIN_SHARE_IN_ONE, compute_recording_dependence
from .statistics.tinda import compute_tinda
from .viz import plot_lifetimes, plot_statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SECTION = "Hidden Markov model"
# Maps of power are of these bands in hertz, as far as there are spectra.
BANDS = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 45.0),
}
# Seconds of windows for spectra, or less where spans are shorter.
SPECTRA_WINDOW = 2.0
# Seconds of signals that are shown with their states.
SHOWN_SECONDS = 10.0
# A state that is on for less than this share of the time says little.
MIN_OCCUPANCY = 0.01
# A state has most of its time in one session if that holds more than this share of it, and more
# than so many times the share of all time that the session has.
SESSION_SHARE, SESSION_TIMES_EXPECTED = 0.5, 2.0
# Statistics of states in tables, with what they are multiplied by there, and in figures.
MEASURES = {
    "occupancy (%)": ("fractional_occupancy", 100.0),
    "lifetime (ms)": ("mean_lifetime", 1e3),
    "interval (ms)": ("mean_interval", 1e3),
    "rate (Hz)": ("switching_rate", 1.0),
}


@verbose
@fill_doc
def add_hmm_to_report(
    report: "mne.Report",
    hmm: HMM,
    inst: Any,
    *,
    states: StateTimeCourse | Sequence[StateTimeCourse] | None = None,
    names: Sequence[str] | None = None,
    sessions: Sequence[Any] | None = None,
    group: Sequence[Hashable] | None = None,
    atlas: Any = None,
    fmin: float = 1.0,
    fmax: float = 45.0,
    section: str = SECTION,
    reject_by_annotation: bool = True,
    sfreq: float | None = None,
    n_jobs: int | None = None,
    verbose: Verbose = None,
) -> None:
    """Add a model and the states of recordings to a report.

    Parameters
    ----------
    report : mne.Report
        The report.
    hmm : HMM
        The model.
    %(inst_to_prepare)s
    states : StateTimeCourse | list of StateTimeCourse | None
        The states of the recordings, where :meth:`HMM.predict` has given them. None finds them.
    names : sequence of str | None
        Names of the recordings. None numbers them.
    sessions : sequence | None
        The session of each recording, by any name. A warning tells of states that are
        tied to one. None takes each recording for a session.
    %(group)s
    atlas : path-like | nibabel image | None
        For parcels in a volume, the atlas, for maps in a glass brain (which need nilearn). None
        takes the one the model was trained with, if it was given one.
    fmin, fmax : float
        Band of the spectra in hertz.
    section : str
        The section of the report to add to.
    %(reject_by_annotation)s
    %(sfreq)s
    %(n_jobs)s
    %(verbose)s

    Raises
    ------
    TypeError
        If ``report`` is no report or ``hmm`` no model.
    ValueError
        If the recordings cannot be prepared, the states are not theirs, or there are more or
        fewer names or sessions than recordings.

    See Also
    --------
    HMM.report : Makes a report of its own.

    Notes
    -----
    The report has: warnings that a reviewer would ask for, what was done, training, where
    recordings fall among those of the training (for models that know), the states and
    their statistics, transitions, spectra, maps and networks. What cannot be had, such as maps of
    channels without positions, is named with the reason.
    """
    if not isinstance(report, mne.Report):
        raise TypeError(
            f"report must be an mne.Report, got {type(report).__name__}; hmm.report(inst) makes one"
        )
    if not isinstance(hmm, HMM):
        raise TypeError(f"hmm must be an HMM, got {type(hmm).__name__}")
    reading = {"reject_by_annotation": reject_by_annotation, "sfreq": sfreq, "n_jobs": n_jobs}
    courses = _courses_of(hmm, inst, states, group, reading)
    names = _one_for_each(names, "names", courses)
    sessions = None if sessions is None else _one_for_each(sessions, "sessions", courses)
    page = _Page(report, section)
    _add_model(page, hmm, courses, names, sessions)
    if hmm.reference is not None:
        _add_reference(page, hmm.compare_to_reference(inst, **reading), names)
    _add_states(page, hmm, inst, courses, names, sfreq)
    _add_transitions(page, hmm, courses)
    _add_spectra(page, hmm, inst, courses, atlas, (fmin, fmax), reading)
    logger.info(f"Added {plural(page.n_added, 'item')} to section {section!r}")


def _courses_of(
    hmm: HMM,
    inst: Any,
    states: StateTimeCourse | Sequence[StateTimeCourse] | None,
    group: Sequence[Hashable] | None,
    reading: dict[str, Any],
) -> list[StateTimeCourse]:
    """Check the states of the recordings, or find them."""
    if states is None:
        states = hmm.predict(inst, group=group, **reading)
    elif group is not None:
        raise ValueError("group is for finding states, which are given already; leave it out")
    courses = as_courses(states)
    if courses[0].state_names != hmm.state_names:
        raise ValueError(
            f"states are of {listed(courses[0].state_names)}, but the model has "
            f"{listed(hmm.state_names)}; pass hmm.predict(inst)"
        )
    return courses


def _one_for_each(
    labels: Sequence[Any] | None, name: str, courses: Sequence[StateTimeCourse]
) -> list[Any]:
    """Check that there is a label for each recording; None numbers them."""
    if labels is None:
        return list(range(len(courses)))
    if isinstance(labels, str) or len(labels) != len(courses):
        got = repr(labels) if isinstance(labels, str) else f"{len(labels)}"
        raise ValueError(
            f"{name} must be a list with one entry for each of "
            f"{plural(len(courses), 'recording')}, got {got}"
        )
    return list(labels)


class _Page:
    """A section of a report."""

    def __init__(self, report: "mne.Report", section: str) -> None:
        self.report, self.section, self.n_added = report, section, 0

    def html(self, title: str, text: str) -> None:
        """Add text in HTML."""
        self.report.add_html(text, title, section=self.section, tags=("hmm",))
        self.n_added += 1

    def figure(
        self, title: str, fig: "Figure | list[Figure]", caption: str | list[str] | None = None
    ) -> None:
        """Add a figure, or several to choose from, and close them."""
        import matplotlib.pyplot as plt

        self.report.add_figure(fig, title, caption=caption, section=self.section, tags=("hmm",))
        for drawn in fig if isinstance(fig, list) else [fig]:
            plt.close(drawn)
        self.n_added += 1

    def left_out(self, title: str, reason: str) -> None:
        """Say why something is not there."""
        self.html(title, f"<p>Left out: {html.escape(reason)}.</p>")


def _add_model(
    page: _Page,
    hmm: HMM,
    courses: Sequence[StateTimeCourse],
    names: Sequence[Any],
    sessions: Sequence[Any] | None,
) -> None:
    """Add warnings, what was done, the model and its training."""
    cautions = find_cautions(hmm, courses, names=names, sessions=sessions)
    page.html("Warnings", _list(cautions) if cautions else "<p>None.</p>")
    page.html("What was done", _table(_preparation_rows(hmm, courses)))
    page.html("Model", hmm._repr_html_())
    if hmm.history_:
        page.figure("Training", hmm.plot_history(show=False))
    else:
        page.left_out("Training", "the model came without a history of its training")
    if hmm.history_.get("starts"):
        page.html("Starts", _table(_start_rows(hmm), ["start", "states", "free energy", ""]))


def _preparation_rows(hmm: HMM, courses: Sequence[StateTimeCourse]) -> list[tuple[str, Any]]:
    """Every parameter of the preparation, and how much of the recordings was used."""
    preparation = hmm.preparation_
    rows = [
        (name, "none" if value is None else value) for name, value in preparation.settings.items()
    ]
    n_channels = len(preparation.ch_names_)
    rows += [
        ("channels", f"{n_channels} ({listed(preparation.ch_names_, 8)})"),
        (
            "features",
            f"{hmm.n_features}"
            if np.isnan(preparation.explained_variance_)
            else f"{hmm.n_features}, {100 * preparation.explained_variance_:.1f} % of variance",
        ),
        ("rate of the features", f"{preparation.sfreq_:g} Hz"),
        ("recordings", len(courses)),
    ]
    used = sum(int((course.labels >= 0).sum()) for course in courses)
    every = sum(course.labels.size for course in courses)
    seconds = sum(course.labels.size / course.timeline.sfreq for course in courses)
    return [
        *rows,
        ("samples", f"{every:,} ({seconds:,.1f} s)"),
        ("samples used", f"{used:,} ({100 * used / every:.1f} %)"),
        ("samples left out (bad spans, edges of spans)", f"{every - used:,}"),
    ]


def _start_rows(hmm: HMM) -> list[tuple[str, Any, str, str]]:
    """List the free energy each start came to, on a part or on windows of the data."""
    starts = hmm.history_["starts"]
    return [
        (
            f"{index + 1} ({start['init']})",
            start["n_states"],
            f"{start['free_energy'][-1]:.4f}",
            "best of these" if start["kept"] else "",
        )
        for index, start in enumerate(starts)
    ]


def _add_reference(page: _Page, comparison: ReferenceComparison, names: Sequence[Any]) -> None:
    """Add where the recordings fall among those of the training."""
    comparison = replace(comparison, names=tuple(map(str, names)))
    rows = [
        (name, f"{value:.2f}", f"{percentile:.1f}", f"{z:+.2f}", verdict)
        for name, value, percentile, z, verdict in comparison.rows()
    ]
    head = ["recording", "free energy (nats per sample)", "percentile", "z", ""]
    page.html("Against the training recordings", _table(rows, head))
    page.figure("Free energy of the training recordings", comparison.plot(show=False))


def _add_states(
    page: _Page,
    hmm: HMM,
    inst: Any,
    courses: Sequence[StateTimeCourse],
    names: Sequence[Any],
    sfreq: float | None,
) -> None:
    """Add statistics of the states, and what they look like in time."""
    statistics = [course.statistics() for course in courses]
    rows = []
    for state, name in enumerate(hmm.state_names):
        row = [name]
        for measure, factor in MEASURES.values():
            values = np.array([getattr(each, measure)[state] for each in statistics]) * factor
            row.append(_mean_and_spread(values))
        rows.append(row)
    page.html("States", _table(rows, ["state", *MEASURES]))
    _add_dependence(page, courses, names)
    longest = int(np.argmax([(course.labels >= 0).sum() for course in courses]))
    course = courses[longest]
    page.figure("States over time", course.plot(duration=SHOWN_SECONDS, show=False))
    recording = inst[longest] if isinstance(inst, (list, tuple)) else inst
    # Which file of a folder or pattern it is, is not known here.
    if recording is not inst or not is_several(inst):
        fig = course.plot_with_data(recording, duration=SHOWN_SECONDS, sfreq=sfreq, show=False)
        page.figure("States and signals", fig)
    measures = [measure for measure, _ in MEASURES.values()]
    figs = [plot_statistics(courses, measure, show=False) for measure in measures]
    page.figure("Statistics", figs, [measure.replace("_", " ") for measure in measures])
    page.figure("Lifetimes", plot_lifetimes(courses, show=False))


def _add_dependence(page: _Page, courses: Sequence[StateTimeCourse], names: Sequence[Any]) -> None:
    """Add in which recordings states live."""
    title = "States and recordings"
    if len(courses) < 2:
        return
    if any((course.labels < 0).all() for course in courses):
        page.left_out(title, "a recording has no modeled sample")
        return
    dependence = compute_recording_dependence(courses, names=names)
    explained = f"{100 * dependence.explained:.0f} % of the variance of state occupancy"
    rows = [
        (
            name,
            f"{100 * share.max():.0f} %",
            dependence.names[int(share.argmax())],
        )
        for name, share in zip(dependence.state_names, dependence.shares.T, strict=True)
        if not np.isnan(share).any()
    ]
    text = f"<p>{explained} is explained by recording.</p>"
    page.html(title, text + _table(rows, ["state", "largest share of its samples", "recording"]))


def _mean_and_spread(values: np.ndarray) -> str:
    """Write the mean over recordings, and their standard deviation where there are several."""
    values = values[~np.isnan(values)]
    if not len(values):
        return "unknown"
    spread = f" ± {values.std(ddof=1):.3g}" if len(values) > 1 else ""
    return f"{values.mean():.4g}{spread}"


def _add_transitions(page: _Page, hmm: HMM, courses: Sequence[StateTimeCourse]) -> None:
    """Add transitions, and the cycle of states."""
    page.figure("Transitions", hmm.plot_transition_matrix(show=False))
    page.figure("Transition graph", hmm.plot_transition_graph(show=False))
    try:
        tinda = compute_tinda(courses)
    except ValueError as error:
        page.left_out("Cycle of states", str(error))
        return
    page.figure("Cycle of states", tinda.plot(show=False))


def _add_spectra(
    page: _Page,
    hmm: HMM,
    inst: Any,
    courses: Sequence[StateTimeCourse],
    atlas: Any,
    band: tuple[float, float],
    reading: dict[str, Any],
) -> None:
    """Add spectra, and maps and networks of their bands."""
    if hmm.learned.means:
        _add_maps(page, "Maps of means", [("", mean_maps(hmm))], atlas, hmm)
    fmin, fmax = band
    nyquist = min(course.timeline.sfreq for course in courses) / 2
    if nyquist <= fmin:
        page.left_out("Spectra", f"the recordings have no frequencies above {fmin:g} Hz")
        return
    longest = max((b - a) / course.timeline.sfreq for course in courses for a, b in course.spans)
    spectra = compute_state_spectra(
        inst,
        courses,
        fmin=fmin,
        fmax=min(fmax, nyquist),
        window=min(SPECTRA_WINDOW, longest),
        keep_recordings=False,
        **reading,
    )
    page.figure("Power spectra", spectra.plot(show=False))
    if len(spectra.ch_names) > 1:
        page.figure("Coherence", spectra.plot_coherence(show=False))
    bands = {
        name: (low, high)
        for name, (low, high) in BANDS.items()
        if ((spectra.freqs >= low) & (spectra.freqs <= high)).any()
    }
    maps = [(name, power_maps(spectra, *limits)) for name, limits in bands.items()]
    _add_maps(page, "Maps of power", maps, atlas, hmm)
    if len(spectra.ch_names) > 1:
        networks = [
            coherence_networks(spectra, *limits, reference="mean") for limits in bands.values()
        ]
        figs = [network.plot_matrix(show=False) for network in networks]
        page.figure("Networks", figs, list(bands))


def _add_maps(
    page: _Page, title: str, maps: list[tuple[str, StateMaps]], atlas: Any, hmm: HMM
) -> None:
    """Add maps on the head or in a glass brain, whichever the channels allow."""
    atlas = hmm.atlas_arguments.atlas if atlas is None else atlas
    captions = [caption for caption, _ in maps]
    if maps[0][1].has_places:
        page.figure(title, [each.plot_topomap(show=False) for _, each in maps], captions)
    elif atlas is not None:
        try:
            figs = [each.plot_glass_brain(atlas, show=False) for _, each in maps]
        except (ImportError, TypeError, ValueError) as error:
            page.left_out(title, str(error))
            return
        page.figure(title, figs, captions)
    else:
        page.left_out(
            title,
            "the channels have no positions on the head (raw.set_montage), and no atlas was given",
        )


def find_cautions(
    hmm: HMM,
    states: Sequence[StateTimeCourse],
    *,
    names: Sequence[Any],
    sessions: Sequence[Any] | None = None,
) -> list[str]:
    """Find what should be known before the states are believed."""
    cautions = []
    if not hmm.converged_:
        n_updates = max(len(hmm.history_.get("free_energy", [])) - 1, 0)
        cautions.append(
            f"Training had not converged after {n_updates} updates; fit again with a larger "
            "max_iter, or with more data."
        )
    seconds = np.array([_seconds_on(course) for course in states])  # (n_recordings, n_states)
    total = seconds.sum()
    of_state = seconds.sum(axis=0)
    for state, name in enumerate(hmm.state_names):
        share = of_state[state] / total
        if share == 0:
            cautions.append(f"{name} is never on.")
            continue
        if share < MIN_OCCUPANCY:
            cautions.append(
                f"{name} is on for {100 * share:.2g} % of the time; its map and spectrum rest on "
                f"{of_state[state]:.3g} s."
            )
        concentrated = _only_recording(seconds[:, state], names)
        if concentrated:
            cautions.append(f"{name} lives in one recording only: {concentrated}.")
        elif sessions is not None or len(states) > 2:
            tied = _tied_session(seconds, state, sessions if sessions is not None else names)
            if tied:
                cautions.append(f"{name} is tied to one session: {tied}.")
    if all((course.labels >= 0).any() for course in states):
        dependence = compute_recording_dependence(states, names=names)
        if dependence.are_recordings:
            cautions.append(f"{dependence.advice(hmm.preparation_.align)}.")
    return cautions


def _seconds_on(states: StateTimeCourse) -> np.ndarray:
    """Sum up the seconds each state is on in a recording, shape (n_states,)."""
    counts = np.bincount(states.labels[states.labels >= 0], minlength=states.n_states)
    return counts / states.timeline.sfreq


def _only_recording(seconds: np.ndarray, names: Sequence[Any]) -> str:
    """Say in which recording a state is on, if it is in one alone; empty otherwise."""
    share = seconds / seconds.sum()
    largest = int(share.argmax())
    if len(names) < 2 or share[largest] <= MIN_SHARE_IN_ONE:
        return ""
    return f"{names[largest]} has {100 * share[largest]:.1f} % of its time"


def _tied_session(seconds: np.ndarray, state: int, sessions: Sequence[Any]) -> str:
    """Say which session has most of a state's time, if it is more than its share."""
    labels = list(dict.fromkeys(sessions))
    if len(labels) < 2:
        return ""
    which = np.array([labels.index(session) for session in sessions])
    of_session = np.array([seconds[which == i].sum(axis=0) for i in range(len(labels))])
    share = of_session[:, state] / of_session[:, state].sum()
    expected = of_session.sum(axis=1) / of_session.sum()
    largest = int(share.argmax())
    if (
        share[largest] <= SESSION_SHARE
        or share[largest] <= SESSION_TIMES_EXPECTED * expected[largest]
    ):
        return ""
    return (
        f"{labels[largest]} has {100 * share[largest]:.0f} % of its time, and "
        f"{100 * expected[largest]:.0f} % of all data"
    )


def _table(rows: Sequence[Sequence[Any]], head: Sequence[str] | None = None) -> str:
    """Make a table in HTML."""
    lines = []
    if head is not None:
        lines.append("".join(f"<th>{html.escape(str(cell))}</th>" for cell in head))
    lines += ["".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table class='table table-sm'><tbody>{body}</tbody></table>"


def _list(sentences: Sequence[str]) -> str:
    """Make a list in HTML."""
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>"
