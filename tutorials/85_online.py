"""
.. _online:

States while they last
======================

Find the states of a stream, block by block, with a delay that is known.

For neurofeedback, for stimuli that wait for a state, or to look on during a recording. A model is
trained before, as always, and :meth:`HMM.online <mne_hmm.HMM.online>` makes a decoder of it.
"""

# %%
# A model, and a minute before the start
# --------------------------------------
# Five minutes of 8 parcels whose states are known stand for what was recorded before and for the
# stream. The model is trained on the first two minutes.

import matplotlib.pyplot as plt
import mne
import numpy as np

import mne_hmm

mne.set_log_level("WARNING")
simulated, truth = mne_hmm.simulate_raw(
    3, n_channels=8, duration=300.0, snr=4.0, mean_lifetime=0.4, random_state=0
)
before = simulated.copy().crop(0, 120, include_tmax=False)
preparation = mne_hmm.Preparation(n_components=16)
hmm = mne_hmm.fit_hmm(before, 3, preparation=preparation, refine=False, random_state=0)

# %%
# `prepare` standardizes each recording by its own means and standard deviations. A stream does not
# know these before it is over, so a recording of the same person with the same cap and the same
# kind of task, of a minute or more, has to say how large the signals are: the ``calibration``.
# If the preparation aligns recordings (``Preparation(align="euclidean")``), the stream goes through
# the map that the calibration is aligned by.

calibration = simulated.copy().crop(120, 180, include_tmax=False)
decoder = hmm.online(simulated.info, calibration=calibration, lag=0.1)
decoder

# %%
# Blocks
# ------
# Samples go in as they come, of all channels of ``info``, in blocks of any size. What comes out are
# the states that are known by now, each with its time. Here a block has 20 ms:

stream = simulated.get_data(tmin=180)
size = 5
parts = [
    decoder.process(stream[:, start : start + size]) for start in range(0, stream.shape[1], size)
]
parts.append(decoder.finish())
probabilities = np.concatenate([part.probabilities for part in parts], axis=1)
times = np.concatenate([part.times for part in parts])
parts[100], parts[-1]

# %%
# ``finish`` gives what was waited for when the stream ended, and the next block begins a new chain.
# ``reset`` begins one without that. After samples that were lost one of the two has to be called;
# blocks with NaN are an error that says so. The result does not depend on the blocks:

decoder.reset(time=0.0)
at_once = decoder.process(stream)
n = len(at_once)
print(f"Largest difference: {np.abs(at_once.probabilities - probabilities[:, :n]).max():.0e}")

# %%
# The delay
# ---------
# The state at a time is told ``decoder.delay`` seconds later, to the sample:

for cause, seconds in decoder.delays.items():
    print(f"{cause:<12}{1e3 * seconds:6.1f} ms")
print(f"{'in all':<12}{1e3 * decoder.delay:6.1f} ms")

# %%
# - ``filter``: the filter has the magnitude of the preparation's, but minimum phase, so that what
#   happens comes out early. All channels go through the same filter, so its phase cancels in
#   covariances of channels and lags. Times are corrected for the median of its delay over the pass
#   band.
# - ``resampling``: none here, nor where the stream's rate is a multiple of the model's. Other
#   ratios take some milliseconds.
# - ``embedding``: half of the lags come after the sample they are for.
# - ``lag``: samples that are waited for because they make the state surer (fixed-lag smoothing).
#
# How surely are states found, how late? With ``phase="zero"`` the filter is that of `prepare`
# itself. Half of its length has to be waited for.

first = round(180 * simulated.info["sfreq"])
offline = hmm.predict(simulated)
number = mne_hmm.compute_agreement(offline, truth).order  # of each state among the true ones
modeled = offline.labels[first:] >= 0
share = (number[offline.labels] == truth.labels)[first:][modeled].mean()
print(f"predict: {share:.1%} of samples right")
fig, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for phase in ("minimum", "zero"):
    delays, right = [], []
    for lag in (0, 0.02, 0.05, 0.1, 0.2):
        one = hmm.online(simulated.info, calibration=calibration, lag=lag, phase=phase)
        states = one.process(stream)
        samples = first + np.round(states.times * simulated.info["sfreq"]).astype(int)
        delays.append(one.delay)
        right.append((number[states.labels] == truth.labels[samples]).mean())
        print(f'phase="{phase}", lag={lag:g}: {right[-1]:.1%} after {one.delay:.3f} s')
    ax.plot(delays, right, "o-", label=f'phase="{phase}"')
ax.set(xlabel="Delay (s)", ylabel="Samples that are right", xscale="log")
ax.legend()

# %%
# With real recordings the difference is larger. A high-pass filter of minimum phase delays slow
# waves more than fast ones, by up to 0.2 s at its edge, and these are the largest in EEG. States
# are on equally often then, but within states that last a tenth of a second, samples are called
# otherwise than offline more often. Where two seconds do not matter, take ``phase="zero"``.
#
# As it looks
# -----------
# These are the last seconds of the stream, and the true states:

fig, axes = plt.subplots(2, 1, figsize=(9, 3.5), sharex=True, layout="constrained")
shown = times > times[-1] - 5
axes[0].stackplot(times[shown], probabilities[np.argsort(number)][:, shown])
axes[0].set(ylabel="Probability", ylim=(0, 1), title="found as the samples came")
true = truth.labels[first:]
true_times = np.arange(len(true)) / simulated.info["sfreq"]
shown = true_times > times[-1] - 5
axes[1].stackplot(true_times[shown], np.equal.outer(np.arange(3), true[shown]).astype(float))
axes[1].set(xlabel="Time (s)", yticks=[], title="true")

# %%
# A stream of an amplifier
# ------------------------
# Streams of the lab streaming layer are read by MNE-LSL (``pip install "mne-hmm[lsl]"``).
# `record_stream` records the calibration, `decode_stream` gives states as long as there are any:
#
# .. code-block:: python
#
#     from mne_lsl.stream import StreamLSL
#
#     stream = StreamLSL(bufsize=5, name="EEG").connect()
#     calibration = mne_hmm.record_stream(stream, 60)
#     decoder = hmm.online(stream.info, calibration=calibration)
#     for states in mne_hmm.decode_stream(decoder, stream):
#         if states.probabilities[2, -1] > 0.9:
#             print("state 2 at", states.times[-1])
#
# Times are the timestamps of the stream. Lost samples, jumps of timestamps and NaN begin a new
# chain, with a warning. To try that without an amplifier, let MNE-LSL play a recording:
#
# .. code-block:: python
#
#     from mne_lsl.player import PlayerLSL
#
#     player = PlayerLSL("sub-01_parc-raw.fif", chunk_size=10, name="EEG").start()
#
# What it cannot do
# -----------------
# - Preparations with ``envelope=True``: the envelope at a time hangs on what comes later.
# - Rates that stand in no simple ratio to the model's. The error names rates that do.
# - Signs of parcels (``align="signs"``, as published models have it) are those of the calibration,
#   so that has to be long enough to find them.
