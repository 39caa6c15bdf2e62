"""Exact inference on Markov chains, in parallel over chunks.

Every chain is cut into chunks of equal length. The chunk's steps multiply into one
K x K operator; walking these operators gives the message into and out of each chunk;
the ordinary recursions then run inside all chunks at once. Nothing is approximated:
the result is that of one recursion over each whole chain.

The recursions are those of Rabiner (1989, *Proceedings of the IEEE* 77(2), 257-286),
in float64. Impossible transitions are given a probability of 1e-140, so that data no
path can explain have a very low evidence instead of none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ._tensorflow import tf

# Smallest probability the recursions see: far below anything data can show. Two such steps,
# into a state and out of it again, still multiply to a normal number (from 2e-308 on, with
# digits to spare): what underflows is then outweighed by a path that does not.
TINY = 1e-140

CHUNK_LENGTHS = (8, 32, 128, 256)


class Posterior(NamedTuple):
    """What the data say about the states, given the parameters."""

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


@dataclass(frozen=True)
class ChunkLayout:
    """Where the samples of each chain lie among the chunks.

    Parameters
    ----------
    lengths : tuple of int
        Number of samples of each chain.
    chunk_length : int
        Number of samples in a chunk. The last chunk of a chain is padded.
    """

    lengths: tuple[int, ...]
    chunk_length: int

    @classmethod
    def for_lengths(cls, lengths, chunk_length=None):
        """Choose the chunk length that leaves few chunks to walk and little padding."""
        lengths = tuple(int(n) for n in lengths)
        if chunk_length is None:
            typical = int(np.median(lengths))
            fitting = [
                n for n in CHUNK_LENGTHS if n * n <= 4 * typical * len(lengths) and n <= 2 * typical
            ]
            chunk_length = max(fitting, default=CHUNK_LENGTHS[0])
        return cls(lengths, chunk_length)

    @property
    def chunks_per_chain(self):
        """Number of chunks of each chain, shape (n_chains,)."""
        return -(-np.array(self.lengths) // self.chunk_length)

    @property
    def n_chunks(self):
        """Number of chunks, rounded up so that few different shapes are compiled."""
        n = int(self.chunks_per_chain.sum())
        step = 2 ** max(n.bit_length() - 4, 0)
        return -(-n // step) * step

    @property
    def first_chunks(self):
        """The chunk each chain begins with, shape (n_chains,)."""
        return np.concatenate([[0], np.cumsum(self.chunks_per_chain)[:-1]]).astype(int)

    def flags(self):
        """Get the number of samples in each chunk, and whether a chain begins with it."""
        n_valid = np.zeros(self.n_chunks, np.int32)
        is_first = np.ones(self.n_chunks, bool)  # chunks that only pad are chains of nothing
        for start, n_chunks, length in zip(
            self.first_chunks, self.chunks_per_chain, self.lengths, strict=True
        ):
            n_valid[start : start + n_chunks] = self.chunk_length
            n_valid[start + n_chunks - 1] = length - (n_chunks - 1) * self.chunk_length
            is_first[start + 1 : start + n_chunks] = False
        return n_valid, is_first

    def _slots(self):
        """Yield, chain by chain, its rows among the samples and among the chunks' samples."""
        start = 0
        for first, length in zip(self.first_chunks, self.lengths, strict=True):
            slot = first * self.chunk_length
            yield slice(start, start + length), slice(slot, slot + length)
            start += length

    def scatter(self, rows):
        """Lay rows out as chunks: (n_samples, ...) to (n_chunks, chunk_length, ...)."""
        out = np.zeros((self.n_chunks * self.chunk_length, *rows.shape[1:]), rows.dtype)
        for samples, slots in self._slots():
            out[slots] = rows[samples]
        return out.reshape(self.n_chunks, self.chunk_length, *rows.shape[1:])

    def gather(self, chunks):
        """Undo `scatter`: (n_chunks, chunk_length, ...) to (n_samples, ...)."""
        flat = chunks.reshape(self.n_chunks * self.chunk_length, *chunks.shape[2:])
        out = np.empty((sum(self.lengths), *flat.shape[1:]), flat.dtype)
        for samples, slots in self._slots():
            out[samples] = flat[slots]
        return out


