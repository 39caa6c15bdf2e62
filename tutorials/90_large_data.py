"""
.. _large_data:

Very large data and several machines
====================================

Train on more than memory holds, go on after an interruption, and share the work between machines.

The three need one folder and one argument each. This page does them with three short recordings.
"""

# %%
# More than memory holds
# ----------------------
# Recordings in files, as many as you like. With ``cache_dir`` they are read one at a time, and
# their features are kept in a folder of TFRecord files.

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt

import mne_hmm

folder = Path(mkdtemp())  # or a folder of yours
simulated, _ = mne_hmm.simulate_raw(3, n_channels=8, duration=90.0, snr=4.0, random_state=0)
fnames = [folder / f"sub-{number:02d}_parc-raw.fif" for number in (1, 2, 3)]
for number, fname in enumerate(fnames):
    part = simulated.copy().crop(30 * number, 30 * (number + 1), include_tmax=False)
    part.save(fname, verbose="WARNING")

preparation = mne_hmm.Preparation(n_components=16)
prepared = mne_hmm.prepare(fnames, preparation, cache_dir=folder / "prepared")

# %%
# A call that was interrupted goes on where it stopped when it is made again: recordings that are
# there are not read a second time. The folder belongs to that one call. Other recordings, or
# another preparation, are refused, so nothing is ever mixed.

for fname in sorted((folder / "prepared").rglob("*")):
    if fname.is_file():
        print(f"{fname.relative_to(folder)}: {fname.stat().st_size / 1e6:.1f} MB")

# %%
# Training out of a folder
# ------------------------
# `read_prepared` opens the folder without loading it. It goes wherever recordings go. `fit_hmm`
# reads one recording after another from it, in every pass, so memory does not grow with their
# number; the model is the same as with all of them in memory.
#
# With ``checkpoint_dir`` a training that was interrupted, by Ctrl-C or by a power cut, goes on
# where it stopped when the same call is made again, and ends with the same bits. With ``log_dir``
# the free energy can be watched in TensorBoard (``pip install tensorboard``, then ``tensorboard
# --logdir logs``).

prepared = mne_hmm.read_prepared(folder / "prepared")
hmm = mne_hmm.fit_hmm(
    prepared,
    n_states=3,
    checkpoint_dir=folder / "checkpoints",
    log_dir=folder / "logs",
    random_state=0,
)
hmm.plot_history()

# %%
# The checkpoints make a second call quick. Here all is done already, and what comes out is the
# same:

again = mne_hmm.fit_hmm(
    prepared, n_states=3, checkpoint_dir=folder / "checkpoints", random_state=0, verbose="WARNING"
)
print("same bits:", (again.covariances_ == hmm.covariances_).all())

# %%
# Fewer passes
# ------------
# A fit costs as much as some 80 to 130 passes over all data, most of them for the search for the
# best optimum. For very large data fewer will do, as the search is then on a part of the data, and
# updates may follow mini-batches of sequences first :footcite:`CappeMoulines2009`. Chains are cut
# for that, so ``sequence_length`` should be long against visits to states. Passes over whole chains
# finish the training, and all that is reported comes from them.

quick = mne_hmm.fit_hmm(prepared, n_states=3, batch_size=4, sequence_length=1000, random_state=0)
print(f"free energy differs by {abs(quick.free_energy_ - hmm.free_energy_):.6f} nats per sample")

# %%
# Each mini-batch has a free energy of its own, as some parts of a recording are harder to describe
# than others. Running sums over mini-batches even that out.

fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
ax.plot(quick.history_["batches"], ".-", label="mini-batches")
ax.axhline(hmm.free_energy_, color="k", lw=0.8, label="without mini-batches, at the end")
ax.set(xlabel="Mini-batch", ylabel="Free energy (nats per sample)")
ax.legend()

# %%
# Several devices, several machines
# ---------------------------------
# A machine with several GPUs needs one argument: ``strategy=tf.distribute.MirroredStrategy()``.
#
# Several machines run the same script. Each takes some of the recordings, and after each pass over
# them the sums of all are added up, so all have the same model at any time, to the bit. The script
# differs from the above in one line, and in that only the first machine writes the file:
#
# .. literalinclude:: ../train_on_several_machines.py
#    :language: python
#    :start-after: # workers
#
# The addresses come from the environment variable ``TF_CONFIG``, or from SLURM.
# :doc:`/several_machines` has the commands, and what happens if a worker is lost.
#
# References
# ----------
# .. footbibliography::
