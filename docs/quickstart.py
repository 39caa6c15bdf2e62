"""The code of the quick start page. The tests run it in an empty folder."""
# ruff: noqa: T201

# simulate
import mne

import mne_hmm

raw, truth = mne_hmm.simulate_raw(n_states=3, n_channels=12, duration=60.0, random_state=0)
raw.save("sub-01_parc-raw.fif")
print(raw)

# fit
preparation = mne_hmm.Preparation(n_components=20)
hmm = mne_hmm.fit_hmm("sub-01_parc-raw.fif", n_states=3, preparation=preparation, random_state=0)
print(hmm)

# annotate
raw = mne.io.read_raw_fif("sub-01_parc-raw.fif")
raw.set_annotations(raw.annotations + hmm.annotations_[0])
raw.save("sub-01_states-raw.fif")

# epochs
events, event_id = mne.events_from_annotations(raw)
epochs = mne.Epochs(
    raw, events, event_id, tmin=-0.1, tmax=0.3, baseline=None, picks="misc", preload=True
)
print(epochs["hmm/state_0"])

# save
hmm.save("rest-hmm.h5")
hmm = mne_hmm.read_hmm("rest-hmm.h5")

# predict
states = hmm.predict(raw)
print(states)
print(states.statistics())

# course
probabilities = states.probabilities  # (n_states, n_times), NaN where not modeled
path = hmm.predict(raw, method="viterbi")
print((path.labels == states.labels).mean())

# plot
hmm.plot_history(show=False)
states.plot(start=10.0, duration=5.0, show=False)
