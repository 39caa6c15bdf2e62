"""Make the reference arrays of this folder: small simulated data and what established packages compute from it.

Usage: python make_reference.py [FOLDER]      (default: the folder of this file)

Needs numpy, scipy, osl-dynamics (with TensorFlow, which it imports) and hmmlearn; README.md names the versions used.
Everything is simulated from one fixed seed. Arrays are samples-first: (n_samples, n_channels). The keys
of every file are described in README.md; check_reference.py recomputes them with numpy and scipy alone.
"""

import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from hmmlearn.hmm import GaussianHMM
from osl_dynamics.analysis import connectivity, post_hoc, power, spectral
from osl_dynamics.data import Data, processing
from osl_dynamics.utils.array_ops import get_one_hot
from scipy.signal import lfilter
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

SEED = 20240501
FS = 250.0
N_EMBEDDINGS = 15
OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent


def save(name, *packages, **arrays):
    """Write OUT/name with the arrays and a line on what made them."""
    made_by = ", ".join(f"{p} {version(p)}" for p in (*packages, "numpy", "scipy"))
    np.savez_compressed(OUT / name, made_by=np.array(made_by), **arrays)
    size = (OUT / name).stat().st_size
    assert size < 2_000_000, (name, size)
    print(f"{name}: {size / 1000:.0f} kB; {made_by}")


# --------------------------------------------------------------------------------------------- simulation


def oscillation(rng, n_samples, freq, radius=0.96):
    """A noise-driven oscillator (an AR(2) process) of unit variance."""
    w = 2 * np.pi * freq / FS
    x = lfilter([1], [1, -2 * radius * np.cos(w), radius**2], rng.standard_normal(n_samples))
    return x / x.std()


def sticky_path(rng, n_samples, n_states, mean_visit, first=0):
    """Visits of random length to random states; no state follows itself."""
    path, t, state = np.empty(n_samples, int), 0, first
    while t < n_samples:
        visit = 5 + rng.geometric(1 / mean_visit)
        path[t : t + visit] = state
        t += visit
        state = (state + rng.integers(1, n_states)) % n_states
    return path


def random_covariances(rng, n_states, n_dims):
    """Well-conditioned covariances that differ enough to tell states apart, and little enough to leave doubt."""
    mix = 0.6 * rng.standard_normal((n_states, n_dims, n_dims)) / np.sqrt(n_dims)
    return mix @ mix.transpose(0, 2, 1) + 0.5 * np.eye(n_dims)


def sample_hmm(rng, n_samples, initial, transition, means, covariances):
    """One chain of states and observations."""
    chol = np.linalg.cholesky(covariances)
    states = np.empty(n_samples, int)
    for t in range(n_samples):
        states[t] = rng.choice(len(initial), p=initial if t == 0 else transition[states[t - 1]])
    noise = rng.standard_normal((n_samples, means.shape[1]))
    return states, means[states] + np.einsum("tij,tj->ti", chol[states], noise)


# ------------------------------------------------------- forward-backward and EM in the log domain, float64


def log_densities(x, means, covariances):
    return np.stack(
        [multivariate_normal(m, c).logpdf(x) for m, c in zip(means, covariances)], axis=1
    )


def log_forward_backward(log_b, initial, transition):
    """Exact log-likelihood, posteriors (T, K) and the sum over time of the pairwise posteriors (K, K)."""
    with np.errstate(divide="ignore"):  # log(0) = -inf is right for a probability of zero
        log_pi, log_p = np.log(initial), np.log(transition)
    n_samples, n_states = log_b.shape
    log_a, log_beta = np.empty_like(log_b), np.zeros_like(log_b)
    log_a[0] = log_pi + log_b[0]
    for t in range(1, n_samples):
        log_a[t] = logsumexp(log_a[t - 1][:, None] + log_p, axis=0) + log_b[t]
    for t in range(n_samples - 2, -1, -1):
        log_beta[t] = logsumexp(log_p + log_b[t + 1] + log_beta[t + 1], axis=1)
    # every sample's posterior sums to one: normalizing each by its own sum, not by the evidence, keeps the
    # rounding of large logarithms (5000 is only known to 1e-12) out of the result
    log_gamma = log_a + log_beta
    gamma = np.exp(log_gamma - logsumexp(log_gamma, axis=1, keepdims=True))
    log_xi = log_a[:-1, :, None] + log_p + (log_b[1:] + log_beta[1:])[:, None, :]
    xi = np.exp(log_xi - logsumexp(log_xi, axis=(1, 2), keepdims=True))
    return logsumexp(log_a[-1]), gamma, xi.sum(0)


