"""The demonstration: known states, found again."""

from pathlib import Path

import numpy as np

from ..model.fit import fit_hmm
from ..model.hmm import HMM
from ..simulation.simulate import simulate_raw
from ..states.agreement import cross_table
from ..states.matching import best_match
from ..states.time_course import StateTimeCourse

FILES = ("demo-raw.fif", "demo-hmm.h5", "demo.png")


def match_labels(
    labels: np.ndarray, true_labels: np.ndarray, n_states: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find which state stands for which true one.

    Shapes: ``labels, true_labels`` (n_times,); returns ``order`` (n_states,), ``shared``
    (n_states, n_states).
    """
    both = (labels >= 0) & (true_labels >= 0)
    shared = cross_table(true_labels[both], labels[both], n_states, n_states)
    return best_match(shared), shared


def run_demo(folder: Path, *, seed: int = 0, overwrite: bool = False) -> None:
    """Simulate a recording, find its states, and say how well they are recovered."""
    paths = [folder / name for name in FILES]
    existing = [str(path) for path in paths if path.exists()]
    if existing and not overwrite:
        raise FileExistsError(
            f"{', '.join(existing)} exist already; pass --overwrite to replace them, or "
            "--out FOLDER"
        )
    folder.mkdir(parents=True, exist_ok=True)
    print("Simulating 5 minutes of 38 MEG parcels with 6 known states ...")
    raw, truth = simulate_raw(random_state=seed)
    hmm = fit_hmm(raw, truth.n_states, random_state=seed)
    states = hmm.predict(raw, verbose="WARNING")
    order, _ = match_labels(states.labels, truth.labels, truth.n_states)
    hmm = hmm.reorder_states(order)
    states = hmm.predict(raw, verbose="WARNING")

    print(f"\n{_format_table(states, truth)}\n")
    raw.set_annotations(raw.annotations + hmm.annotations_[0])
    raw.save(paths[0], overwrite=overwrite, verbose="WARNING")
    hmm.save(paths[1], overwrite=overwrite)
    _draw(hmm, states, truth, paths[2])
    print("Written:\n" + "\n".join(f"  {path}" for path in paths))


def _format_table(states: StateTimeCourse, truth: StateTimeCourse) -> str:
    """Format statistics per state, and how much of the truth was recovered."""
    _, shared = match_labels(states.labels, truth.labels, truth.n_states)
    recovered = np.diagonal(shared) / shared.sum(1)
    lines = str(states.statistics()).splitlines()
    head, rows = lines[0], lines[1:]
    out = [f"{head}  recovered"]
    out += [f"{row}  {share:8.1%}" for row, share in zip(rows, recovered, strict=True)]
    whole = np.trace(shared) / shared.sum()
    return "\n".join([*out, f"{whole:.1%} of all samples are in the right state."])


def _draw(hmm: HMM, states: StateTimeCourse, truth: StateTimeCourse, path: Path) -> None:
    """Draw training, true states and found states in one figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A figure of its own, so that nothing is shown and no global state is touched.
    fig = Figure(figsize=(11, 7), layout="constrained")
    FigureCanvasAgg(fig)
    top, middle, bottom = fig.subplots(3, 1, height_ratios=[1.4, 1, 1])
    hmm.plot_history(axes=top, show=False)
    top.set_title("Training")
    for axes, course, title in ((middle, truth, "True states"), (bottom, states, "States found")):
        course.plot(start=60.0, duration=5.0, axes=axes, show=False)
        axes.set_title(title)
    fig.savefig(path, dpi=120)
