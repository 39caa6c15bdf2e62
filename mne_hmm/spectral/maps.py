"""Maps of states: one value per state and channel, on sensors, sources and brain images."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mne
import numpy as np
from mne.utils import copy_function_doc_to_method_doc

from .._utils.checks import check_option, plural
from .._utils.typing import GaussianHMM
from .._utils.units import ANY_DENSITY_UNIT, DENSITY_UNITS
from ..io.parcellation.source_space import read_source_space
from ..model.dual_estimate import DualEstimate
from ..preparation.covariance_alignment import Alignment
from ..preparation.patterns import feature_patterns
from ..states.matching import check_model
from ..viz import plot_glass_brain, plot_topomap
from .from_model import alignment_of, check_dual, info_of_model
from .state_spectra import StateSpectra, check_spectra

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from nibabel import Nifti1Image

    from ..viz._drawing import SeveralAxes

POWER_MODES = ("relative", "difference", "power")


@dataclass(frozen=True, eq=False)
class StateMaps:
    """One value for each state and channel, such as the power of a band.

    Made by `power_maps` and `mean_maps`.

    Parameters
    ----------
    values : array, shape (n_states, n_channels)
        The values. NaN for a state of which nothing is known.
    info : mne.Info
        The channels. Maps on the head need their positions.
    state_names : tuple of str
        Names of the states.
    label : str
        What the values are, with their unit.
    """

    values: np.ndarray = field(repr=False)
    info: mne.Info = field(repr=False)
    state_names: tuple[str, ...]
    label: str = ""

    @property
    def ch_names(self) -> list[str]:
        """Names of the channels."""
        return list(self.info["ch_names"])

    @property
    def n_states(self) -> int:
        """Number of states."""
        return len(self.state_names)

    @property
    def has_places(self) -> bool:
        """Whether maps on the head can be drawn: whether all channels have positions."""
        places = [channel["loc"][:3] for channel in self.info["chs"]]
        return all(np.isfinite(place).all() and place.any() for place in places)

    def to_stc(
        self, src: Any, atlas: Any, *, subjects_dir: str | os.PathLike | None = None
    ) -> mne.SourceEstimate | mne.VolSourceEstimate:
        """Put the maps of parcels on the sources they came from.

        Parameters
        ----------
        src : SourceSpaces | path-like | Forward | InverseOperator
            The source space, on a surface or in a volume.
        atlas : list of Label | str | path-like | nibabel image
            The atlas of the parcels, as for `parcellate`.
        subjects_dir : path-like | None
            The folder of FreeSurfer subjects; None takes MNE-Python's setting.

        Returns
        -------
        stc : SourceEstimate | VolSourceEstimate
            The maps, with one "time" in seconds for each state: 0, 1 and so on. A source in
            several parcels has their weighted mean, one in none has 0.

        Raises
        ------
        TypeError
            If src is of a wrong kind.
        FileNotFoundError
            If a file is not there.
        ValueError
            If the atlas does not have as many parcels as the maps have channels, or does not
            belong to the source space.
        """
        from ..io.parcellation.atlas import find_parcels  # which loads nibabel

        src = read_source_space(src)
        vertices = [space["vertno"] for space in src]
        on_surface = src[0]["type"] == "surf"
        cls = mne.SourceEstimate if on_surface else mne.VolSourceEstimate
        data = np.zeros((sum(map(len, vertices)), self.n_states))
        subject = src[0].get("subject_his_id") or None
        stc = cls(data, vertices, tmin=0.0, tstep=1.0, subject=subject)
        parcels = find_parcels(stc, atlas, src=src, subjects_dir=subjects_dir)
        weights = parcels.weights.tocsr()
        values = self._values_of_parcels(weights.shape[1], parcels.names)
        stc.data = _weighted_mean(weights @ values.T, weights.sum(axis=1))
        return stc

    def to_nifti(self, atlas: Any) -> "Nifti1Image":
        """Put the maps of parcels on a brain image.

        Parameters
        ----------
        atlas : path-like | nibabel image
            The atlas of the parcels, as labels in three dimensions or weights in four.

        Returns
        -------
        img : nibabel.Nifti1Image
            The maps on the grid of the atlas, one volume for each state, in float32. A voxel in
            several parcels has their weighted mean, one in none has 0.

        Raises
        ------
        TypeError
            If the atlas is neither a path nor an image.
        FileNotFoundError
            If there is no such file.
        OSError
            If the file cannot be read.
        ValueError
            If the atlas does not have as many parcels as the maps have channels, or is none.
        """
        import nibabel  # which sets up a logger of its own, so only when it is needed

        from ..io.parcellation.atlas_volume import read_atlas, weights_at

        img = read_atlas(atlas)
        shape = img.shape[:3]
        grid = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), axis=1)
        weights = weights_at(img, grid @ img.affine[:3, :3].T + img.affine[:3, 3])
        values = self._values_of_parcels(weights.shape[1])
        # As on sources, the largest weight of each parcel counts as 1.
        weights /= weights.max(axis=0)
        data = _weighted_mean(weights @ values.T, weights.sum(axis=1))
        maps = nibabel.Nifti1Image(data.reshape(*shape, -1).astype(np.float32), img.affine)
        maps.header.set_xyzt_units("mm")
        return maps

    def _values_of_parcels(self, n_parcels: int, names: Sequence[str] = ()) -> np.ndarray:
        """Sort the values by an atlas' parcels, shape (n_states, n_parcels)."""
        if n_parcels != len(self.ch_names):
            raise ValueError(
                f"atlas must have one parcel for each channel, but it has "
                f"{plural(n_parcels, 'parcel')} and the maps have "
                f"{plural(len(self.ch_names), 'channel')}; pass the atlas of the parcellation"
            )
        if set(names) == set(self.ch_names):
            return self.values[:, [self.ch_names.index(name) for name in names]]
        return self.values

    @copy_function_doc_to_method_doc(plot_topomap)
    def plot_topomap(
        self, *, ch_type: str | None = None, axes: "SeveralAxes | None" = None, show: bool = True
    ) -> "Figure":
        return plot_topomap(self, ch_type=ch_type, axes=axes, show=show)

    @copy_function_doc_to_method_doc(plot_glass_brain)
    def plot_glass_brain(
        self, atlas: Any, *, axes: "SeveralAxes | None" = None, show: bool = True
    ) -> "Figure":
        return plot_glass_brain(self, atlas, axes=axes, show=show)

    def __str__(self) -> str:
        return (
            f"<StateMaps | {plural(self.n_states, 'state')}, "
            f"{plural(len(self.ch_names), 'channel')}, {self.label}>"
        )

    __repr__ = __str__


