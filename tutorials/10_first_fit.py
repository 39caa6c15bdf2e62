"""
.. _first_fit:

A first model, step by step
===========================

Train a hidden Markov model, look at the course of training, save it, and see the states it found.

This is the counterpart of the tutorial "HMM: Training" of osl-dynamics. The steps have the same
names, so that those who know that tutorial find their way; `at the end`_ a table says what you
wrote there and what you write here.
"""

# %%
# Getting the data
# ----------------
# The data of that tutorial, one person of the Nottingham MEG UK partnership whose resting-state MEG
# was prepared with 38 parcels at 250 Hz, 15 lags and 80 principal components, are one call away
# where there is a network (21 MB, fetched once):
#
# .. code-block:: python
#
#     data = mne_hmm.datasets.fetch_osf("notts_meguk_giles_prepared_1_subject")
#     hmm = mne_hmm.fit_hmm(data, n_states=6, random_state=0)
#
# This page runs everywhere, so it simulates two minutes of 16 parcels instead. Six networks take
# turns, each for some 0.2 seconds. We know when which is on, and can check later what was found.
# The last 30 seconds are kept for later, as a second recording.

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np

import mne_hmm

folder = Path(mkdtemp())  # or a folder of yours

simulated, truth = mne_hmm.simulate_raw(6, n_channels=16, duration=120.0, random_state=0)
raw = simulated.copy().crop(0, 90, include_tmax=False)
other_raw = simulated.copy().crop(90, None)
true_labels = truth.labels[: raw.n_times]
raw

# %%
# Loading the data
# ----------------
# There is no class to put the data into. Raw objects, epochs, arrays of shape (channels, times),
# files, folders, patterns such as ``"data/*.npy"`` and lists of these are all taken as they are, by
# every function.
#
# These parcels are not prepared yet. A `Preparation` says what is to be done: by default 1-45 Hz,
# 250 Hz, 15 lags and 80 components. 16 parcels need fewer components; twice the number of parcels
# is a common choice. `fit_hmm` prepares by itself; `prepare` shows what it will see.

preparation = mne_hmm.Preparation(n_components=32)
prepared = mne_hmm.prepare(raw, preparation)

# %%
# Configuring, building, initializing and training
# ------------------------------------------------
# One call does all four. What is a ``Config`` elsewhere are the arguments of `fit_hmm`. The number
# of states is the only one that must be given: begin with something between 6 and 12, and see that
# what you report does not hang on it. The number of channels is known from the data. There is no
# sequence length, batch size, learning rate or number of epochs to choose, as every update is in
# closed form and uses all samples, in chains that are never cut.
#
# Initialization is part of the call, too. Training begins with the best of several starts
# (``n_init``). Then states are split and merged until that helps no more. So another seed gives the
# same states; with the same seed you get the same bits.

hmm = mne_hmm.fit_hmm(prepared, n_states=6, random_state=0)
hmm

# %%
# The summary has the parameters, and which of them were learned. With time-delay embedding the
# means are zero by construction, so they are not learned. ``learn_means`` and ``learn_covariances``
# choose otherwise.

hmm.summary()

# %%
# The course of training
# ----------------------
# ``hmm.history_`` has the free energy of every update, of every start and of every move that was
# tried: which state was split, and which two were merged. The free energy never rises.

hmm.plot_history()
print(f"Starts: {len(hmm.history_['starts'])}, moves tried: {len(hmm.history_['moves'])}")
print("Free energy of each update:", np.round(hmm.history_["free_energy"], 3))

# %%
# The states
# ----------
# `HMM.predict` gives the probability of each state at each sample of a recording, on the
# recording's own time axis: nothing is to be trimmed.

states = hmm.predict(raw)
states.plot_with_data(raw, start=20.0, duration=4.0, picks=raw.ch_names[:6])

# %%
# As we know the truth here, we can count how often each state found is on together with each true
# one. Every found state has a true one of its own.

