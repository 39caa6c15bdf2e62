"""What goes in and what is refused: each row of the table in the documentation, and its test.

``python tests/input_cases.py`` writes the table into ``docs/inputs.rst``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import mne
import numpy as np

import mne_hmm

PAGE = Path(__file__).parents[1] / "docs" / "inputs.rst"
BEGIN, END = ".. The table is written by tests/input_cases.py\n", ".. End of the table\n"

SFREQ = 100.0
AS_IS, ZSCORED = mne_hmm.Preparation.as_is(), mne_hmm.Preparation.standardized()
RAW_UNITS = {"volts": 1e-6, "femtotesla": 1e15, "raw counts": 2.0**20}


class Case(NamedTuple):
    """One kind of input."""

    section: str
    what: str
    """The input, in words."""
    outcome: str
    """What happens, in words; of a refused one the error, and what it says in full."""
    run: Callable
    """Does it, and checks the result; takes an empty folder."""
    error: type[Exception] | None = None
    says: str = ""
    slow: bool = False


def signals(n_channels=3, n_times=400, seed=0):
    """White noise whose strength changes, so that there are states to find."""
    rng = np.random.default_rng(seed)
    strength = np.where(np.arange(n_times) // 50 % 2, 1.0, 4.0)
    return rng.standard_normal((n_channels, n_times)) * strength


X = signals()


def prepared(inst, preparation=ZSCORED, **kwargs):
    first = inst[0] if isinstance(inst, list) and inst else inst
    defaults = {} if isinstance(first, mne.io.BaseRaw) else {"sfreq": SFREQ}
    return mne_hmm.prepare(inst, preparation, **(defaults | kwargs), verbose="ERROR")


def fitted(inst, preparation=ZSCORED, n_states=2, **kwargs):
    defaults = {} if isinstance(inst, mne.io.BaseRaw) else {"sfreq": SFREQ}
    defaults |= {"n_init": 1, "refine": False, "max_iter": 2, "random_state": 0, **kwargs}
    return mne_hmm.fit_hmm(inst, n_states, preparation=preparation, **defaults, verbose="ERROR")


def raw(x=X, names=None, sfreq=SFREQ, bad=None):
    names = [f"channel_{i}" for i in range(len(x))] if names is None else names
    made = mne.io.RawArray(
        np.array(x, float), mne.create_info(names, sfreq, "misc"), verbose="ERROR"
    )
    if bad is not None:
        onsets = np.array(bad, float)
        made.set_annotations(mne.Annotations(onsets, np.full(len(onsets), 0.01), "BAD_x"))
    return made


def same_bits(x):
    """Check that an array gives the bits of its copy in float64."""
    copy = np.array(x, float, order="C")
    for preparation in (ZSCORED, AS_IS):
        original, copied = (prepared(inst, preparation).data[0] for inst in (x, copy))
        np.testing.assert_array_equal(original, copied)


def whole_numbers(_):
    for dtype in ("int8", "int16", "uint16", "int32", "int64", "uint64"):
        same_bits((np.clip(X * 10, -100, 100) + 100 * (dtype[0] == "u")).astype(dtype))


def floats(_):
    for dtype in ("float16", "float32", "longdouble", ">f4", ">f8", ">i2"):
        same_bits((X * 10).astype(dtype))


def layouts(folder):
    read_only = X.copy()
    read_only.setflags(write=False)
    np.save(folder / "x.npy", X)
    mapped = np.load(folder / "x.npy", mmap_mode="r")
    for x in (np.asfortranarray(X), X[:, ::-1], X[::-1, ::2], read_only, mapped):
        same_bits(x)
    same_bits(np.ma.masked_array(X, mask=False))


def units(_):
    expected, hmm = prepared(X).data[0], fitted(X)
    mixed = X * np.array(list(RAW_UNITS.values()))[:, np.newaxis]
    states = [
        hmm.predict(x, sfreq=SFREQ, verbose="ERROR").labels
        for x in (X, *(X * unit for unit in RAW_UNITS.values()), mixed)
    ]
    for unit in RAW_UNITS.values():
        # Rounding to float32, once in each.
        np.testing.assert_allclose(prepared(X * unit).data[0], expected, rtol=1e-6, atol=1e-6)
    assert len(np.unique(states[0])) == 2
    for labels in states[1:]:
        np.testing.assert_array_equal(labels, states[0])


def offsets(_):
    # Float64 has 16 digits, of which the offset takes six.
    np.testing.assert_allclose(prepared(X + 1e6).data[0], prepared(X).data[0], rtol=0, atol=1e-5)


def one_channel(_):
    hmm = fitted(X[:1])
    assert hmm.means_.shape == (2, 1)
    assert np.isfinite(hmm.covariances_).all()


def duplicated(_):
    hmm = fitted(np.vstack([X, X[:1]]))
    states = hmm.predict(np.vstack([X, X[:1]]), sfreq=SFREQ, verbose="ERROR")
    assert np.isfinite(states.probabilities).all()
    assert np.isfinite(hmm.free_energy_)


def two_samples(_):
    # What standardizing two numbers comes to.
    np.testing.assert_allclose(np.abs(prepared(X[:, :2]).data[0]), 1, rtol=1e-6)


def tiny_spans(_):
    many = raw(signals(n_times=4000), bad=np.arange(0.02, 39.9, 0.02))
    states = fitted(many, AS_IS).predict(many, verbose="ERROR")
    assert len(states.spans) > 1900
    assert np.isfinite(states.probabilities[:, states.labels >= 0]).all()


def recordings(_):
    many = [signals(n_times=20, seed=seed) for seed in range(300)]
    states = fitted(many, AS_IS).predict(many, sfreq=SFREQ, verbose="ERROR")
    assert [course.labels.shape for course in states] == [(20,)] * 300


def rates(_):
    preparation = mne_hmm.Preparation(
        l_freq=None, h_freq=None, sfreq=50.0, n_embeddings=1, n_components=None
    )
    several = [raw(sfreq=sfreq) for sfreq in (100.0, 128.0, 99.7)]
    features = prepared(several, preparation)
    assert features.sfreq == 50
    for course, x in zip(several, features.data, strict=True):
        assert abs(len(x) - course.times[-1] * 50) < 2


def names(folder):
    odd = ["a b", "é/\\ü\n", "%s {x} <b>"]
    hmm = fitted(raw(names=odd)).rename_states(["ü/%s <b>", "α"])
    hmm.save(folder / "ü %s {}.h5")
    again = mne_hmm.read_hmm(folder / "ü %s {}.h5")
    assert again.preparation_.ch_names_ == tuple(odd)
    states = again.predict(raw(names=odd), verbose="ERROR")
    assert set(states.to_annotations().description) <= {"hmm/ü/%s <b>", "hmm/α"}
    assert states.to_raw().ch_names == ["ü/%s <b>", "α"]


def surrogates(folder):
    fitted(raw(names=["a\udc80", "b", "c"])).save(folder / "model.h5")


def with_value(value):
    x = X.copy()
    x[1, 7] = value
    return lambda _: prepared(x)


def too_far(_):
    hmm = fitted(X, AS_IS)
    far, near = (hmm.score(x, sfreq=SFREQ, verbose="ERROR") for x in (X * 1e15, X))
    # Densities fall with the square of the distance: some nats become 1e30 of them.
    assert -1e33 < far < -1e28 < near


def trained(n_states, x=X, **kwargs):
    return lambda _: fitted(x, n_states=n_states, **kwargs)


def file_of(content, name="model.h5"):
    def read(folder):
        (folder / name).write_bytes(content)
        mne_hmm.read_hmm(folder / name)

    return read


NUMBERS, SAMPLES, RECORDINGS, ARGUMENTS = (
    "Numbers",
    "Samples and channels",
    "Recordings",
    "Arguments",
)

CASES = [
    Case(
        NUMBERS,
        "Whole numbers, with or without sign, of 8 to 64 bits",
        "as their copy in float64, to the bit",
        whole_numbers,
    ),
    Case(
        NUMBERS,
        "float16, float32, long double; big-endian numbers",
        "as their copy in float64, to the bit",
        floats,
    ),
    Case(
        NUMBERS,
        "Arrays in Fortran order, reversed, with steps, read-only, memory-mapped; "
        "masked arrays without a masked value",
        "as their copy in float64, to the bit",
        layouts,
    ),
    Case(
        NUMBERS,
        "Masked values",
        "refused",
        lambda _: prepared(np.ma.masked_greater(X, 5.0)),
        ValueError,
        "must have no masked values, got",
    ),
    Case(
        NUMBERS,
        "Complex numbers",
        "refused",
        lambda _: prepared(X * 1j),
        TypeError,
        "must hold real numbers, got complex128",
    ),
    Case(
        NUMBERS,
        "Logical values, text, objects, dates, records",
        "refused",
        lambda _: prepared(X > 0),
        TypeError,
        "must hold real numbers, got bool",
    ),
    Case(
        NUMBERS,
        "Volts, femtotesla or raw counts, also side by side",
        "the same states, where channels are standardized (the default)",
        units,
    ),
    Case(NUMBERS, "A large offset", "the same features, where channels are standardized", offsets),
    Case(
        NUMBERS,
        "An offset, or a scale, that hides the signal in float32, not standardized",
        "refused",
        lambda _: prepared(X + 1e8, AS_IS),
        ValueError,
        "varies too little in channel_0, .* subtract the mean",
    ),
    Case(
        NUMBERS,
        "Values beyond ±1e30",
        "refused",
        with_value(1e31),
        ValueError,
        r"holds values beyond ±1e\+30 in channel_1, first at 0.070 s",
    ),
    Case(
        NUMBERS,
        "NaN or infinite values",
        "refused; spans annotated as bad may hold them",
        with_value(np.nan),
        ValueError,
        "holds NaN or infinite values in channel_1, first at 0.070 s",
    ),
    Case(
        NUMBERS,
        "Recordings in another unit than those the model was trained on, so that no state "
        "explains them",
        "their score says so: it falls with the square of the distance",
        too_far,
    ),
    Case(
        SAMPLES,
        "An array that is not of shape (n_channels, n_times)",
        "refused",
        lambda _: prepared(np.zeros(5)),
        ValueError,
        r"must be of shape \(n_channels, n_times\)",
    ),
    Case(
        SAMPLES,
        "No channel or no sample",
        "refused",
        lambda _: prepared(X[:, :0]),
        ValueError,
        "must not be empty, got shape",
    ),
    Case(
        SAMPLES,
        "One sample",
        "refused, since no channel varies",
        lambda _: prepared(X[:, :1]),
        ValueError,
        "is flat in channel_0, channel_1, channel_2",
    ),
    Case(SAMPLES, "Two samples", "prepared; a fit is refused", two_samples),
    Case(
        SAMPLES,
        "Fewer values than free parameters of the model",
        "refused",
        trained(2, X[:, :6]),
        ValueError,
        "free parameters, but the data are only 6 samples",
    ),
    Case(SAMPLES, "One channel", "a model of one channel", one_channel),
    Case(
        SAMPLES,
        "A channel that has one value in all good samples",
        "refused",
        lambda _: prepared(np.vstack([X, X[:1] * 0])),
        ValueError,
        "is flat in channel_3",
    ),
    Case(
        SAMPLES,
        "A channel that is there twice, or depends on others",
        "a model of the directions that vary, and a warning that tells the rank",
        duplicated,
    ),
    Case(
        SAMPLES,
        "Names with spaces, slashes, line breaks, braces or letters of any alphabet",
        "kept as they are, in files too",
        names,
    ),
    Case(
        SAMPLES,
        "Names with characters that Unicode has not",
        "refused when the model is saved",
        surrogates,
        ValueError,
        "cannot be written to .* Unicode",
    ),
    Case(
        RECORDINGS,
        "Thousands of good spans of two samples",
        "each is a chain of its own",
        tiny_spans,
        slow=True,
    ),
    Case(
        RECORDINGS,
        "Hundreds of recordings",
        "each is one entry of what comes out",
        recordings,
        slow=True,
    ),
    Case(
        RECORDINGS,
        "Recordings of different sampling rates",
        "resampled to ``Preparation(sfreq=...)``",
        rates,
    ),
    Case(
        RECORDINGS,
        "The same with ``sfreq=None``",
        "refused",
        lambda _: prepared([raw(), raw(sfreq=128.0)]),
        ValueError,
        "preparation.sfreq is None, so rates stay as they are",
    ),
    Case(
        RECORDINGS,
        "Arrays with different numbers of channels",
        "refused",
        lambda _: prepared([X, X[:2]]),
        ValueError,
        "must have the same channels",
    ),
    Case(
        RECORDINGS,
        "Raw objects that lack channels of the first",
        "refused",
        lambda _: prepared([raw(), raw(X[:2])]),
        ValueError,
        "lacks channel_2, which recording 0 has",
    ),
    Case(
        RECORDINGS,
        "Arrays beside Raw objects or epochs",
        "refused",
        lambda _: mne_hmm.prepare([raw(), X], sfreq=SFREQ),
        TypeError,
        "inst must be a list of one kind",
    ),
    Case(
        RECORDINGS,
        "An empty list",
        "refused",
        lambda _: prepared([]),
        ValueError,
        "inst is an empty list",
    ),
    Case(
        RECORDINGS,
        "Anything else",
        "refused",
        lambda _: prepared({"raw": X}),
        TypeError,
        "inst must be a Raw, Epochs, an array",
    ),
    Case(
        ARGUMENTS,
        "A number that is none, or is out of range",
        "refused",
        trained(1),
        ValueError,
        "n_states must be a whole number ≥ 2, got 1",
    ),
    Case(
        ARGUMENTS,
        "A number of another type",
        "refused",
        trained(2.0),
        TypeError,
        "n_states must be a whole number ≥ 2, got 2.0 of type float",
    ),
    Case(
        ARGUMENTS,
        "More states than the data can tell, however many",
        "refused at once",
        trained(10**30),
        ValueError,
        "use n_states≤",
    ),
    Case(
        ARGUMENTS,
        "Seeds of any size",
        "kept with the model",
        lambda _: fitted(X, random_state=2**200),
    ),
    Case(
        ARGUMENTS,
        "A file that exists, without ``overwrite=True``",
        "refused; a file that appears meanwhile stays, too",
        lambda folder: [fitted(X).save(folder / "m.h5") for _ in range(2)],
        FileExistsError,
        "exists already; pass overwrite=True",
    ),
    Case(
        ARGUMENTS,
        "Model files that are damaged, cut off, or something else",
        "refused; nothing in them is executed",
        file_of(b"nothing"),
        OSError,
        "model.h5 cannot be read",
    ),
    Case(
        ARGUMENTS,
        "A file that is not there",
        "refused",
        lambda folder: mne_hmm.read_hmm(folder / "m.h5"),
        FileNotFoundError,
        "there is no such file",
    ),
]


def table():
    """Write the table as the documentation has it."""
    lines = []
    for section in (NUMBERS, SAMPLES, RECORDINGS, ARGUMENTS):
        lines += [f".. list-table:: {section}", "   :header-rows: 1", "   :widths: 45 55", ""]
        lines += ["   * - input", "     - what happens"]
        for case in CASES:
            if case.section == section:
                error = "" if case.error is None else f"``{case.error.__name__}``: "
                lines += [f"   * - {case.what}", f"     - {error}{case.outcome}"]
        lines.append("")
    return "\n".join(lines) + "\n"


def page_with_table():
    """Put the table into the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page_with_table(), encoding="utf-8")
