"""
.. _source_estimates:

From source estimates to states
===============================

Beamform EEG to the volume of the brain, make parcels with an atlas, take leakage off, and map the
states that were found.

Everything up to the source estimate is MNE-Python's, and so are its objects. An atlas makes parcels
of it, and the rest goes as with any recording. This page simulates the EEG of a head that comes
with MNE-Python, from eight places in the brain, so that it runs everywhere and the truth is known.
"""

# %%
# A head and an atlas
# -------------------
# The source space is a grid in the brain of fsaverage, 15 mm wide so that this is fast. With your
# data it comes from the person's MRI, as in MNE-Python's tutorials on forward models.

from pathlib import Path

import matplotlib.pyplot as plt
import mne
import nibabel
import numpy as np
from mne.beamformer import apply_lcmv_raw, make_lcmv

import mne_hmm

mne.set_log_level("WARNING")
fsaverage = Path(mne.__file__).parent / "data" / "fsaverage"
src = mne.setup_volume_source_space(pos=15.0, bem=fsaverage / "fsaverage-inner_skull-bem.fif")
src[0]["subject_his_id"] = "fsaverage"  # a head in MNI space
montage = mne.channels.make_standard_montage("biosemi64")
info = mne.create_info(montage.ch_names, sfreq=250.0, ch_types="eeg").set_montage(montage)
sphere = mne.make_sphere_model(r0=(0.0013, 0.0007, 0.0461), head_radius=0.108)
forward = mne.make_forward_solution(info, fsaverage / "fsaverage-trans.fif", src, sphere)
forward

# %%
# In a volume an atlas is a NIfTI file or image in MNI space, of numbered parcels or of one map per
# parcel; ``mne_hmm.datasets.fetch_atlas("Giles38")`` fetches a common one. This one has a ball
# around each of eight places. (On a surface it is the name of a parcellation, such as ``"aparc"``,
# or a list of labels.)

places = np.array(
    [
        [-20, -85, 10], [20, -85, 10],  # occipital
        [-40, -20, 50], [40, -20, 50],  # central
        [-55, -20, 0], [55, -20, 0],  # temporal
        [-30, 40, 25], [30, 40, 25],  # frontal
    ]
)  # fmt: skip
affine = np.diag([4.0, 4.0, 4.0, 1.0])
affine[:3, 3] = (-90, -126, -72)
grid = np.moveaxis(np.indices((46, 55, 46)), 0, -1) * 4 + affine[:3, 3]  # MNI, in mm
distance = np.linalg.norm(grid[..., None, :] - places, axis=-1)
numbers = np.where(distance.min(axis=-1) < 22, distance.argmin(axis=-1) + 1, 0)
atlas = nibabel.Nifti1Image(numbers.astype(np.int16), affine)

# %%
# EEG
# ---
# Two recordings of a minute. In each of three states, a rhythm of its own is shared by some of the
# eight places. A dipole at each of them carries it to the sensors, where noise is added.

true_parcels, truth = mne_hmm.simulate_raw(
    3, n_channels=8, duration=120.0, snr=4.0, mean_lifetime=0.4, random_state=3
)
positions = np.concatenate([s["rr"][s["vertno"]] for s in forward["src"]])
head_to_mri = mne.transforms.invert_transform(forward["mri_head_t"])
positions = 1000 * mne.transforms.apply_trans(head_to_mri, positions)  # MNI, in mm
nearest = np.linalg.norm(positions[:, None] - places, axis=-1).argmin(axis=0)
leadfield = forward["sol"]["data"].reshape(64, -1, 3)[:, nearest]
radial = places / np.linalg.norm(places, axis=1, keepdims=True)
eeg = 1e-8 * np.einsum("cpo,po,pt->ct", leadfield, radial, true_parcels.get_data())
eeg += 0.1 * eeg.std() * np.random.default_rng(0).standard_normal(eeg.shape)

raw = mne.io.RawArray(eeg, info)
raw.set_eeg_reference(projection=True)
raws = [raw.copy().crop(0, 60, include_tmax=False), raw.copy().crop(60, None)]

# %%
# Source estimates
# ----------------
# A beamformer with one orientation for each source. What comes is a
# :class:`mne.VolSourceEstimate`: a time course for every source, at every sample.

covariance = mne.compute_raw_covariance(raw)
filters = make_lcmv(
    raw.info, forward, covariance, reg=0.05, pick_ori="max-power", weight_norm="unit-noise-gain"
)
stcs = [apply_lcmv_raw(one, filters) for one in raws]
stcs[0]

