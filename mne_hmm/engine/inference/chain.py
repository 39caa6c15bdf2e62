"""Exact inference on Markov chains, in parallel over chunks.

Every chain is cut into chunks of equal length. The chunk's steps multiply into one
K x K operator; walking these operators gives the message into and out of each chunk;
the ordinary recursions then run inside all chunks at once. Nothing is approximated:
the result is that of one recursion over each whole chain.

The recursions are those of Rabiner (1989, *Proceedings of the IEEE* 77(2), 257-286),
in float64. Impossible transitions are given a probability of 1e-140, so that data no
path can explain have a very low evidence instead of none.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import NamedTuple

import numpy as np

from ..runtime._tensorflow import tf

# Smallest probability the recursions see: far below anything data can show. Two such steps,
# into a state and out of it again, still multiply to a normal number (from 2e-308 on, with
# digits to spare): what underflows is then outweighed by a path that does not.
TINY = 1e-140

CHUNK_LENGTHS = (8, 32, 128, 256)

# Sizes of groups of chunks: of a group alone, and of several of one size. Every size is compiled
# once, which takes a second or two and some 10 MB that are never given back, and then serves
# recordings of all lengths.
GROUP_SIZES_ALONE = (8, 32, 128)
GROUP_SIZES_TOGETHER = (96, 128, 160, 208, 256)
# Groups are as many as a multiple of this, which are worked on side by side.
N_THREADS = 2


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
        """Choose a chunk length, unless it is given."""
        lengths = tuple(int(n) for n in lengths)
        return cls(lengths, chunk_length or best_chunk_length(lengths))

    @property
    def chunks_per_chain(self):
        """Number of chunks of each chain, shape (n_chains,)."""
        return -(-np.array(self.lengths) // self.chunk_length)

    @cached_property
    def groups(self):
        """Number of chunks of each group, those included that only pad."""
        n = int(self.chunks_per_chain.sum())
        alone = n <= GROUP_SIZES_ALONE[-1]
        n_groups = 1 if alone else N_THREADS * -(-n // (N_THREADS * GROUP_SIZES_TOGETHER[-1]))
        size = next(
            size
            for size in (GROUP_SIZES_ALONE if alone else GROUP_SIZES_TOGETHER)
            if size * n_groups >= n
        )
        return [size] * n_groups

    @property
    def n_chunks(self):
        """Number of chunks, those included that only pad."""
        return sum(self.groups)

    @property
    def first_chunks(self):
        """The chunk each chain begins with, shape (n_chains,)."""
        return np.concatenate([[0], np.cumsum(self.chunks_per_chain)[:-1]]).astype(int)

    def flags(self):
        """Get the number of samples in each chunk, and whether a chain begins with it."""
        n_valid = np.zeros(self.n_chunks, np.int32)
        is_first = np.ones(self.n_chunks, bool)  # chunks that only pad are chains of nothing
        per_chain = self.chunks_per_chain
        used = int(per_chain.sum())
        n_valid[:used] = self.chunk_length
        is_first[:used] = False
        last = np.cumsum(per_chain) - 1
        n_valid[last] = np.array(self.lengths) - (per_chain - 1) * self.chunk_length
        is_first[self.first_chunks] = True
        return n_valid, is_first

    @cached_property
    def _slots(self):
        """Place of each sample among the chunks' samples; None if it is its own."""
        if len(self.lengths) == 1:
            return None
        starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        shift = self.first_chunks * self.chunk_length - starts
        return np.arange(sum(self.lengths)) + np.repeat(shift, self.lengths)

    @cached_property
    def _rows(self):
        """Sample at each place in the chunks; anyone where there is none."""
        rows = np.zeros(self.n_chunks * self.chunk_length, np.int32)
        rows[self._slots] = np.arange(len(self._slots))
        return rows

    def scatter(self, rows):
        """Lay rows out as chunks: (n_samples, n) to (n_chunks, chunk_length, n)."""
        if self._slots is None:
            rows = tf.pad(rows, [[0, self.n_chunks * self.chunk_length - len(rows)], [0, 0]])
        else:
            rows = tf.gather(rows, self._rows)
        return tf.reshape(rows, (self.n_chunks, self.chunk_length, rows.shape[-1]))

    def gather(self, chunks):
        """Undo `scatter`: (n_chunks, chunk_length, n) to (n_samples, n)."""
        flat = tf.reshape(chunks, (self.n_chunks * self.chunk_length, chunks.shape[-1]))
        return flat[: self.lengths[0]] if self._slots is None else tf.gather(flat, self._slots)

    def sum_per_chain(self, per_chunk):
        """Sum values of chunks over each chain."""
        return np.add.reduceat(per_chunk, self.first_chunks)