@lru_cache(maxsize=64)
def _compiled(function: Callable, n_chunks: int, chunk_length: int, n_states: int, dtype):
    """Compile a recursion for one shape, once.

    The concrete function is kept here, because TensorFlow takes a function that meets
    many shapes for a mistake and warns.
    """
    return tf.function(function, jit_compile=True).get_concrete_function(
        tf.TensorSpec((n_chunks, chunk_length, n_states), dtype),
        tf.TensorSpec((n_chunks,), tf.int32),
        tf.TensorSpec((n_chunks,), tf.bool),
        tf.TensorSpec((n_states, n_states), tf.float64),
        tf.TensorSpec((n_states,), tf.float64),
    )


def _run(function, log_densities, layout, transition, initial):
    """Lay the chains out as chunks and run a compiled recursion over them."""
    chunks = layout.scatter(np.asarray(log_densities))
    call = _compiled(function, *chunks.shape, tf.as_dtype(chunks.dtype))
    n_valid, is_first = layout.flags()
    arguments = (chunks, n_valid, is_first, transition, initial)
    return [out.numpy() for out in call(*map(tf.convert_to_tensor, arguments))]


def _sum_per_chain(layout, per_chunk):
    return np.add.reduceat(per_chunk, layout.first_chunks)


def _smooth(log_densities, n_valid, is_first, transition, initial):
    ll = tf.transpose(tf.cast(log_densities, tf.float64), (1, 0, 2))
    n_steps, n_chunks, n_states = ll.shape
    peak = tf.reduce_max(ll, -1, keepdims=True)
    b = tf.exp(ll - peak)
    p = tf.maximum(transition, TINY)
    start = tf.maximum(initial, TINY)
    first = is_first[:, None]

    def on(t):
        return (t < n_valid)[:, None]

    # 1. The operator of each chunk. Its rows are kept normalized, their logarithmic
    # scale beside them: rows may differ by more than float64 can span.
    def normalized(rows):
        size = tf.maximum(tf.reduce_sum(rows, -1, keepdims=True), TINY)
        return rows / size, tf.math.log(size[..., 0])

    step_in = tf.where(first[..., None], tf.eye(n_states, dtype=tf.float64), p)
    operator, scale = normalized(step_in * b[0][:, None, :])

    def grow(t, operator, scale):
        product = tf.reshape(tf.reshape(operator, (-1, n_states)) @ p, operator.shape)
        grown, size = normalized(product * b[t][:, None, :])
        keep = on(t)
        return t + 1, tf.where(keep[..., None], grown, operator), scale + tf.where(keep, size, 0.0)

    _, operator, scale = tf.while_loop(
        lambda t, *_: t < n_steps, grow, (1, operator, scale), maximum_iterations=n_steps
    )

    # 2. The messages into and out of each chunk.
    def walk_ahead(i, message, messages):
        message = tf.where(is_first[i], start, message)
        messages = messages.write(i, message)
        weight = tf.math.log(message) + scale[i]
        weight = tf.exp(weight - tf.reduce_max(weight))
        after = tf.linalg.matvec(operator[i], weight, transpose_a=True)
        return i + 1, after / tf.maximum(tf.reduce_sum(after), TINY), messages

    _, _, into = tf.while_loop(
        lambda i, *_: i < n_chunks,
        walk_ahead,
        (0, start, tf.TensorArray(tf.float64, n_chunks)),
        maximum_iterations=n_chunks,
    )

    ones = tf.ones(n_states, tf.float64)

    def walk_back(i, message, messages):
        messages = messages.write(i, message)
        before = tf.math.log(tf.linalg.matvec(operator[i], message)) + scale[i]
        before = tf.exp(before - tf.reduce_max(before))
        return i - 1, tf.where(is_first[i], ones, before), messages

    _, _, out_of = tf.while_loop(
        lambda i, *_: i >= 0,
        walk_back,
        (n_chunks - 1, ones, tf.TensorArray(tf.float64, n_chunks)),
        maximum_iterations=n_chunks,
    )
    into, out_of = into.stack(), out_of.stack()

    # 3. The ordinary recursions, inside all chunks at once.
    def forward(t, filtered, filtereds, log_evidence):
        predicted = filtered @ p
        predicted = tf.where(tf.logical_and(first, t == 0), start, predicted)
        joint = predicted * b[t]
        size = tf.reduce_sum(joint, -1, keepdims=True)
        keep = on(t)
        filtered = tf.where(keep, joint / size, filtered)
        log_evidence += tf.where(keep, tf.math.log(size) + peak[t], 0.0)
        return t + 1, filtered, filtereds.write(t, filtered), log_evidence

    _, _, filtereds, log_evidence = tf.while_loop(
        lambda t, *_: t < n_steps,
        forward,
        (0, into, tf.TensorArray(tf.float64, n_steps), tf.zeros((n_chunks, 1), tf.float64)),
        maximum_iterations=n_steps,
    )
    filtereds = filtereds.stack()
    before_chunk = tf.where(first, tf.zeros_like(into), into)  # no step leads into a chain

    def backward(t, message, posteriors, transitions):
        keep = on(t)
        joint = filtereds[t] * message
        joint = joint / tf.reduce_sum(joint, -1, keepdims=True)
        posteriors = posteriors.write(t, tf.where(keep, joint, 0.0))
        ahead = b[t] * message
        behind = tf.matmul(ahead, p, transpose_b=True)
        before = tf.where(t > 0, filtereds[tf.maximum(t - 1, 0)], before_chunk)
        size = tf.reduce_sum(before * behind, -1, keepdims=True)
        before = tf.where(tf.logical_and(keep, size > 0), before / size, 0.0)
        transitions += tf.matmul(before, ahead, transpose_a=True)
        message = tf.where(keep, behind / tf.reduce_max(behind, -1, keepdims=True), message)
        return t - 1, message, posteriors, transitions

    _, _, posteriors, transitions = tf.while_loop(
        lambda t, *_: t >= 0,
        backward,
        (
            n_steps - 1,
            out_of,
            tf.TensorArray(tf.float64, n_steps),
            tf.zeros((n_states, n_states), tf.float64),
        ),
        maximum_iterations=n_steps,
    )
    posteriors = posteriors.stack()
    initials = tf.reduce_sum(tf.where(first, posteriors[0], 0.0), 0)
    return tf.transpose(posteriors, (1, 0, 2)), transitions * p, initials, log_evidence[:, 0]


