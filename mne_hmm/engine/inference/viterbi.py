"""The most probable path of states: Viterbi's recursion over chunks, side by side."""

from typing import TypeAlias

import numpy as np

from ..runtime._tensorflow import tf
from .compilation import call_compiled

Tensor: TypeAlias = "tf.Tensor"


def best_through(
    log_densities: Tensor, n_valid: Tensor, is_first: Tensor, log_transition: Tensor
) -> tuple[Tensor, Tensor]:
    """Score the best path through each chunk, for every state before it and at its end."""
    ll = tf.transpose(tf.cast(log_densities, tf.float64), (1, 2, 0))
    n_steps, n_states, _ = ll.shape
    no_step = tf.where(tf.eye(n_states, dtype=tf.bool), tf.zeros((), tf.float64), -np.inf)
    step_in = tf.where(is_first, no_step[..., None], log_transition[..., None])

    def grow(t: Tensor, through: Tensor) -> tuple[Tensor, Tensor]:
        best = through[:, 0, None] + log_transition[0, :, None]
        for state in range(1, n_states):
            option = through[:, state, None] + log_transition[state, :, None]
            best = tf.maximum(best, option)
        return t + 1, tf.where(t < n_valid, best + ll[t], through)

    _, through = tf.while_loop(
        lambda t, *_: t < n_steps, grow, (1, step_in + ll[0]), maximum_iterations=n_steps
    )
    return tf.transpose(through, (2, 0, 1)), ll


def walk_forward(
    through: Tensor, is_first: Tensor, log_initial: Tensor, score: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Score the best path into each chunk of a group, for every state before it.

    The level is taken off, so that scores do not lose digits along the chain.
    """

    def walk(i: Tensor, score: Tensor, scores: Tensor, levels: Tensor) -> tuple[Tensor, ...]:
        score = tf.where(is_first[i], log_initial, score)
        level = tf.reduce_max(score)
        score = score - level
        best = tf.reduce_max(score[:, None] + through[i], 0)
        return i + 1, best, scores.write(i, score), levels.write(i, level)

    n_chunks = through.shape[0]
    arrays = tf.TensorArray(tf.float64, n_chunks), tf.TensorArray(tf.float64, n_chunks)
    _, score, into, levels = tf.while_loop(
        lambda i, *_: i < n_chunks, walk, (0, score, *arrays), maximum_iterations=n_chunks
    )
    return into.stack(), levels.stack(), score


def best_inside(
    ll: Tensor, into: Tensor, n_valid: Tensor, is_first: Tensor, log_transition: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run the ordinary recursion inside all chunks at once, and keep where each state came from."""
    n_steps, n_states, n_chunks = ll.shape
    states = tf.range(n_states)[:, None]

    def forward(t: Tensor, score: Tensor, origins: Tensor, ends: Tensor) -> tuple[Tensor, ...]:
        best = score[0] + log_transition[0, :, None]
        origin, end = tf.zeros((n_states, n_chunks), tf.int32), ends[0]
        for state in range(1, n_states):
            option = score[state] + log_transition[state, :, None]
            better = option > best  # of those equally good, the first is kept
            best = tf.where(better, option, best)
            origin = tf.where(better, state, origin)
            end = tf.where(better, ends[state], end)
        begins = tf.logical_and(is_first, t == 0)
        keep = t < n_valid
        stepped = tf.logical_and(keep, tf.logical_not(begins))
        score = tf.where(keep, tf.where(begins, score, best) + ll[t], score)
        # The state before the chunk that each state at this sample goes back to.
        ends = tf.where(stepped, end, ends)
        return t + 1, score, origins.write(t, tf.where(stepped, origin, states)), ends

    _, score, origins, back_to = tf.while_loop(
        lambda t, *_: t < n_steps,
        forward,
        (
            0,
            tf.transpose(into),
            tf.TensorArray(tf.int32, n_steps),
            tf.tile(states, (1, n_chunks)),
        ),
        maximum_iterations=n_steps,
    )
    best_end = tf.argmax(score, 0, output_type=tf.int32)
    return origins.stack(), tf.transpose(back_to), best_end, tf.reduce_max(score, 0)


def walk_backward(
    back_to: Tensor, best_end: Tensor, is_last: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Find the state at the end of each chunk of a group."""

    def back(i: Tensor, state: Tensor, ends: Tensor) -> tuple[Tensor, ...]:
        state = tf.where(is_last[i], best_end[i], state)
        return i - 1, back_to[i, state], ends.write(i, state)

    n_chunks = is_last.shape[0]
    _, state, ends = tf.while_loop(
        lambda i, *_: i >= 0,
        back,
        (n_chunks - 1, state, tf.TensorArray(tf.int32, n_chunks)),
        maximum_iterations=n_chunks,
    )
    return ends.stack(), state


def trace_labels(origins: Tensor, ends: Tensor) -> Tensor:
    """Follow the best path back inside all chunks at once."""
    n_steps, n_states, _ = origins.shape

    def backward(t: Tensor, state: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        labels = labels.write(t, state)
        before = origins[t, 0]
        for other in range(1, n_states):
            before = tf.where(state == other, origins[t, other], before)
        return t - 1, before, labels

    _, _, labels = tf.while_loop(
        lambda t, *_: t >= 0,
        backward,
        (n_steps - 1, ends, tf.TensorArray(tf.int32, n_steps)),
        maximum_iterations=n_steps,
    )
    return tf.transpose(labels.stack())


def decode_groups(
    groups: tuple[int, ...],
    log_densities: Tensor,
    n_valid: Tensor,
    is_first: Tensor,
    is_last: Tensor,
    log_transition: Tensor,
    log_initial: Tensor,
) -> tuple[Tensor, Tensor]:
    """Decode in groups of chunks that know of each other by the walks between them only."""
    flags = n_valid, is_first, is_last
    rows, valid, first, last = (tf.split(values, groups) for values in (log_densities, *flags))
    grown = [
        call_compiled(best_through, *of_group, log_transition)
        for of_group in zip(rows, valid, first, strict=True)
    ]
    into, levels, score = [], [], log_initial
    for (through, _), begins in zip(grown, first, strict=True):
        scores, level, score = call_compiled(walk_forward, through, begins, log_initial, score)
        into.append(scores)
        levels.append(level)
    inside = [
        call_compiled(best_inside, ll, *of_group, log_transition)
        for (_, ll), *of_group in zip(grown, into, valid, first, strict=True)
    ]
    ends, state = [], tf.constant(0)
    for (_, back_to, best_end, _), is_end in zip(inside[::-1], last[::-1], strict=True):
        states, state = call_compiled(walk_backward, back_to, best_end, is_end, state)
        ends.append(states)
    labels = [
        call_compiled(trace_labels, origins, states)
        for (origins, *_), states in zip(inside, ends[::-1], strict=True)
    ]
    best = tf.concat([score for *_, score in inside], 0)
    log_probability = tf.concat(levels, 0) + tf.where(is_last, best, 0.0)
    return tf.concat(labels, 0), tf.where(n_valid > 0, log_probability, 0.0)
