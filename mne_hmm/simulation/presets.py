"""Networks by name, to simulate recordings that look like those of a study."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import mne
import numpy as np

# The regions of the atlas "aparc" of FreeSurfer, in the order of mne.read_labels_from_annot.
REGIONS = (
    *("bankssts", "caudalanteriorcingulate", "caudalmiddlefrontal", "cuneus", "entorhinal"),
    *("frontalpole", "fusiform", "inferiorparietal", "inferiortemporal", "insula"),
    *("isthmuscingulate", "lateraloccipital", "lateralorbitofrontal", "lingual"),
    *("medialorbitofrontal", "middletemporal", "paracentral", "parahippocampal"),
    *("parsopercularis", "parsorbitalis", "parstriangularis", "pericalcarine", "postcentral"),
    *("posteriorcingulate", "precentral", "precuneus", "rostralanteriorcingulate"),
    *("rostralmiddlefrontal", "superiorfrontal", "superiorparietal", "superiortemporal"),
    *("supramarginal", "temporalpole", "transversetemporal"),
)
PARCELS = tuple(f"{region}-{side}" for region in REGIONS for side in ("lh", "rh"))

ELECTRODES = (
    *("Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "FC5", "FC1", "FC2", "FC6", "T7", "C3", "Cz"),
    *("C4", "T8", "TP9", "CP5", "CP1", "CP2", "CP6", "TP10", "P7", "P3", "Pz", "P4", "P8"),
    *("PO9", "O1", "Oz", "O2", "PO10"),
)
# Meters from the middle of a network within which electrodes pick up most of it.
REACH = 0.04


class Network(NamedTuple):
    """A state of a preset."""

    name: str
    frequency: float
    """Center of its oscillations in hertz."""
    mean_lifetime: float
    """Mean duration of a visit in seconds."""
    occupancy: float
    """Share of the time it is on."""
    members: tuple[str, ...]
    """Parcels, on both sides unless a side is given, or electrodes in its middle."""


class Preset(NamedTuple):
    """The networks of a preset, and the channels they are seen in."""

    networks: tuple[Network, ...]
    channels: tuple[str, ...]
    patterns: Callable[[Sequence[Network]], np.ndarray]
    """Makes patterns, shape (n_networks, n_sources, n_channels)."""
    ch_type: str
    scale: float
    """Standard deviation of the channels, in their units."""
    snr: float


def electrode_positions() -> mne.channels.DigMontage:
    """Get the positions of electrodes, under the name that this MNE-Python has for them."""
    names = mne.channels.get_builtin_montages()
    return mne.channels.make_standard_montage(
        "colin27_1020" if "colin27_1020" in names else "standard_1020"
    )


def _of_parcels(networks: Sequence[Network]) -> np.ndarray:
    """Give each pair of parcels of a network a source, and one that they share."""
    out = []
    for network in networks:
        of_network = [
            [parcel for parcel in PARCELS if parcel in (member, f"{member}-lh", f"{member}-rh")]
            for member in network.members
        ]
        sources = np.zeros((4, len(PARCELS)))
        for i_member, parcels in enumerate(of_network):
            columns = [PARCELS.index(parcel) for parcel in parcels]
            sources[0, columns] = 1.0
            sources[1 + i_member % 3, columns] = 0.6
        out.append(sources)
    return np.array(out)


def _of_electrodes(networks: Sequence[Network]) -> np.ndarray:
    """Put a source under each electrode in the middle of a network, and one that they share."""
    positions = electrode_positions().get_positions()["ch_pos"]
    places = np.array([positions[name] for name in ELECTRODES])
    out = np.zeros((len(networks), 4, len(ELECTRODES)))
    for sources, network in zip(out, networks, strict=True):
        for i_member, member in enumerate(network.members):
            distance = np.linalg.norm(places - positions[member], axis=1)
            seen = np.exp(-0.5 * (distance / REACH) ** 2)
            sources[0] += seen
            sources[1 + i_member % 3] += 0.6 * seen
    return out


PRESETS = {
    "resting-meg": Preset(
        (
            Network(
                "visual",
                10.0,
                0.11,
                0.14,
                ("pericalcarine", "cuneus", "lingual", "lateraloccipital"),
            ),
            Network(
                "posterior_default",
                9.0,
                0.12,
                0.13,
                ("precuneus", "posteriorcingulate", "isthmuscingulate", "inferiorparietal"),
            ),
            Network(
                "anterior_default",
                4.0,
                0.10,
                0.12,
                ("medialorbitofrontal", "rostralanteriorcingulate", "superiorfrontal"),
            ),
            Network("sensorimotor", 20.0, 0.12, 0.13, ("precentral", "postcentral", "paracentral")),
            Network(
                "left_frontotemporal",
                6.0,
                0.09,
                0.11,
                ("parsopercularis-lh", "parstriangularis-lh", "superiortemporal-lh",
                 "middletemporal-lh"),
            ),
            Network(
                "right_frontotemporal",
                6.0,
                0.09,
                0.10,
                ("parsopercularis-rh", "parstriangularis-rh", "superiortemporal-rh",
                 "middletemporal-rh"),
            ),
            Network(
                "frontoparietal",
                14.0,
                0.09,
                0.12,
                ("superiorparietal", "supramarginal", "caudalmiddlefrontal"),
            ),
            Network("background", 10.0, 0.10, 0.15, ()),
        ),
        PARCELS,
        _of_parcels,
        "misc",
        1.0,
        1.0,
    ),
    "sensorimotor-meg": Preset(
        (
            Network("background", 10.0, 0.60, 0.45, ()),
            Network("left_beta", 20.0, 0.25, 0.15, ("precentral-lh", "postcentral-lh")),
            Network("right_beta", 20.0, 0.25, 0.15, ("precentral-rh", "postcentral-rh")),
            Network("mu", 11.0, 0.40, 0.25, ("postcentral", "paracentral")),
        ),
        PARCELS,
        _of_parcels,
        "misc",
        1.0,
        1.0,
    ),
    "resting-eeg": Preset(
        (
            Network("posterior_alpha", 10.0, 0.30, 0.30, ("O1", "Oz", "O2", "Pz")),
            Network("frontal_theta", 6.0, 0.15, 0.15, ("Fz", "FC1", "FC2")),
            Network("sensorimotor_mu", 12.0, 0.20, 0.15, ("C3", "C4")),
            Network("frontal_beta", 20.0, 0.12, 0.15, ("F3", "F4", "Fz")),
            Network("background", 10.0, 0.20, 0.25, ()),
        ),
        ELECTRODES,
        _of_electrodes,
        "eeg",
        10e-6,
        1.0,
    ),
}  # fmt: skip
