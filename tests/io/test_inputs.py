"""The table of inputs in the documentation, row by row, and inputs that nobody thought of."""

import os

import input_cases
import mne
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from input_cases import AS_IS, CASES, SFREQ, ZSCORED, prepared

import mne_hmm


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.what[:40], marks=[pytest.mark.slow] if case.slow else [])
        for case in CASES
    ],
)
def test_row_of_the_table(case, tmp_path):
    """What the table says is what happens, without a warning."""
    if case.error is None:
        case.run(tmp_path)
        return
    with pytest.raises(case.error, match=case.says):
        case.run(tmp_path)


def test_table_is_that_of_the_cases():
    """``python tests/input_cases.py`` writes it anew."""
    assert input_cases.PAGE.read_text(encoding="utf-8") == input_cases.page_with_table()


def test_refused_rows_name_an_error():
    """An input that is refused names its error, and the others none."""
    for case in CASES:
        assert case.outcome.startswith("refused") == (case.error is not None) == bool(case.says)


# Inputs by chance: few each time, and as many as MNE_HMM_EXAMPLES says.

N_EXAMPLES = int(os.environ.get("MNE_HMM_EXAMPLES", "25"))

DTYPES = st.sampled_from(["i1", "<i2", ">i4", "u2", "<f2", ">f4", "<f4", ">f8", "<f8"])


@st.composite
def arrays(draw):
    """An array of any shape, type and layout; its values are those that the type can have."""
    n_channels, n_times = draw(st.integers(0, 5)), draw(st.integers(0, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.standard_normal((n_channels, n_times)) * draw(st.sampled_from([0.0, 1.0, 30.0]))
    x += draw(st.sampled_from([0.0, 50.0]))
    x = np.clip(x, 0 if draw(st.booleans()) else -100, 100).astype(draw(DTYPES), casting="unsafe")
    return draw(st.sampled_from([x, np.asfortranarray(x), x[:, ::-1], x[::-1], x[:, ::2], x.T]))


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@settings(deadline=None, max_examples=N_EXAMPLES)
@given(arrays())
def test_any_array(x):
    """An array gives the features of its copy, or it is refused as its copy is."""
    try:
        prepared(np.array(x, float))
    except (ValueError, TypeError) as error:
        expected = str(error)
        with pytest.raises(type(error)) as caught:
            prepared(x)
        assert str(caught.value) == expected
        return
    np.testing.assert_array_equal(prepared(x).data[0], prepared(np.array(x, float)).data[0])


@settings(deadline=None, max_examples=N_EXAMPLES)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60)), max_size=12),
    st.sampled_from([1, 3, 5]),
    st.sampled_from([ZSCORED, AS_IS]),
)
def test_any_spans(cuts, n_embeddings, preparation):
    """Every row comes from good samples alone, and every long enough good span is there."""
    x = input_cases.signals(n_times=300)
    raw = mne.io.RawArray(x, mne.create_info(3, SFREQ, "misc"), verbose="ERROR")
    onsets, durations = np.array(cuts, float).reshape(-1, 2).T / SFREQ
    inside = onsets < raw.times[-1]
    durations = np.minimum(durations, raw.times[-1] - onsets)
    raw.set_annotations(mne.Annotations(onsets[inside], durations[inside], "BAD_x"))
    good = np.ones(300, bool)
    edges = np.zeros(301, bool)
    lengths = np.round(durations * SFREQ).astype(int)
    starts = np.round(onsets * SFREQ).astype(int)
    for start, length in zip(starts[inside], lengths[inside], strict=True):
        good[start : start + length] = False
        edges[start] = True
    changed = type(preparation)(**{**preparation.settings, "n_embeddings": n_embeddings})
    try:
        data, message = prepared(raw, changed), ""
    except ValueError as error:
        data, message = None, str(error)
    if data is None:
        assert "no good span" in message or "is flat" in message
        return
    centers = np.round(data.times[0] * SFREQ).astype(int)
    half = n_embeddings // 2
    for center in centers:
        assert good[center - half : center + half + 1].all()
        assert not edges[center - half + 1 : center + half + 1].any()
    whole = [
        t
        for t in range(half, 300 - half)
        if good[t - half : t + half + 1].all() and not edges[t - half + 1 : t + half + 1].any()
    ]
    assert centers.tolist() == whole


@settings(deadline=None, max_examples=N_EXAMPLES)
@given(st.floats(1e-20, 1e20), st.floats(-1e3, 1e3))
def test_any_unit(scale, offset):
    """Standardized features depend on neither the unit nor the offset."""
    x = input_cases.X
    features = prepared((x + offset) * scale).data[0]
    # Rounding of the offset in float64, against signals of some size 1.
    np.testing.assert_allclose(features, prepared(x).data[0], rtol=0, atol=1e-5)


@settings(deadline=None, max_examples=N_EXAMPLES)
@given(st.binary(max_size=200))
def test_any_bytes_are_no_model(tmp_path_factory, content):
    """Nothing short enough to be drawn by chance is a model."""
    fname = tmp_path_factory.mktemp("bytes") / "model.h5"
    fname.write_bytes(content)
    # The first bytes of HDF5 alone are a file that was cut off, or of somebody else.
    with pytest.raises((OSError, ValueError), match=r"model.h5"):
        mne_hmm.read_hmm(fname)
