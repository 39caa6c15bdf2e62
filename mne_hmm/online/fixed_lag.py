"""Probabilities of states as samples arrive: forward filter and fixed-lag smoothing.

A step of the chain is a matrix of K x K, and steps are multiplied in pairs, pairs of pairs and so
on, as the engine does over chunks. All of it is in logarithms, so that nothing underflows,
however sure the data are. It is our own since the engine needs
TensorFlow and whole chains, and no library smooths with a fixed lag.
"""

import numpy as np

from .._utils.arrays import row_blocks

# As in the engine, no step and no start is impossible.
MIN_PROBABILITY = 1e-140

# Samples that go through at once; their operators fit into the cache.
SMOOTHED_BLOCK_LENGTH = 4096


class FixedLagSmoother:
    """Probability of each state at each sample, given the samples up to a fixed lag after it.

    Shapes: ``initial_probs`` (n_states,), ``transition_matrix`` (n_states, n_states).
    """

    def __init__(self, initial_probs: np.ndarray, transition_matrix: np.ndarray, n_lag: int):
        self._start = np.log(np.maximum(initial_probs, MIN_PROBABILITY))
        self._steps = np.log(np.maximum(transition_matrix, MIN_PROBABILITY))
        self.n_lag = n_lag
        self.reset()

    def reset(self) -> None:
        """Begin a new chain; what is waited for is forgotten."""
        nothing = np.empty((0, len(self._start)))
        self._last: np.ndarray | None = None
        # Of the samples whose probabilities are still to come.
        self._densities, self._filtered = nothing, nothing
        self._windows = _Windows(len(self._start), self.n_lag) if self.n_lag else None

    def push(self, log_densities: np.ndarray) -> np.ndarray:
        """Take the next samples.

        Shapes: ``log_densities`` (n_samples, n_states); returns ``probabilities`` (n_out,
        n_states).
        """
        blocks = row_blocks(len(log_densities), SMOOTHED_BLOCK_LENGTH)
        parts = [self._push(log_densities[rows]) for rows in blocks]
        return np.concatenate(parts) if parts else np.empty((0, len(self._start)))

    def _push(self, new: np.ndarray) -> np.ndarray:
        """Take samples few enough for their operators to fit into the cache."""
        is_first = self._last is None
        operators = self._operators(new)
        filtered = self._forward(new, operators)
        if self._windows is None:
            return _normalized(filtered)
        after = self._windows.push(operators[1:] if is_first else operators)
        self._filtered = np.concatenate([self._filtered, filtered])
        self._densities = np.concatenate([self._densities, new])
        n_out = len(after)
        probabilities = _normalized(self._filtered[:n_out] + after)
        self._filtered, self._densities = self._filtered[n_out:], self._densities[n_out:]
        return probabilities

    def flush(self) -> np.ndarray:
        """Get the probabilities of the samples that wait, given all there were; ends the chain."""
        after = np.zeros_like(self._filtered)
        if len(after) > 1:
            operators = self._operators(self._densities[1:])
            backward = operators[::-1].transpose(0, 2, 1)
            after[:-1] = _after_each(np.zeros(after.shape[1]), backward)[::-1]
        probabilities = _normalized(self._filtered + after)
        self.reset()
        return probabilities

    def _operators(self, log_densities: np.ndarray) -> np.ndarray:
        """One step and its sample, of each sample, shape (n_samples, n_states, n_states)."""
        return self._steps + log_densities[:, np.newaxis]

    def _forward(self, new: np.ndarray, operators: np.ndarray) -> np.ndarray:
        """Log probability of each state given the samples so far, but for a constant."""
        out = np.empty_like(new)
        n_first = 0
        if self._last is None:
            self._last = self._start + new[0]
            out[0] = self._last
            n_first = 1
        out[n_first:] = _after_each(self._last, operators[n_first:])
        self._last = out[-1] - out[-1].max()
        return out