def best_chunk_length(lengths) -> int:
    """Choose the chunk length that leaves few chunks to walk and little padding."""
    typical = int(np.median(lengths))
    fitting = [n for n in CHUNK_LENGTHS if n * n <= 4 * typical * len(lengths) and n <= 2 * typical]
    return max(fitting, default=CHUNK_LENGTHS[0])


# Tracing a function compiles those that it calls.
_COMPILING = threading.RLock()


@lru_cache(maxsize=256)
def _compiled(function: Callable, *specs: tuple):
    """Compile a recursion for one shape, once.

    The concrete function is kept here, because TensorFlow takes a function that meets
    many shapes for a mistake and warns.
    """
    shapes = [tf.TensorSpec(shape, dtype) for shape, dtype in specs]
    compiled = tf.function(function, jit_compile=True, autograph=False)
    return compiled.get_concrete_function(*shapes)


def _with_specs(arguments):
    """Get arguments as tensors, and the shape and type of each."""
    tensors = [tf.convert_to_tensor(argument) for argument in arguments]
    return tensors, [(tuple(tensor.shape), tensor.dtype) for tensor in tensors]


def _call(function, *arguments):
    """Run a recursion, compiled for the shapes of its arguments."""
    tensors, specs = _with_specs(arguments)
    with _COMPILING:  # of several threads, one
        compiled = _compiled(function, *specs)
    return compiled(*tensors)


# Inside the recursions samples come first, then states, then chunks: the arithmetic of one step
# then runs over the chunks, of which there are many.


def _operators(log_densities, constants, n_valid, is_first, transition):
    """Multiply the steps of each chunk into one operator."""
    ll = tf.transpose(tf.cast(log_densities, tf.float64), (1, 2, 0)) + constants[:, None]
    n_steps, n_states, n_chunks = ll.shape
    peak = tf.reduce_max(ll, 1)
    b = tf.exp(ll - peak[:, None])
    p = tf.transpose(tf.maximum(transition, TINY))

    # Rows (second axis) are kept at a size between 1 and 2 by powers of two, whose exponents
    # stand beside them: rows may differ by more than float64 can span.
    def scaled(rows, exponents):
        bits = tf.bitcast(tf.reduce_sum(rows, 0), tf.int64)
        exponent = tf.bitwise.right_shift(bits, tf.constant(52, tf.int64))
        inverse = tf.bitwise.left_shift(2046 - exponent, tf.constant(52, tf.int64))
        return rows * tf.bitcast(inverse, tf.float64), exponents + exponent - 1023

    step_in = tf.where(is_first, tf.eye(n_states, dtype=tf.float64)[..., None], p[..., None])
    begin = scaled(step_in * b[0][:, None], tf.zeros((n_states, n_chunks), tf.int64))

    def grow(t, operator, exponents):
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


def _walk_on(operator, scale, is_first, initial, message):
    """Find the message into each chunk of a group, and the one out of the last."""
    start = tf.maximum(initial, TINY)

    def ahead(i, message, messages):
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


def _walk_back(operator, scale, is_first, message):
    """Find the message back to each chunk of a group, and the one back from the first."""
    ones = tf.ones_like(message)

    def back(i, message, messages):
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


def _recursions(dtype, b, peak, into, out_of, n_valid, is_first, transition, initial):
    """Run the ordinary recursions inside all chunks at once."""
    n_steps, n_states, n_chunks = b.shape
    p = tf.maximum(transition, TINY)
    start = tf.maximum(initial, TINY)[:, None]
    into, out_of = tf.transpose(into), tf.transpose(out_of)

    def forward(t, filtered, filtereds, sizes):
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
    log_evidence = tf.reduce_sum(tf.where(valid, tf.math.log(sizes.stack()) + peak, 0.0), 0)
    before_chunk = tf.where(is_first, tf.zeros_like(into), into)  # no step leads into a chain

    def backward(t, message, posteriors, transitions, weights):
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


