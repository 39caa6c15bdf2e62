"""Streams of mne_lsl, played on this machine and nowhere else."""

import time
import uuid

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose

import mne_hmm

# Streams are announced on the loopback interface alone, under a name nobody else has.
CONFIG = """
[ports]
IPv6 = disable
[multicast]
ResolveScope = machine
[lab]
KnownPeers = {{127.0.0.1}}
SessionID = {session}
[log]
level = -3
"""


@pytest.fixture(scope="module")
def lsl(tmp_path_factory):
    """Import mne_lsl; its library reads the file when it is first used."""
    fname = tmp_path_factory.mktemp("lsl") / "lsl_api.cfg"
    fname.write_text(CONFIG.format(session=uuid.uuid4().hex))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSLAPICFG", str(fname))
        yield pytest.importorskip("mne_lsl.lsl", reason="mne_lsl is not installed")


@pytest.fixture
def played(lsl, simulated):
    """Play the simulated recording again and again, in packets of 40 ms."""
    from mne_lsl.player import PlayerLSL
    from mne_lsl.stream import StreamLSL

    raw = simulated[0].copy().crop(0, 20, include_tmax=False)
    name = uuid.uuid4().hex
    with PlayerLSL(raw, chunk_size=10, name=name, source_id=name, annotations=False):
        stream = StreamLSL(bufsize=20, name=name, source_id=name)
        stream.connect(acquisition_delay=0.005, timeout=20)
        yield raw, stream
        if stream.connected:
            stream.disconnect()


def test_states_of_a_stream(played, fitted):
    """They are those of the same samples passed in one block, at the stream's own times."""
    raw, stream = played
    calibration = mne_hmm.record_stream(stream, 1.0)
    assert calibration.ch_names == raw.ch_names
    assert calibration.n_times == 250
    decoder = fitted.online(stream.info, calibration=raw, lag=0.04)
    parts = []
    for states in mne_hmm.decode_stream(decoder, stream, timeout=10.0):
        parts.append(states)
        if len(parts) == 12:
            break
    data, stamps = stream.get_data(exclude=())
    online = np.concatenate([part.probabilities for part in parts], axis=1)
    times = np.concatenate([part.times for part in parts])
    assert_allclose(np.diff(times), 1 / 250, atol=1e-6)
    # The first sample that was decoded, by the time of the first state.
    shift = decoder.delays["filter"] - decoder.delays["embedding"]
    first = int(np.abs(stamps - (times[0] + shift)).argmin())
    assert abs(stamps[first] - times[0] - shift) < 1e-6
    again = fitted.online(raw.info, calibration=raw, lag=0.04)
    expected = again.process(data[:, first:]).probabilities[:, : len(times)]
    assert_allclose(online, expected, rtol=0, atol=1e-6)


@pytest.fixture
def outlet(lsl, simulated):
    """Push packets by hand, with times of their own, in microvolts; and the stream of them."""
    from mne_lsl.lsl import StreamInfo, StreamOutlet
    from mne_lsl.stream import StreamLSL

    info = mne.create_info(simulated[0].ch_names, 250.0, "misc")
    for channel in info["chs"]:
        channel["unit_mul"] = -6
    name = uuid.uuid4().hex
    stream_info = StreamInfo(name, "", len(info.ch_names), 250.0, "float64", name)
    stream_info.set_channel_info(info)
    outlet = StreamOutlet(stream_info)
    stream = StreamLSL(bufsize=2, name=name, source_id=name)
    stream.connect(acquisition_delay=None, timeout=20)

    def push(block, first_time):
        """Send a packet and wait until it is in the buffer."""
        times = first_time + np.arange(block.shape[1]) / 250
        outlet.push_chunk(np.ascontiguousarray(block.T), times)
        before = stream.n_new_samples
        for _ in range(2000):
            stream.acquire()
            if stream.n_new_samples >= before + block.shape[1]:
                return times
            time.sleep(0.005)
        raise AssertionError("the packet did not arrive")

    yield push, stream
    if stream.connected:
        stream.disconnect()


def chains(steps):
    """Numbers of states between gaps of their times."""
    times = np.concatenate([part.times for part in steps])
    edges = np.flatnonzero(np.abs(np.diff(times) - 1 / 250) > 1e-3) + 1
    return np.diff([0, *edges, len(times)]).tolist()