together = np.array(
    [[np.mean(states.labels[true_labels == true] == k) for k in range(6)] for true in range(6)]
)
order = together.argmax(axis=1)
fig, ax = plt.subplots(layout="constrained")
image = ax.imshow(100 * together[:, order], vmin=0, vmax=100, cmap="Blues")
ax.set(xticks=range(6), xticklabels=order, xlabel="state found", ylabel="true state")
fig.colorbar(image, label="Share of the true state's samples (%)")

# %%
# The numbers that papers report:

print(states.statistics())

# %%
# How states follow each other is a part of the model. The diagonal is left out, as most of the time
# a state stays; the labels say for how long.

hmm.plot_transition_matrix()

# %%
# States are annotations, too, and so a part of the recording: MNE-Python shows them with
# ``raw.plot()``, and each visit can be an epoch.

raw.set_annotations(raw.annotations + hmm.annotations_[0])
raw.annotations.to_data_frame().head()

# %%
# Saving and loading
# ------------------
# A model is one HDF5 file. It holds the parameters, the preparation they belong to, the course of
# training and the annotations of the states, and no pickles: nothing is executed when it is read.

hmm.save(folder / "rest-hmm.h5")
hmm = mne_hmm.read_hmm(folder / "rest-hmm.h5")

# %%
# So the history needs no file of its own. The loaded model prepares other recordings as it did its
# own, and finds its channels by name:

other_states = hmm.predict(other_raw)
other_states

# %%
# The free energy
# ---------------
# Free energies compare models of the same data and the same preparation. Lower is better. They are
# in nats per sample, over all samples; that of the training data comes with the model, and any
# other recording can be asked for:

print(f"Training data: {hmm.free_energy_:.3f} nats per sample")
print(f"Other data:    {hmm.free_energy(other_raw):.3f} nats per sample")

# %%
# Large data
# ----------
# With ``prepare(..., cache_dir="prepared")`` recordings are prepared one at a time and kept in a
# folder of TFRecord files, which training then reads in every pass; :ref:`large_data` has more on
# that. For fMRI nothing changes but the preparation, ``Preparation.standardized()``; there is no
# sequence length to shorten (:ref:`fmri`).
#
# .. _at the end:
#
# You wrote this - you write that
# -------------------------------
#
# .. list-table::
#    :header-rows: 1
#    :widths: 46 54
#
#    * - osl-dynamics
#      - mne-hmm
#    * - ``data = Data("prepared_data")``
#      - nothing: folders, files and arrays are taken as they are
#    * - ``data.tde_pca(n_embeddings=15, n_pca_components=80)``, ``data.standardize()``
#      - ``preparation=Preparation(n_components=80)``
#    * - ``Config(n_states=6, n_channels=80, sequence_length=200, learn_means=False,
#        learn_covariances=True, batch_size=256, learning_rate=0.01, n_epochs=20)``
#      - ``n_states=6``
#    * - ``model = Model(config)``, ``model.summary()``
#      - ``hmm.summary()``, after ``fit_hmm``
#    * - ``osl_dynamics.utils.set_random_seed(0)``
#      - ``random_state=0``
#    * - ``model.random_state_time_course_initialization(data, n_epochs=1, n_init=3)``
#      - ``n_init=3`` (the default)
#    * - ``history = model.fit(data)``
#      - ``hmm = fit_hmm(data, n_states=6)``, ``hmm.history_``
#    * - ``alpha = model.get_alpha(data)``, ``data.trim_time_series(...)``
#      - ``states = hmm.predict(data)``, already on the times of the recording
#    * - ``data.save_tfrecord_dataset("tfrecords", sequence_length=200)``,
#        ``load_tfrecord_dataset("tfrecords", batch_size)``
#      - ``prepare(data, cache_dir="prepared")``, ``read_prepared("prepared")``
#    * - ``model.save("results/model")``
#      - ``hmm.save("rest-hmm.h5")``
#    * - ``model = load("results/model")``
#      - ``hmm = read_hmm("rest-hmm.h5")``
#    * - ``model.free_energy(data)``
#      - ``hmm.free_energy_``, ``hmm.free_energy(data)``
#    * - ``pickle.dump(history, ...)``
#      - nothing: it is in the file of the model
#
# :doc:`/coming_from` goes on from there.

# sphinx_gallery_thumbnail_number = 2
