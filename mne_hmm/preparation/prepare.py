"""From recordings to the features the model is trained on.

The order is that of the field: filter, resample, envelope, standardize, align, embed, project,
standardize. What is fitted here (the mean to which recordings are aligned, and the principal
components) stays with the model and is applied to every recording the model meets later. A fitted
preparation may also align the signs of the standardized channels, or take spatial components of
them, before the embedding.
"""

import contextlib
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from mne.utils import ProgressBar, logger, verbose

from .._utils.docs import fill_doc
from .._utils.parallel import side_by_side, warn_again, with_warnings
from ..io.inputs import as_list, to_recordings
from ..io.parcel_inputs import AtlasArguments, with_parcels
from ..io.recording import Recording
from .alignment_groups import AlignmentGroups, make_groups
from .cache import PreparedFolder, opened_to_fill
from .cache_key import identity_of
from .covariance_alignment import Alignment, Scatter
from .embedding import LaggedMoments
from .features import (
    features_of,
    fit_components,
    left_out_of,
    moments_of,
    warn_of_left_out,
    warn_of_rank,
)
from .prepared_data import PreparedData
from .settings import FittedPreparation, Preparation
from .sign_warning import SignCheck
from .signals import Signals, prepare_signals, warn_of_short_epochs


@verbose
@fill_doc
def prepare(
    inst: Any,
    preparation: Preparation | None = None,
    *,
    picks: Any = None,
    reject_by_annotation: bool = True,
    sfreq: float | None = None,
    group: Sequence[Hashable] | None = None,
    align_on: Any = None,
    cache_dir: Any = None,
    atlas: Any = None,
    src: Any = None,
    subjects_dir: Any = None,
    n_jobs: int | None = None,
    verbose: Any = None,
) -> PreparedData:
    """Turn recordings into the features a model is trained on.

    Parameters
    ----------
    %(inst_to_prepare)s
    preparation : Preparation | FittedPreparation | None
        What to do. None is ``Preparation()``, the time-delay embedding of 1-45 Hz. A fitted
        one (``hmm.preparation_``, ``prepared.preparation``) is applied as it is, with its
        channels and components.
    %(picks)s
    %(reject_by_annotation)s
    %(sfreq)s
    %(group)s
    %(align_on)s
    cache_dir : path-like | None
        Folder for the features, where they are more than memory holds: recordings are read
        one at a time, their features go into one file each, and training reads them from
        there. None (default) keeps the features in memory.
    %(atlas)s
    %(n_jobs)s
    %(verbose)s

    Returns
    -------
    prepared : PreparedData
        The features, one array per recording. With ``cache_dir``, what
        ``read_prepared(cache_dir)`` gives: an array is read when it is asked for.

    Raises
    ------
    ValueError
        If a recording has no good span, holds values that are not finite, is flat in a
        channel, lacks a channel, or is sampled too slowly for ``h_freq``; or if
        ``n_components`` is more than the data have. With ``align``: if a group is too short for
        its covariance, ``align_on`` holds no good sample, or there are more or fewer labels than
        recordings. Also if a file does not tell which array
        or which axis to take, a folder holds files of several kinds, or ``cache_dir`` holds the
        features of other recordings or settings, or other files.
    OSError
        If a file is not there or cannot be read, or ``cache_dir`` is no folder or cannot be
        written to.

    See Also
    --------
    read_prepared : Reads the features in a folder.
    align_signs : Gives parcels signs that agree between recordings.
    fit_hmm : Prepares and trains in one call.

    Notes
    -----
    Recordings are filtered over their whole length, as :meth:`mne.io.Raw.filter` does by
    default, and only then cut into good spans. Principal components are found over all
    recordings together.

    With ``n_jobs`` above 1 as many recordings of a list are filtered side by side, without
    changing a bit of the result. Parcels of source estimates and brain images are made side by
    side, too, and rounding may change their last digits. Source estimates in pieces from an
    iterator are always made in this process.

    A warning tells where the signs of embedded ``misc`` channels, as parcels are kept, seem to
    differ between the first twenty recordings: where some flips would make a recording clearly
    more similar to the others. :func:`align_signs` finds and applies them.

    Recordings are aligned on the covariance of their own good spans, also those that a fitted
    preparation meets for the first time; only the mean to which they are aligned is fitted.
    ``prepared.alignments`` has the map of each.

    With ``cache_dir`` every recording is read twice, first for the components and then for
    the features; once if the preparation is fitted and no recordings are aligned together. A
    call that was interrupted goes on where it stopped when it is made again with the same
    arguments, and one that was finished gives what it left. Of several calls that fill one
    folder at a time, one does it and the others wait.

    Examples
    --------
    >>> import mne_hmm
    >>> raw, _ = mne_hmm.simulate_raw(n_channels=6, duration=20., random_state=0)
    >>> prepared = mne_hmm.prepare(raw, mne_hmm.Preparation(n_components=10), verbose=False)
    >>> prepared.data[0].shape
    (4986, 10)
    """
    preparation = _check_preparation(preparation, picks)
    fitted = preparation if isinstance(preparation, FittedPreparation) else None
    if any(isinstance(entry, PreparedData) for entry in as_list(inst)):
        raise TypeError(
            "inst is PreparedData, which are prepared already; pass them to fit_hmm or "
            "hmm.predict as they are"
        )
    arguments = AtlasArguments(atlas, src, subjects_dir)
    recordings = to_recordings(
        with_parcels(inst, arguments, n_jobs=n_jobs),
        picks=picks,
        ch_names=None if fitted is None else fitted.ch_names_,
        channels_from="" if fitted is None else fitted.channels_from_,
        reject_by_annotation=reject_by_annotation,
        sfreq=sfreq,
    )
    if preparation.sfreq is None:
        _check_rates(recordings, fitted)
    groups = make_groups(
        recordings,
        preparation,
        group,
        align_on,
        reject_by_annotation=reject_by_annotation,
        sfreq=sfreq,
        atlas_arguments=arguments,
    )
    if cache_dir is None:
        prepared = _in_memory(recordings, preparation, groups, n_jobs)
    else:
        names = [recording.label for recording in recordings]
        identity = identity_of(recordings, preparation, groups)
        with opened_to_fill(cache_dir, identity, names) as folder:
            prepared = _in_folder(recordings, preparation, groups, folder, n_jobs)
    warn_of_short_epochs(recordings, preparation)
    logger.info(str(prepared))
    return prepared