def em(x, lengths, initial, transition, means, covariances, n_iter, learn_means):
    """Plain maximum-likelihood EM; history[i] is the log-likelihood before update i, history[n_iter] the last one."""
    chains = np.split(np.arange(len(x)), np.cumsum(lengths)[:-1])
    history = []
    for i in range(n_iter + 1):
        log_b = log_densities(x, means, covariances)
        results = [log_forward_backward(log_b[c], initial, transition) for c in chains]
        history.append(sum(r[0] for r in results))
        if i == n_iter:
            break
        gamma = np.concatenate([r[1] for r in results])
        xi = sum(r[2] for r in results)
        initial = np.mean([r[1][0] for r in results], axis=0)
        transition = xi / xi.sum(1, keepdims=True)
        if learn_means:
            means = gamma.T @ x / gamma.sum(0)[:, None]
        covariances = np.stack(
            [((x - m).T * g) @ (x - m) / g.sum() for m, g in zip(means, gamma.T)]
        )
    return np.array(history), initial, transition, means, covariances


# ------------------------------------------------------------------------------------------------- the files


def make_embedding(rng):
    """Time-delay embedding, PCA over two recordings, projection and standardization per recording."""
    n_channels, lengths, freqs = 6, (3000, 2500), (4, 7, 10, 13, 20, 28, 37)
    mixing = (
        rng.standard_normal((len(freqs), n_channels)) * np.linspace(1.6, 0.6, len(freqs))[:, None]
    )
    x = []
    for n in lengths:
        sources = np.stack([oscillation(rng, n, f) for f in freqs], axis=1)
        y = sources @ mixing + 0.5 * rng.standard_normal((n, n_channels))
        gain, offset = np.exp(rng.uniform(-1, 1, n_channels)), rng.uniform(-3, 3, n_channels)
        x.append((y * gain + offset).astype(np.float32))  # osl-dynamics works in float32

    # An input whose entries name themselves (1000 * channel + sample) shows the order of the columns
    order_input = 1000 * np.arange(3)[None, :] + np.arange(20)[:, None]
    order_output = processing.time_embed(order_input, N_EMBEDDINGS)

    with tempfile.TemporaryDirectory() as folder:
        data = Data(x, store_dir=folder)
        data.tde_pca(n_embeddings=N_EMBEDDINGS, n_pca_components=20)
        projected = [a.copy() for a in data.time_series()]
        data.standardize()
        standardized = [a.copy() for a in data.time_series()]
        whitened = Data(x, store_dir=folder).tde_pca(
            n_embeddings=N_EMBEDDINGS, n_pca_components=20, whiten=True
        )

    embedded = processing.time_embed(processing.standardize(x[0]), N_EMBEDDINGS)
    save(
        "embedding.npz", "osl-dynamics",
        sfreq=FS, n_embeddings=N_EMBEDDINGS, x_0=x[0], x_1=x[1],
        order_input=order_input, order_output=order_output, embedded_0_first_rows=embedded[:30].copy(),
        pca_components=data.pca_components, pca_components_whitened=whitened.pca_components,
        explained_variance=float(data.explained_variance),
        projected_0=projected[0], projected_1=projected[1],
        standardized_0=standardized[0], standardized_1=standardized[1],
    )  # fmt: skip


def make_posterior(rng):
    """Posteriors, Viterbi path and likelihood of known parameters; nearly forbidden transitions included."""
    n_states, n_dims, n_samples = 4, 5, 700
    initial = np.array([0.7, 0.2, 0.1 - 1e-9, 1e-9])
    transition = np.array(
        [
            [0.95, 0.04, 0.01 - 1e-8, 1e-8],
            [0.02, 0.93, 0.03, 0.02],
            [1e-12, 0.05, 0.90, 0.05 - 1e-12],
            [0.06, 1e-6, 0.02 - 1e-6, 0.92],
        ]
    )
    means = 0.4 * rng.standard_normal((n_states, n_dims))
    covariances = random_covariances(rng, n_states, n_dims)
    states, x = sample_hmm(rng, n_samples, initial, transition, means, covariances)

    model = GaussianHMM(n_states, "full")
    model.startprob_, model.transmat_, model.means_, model.covars_ = (
        initial,
        transition,
        means,
        covariances,
    )
    arrays = {}
    # the whole sequence as one chain, then as three chains that each start afresh from the initial probabilities
    for suffix, lengths in (("", [700]), ("_chains", [300, 250, 150])):
        log_likelihood, posterior = model.score_samples(x, lengths)
        viterbi_log_prob, viterbi = model.decode(x, lengths, algorithm="viterbi")
        log_b = log_densities(x, means, covariances)
        chains = np.split(np.arange(n_samples), np.cumsum(lengths)[:-1])
        xi_sum = sum(log_forward_backward(log_b[c], initial, transition)[2] for c in chains)
        arrays |= {
            f"lengths{suffix}": np.array(lengths), f"log_likelihood{suffix}": log_likelihood,
            f"posterior{suffix}": posterior, f"viterbi{suffix}": viterbi,
            f"viterbi_log_prob{suffix}": viterbi_log_prob, f"xi_sum{suffix}": xi_sum,
        }  # fmt: skip
    save(
        "posterior.npz", "hmmlearn",
        initial_probs=initial, transition_matrix=transition, means=means, covariances=covariances,
        x=x, states=states, log_densities=log_densities(x, means, covariances), **arrays,
    )  # fmt: skip


