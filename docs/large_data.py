"""The code of the page on large and small data. The tests run it in an empty folder."""
# ruff: noqa: T201

# simulate
import mne_hmm

raw, _ = mne_hmm.simulate_raw(n_states=3, n_channels=12, duration=90.0, random_state=0)
for number in range(3):
    part = raw.copy().crop(30 * number, 30 * (number + 1), include_tmax=False)
    part.save(f"sub-{number:02}_parc-raw.fif")

# prepare
files = [f"sub-{number:02}_parc-raw.fif" for number in range(3)]
preparation = mne_hmm.Preparation(n_components=20)
prepared = mne_hmm.prepare(files, preparation, cache_dir="prepared")
print(prepared)

# train
prepared = mne_hmm.read_prepared("prepared")
hmm = mne_hmm.fit_hmm(
    prepared, n_states=3, checkpoint_dir="checkpoints", log_dir="logs", random_state=0
)
hmm.plot_history(show=False)

# batches
quick = mne_hmm.fit_hmm(prepared, n_states=3, batch_size=4, sequence_length=1000, random_state=0)
print(quick.free_energy_ - hmm.free_energy_)

# dual
for estimate in hmm.dual_estimate(prepared):
    print(estimate.weights, estimate.covariances.shape)

# small
priors = mne_hmm.Priors(transitions="auto", covariances="auto")
careful = mne_hmm.fit_hmm("sub-00_parc-raw.fif", 3, preparation=preparation, priors=priors)
print(careful)
