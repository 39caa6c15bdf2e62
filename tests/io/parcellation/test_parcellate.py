"""From source estimates, in whatever pieces, to a Raw of parcels."""

import gc
import subprocess
import sys
import weakref
from types import SimpleNamespace

import mne
import numpy as np
import pytest
from mne.utils import catch_logging
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csc_array

import mne_hmm
from mne_hmm.io.parcellation import source_blocks
from mne_hmm.io.parcellation.atlas_volume import Parcels

SFREQ, TMIN, N_TIMES = 200.0, 1.5, 900
N_SOURCES, N_SENSORS, N_PARCELS = 40, 12, 4
VERTICES = [np.arange(0, 50, 2), np.arange(5, 20)]
NAMES = ("left: one", "a name that is much longer than fifteen letters", "right one", "right two")
METHODS = ("spatial_basis", "pca_flip", "mean_flip", "mean")


@pytest.fixture(scope="module")
def sources():
    """Forty sources of twelve sensors, with offsets of their own."""
    rng = np.random.default_rng(0)
    sensors = rng.standard_normal((N_SENSORS, N_TIMES))
    return rng.standard_normal((N_SOURCES, N_SENSORS)) @ sensors + rng.normal(0, 2, (N_SOURCES, 1))


def made_parcels():
    """Four parcels with weights, two of which overlap; some sources are in none."""
    rng = np.random.default_rng(1)
    weights, flips = np.zeros((N_SOURCES, N_PARCELS)), np.zeros((N_SOURCES, N_PARCELS))
    for parcel, on in enumerate((slice(0, 9), slice(7, 15), slice(20, 30), slice(31, 39))):
        weights[on, parcel] = rng.uniform(0.2, 0.9, on.stop - on.start)
        weights[on.start, parcel] = 1
        flips[on, parcel] = rng.choice([-1, 1], on.stop - on.start)
    return Parcels(NAMES, csc_array(weights), csc_array(flips))


@pytest.fixture
def asked(monkeypatch):
    """Stand in for the atlas: give the parcels, and say what was asked for."""
    calls = []
    recorded = SimpleNamespace(parcels=made_parcels(), calls=calls)

    def find_parcels(stc, atlas, *, src=None, subjects_dir=None):
        calls.append((stc, atlas, src, subjects_dir))
        return recorded.parcels

    name = "mne_hmm.io.parcellation.atlas"
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(find_parcels=find_parcels))
    return recorded


def made_stc(data, tmin=TMIN, kind=mne.SourceEstimate, vertices=VERTICES, **kwargs):
    kwargs = {"subject": "someone", "tstep": 1 / SFREQ, **kwargs}
    return kind(data, vertices, tmin=tmin, **kwargs)


def in_pieces(data, cuts=(10, 250, 251, 600), **kwargs):
    """The same recording as a list of pieces."""
    starts = [0, *cuts]
    parts = np.split(data, cuts, axis=-1)
    return [
        made_stc(part, TMIN + start / SFREQ, **kwargs)
        for start, part in zip(starts, parts, strict=True)
    ]


class Again:
    """Pieces that are made anew whenever somebody begins."""

    def __init__(self, pieces):
        self.pieces = pieces

    def __iter__(self):
        return (piece.copy() for piece in self.pieces)


def parcellate(inst, **kwargs):
    return mne_hmm.parcellate(inst, "atlas", **{"orthogonalize": "none", **kwargs})


def test_raw(asked, sources, tmp_path):
    """One misc channel per parcel, at the times of the source estimate, also in a file."""
    stc = made_stc(sources)
    raw = mne_hmm.parcellate(stc, "atlas", src="src", subjects_dir="subjects")
    assert asked.calls == [(stc, "atlas", "src", "subjects")]
    assert isinstance(raw, mne.io.RawArray)
    assert raw.ch_names == list(NAMES)
    assert set(raw.get_channel_types()) == {"misc"}
    assert raw.info["sfreq"] == SFREQ
    assert raw.first_time == TMIN
    assert_allclose(raw.times + raw.first_time, stc.times, rtol=0, atol=1e-12)
    data = raw.get_data()
    assert_allclose(np.corrcoef(data), np.eye(N_PARCELS), rtol=0, atol=1e-10)
    assert_allclose(data.mean(axis=1), 0, atol=1e-12)
    fname = tmp_path / "parcels_raw.fif"
    raw.save(fname)
    read = mne.io.read_raw_fif(fname, preload=True)
    assert read.ch_names == list(NAMES)
    assert read.first_time == TMIN
    # Files are in single precision.
    assert_allclose(read.get_data(), data, rtol=1e-6, atol=1e-7 * np.abs(data).max())


