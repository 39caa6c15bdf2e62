"""The code of the page on spectra, networks and groups. The tests run it in an empty folder."""
# ruff: noqa: T201

# model
import mne

import mne_hmm

raw, _ = mne_hmm.simulate_raw(n_states=3, n_channels=8, duration=60.0, snr=4.0, random_state=3)
raws = [raw.copy().crop(start, start + 14.9) for start in (0, 15, 30, 45)]
preparation = mne_hmm.Preparation(n_components=20)
hmm = mne_hmm.fit_hmm(raws, 3, preparation=preparation, refine=False, random_state=0)
states = hmm.predict(raws)

# spectra
spectra = mne_hmm.compute_state_spectra(raws, states)
print(spectra)
print(spectra.power(8, 13).shape)  # (n_states, n_channels), the mean density of the band
spectra.plot(show=False)
spectra.plot_coherence(show=False)
spectrum = spectra.to_spectrum("state_0")  # as raw.compute_psd() would give

# model alone
from_model = mne_hmm.compute_model_spectra(hmm)
autocovariance = mne_hmm.model_autocovariance(hmm)

# components
components = mne_hmm.find_spectral_components(spectra, n_components=2)
components.plot(show=False)
power = components.power(spectra)  # (n_components, n_states, n_channels)

# networks
networks = mne_hmm.coherence_networks(spectra, 8, 13, reference="mean")
strongest = networks.threshold(percentile=90)
strongest.plot_matrix(show=False)
strongest.plot_circle("state_0", show=False)
print(strongest.to_data_frame().head())

# maps
maps = mne_hmm.power_maps(spectra, 8, 13)  # change from the mean over states in percent

# statistics
table = mne_hmm.summarize_states(states)
mne_hmm.viz.plot_statistics(states, show=False)
mne_hmm.viz.plot_lifetimes(states, show=False)
contrast = mne_hmm.contrast_groups(
    table, groups=["a", "a", "b", "b"], measure="fractional_occupancy", random_state=0
)
print(contrast.to_data_frame())

# events
events = [mne.make_fixed_length_events(one, id=1, start=1.0, duration=1.1)[:11] for one in raws]
for one in events:
    one[1::2, 2] = 2
evoked = mne_hmm.compute_state_evoked(states, events, {"left": 1, "right": 2}, tmin=-0.2, tmax=0.6)
test = mne_hmm.cluster_test_state_evoked(
    states,
    events,
    {"left": 1, "right": 2},
    tmin=-0.2,
    tmax=0.6,
    unit="epoch",
    n_permutations=100,
    random_state=0,
)
print(test.to_data_frame())
test.plot(show=False)

# cycle
tinda = mne_hmm.compute_tinda(states)
print(tinda)
tinda.plot(show=False)

# people
estimates = hmm.dual_estimate(raws)
own = [mne_hmm.compute_model_spectra(hmm, dual=estimate) for estimate in estimates[:1]]

# report
report = hmm.report(raws, names=["sub-01", "sub-02", "sub-03", "sub-04"])
report.save("states.html", open_browser=False)
