"""Recompute every array of this folder in float64 with numpy and scipy alone, and print how far each one is.

Usage: python check_reference.py

The code doubles as a precise statement of the conventions in README.md. Each line gives the largest absolute
difference, the size of the array's largest entry, and the tolerance (a fraction of that size) it must meet.
"""

from itertools import permutations, product
from pathlib import Path

import numpy as np
from scipy.linalg import solve_triangular
from scipy.signal.windows import dpss

HERE = Path(__file__).resolve().parent


def compare(name, reference, own, tolerance):
    reference, own = np.asarray(reference), np.asarray(own)
    assert reference.shape == own.shape, (name, reference.shape, own.shape)
    difference, size = np.abs(reference - own).max(), np.abs(own).max()
    print(
        f"{name:42s} {reference.dtype!s:10s} diff {difference:.1e}  size {size:.1e}  tolerance {tolerance:.0e}"
    )
    assert difference <= tolerance * size, name


def standardize(x):
    return (x - x.mean(0)) / x.std(0)


def embed(x, n):
    """Column c * n + j of row t is channel c at sample t + n - 1 - j: channels outside, latest lag first."""
    rows = len(x) - n + 1
    return np.stack(
        [x[n - 1 - j : n - 1 - j + rows, c] for c in range(x.shape[1]) for j in range(n)], axis=1
    )


def check_embedding():
    q = np.load(HERE / "embedding.npz")
    n = int(q["n_embeddings"])
    compare("embedding order_output", q["order_output"], embed(q["order_input"], n), 0)
    x = [q["x_0"].astype(float), q["x_1"].astype(float)]
    e = [embed(standardize(a), n) for a in x]
    compare("embedding embedded_0_first_rows", q["embedded_0_first_rows"], e[0][:30], 1e-6)
    products = sum(a.T @ a for a in e)  # not centered again, not divided by the number of samples
    values, vectors = np.linalg.eigh(products)
    values, vectors = values[::-1][:21], vectors[:, ::-1][:, :20]
    vectors = vectors * np.sign(
        vectors[np.abs(vectors).argmax(0), np.arange(20)]
    )  # largest entry positive
    gaps = -np.diff(values) / values[:-1]
    lead = np.sort(np.abs(vectors), axis=0)
    print(f"  smallest relative gap between eigenvalues {gaps.min():.1e}; closest call for a sign "
          f"{(lead[-1] - lead[-2]).min():.1e}")  # fmt: skip
    compare(
        "embedding explained_variance",
        q["explained_variance"],
        values[:20].sum() / np.trace(products),
        1e-6,
    )
    compare("embedding pca_components", q["pca_components"], vectors, 1e-4)
    white = vectors / np.sqrt(values[:20])
    compare("embedding pca_components_whitened", q["pca_components_whitened"], white, 1e-4)
    for i in range(2):
        y = e[i] @ vectors
        compare(f"embedding projected_{i}", q[f"projected_{i}"], y, 1e-4)
        compare(f"embedding standardized_{i}", q[f"standardized_{i}"], standardize(y), 1e-4)
        # given the reference's own components, only rounding is left
        y = e[i] @ q["pca_components"].astype(float)
        compare(f"embedding projected_{i}, same components", q[f"projected_{i}"], y, 1e-6)
        compare(
            f"embedding standardized_{i}, same components",
            q[f"standardized_{i}"],
            standardize(y),
            2e-6,
        )


def log_densities(x, means, covariances):
    out = []
    for m, c in zip(means, covariances):
        chol = np.linalg.cholesky(c)
        z = solve_triangular(chol, (x - m).T, lower=True)
        out.append(
            -0.5 * (z**2).sum(0)
            - np.log(np.diag(chol)).sum()
            - 0.5 * x.shape[1] * np.log(2 * np.pi)
        )
    return np.stack(out, axis=1)