def test_a_model_trains_on_it(asked, sources):
    raw = mne_hmm.parcellate(made_stc(sources), "atlas")
    prepared = mne_hmm.prepare(raw, mne_hmm.Preparation(n_components=5))
    assert prepared.n_features == 5


def expected_course(sources, parcel, method):
    """What a method gives, straight from all data."""
    on = np.flatnonzero(made_parcels().weights.toarray()[:, parcel])
    inside = made_parcels().weights.toarray()[on, parcel]
    flip = made_parcels().flips.toarray()[on, parcel]
    x = sources[on]
    if method == "mean":
        return np.average(x, axis=0, weights=inside)
    if method == "mean_flip":
        return np.average(flip[:, np.newaxis] * x, axis=0, weights=inside)
    centered = x - x.mean(axis=1, keepdims=True) * (method == "spatial_basis")
    u, s, vt = np.linalg.svd(inside[:, np.newaxis] * centered, full_matrices=False)
    if method == "pca_flip":
        return np.sign(u[:, 0] @ flip) * np.linalg.norm(s) / np.linalg.norm(inside) * vt[0]
    high = inside > 0.5
    size = np.average(x.std(axis=1)[high], weights=np.abs(u[high, 0]))
    return np.sign(u[high, 0].sum()) * size * np.sqrt(x.shape[1]) * vt[0]


