"""The map between prepared samples and the recording's own time grid."""

from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from mne_hmm.io.timeline import Span, Timeline, TimeMap

exact = settings(derandomize=True, deadline=None, max_examples=200)


@st.composite
def spans(draw):
    """Any span that preparation can make: a good span, resampled, with its ends cut off."""
    up, down = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    ratio = Fraction(up, down)
    origin = draw(st.integers(0, 50))
    start = origin + draw(st.integers(0, 100))
    stop = start + draw(st.integers(1, 300))
    first = -(-(start - origin) * ratio.numerator // ratio.denominator)
    last = (stop - 1 - origin) * ratio.numerator // ratio.denominator
    n_lost = draw(st.integers(0, 7))
    n_rows = last - first + 1 - 2 * n_lost
    if n_rows < 1:
        n_lost, n_rows = 0, max(last - first + 1, 1)
    before = draw(st.integers(0, 20))
    return Span(
        (before, before + n_rows),
        (start, stop),
        origin,
        first + n_lost,
        ratio.numerator,
        ratio.denominator,
    )


def distances(span, samples):
    """From samples to rows, in whole units of 1 / (2 * up) samples, so that they are exact."""
    rows = 2 * span.up * span.origin + 2 * (span.first + np.arange(len(span))) * span.down
    return np.abs(2 * span.up * np.asarray(samples)[:, None] - rows)


@given(spans())
@exact
def test_each_sample_is_covered_by_its_nearest_row(span):
    within = np.arange(*span.limits)
    # Half the distance between two rows is `down` of these units.
    expected = within[distances(span, within).min(1) <= span.down]
    start, rows = span.covered()
    assert_array_equal(np.arange(start, start + len(rows)), expected)
    if len(rows):
        table = distances(span, expected)
        chosen = table[np.arange(len(rows)), rows - span.rows[0]]
        assert_array_equal(chosen, table.min(1))


@given(spans())
@exact
def test_positions_are_those_of_exact_fractions(span):
    step = Fraction(span.down, span.up)
    expected = [float(span.origin + (span.first + i) * step) for i in range(len(span))]
    # The rounding of one sum and one quotient.
    assert_allclose(span.positions, expected, rtol=1e-14, atol=0)


def test_without_resampling_each_row_is_a_sample():
    span = Span((10, 14), (100, 110), 90, 13)
    start, rows = span.covered()
    assert start == 103
    assert_array_equal(rows, [10, 11, 12, 13])
    assert_array_equal(span.positions, [103, 104, 105, 106])


def test_sparse_rows_speak_for_the_samples_around_them():
    # A row for every four samples: at 8, 12 and 16, each for two samples to both sides.
    span = Span((0, 3), (7, 18), 0, 2, 1, 4)
    start, rows = span.covered()
    assert start == 7  # sample 6 is nearest to the first row too, but lies outside the span
    assert_array_equal(rows, [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])


def test_samples_between_dense_rows_get_the_nearest():
    # Five rows for every two samples: at 0, 0.4, 0.8, 1.2, 1.6, 2.
    start, rows = Span((0, 6), (0, 3), 0, 0, 5, 2).covered()
    assert start == 0
    assert_array_equal(rows, [0, 3, 5])


@pytest.fixture
def time_map():
    """Two spans of three and four rows in a recording of twenty samples at 4 Hz."""
    timeline = Timeline(4.0, 20, 12, datetime(2020, 1, 1, tzinfo=UTC))
    return TimeMap(timeline, (Span((0, 3), (1, 6), 0, 2), Span((3, 7), (10, 16), 10, 1)))


def test_timeline_counts_from_the_first_sample(time_map):
    line = time_map.timeline
    assert line.first_time == 3.0
    assert_array_equal(line.times, np.arange(20) / 4)


def test_times_of_rows_are_seconds_from_the_first_sample(time_map):
    assert time_map.n_rows == 7
    assert_array_equal(time_map.times, np.array([2, 3, 4, 11, 12, 13, 14]) / 4)


def test_modeled_samples_are_those_that_get_a_value(time_map):
    assert time_map.modeled() == [(2, 5), (11, 15)]
    labels = time_map.spread(np.array([5, 3, 4, 9, 7, 8, 6]), -1)
    expected = np.full(20, -1)
    expected[2:5], expected[11:15] = [5, 3, 4], [9, 7, 8, 6]
    assert_array_equal(labels, expected)
    assert labels.dtype == int


def test_spread_takes_rows_of_any_shape(time_map):
    values = np.arange(14.0).reshape(7, 2)
    out = time_map.spread(values, np.nan)
    assert out.shape == (20, 2)
    assert_array_equal(out[[2, 3, 4, 11, 12, 13, 14]], values)
    assert np.isnan(np.delete(out, [2, 3, 4, 11, 12, 13, 14], axis=0)).all()


def test_a_span_of_which_no_sample_is_near_is_not_modeled():
    # One row at sample 3.5 of a span that ends with sample 3: half a step is a quarter here.
    span = Span((0, 1), (0, 4), 0, 7, 2, 1)
    assert TimeMap(Timeline(4.0, 20), (span,)).modeled() == []


def test_a_map_without_spans_is_empty():
    time_map = TimeMap(Timeline(4.0, 20), ())
    assert time_map.n_rows == 0
    assert time_map.times.shape == (0,)
    assert time_map.modeled() == []
    assert_array_equal(time_map.spread(np.empty(0, int), -1), np.full(20, -1))
