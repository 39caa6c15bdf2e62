"""
.. _task_responses:

Responses to a task
===================

What states do around events: averages, tests, and epochs of states.

A model knows nothing of events. It finds states in the whole recording, and only then we ask what
the events have to do with them.
"""

# %%
# Three runs of a task
# --------------------
# The first person of the EEG motor imagery data of PhysioNet opens and closes the left or the right
# fist for four seconds, rests for four, and so on. Where these recordings are not on the machine,
# simulated ones with the same channels and events stand in for them; take the first branch alone to
# have them downloaded. The simulation has four states. Two of them set off the events: state 0 the
# movements of either hand, and state 1 rest.

import matplotlib.pyplot as plt
import mne
import numpy as np
import pandas as pd

import mne_hmm

mne.set_log_level("WARNING")
montage = mne.channels.make_standard_montage("biosemi32")  # half of the electrodes will do here

if mne.get_config("MNE_DATASETS_EEGBCI_PATH"):
    fnames = mne.datasets.eegbci.load_data(1, [3, 7, 11], update_path=False)
    # The last half second of the files is empty.
    raws = [mne.io.read_raw_edf(fname, preload=True).crop(0, 124) for fname in fnames]
    for raw in raws:
        mne.datasets.eegbci.standardize(raw)
else:
    whole, truth = mne_hmm.simulate_raw(
        4, n_channels=32, duration=360.0, sfreq=160.0, mean_lifetime=0.3, random_state=0
    )
    whole.rename_channels(dict(zip(whole.ch_names, montage.ch_names, strict=True)))
    whole.set_channel_types(dict.fromkeys(montage.ch_names, "eeg"), on_unit_change="ignore")
    whole.set_meas_date(0)
    whole.apply_function(lambda x: 1e-5 * x)
    onset = 0.0
    for number in range(60):  # cues are 4 seconds apart, or until a little before the next visit
        name = ("T1", "T0", "T2", "T0")[number % 4]
        visits = truth.times[truth.visits.starts[truth.visits.states == (name == "T0")]]
        onset = visits[visits > onset + 4.2][0] - 0.2
        whole.annotations.append(onset, 4.0, name)
    raws = [whole.copy().crop(120 * k, 120 * (k + 1), include_tmax=False) for k in range(3)]

for raw in raws:
    raw.pick(montage.ch_names).set_montage(montage)
    raw.filter(1.0, None).set_eeg_reference()

events = [mne.events_from_annotations(raw, {"T0": 1, "T1": 2, "T2": 3})[0] for raw in raws]
print([len(some) for some in events], "events in the runs")

# %%
# The states
# ----------
# Below 4 Hz the slow waves of blinks would have most to say, so the band begins there.

preparation = mne_hmm.Preparation(l_freq=4.0, sfreq=None, n_embeddings=9, n_components=30)
hmm = mne_hmm.fit_hmm(raws, 4, preparation=preparation, random_state=0)
states = hmm.predict(raws)
spectra = mne_hmm.compute_state_spectra(raws, states, fmin=4.0, fmax=40.0)
mne_hmm.power_maps(spectra, 8, 30).plot_topomap()

# %%
# In the real recordings one state is on when there is little of any rhythm, one with strong alpha
# rhythm at the back of the head, and one with blinks.
#
# Averages
# --------
# The probability of each state, averaged around each kind of event: as an evoked response, with
# states in place of channels. Events are those of MNE-Python, one array per run. ``baseline=None``
# leaves the probabilities as they are; why, we shall see.

event_id = {"left": 2, "right": 3, "rest": 1}
evokeds = mne_hmm.compute_state_evoked(states, events, event_id, tmin=-1.0, tmax=4.0, baseline=None)
mne_hmm.viz.plot_state_evoked(evokeds)

# %%
# They are :class:`mne.Evoked` objects, so all that MNE-Python does with these is there. Events
# without modeled data all around them, as at the start of a run or in bad spans, were left out:

for name, evoked in evokeds.items():
    print(f"{name}: {evoked.nave} events, {evoked.ch_names}")

# %%
# A test
# ------
# Movement against rest, with both hands as one condition. A cluster is a stretch of time in which
# one state differs; permutations say how large clusters are by chance
# :footcite:`MarisOostenveld2007`. The p-values are corrected for all states and times.
#
# ``unit="epoch"`` counts trials. The answer is then about this person in these runs. With
# recordings of many people, ``unit="recording"`` counts each as one, and the answer is about
# people. 500 permutations are quick; take 5,000 for a paper.