@pytest.mark.parametrize("method", METHODS)
def test_methods(asked, sources, method):
    """The right sources, where some are in no parcel and some in two."""
    time_courses = parcellate(made_stc(sources), method=method).get_data()
    expected = [expected_course(sources, parcel, method) for parcel in range(N_PARCELS)]
    assert_allclose(time_courses, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("orthogonalize", ["none", "symmetric"])
@pytest.mark.parametrize("method", METHODS)
def test_pieces_are_the_whole(asked, sources, method, orthogonalize, monkeypatch):
    """A list, an iterator, or what can be begun again, in blocks that cut the pieces, too."""
    kwargs = {"method": method, "orthogonalize": orthogonalize}
    whole = parcellate(made_stc(sources), **kwargs)
    pieces = in_pieces(sources)
    monkeypatch.setattr(source_blocks, "BLOCK_VALUES", 70 * N_SOURCES)
    for inst in (made_stc(sources), pieces, tuple(pieces), iter(pieces), Again(pieces)):
        raw = parcellate(inst, **kwargs)
        assert raw.first_time == whole.first_time
        # Rounding of sums in another order, and of the basis that an iterator's are kept in.
        assert_allclose(raw.get_data(), whole.get_data(), rtol=0, atol=1e-10)


def test_an_iterator_of_many_dimensions(asked):
    """What cannot be kept small comes back all the same."""
    pieces = in_pieces(np.random.default_rng(2).standard_normal((N_SOURCES, N_TIMES)))
    expected = parcellate(pieces).get_data()
    time_courses = parcellate(piece for piece in pieces).get_data()
    assert_allclose(time_courses, expected, rtol=0, atol=1e-12)


def test_means_keep_nothing_of_an_iterator(asked, sources, monkeypatch):
    def fails():
        raise AssertionError("nothing to keep")

    monkeypatch.setattr(source_blocks, "Spool", fails)
    for method in ("mean", "mean_flip"):
        parcellate(iter(in_pieces(sources)), method=method)
    with pytest.raises(AssertionError, match="nothing to keep"):
        parcellate(iter(in_pieces(sources)))


def test_pieces_are_let_go(asked, sources):
    """None is in memory any more when the next is made."""
    made, alive = [], []

    def pieces():
        for start in range(0, N_TIMES, 50):
            asked.calls.clear()
            alive.append(sum(reference() is not None for reference in made))
            stc = made_stc(sources[:, start : start + 50].copy(), TMIN + start / SFREQ)
            made.append(weakref.ref(stc))
            yield stc
            del stc

    gc.disable()  # nothing may wait for it
    try:
        parcellate(pieces())
    finally:
        gc.enable()
    assert alive == [0] * 18


def test_what_is_said(asked, sources, capsys):
    """Progress where the length is known, and a line at the end; or nothing."""
    with catch_logging() as log:
        mne_hmm.parcellate(in_pieces(sources), "atlas", verbose=True)
    assert log.getvalue().splitlines()[-1] == "4 parcels, 4.5 s at 200 Hz"
    assert "Components of parcels" in capsys.readouterr().err
    with catch_logging() as log:
        mne_hmm.parcellate(iter(in_pieces(sources)), "atlas", verbose=False)
    assert log.getvalue() == capsys.readouterr().err == ""


def test_volumes(asked, sources):
    kwargs = {"kind": mne.VolSourceEstimate, "vertices": [np.arange(N_SOURCES)]}
    expected = parcellate(made_stc(sources)).get_data()
    assert_array_equal(parcellate(made_stc(sources, **kwargs)).get_data(), expected)
    asked.parcels = Parcels(NAMES, asked.parcels.weights)
    assert_array_equal(parcellate(made_stc(sources, **kwargs)).get_data(), expected)


def vector_data(sources):
    """Sources in an orientation each, and a little, unlike it, in the others."""
    rng = np.random.default_rng(3)
    frames = np.linalg.qr(rng.standard_normal((N_SOURCES, 3, 3)))[0]
    orientations = frames[..., 0]
    largest = np.abs(orientations).argmax(axis=1)
    orientations *= np.sign(orientations[np.arange(N_SOURCES), largest])[:, np.newaxis]
    noise = rng.standard_normal((N_SOURCES, N_TIMES))
    # Exactly unlike, so that the orientations of largest variance are exactly these.
    centered = sources - sources.mean(axis=1, keepdims=True)
    noise -= noise.mean(axis=1, keepdims=True)
    overlap = np.sum(noise * centered, axis=1) / np.sum(centered**2, axis=1)
    noise = 0.1 * (noise - overlap[:, np.newaxis] * centered)
    return (
        orientations[..., np.newaxis] * sources[:, np.newaxis]
        + frames[..., 1][..., np.newaxis] * noise[:, np.newaxis]
    )


@pytest.mark.parametrize("method", ["spatial_basis", "mean"])
@pytest.mark.parametrize(
    ("kind", "vertices"),
    [
        (mne.VectorSourceEstimate, VERTICES),
        (mne.VolVectorSourceEstimate, [np.arange(N_SOURCES)]),
    ],
)
def test_vectors(asked, sources, kind, vertices, method):
    """They become what they are along the orientation in which they vary most."""
    expected = parcellate(made_stc(sources), method=method).get_data()
    kwargs = {"kind": kind, "vertices": vertices}
    data = vector_data(sources)
    data -= data.mean(axis=-1, keepdims=True) * (method == "spatial_basis")
    pieces = in_pieces(data, **kwargs)
    for inst in (made_stc(data, **kwargs), pieces, iter(pieces)):
        time_courses = parcellate(inst, method=method).get_data()
        assert_allclose(time_courses, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", ["pca_flip", "mean_flip"])
def test_vectors_have_no_flips(asked, sources, method):
    stc = made_stc(vector_data(sources), kind=mne.VectorSourceEstimate)
    with pytest.raises(ValueError, match=f'method="{method}".*one known orientation'):
        parcellate(stc, method=method)


def test_kernels_are_not_multiplied_out(asked):
    """A source estimate may be a kernel and sensors; it stays so."""
    rng = np.random.default_rng(4)
    kernel, sensors = rng.standard_normal((N_SOURCES, 12)), rng.standard_normal((12, N_TIMES))
    lazy = made_stc((kernel, sensors))
    time_courses = parcellate(lazy).get_data()
    assert lazy._data is None
    expected = parcellate(made_stc(kernel @ sensors)).get_data()
    assert_allclose(time_courses, expected, rtol=0, atol=1e-12)
    lazy.data  # noqa: B018
    assert_allclose(parcellate(lazy).get_data(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, ">f4", np.int16])
def test_types_of_numbers(asked, sources, dtype):
    """Sums are in double precision, and iterators keep what single precision tells."""
    data = (100 * sources).astype(dtype)
    expected = parcellate(made_stc(data.astype(float))).get_data()
    assert_array_equal(parcellate(made_stc(data)).get_data(), expected)
    time_courses = parcellate(iter(in_pieces(data))).get_data()
    assert_allclose(time_courses, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_the_source_estimate_is_not_changed(asked, sources):
    stc = made_stc(sources.copy())
    mne_hmm.parcellate(stc, "atlas")
    assert_array_equal(stc.data, sources)


@pytest.fixture(scope="module")
def surface(test_data):
    """A source space of fsaverage5, six labels that each lie on one side, and their parcels."""
    folder = test_data / "subjects" / "fsaverage5" / "bem"
    src = mne.read_source_spaces(folder / "fsaverage5-oct4-src.fif", verbose="ERROR")
    rng = np.random.default_rng(5)
    labels = []
    for hemi, space in zip(("lh", "rh"), src, strict=True):
        for i_label, used in enumerate(np.array_split(rng.permutation(space["vertno"]), 3)):
            name = f"{i_label}-{hemi}"
            labels.append(mne.Label(np.sort(used), hemi=hemi, name=name, subject="fsaverage5"))
    n_left = src[0]["nuse"]
    weights = np.zeros((n_left + src[1]["nuse"], 6))
    flips = np.zeros_like(weights)
    for column, label in enumerate(labels):
        side = int(label.hemi == "rh")
        on = np.searchsorted(src[side]["vertno"], label.vertices) + side * n_left
        weights[on, column] = 1
        flips[on, column] = mne.label_sign_flip(label, src)
    parcels = Parcels(tuple(label.name for label in labels), csc_array(weights), csc_array(flips))
    return src, labels, parcels


@pytest.mark.parametrize("method", ["mean", "mean_flip", "pca_flip"])
def test_methods_of_mne(asked, surface, method):
    src, labels, asked.parcels = surface
    vertices = [space["vertno"] for space in src]
    rng = np.random.default_rng(6)
    data = rng.standard_normal((sum(map(len, vertices)), 400)) + rng.standard_normal(400)
    kwargs = {"vertices": vertices, "subject": "fsaverage5"}
    stc = made_stc(data, **kwargs)
    expected = mne.extract_label_time_course(stc, labels, src, mode=method, verbose="ERROR")
    for inst in (stc, in_pieces(data, (100, 300), **kwargs)):
        time_courses = parcellate(inst, method=method).get_data()
        assert_allclose(time_courses, expected, rtol=0, atol=1e-12)


def test_more_parcels_than_dimensions(asked):
    rng = np.random.default_rng(7)
    stc = made_stc(rng.standard_normal((N_SOURCES, 3)) @ rng.standard_normal((3, N_TIMES)))
    with pytest.raises(ValueError, match=r"4 parcels.*only 3 dimensions.*orthogonalize=\"none\""):
        parcellate(stc, orthogonalize="symmetric")
    assert len(parcellate(stc).ch_names) == 4


@pytest.mark.parametrize(
    ("inst", "message"),
    [
        (None, "inst must be a SourceEstimate.*got NoneType"),
        ("file.stc", "got str"),
        (np.zeros((3, 4)), "got ndarray"),
        ([None], "piece 0 of inst must be.*got NoneType"),
        ([np.zeros((3, 4))], "piece 0 of inst must be.*got ndarray"),
        (mne.EvokedArray(np.zeros((1, 5)), mne.create_info(1, 100.0)), "got EvokedArray"),
    ],
)
def test_wrong_types(asked, inst, message):
    with pytest.raises(TypeError, match=message):
        parcellate(inst)


def test_wrong_type_later(asked, sources):
    with pytest.raises(TypeError, match="piece 2 of inst must be"):
        parcellate([*in_pieces(sources)[:2], "no"])


@pytest.mark.parametrize("inst", [[], (), iter([]), Again([])])
def test_nothing(asked, inst):
    with pytest.raises(ValueError, match="inst is empty; pass at least one"):
        parcellate(inst)


@pytest.mark.parametrize("name", ["method", "orthogonalize"])
def test_unknown_options(asked, sources, name):
    with pytest.raises(ValueError, match=f"{name} must be one of .*, got 'best'"):
        parcellate(made_stc(sources), **{name: "best"})


def test_complex(asked, sources):
    with pytest.raises(TypeError, match=r"inst is complex; take the envelope.*abs\(stc.data\)"):
        parcellate(made_stc(sources + 1j))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tstep": 1 / 100}, "differ in their sampling rate: 200 Hz and 100 Hz"),
        ({"subject": "other"}, "differ in their subject: 'someone' and 'other'"),
        ({"vertices": [VERTICES[0], VERTICES[1] + 1]}, "differ in their vertices"),
        (
            {"kind": mne.VolSourceEstimate, "vertices": [np.arange(N_SOURCES)]},
            "differ in their kind: 'SourceEstimate' and 'VolSourceEstimate'",
        ),
        ({"tmin": 0.0}, r"do not follow.*ends at 2.750 s and the next begins at 0.000 s"),
        ({"tmin": 2.75 + 0.6 / SFREQ}, "do not follow.*begins at 2.753 s; .*one recording"),
        ({"tmin": 2.75 - 0.6 / SFREQ}, "do not follow.*begins at 2.747 s"),
    ],
)
def test_pieces_that_do_not_belong_together(asked, sources, changes, message):
    pieces = in_pieces(sources)
    pieces[2] = made_stc(pieces[2].data, **{"tmin": 2.75, **changes})
    for inst in (pieces, iter(pieces)):
        with pytest.raises(ValueError, match=f"pieces 1 and 2 of inst {message}"):
            parcellate(inst)


def test_half_a_sample_is_no_gap(asked, sources):
    pieces = in_pieces(sources)
    expected = parcellate(pieces).get_data()
    pieces[2].tmin += 0.4 / SFREQ
    assert_array_equal(parcellate(pieces).get_data(), expected)


def test_what_is_not_the_same_again(asked, sources):
    """Pieces that are gone the second time are not taken for the end."""
    pieces = in_pieces(sources)

    class Other:
        def __init__(self, *passes):
            self.passes = iter(passes)

        def __iter__(self):
            return iter(next(self.passes))

    with pytest.raises(ValueError, match=r"gave 900 times at first and 250 afterwards; .*a list"):
        parcellate(Other(pieces, pieces, pieces[:2]))
    with pytest.raises(ValueError, match=r"began with another piece at first; .*a list"):
        parcellate(Other(pieces, pieces[1:]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(asked, sources, value):
    data = sources.copy()
    data[12, 300] = data[3, 310] = value
    for inst in (made_stc(data), in_pieces(data), iter(in_pieces(data))):
        with pytest.raises(ValueError, match=r"not finite, the first at 3\.000 s"):
            parcellate(inst)
    data = sources.copy()
    data[39, 300] = value  # in no parcel
    parcellate(made_stc(data))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 0.1])
def test_constant_parcels(asked, sources, method, value):
    data = sources.copy()
    data[20:30] = value
    with pytest.raises(ValueError, match=r"1 parcel never change.*: right one; look at"):
        parcellate(made_stc(data), method=method)


@pytest.mark.parametrize("method", ["pca_flip", "mean_flip"])
def test_unknown_orientations(asked, sources, method):
    asked.parcels = Parcels(NAMES, asked.parcels.weights)
    with pytest.raises(ValueError, match=f'method="{method}" needs the orient.*pass the src'):
        parcellate(made_stc(sources), method=method)


# Ten minutes at 250 Hz from 60 channels, in pieces of two seconds, as they are made.
MEASURED = """
import re, sys
from types import SimpleNamespace
import mne
import numpy as np
from scipy.sparse import csc_array
import mne_hmm
from mne_hmm.io.parcellation.atlas_volume import Parcels

n_sources, n_parcels, length = 20_000, 50, 500
rng = np.random.default_rng(0)
kernel = rng.standard_normal((n_sources, 60))
shape, rows = (n_sources, n_parcels), np.arange(n_sources)
weights = csc_array((np.ones(n_sources), (rows, rows * n_parcels // n_sources)), shape)
parcels = Parcels(tuple(map(str, range(n_parcels))), weights, None)
atlas = SimpleNamespace(find_parcels=lambda *args, **kwargs: parcels)
sys.modules["mne_hmm.io.parcellation.atlas"] = atlas

def pieces():
    for number in range(300):
        data = kernel @ rng.standard_normal((60, length))
        yield mne.VolSourceEstimate(data, [rows], number * length / 250, 1 / 250)

def used():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])

mne_hmm.parcellate  # what importing takes is not counted
before = used()
raw = mne_hmm.parcellate(pieces(), None, verbose="ERROR")
assert np.abs(np.corrcoef(raw.get_data()) - np.eye(n_parcels)).max() < 1e-10
print(raw.n_times, used() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory():
    """24 GB of sources need at most 600 MB, and so does an iterator of them."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURED],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    n_times, kilobytes = map(int, result.stdout.split())
    assert n_times == 150_000
    assert kilobytes <= 600_000
