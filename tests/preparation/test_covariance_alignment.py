"""What lies at a known time in the data ends up in the annotation that covers that time.

The features themselves say where the event is: the middle column of the embedding is the
signal that the row stands for. So an error in any step shows, from cutting and resampling
over embedding to the annotations that MNE-Python reads back.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import mne
import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from mne_hmm import Preparation, StateTimeCourse, fit_hmm, prepare

DATE = datetime(2021, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
RATES = (100.0, 128.0, 160.0, 250.0, 333.3333, 512.0, 600.614990234375, 1000.0, 1200.0)
NAMES = ("outside", "event")


@dataclass
class Case:
    """A recording with an event, and how it is prepared."""

    sfreq: float = 250.0
    n_times: int = 700
    first_samp: int = 0
    meas_date: datetime | None = None
    cropped: tuple[int, int] = (0, 0)
    """Samples cropped off the start and the end."""
    bad: tuple[tuple[float, float], ...] = ()
    """Start and length of bad spans, in samples of the cropped recording."""
    jump: int | None = None
    """Where an acquisition was continued."""
    event: tuple[int, int] = (300, 400)
    """First sample of the event, and the one after the last."""
    target: float | None = None
    n_embeddings: int = 15

    @property
    def step(self):
        """Samples of the recording between two rows."""
        return 1.0 if self.target is None else self.sfreq / self.target

    def make_raw(self):
        """Channel 0 is 1 in the event and 0 outside; channel 1 rises from 0 to 1."""
        before, after = self.cropped
        n_all = before + self.n_times + after
        data = np.zeros((2, n_all))
        data[0] = 1e-3 * np.random.default_rng(0).standard_normal(n_all)
        data[0, before + self.event[0] : before + self.event[1]] += 1
        data[1, before : before + self.n_times] = np.arange(self.n_times) / self.n_times
        info = mne.create_info(2, self.sfreq, "eeg")
        raw = mne.io.RawArray(data, info, first_samp=self.first_samp, verbose="ERROR")
        raw.set_meas_date(self.meas_date)
        if any(self.cropped):
            raw.crop(before / self.sfreq, (before + self.n_times - 1) / self.sfreq)
        assert (raw.n_times, raw.first_samp) == (self.n_times, self.first_samp + before)
        starts, lengths = zip(*self.bad, strict=True) if self.bad else ((), ())
        annotations = mne.Annotations(
            np.array(starts) / self.sfreq, np.array(lengths) / self.sfreq, ["BAD_x"] * len(starts)
        )
        if self.jump is not None:
            annotations.append(self.jump / self.sfreq, 0, "EDGE boundary")
        raw.set_annotations(annotations, emit_warning=False)
        if self.target is None:
            # Whatever touches a bad span will show. Resampling, like filters, may cross it.
            bad = np.isnan(raw.get_data([0], reject_by_annotation="NaN")[0])
            raw._data[1, bad] = 1e3
        return raw

    def prepare(self, raw):
        return prepare(
            raw,
            Preparation(
                l_freq=None,
                h_freq=None,
                sfreq=self.target,
                n_embeddings=self.n_embeddings,
                n_components=None,
                standardize=False,
            ),
            verbose="ERROR",
        )

    def states(self, prepared):
        """Find the event in the features: half of a step lies between its two samples."""
        middle = self.n_embeddings // 2
        labels = (prepared.data[0][:, middle] > 0.5).astype(int)
        return StateTimeCourse.from_rows(np.eye(2)[labels], labels, prepared.time_maps[0], NAMES)


def add_to(raw, annotations):
    """Add annotations as the documentation says."""
    # None of them sticks out of the recording: there is no warning.
    raw.copy().set_annotations(annotations)
    raw = raw.copy()
    if raw.info["meas_date"] is None:
        # Without a date MNE-Python shifts annotations that are set once more by first_time,
        # mne-tools/mne-python#11731, wherever they come from.
        raw.annotations.onset -= raw.first_time
    # Of the bad spans at its end MNE-Python may say that, as it rounds to microseconds.
    return raw.set_annotations(raw.annotations + annotations, emit_warning=False)


def state_annotations(raw):
    """Read states from a recording: samples they start and end before, and descriptions."""
    chosen = [i for i, d in enumerate(raw.annotations.description) if d.startswith("hmm/")]
    annotations = raw.annotations[chosen]
    begin = annotations.onset - raw.first_time
    starts = raw.time_as_index(begin, use_rounding=True)
    stops = raw.time_as_index(begin + annotations.duration, use_rounding=True)
    return starts, stops, list(annotations.description)


def good_spans(case, raw):
    """Good spans as MNE-Python sees them, cut at the jump."""
    good = np.isfinite(raw.get_data([0], reject_by_annotation="NaN")[0])
    edges = np.flatnonzero(np.diff(np.concatenate([[0], good, [0]]).astype(int)))
    out = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if case.jump is not None and start < case.jump < stop:
            out += [(start, case.jump), (case.jump, stop)]
        else:
            out.append((start, stop))
    return out


def check_features(case, raw, prepared):
    """Rows lie inside of good spans, one chain each, at the times they are said to."""
    spans, times = prepared.spans[0], prepared.times[0]
    assert [a for a, _ in spans] == [0, *(b for _, b in spans[:-1])]
    assert spans[-1][1] == len(prepared.data[0]) == len(times)
    reach = case.n_embeddings // 2 * case.step
    good = good_spans(case, raw)
    homes = []
    for start, stop in spans:
        places = times[start:stop] * case.sfreq
        # Whole fractions stand for ratios of rates, to 1e-8 of the time.
        assert_allclose(np.diff(places), case.step, rtol=1e-6, atol=0)
        # All samples a row is made of are of one good span.
        first, last = places[0] - reach, places[-1] + reach
        homes += [i for i, (a, b) in enumerate(good) if a - 1e-3 <= first and last <= b - 1 + 1e-3]
    assert homes == sorted(set(homes))
    assert len(homes) == len(spans)
    if case.target is None:
        middle = case.n_embeddings + case.n_embeddings // 2
        ramp = case.n_times * prepared.data[0][:, middle]
        # The second channel says which sample it is, in float32.
        assert_allclose(ramp, times * case.sfreq, rtol=0, atol=1e-3)
        assert np.abs(prepared.data[0]).max() < 10  # nothing of a bad span
    return good


def check_states(case, states, good):
    """States lie where the event is, on all samples that rows speak for, and nowhere else."""
    labels = states.labels
    assert labels.shape == (case.n_times,)
    assert_array_equal(np.isnan(states.probabilities).all(0), labels < 0)
    assert_array_equal(np.isnan(states.probabilities).any(0), labels < 0)
    samples = np.arange(case.n_times)
    inside = (samples >= case.event[0]) & (samples < case.event[1])
    wrong = samples[(labels >= 0) & (labels != inside)]
    if case.target is None:
        assert len(wrong) == 0
    else:
        # A row speaks for half the way to the next one, which is less than one sample of
        # the coarser grid; a little more where the step rings.
        borders = np.array(case.event) - 0.5
        off = np.abs(wrong[:, None] - borders).min(1)
        assert (off <= case.step / 2 + 0.1).all()
    modeled = labels >= 0
    for start, stop in good:
        modeled_samples = np.flatnonzero(modeled[start:stop])
        modeled[start:stop] = False
        if (stop - start - 1) / case.step < case.n_embeddings + 2:
            continue  # may be too short
        assert_array_equal(np.diff(modeled_samples), 1)
        lost = np.array([modeled_samples[0], stop - start - 1 - modeled_samples[-1]])
        least = case.n_embeddings // 2 * case.step - case.step / 2
        assert (lost >= least - 1e-6).all()
        assert (lost < least + case.step + 1).all()
    assert not modeled.any()  # outside of good spans


def check_annotations(raw, states, good):
    """Annotations that were read back cover each modeled sample once, with its state."""
    starts, stops, descriptions = state_annotations(raw)
    labels = np.full(raw.n_times, -1)
    for start, stop, description in zip(starts, stops, descriptions, strict=True):
        assert start < stop
        assert any(a <= start and stop <= b for a, b in good)
        assert (labels[start:stop] == -1).all()
        labels[start:stop] = NAMES.index(description.removeprefix("hmm/"))
    assert_array_equal(labels, states.labels)
    assert raw.annotations.orig_time == raw.info["meas_date"]


def check_no_overlap(raw):
    """In seconds, states overlap neither each other nor bad spans."""
    onset, sfreq = raw.annotations.onset, raw.info["sfreq"]
    ends = onset + raw.annotations.duration
    is_state = np.array([d.startswith("hmm/") for d in raw.annotations.description], bool)
    assert (onset[is_state][1:] - ends[is_state][:-1] > -1e-9).all()
    for a, b in zip(onset[~is_state], ends[~is_state], strict=True):
        shared = np.minimum(ends[is_state], b) - np.maximum(onset[is_state], a)
        # MNE-Python rounds to the nearest sample which samples are bad.
        assert (shared <= 0.5 / sfreq + 2e-6).all()


def is_no_tie(sample):
    """Whether MNE-Python's microseconds cannot change which sample an onset is rounded to."""
    return abs(sample % 1 - 0.5) > 2e-3


