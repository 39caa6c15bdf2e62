"""Make the reference arrays for source data and for comparing models: parcels, signs, dual estimation, TINDA, matching.

Usage: python make_reference_sources.py [FOLDER]      (default: the folder of this file)

A second script beside make_reference.py, with streams of random numbers of its own, so that neither changes the
other's files. Needs the same packages (osl-dynamics with TensorFlow, hmmlearn because make_reference.py imports it),
mne and nibabel. The keys of every file are described in README.md; check_reference.py recomputes them with numpy and
scipy alone.
"""

import tempfile
from pathlib import Path

import numpy as np
from make_reference import FS, SEED, oscillation, random_covariances, save, sticky_path

import nibabel as nib  # isort: skip  (make_reference first: it quietens TensorFlow)
from osl_dynamics.analysis import post_hoc, tinda
from osl_dynamics.data import Data, sign_flipping
from osl_dynamics.inference import metrics, modes
from osl_dynamics.meeg import parcellation
from osl_dynamics.utils.array_ops import get_one_hot

FREQS = (4, 7, 10, 13, 20, 28, 37)


# -------------------------------------------------------------------------------------------- parcellation


def weight_maps(rng, shape):
    """Five overlapping blobs with peaks other than 1, cut to zero far out; the last has one high voxel only."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    centers = np.array([[1.2, 1.1, 0.9], [3.9, 1.3, 1.8], [2.2, 3.2, 1.1], [4.3, 3.1, 2.2]])
    squared = ((grid[..., None, :] - centers) ** 2).sum(-1)
    maps = np.exp(-squared / 2.5) * rng.uniform(0.8, 1.2, squared.shape)
    maps[maps < 0.15] = 0
    maps *= [1, 0.6, 2.5, 1]
    last = np.where(((grid - [2, 2, 3]) ** 2).sum(-1) <= 3, 0.3, 0) * rng.uniform(0.7, 1.3, shape)
    last[2, 2, 3] = 1.0
    return np.concatenate([maps, last[..., None]], axis=-1).astype(np.float32)


def label_map(rng, shape):
    """A 3-D map of labels 2, 5, 7 and 9 (not consecutive), 0 outside."""
    x, y, z = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    labels = np.where(x < 3, np.where(y < 2, 2, 5), np.where(y < 3, 7, 9))
    labels[(z == 0) & (x == 0)] = 0
    labels[rng.random(shape) < 0.1] = 0
    return labels.astype(np.int16)


def closest_orthogonal(a, tolerance=1e-13, max_iter=10000):
    """The matrix with orthogonal columns, of any length, that is closest to a (Colclough et al. 2015)."""
    d = np.linalg.norm(a, axis=0)
    for _ in range(max_iter):
        u, _, vt = np.linalg.svd(a * d, full_matrices=False)
        o = u @ vt
        previous, d = d, (o * a).sum(0)
        if np.abs(d - previous).max() <= tolerance * np.abs(d).max():
            return o * d
    raise RuntimeError("no convergence")


def make_parcellation(rng, n_samples=500):
    """Parcel time courses from voxels, by weighted first component, and their orthogonalisation."""
    shape, affine = (6, 5, 4), np.diag([-8.0, 8.0, 8.0, 1.0])
    affine[:3, 3] = [22, -30, -12]
    maps, labels = weight_maps(rng, shape), label_map(rng, shape)

    # one dipole near the center of every map voxel, six outside the map, four more that share a map voxel, shuffled
    inside = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), axis=1)
    outside = np.array([[-1, 2, 2], [6, 0, 1], [3, 5, 0], [2, -1, 3], [4, 4, 4], [0, 0, -1]])
    ijk = np.concatenate([inside, outside, inside[rng.choice(len(inside), 4, replace=False)]])
    ijk = ijk[rng.permutation(len(ijk))]
    coords = nib.affines.apply_affine(affine, ijk + rng.uniform(-0.4, 0.4, ijk.shape))

    # sources that vary smoothly in space, with either sign, so that neighbors are alike and parcels leak
    sources = np.stack([oscillation(rng, n_samples, f) for f in FREQS], axis=1)
    centers = rng.uniform(0, 1, (len(FREQS), 3)) * shape
    width = ((ijk[None] - centers[:, None]) ** 2).sum(-1)
    mixing = (
        np.exp(-width / 5)
        * rng.choice([-1, 1], len(FREQS))[:, None]
        * rng.uniform(1, 3, len(FREQS))[:, None]
    )
    mixing *= rng.choice([-1, 1], len(ijk), p=[0.1, 0.9])  # some voxels point the other way
    x = sources @ mixing + 0.4 * rng.standard_normal((n_samples, len(ijk)))
    x = x * rng.uniform(0.5, 2, len(ijk)) + rng.uniform(-2, 2, len(ijk))
    x[:, (ijk == [2, 2, 3]).all(1)] = 0  # no data where the last map has its peak
    x = x.astype(np.float32)

    arrays = {}
    with tempfile.TemporaryDirectory() as folder:
        # where osl-dynamics looks for parcellations; unset, merely reading it downloads a list of files
        parcellation.files.parcellation.directory = folder
        for name, volume in (("maps", maps), ("labels", labels)):
            file = str(Path(folder) / f"{name}.nii.gz")
            nib.save(nib.Nifti1Image(volume, affine), file)
            voxels = x.T.astype(float)
            centered = voxels - voxels.mean(1, keepdims=True)
            sampled = parcellation._sample_parcellation(file, coords)
            weights = parcellation._get_parcel_weights(
                lambda i, c=centered: c[i] @ c[i].T / c.shape[1], sampled, file, coords
            )
            parcels = parcellation.parcellate(voxels, coords, file, "pca", orthogonalisation=None)
            symmetric = parcellation.parcellate(
                voxels, coords, file, "pca", orthogonalisation="symmetric"
            )
            arrays |= {
                f"{name}_sampled": sampled, f"{name}_weights": weights, f"{name}_parcels": parcels.T,
                f"{name}_symmetric": symmetric.T,
                f"{name}_orthonormal": parcellation._symmetric_orthogonalisation(parcels).T,
                f"{name}_closest_orthogonal": closest_orthogonal(parcels.T),
            }  # fmt: skip
    save(
        "parcellation.npz", "osl-dynamics", "nibabel",
        sfreq=FS, x=x, coords=coords, affine=affine, maps=maps, labels=labels, **arrays,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------- signs


def make_signs(rng):
    """Four recordings of one lagged structure, each with signs of its own, and the signs found."""
    n_channels, n_embeddings, lengths = 6, 5, (2500, 2200, 2000, 2400)
    mixing = rng.standard_normal((len(FREQS), n_channels))
    delays = rng.integers(0, 4, (len(FREQS), n_channels))
    x, true_flips = [], rng.choice([-1, 1], (len(lengths), n_channels))
    true_flips[1, ::2] *= -1  # as drawn, recordings 1 and 3 have the same signs
    for n, flips in zip(lengths, true_flips):
        weights = mixing + 0.35 * rng.standard_normal(mixing.shape)
        y = 0.8 * rng.standard_normal((n, n_channels))
        for i, f in enumerate(FREQS):
            source = oscillation(rng, n, f)
            y += np.stack([np.roll(source, d) for d in delays[i]], axis=1) * weights[i]
        gain, offset = np.exp(rng.uniform(-1, 1, n_channels)), rng.uniform(-3, 3, n_channels)
        x.append(((y * gain) * flips + offset).astype(np.float32))

    covs = [sign_flipping.calc_cov(a.astype(float), n_embeddings) for a in x]
    abs_metric = np.zeros((len(x), len(x)))
    for i in range(len(x)):
        for j in range(i):
            abs_metric[i, j] = abs_metric[j, i] = sign_flipping.calc_corr(
                covs[i], covs[j], n_embeddings, mode="abs"
            )
    template = int(np.argsort(abs_metric.sum(1))[len(x) // 2])  # as Data.align_channel_signs
    found = [sign_flipping.find_flips(c, covs[template], n_channels, n_embeddings) for c in covs]

    # the whole method, in float32, must do the same up to the sign of a recording as a whole
    with tempfile.TemporaryDirectory() as folder:
        aligned = Data([a.copy() for a in x], store_dir=folder).align_channel_signs(
            n_embeddings=n_embeddings
        )
        for a, b, (flips, _) in zip(aligned.time_series(), x, found):
            assert np.array_equal(a, b * flips) or np.array_equal(a, -b * flips)
    save(
        "signs.npz", "osl-dynamics",
        sfreq=FS, n_embeddings=n_embeddings, **{f"x_{i}": a for i, a in enumerate(x)}, true_flips=true_flips,
        covariances=np.array(covs), abs_metric=abs_metric, template=template,
        flips=np.array([f for f, _ in found]),
        metric_before=np.array([sign_flipping.calc_corr(c, covs[template], n_embeddings) for c in covs]),
        metric_after=np.array([m for _, m in found]),
    )  # fmt: skip


# ----------------------------------------------------------------------------------------- dual estimation


def smooth_path(path, n_states, width):
    """Probabilities: the path smoothed by a centered moving average, rows summing to one."""
    one_hot = np.pad(np.eye(n_states)[path], ((width // 2, width // 2), (0, 0)))
    gamma = np.lib.stride_tricks.sliding_window_view(one_hot, width, axis=0).mean(-1)
    return gamma / gamma.sum(1, keepdims=True)


def make_dual_estimation(rng):
    """State means and covariances of each recording, given the probabilities."""
    n_states, n_channels, lengths = 3, 4, (900, 700)
    means = 0.8 * rng.standard_normal((n_states, n_channels))
    covariances = random_covariances(rng, n_states, n_channels)
    x, gamma = [], []
    for n in lengths:
        path = sticky_path(rng, n, n_states, mean_visit=40)
        noise = np.einsum(
            "tij,tj->ti",
            np.linalg.cholesky(covariances)[path],
            rng.standard_normal((n, n_channels)),
        )
        x.append(means[path] + noise)
        gamma.append(smooth_path(path, n_states, 15))
    arrays = {}
    for prefix, kwargs in (
        ("", {}), ("zero_mean_", {"zero_mean": True}), ("diagonal_", {"diagonal_covariances": True}),
        ("eps_0_", {"eps": 0}),
    ):  # fmt: skip
        m, c = post_hoc.hmm_dual_estimation(x, gamma, **kwargs)
        arrays |= {f"{prefix}means": m, f"{prefix}covariances": c}
    save(
        "dual_estimation.npz", "osl-dynamics",
        x_0=x[0], x_1=x[1], gamma_0=gamma[0], gamma_1=gamma[1], eps=1e-5, **arrays,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------- TINDA


def cyclic_path(rng, n_samples, cycle, p_forward, mean_visit):
    """Visits of random length (one sample at least); the next state is mostly the next one of the cycle."""
    path, t, position, k = np.empty(n_samples, np.int8), 0, 0, len(cycle)
    while t < n_samples:
        visit = rng.geometric(1 / mean_visit)
        path[t : t + visit] = cycle[position]
        t += visit
        position = (position + (1 if rng.random() < p_forward else rng.integers(2, k))) % k
    return path


def make_tinda(rng):
    """Occupancy in the two halves of the intervals between visits, the best circular order and its strength."""
    cycle = [0, 2, 1, 3]
    labels = [cyclic_path(rng, n, cycle, 0.5, mean_visit=8) for n in (20000, 6000)]
    paths = [get_one_hot(a, n_states=4) for a in labels]
    density, total, _ = tinda.tinda(paths)
    density_equal, _, _ = tinda.tinda(paths, interval_weighting="equal")
    density, total, density_equal = (
        density[:, :, :, 0],
        total[:, :, :, 0],
        density_equal[:, :, :, 0],
    )
    asymmetry = density[:, :, 0] - density[:, :, 1]
    sequence = tinda.optimise_sequence(density)
    angles = tinda.circle_angles(sequence)
    save(
        "tinda.npz", "osl-dynamics",
        labels_0=labels[0], labels_1=labels[1], cycle=np.array(cycle),
        fo_density=density, fo_sum=total, fo_density_equal=density_equal, asymmetry=asymmetry,
        sequence=sequence, circle_angles=angles,
        cycle_strength=tinda.compute_cycle_strength(angles, asymmetry),
        cycle_strength_absolute=tinda.compute_cycle_strength(angles, asymmetry, relative=False),
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------- alignment


def make_alignment(rng):
    """Matching two sets of states, by their covariances or their time courses."""
    k, n_channels, permutation = 5, 6, np.array([3, 0, 4, 1, 2])
    first = random_covariances(rng, k, n_channels) * np.array([1, 1.5, 0.7, 2, 1])[:, None, None]
    noise = random_covariances(rng, k, n_channels)
    second = 0.6 * first + 0.4 * noise
    # two states of the first set are most like the same one of the second, so that taking the best for each fails
    second[0], second[1] = 0.55 * first[0] + 0.45 * first[1], 0.5 * first[0] + 0.5 * noise[1]
    second = (second * np.array([1, 0.9, 3, 0.3, 1])[:, None, None])[permutation]
    arrays = {}
    for comparison in ("rv_coefficient", "correlation", "frobenius"):
        orders = modes.match_covariances(first, second, comparison=comparison, return_order=True)
        arrays[f"{comparison}_order"] = orders[1]
    both = np.concatenate([first, second])
    arrays["rv_coefficient"] = metrics.pairwise_rv_coefficient(both)[:k, k:]
    arrays["correlation"] = metrics.pairwise_matrix_correlations(both)[:k, k:]
    arrays["frobenius"] = metrics.pairwise_frobenius_distance(both)[:k, k:]

    # probabilities of two runs: the second permuted, half scrambled, longer by 100 samples, one of its states never on
    path = sticky_path(rng, 1600, k - 1, mean_visit=40)
    gamma_0 = smooth_path(path[:1500], k, 15)
    gamma_0[:, k - 1] += rng.uniform(0, 0.05, len(gamma_0))
    gamma_0 /= gamma_0.sum(1, keepdims=True)
    other = np.where(
        rng.random(40).repeat(40) < 0.5, path, sticky_path(rng, 1600, k - 1, mean_visit=40)
    )
    gamma_1 = smooth_path(other, k, 15)[:, permutation]
    gamma_0, gamma_1 = (
        gamma_0.astype(np.float32).astype(float),
        gamma_1.astype(np.float32).astype(float),
    )
    order = modes.match_modes(gamma_0, gamma_1, return_order=True)[1]
    with np.errstate(invalid="ignore", divide="ignore"):  # the state that is never on
        gamma_correlation = modes.correlate_modes(gamma_0, gamma_1[: len(gamma_0)])
    save(
        "alignment.npz", "osl-dynamics",
        covariances_0=first, covariances_1=second, permutation=permutation, **arrays,
        gamma_0=gamma_0.astype(np.float32), gamma_1=gamma_1.astype(np.float32),
        gamma_correlation=gamma_correlation, gamma_order=order,
    )  # fmt: skip


if __name__ == "__main__":
    # a stream of random numbers per file, none of them one of make_reference.py's
    streams = [np.random.default_rng([SEED, 100 + i]) for i in range(5)]
    make_parcellation(streams[0])
    make_signs(streams[1])
    make_dual_estimation(streams[2])
    make_tinda(streams[3])
    make_alignment(streams[4])
