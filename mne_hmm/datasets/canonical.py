"""Models that others have trained and published, and what they found with them."""

from dataclasses import dataclass

import numpy as np
from mne.utils import verbose

from .._utils.docs import fill_doc
from .._utils.typing import FileName, Verbose
from ..io.parcel_inputs import AtlasArguments
from ..model.file import Learned
from ..model.hmm import HMM, default_state_names
from ..model.training_reference import Reference
from ..preparation.settings import FittedPreparation
from ..spectral.maps import StateMaps
from ..spectral.networks import StateNetworks
from ..spectral.state_spectra import StateSpectra
from ..states.visits import stationary_occupancy
from ._registry import PLACES
from .published import BAND, N_EMBEDDINGS, SFREQ, TRAINED_ON, Published


@verbose
@fill_doc
def fetch_canonical_hmm(
    parcellation: str = "Giles38",
    n_states: int = 8,
    *,
    path: FileName | None = None,
    verbose: Verbose = None,
) -> HMM:
    """Fetch a published model of MEG, ready for new recordings.

    The models :footcite:`GohilEtAl2026,CanonicalHMMNetworks` were trained on MEG of the Cam-CAN
    study. With one of them the states of all studies are the same ones, and a single recording is
    enough to look for them.

    Parameters
    ----------
    parcellation : "Giles38" | "Glasser52" | "DK54" | "Elekta"
        The channels: 38, 52 or 54 parcels of these atlases (`fetch_atlas` has them), or the 306
        sensors of Elekta (MEGIN) systems.
    n_states : int
        Number of states, from 4 to 16.
    path : path-like | None
        Cache folder; files are kept below it as ``canonical-hmm/...``. None takes the environment
        variable ``MNE_HMM_DATA``, or where that is not set the cache folder of the operating
        system.
    %(verbose)s

    Returns
    -------
    hmm : HMM
        The model. Its preparation does to each recording what was done to the training data:
        resample to 250 Hz, standardize, flip channels such that their lagged covariances match
        those of the training data (parcels), or take spatial components and standardize these
        (sensors), embed with 15 lags, take the published components, standardize.

    Raises
    ------
    ValueError
        If there is no such parcellation or number of states; those that there are are listed.
    ConnectionError
        If a file is not there and cannot be downloaded; it says which file to put where.
    OSError
        If what was downloaded is not the file it should be.

    See Also
    --------
    fetch_canonical_results : The spectra, maps and networks published with the model.
    mne_hmm.HMM.compare_to_reference : Where a recording falls among those of the training.

    Notes
    -----
    **Filter recordings to 0.5-45 Hz first**, as those of the training had been
    (``raw.filter(0.5, 45)`` before source reconstruction). The preparation does not filter.

    Parcels must be those of the same atlas in its order. Recordings with names of channels need
    those that `mne_hmm.parcellate` gives (``parcel_00`` and so on; ``parcel_0`` will do), arrays
    the right number of channels. An atlas that has been fetched is known to the model, for its
    maps.

    The signs of parcels do not matter, but a minute or more is needed to find them: in 20 seconds
    that were simulated from a model, several of 38 came out wrong. Spectra of several recordings
    together are of the recordings as they are: to add up coherence between parcels whose signs
    differ, align them first: ``align_signs(raws, hmm.preparation_.template_).raws``.

    Models of parcels have a reference, the free energies of the training recordings.

    Files come from github.com/OHBA-analysis/Canonical-HMM-Networks (MIT) at a fixed commit, and
    their hashes are part of this package. Rows of probabilities, which are in single precision
    there, are scaled to sum to 1.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> import mne_hmm
    >>> hmm = mne_hmm.datasets.fetch_canonical_hmm("Giles38", 8)  # doctest: +SKIP
    >>> states = hmm.predict(parcels)  # doctest: +SKIP
    >>> print(hmm.compare_to_reference(parcels))  # doctest: +SKIP
    """
    model = Published(parcellation, n_states)
    names = ["initial_state_probs", "trans_prob", "means", "covs"]
    if model.of_parcels:
        arrays = model.load([*names, "fe"], ["pca_components", "template_cov"], path, verbose)
    else:
        arrays = model.load(names, ["pca_components_1", "pca_components_2"], path, verbose)
    return hmm_from(model, arrays, AtlasArguments(model.atlas(path)))


def hmm_from(
    model: Published,
    arrays: dict[str, np.ndarray],
    atlas_arguments: AtlasArguments | None = None,
) -> HMM:
    """Make a model of the arrays in its files."""
    initial, transition, means, covariances = (
        arrays[name].astype(float)
        for name in ("initial_state_probs", "trans_prob", "means", "covs")
    )
    reference = None
    if "fe" in arrays:
        energies = arrays["fe"].astype(float)
        reference = Reference(energies, f"{len(energies):,} {TRAINED_ON}")
    return HMM(
        initial / initial.sum(),
        transition / transition.sum(axis=1, keepdims=True),
        means,
        (covariances + covariances.swapaxes(1, 2)) / 2,
        _preparation(model, arrays),
        learned=Learned(means=bool(means.any())),
        free_energy=np.nan if reference is None else reference.free_energy.mean(),
        converged=True,
        versions={"published": PLACES["canonical-hmm"]},
        reference=reference,
        atlas_arguments=atlas_arguments,
    )


