"""
.. _spectra_and_maps:

State spectra, maps and networks
================================

What the states look like: power and coherence of each, on the head and between channels.

What is published comes after the fit. All of it needs only the model, the recordings and their
states.
"""

# %%
# Two minutes of EEG
# ------------------
# The first person of the EEG motor imagery data of PhysioNet, resting for a minute with eyes open
# and for a minute with eyes closed. Where these recordings are not on the machine, simulated ones
# with the same channels stand in for them; take the first branch alone to have them downloaded.

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import mne

import mne_hmm

mne.set_log_level("WARNING")
montage = mne.channels.make_standard_montage("biosemi32")  # half of the electrodes will do here

if mne.get_config("MNE_DATASETS_EEGBCI_PATH"):
    fnames = mne.datasets.eegbci.load_data(1, [1, 2], update_path=False)
    raws = [mne.io.read_raw_edf(fname, preload=True).crop(0, 60) for fname in fnames]
    for raw in raws:
        mne.datasets.eegbci.standardize(raw)
    names = ["eyes open", "eyes closed"]
else:
    both, _ = mne_hmm.simulate_raw(4, n_channels=32, duration=120.0, sfreq=160.0, random_state=0)
    both.rename_channels(dict(zip(both.ch_names, montage.ch_names, strict=True)))
    both.set_channel_types(dict.fromkeys(montage.ch_names, "eeg")).apply_function(
        lambda x: 1e-5 * x
    )
    raws = [both.copy().crop(0, 60, include_tmax=False), both.crop(60, None)]
    names = ["first half", "second half"]

for raw in raws:
    raw.pick(montage.ch_names).set_montage(montage)
    raw.filter(1.0, None).set_eeg_reference()  # slow drifts would leak into short visits

# %%
# A small model of both. At 160 Hz nine lags span what 15 do at 250 Hz.

preparation = mne_hmm.Preparation(sfreq=None, n_embeddings=9, n_components=30)
hmm = mne_hmm.fit_hmm(raws, 4, preparation=preparation, random_state=0)
states = hmm.predict(raws)
table = mne_hmm.summarize_states(states, names=names)
table.pivot(index="recording", columns="state", values="fractional_occupancy").round(2)

# %%
# Spectra
# -------
# Signals are taken as they were recorded, in their own units, multiplied by the probability of a
# state, and transformed in windows of two seconds with seven tapers :footcite:`VidaurreEtAl2016`.
# Windows lie within the spans that were modeled, and the sums are divided by what tapers and
# probabilities cover, so that no power is lost at the edges of visits.

spectra = mne_hmm.compute_state_spectra(raws, states)
print(spectra)
spectra.plot(picks=["O1", "Oz", "O2"])

# %%
# Coherence is there for every pair of channels; this is the mean over some of them:

spectra.plot_coherence(picks=["O1", "O2", "P3", "P4", "C3", "C4"])

# %%
# Numbers are arrays, and spectra go on as MNE-Python's objects:

print("alpha power, (states, channels):", spectra.power(8, 13).shape)
spectrum = spectra.to_spectrum("state_0")  # as raw.compute_psd() would give
spectrum

# %%
# Maps
# ----
# The power of a band on the head, as change from the mean over states:

maps = mne_hmm.power_maps(spectra, 8, 13)
maps.plot_topomap()

# %%
# In the real recordings, states that are on with eyes closed have alpha rhythm at the back of the
# head. Another is on with eyes open for some seconds, and has slow power at the front: blinks.
# Nobody has cleaned these recordings, and an artifact that comes again and again is a state as good
# as any.

# %%
# Maps of parcels go to a source estimate (:meth:`StateMaps.to_stc`), a brain image
# (:meth:`StateMaps.to_nifti`) or a glass brain, as in :ref:`source_estimates`. Models that learned
# means, as of fMRI, have `mean_maps`.
#
# Components instead of bands
# ---------------------------
# Bands need not be chosen by hand. Non-negative factorization finds the profiles that the coherence
# of all states and pairs is made of :footcite:`LeeSeung1999`. It needs scikit-learn
# (``pip install "mne-hmm[analysis]"``).

components = mne_hmm.find_spectral_components(spectra, n_components=2, random_state=0)
components.plot()
print("power in components, (components, states, channels):", components.power(spectra).shape)

# %%
# Networks
# --------
# Which channels are more coherent in a state than in the mean over states. Sensors are a poor place
# to ask this, as all of them see all of the brain; the imaginary part has nothing of what comes
# without any lag. Parcels without leakage (:ref:`source_estimates`) are better.

networks = mne_hmm.coherence_networks(spectra, 8, 13, kind="imaginary", reference="mean")
networks.plot_matrix()

# %%
# ``threshold`` keeps the strongest edges: a share of them, or, with ``"mixture"``, those that stand
# out as a group of their own, and none where there is no such group.

strongest = networks.threshold(percentile=97)
strongest.plot_circle("state_2")
strongest.to_data_frame().head()

# %%
# ``components=components, component=0`` takes a spectral component in place of a band, and
# ``plot_connectome`` draws networks of parcels in a glass brain.
#
# A model alone
# -------------
# A model that was shared without its data has spectra, too. They are those of the stationary
# process whose lagged covariances fit best to the covariances of the state
# :footcite:`MillerSnyder1987`. A few lags say less than two seconds do, so they are smoother than
# those of the data, and channels are z-scored in them.

from_model = mne_hmm.compute_model_spectra(hmm)
fig, axes = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained", sharex=True)
spectra.plot(picks=["Oz"], axes=axes[0])
from_model.plot(picks=["Oz"], axes=axes[1])
axes[0].set_title("of the recordings (Oz)")
axes[1].set_title("of the model (Oz)")

# %%
# Single recordings
# -----------------
# A model of many says what their states have in common. Dual estimation gives each recording its
# own covariances for the states of the group. ``compute_model_spectra(hmm, dual=estimate)`` makes
# its own spectra of them.

for name, estimate in zip(names, hmm.dual_estimate(raws), strict=True):
    print(
        f"{name}: {estimate.covariances.shape}, seconds in each state {estimate.weights.round(1)}"
    )

# %%
# A report
# --------
# The report is a page in HTML, made by :class:`mne.Report`: what was done, with every parameter and
# how much of the data was used, the course of training, statistics, spectra, maps and networks. It
# begins with the warnings that a reviewer would ask for: a state that lives in one recording, one
# that is hardly ever on, one that is tied to a session, and training that had not converged.
# `add_hmm_to_report` adds the same as a section to a report that is there.

folder = Path(mkdtemp())  # or a folder of yours
report = hmm.report(raws, names=names)
report.save(folder / "states.html", open_browser=False)
report

# %%
# References
# ----------
# .. footbibliography::

# sphinx_gallery_thumbnail_number = 3
