"""Spectral components: profiles over frequency that coherence is made of."""

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from mne.utils import copy_function_doc_to_method_doc

from .._utils.checks import check_number, check_random_state, import_extra, plural
from .._utils.docs import fill_doc
from .._utils.mne_private import warn
from .._utils.typing import RandomState
from ..viz import plot_components
from .state_spectra import StateSpectra, check_spectra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# As osl-dynamics has it; it ends far earlier.
MAX_UPDATES = 50_000


@dataclass(frozen=True, eq=False)
class SpectralComponents:
    """Profiles over frequency that the coherence of all states and pairs is made of.

    Made by :func:`find_spectral_components`. A component weights frequencies, as a band does, but
    smoothly and as the data have it.

    Parameters
    ----------
    freqs : array, shape (n_freqs,)
        Frequencies in hertz.
    profiles : array, shape (n_components, n_freqs)
        How much of each frequency is in each component, 0 or more. Their largest value is 1.
        In ascending order of the frequency of that value.
    explained : float
        Share of the squared coherence that the components explain together, from 0 to 1.
    """

    freqs: np.ndarray = field(repr=False)
    profiles: np.ndarray = field(repr=False)
    explained: float

    @property
    def n_components(self) -> int:
        """Number of components."""
        return len(self.profiles)

    @property
    def peaks(self) -> np.ndarray:
        """Frequency in hertz at which each profile is largest, shape (n_components,)."""
        return self.freqs[self.profiles.argmax(axis=1)]

    def weights(self, spectra: StateSpectra) -> np.ndarray:
        """Get the weights of the frequencies of spectra in each component.

        Parameters
        ----------
        spectra : StateSpectra
            The spectra.

        Returns
        -------
        weights : array, shape (n_components, n_freqs)
            The profiles, divided such that each sums to 1.

        Raises
        ------
        TypeError
            If spectra are of another kind.
        ValueError
            If the spectra have other frequencies than the components.
        """
        check_spectra(spectra)
        same = len(self.freqs) == len(spectra.freqs)
        # Frequencies may have gone through a file, or been counted in another way.
        if not same or not np.allclose(self.freqs, spectra.freqs, rtol=1e-6, atol=1e-9):
            raise ValueError(
                f"spectra have other frequencies ({_range(spectra.freqs)}) than the components "
                f"({_range(self.freqs)}); compute both spectra with the same fmin, fmax and "
                "resolution, or find the components of these spectra"
            )
        return self.profiles / self.profiles.sum(axis=1, keepdims=True)

    def power(self, spectra: StateSpectra) -> np.ndarray:
        """Compute the power of states and channels in each component.

        Parameters
        ----------
        spectra : StateSpectra
            The spectra, with the same frequencies.

        Returns
        -------
        power : array, shape (n_components, n_states, n_channels)
            Mean of the density over frequencies, weighted by the profile.

        Raises
        ------
        ValueError
            If the spectra have other frequencies than the components.
        """
        return np.tensordot(self.weights(spectra), spectra.psd, (1, -1))

    def coherence(self, spectra: StateSpectra) -> np.ndarray:
        """Compute the coherence of states and pairs of channels in each component.

        Parameters
        ----------
        spectra : StateSpectra
            The spectra, with the same frequencies.

        Returns
        -------
        coherence : array, shape (n_components, n_states, n_channels, n_channels)
            Mean of the coherence over frequencies, weighted by the profile.

        Raises
        ------
        ValueError
            If the spectra have other frequencies than the components.

        See Also
        --------
        coherence_networks : The same for one component, to threshold and to plot.
        """
        return np.tensordot(self.weights(spectra), spectra.coherence, (1, -1))

    @copy_function_doc_to_method_doc(plot_components)
    def plot(self, *, axes: "Axes | None" = None, show: bool = True) -> "Figure":
        return plot_components(self, axes=axes, show=show)

    def __str__(self) -> str:
        peaks = ", ".join(f"{peak:g}" for peak in self.peaks)
        return (
            f"<SpectralComponents | {plural(self.n_components, 'component')} with peaks at {peaks} "
            f"Hz, {100 * self.explained:.1f} % explained>"
        )

    __repr__ = __str__