def _preparation(model: Published, arrays: dict[str, np.ndarray]) -> FittedPreparation:
    """Make what was done to the training data after they were filtered."""
    if model.of_parcels:
        components, template = arrays["pca_components"], arrays["template_cov"].astype(float)
        spatial, n_channels = None, len(components) // N_EMBEDDINGS
        rank = n_channels
        # Of the template, since the data are not there.
        kept = np.einsum("id,ij,jd->", components, template, components, optimize=True)
        explained = float(kept / np.trace(template))
    else:
        components, template = arrays["pca_components_2"], None
        spatial = arrays["pca_components_1"]
        n_channels, rank = spatial.shape
        explained = np.nan
    return FittedPreparation(
        l_freq=None,
        h_freq=None,
        sfreq=SFREQ,
        align=None if template is None else "signs",
        n_embeddings=N_EMBEDDINGS,
        n_components=components.shape[1],
        ch_names_=model.ch_names(n_channels),
        components_=components,
        explained_variance_=explained,
        rank_=rank,
        sfreq_=SFREQ,
        template_=template,
        spatial_components_=spatial,
        channels_from_=model.channels_from(n_channels),
        band_=BAND,
    )


@dataclass(frozen=True, eq=False)
class CanonicalResults:
    """Spectra, maps and networks that were published with a model.

    Made by :func:`fetch_canonical_results`.

    Parameters
    ----------
    spectra : StateSpectra
        Power spectral densities of the states, of standardized channels. Cross-spectra were not
        published: they are NaN, and so is coherence.
    power : StateMaps
        Power of each state and channel: the mean of its density from 0.5 to 48 Hz.
    networks : StateNetworks | None
        Coherence between parcels, the mean over the same frequencies. None for sensors.
    """

    spectra: StateSpectra
    power: StateMaps
    networks: StateNetworks | None


@verbose
@fill_doc
def fetch_canonical_results(
    parcellation: str = "Giles38",
    n_states: int = 8,
    *,
    path: FileName | None = None,
    verbose: Verbose = None,
) -> CanonicalResults:
    """Fetch the spectra, maps and networks of the states of a published model.

    They are means over the recordings of the training :footcite:`GohilEtAl2026`, in the order of
    the states of :func:`fetch_canonical_hmm`.

    Parameters
    ----------
    parcellation : "Giles38" | "Glasser52" | "DK54" | "Elekta"
        The channels, as for :func:`fetch_canonical_hmm`.
    n_states : int
        Number of states, from 4 to 16.
    path : path-like | None
        Cache folder, as for :func:`fetch_canonical_hmm`.
    %(verbose)s

    Returns
    -------
    results : CanonicalResults
        With ``spectra``, ``power`` and ``networks``, which are plotted and worked with like
        those of your own recordings.

    Raises
    ------
    ValueError
        If there is no such parcellation or number of states; those that there are are listed.
    ConnectionError
        If a file is not there and cannot be downloaded; it says which file to put where.
    OSError
        If what was downloaded is not the file it should be.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> import mne_hmm
    >>> published = mne_hmm.datasets.fetch_canonical_results("Giles38", 8)  # doctest: +SKIP
    >>> published.spectra.plot()  # doctest: +SKIP
    """
    model = Published(parcellation, n_states)
    names = ["f", "psds", "pow_maps", "trans_prob"]
    arrays = model.load([*names, "coh_nets"] if model.of_parcels else names, [], path, verbose)
    psds, maps = arrays["psds"], arrays["pow_maps"].astype(float)
    state_names = default_state_names(n_states)
    transition = arrays["trans_prob"].astype(float)
    # In shares of the time: how long the recordings are together was not published.
    weights = stationary_occupancy(transition / transition.sum(axis=1, keepdims=True))
    info = model.info(psds.shape[1])
    n = psds.shape[1]
    # 306 sensors of 16 states would take twice as much in double precision.
    csd = np.full((n_states, n, n, psds.shape[2]), np.nan, np.complex64)
    csd[:, np.arange(n), np.arange(n)] = psds
    networks = None
    if "coh_nets" in arrays:
        label = "Coherence, 0.5-48 Hz"
        networks = StateNetworks(
            arrays["coh_nets"].astype(float), info, state_names, label, weights
        )
    return CanonicalResults(
        StateSpectra(arrays["f"].astype(float), csd, info, state_names, weights, standardized=True),
        StateMaps(maps, model.info(maps.shape[1]), state_names, "Power, 0.5-48 Hz (1/Hz)"),
        networks,
    )
