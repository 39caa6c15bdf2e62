"""The code of the page on source estimates. The tests run it in an empty folder."""
# ruff: noqa: T201

# simulate
import mne
import numpy as np

import mne_hmm

labels = [
    mne.Label(np.arange(10 * k, 10 * k + 10), hemi="lh", name=f"area_{k}-lh", subject="sub-01")
    for k in range(8)
]


def simulated(seed):
    """Source estimates of eight areas of ten vertices each."""
    raw, _ = mne_hmm.simulate_raw(
        n_states=3, n_channels=8, duration=60.0, snr=4.0, mean_lifetime=0.4, random_state=3
    )
    noise = np.random.default_rng(seed).standard_normal((80, raw.n_times))
    sources = np.repeat(raw.get_data(), 10, axis=0)
    sources += 0.3 * sources.std() * noise
    vertices = [np.arange(80), np.arange(0)]
    return mne.SourceEstimate(sources, vertices, tmin=0.0, tstep=1 / 250, subject="sub-01")


stc = simulated(seed=0)
other_stc = simulated(seed=1)
preparation = mne_hmm.Preparation(n_components=20)

# one call
hmm = mne_hmm.fit_hmm(stc, 3, atlas=labels, preparation=preparation, random_state=0)
states = hmm.predict(stc)

# parcels
parcels = mne_hmm.parcellate(stc, labels)
parcels.save("sub-01_parc-raw.fif", overwrite=True)

# pieces
pieces = (stc.copy().crop(start, start + 2.0, include_tmax=False) for start in range(0, 60, 2))
same_parcels = mne_hmm.parcellate(pieces, labels)

# signs
aligned = mne_hmm.align_signs([parcels, mne_hmm.parcellate(other_stc, labels)], random_state=0)
print(aligned)
hmm = mne_hmm.fit_hmm(aligned.raws, 3, preparation=preparation, random_state=0)