def make_em(rng):
    """Fifteen iterations of maximum-likelihood EM from a stated start."""
    n_states, n_dims, lengths, n_iter = 3, 4, [600, 500, 400], 15
    true = {
        "initial": np.array([0.5, 0.3, 0.2]),
        "transition": np.array([[0.94, 0.04, 0.02], [0.03, 0.95, 0.02], [0.05, 0.05, 0.90]]),
        "means": 0.6 * rng.standard_normal((n_states, n_dims)),
        "covariances": random_covariances(rng, n_states, n_dims),
    }
    x = np.concatenate([sample_hmm(rng, n, *true.values())[1] for n in lengths])

    # the start: equal initial probabilities, a sticky chain, means and covariances away from the truth
    initial = np.full(n_states, 1 / n_states)
    transition = np.full((n_states, n_states), 0.05) + 0.85 * np.eye(n_states)
    means = true["means"] + 0.4 * rng.standard_normal((n_states, n_dims))
    covariances = 0.5 * true["covariances"] + 0.5 * np.cov(x.T)

    # hmmlearn adds priors unless told otherwise: covars_prior defaults to 0.01 on every entry of the covariance
    # update (zero here), means_weight to 0, the Dirichlet priors to 1 (flat). min_covar only matters when hmmlearn
    # initializes covariances itself; zero states the intent. tol=-inf runs all iterations.
    model = GaussianHMM(
        n_states, "full", n_iter=n_iter, tol=-np.inf, init_params="", params="stmc", min_covar=0,
        startprob_prior=1, transmat_prior=1, means_prior=0, means_weight=0, covars_prior=0, covars_weight=0,
    )  # fmt: skip
    model.startprob_, model.transmat_, model.means_, model.covars_ = (
        initial,
        transition,
        means,
        covariances,
    )
    model.fit(x, lengths)
    history = np.array([*model.monitor_.history, model.score(x, lengths)])

    # Zero means, held fixed: hmmlearn 0.3.3 divides by zero when "m" is not in params, so this uses em() above,
    # after making sure that it walks the same path as hmmlearn where both apply
    own = em(x, lengths, initial, transition, means, covariances, n_iter, learn_means=True)
    np.testing.assert_allclose(own[0], history, rtol=1e-12)
    np.testing.assert_allclose(own[4], model.covars_, rtol=1e-9, atol=1e-12)
    zero = em(
        x,
        lengths,
        initial,
        transition,
        np.zeros_like(means),
        covariances,
        n_iter,
        learn_means=False,
    )
    save(
        "em.npz", "hmmlearn",
        x=x, lengths=np.array(lengths), n_iter=n_iter,
        start_initial_probs=initial, start_transition_matrix=transition,
        start_means=means, start_covariances=covariances,
        log_likelihood=history, initial_probs=model.startprob_, transition_matrix=model.transmat_,
        means=model.means_, covariances=model.covars_,
        zero_mean_log_likelihood=zero[0], zero_mean_initial_probs=zero[1],
        zero_mean_transition_matrix=zero[2], zero_mean_covariances=zero[4],
    )  # fmt: skip


def two_state_oscillations(rng, n_samples=20000):
    """Four channels; state 0 has 10 Hz shared by channels 0 and 1, state 1 has 22 Hz shared by channels 2 and 3."""
    path = sticky_path(rng, n_samples, 2, mean_visit=200)
    x = 0.8 * rng.standard_normal((n_samples, 4))
    x += 0.5 * oscillation(rng, n_samples, 6)[:, None] * [1, -1, 1, 0.5]
    alpha, beta = oscillation(rng, n_samples, 10), oscillation(rng, n_samples, 22)
    x[:, 0] += 1.5 * alpha * (path == 0)
    x[:, 1] += 1.2 * np.roll(alpha, 4) * (path == 0)
    x[:, 2] += 1.3 * beta * (path == 1)
    x[:, 3] -= 1.0 * np.roll(beta, 2) * (path == 1)
    x = x * [1, 20, 0.3, 5] + [0, 100, -2, 7]  # spectra are of standardized channels
    # probabilities: the path smoothed by a 25-sample centered moving average, rows summing to one
    one_hot = np.pad(np.eye(2)[path], ((12, 12), (0, 0)))
    gamma = np.lib.stride_tricks.sliding_window_view(one_hot, 25, axis=0).mean(-1)
    gamma /= gamma.sum(1, keepdims=True)
    return x.astype(np.float32), gamma.astype(np.float32)


