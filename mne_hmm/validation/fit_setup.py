"""What comes before the first of many fits: arguments are checked and the data prepared, once."""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from .._utils.checks import check_number, check_option, check_random_state
from .._utils.files import check_folder
from .._utils.typing import FileName, RandomState, RecordingLike
from ..io.parcel_inputs import AtlasArguments
from ..model.file import Learned
from ..model.fit import prepared_of
from ..model.fit_settings import FitSettings
from ..preparation.prepared_data import PreparedData
from ..preparation.settings import Preparation
from .folds import Fold, make_folds, number_groups
from .many_fits import FitContext
from .model_pairs import METRICS


class FitSetup(NamedTuple):
    """Data, folds and settings of many fits."""

    prepared: PreparedData
    """The data of all fits."""
    group: list[int] | None
    """Index of each recording's group."""
    folds: list[Fold]
    """What each fold is trained on, and what is held out."""
    gap: float
    """Seconds between blocks."""
    settings: FitSettings
    """How each model is trained."""
    learned: Learned
    """Which parameters are learned."""
    root_seed: int | None
    """What all seeds come from."""
    checkpoint_dir: Path | None
    """Where finished fits are kept."""

    def begin(self) -> FitContext:
        """Open the folder of finished fits, if there is one."""
        return FitContext.begin(
            self.prepared, self.settings, self.gap, self.root_seed, self.checkpoint_dir, self.group
        )


def set_up_fits(
    inst: RecordingLike,
    n_folds: int,
    *,
    group: Sequence[Hashable] | None,
    gap: float,
    metric: str,
    preparation: Preparation | None,
    picks: Any,
    reject_by_annotation: bool,
    sfreq: float | None,
    checkpoint_dir: FileName | None,
    atlas_arguments: AtlasArguments,
    random_state: RandomState,
    n_jobs: int | None,
    settings: FitSettings,
) -> FitSetup:
    """Check the arguments that `select_n_states` and `cross_validate` share, and prepare the data.

    ``n_folds`` was checked before.
    """
    gap = check_number(gap, "gap", rule="a number of seconds ≥ 0", low=0)
    check_option(metric, "metric", METRICS)
    folder = check_folder(checkpoint_dir, "checkpoint_dir")
    rng = check_random_state(random_state)
    root_seed = None if random_state is None else int(rng.integers(2**62))
    prepared = prepared_of(
        inst,
        preparation,
        picks,
        reject_by_annotation,
        sfreq,
        atlas_arguments,
        n_jobs,
        group if preparation is not None and preparation.aligns else None,
    )
    group_indices = number_groups(group, len(prepared), n_folds)
    folds = make_folds(prepared, n_folds, gap, group_indices)
    learned = settings.learned(prepared)
    settings = replace(settings, learn_means=learned.means)
    return FitSetup(prepared, group_indices, folds, gap, settings, learned, root_seed, folder)
