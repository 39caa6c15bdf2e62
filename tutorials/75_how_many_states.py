"""
.. _how_many_states:

How many states?
================

Choose a number of states by what can be said of each, and know what to write about the choice.

There is no true number of states in a brain. More states describe the same data in finer steps, and
the question is from where on the steps say more about the data at hand than about brains.
"""

# %%
# Data with four states
# ---------------------
# One minute of 8 parcels is enough for this page, with four states that take turns. It is prepared
# once, and all fits share what comes.

import matplotlib.pyplot as plt
import mne
import numpy as np

import mne_hmm

mne.set_log_level("WARNING")
raw, truth = mne_hmm.simulate_raw(4, n_channels=8, duration=60.0, random_state=0)
prepared = mne_hmm.prepare(raw, mne_hmm.Preparation(n_components=16))

# %%
# Many fits
# ---------
# `select_n_states` fits each number several times: to all data with other seeds, to all but one
# fold, and to each half. Folds are whole recordings where there are enough of them, or else long
# blocks, with a gap around what is held out. Here one start and a generous ``tol`` make it fast;
# with your data leave both as they are, and let ``checkpoint_dir`` keep the fits that are done.

selection = mne_hmm.select_n_states(
    prepared, range(2, 7), n_folds=3, n_repeats=3, n_init=1, tol=1e-3, random_state=0
)
selection.plot()

# %%
# What the panels say, one after another:
#
# - **Held-out log evidence**: how well recordings are described that the model has not seen. It
#   rises up to four states and falls after that. Differences are within folds, with their standard
#   error.
# - **Free energy** of the training data always wants more states: each of them has more parameters
#   to fit the same data with. It never chooses a number.
# - **Agreement**: whether the same states come again, in repeats with other seeds and in two halves
#   of the data. Repeats agree up to four states. Halves have less to say: 30 seconds are too few to
#   find four states twice, and that is worth knowing, too.
# - **Occupancy** of the weakest state: one that is hardly ever on describes an event, not a state.
# - **Information criteria** charge for parameters, but count neighboring samples as new ones each
#   time. With lags they are not, so here even BIC wants as many states as it can get.
#
# The same as a table:

table = selection.to_data_frame().set_index("n_states")
table[["free_energy", "held_out_below_best", "held_out_error", "repeats_agreement", "bic"]]

# %%
# A rule, and its reasons
# -----------------------
# The rule is that of one standard error :footcite:`BreimanEtAl1984`: the fewest states that are as
# good as the best on held-out data, among those that recur and are on. It can be asked to be
# stricter, as by ``recommend(min_agreement=0.8)``.

print(selection.recommend())

# %%
# In real data the held-out evidence often rises on and on, ever more slowly, as no brain is a
# hidden Markov model. The best is then the largest number that was tried, and the reasons say so.
# Agreement decides: take a number up to which the same states come again.
#
# Do runs agree?
# --------------
# Once there is a number, fit it with a few seeds. By default `fit_hmm` searches for the best
# optimum, and runs nearly always agree. Without the search, as here, they show how many ways there
# are to describe the data:

fits = {
    n_states: [
        mne_hmm.fit_hmm(prepared, n_states, refine=False, n_init=1, tol=1e-3, random_state=seed)
        for seed in range(3)
    ]
    for n_states in (4, 6)
}
for n_states, (first, second, _) in fits.items():
    agreement = first.agreement(second, prepared)
    print(f"{n_states} states: {agreement.share_alike:.0%} alike, kappa {agreement.kappa:.2f}")

# %%
# `compute_consensus` lines up more than two, and tells for each state in how many of them it comes
# again. With six states, some do not in all of them:

for hmms in fits.values():
    print(mne_hmm.compute_consensus(hmms, prepared), "\n")

# %%
# How sure is the model?
# ----------------------
# The entropy of the posterior is 0 where one state is certain, and ``log(n_states)`` where all are
# as probable. Here it is high where states change, and for short times:

hmm = min(fits[4], key=lambda one: one.free_energy_)
states = hmm.predict(raw)
fig, axes = plt.subplots(2, 1, figsize=(9, 4), layout="constrained", sharex=True)
states.plot(start=20.0, duration=5.0, axes=axes[0])
axes[1].plot(states.times, states.entropy, color="k")
axes[1].axhline(np.log(4), color="0.7", linestyle="--")
axes[1].set(xlabel="Time (s)", ylabel="Entropy (nats)", xlim=(20, 25))
print(f"Mean entropy: {np.nanmean(states.entropy):.3f} of at most {np.log(4):.3f} nats")

# %%
# A model that is sure need not be right. With lags each sample is seen many times, as if it were
# new, so the model is surer than it should be. Where the truth is known, as here, calibration
# compares what it says with how often it is right:

calibration = mne_hmm.compute_calibration(states, truth)
fig, ax = plt.subplots(figsize=(4, 4), layout="constrained")
ax.plot([0, 1], [0, 1], color="0.7", linestyle="--")
ax.plot(calibration.probability, calibration.share_right, "o-")
ax.set(xlabel="Probability of the state", ylabel="Share that is right", aspect="equal")
print(calibration)

# %%
# So a low entropy is no reason to choose a number of states.
#
# What to write in a paper
# ------------------------
# - The numbers that were tried, the folds (people, not samples), and how the number was chosen;
#   ``print(selection.recommend())`` has the words.
# - Agreement of repeats and of halves at that number, and in how many fits each state recurred.
# - That the main result stays with two states more or less. If it hangs on the number, say so.
# - That the number is a choice of resolution. "The brain has four states" is not a finding.
#
# For example: "Models with 2 to 6 states were compared by three-fold cross-validation. Held-out
# evidence was highest with 4, and three fits with other seeds agreed (kappa 0.98). We report 4
# states; results with 3 and 5 are in the supplement."
#
# References
# ----------
# .. footbibliography::

# sphinx_gallery_thumbnail_number = 1
