"""
.. _prepare_meg:

Preparing MEG
=============

What a preparation does to a recording, and how to choose band, lags and components.

A model sees features, not signals. How features are made decides what states can be about: which
frequencies, how fine in time, and whether an artifact becomes a state. This page goes through the
steps, looks at the result of each, and ends with the signs of parcels in several recordings.
"""

# %%
# A recording with an artifact
# ----------------------------
# One minute of 12 parcels at 500 Hz. Three seconds of it are spoiled, as by a movement: all parcels
# are ten times too large.

import matplotlib.pyplot as plt
import mne
import numpy as np
from scipy.signal import welch

import mne_hmm

clean_raw, _ = mne_hmm.simulate_raw(3, n_channels=12, duration=60.0, sfreq=500.0, random_state=1)
raw = clean_raw.copy()
raw.apply_function(lambda x: np.where((raw.times >= 20) & (raw.times < 23), 10 * x, x), picks="all")

fig, ax = plt.subplots(figsize=(8, 3), layout="constrained")
spoiled = slice(*raw.time_as_index([17, 26]))
ax.plot(raw.times[spoiled], raw.get_data()[:4, spoiled].T + 40 * np.arange(4), lw=0.5)
ax.set(xlabel="Time (s)", yticks=[], title="Four of the parcels")

# %%
# Bad segments are annotations
# ----------------------------
# Mark them as in any analysis with MNE-Python: by hand in ``raw.plot()``, or with an automatic
# annotator such as :func:`mne.preprocessing.annotate_amplitude`. Whatever begins with ``BAD`` is
# left out. The good spans before and after become chains of their own: nothing is filtered across
# the gap, no embedding reaches over it, and no step from one state to another is counted there.

raw.set_annotations(mne.Annotations(onset=20.0, duration=3.0, description="BAD_movement"))
preparation = mne_hmm.Preparation(n_components=24)
prepared = mne_hmm.prepare(raw, preparation)
prepared

# %%
# The features are at 250 Hz, half the rate of the recording. The embedding takes seven samples off
# each end of every span, so some hundredths of a second are lost besides the segment. Every feature
# knows its place in the recording, so nothing has to be counted by hand later:

print("left out:", prepared.seconds_left_out, "seconds")
for start, stop in prepared.spans[0]:
    times = prepared.times[0][start:stop]
    print(f"span of {stop - start} samples, from {times[0]:.3f} to {times[-1]:.3f} s")

# %%
# What happens without the annotation? Three seconds of sixty are enough for the artifact to take a
# state for itself. Such a state is on in one place only, in one recording only.

spoiled_hmm = mne_hmm.fit_hmm(
    raw, 4, preparation=preparation, reject_by_annotation=False, refine=False, random_state=0
)
states = spoiled_hmm.predict(raw, reject_by_annotation=False)
states.plot(start=15.0, duration=13.0)

# %%
# The steps
# ---------
# 1. The signals are filtered (1-45 Hz) and resampled (250 Hz), each good span by itself.
# 2. Each channel is z-scored, so that all channels count the same.
# 3. Time-delay embedding puts the samples from seven before to seven after beside each other: 12
#    channels with 15 lags give 180 columns. A covariance of these says what spectra and
#    cross-spectra say.
# 4. Principal components of all recordings together bring the columns down to what a model can
#    learn from, and each is z-scored.
#
# All of them are arguments of `Preparation`. The other two common ones have names of their own:
# :meth:`Preparation.amplitude_envelope` for states of slow changes of amplitude, and
# :meth:`Preparation.standardized` for fMRI.
#
# Choosing lags and components
# ----------------------------
# 15 lags at 250 Hz reach over 14 steps of 4 ms, that is 56 ms: half a cycle at 9 Hz. Rhythms much
# slower than that look alike. With another rate, keep the span: 7 lags at 100 Hz.
#
# Components are ordered by variance, and the signals have most of that at low frequencies. So too
# few components leave only these. Look at the spectrum of the features: it should still reach up to
# where you want to look. Twice the number of channels is a good start.

fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for n_components in (6, 12, 24, 60):
    few = mne_hmm.Preparation(n_components=n_components)
    features = mne_hmm.prepare(raw, few, verbose="WARNING").data[0]
    freqs, density = welch(features, fs=250, nperseg=500, axis=0)
    ax.plot(freqs, density.mean(axis=1), label=f"{n_components} components")
ax.set(xlabel="Frequency (Hz)", ylabel="Power of the features (1/Hz)", xlim=(0, 50))
ax.legend()

# %%
# More components also cost more: covariances grow with their square, and each state has to be on
# long enough to learn one. A share of the variance may be asked for instead:

share = mne_hmm.Preparation(n_components=0.9)
print(mne_hmm.prepare(raw, share, verbose="WARNING"))

# %%
# Choosing the band
# -----------------
# States follow what varies most. A narrow band asks for states of one rhythm, a wide one lets the
# data say. Slow drifts are no brain states: keep the high-pass. Line noise above the low-pass does
# no harm; below it, use :meth:`mne.io.Raw.notch_filter` before.

alpha = mne_hmm.Preparation(l_freq=7.0, h_freq=13.0, n_components=24)
print(mne_hmm.prepare(raw, alpha, verbose="WARNING"))

# %%
# Several recordings: signs
# -------------------------
# The sign of a parcel's time course means nothing, after beamforming as after principal components,
# and it may differ from one recording to the next. Lagged covariances between parcels then differ,
# too, and states become recordings. Here every second parcel of the second of three recordings is
# upside down:

raws = [clean_raw.copy().crop(start, start + 19.9) for start in (0, 20, 40)]
raws[1].apply_function(np.negative, picks=raws[1].ch_names[::2])

aligned = mne_hmm.align_signs(raws, random_state=0)
print(aligned)

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.plot(aligned.similarity_before, "o", label="before")
ax.plot(aligned.similarity_after, "x", label="after")
ax.set(
    xticks=range(3),
    xlabel="recording",
    ylabel="Correlation of lagged\ncovariances with the template",
    ylim=(0, 1.1),
)
ax.legend()

# %%
# Flipped was every second parcel, up to a common sign, which changes nothing:

aligned.flips

# %%
# ``aligned.raws`` go on to training. `prepare` warns where signs seem to differ and nobody has
# aligned them.

prepared = mne_hmm.prepare(aligned.raws, preparation)
prepared

# %%
# Prepared data are what `fit_hmm` trains on, and ``prepare(..., cache_dir="prepared")`` keeps them
# in a folder (:ref:`large_data`). A trained model takes its preparation with it and does the same
# to every new recording.

# sphinx_gallery_thumbnail_number = 2
