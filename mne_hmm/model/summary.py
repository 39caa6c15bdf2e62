"""What a model says of itself: the table of its parameters, and a few lines of text or HTML."""

import html
from typing import NamedTuple

import numpy as np

from .._utils.checks import listed, plural
from .._utils.typing import GaussianHMM


class ParameterRow(NamedTuple):
    """One parameter of a model."""

    name: str
    shape: tuple[int, ...]
    n_free: int
    learned: bool


def parameter_rows(hmm: GaussianHMM) -> list[ParameterRow]:
    """List the parameters with their shapes, free numbers, and whether they were learned."""
    k, d = hmm.n_states, hmm.n_features
    learned = hmm.learned
    n_covariance = d * (d + 1) // 2 if learned.covariance_type == "full" else d
    return [
        ParameterRow("initial_probs", (k,), k - 1, learned.transitions),
        ParameterRow("transition_matrix", (k, k), k * (k - 1), learned.transitions),
        ParameterRow("means", (k, d), k * d, learned.means),
        ParameterRow("covariances", (k, d, d), k * n_covariance, learned.covariances),
    ]


def count_learned(hmm: GaussianHMM) -> int:
    """Count the free parameters that were learned."""
    return sum(row.n_free for row in parameter_rows(hmm) if row.learned)


def parameter_table(hmm: GaussianHMM) -> str:
    """Write the parameters as a table."""
    rows = [
        (row.name, str(row.shape), f"{row.n_free:,}" if row.learned else "0", _yes(row.learned))
        for row in parameter_rows(hmm)
    ]
    head = ("parameter", "shape", "free numbers", "learned")
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(4)]

    def line(row: tuple[str, ...]) -> str:
        cells = zip(row, widths, strict=True)
        left = [cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(cells)]
        return "  ".join(left)

    rule = "-" * len(line(head))
    lines = [f"HMM with {plural(hmm.n_states, 'state')}", rule, line(head), rule]
    lines += [line(row) for row in rows]
    lines += [rule, f"free numbers learned: {count_learned(hmm):,}"]
    if not np.isnan(hmm.explained_by_recording_):
        share = f"{100 * hmm.explained_by_recording_:.0f} %"
        lines.append(f"variance of state occupancy explained by recording: {share}")
    return "\n".join(lines)


def _yes(learned: bool) -> str:
    return "yes" if learned else "no"


def facts(hmm: GaussianHMM) -> list[tuple[str, str]]:
    """List names and values of what there is to know of a model."""
    preparation = hmm.preparation_
    n_updates = max(len(hmm.history_.get("free_energy", [])) - 1, 0)
    channels = plural(len(preparation.ch_names_), "channel")
    lags = plural(preparation.n_embeddings, "lag")
    converged = "converged" if hmm.converged_ else "not converged"
    training = f"{plural(n_updates, 'update')}, {converged}" if hmm.history_ else "elsewhere"
    return [
        ("States", f"{hmm.n_states} ({listed(hmm.state_names)})"),
        ("Features", f"{hmm.n_features} of {channels} × {lags}"),
        ("Sampling rate", f"{preparation.sfreq_:g} Hz"),
        ("Filter", _filter(hmm)),
        ("Free energy", f"{hmm.free_energy_:.4f} nats per sample"),
        ("Training", training),
        ("Recordings", _recordings(hmm)),
    ]


def _filter(hmm: GaussianHMM) -> str:
    """Describe the pass band, and what the training data were filtered to before."""
    preparation = hmm.preparation_
    cutoffs = (preparation.l_freq, preparation.h_freq)
    band = (
        "none"
        if cutoffs == (None, None)
        else " - ".join("…" if cutoff is None else f"{cutoff:g}" for cutoff in cutoffs) + " Hz"
    )
    if preparation.band_ is not None:
        low, high = preparation.band_
        band += f" (trained on data filtered to {low:g} - {high:g} Hz before)"
    return band


def _recordings(hmm: GaussianHMM) -> str:
    """Describe the recordings of the training."""
    words = [f"{len(hmm.annotations_)}" if hmm.annotations_ else "unknown here"]
    if hmm.preparation_.aligns:
        words.append(f"aligned ({hmm.preparation_.align} mean)")
    if not np.isnan(hmm.explained_by_recording_):
        share = f"{100 * hmm.explained_by_recording_:.0f} %"
        words.append(f"{share} of the variance of state occupancy explained by recording")
    return ", ".join(words)


def facts_text(hmm: GaussianHMM) -> str:
    """Write the facts as lines of text."""
    lines = facts(hmm)
    width = max(len(name) for name, _ in lines)
    return "\n".join(["HMM", *(f"  {name.lower():{width}s}  {value}" for name, value in lines)])


def facts_html(hmm: GaussianHMM) -> str:
    """Write the facts as a table for notebooks."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for name, value in facts(hmm)
    )
    return f"<table class='mne-hmm'><caption>HMM</caption><tbody>{rows}</tbody></table>"