def power_maps(
    spectra: StateSpectra,
    fmin: float | None = None,
    fmax: float | None = None,
    *,
    mode: str = "relative",
) -> StateMaps:
    """Compute maps of the power of a band.

    Parameters
    ----------
    spectra : StateSpectra
        Spectra of the states.
    fmin, fmax : float | None
        The band in hertz; both ends are in it. None is the end of the spectrum.
    mode : "relative" | "difference" | "power"
        The change of power from the mean over states in percent of it, the difference from the
        mean, or the power itself. In the mean each state counts by the time it is on.

    Returns
    -------
    maps : StateMaps
        The mean density of the band, for each state and channel.

    Raises
    ------
    TypeError
        If spectra are none.
    ValueError
        If the band holds no frequency.
    """
    check_spectra(spectra)
    check_option(mode, "mode", POWER_MODES)
    power = spectra.power(fmin, fmax)
    unit = _unit(spectra)
    label = f"Power ({unit})"
    if mode != "power":
        on = (spectra.weights > 0) & ~np.isnan(power).any(axis=1)
        mean = spectra.weights[on] @ power[on] / spectra.weights[on].sum()
        power = power - mean
        label = f"Power, difference from mean ({unit})"
        if mode == "relative":
            power = 100 * power / mean
            label = "Power, change from mean (%)"
    return StateMaps(power, spectra.info, spectra.state_names, label)


def _unit(spectra: StateSpectra) -> str:
    """Get the unit of densities."""
    if spectra.standardized:
        return "1/Hz"
    types = set(spectra.info.get_channel_types(unique=True))
    if len(types) != 1:
        return ANY_DENSITY_UNIT
    return DENSITY_UNITS.get(types.pop(), ANY_DENSITY_UNIT)


def mean_maps(
    hmm: GaussianHMM,
    *,
    dual: DualEstimate | None = None,
    alignment: Alignment | None = None,
    info: mne.Info | None = None,
) -> StateMaps:
    """Compute maps of the means of states, such as activations in fMRI.

    Parameters
    ----------
    hmm : HMM
        A model that learned means.
    dual : DualEstimate | None
        The model's estimate of one recording, from :meth:`HMM.dual_estimate`, for maps of that
        recording. None gives maps of the model.
    alignment : Alignment | None
        The map of a recording whose own channels are wanted, one of ``hmm.alignments_``. None takes
        that of ``dual``, or without it the channels of the group's mean.
    info : mne.Info | None
        Tells where the channels lie; it may have others, too. The model knows only their names.

    Returns
    -------
    maps : StateMaps
        Mean of each channel while a state is on. Principal components are undone, and of
        several lags the middle one is taken.

    Raises
    ------
    TypeError
        If dual is no estimate of one recording, alignment no map, or info is none.
    ValueError
        If the model did not learn means, dual or alignment is not of this model, or info lacks a
        channel.
    """
    check_model(hmm, "hmm")
    if not hmm.learned.means:
        raise ValueError(
            "hmm must have means, but this model was trained with means of zero; fit it with "
            "learn_means=True, or make maps of power with power_maps"
        )
    check_dual(hmm, dual)
    preparation = hmm.preparation_
    means = hmm.means_ if dual is None else dual.means
    n_lags = preparation.n_embeddings
    patterns = feature_patterns(preparation, alignment_of(hmm, dual, alignment))
    values = means @ patterns[n_lags // 2 :: n_lags].T
    info = info_of_model(info, preparation)
    measure = "Mean amplitude" if preparation.envelope else "Mean"
    unit = "standard deviations" if preparation.standardize else "units of the channels"
    return StateMaps(values, info, tuple(hmm.state_names), f"{measure} ({unit})")


def _weighted_mean(sums: np.ndarray, weights: Any) -> np.ndarray:
    """Divide by the weights, and leave 0 where there are none."""
    weights = np.asarray(weights)[:, np.newaxis]
    return np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 0)
