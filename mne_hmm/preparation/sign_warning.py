"""A warning where the signs of channels differ between recordings that are being prepared."""

from collections.abc import Sequence

import numpy as np

from .._utils.checks import listed
from .._utils.mne_private import warn
from ..io.recording import Recording
from .settings import Preparation
from .sign_search import (
    CovarianceEntries,
    Similarity,
    best_flips,
    entries_between,
    median_recording,
    starts_of_search,
)

# Signs that differ in a group show in its first recordings.
MAX_RECORDINGS = 20
N_WARNING_STARTS = 10

# With fewer channels, flips make nearly anything similar.
MIN_CHANNELS = 5

# What counts as clearly more similar: by this much, and by this factor above chance.
MIN_CLEAR_GAIN = 0.1
MIN_RATIO_TO_CHANCE = 2.0


class SignCheck:
    """Collects the products of one recording after another, and warns in the end.

    Only parcels are checked, which are kept as ``misc`` channels: the signs of sensors are known.
    Envelopes have no sign, and without an embedding there may be nothing between parcels.
    """

    def __init__(self, recordings: Sequence[Recording], preparation: Preparation):
        first = recordings[0]
        kinds = set(first.raw.get_channel_types(picks=first.picks))
        n_lags = preparation.n_embeddings
        n_channels = len(first.picks)
        wanted = (
            len(recordings) > 1
            and n_channels >= MIN_CHANNELS
            and n_lags > 1
            and preparation.n_components is not None
            and not preparation.envelope
            and kinds == {"misc"}
        )
        self._entries = _entries_by_difference_of_lags(n_channels, n_lags) if wanted else None
        self._labels: list[str] = []
        self._values: list[np.ndarray] = []

    @property
    def wants_more(self) -> bool:
        """Whether another recording would be looked at."""
        return self._entries is not None and len(self._values) < MAX_RECORDINGS

    def add(self, recording: Recording, products: np.ndarray) -> None:
        """Keep what is needed of the products of one recording's embedded channels."""
        if self._entries is None or not self.wants_more:
            return
        power = np.sqrt(np.diag(products))
        values = self._entries.of(products)
        values /= power[self._entries.rows] * power[self._entries.columns]
        self._labels.append(recording.label)
        self._values.append(values)

    def warn_if_signs_differ(self) -> None:
        """Warn if flips would make some recordings clearly more similar to the median one."""
        if self._entries is None or len(self._values) < 2:
            return
        values = np.array(self._values)
        before, after, chance = _similarities(values, self._entries)
        differs = (after > before + MIN_CLEAR_GAIN) & (after > MIN_RATIO_TO_CHANCE * chance)
        if differs.any():
            names = [label for label, yes in zip(self._labels, differs, strict=True) if yes]
            warn(
                "The signs of channels seem to differ between recordings: with some channels "
                f"flipped, {listed(names, 4)} would be more similar to "
                f"{self._labels[median_recording(values)]} (on average {after[differs].mean():.2f} "
                f"instead of {before[differs].mean():.2f}). If these are parcels, whose signs are "
                "arbitrary, align them first: raws = mne_hmm.align_signs(raws).raws"
            )


def _entries_by_difference_of_lags(n_channels: int, n_lags: int) -> CovarianceEntries:
    """One entry for each pair of channels and each difference of their lags.

    Others with the same difference say nearly the same.
    """
    first, second = np.triu_indices(n_channels, k=1)
    later = np.concatenate([np.zeros(n_lags, int), np.arange(1, n_lags)])
    rows = first[:, None] * n_lags + later
    columns = second[:, None] * n_lags + later[::-1]
    return entries_between(rows.ravel(), columns.ravel(), n_channels, n_lags)


def _similarities(
    values: np.ndarray, entries: CovarianceEntries
) -> tuple[np.ndarray, np.ndarray, float]:
    """Similarity to the median recording, with the best flips, and what the search finds by chance.

    Chance is the most that flips reach in any recording where the template's pairs of channels
    are exchanged at random and get random signs. With few channels it is high.
    """
    rng = np.random.default_rng(0)
    n_channels = entries.n_channels
    starts = starts_of_search(N_WARNING_STARTS, n_channels, rng)
    template = values[median_recording(values)]
    pairs = template.reshape(n_channels * (n_channels - 1) // 2, -1)
    before, after, chance = [], [], []
    for row in values:
        similarity = Similarity(row, template, entries)
        before.append(similarity.of(np.ones(n_channels)))
        after.append(similarity.of(best_flips(similarity, starts)))
        unlike = rng.permutation(pairs) * rng.choice([-1, 1], (len(pairs), 1))
        similarity = Similarity(row, unlike.ravel(), entries)
        chance.append(similarity.of(best_flips(similarity, starts)))
    return np.array(before), np.array(after), float(max(chance))
