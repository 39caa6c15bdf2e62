"""The code of the page on fMRI. The tests run it in an empty folder."""
# ruff: noqa: T201

# simulate
from pathlib import Path

import nibabel
import numpy as np

import mne_hmm

Path("timeseries").mkdir()
header = ",".join(f"region_{k}" for k in range(12))
TR = 1.89
for number in range(4):
    raw, _ = mne_hmm.simulate_raw(
        n_states=3, n_channels=12, sfreq=100.0, duration=3.0, random_state=number
    )
    table = raw.get_data().T
    np.savetxt(f"timeseries/sub-{number + 1}.csv", table, header=header, comments="", delimiter=",")
voxels = np.repeat(table.T[:, None, None], 2, axis=1)  # 12 regions of 2 voxels
image = nibabel.Nifti1Image(voxels.astype(np.float32), 2 * np.eye(4))
image.header.set_xyzt_units("mm", "sec")
image.header.set_zooms((2, 2, 2, TR))
nibabel.save(image, "sub-4_bold.nii.gz")
regions = np.repeat(np.arange(1, 13, dtype=np.int16)[:, None, None], 2, axis=1)
nibabel.save(nibabel.Nifti1Image(regions, 2 * np.eye(4)), "atlas.nii.gz")

# train
preparation = mne_hmm.Preparation.standardized()
hmm = mne_hmm.fit_hmm("timeseries", 3, preparation=preparation, sfreq=1 / TR, random_state=0)
states = hmm.predict("timeseries", sfreq=1 / TR)
print(states[0].statistics())

# check
prepared = mne_hmm.prepare("timeseries/*.csv", preparation, sfreq=1 / TR)
print(prepared)

# images
hmm = mne_hmm.fit_hmm(
    "sub-4_bold.nii.gz", 3, atlas="atlas.nii.gz", preparation=preparation, random_state=0
)

# time courses
from_images = mne_hmm.parcellate_nifti("sub-4_bold.nii.gz", "atlas.nii.gz")