@st.composite
def cases(draw, target, numbers_of_lags):
    """Any recording whose event could be found."""
    sfreq = draw(st.one_of(st.sampled_from(RATES), st.floats(100, 1200)))
    step = 1.0 if target is None else sfreq / target
    n_times = draw(st.integers(300, 900)) + int(200 * step)
    n_embeddings = draw(st.sampled_from(numbers_of_lags))
    length = draw(st.integers(int(10 * step) + 1, 200 + int(20 * step)))
    start = draw(st.integers(0, n_times - length - 1))
    bad = draw(
        st.lists(
            st.tuples(
                st.integers(0, n_times - 1) | st.floats(0, n_times - 1).filter(is_no_tie),
                st.integers(1, 60),
            ),
            min_size=1,
            max_size=3,
        )
    )
    if draw(st.booleans()):
        bad.append((0, draw(st.integers(1, 40))))
    if draw(st.booleans()):
        bad.append((n_times - 20, 20))
    return Case(
        sfreq,
        n_times,
        draw(st.sampled_from([0, 1, 137, 100_003])),
        draw(st.sampled_from([None, DATE])),
        draw(st.sampled_from([(0, 0), (1, 0), (53, 17), (0, 40), (101, 1)])),
        tuple(bad),
        draw(st.none() | st.integers(1, n_times - 1)),
        (start, start + length),
        target,
        n_embeddings,
    )