def _smooth_alone(dtype, log_densities, constants, n_valid, is_first, transition, initial):
    """Smooth one group of chunks that is all there is."""
    operator, scale, b, peak = _operators(log_densities, constants, n_valid, is_first, transition)
    into, message = _walk_on(operator, scale, is_first, initial, initial)
    out_of, _ = _walk_back(operator, scale, is_first, tf.ones_like(message))
    return _recursions(dtype, b, peak, into, out_of, n_valid, is_first, transition, initial)


# By the type of the posteriors.
_RECURSIONS = {dtype: partial(_recursions, dtype) for dtype in (tf.float32, tf.float64)}
_SMOOTH_ALONE = {dtype: partial(_smooth_alone, dtype) for dtype in (tf.float32, tf.float64)}


def _by_groups(function, groups, *arguments):
    """Run a function that works on groups of chunks."""
    tensors, specs = _with_specs(arguments)
    with _COMPILING:
        of_groups = _in_groups(function, tuple(groups), *specs)
    return of_groups(*tensors)


@lru_cache(maxsize=256)
def _in_groups(function, groups, *specs):
    """Trace a function of groups: TensorFlow runs what does not depend on each other side by side.

    That takes next to nothing, as what is compiled are the recursions in groups of these sizes.
    """
    shapes = [tf.TensorSpec(shape, dtype) for shape, dtype in specs]
    of_groups = tf.function(partial(function, groups), autograph=False)
    return of_groups.get_concrete_function(*shapes)