def forward_backward(log_b, initial, transition):
    """The scaled recursions (not the log-domain ones that made the files)."""
    shift = log_b.max(1, keepdims=True)
    b = np.exp(log_b - shift)
    a, beta, scale = np.empty_like(b), np.ones_like(b), np.empty(len(b))
    for t in range(len(b)):
        a[t] = (initial if t == 0 else a[t - 1] @ transition) * b[t]
        scale[t] = a[t].sum()
        a[t] /= scale[t]
    for t in range(len(b) - 2, -1, -1):
        beta[t] = transition @ (b[t + 1] * beta[t + 1]) / scale[t + 1]
    xi_sum = np.einsum("ti,ij,tj->ij", a[:-1], transition, b[1:] * beta[1:] / scale[1:, None])
    return np.log(scale).sum() + shift.sum(), a * beta, xi_sum


def viterbi(log_b, initial, transition):
    log_p = np.log(transition)
    score, back = np.log(initial) + log_b[0], np.zeros(log_b.shape, int)
    for t in range(1, len(log_b)):
        options = score[:, None] + log_p
        back[t] = options.argmax(0)
        score = options.max(0) + log_b[t]
    path = [score.argmax()]
    for t in range(len(log_b) - 1, 0, -1):
        path.append(back[t, path[-1]])
    return score.max(), np.array(path[::-1])


def check_posterior():
    q = np.load(HERE / "posterior.npz")
    pi, p = q["initial_probs"], q["transition_matrix"]
    log_b = log_densities(q["x"], q["means"], q["covariances"])
    compare("posterior log_densities", q["log_densities"], log_b, 1e-13)
    for suffix in ("", "_chains"):
        parts = np.split(log_b, np.cumsum(q[f"lengths{suffix}"])[:-1])
        fb = [forward_backward(b, pi, p) for b in parts]
        paths = [viterbi(b, pi, p) for b in parts]
        compare(
            f"posterior log_likelihood{suffix}",
            q[f"log_likelihood{suffix}"],
            sum(r[0] for r in fb),
            1e-13,
        )
        compare(
            f"posterior posterior{suffix}",
            q[f"posterior{suffix}"],
            np.concatenate([r[1] for r in fb]),
            1e-11,
        )
        compare(f"posterior xi_sum{suffix}", q[f"xi_sum{suffix}"], sum(r[2] for r in fb), 1e-12)
        xi_sum = q[f"xi_sum{suffix}"]
        ratio = xi_sum / sum(r[2] for r in fb)
        print(
            f"  smallest entry of xi_sum {xi_sum.min():.1e}; largest relative error {np.abs(ratio - 1).max():.1e}"
        )
        compare(
            f"posterior viterbi{suffix}",
            q[f"viterbi{suffix}"],
            np.concatenate([r[1] for r in paths]),
            0,
        )
        compare(
            f"posterior viterbi_log_prob{suffix}",
            q[f"viterbi_log_prob{suffix}"],
            sum(r[0] for r in paths),
            1e-13,
        )
    print(f"  largest posterior: median {np.median(q['posterior'].max(1)):.3f}, below 0.9 in "
          f"{np.mean(q['posterior'].max(1) < 0.9):.0%} of samples; agrees with the true states in "
          f"{np.mean(q['posterior'].argmax(1) == q['states']):.0%}")  # fmt: skip


def run_em(x, lengths, pi, p, means, covariances, n_iter, learn_means):
    splits, history = np.cumsum(lengths)[:-1], []
    for i in range(n_iter + 1):
        fb = [
            forward_backward(b, pi, p)
            for b in np.split(log_densities(x, means, covariances), splits)
        ]
        history.append(sum(r[0] for r in fb))
        if i < n_iter:
            gamma, xi = np.concatenate([r[1] for r in fb]), sum(r[2] for r in fb)
            pi, p = np.mean([r[1][0] for r in fb], axis=0), xi / xi.sum(1, keepdims=True)
            if learn_means:
                means = gamma.T @ x / gamma.sum(0)[:, None]
            d = x[None] - means[:, None]
            covariances = np.einsum("tk,kti,ktj->kij", gamma, d, d) / gamma.sum(0)[:, None, None]
    return history, pi, p, means, covariances


