"""
.. _pipeline:

In a preprocessing pipeline
===========================

From a raw recording to epochs of states, to files that others read, and to a command for clusters.

The package has no preprocessing of its own. What you do with MNE-Python, by hand or by
MNE-BIDS-Pipeline, stays as it is; the model comes after it.
"""

# %%
# A raw recording
# ---------------
# The first person of the EEG motor imagery data of PhysioNet, at rest with eyes open. A second
# recording, with eyes closed, comes in at the end. Where they are not on the machine, simulated
# ones with the same channels stand in for them, blinks and a second of muscles included; take the
# first branch alone to have them downloaded.

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import mne
import mne_bids
import numpy as np

import mne_hmm

mne.set_log_level("WARNING")
folder = Path(mkdtemp())  # or a folder of yours
montage = mne.channels.make_standard_montage("biosemi32")  # half of the electrodes will do here

if mne.get_config("MNE_DATASETS_EEGBCI_PATH"):
    fnames = mne.datasets.eegbci.load_data(1, [1, 2], update_path=False)
    raws = [mne.io.read_raw_edf(fname, preload=True).crop(0, 60) for fname in fnames]
    for raw in raws:
        mne.datasets.eegbci.standardize(raw)
else:
    rng = np.random.default_rng(0)
    whole, _ = mne_hmm.simulate_raw(4, n_channels=32, duration=120.0, sfreq=160.0, random_state=0)
    whole.rename_channels(dict(zip(whole.ch_names, montage.ch_names, strict=True)))
    whole.set_channel_types(dict.fromkeys(montage.ch_names, "eeg"), on_unit_change="ignore")
    since_blink = whole.times % 4.3 - 0.3  # seconds
    blinks = 15 * np.exp(-((since_blink / 0.1) ** 2))
    whole.apply_function(lambda x: x + blinks, picks=["Fp1", "Fp2"])
    whole.apply_function(lambda x: x + blinks / 3, picks=["AF3", "AF4"])
    burst = 8 * (np.abs(whole.times - 30.5) < 0.5)
    whole.apply_function(lambda x: 1e-5 * (x + burst * rng.standard_normal(len(x))), picks="eeg")
    raws = [whole.copy().crop(0, 60, include_tmax=False), whole.copy().crop(60, None)]

for raw in raws:
    raw.pick(montage.ch_names).set_montage(montage).set_meas_date(0)
    raw.filter(1.0, None).set_eeg_reference()
raw, new_raw = raws
raw

# %%
# Bad segments
# ------------
# Annotators in ``mne.preprocessing`` find them, or you do in ``raw.plot()``. What is annotated
# as ``BAD...`` is left out of training, and nothing reaches over the gap. Cut nothing out: the
# model needs to know where gaps are. The usual band for muscles, 110-140 Hz, is beyond the rate of
# these recordings.


def annotate_bad(raw):
    """Annotate muscles; of a recording of yours, also what else is wrong with it."""
    muscle, score = mne.preprocessing.annotate_muscle_zscore(
        raw, threshold=6.0, ch_type="eeg", min_length_good=0.2, filter_freq=(45, 75)
    )
    raw.set_annotations(raw.annotations + muscle)
    return score


score = annotate_bad(raw)
fig, ax = plt.subplots(figsize=(8, 2.5), layout="constrained")
ax.plot(raw.times, score, lw=0.6)
ax.axhline(6.0, color="k", lw=0.8, ls="--")
ax.set(xlabel="Time (s)", ylabel="Muscles (z-score)")
print(set(raw.annotations.description))

# %%
# Components, or not
# ------------------
# Blinks come again and again and look the same each time, so a model makes a state of them. There
# are two ways that are both fine: take them out before, as here, or leave them in and say which
# state is the blinks. What is not fine is to do the one in some recordings and the other in others.
# The more so as each component that is taken out lowers the rank of a recording.
#
# Independent components that go with the electrode above the left eye are taken out.

ica = mne.preprocessing.ICA(n_components=15, method="infomax", random_state=0).fit(raw)
ica.exclude, _ = ica.find_bads_eog(raw, ch_name="Fp1", threshold=0.8, measure="correlation")
clean_raw = ica.apply(raw.copy())

fig, ax = plt.subplots(figsize=(8, 2.5), layout="constrained")
first_ten = raw.times < 10
for inst, label in ((raw, "before"), (clean_raw, "after")):
    ax.plot(raw.times[first_ten], 1e6 * inst.get_data("Fp1")[0, first_ten], lw=0.8, label=label)
ax.set(xlabel="Time (s)", ylabel="Fp1 (µV)")
ax.legend()

# %%
# The model
# ---------
# It takes the cleaned recording as it is, bad segments included. `prepare` tells what it sees. The
# reference and the components that were taken out lower the rank. Training leaves these directions
# out by itself, and a warning says so; we know it already, so there is ``verbose="ERROR"``.

preparation = mne_hmm.Preparation(sfreq=None, n_embeddings=9, n_components=24)
prepared = mne_hmm.prepare(clean_raw, preparation, verbose="ERROR")
print(f"left out: {prepared.seconds_left_out[0]:.1f} seconds")
print(f"rank: {prepared.preparation.rank_} of {len(clean_raw.ch_names)} channels")