def _check_preparation(preparation: Any, picks: Any) -> Preparation:
    """Check what is to be done, and that picks go with it."""
    preparation = Preparation() if preparation is None else preparation
    if not isinstance(preparation, Preparation):
        raise TypeError(
            "preparation must be a Preparation, as in Preparation(h_freq=30), got "
            f"{preparation!r} of type {type(preparation).__name__}"
        )
    if isinstance(preparation, FittedPreparation) and picks is not None:
        raise ValueError(
            f"picks={picks!r} cannot be given with a fitted preparation, which has its own "
            "channels; leave picks out"
        )
    return preparation


def _check_rates(recordings: Sequence[Recording], fitted: FittedPreparation | None) -> None:
    """Check the rates of recordings that are not resampled."""
    first = recordings[0]
    for other in recordings[1:]:
        if other.timeline.sfreq != first.timeline.sfreq:
            raise ValueError(
                f"preparation.sfreq is None, so rates stay as they are, but {first.label} has "
                f"{first.timeline.sfreq:g} Hz and {other.label} {other.timeline.sfreq:g} Hz; set a "
                f"rate, as in Preparation(sfreq={first.timeline.sfreq:g})"
            )
    if fitted is not None and first.timeline.sfreq != fitted.sfreq_:
        raise ValueError(
            f"{first.label} has {first.timeline.sfreq:g} Hz, but the "
            f"model was trained on data at {fitted.sfreq_:g} Hz that were not resampled; "
            f"resample first (raw.resample({fitted.sfreq_:g}))"
        )


def _in_memory(
    recordings: Sequence[Recording],
    preparation: Preparation,
    groups: AlignmentGroups | None,
    n_jobs: int | None,
) -> PreparedData:
    """Prepare recordings in one pass; their signals wait for the components."""
    indices = range(len(recordings))
    of_all = [x for _, x in _signals(recordings, indices, preparation, n_jobs, "Preparing")]
    warn_of_left_out([left_out_of(signals) for signals in of_all], preparation)
    scatters = (
        []
        if groups is None
        else [groups.scatter(signals, i, preparation) for i, signals in enumerate(of_all)]
    )
    if isinstance(preparation, FittedPreparation):
        fitted = preparation
        mean = fitted.aligned_to_
        maps = [] if groups is None or mean is None else groups.alignments(scatters, mean)
    else:
        signs = SignCheck(recordings, preparation)
        moments = (moments_of(signals, preparation) for signals in of_all)
        if groups is None:
            maps = []
            total: Any = None
            for recording, lagged in zip(recordings, moments, strict=True):
                total = _added(total, _products(lagged, recording, signs))
            fitted = fit_components(total, recordings[0], preparation)
        else:
            fitted, maps = _fit_aligned(moments, scatters, groups, preparation, signs)
        warn_of_rank(fitted)
        signs.warn_if_signs_differ()
    data, time_maps = [], []
    alignments: Sequence[Alignment | None] = maps or [None] * len(recordings)
    for alignment in alignments:
        # The memory of signals is freed one by one.
        features, time_map = features_of(of_all.pop(0), fitted, alignment)
        data.append(features)
        time_maps.append(time_map)
    names = [recording.label for recording in recordings]
    return PreparedData(data, fitted, time_maps, names, maps)


