"""Posterior of the states: the forward-backward recursions over chunks, side by side."""

from functools import partial
from typing import TypeAlias

import numpy as np

from ..runtime._tensorflow import tf
from .compilation import call_compiled

Tensor: TypeAlias = "tf.Tensor"

# Smallest probability the recursions see: far below anything data can show. Two such steps,
# into a state and out of it again, still multiply to a normal number (from 2e-308 on, with
# digits to spare): what underflows is then outweighed by a path that does not.
TINY = 1e-140

# Inside the recursions samples come first, then states, then chunks: the arithmetic of one step
# then runs over the chunks, of which there are many.


def multiply_steps(
    log_densities: Tensor,
    constants: Tensor,
    n_valid: Tensor,
    is_first: Tensor,
    transition: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Multiply the steps of each chunk into one operator."""
    ll = tf.transpose(tf.cast(log_densities, tf.float64), (1, 2, 0)) + constants[:, None]
    n_steps, n_states, n_chunks = ll.shape
    peak = tf.reduce_max(ll, 1)
    b = tf.exp(ll - peak[:, None])
    p = tf.transpose(tf.maximum(transition, TINY))

    # Rows (second axis) are kept at a size between 1 and 2 by powers of two, whose exponents
    # stand beside them: rows may differ by more than float64 can span.
    def scaled(rows: Tensor, exponents: Tensor) -> tuple[Tensor, Tensor]:
        bits = tf.bitcast(tf.reduce_sum(rows, 0), tf.int64)
        exponent = tf.bitwise.right_shift(bits, tf.constant(52, tf.int64))
        inverse = tf.bitwise.left_shift(2046 - exponent, tf.constant(52, tf.int64))
        return rows * tf.bitcast(inverse, tf.float64), exponents + exponent - 1023

    step_in = tf.where(is_first, tf.eye(n_states, dtype=tf.float64)[..., None], p[..., None])
    begin = scaled(step_in * b[0][:, None], tf.zeros((n_states, n_chunks), tf.int64))

    def grow(t: Tensor, operator: Tensor, exponents: Tensor) -> tuple[Tensor, ...]:
        product = p @ tf.reshape(operator, (n_states, n_states * n_chunks))
        product = tf.reshape(product, operator.shape) * b[t][:, None]
        product, grown = scaled(product, exponents)
        keep = t < n_valid
        return t + 1, tf.where(keep, product, operator), tf.where(keep, grown, exponents)

    _, operator, exponents = tf.while_loop(
        lambda t, *_: t < n_steps, grow, (1, *begin), maximum_iterations=n_steps
    )
    scale = tf.cast(tf.transpose(exponents), tf.float64) * np.log(2)
    return tf.transpose(operator, (2, 1, 0)), scale, b, peak


def walk_forward(
    operator: Tensor, scale: Tensor, is_first: Tensor, initial: Tensor, message: Tensor
) -> tuple[Tensor, Tensor]:
    """Find the message into each chunk of a group, and the one out of the last."""
    start = tf.maximum(initial, TINY)

    def ahead(i: Tensor, message: Tensor, messages: Tensor) -> tuple[Tensor, ...]:
        message = tf.where(is_first[i], start, message)
        messages = messages.write(i, message)
        weight = tf.math.log(message) + scale[i]
        weight = tf.exp(weight - tf.reduce_max(weight))
        after = tf.linalg.matvec(operator[i], weight, transpose_a=True)
        return i + 1, after / tf.maximum(tf.reduce_sum(after), TINY), messages

    n_chunks = scale.shape[0]
    _, message, into = tf.while_loop(
        lambda i, *_: i < n_chunks,
        ahead,
        (0, message, tf.TensorArray(tf.float64, n_chunks)),
        maximum_iterations=n_chunks,
    )
    return into.stack(), message


def walk_backward(
    operator: Tensor, scale: Tensor, is_first: Tensor, message: Tensor
) -> tuple[Tensor, Tensor]:
    """Find the message back to each chunk of a group, and the one back from the first."""
    ones = tf.ones_like(message)

    def back(i: Tensor, message: Tensor, messages: Tensor) -> tuple[Tensor, ...]:
        messages = messages.write(i, message)
        before = tf.math.log(tf.linalg.matvec(operator[i], message)) + scale[i]
        before = tf.exp(before - tf.reduce_max(before))
        return i - 1, tf.where(is_first[i], ones, before), messages

    n_chunks = scale.shape[0]
    _, message, out_of = tf.while_loop(
        lambda i, *_: i >= 0,
        back,
        (n_chunks - 1, message, tf.TensorArray(tf.float64, n_chunks)),
        maximum_iterations=n_chunks,
    )
    return out_of.stack(), message


def filter_chunks(
    b: Tensor,
    peak: Tensor,
    into: Tensor,
    n_valid: Tensor,
    is_first: Tensor,
    p: Tensor,
    initial: Tensor,
) -> tuple[Tensor, Tensor]:
    """Run the forward recursion inside all chunks at once; also the log evidence of each chunk."""
    n_steps = b.shape[0]
    start = tf.maximum(initial, TINY)[:, None]

    def forward(
        t: Tensor, filtered: Tensor, filtereds: Tensor, sizes: Tensor
    ) -> tuple[Tensor, ...]:
        predicted = tf.matmul(p, filtered, transpose_a=True)
        predicted = tf.where(tf.logical_and(is_first, t == 0), start, predicted)
        joint = predicted * b[t]
        size = tf.reduce_sum(joint, 0)
        filtered = tf.where(t < n_valid, joint / size, filtered)
        return t + 1, filtered, filtereds.write(t, filtered), sizes.write(t, size)

    arrays = tf.TensorArray(tf.float64, n_steps), tf.TensorArray(tf.float64, n_steps)
    _, _, filtereds, sizes = tf.while_loop(
        lambda t, *_: t < n_steps, forward, (0, into, *arrays), maximum_iterations=n_steps
    )
    filtereds = filtereds.stack()
    valid = tf.range(n_steps)[:, None] < n_valid
    return filtereds, tf.reduce_sum(tf.where(valid, tf.math.log(sizes.stack()) + peak, 0.0), 0)


def smooth_chunks(
    dtype: "tf.DType",
    b: Tensor,
    peak: Tensor,
    into: Tensor,
    out_of: Tensor,
    n_valid: Tensor,
    is_first: Tensor,
    transition: Tensor,
    initial: Tensor,
) -> tuple[Tensor, ...]:
    """Run the ordinary recursions inside all chunks at once."""
    n_steps, n_states, n_chunks = b.shape
    p = tf.maximum(transition, TINY)
    into, out_of = tf.transpose(into), tf.transpose(out_of)
    filtereds, log_evidence = filter_chunks(b, peak, into, n_valid, is_first, p, initial)
    before_chunk = tf.where(is_first, tf.zeros_like(into), into)  # no step leads into a chain

    def backward(
        t: Tensor, message: Tensor, posteriors: Tensor, transitions: Tensor, weights: Tensor
    ) -> tuple[Tensor, ...]:
        keep = t < n_valid
        joint = filtereds[t] * message
        joint = tf.where(keep, joint / tf.reduce_sum(joint, 0), 0.0)
        posteriors = posteriors.write(t, tf.cast(joint, dtype))
        ahead = b[t] * message
        behind = p @ ahead
        before = tf.where(t > 0, filtereds[tf.maximum(t - 1, 0)], before_chunk)
        size = tf.reduce_sum(before * behind, 0)
        before = tf.where(tf.logical_and(keep, size > 0), before / size, 0.0)
        transitions += tf.matmul(before, ahead, transpose_b=True)
        message = tf.where(keep, behind / tf.reduce_max(behind, 0), message)
        return t - 1, message, posteriors, transitions, weights + joint

    _, _, posteriors, transitions, weights = tf.while_loop(
        lambda t, *_: t >= 0,
        backward,
        (
            n_steps - 1,
            out_of,
            tf.TensorArray(dtype, n_steps),
            tf.zeros((n_states, n_states), tf.float64),
            tf.zeros((n_states, n_chunks), tf.float64),
        ),
        maximum_iterations=n_steps,
    )
    posteriors = tf.transpose(posteriors.stack(), (2, 0, 1))
    firsts = tf.cast(posteriors[:, 0], tf.float64)
    return (
        posteriors,
        transitions * p,
        tf.reduce_sum(tf.where(is_first[:, None], firsts, 0.0), 0),
        log_evidence,
        tf.reduce_sum(weights, 1),
    )


def smooth_alone(
    dtype: "tf.DType",
    log_densities: Tensor,
    constants: Tensor,
    n_valid: Tensor,
    is_first: Tensor,
    transition: Tensor,
    initial: Tensor,
) -> tuple[Tensor, ...]:
    """Smooth one group of chunks that is all there is."""
    operator, scale, b, peak = multiply_steps(
        log_densities, constants, n_valid, is_first, transition
    )
    into, message = walk_forward(operator, scale, is_first, initial, initial)
    out_of, _ = walk_backward(operator, scale, is_first, tf.ones_like(message))
    return smooth_chunks(dtype, b, peak, into, out_of, n_valid, is_first, transition, initial)


# By the type of the posteriors. These objects are what compiled functions are cached by.
_SMOOTH_CHUNKS = {dtype: partial(smooth_chunks, dtype) for dtype in (tf.float32, tf.float64)}
SMOOTH_ALONE = {dtype: partial(smooth_alone, dtype) for dtype in (tf.float32, tf.float64)}


def smooth_groups(
    dtype: "tf.DType",
    groups: tuple[int, ...],
    log_densities: Tensor,
    constants: Tensor,
    n_valid: Tensor,
    is_first: Tensor,
    transition: Tensor,
    initial: Tensor,
) -> tuple[Tensor, ...]:
    """Smooth in groups of chunks that know of each other by the walk between them only."""
    rows, valid, first = (tf.split(values, groups) for values in (log_densities, n_valid, is_first))
    by_group = list(zip(rows, valid, first, strict=True))
    grown = [
        call_compiled(multiply_steps, densities, constants, *flags, transition)
        for densities, *flags in by_group
    ]
    into, message = [], initial
    for (operator, scale, *_), begins in zip(grown, first, strict=True):
        messages, message = call_compiled(walk_forward, operator, scale, begins, initial, message)
        into.append(messages)
    out_of, message = [], tf.ones_like(message)
    for (operator, scale, *_), begins in zip(grown[::-1], first[::-1], strict=True):
        messages, message = call_compiled(walk_backward, operator, scale, begins, message)
        out_of.append(messages)
    smoothed = [
        call_compiled(_SMOOTH_CHUNKS[dtype], b, peak, *messages, *flags, transition, initial)
        for (_, _, b, peak), (_, *flags), *messages in zip(
            grown, by_group, into, out_of[::-1], strict=True
        )
    ]
    posteriors, transitions, initials, log_evidence, weights = zip(*smoothed, strict=True)
    return (
        tf.concat(posteriors, 0),
        tf.add_n(transitions),
        tf.add_n(initials),
        tf.concat(log_evidence, 0),
        tf.add_n(weights),
    )


SMOOTH_GROUPS = {dtype: partial(smooth_groups, dtype) for dtype in (tf.float32, tf.float64)}
