"""
.. _fmri:

fMRI
====

Find states in tables of region time courses or in images, for recordings of a few hundred volumes.

A volume every second or two says nothing about fast rhythms, so there are no lags to embed: states
are patterns of activity and of correlation between regions. Nothing else changes.
"""

# %%
# Time courses in files
# ---------------------
# Most often the time courses of regions are there already, one table for each person. Four of them
# are simulated here, 12 regions and 300 volumes each, and written as a preprocessing pipeline would
# leave them.

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import nibabel
import numpy as np
from scipy.ndimage import gaussian_filter1d

import mne_hmm

TR = 1.89  # seconds
folder = Path(mkdtemp())  # or a folder of yours
(folder / "timeseries").mkdir()
rng = np.random.default_rng(0)
patterns = 0.4 * rng.standard_normal((3, 12))
mixing = rng.standard_normal((3, 12, 12)) / 4
header = ",".join(f"region_{k:02d}" for k in range(12))
tables, truths = [], []
for number in range(1, 5):
    truth = np.repeat(rng.integers(3, size=150), rng.integers(3, 12, size=150))[:300]
    noise = gaussian_filter1d(rng.standard_normal((300, 12)), 0.7, axis=0)
    table = patterns[truth] + noise + np.einsum("tij,tj->ti", mixing[truth], noise)
    fname = folder / "timeseries" / f"sub-{number:02d}.csv"
    np.savetxt(fname, table, header=header, comments="", delimiter=",")
    tables.append(table)
    truths.append(truth)

# %%
# A folder stands for its files, in natural order (2 before 10). The sampling rate is one volume per
# TR. Z-scores are all the preparation that fMRI needs after its own preprocessing. See what is
# taken before training:

preparation = mne_hmm.Preparation.standardized()
prepared = mne_hmm.prepare(folder / "timeseries", preparation, sfreq=1 / TR)
prepared

# %%
# Files of arrays are ``.npy``, ``.npz``, ``.mat`` (of any version of MATLAB), ``.csv``, ``.tsv``
# and ``.txt``. A file must hold one array; single numbers beside it, such as a sampling rate, do
# not count. Where the first row of a table has names, these are the names of the channels, and time
# runs down. In all other files time is the axis that is at least 5 times longer than the other and
# at least 100 long. Where none is, or where there are several arrays, an error says so: load the
# file then, and pass an array of shape (n_channels, n_times). An array in memory is never turned.
#
# A model
# -------
# Without an embedding, means are a part of a state, and are learned.

hmm = mne_hmm.fit_hmm(prepared, 3, random_state=0)
hmm.summary()

# %%
# Each state has a mean, in standard deviations of a region, and a covariance:

fig, axes = plt.subplots(1, 4, figsize=(10, 3.2), layout="constrained")
axes[0].imshow(hmm.means_.T, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
axes[0].set(xticks=range(3), xlabel="state", ylabel="region", title="means")
hmm.plot_covariances(kind="correlation", axes=axes[1:])

# %%
# States come back volume by volume, on the clock of each recording, one `StateTimeCourse` for each
# file.

states = hmm.predict(folder / "timeseries", sfreq=1 / TR)
states[0].plot(start=0.0, duration=300.0)
print(states[0].statistics())

# %%
# Here the truth is known, and most volumes come out right:

for number, (one, truth) in enumerate(zip(states, truths, strict=True), start=1):
    together = np.zeros((3, 3))
    np.add.at(together, (one.labels, truth), 1)  # volumes in each pair of found and true state
    print(f"sub-{number:02d}: {together.max(axis=1).sum() / truth.size:.0%} of volumes")

# %%
# From images
# -----------
# An atlas makes time courses of images. It is an image of labels, or of weights with one volume for
# each parcel, in the same space as the data; the grids may differ. The TR comes from the header.
# These are a tiny image, in which every region is four voxels, and its atlas:

voxels = np.tile(tables[0].T[:, None, None, :], (1, 2, 2, 1)).astype(np.float32)
voxels += rng.standard_normal(voxels.shape).astype(np.float32)
image = nibabel.Nifti1Image(voxels, 2 * np.eye(4))
image.header.set_xyzt_units("mm", "sec")
image.header.set_zooms((2, 2, 2, TR))
nibabel.save(image, folder / "sub-01_bold.nii.gz")
regions = np.tile(np.arange(1, 13, dtype=np.int16)[:, None, None], (1, 2, 2))
nibabel.save(nibabel.Nifti1Image(regions, 2 * np.eye(4)), folder / "atlas.nii.gz")

raw = mne_hmm.parcellate_nifti(
    folder / "sub-01_bold.nii.gz", folder / "atlas.nii.gz", verbose="WARNING"
)
raw

# %%
# The result is a :class:`mne.io.RawArray`, which goes wherever recordings go. ``method="pca"``
# takes the first principal component of a parcel's voxels instead of their mean. `fit_hmm` does it
# on the way, too: ``fit_hmm("sub-01_bold.nii.gz", 3, atlas="atlas.nii.gz",
# preparation=preparation)``.
#
# Recordings of one list must have the same TR, since nothing is resampled. Where TRs differ,
# ``Preparation.standardized(sfreq=...)`` brings all to one rate.
#
# Short recordings
# ----------------
# Toolboxes that train on windows of a fixed length, such as osl-dynamics, advise short sequences
# for fMRI, as a recording has only a few hundred volumes, and what does not fill a window is lost.
# That advice falls away here: each recording is one chain from its first volume to its last,
# however short. Lengths may differ within a list.
#
# What stays is that a few hundred volumes say little about a large covariance. Take few states,
# principal components, or weak `Priors`, which add what is believed beforehand. All of them are off
# unless they are asked for; ``"auto"`` is a weak one that fits the size of the problem. This is one
# person alone:

priors = mne_hmm.Priors(transitions="auto", covariances="auto")
alone = mne_hmm.fit_hmm(
    folder / "timeseries" / "sub-01.csv",
    3,
    preparation=preparation,
    sfreq=1 / TR,
    priors=priors,
    random_state=0,
)

# %%
# One person of many
# ------------------
# A model of many recordings says what their states have in common. Dual estimation gives each
# recording's own means and covariances of these states, in one pass:

for number, estimate in enumerate(hmm.dual_estimate(folder / "timeseries", sfreq=1 / TR), start=1):
    seconds = ", ".join(f"{weight:.0f}" for weight in estimate.weights)
    print(f"sub-{number:02d}: {seconds} s, covariances of shape {estimate.covariances.shape}")

# sphinx_gallery_thumbnail_number = 2