def _fit_aligned(
    moments: Iterable[LaggedMoments],
    scatters: Sequence[Scatter],
    groups: AlignmentGroups,
    preparation: Preparation,
    signs: SignCheck,
) -> tuple[FittedPreparation, list[Alignment]]:
    """Fit the mean to which recordings are aligned, their maps, and components of the aligned."""
    assert preparation.align is not None  # there are groups
    mean = groups.fit_mean(scatters, preparation.align)
    maps = groups.alignments(scatters, mean)
    total: Any = None
    for recording, lagged, alignment in zip(groups.recordings, moments, maps, strict=True):
        if signs.wants_more:
            signs.add(recording, lagged.products())
        total = _added(total, lagged.mapped(alignment.to_mean).products())
    fitted = fit_components(
        total,
        groups.recordings[0],
        preparation,
        aligned_to=mean,
        grouped=not groups.are_recordings,
    )
    return fitted, maps


def _in_folder(
    recordings: Sequence[Recording],
    preparation: Preparation,
    groups: AlignmentGroups | None,
    folder: PreparedFolder,
    n_jobs: int | None,
) -> PreparedData:
    """Prepare recordings in two passes, or what an interrupted call left to do of them."""
    fitted, missing = folder.preparation(), folder.missing()
    if fitted is not None and not missing:
        folder.drop_products()
        logger.info(f"{folder.path} holds these features already")
        return folder.prepared()
    if fitted is None and isinstance(preparation, FittedPreparation):
        fitted = preparation
        folder.keep_preparation(fitted)
    if fitted is None:
        if groups is None:
            fitted = _fit_in_folder(recordings, preparation, folder, n_jobs)
        else:
            fitted = _fit_aligned_in_folder(recordings, preparation, groups, folder, n_jobs)
    if groups is not None:
        _align_groups_in_folder(recordings, fitted, groups, folder, n_jobs)
    folder.drop_products()
    for index, signals in _signals(recordings, missing, preparation, n_jobs, "Preparing"):
        alignment = None if groups is None else folder.alignment(index)
        if groups is not None and alignment is None:  # of a recording that is aligned by itself
            assert fitted.aligned_to_ is not None
            scatter, i_group = groups.scatter(signals, index, fitted), groups.group_of(index)
            alignment = groups.alignment([scatter], i_group, fitted.aligned_to_)
            folder.keep_alignment(index, alignment)
        folder.keep_features(index, *features_of(signals, fitted, alignment), left_out_of(signals))
        del signals  # before the next is read
    warn_of_left_out(folder.left_out, preparation)
    if not isinstance(preparation, FittedPreparation):
        warn_of_rank(fitted)
    return folder.prepared()


def _fit_in_folder(
    recordings: Sequence[Recording],
    preparation: Preparation,
    folder: PreparedFolder,
    n_jobs: int | None,
) -> FittedPreparation:
    """Fit the components in a pass of their own."""
    n_done, total = folder.products()
    if n_done:
        logger.info(f"Going on after {n_done} of {len(recordings)} recordings")
    todo = range(n_done, len(recordings))
    signs = SignCheck(recordings, preparation)
    for index, signals in _signals(recordings, todo, preparation, n_jobs, "Fitting"):
        products = _products(moments_of(signals, preparation), signals.recording, signs)
        total = _added(total, products)
        folder.keep_products(index + 1, total, left_out_of(signals))
        del signals  # before the next is read
    with _forgotten_if_wrong(folder):
        fitted = fit_components(total, recordings[0], preparation)
    folder.keep_preparation(fitted)
    signs.warn_if_signs_differ()
    return fitted


