"""Exact inference on Markov chains, in parallel over chunks.

Every chain is cut into chunks of equal length. The chunk's steps multiply into one
K x K operator; walking these operators gives the message into and out of each chunk;
the ordinary recursions then run inside all chunks at once. Nothing is approximated:
the result is that of one recursion over each whole chain.

The recursions are those of Rabiner (1989, *Proceedings of the IEEE* 77(2), 257-286),
in float64. Impossible transitions are given a probability of 1e-140, so that data no
path can explain have a very low evidence instead of none.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..runtime._tensorflow import tf
from .chunks import ChunkLayout
from .compilation import call_compiled, call_on_groups
from .forward_backward import SMOOTH_ALONE, SMOOTH_GROUPS, TINY
from .viterbi import decode_groups


class Posterior(NamedTuple):
    """Posterior of the states, given the data and the parameters."""

    probabilities: np.ndarray
    """Probability of each state at each sample, shape (n_samples, n_states)."""
    transitions: np.ndarray
    """Expected number of steps from state i to state j, shape (n_states, n_states)."""
    initial: np.ndarray
    """Sum over chains of the first posteriors, shape (n_states,)."""
    log_evidence: np.ndarray
    """Log evidence of each chain in nats, shape (n_chains,)."""


class Path(NamedTuple):
    """The most probable sequence of states."""

    labels: np.ndarray
    """State of each sample, shape (n_samples,)."""
    log_probability: np.ndarray
    """Joint log probability of path and data, per chain, shape (n_chains,)."""


class Smoothed(NamedTuple):
    """Posterior of the states of the chains of a layout, in part as TensorFlow's tensors."""

    posteriors: "tf.Tensor"
    """Probability of each state at each sample, shape (n_samples, n_states)."""
    transitions: np.ndarray
    initial: np.ndarray
    log_evidence: np.ndarray
    """Per chain."""
    weights: np.ndarray
    """Sum of the posteriors, shape (n_states,)."""


def smooth_rows(
    rows: "tf.Tensor",
    constants: np.ndarray,
    layout: ChunkLayout,
    transition: np.ndarray,
    initial: np.ndarray,
    *,
    dtype: "tf.DType | None" = None,
) -> Smoothed:
    """Find the posterior of the states of independent chains.

    Shapes: ``rows`` (n_samples, n_states), ``constants`` (n_states,), ``transition``
    (n_states, n_states), ``initial`` (n_states,).
    """
    n_valid, is_first = layout.flags()
    dtype, groups = dtype or rows.dtype, layout.groups
    arguments = (
        layout.scatter(rows),
        np.asarray(constants, float),
        n_valid,
        is_first,
        np.asarray(transition, float),
        np.asarray(initial, float),
    )
    if len(groups) == 1:
        smoothed = call_compiled(SMOOTH_ALONE[dtype], *arguments)
    else:
        smoothed = call_on_groups(SMOOTH_GROUPS[dtype], groups, *arguments)
    posteriors, transitions, initials, evidence, weights = smoothed
    return Smoothed(
        layout.gather(posteriors),
        transitions.numpy(),
        initials.numpy(),
        layout.sum_per_chain(evidence.numpy()),
        weights.numpy(),
    )


def smooth(
    log_densities: np.ndarray,
    lengths: Sequence[int],
    transition: np.ndarray,
    initial: np.ndarray,
    *,
    chunk_length: int | None = None,
) -> Posterior:
    """Get the posterior of the states of independent chains.

    Shapes: ``log_densities`` (n_samples, n_states), ``transition`` (n_states, n_states),
    ``initial`` (n_states,).
    """
    rows = tf.constant(log_densities, tf.float64)
    layout = ChunkLayout.for_lengths(lengths, chunk_length)
    smoothed = smooth_rows(rows, np.zeros(rows.shape[1]), layout, transition, initial)
    return Posterior(smoothed.posteriors.numpy(), *smoothed[1:4])


def decode(
    log_densities: np.ndarray,
    lengths: Sequence[int],
    transition: np.ndarray,
    initial: np.ndarray,
    *,
    chunk_length: int | None = None,
) -> Path:
    """Find the most probable path of states through independent chains (Viterbi).

    Ties go to the state with the lower index, as in the plain recursion.

    Shapes: ``log_densities`` (n_samples, n_states), ``transition`` (n_states, n_states),
    ``initial`` (n_states,).
    """
    layout = ChunkLayout.for_lengths(lengths, chunk_length)
    n_valid, is_first = layout.flags()
    labels, log_probability = call_on_groups(
        decode_groups,
        layout.groups,
        layout.scatter(tf.constant(log_densities, tf.float64)),
        n_valid,
        is_first,
        np.append(is_first[1:], True),
        np.log(np.maximum(transition, TINY)),
        np.log(np.maximum(initial, TINY)),
    )
    labels = layout.gather(labels[..., None])[:, 0]
    return Path(labels.numpy(), layout.sum_per_chain(log_probability.numpy()))
