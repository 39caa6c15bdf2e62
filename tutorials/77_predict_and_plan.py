"""
.. _predict_and_plan:

Planning a study, and predicting from states
============================================

Find out how long recordings have to be, whether a model holds for new people, and who is who.

How many states there are is one question (:ref:`how_many_states`). Here come those before and
after it: what a study can show at all, and what states of one recording say about the person.
"""

# %%
# Simulations
# -----------
# `simulate_raw` makes recordings whose states are known. The quickest way is a preset, with
# networks by name. Here are ten seconds of an EEG at rest:

import matplotlib.pyplot as plt
import mne
import numpy as np
from scipy.stats import ttest_ind
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mne_hmm
from mne_hmm.sklearn import HMMTransformer

mne.set_log_level("WARNING")
raw, states = mne_hmm.simulate_raw(preset="resting-eeg", duration=10.0, random_state=0)
states.plot_with_data(raw, picks=["Fz", "Cz", "Pz", "O1", "Oz", "O2"])

# %%
# Or say what the states of your study are: how long they last, how much they are on, how fast they
# oscillate and in which channels. Three states of eight parcels, the last of them rare:

design = {
    "mean_lifetime": [0.4, 0.3, 0.2],
    "frequencies": [10.0, 20.0, 5.0],
    "patterns": np.kron(np.eye(3), np.ones(3))[:, :8] + 0.2,
    "snr": 4.0,
}


def simulate(occupancy, duration, random_state):
    """Simulate a person whose states are on for these shares of the time."""
    return mne_hmm.simulate_raw(
        **design, occupancy=occupancy, duration=duration, random_state=random_state
    )[0]


preparation = mne_hmm.Preparation(n_components=10)
control, patient = [0.45, 0.40, 0.15], [0.40, 0.35, 0.25]
raw = simulate(control, 90.0, random_state=0)
hmm = mne_hmm.fit_hmm(raw, 3, preparation=preparation, refine=False, random_state=0)
hmm.predict(raw).statistics()

# %%
# How long must recordings be?
# ----------------------------
# Recordings end, and so what they show of a state is more or less by chance. The parametric
# bootstrap simulates the states of a model many times over, and tells how far occupancies and
# lifetimes are from the truth in recordings of some length:

minutes = [1, 2, 5, 10, 20]
found = {m: mne_hmm.bootstrap_statistics(hmm, 60.0 * m, random_state=0) for m in minutes}
print(found[5])

fig, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for number, name in enumerate(hmm.state_names):
    low, high = np.array([found[m].occupancy_interval[:, number] for m in minutes]).T
    ax.fill_between(minutes, low, high, alpha=0.3, label=name)
    ax.plot(minutes, [found[m].fractional_occupancy[number] for m in minutes])
ax.set(xscale="log", xticks=minutes, xticklabels=minutes, xlabel="Minutes", ylabel="Occupancy")
ax.legend()

# %%
# Four times the data, half the width. With ``decode=True`` data are simulated, too, and states are
# found in them, so that visits count which are too short to be seen.
#
# How many people?
# ----------------
# Each simulation is a recording of its own, so simulations of two models are two groups. The second
# stays longer in its last state. How often does a t-test see that, with five minutes each?

other = hmm.copy()
rare = int(hmm.predict(raw).statistics().fractional_occupancy.argmin())
leave = 1 - hmm.transition_matrix_[rare, rare]
other.transition_matrix_[rare] *= 0.8  # left less often ...
other.transition_matrix_[rare, rare] = 1 - 0.8 * leave  # ... by a fifth

groups = [
    mne_hmm.bootstrap_statistics(one, 300.0, n_boot=2000, random_state=seed)
    for seed, one in enumerate((hmm, other))
]
rng = np.random.default_rng(0)
between = 0.03  # standard deviation between people, from what is known of them
for n_people in (5, 10, 20, 40):
    draws = [
        rng.choice(one.simulated_occupancy[:, rare], (500, n_people))
        + between * rng.standard_normal((500, n_people))
        for one in groups
    ]
    power = np.mean(ttest_ind(*draws, axis=1).pvalue < 0.05)
    print(f"{n_people:3d} people in each group: power {power:.2f}")

# %%
# How much people differ by themselves is the number that decides, and no simulation knows it: take
# it from a study that is there.
#
# Does the model hold for new people?
# -----------------------------------
# Twelve people of two groups. `cross_validate` trains on all but one fold, and asks how well the
# model describes those whom it has not seen. ``group`` keeps recordings of one person together;
# here everybody has one.

y = np.repeat(["control", "patient"], 6)
raws = [
    simulate(control if label == "control" else patient, 40.0, random_state=100 + number)
    for number, label in enumerate(y)
]
prepared = mne_hmm.prepare(raws, preparation)
mne_hmm.cross_validate(prepared, 3, n_folds=3, refine=False, n_init=1, random_state=0)

# %%
# Held-out evidence is near minus the free energy of the training data, so little is overfitted, and
# states of the folds agree: they do not hang on a few people.
#
# Who is who?
# -----------
# `mne_hmm.sklearn.HMMTransformer` makes a row of numbers of each recording, for anything that
# scikit-learn has. Within a pipeline the model is trained anew in each fold, on the training
# recordings alone. That matters: a model that has seen the people it is tested on knows them.

classifier = make_pipeline(
    HMMTransformer(
        3,
        features=("occupancy", "lifetimes"),
        preparation=preparation,
        refine=False,
        n_init=1,
        random_state=0,
    ),
    StandardScaler(),
    LogisticRegression(),
)
folds = StratifiedKFold(3, shuffle=True, random_state=0)
scores = cross_val_score(classifier, raws, y, cv=folds)
print(f"{scores.mean():.0%} of people are classified right (50 % by chance)")

# %%
# What did it go by?

classifier.fit(raws, y)
names = classifier[0].get_feature_names_out()
for name, weight in zip(names, classifier[-1].coef_[0], strict=True):
    print(f"{name:20s} {weight:+.2f}")

# %%
# - ``features`` may also be ``"transitions"``, and ``"covariances"``: what the states themselves
#   look like in this recording. These are many numbers; with few people they cost more than they
#   bring.
# - Recordings of one person belong into one fold, by ``GroupKFold`` and ``groups=``.
# - A published model, or one of other people, is given as ``HMMTransformer(hmm=...)``. Nothing is
#   trained then, and folds are quick.
# - ``PreparedData`` are indexed as lists are, so ``cross_val_score(classifier, prepared, y)`` works
#   (without ``preparation=``) and prepares once. Its components know all recordings, but no labels.
# - Twelve people are an example. Shuffle labels with
#   :func:`sklearn.model_selection.permutation_test_score` before you believe any number.

# sphinx_gallery_thumbnail_number = 2
