"""What the published models are: their files, channels and training recordings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mne
import numpy as np

from .._utils.checks import check_option, listed
from .._utils.typing import FileName, Verbose
from ._cache import cache_folder
from ._download import is_right
from ._registry import fetch_registered, read_registry

# The models of one kind of channels have these numbers of states.
N_STATES = range(4, 17)
# Rate of the features, number of lags, and pass band of the training recordings.
SFREQ, N_EMBEDDINGS, BAND = 250.0, 15, (0.5, 45.0)
TRAINED_ON = "Cam-CAN MEG recordings the model was trained on"

ATLASES = {
    "Giles38": "atlas-Giles_nparc-38_space-MNI_res-8x8x8.nii.gz",
    "Glasser52": "atlas-Glasser_nparc-52_space-MNI_res-8x8x8.nii.gz",
    "DK54": "atlas-DK_nparc-54_space-MNI_res-8x8x8.nii.gz",
}
SENSORS = "Elekta"
PARCELLATIONS = (*ATLASES, SENSORS)


@dataclass(frozen=True)
class Published:
    """The models of one kind of channels."""

    parcellation: str
    """One of `PARCELLATIONS`."""
    n_states: int
    """One of `N_STATES`."""

    def __post_init__(self) -> None:
        check_option(self.parcellation, "parcellation", PARCELLATIONS)
        n = self.n_states
        if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n not in N_STATES:
            raise ValueError(
                f"n_states must be one of {listed(map(str, N_STATES), len(N_STATES))}: there are "
                f"published models of {self.parcellation} with these numbers of states, got {n!r}"
            )

    @property
    def of_parcels(self) -> bool:
        """Whether the channels are parcels of an atlas, or sensors."""
        return self.parcellation in ATLASES

    def load(
        self,
        names: Sequence[str],
        shared: Sequence[str],
        path: FileName | None,
        verbose: Verbose,
    ) -> dict[str, np.ndarray]:
        """Fetch and load arrays."""
        folder = f"models/{self.parcellation}"
        fnames = [f"{folder}/{self.n_states:02d}_states/{name}.npy" for name in names]
        fnames += [f"{folder}/{name}.npy" for name in shared]
        paths = fetch_registered("canonical-hmm", fnames, path, verbose=verbose)
        return {
            name: np.load(fname, allow_pickle=False)
            for name, fname in zip((*names, *shared), paths, strict=True)
        }

    def atlas(self, path: FileName | None) -> Path | None:
        """Find the atlas of the parcels, if it has been fetched already."""
        for name, sha256 in read_registry("parcellation").items():
            fname = cache_folder(path).joinpath("parcellation", *name.split("/"))
            if fname.name == ATLASES.get(self.parcellation) and is_right(fname, sha256):
                return fname
        return None

    def ch_names(self, n_channels: int) -> tuple[str, ...]:
        """Names of the channels."""
        if self.of_parcels:
            # As `parcellate` names the parcels of an image.
            width = len(str(n_channels - 1))
            return tuple(f"parcel_{i_parcel:0{width}}" for i_parcel in range(n_channels))
        # In the order of acquisition, which is that of the files of recordings.
        names = [name.replace(" ", "") for name in mne.channels.read_layout("Vectorview-all").names]
        magnetometers = [name for name in names if name.endswith("1")]
        gradiometers = [name for name in names if not name.endswith("1")]
        for sensors in (names, magnetometers, gradiometers):
            if len(sensors) == n_channels:
                return tuple(sensors)
        raise OSError(f"the files of {self.parcellation} are of {n_channels} channels; none known")

    def info(self, n_channels: int) -> mne.Info:
        """Describe the channels."""
        names = self.ch_names(n_channels)
        kinds = ["mag" if name.endswith("1") else "grad" for name in names]
        return mne.create_info(list(names), SFREQ, "misc" if self.of_parcels else kinds)

    def channels_from(self, n_channels: int) -> str:
        """Say what the channels are and how to make them."""
        if not self.of_parcels:
            return f"the {n_channels} MEG sensors of Elekta systems (MEG0111 and so on)"
        names, atlas = self.ch_names(n_channels), ATLASES[self.parcellation]
        return (
            f"the {n_channels} parcels of {self.parcellation} (atlas file {atlas}), named "
            f"{names[0]} to {names[-1]} in its order; mne_hmm.parcellate(stc, "
            f'mne_hmm.datasets.fetch_atlas("{self.parcellation}"), src=src) makes them'
        )