def test_gaps_of_a_stream(outlet, simulated, fitted):
    """Jumps of timestamps, NaN and samples that were lost each begin a new chain."""
    push, stream = outlet
    raw = simulated[0]
    # Parcels have no unit, so what the amplifier sends is a million times larger.
    x = 1e6 * raw.get_data()
    decoder = fitted.online(stream.info, calibration=raw, lag=0.04)
    states = mne_hmm.decode_stream(decoder, stream, timeout=0.3)
    push(x[:, :200], 10.0)
    parts = [next(states)]
    assert len(parts[0]) == 200 - 14 - 10  # the lags, and what is waited for
    expected = fitted.online(raw.info, calibration=raw, lag=0.04).process(raw.get_data(stop=200))
    assert_allclose(parts[0].probabilities, expected.probabilities, rtol=0, atol=1e-6)
    push(x[:, 200:300], 11.5)  # half a second is missing
    time.sleep(0.4)  # longer than the stream may be silent, but it is not
    with pytest.warns(RuntimeWarning, match="Timestamps of the stream jump"):
        parts += [next(states), next(states)]
    assert [len(part) for part in parts[1:]] == [10, 100 - 14 - 10]
    broken = x[:, 300:400].copy()
    broken[2, 40:43] = np.nan
    push(broken, 11.9)
    with pytest.warns(RuntimeWarning, match="3 samples of the stream left out"):
        parts += [next(states), next(states), next(states)]
    assert [len(part) for part in parts[3:]] == [40, 10, 57 - 14 - 10]
    push(x[:, 400:700], 12.3)
    push(x[:, 700:910], 13.5)  # the buffer holds two seconds: 40 ms are lost, less than a jump
    with pytest.warns(RuntimeWarning, match="Samples of the stream were lost"):
        parts += list(states)
    assert chains(parts) == [200 - 14, 100 - 14 + 40, 57 - 14, 500 - 14]
    again = fitted.online(raw.info, calibration=raw, lag=0.04)
    alone = [again.process(raw.get_data(start=410, stop=910)), again.finish()]
    alone = np.concatenate([part.probabilities for part in alone], axis=1)
    online = np.concatenate([part.probabilities for part in parts], axis=1)
    assert_allclose(online[:, -alone.shape[1] :], alone, rtol=0, atol=1e-6)


class Continued:
    """A stream that goes on right after somebody has looked at it."""

    def __init__(self, stream, push):
        self.stream, self.push, self.later = stream, push, []

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def _go_on(self):
        while self.later:
            self.push(*self.later.pop(0))

    @property
    def n_new_samples(self):
        n_new = self.stream.n_new_samples
        if not n_new:
            self._go_on()
        return n_new

    def get_data(self, **kwargs):
        arrays = [array.copy() for array in self.stream.get_data(**kwargs)]
        self._go_on()
        return arrays


def test_who_is_slow_misses_nothing(outlet, simulated, fitted):
    """The stream may be silent for so long from when somebody waits for it."""
    push, stream = outlet
    x = 1e6 * simulated[0].get_data(stop=300)
    stream = Continued(stream, push)
    decoder = fitted.online(stream.info, calibration=simulated[0], lag=0.0)
    states = mne_hmm.decode_stream(decoder, stream, timeout=0.8)
    push(x[:, :200], 10.0)
    assert len(next(states)) == 200 - 14
    time.sleep(0.9)
    stream.later = [(x[:, 200:], 10.8)]  # not there when it is looked for, but soon after
    assert len(next(states)) == 100


def test_gaps_of_a_recording(outlet, simulated):
    """They are annotated where samples were lost."""
    push, stream = outlet
    x = simulated[0].get_data(stop=900)
    push(x[:, :300], 10.0)
    stream = Continued(stream, push)
    # Of these the buffer holds the last 500.
    stream.later = [(x[:, 300:600], 11.2), (x[:, 600:], 12.4)]
    raw = mne_hmm.record_stream(stream, 3.0)
    expected = 1e-6 * np.concatenate([x[:, :300], x[:, 400:850]], axis=1)
    assert_allclose(raw.get_data(), expected, rtol=1e-12)
    assert raw.annotations.description.tolist() == ["EDGE boundary"]
    assert_allclose(raw.annotations.onset, 300 / 250)


def test_recording_a_stream(outlet, simulated):
    """In MNE-Python's units, and with gaps annotated."""
    push, stream = outlet
    x = simulated[0].get_data(stop=1000)
    push(x[:, :300], 10.0)
    raw = mne_hmm.record_stream(stream, 1.0)
    assert_allclose(raw.get_data(), 1e-6 * x[:, :250], rtol=1e-12)
    assert len(raw.annotations) == 0
    assert {channel["unit_mul"] for channel in raw.info["chs"]} == {0}  # no longer microvolts
    with pytest.raises(RuntimeError, match=r"ended after 1.2 of 3 s"):
        mne_hmm.record_stream(stream, 3.0, timeout=0.1)


def test_wrong_streams(outlet, simulated, fitted):
    """What is wrong is told at once."""
    _, stream = outlet
    decoder = fitted.online(stream.info, calibration=simulated[0])
    with pytest.raises(TypeError, match="decoder must be an OnlineDecoder"):
        mne_hmm.decode_stream(fitted, stream)
    with pytest.raises(TypeError, match=r"stream must be a StreamLSL.*got Raw"):
        mne_hmm.decode_stream(decoder, simulated[0])
    with pytest.raises(ValueError, match="timeout must be a number of seconds above 0"):
        mne_hmm.decode_stream(decoder, stream, timeout=0)
    other = fitted.online(simulated[0].copy().resample(500).info, calibration=simulated[0])
    with pytest.raises(ValueError, match=r"stream has 8 channels .*250 Hz, but .* at 500 Hz"):
        mne_hmm.decode_stream(other, stream)
    stream.disconnect()
    with pytest.raises(ValueError, match="not connected"):
        mne_hmm.record_stream(stream, 1.0)