@fill_doc
def find_spectral_components(
    spectra: StateSpectra,
    n_components: int = 2,
    *,
    n_init: int = 1,
    random_state: RandomState = None,
) -> SpectralComponents:
    """Find the spectral components that coherence is made of.

    The coherence of each state and pair of channels, as a function of frequency, is taken as a
    sum of a few profiles, all of them 0 or more: a non-negative matrix factorization
    :footcite:`LeeSeung1999`, as in :footcite:t:`VidaurreEtAl2018`.

    Parameters
    ----------
    spectra : StateSpectra
        The spectra. Where they keep those of single recordings (``spectra.recordings``), the
        coherence of every recording goes in, otherwise that of all together.
    n_components : int
        Number of components. Of two, the first is commonly the broad band in which the brain is
        coherent, and the second is noise at higher frequencies. Four commonly give one component
        each about delta/theta, alpha, beta, and noise.
    n_init : int
        Number of starts; the one that explains most is kept. The first begins at the leading
        singular vectors, as in osl-dynamics, and ends at the same profiles whatever the seed.
        The others begin at random, and can end at somewhat different profiles that explain about
        as much.
    %(random_state)s

    Returns
    -------
    components : SpectralComponents
        The components.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If there are more components than frequencies or spectra, a component would hold nothing,
        or no coherence is known.
    ImportError
        If scikit-learn is not installed.

    Notes
    -----
    Conventions are those of ``osl_dynamics.analysis.spectral.decompose_spectra``: rows are
    recordings, states and pairs of channels above the diagonal, all of the same weight, columns
    are frequencies; components are in ascending order of the frequency of their peak. Coherence
    is neither squared nor centered. Only the scale differs: profiles have a maximum of 1 here.
    States that are never on are left out.

    References
    ----------
    .. footbibliography::
    """
    check_spectra(spectra)
    n_components = check_number(
        n_components, "n_components", rule="a whole number of components ≥ 1", low=1, integer=True
    )
    n_init = check_number(
        n_init, "n_init", rule="a whole number of starts ≥ 1", low=1, integer=True
    )
    rng = check_random_state(random_state)
    rows = _coherence_rows(spectra)
    if n_components > min(rows.shape):
        raise ValueError(
            f"n_components={n_components} is more than {min(rows.shape)}, the smaller one of "
            f"{rows.shape[1]} frequencies and {rows.shape[0]} spectra of coherence; pass fewer, or "
            "spectra with more frequencies"
        )
    profiles, residual = _factorize(rows, n_components, n_init, rng)
    peaks = profiles.max(axis=1)
    if not (peaks > 0).all():
        raise ValueError(
            f"n_components={n_components}, but {plural(int((peaks <= 0).sum()), 'component')} of "
            "these would hold nothing; pass fewer"
        )
    order = np.argsort(profiles.argmax(axis=1), kind="stable")
    explained = 1 - residual / np.square(rows).sum()
    return SpectralComponents(
        spectra.freqs.copy(), (profiles / peaks[:, np.newaxis])[order], float(explained)
    )


def _coherence_rows(spectra: StateSpectra) -> np.ndarray:
    """Stack the coherence of recordings, states and pairs, shape (n_rows, n_freqs)."""
    first, second = np.triu_indices(len(spectra.ch_names), 1)
    if not len(first):
        raise ValueError("spectra have one channel only, but coherence needs two or more")
    rows = [
        recording.coherence[:, first, second].reshape(-1, len(spectra.freqs))
        for recording in spectra.recordings or (spectra,)
    ]
    finite = np.concatenate([block[np.isfinite(block).all(axis=1)] for block in rows])
    if not len(finite):
        raise ValueError(
            "spectra hold no coherence that is known: it is NaN for every state and pair of "
            "channels, as it is for states that are never on and for channels without power"
        )
    return finite.astype(float, copy=False)


def _factorize(
    rows: np.ndarray, n_components: int, n_init: int, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Factorize from several starts; returns the best profiles and the squares that are left."""
    purpose = "to find spectral components"
    decomposition = import_extra("sklearn.decomposition", "analysis", purpose)
    exceptions = import_extra("sklearn.exceptions", "analysis", purpose)
    solutions = []
    for start, seed in enumerate(rng.integers(2**31, size=n_init)):
        with warnings.catch_warnings():
            # A warning below says what to do.
            warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
            loadings, profiles, n_iter = decomposition.non_negative_factorization(
                rows,
                n_components=n_components,
                init="random" if start else "nndsvda",
                max_iter=MAX_UPDATES,
                random_state=int(seed),
            )
        # The squares of rows - loadings @ profiles, without an array as large as rows.
        residual = (
            np.square(rows).sum()
            - 2 * np.sum((loadings.T @ rows) * profiles)
            + np.sum((loadings.T @ loadings) * (profiles @ profiles.T))
        )
        solutions.append((residual, profiles, n_iter))
    residual, profiles, n_iter = min(solutions, key=lambda solution: solution[0])
    if n_iter >= MAX_UPDATES:
        warn(
            f"The {plural(n_components, 'spectral component')} had not settled after "
            f"{MAX_UPDATES:,} updates; fewer components are easier to tell apart."
        )
    return profiles, max(residual, 0.0)


def _range(freqs: np.ndarray) -> str:
    return f"{len(freqs)} from {freqs[0]:g} to {freqs[-1]:g} Hz"