def make_spectra(x, gamma):
    """Multitaper spectra of each state, and of the whole recording."""
    bands = np.array([[1, 4], [4, 8], [8, 13], [13, 30], [30, 45]], float)
    # float64 copies of the float32 inputs, so that only the peer's own complex64 storage limits precision
    kwargs = {"data": x.astype(float), "sampling_frequency": FS, "frequency_range": [1, 45]}
    alpha = gamma.astype(float)
    f, psd, coh = spectral.multitaper_spectra(**kwargs, alpha=alpha)
    _, cpsd = spectral.multitaper_spectra(**kwargs, alpha=alpha, calc_cpsd=True)
    _, static_psd, static_coh = spectral.multitaper_spectra(**kwargs)
    by_band = {
        "band_power_mean": [
            power.variance_from_spectra(f, psd, frequency_range=b, method="mean") for b in bands
        ],
        "band_power_integral": [
            power.variance_from_spectra(f, psd, frequency_range=b, method="integral") for b in bands
        ],
        "band_coherence": [
            connectivity.mean_coherence_from_spectra(f, coh, frequency_range=b) for b in bands
        ],
    }
    save(
        "spectra.npz", "osl-dynamics",
        sfreq=FS, x=x, gamma=gamma, f=f, psd=psd, coh=coh, cpsd=cpsd,
        static_psd=static_psd, static_coh=static_coh,
        bands=bands, **{k: np.array(v) for k, v in by_band.items()},
    )  # fmt: skip


def make_statistics(rng):
    """Summary statistics of two state paths, with the awkward cases in them."""
    labels_0 = sticky_path(rng, 3000, 4, mean_visit=30, first=1)  # starts and ends inside a visit
    labels_1 = sticky_path(rng, 2200, 2, mean_visit=40)  # state 3 never visited,
    labels_1[900:975] = 2  # state 2 visited once: no interval
    paths = [get_one_hot(labels, n_states=4) for labels in (labels_0, labels_1)]
    mean_lifetime, std_lifetime = post_hoc.lifetime_statistics(paths, FS)
    mean_interval, std_interval = post_hoc.interval_statistics(paths, FS)
    save(
        "statistics.npz", "osl-dynamics",
        sfreq=FS, labels_0=labels_0, labels_1=labels_1,
        fractional_occupancy=post_hoc.fractional_occupancies(paths),
        mean_lifetime=mean_lifetime, std_lifetime=std_lifetime,
        mean_interval=mean_interval, std_interval=std_interval,
        switching_rate=post_hoc.switching_rates(paths, FS),
    )  # fmt: skip


def make_tde_covariance(x, gamma):
    """State covariances of embedded, projected data, mapped back to channels and lags."""
    with tempfile.TemporaryDirectory() as folder:
        data = Data(x, store_dir=folder)
        data.tde_pca(n_embeddings=N_EMBEDDINGS, n_pca_components=20)
        data.standardize()
        prepared = data.time_series().astype(float)
    half = N_EMBEDDINGS // 2
    g = gamma[half : len(gamma) - half].astype(
        float
    )  # row t of the prepared data is sample t + half
    covariances = np.stack([(prepared.T * w) @ prepared / w.sum() for w in g.T])  # zero-mean states
    components = data.pca_components
    raw = post_hoc.raw_covariances(covariances, N_EMBEDDINGS, components, zero_lag=True)
    tau, acf = post_hoc.autocorr_from_tde_cov(covariances, N_EMBEDDINGS, components, FS)
    save(
        "tde_covariance.npz", "osl-dynamics",
        sfreq=FS, n_embeddings=N_EMBEDDINGS, covariances=covariances, pca_components=components,
        embedded_covariances=post_hoc.reverse_pca(covariances, components),
        raw_covariances_zero_lag=raw, channel_power=np.diagonal(raw, axis1=1, axis2=2).copy(),
        raw_covariances_lag_mean=post_hoc.raw_covariances(covariances, N_EMBEDDINGS, components, zero_lag=False),
        tau=tau, autocovariance=acf,
    )  # fmt: skip


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    # a stream of random numbers per file, so that changing one leaves the others as they are
    streams = [np.random.default_rng([SEED, i]) for i in range(5)]
    make_embedding(streams[0])
    make_posterior(streams[1])
    make_em(streams[2])
    x, gamma = two_state_oscillations(streams[3])
    make_spectra(x, gamma)
    make_statistics(streams[4])
    make_tde_covariance(x, gamma)
