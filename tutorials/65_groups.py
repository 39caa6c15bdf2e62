"""
.. _groups:

Groups and statistics
=====================

One model of many recordings, numbers for each, and a test of whether groups differ.

Ten recordings of two groups are simulated here, so that we know what there is to be found. The
last part is about states that are recordings: how to notice them, and what to do.
"""

# %%
# Two groups
# ----------
# A model of half a minute of 8 parcels is where the recordings come from. We give it other
# transitions, and simulate from that: the states follow each other in a cycle, 0, 1, 2, 3, more
# often than not. In patients, state 2 is entered more often than in controls. Each recording is of
# 40 seconds, and each takes its own course.

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import mne
import numpy as np

import mne_hmm

mne.set_log_level("WARNING")
preparation = mne_hmm.Preparation(n_components=16)
first, _ = mne_hmm.simulate_raw(
    4, n_channels=8, duration=30.0, mean_lifetime=0.4, snr=4.0, random_state=0
)
source = mne_hmm.fit_hmm(first, 4, preparation=preparation, refine=False, random_state=0)


def simulate(weights, random_state):
    """Simulate a recording whose states are entered with these weights."""
    entered = (np.roll(np.eye(4), 1, axis=1) + 0.25 * (1 - np.eye(4))) * weights
    entered /= entered.sum(axis=1, keepdims=True)
    model = source.copy()
    model.transition_matrix_ = 0.99 * np.eye(4) + 0.01 * entered  # 0.4 seconds in each state
    return mne_hmm.simulate_raw(model=model, duration=40.0, random_state=random_state)[0]


groups = ["control"] * 5 + ["patient"] * 5
weights = {"control": [1.0, 1.0, 1.0, 1.0], "patient": [1.0, 1.0, 2.5, 1.0]}
names = [f"{group} {number % 5 + 1}" for number, group in enumerate(groups)]
raws = [simulate(weights[group], number) for number, group in enumerate(groups)]

# %%
# One model for all
# -----------------
# Groups are compared within one model that was trained on all recordings together. With a model for
# each group the states would not be the same states. The model does not know who belongs where.

hmm = mne_hmm.fit_hmm(raws, 4, preparation=preparation, random_state=0)
states = hmm.predict(raws)
hmm

# %%
# States are numbered by how much they are on in all recordings, so the numbers are not those of the
# simulation.
#
# Numbers for each recording
# --------------------------
# Begin with whole recordings. One that switches far more or less often than the others, or in which
# one state has nearly all the time (its entropy of occupancies is low), is one to look at.

mne_hmm.summarize_recordings(states, names=names).round(3)

# %%
# And a row for each recording and state. Tables are those of pandas, so columns such as group, age
# or site are added as anywhere, and the table goes to the statistics software of your choice.

table = mne_hmm.summarize_states(states, names=names)
table["group"] = np.repeat(groups, hmm.n_states)
table[["recording", "group", "state", "fractional_occupancy", "mean_lifetime"]].head(8).round(3)

# %%
mne_hmm.viz.plot_statistics(states, "fractional_occupancy")

# %%
# A test
# ------
# `contrast_groups` shuffles the labels of the groups. Ten recordings can be split in 252 ways, so
# each is taken once, and the p-values are exact. Those that are corrected ask how often the largest
# difference of all states is as large as this one: with more states you test more.

contrast = mne_hmm.contrast_groups(table, "group", measure="fractional_occupancy", random_state=0)
contrast

# %%
# The state that is more frequent in patients is there. Others have to give way, as occupancies sum
# to one, so they may differ, too, for the same reason.

fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
for ax, group in zip(axes, ("control", "patient"), strict=True):
    own = [one for one, label in zip(states, groups, strict=True) if label == group]
    mne_hmm.viz.plot_statistics(own, axes=ax)
    ax.set(title=f"{group}s")

# %%
# Say before which measure you test; each further one is a further test. Is it that visits last
# longer, or that there are more of them? The simulation changed how often the state is entered.

for measure in ("mean_lifetime", "switching_rate"):
    print(mne_hmm.contrast_groups(table, "group", measure=measure, random_state=0), "\n")

# %%
# Five short recordings in a group do not tell these apart. What is not significant is not shown to
# be absent.
#
# Recordings must be independent. Where people have several, average them first, or, with a
# recording of each person in either condition, pass ``pairs="subject"``.
#
# Lifetimes
# ---------
# A mean says little of how long visits last: there are many short ones and few long ones. All
# visits of all recordings:

mne_hmm.viz.plot_lifetimes(states)

# %%
# Occupancy over time
# -------------------
# Does it change in the course of a recording? Drowsiness does that, and so does a cap that dries.
# Here nothing does, so what is seen is chance.

fig = mne_hmm.viz.plot_occupancy_over_time([states[0], states[5]], window=8.0, step=2.0)
for ax, name in zip(fig.axes, (names[0], names[5]), strict=True):
    ax.set_title(name)

# %%
# `compute_occupancy_over_time` makes a table of it.
#
# Cycles
# ------
# Do states follow each other in an order? Temporal interval network density analysis (TINDA) takes
# the time between two visits to a state, and asks which states are on in its first half and which
# in its second :footcite:`VanEsEtAl2025`. States are put on a circle in the order that goes best
# with all of them.