def check_em():
    q = np.load(HERE / "em.npz")
    start = [
        q[f"start_{k}"] for k in ("initial_probs", "transition_matrix", "means", "covariances")
    ]
    keys = ("log_likelihood", "initial_probs", "transition_matrix", "means", "covariances")
    for prefix, learn in (("", True), ("zero_mean_", False)):
        first = start if learn else [*start[:2], np.zeros_like(start[2]), start[3]]
        own = run_em(q["x"], q["lengths"], *first, int(q["n_iter"]), learn)
        for key, value in zip(keys, own):
            if prefix + key in q:
                compare(f"em {prefix}{key}", q[prefix + key], value, 1e-11)
        h = q[prefix + "log_likelihood"]
        assert (np.diff(h) > 0).all()
        print(
            f"  {prefix}log_likelihood from {h[0]:.3f} to {h[-1]:.3f}, last step {h[-1] - h[-2]:.3f}"
        )


def multitaper(x, gamma, fs, f_min=1, f_max=45):
    """(f, cross-spectra (n_states, n_channels, n_channels, n_freq)) in osl-dynamics' conventions."""
    n, window = len(x), int(2 * fs)
    tapers = dpss(window, NW=4, Kmax=7)  # unit energy each
    f = np.arange(window // 2 + 1) * fs / window
    keep = (f >= f_min) & (f <= f_max)
    out = []
    for g in gamma.T:
        padded = np.pad(standardize(x) * g[:, None], ((window // 2, window // 2), (0, 0)))
        total = 0
        for start in (
            np.arange(n // window) * window
        ):  # windows centered on samples 0, 500, 1000, ...
            s = np.fft.rfft(padded[start : start + window].T[:, None] * tapers, axis=-1)[..., keep]
            total = total + np.einsum("itf,jtf->ijf", s.conj(), s) / len(tapers)
        out.append(total / (n // window) * (2 / fs) * n / (g**2).sum())
    return f[keep], np.array(out)


def coherence(cpsd):
    psd = np.einsum("kiif->kif", cpsd).real
    return psd, np.abs(cpsd) / np.sqrt(psd[:, :, None] * psd[:, None])


def check_spectra():
    q = np.load(HERE / "spectra.npz")
    x, gamma, fs = q["x"].astype(float), q["gamma"].astype(float), float(q["sfreq"])
    f, cpsd = multitaper(x, gamma, fs)
    psd, coh = coherence(cpsd)
    compare("spectra f", q["f"], f, 0)
    compare("spectra psd", q["psd"], psd, 1e-6)
    compare("spectra cpsd", q["cpsd"], cpsd, 1e-6)
    compare("spectra coh", q["coh"], coh, 2e-6)
    print(f"  largest relative error of one psd value {np.abs(q['psd'] / psd - 1).max():.1e}")
    psd1, coh1 = coherence(multitaper(x, np.ones((len(x), 1)), fs)[1])
    compare("spectra static_psd", q["static_psd"], psd1[0], 1e-6)
    compare("spectra static_coh", q["static_coh"], coh1[0], 2e-6)
    inside = [(f >= lo) & (f <= hi) for lo, hi in q["bands"]]  # both ends included
    compare(
        "spectra band_power_mean",
        q["band_power_mean"],
        [psd[..., b].mean(-1) for b in inside],
        1e-6,
    )
    compare(
        "spectra band_power_integral",
        q["band_power_integral"],
        [psd[..., b].sum(-1) * 0.5 for b in inside],
        1e-6,
    )
    compare(
        "spectra band_coherence", q["band_coherence"], [coh[..., b].mean(-1) for b in inside], 2e-6
    )
    for i in range(2):
        print(f"  state {i}: psd peaks at {f[psd[i].argmax(-1)]} Hz")


def check_statistics():
    q = np.load(HERE / "statistics.npz")
    fs = float(q["sfreq"])
    out = {k: np.zeros((2, 4)) for k in q if q[k].shape == (2, 4)}
    for r in range(2):
        labels = q[f"labels_{r}"]
        for k in range(4):
            on = np.concatenate([[0], labels == k, [0]])
            starts, stops = np.flatnonzero(np.diff(on) == 1), np.flatnonzero(np.diff(on) == -1)
            out["fractional_occupancy"][r, k] = np.mean(labels == k)
            for key, d in (("lifetime", stops - starts), ("interval", starts[1:] - stops[:-1])):
                if len(d):  # otherwise 0, in osl-dynamics
                    out[f"mean_{key}"][r, k], out[f"std_{key}"][r, k] = d.mean() / fs, d.std() / fs
            out["switching_rate"][r, k] = np.sum(starts > 0) * fs / len(labels)
        visits = [int(np.sum(np.diff(np.r_[0, labels == k]) == 1)) for k in range(4)]
        print(f"  labels_{r}: visits {visits}, first label {labels[0]}, last label {labels[-1]}")
    for key, value in out.items():
        compare(f"statistics {key}", q[key], value, 1e-14)


def check_tde_covariance():
    q, s = np.load(HERE / "tde_covariance.npz"), np.load(HERE / "spectra.npz")
    n, fs = int(q["n_embeddings"]), float(q["sfreq"])
    e = embed(standardize(s["x"].astype(float)), n)
    w = q["pca_components"].astype(float)
    y = standardize(e @ w)
    g = s["gamma"][n // 2 : -(n // 2)].astype(float)
    c = np.einsum("tk,ti,tj->kij", g, y, y, optimize=True) / g.sum(0)[:, None, None]
    compare("tde_covariance covariances", q["covariances"], c, 1e-5)
    full = w @ q["covariances"] @ w.T  # the last standardization is not undone
    compare("tde_covariance embedded_covariances", q["embedded_covariances"], full, 1e-14)
    blocks = full.reshape(2, 4, n, 4, n)
    zero = blocks[:, :, n // 2, :, n // 2]
    compare("tde_covariance raw_covariances_zero_lag", q["raw_covariances_zero_lag"], zero, 1e-14)
    compare("tde_covariance channel_power", q["channel_power"], np.einsum("kii->ki", zero), 1e-14)
    mean = blocks.mean((2, 4))
    for i in range(4):
        mean[:, i, i] = np.einsum("kaa->k", blocks[:, i, :, i, :]) / n
    compare("tde_covariance raw_covariances_lag_mean", q["raw_covariances_lag_mean"], mean, 1e-13)
    lags = np.arange(-(n - 1), n)
    acf = np.stack(
        [
            np.mean([blocks[:, :, a, :, a + d] for a in range(n) if 0 <= a + d < n], axis=0)
            for d in lags
        ],
        axis=-1,
    )
    compare("tde_covariance tau", q["tau"], lags / fs, 0)
    compare("tde_covariance autocovariance", q["autocovariance"], acf, 1e-13)


def inverse_root(products):
    """The inverse square root of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(products)
    return vectors / np.sqrt(values) @ vectors.T


def check_parcellation():
    q = np.load(HERE / "parcellation.npz")
    x = q["x"].astype(float)
    shape = q["labels"].shape
    ijk = np.rint(
        np.linalg.solve(q["affine"][:3, :3], (q["coords"] - q["affine"][:3, 3]).T).T
    ).astype(int)
    inside = ((ijk >= 0) & (ijk < shape)).all(1)
    codes = [v for v in np.unique(q["labels"]) if v != 0]
    volumes = {
        "maps": q["maps"].astype(float),
        "labels": (q["labels"][..., None] == codes).astype(float),
    }
    for name, volume in volumes.items():
        sampled = np.zeros((x.shape[1], volume.shape[3]))
        sampled[inside] = volume[tuple(ijk[inside].T)]
        compare(f"parcellation {name}_sampled", q[f"{name}_sampled"], sampled, 0)
        weights = np.zeros_like(sampled)
        for p, w in enumerate(sampled.T):
            on = np.flatnonzero(w > 0)
            g = w[on] / w[on].max()
            y = x[:, on] - x[:, on].mean(0)
            std = y.std(0)
            lead = (g > 0.5) & (std > 0)
            if not lead.any():
                print(
                    f"  {name}: parcel {p} has no voxel with data and a high weight; scaled by all its voxels"
                )
                lead = std > 0
            _, s, vt = np.linalg.svd(
                y * g, full_matrices=False
            )  # (the peer: eigenvectors of the covariance)
            u, score_std = vt[0], s[0] / np.sqrt(len(y))
            scale = (np.abs(u[lead]) * std[lead]).sum() / np.abs(u[lead]).sum()
            weights[on, p] = np.sign(u[lead].sum()) * scale / score_std * u * g
            balance = (
                abs(u[lead].sum()) / np.abs(u[lead]).sum()
            )  # close to 0 the sign would be in doubt
            print(f"  {name}: parcel {p}, {len(on)} voxels, second/first singular value {s[1] / s[0]:.2f}, "
                  f"mean/mean absolute loading {balance:.2f}")  # fmt: skip
        compare(f"parcellation {name}_weights", q[f"{name}_weights"], weights, 1e-12)
        parcels = (x - x.mean(0)) @ weights
        compare(f"parcellation {name}_parcels", q[f"{name}_parcels"], parcels, 1e-12)
        compare(f"parcellation {name}_orthonormal", q[f"{name}_orthonormal"],
                parcels @ inverse_root(parcels.T @ parcels), 1e-12)  # fmt: skip
        d = norms = np.sqrt((parcels**2).sum(0))
        for i in range(10000):
            o = parcels * d @ inverse_root((parcels * d).T @ (parcels * d))
            if i == 0:  # osl-dynamics stops here
                compare(f"parcellation {name}_symmetric", q[f"{name}_symmetric"], o * norms, 1e-12)
            previous, d = d, (o * parcels).sum(0)
            if np.abs(d - previous).max() < 1e-13 * d.max():
                break
        closest = q[f"{name}_closest_orthogonal"]
        compare(f"parcellation {name}_closest_orthogonal", closest, o * d, 1e-10)
        off = closest.T @ closest - np.diag((closest**2).sum(0))
        errors = [np.linalg.norm(a - parcels) for a in (closest, q[f"{name}_symmetric"])]
        overlap = np.abs(np.corrcoef(parcels.T) - np.eye(len(d))).max()
        print(f"  {name}: {i + 1} iterations, left over {np.abs(off).max():.1e}; distance to the parcels "
              f"{errors[0]:.1f}, symmetric {errors[1]:.1f}; largest correlation {overlap:.2f}")  # fmt: skip


def check_signs():
    q = np.load(HERE / "signs.npz")
    n, n_channels = int(q["n_embeddings"]), q["x_0"].shape[1]
    covs = []
    for i in range(4):
        e = standardize(embed(q[f"x_{i}"].astype(float), n))  # embedded first, then standardized
        covs.append(e.T @ e / (len(e) - 1))
    compare("signs covariances", q["covariances"], covs, 1e-12)
    rows, cols = np.triu_indices(n * n_channels, k=n)  # cuts lags of neighboring channels too

    def metric(a, b):
        return np.corrcoef(a[rows, cols], b[rows, cols])[0, 1]

    between = [[metric(np.abs(a), np.abs(b)) if a is not b else 0 for b in covs] for a in covs]
    compare("signs abs_metric", q["abs_metric"], between, 1e-12)
    template = np.argsort(np.sum(between, axis=1))[2]  # of four, the second from the top
    compare("signs template", q["template"], template, 0)
    compare(
        "signs metric_before", q["metric_before"], [metric(c, covs[template]) for c in covs], 1e-12
    )
    relative = q["true_flips"] * q["true_flips"][template]
    best = []
    for i, c in enumerate(
        covs
    ):  # every choice of signs; channel 0 fixed, as all signs at once change nothing
        options = [np.array([1, *f]) for f in product([1, -1], repeat=n_channels - 1)]
        values = [
            metric(c * np.outer(np.repeat(f, n), np.repeat(f, n)), covs[template]) for f in options
        ]
        order = np.argsort(values)
        best.append(values[order[-1]])
        own = options[order[-1]]
        for key, f in (
            ("flips", q["flips"][i]),
            ("true_flips, relative to the template's", relative[i]),
        ):
            compare(f"signs {key}, {i}", f * f[0], own, 0)
        print(
            f"  recording {i}: {np.sum(own != 1)} flips, second best metric {values[order[-2]]:.3f}"
        )
    compare("signs metric_after", q["metric_after"], best, 1e-12)


def check_dual_estimation():
    q = np.load(HERE / "dual_estimation.npz")
    for prefix, zero, diagonal, eps in (
        ("", False, False, 1e-5), ("zero_mean_", True, False, 1e-5), ("diagonal_", False, True, 1e-5),
        ("eps_0_", False, False, 0),
    ):  # fmt: skip
        means, covs = [], []
        for i in range(2):
            x, g = q[f"x_{i}"], q[f"gamma_{i}"]
            weight = g.sum(0)
            m = (g.T @ x / weight[:, None]) * (not zero)
            second = np.einsum("tk,ti,tj->kij", g, x, x) / weight[:, None, None]
            c = second - np.einsum("ki,kj->kij", m, m)
            means.append(m)
            covs.append((c * np.eye(4) if diagonal else c) + eps * np.eye(4))
        if not zero:
            compare(f"dual_estimation {prefix}means", q[f"{prefix}means"], means, 1e-13)
        assert not zero or not q["zero_mean_means"].any()
        compare(f"dual_estimation {prefix}covariances", q[f"{prefix}covariances"], covs, 1e-13)


def check_tinda():
    q = np.load(HERE / "tinda.npz")
    k = 4
    density, equal, total = (np.full((k, k, 2, 2), np.nan) for _ in range(3))
    for r in range(2):
        labels, dropped, odd = q[f"labels_{r}"], 0, 0
        for i in range(k):
            on = np.concatenate([[0], labels == i, [0]])
            starts, stops = np.flatnonzero(np.diff(on) == 1), np.flatnonzero(np.diff(on) == -1)
            halves = [[], []]
            for a, b in zip(stops[:-1], starts[1:]):
                n = (b - a + 1) // 2  # the middle sample of an odd interval is in both halves
                dropped, odd = dropped + (b - a < 2), odd + (b - a) % 2
                if b - a >= 2:
                    halves[0].append(labels[a : a + n])
                    halves[1].append(labels[b - n : b])
            for j in set(range(k)) - {i}:
                for h in range(2):
                    total[i, j, h, r] = sum(np.sum(v == j) for v in halves[h])
                    density[i, j, h, r] = total[i, j, h, r] / sum(map(len, halves[h]))
                    equal[i, j, h, r] = np.mean([np.mean(v == j) for v in halves[h]])
        print(f"  labels_{r}: {dropped} intervals of one sample dropped, {odd} of odd length")
    for key, own in (("fo_density", density), ("fo_density_equal", equal), ("fo_sum", total)):
        assert (np.isnan(q[key]) == np.isnan(own)).all()
        compare(f"tinda {key}", np.nan_to_num(q[key]), np.nan_to_num(own), 1e-14)
    asymmetry = np.nan_to_num(density[:, :, 0] - density[:, :, 1])
    compare("tinda asymmetry", np.nan_to_num(q["asymmetry"]), asymmetry, 1e-13)

    def strengths(order):
        """sin of the angle from state j back to state i, times the asymmetry, summed; and its largest value."""
        theta = 2 * np.pi * np.argsort(order) / k
        s = np.sin(theta[:, None] - theta)
        return np.einsum("ij,ijr->r", s, asymmetry), np.abs(s).sum()

    orders = [(0, *p) for p in permutations(range(1, k))]
    values = [strengths(o)[0].mean() for o in orders]
    best = orders[np.argmax(values)]
    compare("tinda sequence", q["sequence"], best, 0)
    assert tuple(q["cycle"][[0, 3, 2, 1]]) == best  # the sequence runs against time
    theta = 2 * np.pi * np.argsort(best) / k
    compare("tinda circle_angles", q["circle_angles"], np.exp(1j * (theta - theta[:, None])), 1e-14)
    own, largest = strengths(best)
    compare("tinda cycle_strength_absolute", q["cycle_strength_absolute"], own, 1e-13)
    compare("tinda cycle_strength", q["cycle_strength"], own / largest, 1e-13)
    print(
        f"  mean strength of the best order {max(values):.3f}, of the second {sorted(values)[-2]:.3f}"
    )


def best_order(similarity):
    """Column of each row's partner, largest total similarity, by trying every permutation; and the second-best gap."""
    k = len(similarity)
    options = [np.array(p) for p in permutations(range(k))]
    values = np.array([similarity[np.arange(k), p].sum() for p in options])
    return options[values.argmax()], np.diff(np.sort(values))[-1]


def check_alignment():
    q = np.load(HERE / "alignment.npz")
    a, b = q["covariances_0"], q["covariances_1"]

    def cosine(u, v):
        u, v = u.reshape(len(u), -1), v.reshape(len(v), -1)
        return u @ v.T / np.outer(np.linalg.norm(u, axis=1), np.linalg.norm(v, axis=1))

    own = {
        "rv_coefficient": cosine(a @ a, b @ b),  # of the squared covariances
        "correlation": cosine(a - a.mean((1, 2), keepdims=True), b - b.mean((1, 2), keepdims=True)),
        "frobenius": np.linalg.norm(a[:, None] - b, axis=(2, 3)),
    }
    for key, value in own.items():
        compare(f"alignment {key}", q[key], value, 1e-13)
        similarity = -value if key == "frobenius" else value
        order, gap = best_order(similarity)
        compare(f"alignment {key}_order", q[f"{key}_order"], order, 0)
        print(f"  best of each row {similarity.argmax(1)}, matched {order}, true {np.argsort(q['permutation'])}; "
              f"second best {gap:.3f} less")  # fmt: skip
    x, y = q["gamma_0"].astype(float), q["gamma_1"].astype(float)[: len(q["gamma_0"])]
    on = y.std(0) > 0
    correlation = np.full((5, 5), np.nan)
    correlation[:, on] = standardize(x).T @ standardize(y[:, on]) / len(x)
    assert (np.isnan(q["gamma_correlation"]) == np.isnan(correlation)).all()
    compare(
        "alignment gamma_correlation",
        np.nan_to_num(q["gamma_correlation"]),
        np.nan_to_num(correlation),
        1e-13,
    )
    order, gap = best_order(np.nan_to_num(correlation, nan=np.nanmin(correlation) - 1))
    compare("alignment gamma_order", q["gamma_order"], order, 0)
    print(f"  second best {gap:.3f} less")


if __name__ == "__main__":
    for check in (
        check_embedding, check_posterior, check_em, check_spectra, check_statistics, check_tde_covariance,
        check_parcellation, check_signs, check_dual_estimation, check_tinda, check_alignment,
    ):  # fmt: skip
        check()