hmm = mne_hmm.fit_hmm(prepared, 4, random_state=0)
states = hmm.predict(clean_raw)
states.plot_with_data(clean_raw, start=24.0, duration=10.0, picks=["Fp1", "C3", "C4", "O1", "O2"])

# %%
# States are a part of the recording
# ----------------------------------
# As annotations they go where the recording goes: into its file, and into ``raw.plot()``. They do
# not begin with ``BAD``, so no other step leaves them out.

clean_raw.set_annotations(clean_raw.annotations + states.to_annotations())
clean_raw.save(folder / "sub-01_task-rest_proc-states_raw.fif")

read_raw = mne.io.read_raw_fif(folder / "sub-01_task-rest_proc-states_raw.fif", preload=True)
read_raw.annotations.count()

# %%
# Whoever has the file can make epochs of them, without this package.

events, event_id = mne.events_from_annotations(read_raw, regexp="^hmm/")
epochs = mne.Epochs(read_raw, events, event_id, tmin=0.0, tmax=0.5, baseline=None, preload=True)
for name in sorted(event_id):
    print(f"{name}: {len(epochs[name])} epochs")

# %%
# A model goes to new recordings
# ------------------------------
# A model file has the preparation in it, with filter, channels and components. So there is nothing
# to set for a new recording, but it should have been cleaned in the same way.

hmm.save(folder / "rest-hmm.h5")

annotate_bad(new_raw)
ica.apply(new_raw)
new_states = mne_hmm.read_hmm(folder / "rest-hmm.h5").predict(new_raw)

both = mne_hmm.summarize_states([states, new_states], names=["trained on", "new"])
both.pivot(index="recording", columns="state", values="fractional_occupancy").round(2)

# %%
# Data sets in BIDS
# -----------------
# Lists of files are one way to give many recordings, data sets in BIDS another. They need MNE-BIDS
# (``pip install "mne-hmm[bids]"``). Here is a small one, of three people and 20 seconds of 8
# channels each:

root = folder / "ds"
simulated, _ = mne_hmm.simulate_raw(3, n_channels=8, duration=60.0, snr=4.0, random_state=0)
simulated.set_channel_types(dict.fromkeys(simulated.ch_names, "mag"), on_unit_change="ignore")
simulated.apply_function(lambda x: 1e-13 * x).info["line_freq"] = 50
for number in range(3):
    part = simulated.copy().crop(20 * number, 20 * (number + 1), include_tmax=False)
    part.save(folder / "part_raw.fif", overwrite=True)
    path = mne_bids.BIDSPath(
        subject=f"{number + 1:02d}", task="rest", datatype="meg", suffix="meg", root=root
    )
    mne_bids.write_raw_bids(mne.io.read_raw_fif(folder / "part_raw.fif"), path)

# %%
# `find_bids_recordings` finds recordings of people, tasks, sessions and so on, in raw data as in
# derivatives. Its list goes wherever recordings go, so training is one line more.

paths = mne_hmm.find_bids_recordings(root, task="rest")
small = mne_hmm.fit_hmm(paths, 3, preparation=mne_hmm.Preparation(n_components=16), random_state=0)
print([path.basename for path in paths])

# %%
# And the states go back as derivatives: annotations and probabilities of each recording, the model,
# and its report if you have made one (``report=small.report(paths)``).

written = mne_hmm.write_bids_derivatives(
    small, small.predict(paths), paths, root / "derivatives" / "mne-hmm"
)
for fname in written:
    print(fname.relative_to(root))

# %%
# Tables of annotations can be read by any program, and by `read_bids_annotations`:

annotations = mne_hmm.read_bids_annotations(written[-3])
print(annotations)

# %%
# What MNE-BIDS-Pipeline has cleaned lies in its derivatives. Name the version:
#
# .. code-block:: python
#
#     paths = mne_hmm.find_bids_recordings(
#         "ds/derivatives/mne-bids-pipeline", processing="clean", suffix="raw"
#     )
#     hmm = mne_hmm.fit_hmm(paths, n_states=8, random_state=0)
#
# Its reports are :class:`mne.Report` objects. `add_hmm_to_report` adds a section on the model:
#
# .. code-block:: python
#
#     with mne.open_report("sub-01_task-rest_report.h5") as report:
#         mne_hmm.add_hmm_to_report(report, hmm, paths[0])
#
# From the command line
# ---------------------
# The same without a line of Python: train a model, apply it to new recordings, and make a page.
#
# .. code-block:: console
#
#     $ mne-hmm fit sub-*_raw.fif --n-states 8 -o out
#     $ mne-hmm apply out/hmm.h5 new_raw.fif -o new
#     $ mne-hmm report out
#
# A step of a workflow is such a line. With Snakemake it runs when a recording is newer than the
# model:
#
# .. code-block:: text
#
#     rule hmm:
#         input: expand("clean/sub-{subject}_raw.fif", subject=SUBJECTS)
#         output: "out/hmm.h5"
#         shell: "mne-hmm fit {input} --n-states 8 --seed 0 -o out --overwrite"
#
# After MNE-BIDS-Pipeline it is the next line of the same script:
#
# .. code-block:: console
#
#     $ mne_bids_pipeline --config config.py --steps preprocessing
#     $ cd ds/derivatives/mne-bids-pipeline
#     $ mne-hmm fit sub-*/eeg/*_proc-clean_raw.fif --n-states 8 -o ../mne-hmm

# sphinx_gallery_thumbnail_number = 3