def _normalized(logs: np.ndarray) -> np.ndarray:
    """Probabilities from logarithms that lack a constant."""
    weights = np.exp(logs - logs.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def _after_each(start: np.ndarray, operators: np.ndarray) -> np.ndarray:
    """Messages after each of many steps, by pairs of steps, pairs of pairs and so on.

    Shapes: ``start`` (n_states,), ``operators`` (n_steps, n_states, n_states); returns
    ``messages`` (n_steps, n_states).
    """
    n = len(operators)
    messages = np.empty((n, len(start)))
    before = start[np.newaxis]
    if n > 1:
        messages[1::2] = _after_each(start, _multiply(operators[: n - 1 : 2], operators[1::2]))
        before = np.concatenate([before, messages[1::2]])[: (n + 1) // 2]
    messages[::2] = _log_sum(before[: (n + 1) // 2, :, np.newaxis] + operators[::2], 1)
    return messages


class _Queue:
    """Rows that come and go in order, by their indices since the start."""

    def __init__(self, *shape: int):
        self._rows = np.empty((0, *shape))
        self._first = 0

    @property
    def stop(self) -> int:
        """Index of the row that comes next."""
        return self._first + len(self._rows)

    def append(self, rows: np.ndarray) -> None:
        """Add rows at the end."""
        self._rows = np.concatenate([self._rows, rows])

    def between(self, start: int, stop: int) -> np.ndarray:
        """Get the rows from one index up to another."""
        return self._rows[start - self._first : max(stop, start) - self._first]

    def drop_before(self, start: int) -> None:
        """Forget the rows before an index."""
        self._rows = self._rows[start - self._first :]
        self._first = start


class _Windows:
    """All operators of every window of a length, multiplied and applied to ones.

    Products over windows twice as long come of pairs of products, so their number is the logarithm
    of the length; those of lengths whose sum is the length are applied one after another. Each
    product is formed once, when its last operator arrives.
    """

    def __init__(self, n_states: int, length: int):
        self._bits = [length >> p & 1 for p in range(length.bit_length())]
        self._products = [_Queue(n_states, n_states) for _ in self._bits]
        self._messages = [_Queue(n_states) for _ in self._bits]
        self._n_applied = [0] * len(self._bits)
        self._n_products = [0] * len(self._bits)
        self._n_states, self._n_in = n_states, 0

    def push(self, operators: np.ndarray) -> np.ndarray:
        """Take the next operators; messages of the windows that are complete, but for factors.

        Shapes: ``operators`` (n_steps, n_states, n_states); returns ``messages`` (n_windows,
        n_states).
        """
        self._n_in += len(operators)
        new, length = operators, 0
        messages: np.ndarray | None = None
        for p, bit in enumerate(self._bits):
            size, products = 2**p, self._products[p]
            products.append(new)
            needed = []
            if bit:
                length += size
                messages = self._apply(p, messages, self._n_in - length + 1)
                needed.append(self._n_applied[p])
            if p + 1 < len(self._bits):
                start = self._n_products[p + 1]
                stop = max(self._n_in - 2 * size + 1, start)
                new = _multiply(
                    products.between(start, stop), products.between(start + size, stop + size)
                )
                self._n_products[p + 1] = stop
                needed.append(stop)
            products.drop_before(min(needed))
        assert messages is not None  # a lag has one bit at least
        return messages

    def _apply(self, p: int, messages: np.ndarray | None, stop: int) -> np.ndarray:
        """Apply products of one length to the messages of the windows right after them."""
        size, start = 2**p, self._n_applied[p]
        stop = max(stop, start)
        left = self._products[p].between(start, stop)
        self._n_applied[p] = stop
        if messages is None:
            return _peaked(_log_sum(left, 2))
        queue = self._messages[p]
        queue.append(messages)
        right = queue.between(start + size, stop + size)
        queue.drop_before(min(stop + size, queue.stop))
        return _peaked(_log_sum(left + right[:, np.newaxis], 2))


def _peaked(messages: np.ndarray) -> np.ndarray:
    """Scale messages such that the largest logarithm is 0."""
    return messages - messages.max(1, keepdims=True)


def _multiply(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Multiply matrices that are given by their logarithms, pair by pair, but for a factor each.

    Nothing is lost to underflow: another first state costs a product of steps no more than one
    improbable step, so columns of the right matrices stay within `MIN_PROBABILITY` of their
    largest entry, and each sum has a term where the left one is 1.
    """
    rows, columns = left.max(2, keepdims=True), right.max(1, keepdims=True)
    product = np.log(np.exp(left - rows) @ np.exp(right - columns)) + rows + columns
    return product - product.max((1, 2), keepdims=True)


def _log_sum(terms: np.ndarray, axis: int) -> np.ndarray:
    """Logarithm of a sum of exponentials over an axis."""
    top = terms.max(axis, keepdims=True)
    return np.log(np.exp(terms - top).sum(axis)) + top.squeeze(axis)