def _fit_aligned_in_folder(
    recordings: Sequence[Recording],
    preparation: Preparation,
    groups: AlignmentGroups,
    folder: PreparedFolder,
    n_jobs: int | None,
) -> FittedPreparation:
    """Fit the mean to which recordings are aligned, and the components, in a pass of their own.

    Components are of aligned recordings, which wait for the mean of all. So what products are made
    of is kept for each recording.
    """
    todo = _without_moments(range(len(recordings)), folder)
    for index, signals in _signals(recordings, todo, preparation, n_jobs, "Fitting"):
        scatter = groups.scatter(signals, index, preparation)
        folder.keep_moments(index, scatter, moments_of(signals, preparation), left_out_of(signals))
        del signals  # before the next is read
    signs = SignCheck(recordings, preparation)
    scatters = [folder.scatter(index) for index in range(len(recordings))]
    moments = (folder.moments(index) for index in range(len(recordings)))
    with _forgotten_if_wrong(folder):
        fitted, maps = _fit_aligned(moments, scatters, groups, preparation, signs)
    for index, alignment in enumerate(maps):
        folder.keep_alignment(index, alignment)
    folder.keep_preparation(fitted)
    signs.warn_if_signs_differ()
    return fitted


def _align_groups_in_folder(
    recordings: Sequence[Recording],
    fitted: FittedPreparation,
    groups: AlignmentGroups,
    folder: PreparedFolder,
    n_jobs: int | None,
) -> None:
    """Find the maps of groups of several recordings, whose first needs to know of the last."""
    assert fitted.aligned_to_ is not None  # there are groups
    i_groups = [
        i_group
        for i_group, members in enumerate(groups.members)
        if len(members) > 1 and any(folder.alignment(index) is None for index in members)
    ]
    indices = sorted(index for i_group in i_groups for index in groups.members[i_group])
    todo = _without_moments(indices, folder)
    for index, signals in _signals(recordings, todo, fitted, n_jobs, "Aligning"):
        scatter = groups.scatter(signals, index, fitted)
        folder.keep_moments(index, scatter, None, left_out_of(signals))
        del signals  # before the next is read
    for i_group in i_groups:
        members = groups.members[i_group]
        scatters = [folder.scatter(index) for index in members]
        alignment = groups.alignment(scatters, i_group, fitted.aligned_to_)
        for index in members:
            folder.keep_alignment(index, alignment)


def _without_moments(indices: Sequence[int], folder: PreparedFolder) -> list[int]:
    """List the recordings an interrupted call has not been through."""
    todo = [index for index in indices if not folder.has_moments(index)]
    if len(todo) < len(indices):
        logger.info(f"Going on after {len(indices) - len(todo)} of {len(indices)} recordings")
    return todo


@contextlib.contextmanager
def _forgotten_if_wrong(folder: PreparedFolder) -> Iterator[None]:
    """Leave the folder to other calls if this one fails by what it was asked."""
    try:
        yield
    except ValueError:
        folder.forget()
        raise


def _products(moments: LaggedMoments, recording: Recording, signs: SignCheck) -> np.ndarray:
    """Get the products of one recording, whose signs are checked with those of others."""
    products = moments.products()
    signs.add(recording, products)
    return products


def _added(total: np.ndarray | None, products: np.ndarray) -> np.ndarray:
    """Add up in place, in the order of the recordings, so that the bits are always the same."""
    if total is None:
        return products
    total += products
    return total


def _signals(
    recordings: Sequence[Recording],
    chosen: Sequence[int],
    preparation: Preparation,
    n_jobs: int | None,
    message: str,
) -> Iterator[tuple[int, Signals]]:
    """Prepare the signals of one recording after another, or of as many at once as jobs.

    Only filtering is done side by side. Matrix products depend on the number of threads in
    their last bits, and other processes have other numbers of threads.
    """
    parallel, run, n_at_once = side_by_side(with_warnings, n_jobs, max_jobs=len(chosen))
    progress = ProgressBar(len(chosen), mesg=message)
    for start in range(0, len(chosen), n_at_once):
        group = chosen[start : start + n_at_once]
        if n_at_once == 1:
            yield group[0], prepare_signals(recordings[group[0]], preparation, n_jobs)
        else:
            results = parallel(run(_values, recordings[index], preparation) for index in group)
            for index in group:
                yield index, Signals(recordings[index], *warn_again(*results.pop(0)))
        progress.update(start + len(group))


def _values(recording: Recording, preparation: Preparation) -> list[Any]:
    """Prepare signals in another process, without the recording, which need not travel back."""
    signals = prepare_signals(recording, preparation, 1)
    return [getattr(signals, field.name) for field in fields(Signals)[1:]]