def check_everything(case):
    """What is at a known time is found there, from the features to the annotations."""
    raw = case.make_raw()
    try:
        prepared = case.prepare(raw)
    except ValueError as error:
        assert "no good span" in str(error)  # noqa: PT017  (only these cases are no cases)
        reject()
    good = check_features(case, raw, prepared)
    states = case.states(prepared)
    check_states(case, states, good)
    annotated = add_to(raw, states.to_annotations())
    check_annotations(annotated, states, good)
    check_no_overlap(annotated)
    # What was bad or a jump before still is, at the same samples.
    assert good_spans(case, annotated) == good
    events, event_id = mne.events_from_annotations(annotated, regexp="^hmm/")
    starts, _, descriptions = state_annotations(annotated)
    assert_array_equal(events[:, 0] - annotated.first_samp, starts)
    assert_array_equal(events[:, 2], [event_id[name] for name in descriptions])


def any_case(n_examples):
    """Test with so many recordings for each target rate, with and without embedding."""

    def decorated(test):
        test = settings(
            derandomize=True,
            deadline=None,
            max_examples=n_examples,
            suppress_health_check=[HealthCheck.too_slow],
        )(given(data=st.data())(test))
        test = pytest.mark.parametrize("target", [None, 250.0, 100.0])(test)
        lags = [(1,), (3, 5, 7, 9, 11, 13, 15)]
        return pytest.mark.parametrize("numbers_of_lags", lags, ids=["1", "more"])(test)

    return decorated