def smooth(log_densities, lengths, transition, initial, *, chunk_length=None) -> Posterior:
    """Posterior of the states of independent chains.

    Parameters
    ----------
    log_densities : array, shape (n_samples, n_states)
        Log density of each sample under each state, the chains one after another.
    lengths : sequence of int
        Number of samples of each chain; they sum to ``n_samples``.
    transition : array, shape (n_states, n_states)
        Transition probabilities, rows summing to 1.
    initial : array, shape (n_states,)
        Probabilities of the first state of a chain.
    chunk_length : int | None
        Samples per chunk. None chooses.

    Returns
    -------
    posterior : Posterior
        Probabilities, expected transitions and evidence, in float64.
    """
    layout = ChunkLayout.for_lengths(lengths, chunk_length)
    posteriors, transitions, initials, evidence = _run(
        _smooth, log_densities, layout, np.asarray(transition, float), np.asarray(initial, float)
    )
    return Posterior(
        layout.gather(posteriors), transitions, initials, _sum_per_chain(layout, evidence)
    )


def _decode(log_densities, n_valid, is_first, log_transition, log_initial):
    ll = tf.transpose(tf.cast(log_densities, tf.float64), (1, 0, 2))
    n_steps, n_chunks, n_states = ll.shape
    first = is_first[:, None]

    def on(t):
        return (t < n_valid)[:, None]

    # 1. The best path through each chunk, for every state before it and at its end.
    no_step = tf.where(tf.eye(n_states, dtype=tf.bool), tf.zeros((), tf.float64), -np.inf)
    step_in = tf.where(first[..., None], no_step, log_transition)

    def grow(t, best):
        grown = tf.reduce_max(best[..., None] + log_transition, -2) + ll[t][:, None, :]
        return t + 1, tf.where(on(t)[..., None], grown, best)

    _, through = tf.while_loop(
        lambda t, *_: t < n_steps,
        grow,
        (1, step_in + ll[0][:, None, :]),
        maximum_iterations=n_steps,
    )

    # 2. The score of the best path into each chunk, for every state before it. The level
    # is taken off, so that scores do not lose digits along the chain.
    def walk(i, score, scores, levels):
        score = tf.where(is_first[i], log_initial, score)
        level = tf.reduce_max(score)
        score = score - level
        best = tf.reduce_max(score[:, None] + through[i], 0)
        return i + 1, best, scores.write(i, score), levels.write(i, level)

    _, _, into, levels = tf.while_loop(
        lambda i, *_: i < n_chunks,
        walk,
        (
            0,
            log_initial,
            tf.TensorArray(tf.float64, n_chunks),
            tf.TensorArray(tf.float64, n_chunks),
        ),
        maximum_iterations=n_chunks,
    )
    into, levels = into.stack(), levels.stack()

    # 3. The ordinary recursion inside all chunks at once, and where each state came from.
    def forward(t, score, origins, ends):
        begins = tf.logical_and(first, t == 0)
        options = score[:, :, None] + log_transition
        origin = tf.argmax(options, 1, output_type=tf.int32)
        best = tf.where(begins, score, tf.reduce_max(options, 1)) + ll[t]
        keep = on(t)
        states = tf.range(n_states)[None]
        origin = tf.where(tf.logical_and(keep, tf.logical_not(begins)), origin, states)
        score = tf.where(keep, best, score)
        # The state before the chunk that each state at this sample goes back to.
        ends = tf.gather(ends, origin, batch_dims=1)
        return t + 1, score, origins.write(t, origin), ends

    _, score, origins, back_to = tf.while_loop(
        lambda t, *_: t < n_steps,
        forward,
        (
            0,
            into,
            tf.TensorArray(tf.int32, n_steps),
            tf.tile(tf.range(n_states)[None], (n_chunks, 1)),
        ),
        maximum_iterations=n_steps,
    )
    origins = origins.stack()

    # 4. Back along the chunks, then back inside all of them at once.
    is_last = tf.concat([is_first[1:], [True]], 0)
    best_end = tf.argmax(score, 1, output_type=tf.int32)

    def walk_back(i, state, ends):
        state = tf.where(is_last[i], best_end[i], state)
        return i - 1, back_to[i, state], ends.write(i, state)

    _, _, ends = tf.while_loop(
        lambda i, *_: i >= 0,
        walk_back,
        (n_chunks - 1, 0, tf.TensorArray(tf.int32, n_chunks)),
        maximum_iterations=n_chunks,
    )

    def backward(t, state, labels):
        labels = labels.write(t, state)
        return t - 1, tf.gather(origins[t], state, batch_dims=1), labels

    _, _, labels = tf.while_loop(
        lambda t, *_: t >= 0,
        backward,
        (n_steps - 1, ends.stack(), tf.TensorArray(tf.int32, n_steps)),
        maximum_iterations=n_steps,
    )
    log_probability = levels + tf.where(is_last, tf.reduce_max(score, 1), 0.0)
    log_probability = tf.where(n_valid > 0, log_probability, 0.0)
    return tf.transpose(labels.stack()), log_probability


def decode(log_densities, lengths, transition, initial, *, chunk_length=None) -> Path:
    """Most probable path of states through independent chains (Viterbi).

    Ties go to the state with the lower number, as in the plain recursion.

    Parameters
    ----------
    log_densities : array, shape (n_samples, n_states)
        Log density of each sample under each state, the chains one after another.
    lengths : sequence of int
        Number of samples of each chain; they sum to ``n_samples``.
    transition : array, shape (n_states, n_states)
        Transition probabilities, rows summing to 1.
    initial : array, shape (n_states,)
        Probabilities of the first state of a chain.
    chunk_length : int | None
        Samples per chunk. None chooses.

    Returns
    -------
    path : Path
        The labels, and the joint log probability of labels and data.
    """
    layout = ChunkLayout.for_lengths(lengths, chunk_length)
    labels, log_probability = _run(
        _decode,
        log_densities,
        layout,
        np.log(np.maximum(transition, TINY)),
        np.log(np.maximum(initial, TINY)),
    )
    return Path(layout.gather(labels), _sum_per_chain(layout, log_probability))