def _smooth_groups(dtype, groups, log_densities, constants, n_valid, is_first, transition, initial):
    """Smooth in groups of chunks that know of each other by the walk between them only."""
    rows, valid, first = (tf.split(one, groups) for one in (log_densities, n_valid, is_first))
    by_group = list(zip(rows, valid, first, strict=True))
    grown = [_call(_operators, one, constants, *flags, transition) for one, *flags in by_group]
    into, message = [], initial
    for (operator, scale, *_), begins in zip(grown, first, strict=True):
        messages, message = _call(_walk_on, operator, scale, begins, initial, message)
        into.append(messages)
    out_of, message = [], tf.ones_like(message)
    for (operator, scale, *_), begins in zip(grown[::-1], first[::-1], strict=True):
        messages, message = _call(_walk_back, operator, scale, begins, message)
        out_of.append(messages)
    smoothed = [
        _call(_RECURSIONS[dtype], b, peak, *messages, *flags, transition, initial)
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


_SMOOTH_GROUPS = {dtype: partial(_smooth_groups, dtype) for dtype in (tf.float32, tf.float64)}


class Smoothed(NamedTuple):
    """What smoothing says of the chains of a layout, as it comes from TensorFlow."""

    posteriors: "tf.Tensor"
    """Probability of each state at each sample, shape (n_samples, n_states)."""
    transitions: np.ndarray
    initial: np.ndarray
    log_evidence: np.ndarray
    """Per chain."""
    weights: np.ndarray
    """Sum of the posteriors, shape (n_states,)."""


def smooth_rows(
    rows,
    constants,
    layout: ChunkLayout,
    transition,
    initial,
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
        smoothed = _call(_SMOOTH_ALONE[dtype], *arguments)
    else:
        smoothed = _by_groups(_SMOOTH_GROUPS[dtype], groups, *arguments)
    posteriors, transitions, initials, evidence, weights = smoothed
    return Smoothed(
        layout.gather(posteriors),
        transitions.numpy(),
        initials.numpy(),
        layout.sum_per_chain(evidence.numpy()),
        weights.numpy(),
    )


def smooth(log_densities, lengths, transition, initial, *, chunk_length=None) -> Posterior:
    """Posterior of the states of independent chains.

    Shapes: ``log_densities`` (n_samples, n_states), ``transition`` (n_states, n_states),
    ``initial`` (n_states,).
    """
    rows = tf.constant(log_densities, tf.float64)
    layout = ChunkLayout.for_lengths(lengths, chunk_length)
    smoothed = smooth_rows(rows, np.zeros(rows.shape[1]), layout, transition, initial)
    return Posterior(smoothed.posteriors.numpy(), *smoothed[1:4])


def _best_through(log_densities, n_valid, is_first, log_transition):
    """Score the best path through each chunk, for every state before it and at its end."""
    ll = tf.transpose(tf.cast(log_densities, tf.float64), (1, 2, 0))
    n_steps, n_states, _ = ll.shape
    no_step = tf.where(tf.eye(n_states, dtype=tf.bool), tf.zeros((), tf.float64), -np.inf)
    step_in = tf.where(is_first, no_step[..., None], log_transition[..., None])

    def grow(t, through):
        best = through[:, 0, None] + log_transition[0, :, None]
        for state in range(1, n_states):
            option = through[:, state, None] + log_transition[state, :, None]
            best = tf.maximum(best, option)
        return t + 1, tf.where(t < n_valid, best + ll[t], through)

    _, through = tf.while_loop(
        lambda t, *_: t < n_steps, grow, (1, step_in + ll[0]), maximum_iterations=n_steps
    )
    return tf.transpose(through, (2, 0, 1)), ll


def _walk_best(through, is_first, log_initial, score):
    """Score the best path into each chunk of a group, for every state before it.

    The level is taken off, so that scores do not lose digits along the chain.
    """

    def walk(i, score, scores, levels):
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


def _best_inside(ll, into, n_valid, is_first, log_transition):
    """Run the ordinary recursion inside all chunks at once, and say where each state came from."""
    n_steps, n_states, n_chunks = ll.shape
    states = tf.range(n_states)[:, None]

    def forward(t, score, origins, ends):
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


def _walk_best_back(back_to, best_end, is_last, state):
    """Find the state at the end of each chunk of a group."""

    def back(i, state, ends):
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


def _labels(origins, ends):
    """Go back inside all chunks at once."""
    n_steps, n_states, _ = origins.shape

    def backward(t, state, labels):
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


def _decode_groups(groups, log_densities, n_valid, is_first, is_last, log_transition, log_initial):
    """Decode in groups of chunks that know of each other by the walks between them only."""
    flags = n_valid, is_first, is_last
    rows, valid, first, last = (tf.split(one, groups) for one in (log_densities, *flags))
    grown = [
        _call(_best_through, *of_group, log_transition)
        for of_group in zip(rows, valid, first, strict=True)
    ]
    into, levels, score = [], [], log_initial
    for (through, _), begins in zip(grown, first, strict=True):
        scores, level, score = _call(_walk_best, through, begins, log_initial, score)
        into.append(scores)
        levels.append(level)
    inside = [
        _call(_best_inside, ll, *of_group, log_transition)
        for (_, ll), *of_group in zip(grown, into, valid, first, strict=True)
    ]
    ends, state = [], tf.constant(0)
    for (_, back_to, best_end, _), is_end in zip(inside[::-1], last[::-1], strict=True):
        states, state = _call(_walk_best_back, back_to, best_end, is_end, state)
        ends.append(states)
    labels = [
        _call(_labels, origins, states)
        for (origins, *_), states in zip(inside, ends[::-1], strict=True)
    ]
    best = tf.concat([score for *_, score in inside], 0)
    log_probability = tf.concat(levels, 0) + tf.where(is_last, best, 0.0)
    return tf.concat(labels, 0), tf.where(n_valid > 0, log_probability, 0.0)


def decode(log_densities, lengths, transition, initial, *, chunk_length=None) -> Path:
    """Most probable path of states through independent chains (Viterbi).

    Ties go to the state with the lower number, as in the plain recursion.

    Shapes: ``log_densities`` (n_samples, n_states), ``transition`` (n_states, n_states),
    ``initial`` (n_states,).
    """
    layout = ChunkLayout.for_lengths(lengths, chunk_length)
    n_valid, is_first = layout.flags()
    labels, log_probability = _by_groups(
        _decode_groups,
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