both_hands = [mne.merge_events(some, [2, 3], 2) for some in events]
options = {"tmin": -1.0, "tmax": 4.0, "unit": "epoch", "n_permutations": 500, "random_state": 0}

test = mne_hmm.cluster_test_state_evoked(
    states, both_hands, {"movement": 2, "rest": 1}, baseline=None, **options
)
print(test)
test.plot()

# %%
# Bars at the bottom mark clusters with p ≤ 0.05. In the real recordings the state of little rhythm
# is on more while a hand moves, when rhythms of the motor cortex are known to be weaker. Before the
# cue it is the other way round, as movement comes after rest. As a table:

test.to_data_frame().head()

# %%
# Left against right, the p-value is large, in these runs as in the simulation. That does not show
# that there is no difference: trials are few, and four states of the whole head are coarse.

hands = mne_hmm.cluster_test_state_evoked(
    states, events, {"left": 2, "right": 3}, baseline=None, **options
)
print(hands)

# %%
# What the test asks
# ------------------
# *Two conditions.* Does it matter to the states which of the two a trial is? Labels of trials are
# shuffled within each run. Whatever both conditions have in common, as the screen that changes with
# every cue, cancels out.
#
# *One condition.* Does the event matter at all? Trials are compared with those of random events in
# the same recording. Flipping signs, as with evoked fields, is not valid for probabilities:

alone = mne_hmm.cluster_test_state_evoked(states, both_hands, {"movement": 2}, **options)
print(alone)

# %%
# What it does not ask
# --------------------
# - *When* it began. The p-value is that of the cluster as a whole; its first and last samples
#   are not tested. States have a resolution of their own, too: the embedding spans some 50 ms, and
#   filters more.
# - *How much power changed*. A state is on or off; the spectra of the state say what that means.
#   One state that is on more makes others be on less, so of several clusters at one time some are
#   the shadow of others.
# - *Whether the state is about the task.* Blinks and movements of the head follow cues as well.
#   Look at the maps first.
# - *Against a baseline that is none.* In a task of blocks, the second before rest is movement, and
#   the second before movement is rest. With the default, ``baseline=(None, 0)``, a difference would
#   be counted twice, and late differences would show up early. Take a baseline only where
#   conditions cannot differ.
#
# Epochs of states
# ----------------
# The other way round: what happens in the signals when a state comes on? States are annotations,
# and events can be made of these. Visits shorter than 0.1 seconds are left out here. Epochs are
# chosen by state, as ``epochs["hmm/state_0"]``, or all together as ``epochs["hmm"]``.

for raw, one in zip(raws, states, strict=True):
    raw.set_annotations(raw.annotations + one.to_annotations(min_duration=0.1))

raw = mne.concatenate_raws([raw.copy() for raw in raws])  # epochs do not reach over the joints
onsets, onset_id = mne.events_from_annotations(raw, regexp="^hmm/")
epochs = mne.Epochs(raw, onsets, onset_id, tmin=-0.3, tmax=0.5, baseline=None, preload=True)
epochs

# %%
# The size of the signals over all channels, around the first samples of visits:

fig, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
for name in sorted(onset_id):
    size = epochs[name].get_data(picks="eeg").std(axis=1).mean(axis=0)
    ax.plot(epochs.times, 1e6 * size, label=f"{name} ({len(epochs[name])} visits)")
ax.axvline(0, color="0.5", lw=0.8, ls="--")
ax.set(xlabel="Time from the start of a visit (s)", ylabel="Standard deviation (µV)")
ax.legend()

# %%
# Trials by state
# ---------------
# Or are trials different that begin in another state? ``labels`` of states have the state of each
# sample, -1 where nothing was modeled. They go into the metadata of epochs, and these are chosen by
# it.

cues, _ = mne.events_from_annotations(raw, {"T0": 1, "T1": 2, "T2": 3})
labels = np.concatenate([one.labels for one in states])
metadata = pd.DataFrame({"state_at_cue": labels[cues[:, 0] - raw.first_samp]})
trials = mne.Epochs(raw, cues, event_id, -0.5, 1.0, metadata=metadata, baseline=None, preload=True)
for state, name in enumerate(hmm.state_names):
    print(f"{name}: {len(trials[f'state_at_cue == {state}'])} of {len(trials)} trials")

# %%
# Data that come as epochs need no events: `fit_hmm` and `HMM.predict` take them as they are, and
# `compute_state_evoked` and `cluster_test_state_evoked` take their states, with the conditions of
# the epochs.
#
# References
# ----------
# .. footbibliography::

# sphinx_gallery_thumbnail_number = 3