tinda = mne_hmm.compute_tinda(states)
tinda.plot()

# %%
# The test permutes the names of states in each recording, and finds the best order anew.

tinda.test(random_state=0)

# %%
# ``tinda.cycle_strength`` has a number for each recording, which may be compared between groups as
# any other.

for group in ("control", "patient"):
    strength = tinda.cycle_strength[np.array(groups) == group]
    print(f"{group}s: cycle strength {strength.mean():.2f} ± {strength.std(ddof=1):.2f}")

# %%
# States that are recordings
# --------------------------
# A model finds what is most different in the data. If that is one recording against the others, it
# gets a state for itself. Here a device hums at 22 Hz in every second channel of the last
# recording, five times as strong as the signals.

hum = 5 * np.sin(2 * np.pi * 22 * raws[-1].times)
hummed = raws[-1].copy()
hummed.apply_function(lambda x: x + x.std() * hum, picks=hummed.ch_names[::2])
spoiled = [*raws[:-1], hummed]

spoiled_hmm = mne_hmm.fit_hmm(spoiled, 4, preparation=preparation, refine=False, random_state=0)
spoiled_states = spoiled_hmm.predict(spoiled)
spoiled_table = mne_hmm.summarize_states(spoiled_states, names=names)
spoiled_table.pivot(index="recording", columns="state", values="fractional_occupancy").round(2)

# %%
# One state has nearly all of that recording, and is nearly nowhere else; and as there are four
# states in all, two of the true ones have become one for everybody. A contrast would still give
# p-values. So look at this table first, or let the report do it: it begins with what a reviewer
# would ask. ``sessions`` may name days, sites or scanners, and the report then tells of states that
# are tied to one of them, too.

folder = Path(mkdtemp())  # or a folder of yours
report = spoiled_hmm.report(spoiled, states=spoiled_states, names=names)
report.save(folder / "groups.html", open_browser=False)
report

# %%
# How much of what states do depends on the recording has a number. It is 0 where all recordings
# have the same occupancies, but for chance, and 1 where each state lives in one recording.
# `fit_hmm` warns where it is more than half, or where a state has more than 90 % of its samples in
# one recording.

mne_hmm.compute_recording_dependence(spoiled_states, names=names)

# %%
# What is different about the recording? The spectrum of its state tells, by the peak at 22 Hz:

spectra = mne_hmm.compute_state_spectra(spoiled, spoiled_states)
spectra.plot(picks=spectra.ch_names[::2])

# %%
# What to do:
#
# - Treat all recordings alike: the same reference, the same filters, the same cleaning. Here a
#   notch filter at 22 Hz, in all recordings, would do.
# - Annotate bad segments, and interpolate bad channels in the same way everywhere.
# - Align the signs of parcels (:ref:`prepare_meg`), first of all with data in source space.
# - Leave the recording out if nothing helps, and say so.
#
# More states do not help: the recording keeps its own.
#
# States that are people
# ----------------------
# Even where all is well, people have heads of their own: the same sources reach channels with
# other strengths and leak into others. Here each of three people has a mixture of channels of
# their own, and two recordings with it.

rng = np.random.default_rng(0)
people = ["anna", "ben", "carl"] * 2
mixtures = {}
for person in people[:3]:
    between = rng.standard_normal((8, 8))
    values, vectors = np.linalg.eigh(between + between.T)
    mixtures[person] = (vectors * np.exp(0.35 * values)) @ vectors.T
mixed = []
for raw, person in zip(raws[:6], people, strict=True):
    one = raw.copy()
    one.apply_function(lambda x, by=mixtures[person]: by @ x, picks="all", channel_wise=False)
    mixed.append(one)

people_hmm = mne_hmm.fit_hmm(mixed, 4, preparation=preparation, refine=False, random_state=0)
print(mne_hmm.compute_recording_dependence(people_hmm.predict(mixed), names=people))

# %%
# ``align="euclidean"`` gives all recordings the same covariance of their channels before they are
# embedded, which is the mean of their own :footcite:`HeWu2020`. ``group`` names the person of each
# recording: recordings of one person are aligned together, so that what differs between them stays.
# Without it each recording is aligned by itself, and part of what differs between conditions is
# taken out, too.

aligned = mne_hmm.Preparation(n_components=16, align="euclidean")
aligned_hmm = mne_hmm.fit_hmm(
    mixed, 4, preparation=aligned, group=people, refine=False, random_state=0
)
aligned_states = aligned_hmm.predict(mixed, group=people)
print(mne_hmm.compute_recording_dependence(aligned_states, names=people))

# %%
# New recordings are aligned in the same way to the mean that the model keeps: on themselves, or on
# a part that is comparable, such as a minute of rest before a task, with ``align_on=(0, 60)``.
# Recordings must be long enough for a covariance of all channels.
#
# When to align: sensors of several people, or parcels where the share above is high. Not with one
# person in one session, and not in place of aligning signs: alignment changes strengths and what
# leaks from channel to channel, but does not know which channel is which (:doc:`/model`).
#
# Spectra and maps are those of each person's own channels.

spectra = mne_hmm.compute_state_spectra(mixed, aligned_states)
spectra.recordings[0].plot(show=False)

# %%
# References
# ----------
# .. footbibliography::

# sphinx_gallery_thumbnail_number = 2