# %%
# From there it is one call. States come back on the times of the source estimates.

preparation = mne_hmm.Preparation(n_components=16)
hmm = mne_hmm.fit_hmm(stcs, 3, atlas=atlas, src=forward, preparation=preparation, random_state=0)
states = hmm.predict(stcs)
states[0].plot(start=10.0, duration=8.0)

# %%
# Parcels by themselves
# ---------------------
# `parcellate` is the step in between. It gives a :class:`mne.io.RawArray` with a ``misc`` channel
# for each parcel, to be saved, looked at, or annotated.
#
# Each parcel is the first principal component of its sources over the whole recording. Then
# zero-lag leakage is taken off: neighbors share a part of what the sensors saw, and the time
# courses are made orthogonal, as close as can be to what they were :footcite:`ColcloughEtAl2015`.

leaky = mne_hmm.parcellate(stcs[0], atlas, src=forward, orthogonalize="none")
parcels = mne_hmm.parcellate(stcs[0], atlas, src=forward)

fig, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
for ax, one, title in zip(axes, (leaky, parcels), ("with leakage", "without"), strict=True):
    image = ax.imshow(np.corrcoef(one.get_data()), vmin=-1, vmax=1, cmap="RdBu_r")
    ax.set(title=title, xlabel="parcel", ylabel="parcel")
fig.colorbar(image, ax=axes, label="correlation without lag")

# %%
# That needs as many dimensions as there are parcels, and more to be of use: close to the limit
# little is left of some parcels. Sensors give the dimensions, so 64 electrodes do for 38 parcels,
# but not for 68; for those there is ``orthogonalize="none"``. ``method`` has the other ways of
# MNE-Python.
#
# Long recordings
# ---------------
# Thousands of sources times all samples may be more than memory holds. Then they come in pieces,
# of which only one is in memory at a time. A list, or anything else that gives them one after
# another, will do:

pieces = (
    apply_lcmv_raw(raws[0], filters, start=start, stop=start + 2500)
    for start in range(0, raws[0].n_times, 2500)
)
same = mne_hmm.parcellate(pieces, atlas, src=forward)
print("largest difference:", np.abs(same.get_data() - parcels.get_data()).max())

# %%
# Several recordings
# ------------------
# The sign of a principal component says nothing, so it may differ from one recording to the next,
# and states would then belong to recordings. `align_signs` finds the flips by which lagged
# covariances agree :footcite:`VidaurreEtAl2016`, and `prepare` warns where there seem to be some.
# Here is the second recording with three parcels upside down:

other_parcels = mne_hmm.parcellate(stcs[1], atlas, src=forward)
other_parcels.apply_function(np.negative, picks=other_parcels.ch_names[:3])
aligned = mne_hmm.align_signs([parcels, other_parcels], reference=0, random_state=0)
print(aligned)
hmm = mne_hmm.fit_hmm(aligned.raws, 3, preparation=preparation, random_state=0)

# %%
# Fixed weights have fixed signs: runs of one person with the same source space may use
# ``method="mean_flip"`` on a surface instead.
#
# Were the states found?
# ----------------------
# Each state found against each true one, over both recordings:

labels = np.concatenate([one.labels for one in hmm.predict(aligned.raws)])
together = np.array(
    [[np.mean(labels[truth.labels == true] == k) for k in range(3)] for true in range(3)]
)
fig, ax = plt.subplots(figsize=(4, 3.2), layout="constrained")
image = ax.imshow(100 * together, vmin=0, vmax=100, cmap="Blues")
ax.set(xticks=range(3), yticks=range(3), xlabel="state found", ylabel="true state")
fig.colorbar(image, label="Share of the true state's samples (%)")

# %%
# Maps
# ----
# Maps of parcels go back to the brain: to a glass brain as here, to an image
# (:meth:`StateMaps.to_nifti`) or to a source estimate (:meth:`StateMaps.to_stc`). They say how much
# more or less power a parcel has in a state than in the mean over states.

spectra = mne_hmm.compute_state_spectra(aligned.raws, hmm.predict(aligned.raws))
maps = mne_hmm.power_maps(spectra, 1, 30)
maps.plot_glass_brain(atlas)

# %%
# :ref:`spectra_and_maps` goes on with spectra and networks.
#
# References
# ----------
# .. footbibliography::

# sphinx_gallery_thumbnail_number = 4
