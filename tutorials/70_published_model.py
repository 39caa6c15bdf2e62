"""
.. _published_model:

A published model on your data
==============================

Look for the states of a published model in a recording of yours, without training anything.

Models trained on a large study are there to be used :footcite:`GohilEtAl2026`. With one of them the
states of all studies are the same ones, so results compare, and a single recording is enough.
"""

# %%
# .. only:: without_published_models
#
#    .. note::
#
#       Files of the model could not be had where this page was made, so there are no figures here.
#
# The model
# ---------
# The canonical models :footcite:`CanonicalHMMNetworks` come from 1,849 recordings of MEG of the
# Cam-CAN study. This one has 38 parcels and 8 states. It is fetched once, with its atlas and what
# was published of its states, 2 MB in all. Where there is no network, the error says which files to
# put where.

import matplotlib.pyplot as plt
import mne
import numpy as np

import mne_hmm

mne.set_log_level("WARNING")
hmm = mne_hmm.datasets.fetch_canonical_hmm("Giles38", 8)
atlas = mne_hmm.datasets.fetch_atlas("Giles38")
published = mne_hmm.datasets.fetch_canonical_results("Giles38", 8)
hmm

# %%
# The recording
# -------------
# What the model needs is parcels of its atlas, in the order of the atlas, filtered as those of the
# training had been. From a source estimate these are two lines, as in :ref:`source_estimates`:
#
# .. code-block:: python
#
#     raw.filter(0.5, 45)  # before the inverse
#     parcels = mne_hmm.parcellate(stc, atlas, src=src)
#
# This page takes two minutes that are simulated from the model itself, so that the true states are
# known. Source reconstruction leaves the sign of each parcel to chance. So some are flipped here.

simulated, truth = mne_hmm.simulate_raw(model=hmm, duration=120.0, random_state=0)
flipped = simulated.ch_names[::4]
parcels = simulated.copy().apply_function(np.negative, picks=flipped)
print(f"{len(flipped)} of {len(parcels.ch_names)} parcels are flipped")

# %%
# Signs
# -----
# The model comes with the lagged covariances of its training data, and flips the parcels of each
# recording such that they match. This happens by itself, as a part of the model's preparation.
# `align_signs` shows what it does:

template = hmm.preparation_.template_
alignment = mne_hmm.align_signs([parcels], template)
found = [
    name for name, sign in zip(alignment.ch_names, alignment.flips[0], strict=True) if sign < 0
]
print(alignment)
print("The same that we flipped:", found == flipped)

# %%
# A minute or more is needed to find the signs. In 20 seconds some come out wrong.
#
# States
# ------
# Nothing is trained; `HMM.predict` is all there is to do. The signs leave no trace in its result:

states = hmm.predict(parcels)
unflipped = mne_hmm.compute_agreement(states, hmm.predict(simulated))
print(f"Alike with and without flipped parcels: {unflipped.share_alike:.1%} of samples\n")
print(states.statistics())

# %%
# These are the states found, above, and the true ones, below:

fig, axes = plt.subplots(2, 1, figsize=(9, 4), layout="constrained", sharex=True)
for ax, name, one in zip(axes, ("found", "true"), (states, truth), strict=True):
    one.plot(start=30.0, duration=5.0, axes=ax)
    ax.set_title(name)
    ax.label_outer()

# %%
# How many samples are right? Far more than by chance, but not all, though signals and states come
# from the same model. Lags span 56 ms, and visits that last no longer leave little trace in them.
# How much of the time each state is on is found well.

print(mne_hmm.compute_agreement(states, truth))

# %%
# Is the model one of these data?
# -------------------------------
# A model gives states for anything. The free energy tells whether a recording is like those of the
# training, whose own free energies were published. The second recording here has its parcels in
# reverse order, as if of another atlas:

reverse = parcels.copy()
reverse.rename_channels(dict(zip(parcels.ch_names, parcels.ch_names[::-1], strict=True)))
comparison = hmm.compare_to_reference([parcels, reverse])
print(comparison)
comparison.plot()

# %%
# In the wrong order it is worse, but not outside of the range, as people differ by more than that.
# So a recording beyond the range is one to look at, but one within it is no proof: see to the
# filter, the rate, the atlas and its order yourself.
#
# One recording, its own states
# -----------------------------
# Dual estimation keeps the states and takes their covariances from this recording alone. It is the
# way to compare people under one model. What comes differs from the model's covariances by what
# is this person's own, and by chance where a state is on for few seconds.

dual = hmm.dual_estimate(parcels)
of_dual = mne_hmm.compute_model_spectra(hmm, dual=dual)
print("seconds in each state:", dual.weights.round(1))

# %%
# Spectra beside the published ones
# ---------------------------------
# Spectra of the recording itself, while each state is on, with the aligned parcels, as coherence
# needs signs that agree; those of its dual estimate; and those published, which are means over the
# recordings of the training.

spectra = mne_hmm.compute_state_spectra(alignment.raws[0], states)
fig, axes = plt.subplots(1, 3, figsize=(11, 3.5), layout="constrained")
sources = {"this recording": spectra, "dual estimate": of_dual, "published": published.spectra}
for ax, (name, one) in zip(axes, sources.items(), strict=True):
    one.plot(axes=ax)
    ax.set(title=name, xlim=(2, 30), ylim=(0, 0.13), ylabel="Power (1/Hz)")
for ax in axes[:2]:
    ax.get_legend().remove()  # one is enough

# %%
# The order of the states is much the same. What was simulated knows no more than 15 lags do, and so
# its alpha rhythm is a shoulder. In the published spectra, which are of real recordings, it is a
# peak.
#
# Maps
# ----
# Power from 1 to 45 Hz in each state, as change from the mean over states: that of this recording,
# in a glass brain. A state of a published model can be called by its published map.

maps = mne_hmm.power_maps(spectra, 1, 45)
maps.plot_glass_brain(atlas)

# %%
# They are like those published, which are means over many recordings:

known = mne_hmm.power_maps(published.spectra, 1, 45)
for name, mine, theirs in zip(maps.state_names, maps.values, known.values, strict=True):
    print(f"{name}: correlation of the two maps {np.corrcoef(mine, theirs)[0, 1]:.2f}")

# %%
# What to report: which model (parcellation, number of states, commit, see ``hmm.versions``), the
# percentile of each recording among those of the training, and the articles on the model.
#
# References
# ----------
# .. footbibliography::

# sphinx_gallery_thumbnail_number = 4