@any_case(n_examples=30)
def test_an_event_is_where_its_annotation_says(target, numbers_of_lags, data):
    check_everything(data.draw(cases(target, numbers_of_lags)))


@pytest.mark.slow
@any_case(n_examples=300)
def test_so_it_is_in_many_recordings(target, numbers_of_lags, data):
    check_everything(data.draw(cases(target, numbers_of_lags)))


EVERYTHING = Case(
    sfreq=600.614990234375,
    n_times=2001,
    first_samp=100_003,
    meas_date=DATE,
    cropped=(101, 17),
    bad=((0, 31), (700, 45), (1300.4, 1), (1990, 11)),
    jump=1001,
    event=(800, 953),
    target=250.0,
    n_embeddings=15,
)


@pytest.mark.parametrize("meas_date", [DATE, None], ids=["date", "no_date"])
@pytest.mark.parametrize("target", [None, 250.0])
@pytest.mark.parametrize("cropped", [(0, 0), (101, 17)])
def test_annotations_come_back_from_files(tmp_path, meas_date, target, cropped):
    fields = {**vars(EVERYTHING), "meas_date": meas_date, "target": target, "cropped": cropped}
    case = Case(**fields)
    raw = case.make_raw()
    fname = tmp_path / "before_raw.fif"
    raw.save(fname, fmt="double")
    saved = mne.io.read_raw_fif(fname)
    prepared = case.prepare(saved)
    good = check_features(case, saved, prepared)
    states = case.states(prepared)
    check_states(case, states, good)
    assert_array_equal(states.labels, case.states(case.prepare(raw)).labels)
    annotated = add_to(saved, states.to_annotations())
    check_annotations(annotated, states, good)
    annotated.save(tmp_path / "after_raw.fif", fmt="double")
    # Onsets are stored in single precision, here to some hundredths of a sample.
    check_annotations(mne.io.read_raw_fif(tmp_path / "after_raw.fif"), states, good)


def test_predicted_states_find_a_burst():
    sfreq, n_times, onset, stop = 250.0, 5001, 3107, 3407
    rng = np.random.default_rng(0)
    data = rng.standard_normal((4, n_times))
    data[:, onset:stop] *= 8
    info = mne.create_info(4, sfreq, "eeg")
    raw = mne.io.RawArray(data, info, first_samp=777, verbose="ERROR").set_meas_date(DATE)
    raw.set_annotations(mne.Annotations([4.0], [0.5], ["BAD_x"]))
    preparation = Preparation(l_freq=None, h_freq=None, sfreq=None, n_components=10)
    hmm = fit_hmm(
        raw,
        2,
        preparation=preparation,
        n_init=1,
        refine=False,
        random_state=0,
        verbose="ERROR",
    )
    bursting = int(np.argmax([np.trace(c) for c in hmm.covariances_]))
    half = preparation.n_embeddings // 2
    for annotations in (hmm.annotations_[0], hmm.predict(raw).to_annotations()):
        annotated = raw.copy().set_annotations(raw.annotations + annotations)
        starts, stops, descriptions = state_annotations(annotated)
        segments = [
            (int(a), int(b))
            for a, b, name in zip(starts, stops, descriptions, strict=True)
            if name == f"hmm/state_{bursting}"
        ]
        assert len(segments) == 1
        # A row sees samples up to half of the lags away.
        assert abs(segments[0][0] - onset) <= half
        assert abs(segments[0][1] - stop) <= half
        assert (starts.min(), stops.max()) == (half, n_times - half)
        check_no_overlap(annotated)
