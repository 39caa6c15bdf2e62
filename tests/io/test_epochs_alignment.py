"""States of epochs lie in the Raw that the epochs were cut out of, sample by sample.

The signal is the number of the sample, so that the features themselves say where they are from.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import mne
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from mne_hmm import Preparation, StateTimeCourse, prepare

DATE = datetime(2021, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
RATES = (100.0, 128.0, 250.0, 333.3333, 600.614990234375, 1000.0)
NAMES = ("state_0", "state_1", "state_2")


def state_of(sample):
    """State at a sample of the acquisition: visits of some samples, in no order that repeats."""
    return np.asarray(sample) ** 2 // 97 % 3


@dataclass
class Case:
    """Epochs of a recording."""

    sfreq: float = 250.0
    first_samp: int = 0
    meas_date: datetime | None = DATE
    first: int = -20
    """First sample of an epoch, counted from its event."""
    n_times: int = 101
    """Samples of an epoch, before decimation."""
    gaps: tuple[int, ...] = (0, 3, 50)
    """Samples from the end of one epoch to the start of the next."""
    decim: int = 1
    preload: bool = False
    n_embeddings: int = 1

    @property
    def events(self):
        starts = self.first_samp + np.cumsum([0, *(self.n_times + gap for gap in self.gaps)])
        codes = 1 + np.arange(len(starts)) % 2
        return np.stack([starts - self.first, 0 * starts, codes], 1)

    def make_raw(self):
        """The last epoch ends where the recording does."""
        n_all = self.n_times * (len(self.gaps) + 1) + sum(self.gaps)
        data = np.stack([self.first_samp + np.arange(n_all), np.sin(np.arange(n_all))])
        info = mne.create_info(2, self.sfreq, "misc")
        raw = mne.io.RawArray(data, info, first_samp=self.first_samp, verbose="ERROR")
        return raw.set_meas_date(self.meas_date)

    def make_epochs(self, raw):
        return mne.Epochs(
            raw,
            self.events,
            {"a": 1, "b": 2},
            tmin=self.first / self.sfreq,
            tmax=(self.first + self.n_times - 1) / self.sfreq,
            baseline=None,
            decim=self.decim,
            preload=self.preload,
            verbose="ERROR",
        )

    def states(self, epochs):
        """Read the states out of the features, where the middle lag is the sample itself."""
        as_is = Preparation(
            l_freq=None, h_freq=None, sfreq=None, n_embeddings=self.n_embeddings,
            n_components=None, standardize=False,
        )  # fmt: skip
        prepared = prepare(epochs, as_is, verbose="ERROR")
        samples = prepared.data[0][:, self.n_embeddings // 2].astype(int)
        return StateTimeCourse.from_labels(state_of(samples), prepared.time_maps[0], NAMES)


def samples_of(case):
    """Samples of the acquisition in each epoch, as MNE-Python takes them: the event is one."""
    event = -case.first
    kept = np.arange(event % case.decim, case.n_times, case.decim)
    return case.events[:, :1] + case.first + kept


def read_back(raw, annotations):
    """State of each sample of the recording by its annotations; -1 where there is none."""
    # MNE-Python warns if one sticks out of the recording. Without a date it does so for less
    # than the microsecond that it rounds to.
    has_date = raw.info["meas_date"] is not None
    raw = raw.copy().set_annotations(annotations, emit_warning=has_date)
    onsets = raw.annotations.onset - raw.first_time
    starts = raw.time_as_index(onsets, use_rounding=True)
    stops = raw.time_as_index(onsets + raw.annotations.duration, use_rounding=True)
    labels = np.full(raw.n_times, -1)
    for start, stop, name in zip(starts, stops, raw.annotations.description, strict=True):
        assert start < stop
        assert (labels[start:stop] == -1).all()
        labels[start:stop] = NAMES.index(name.removeprefix("hmm/"))
    return labels


def check(case, raw, states):
    """Labels say where they are from, and annotations say the same of the recording."""
    samples = samples_of(case)
    lost = case.n_embeddings // 2
    modeled = np.full(samples.shape, False)
    modeled[:, lost : samples.shape[1] - lost] = True
    assert_array_equal(states.labels, np.where(modeled, state_of(samples), -1))
    assert_array_equal(np.isnan(states.probabilities).all(1), ~modeled)
    assert_array_equal(np.isnan(states.probabilities).any(1), ~modeled)
    annotations = states.to_annotations()
    assert annotations.orig_time == case.meas_date
    if case.meas_date is None:
        annotations.onset -= raw.first_time  # as the documentation says
    written = read_back(raw, annotations)
    # A sample speaks for those up to the next one, and the last of an epoch for itself.
    expected = np.full(raw.n_times, -1)
    for epoch_samples, labels in zip(samples - case.first_samp, states.labels, strict=True):
        for step in range(case.decim):
            follows = epoch_samples[:-1] + step < epoch_samples[1:]
            expected[epoch_samples[:-1][follows] + step] = labels[:-1][follows]
        expected[epoch_samples[-1]] = labels[-1]
    assert_array_equal(written, expected)


@st.composite
def cases(draw):
    """Epochs of any rate, place and length, some of which lie back to back."""
    decim = draw(st.sampled_from([1, 1, 2, 3, 7]))
    n_embeddings = draw(st.sampled_from([1, 1, 3, 15]))
    n_times = draw(st.integers((n_embeddings + 2) * decim, 200 + n_embeddings * decim))
    return Case(
        draw(st.one_of(st.sampled_from(RATES), st.floats(100, 1200))),
        draw(st.sampled_from([0, 1, 137, 100_003])),
        draw(st.sampled_from([None, DATE])),
        draw(st.integers(-n_times + 1, 0) | st.integers(1, 60)),
        n_times,
        tuple(draw(st.lists(st.integers(0, 40), min_size=1, max_size=4))),
        decim,
        draw(st.booleans()),
        n_embeddings,
    )


@given(case=cases())
@settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_states_of_epochs_are_where_their_samples_are(case):
    raw = case.make_raw()
    # The event of the last epoch must be inside of the recording: so MNE-Python wants it.
    assume(case.events[-1, 0] < case.first_samp + raw.n_times)
    epochs = case.make_epochs(raw)
    states = case.states(epochs)
    assert_array_equal(states.times, epochs.times)
    check(case, raw, states)


@pytest.mark.parametrize("meas_date", [DATE, None], ids=["date", "no_date"])
@pytest.mark.parametrize("decim", [1, 4])
def test_annotations_come_back_from_files(tmp_path, meas_date, decim):
    case = Case(600.614990234375, 100_003, meas_date, decim=decim, n_embeddings=5)
    raw = case.make_raw()
    fname = tmp_path / "some-epo.fif"
    case.make_epochs(raw).save(fname, fmt="double", verbose="ERROR")
    check(case, raw, case.states(fname))
    check(case, raw, case.states(mne.read_epochs(fname, preload=False)))


def test_shifted_times_do_not_move_states():
    """MNE-Python shifts names of samples with them, and no data."""
    case = Case(first_samp=137, preload=True)
    raw = case.make_raw()
    epochs = case.make_epochs(raw)
    epochs.shift_time(0.3011, relative=False)
    states = case.states(epochs)
    check(case, raw, states)
    assert states.times[0] == 0.3011
    assert_allclose(states.to_epochs().times, epochs.times, rtol=0, atol=1e-12)


def test_cropped_epochs_keep_their_place():
    case = Case(first_samp=137, preload=True)
    raw = case.make_raw()
    epochs = case.make_epochs(raw).crop(0.0, 0.2)
    inner = Case(first_samp=137, first=0, n_times=51, gaps=tuple(gap + 50 for gap in case.gaps))
    states = case.states(epochs)
    samples = case.events[:, :1] + np.arange(inner.n_times)
    assert_array_equal(states.labels, state_of(samples))
    written = read_back(raw, states.to_annotations())
    assert_array_equal(written[samples - raw.first_samp], state_of(samples))
    assert (written >= 0).sum() == samples.size


def test_resampled_epochs_keep_their_place():
    """Between two rates of which one is no multiple of the other."""
    case = Case(first_samp=1000, n_times=100, preload=True, gaps=(0, 3))
    raw = case.make_raw()
    raw._data[0] = 1e-6 * np.random.default_rng(0).standard_normal(raw.n_times)
    raw._data[0, 130:170] += 1  # in the second epoch
    epochs = case.make_epochs(raw).resample(180.0, verbose="ERROR")
    prepared = prepare(epochs, Preparation.as_is(), verbose="ERROR")
    labels = (prepared.data[0][:, 0] > 0.5).astype(int)
    states = StateTimeCourse.from_labels(labels, prepared.time_maps[0], NAMES)
    indices = np.flatnonzero(read_back(raw, states.to_annotations()) == 1)
    # A sample of the coarser grid is 1.4 of the finer one.
    assert abs(indices[0] - 130) <= 1
    assert abs(indices[-1] - 169) <= 1
    assert_array_equal(np.diff(indices), 1)
