"""From recordings to the features the model is trained on.

The order is that of the field: filter, resample, envelope, standardize, align, embed, project,
standardize. What is fitted here (the mean to which recordings are aligned, and the principal
components) stays with the model and is applied to every recording the model meets later. A fitted
preparation may also align the signs of the standardized channels, or take spatial components of
them, before the embedding.
"""

import contextlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import fields
from typing import Any

from mne.utils import ProgressBar, logger, verbose

from .._utils.docs import fill_doc
from .._utils.parallel import side_by_side, warn_again, with_warnings
from ..io.inputs import as_list, to_recordings
from ..io.parcel_inputs import AtlasArguments, with_parcels
from ..io.recording import Recording
from .alignment_groups import make_groups
from .cache import Folder, opened_to_fill
from .cache_key import identity_of
from .features import (
    features_of,
    fit_components,
    left_out_of,
    moments_of,
    tell_rank,
    tell_what_is_left_out,
)
from .prepared_data import PreparedData
from .settings import FittedPreparation, Preparation
from .sign_warning import SignCheck
from .signals import Signals, prepare_signals, tell_of_short_epochs


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
    preparation = Preparation() if preparation is None else preparation
    if not isinstance(preparation, Preparation):
        raise TypeError(
            "preparation must be a Preparation, as in Preparation(h_freq=30), got "
            f"{preparation!r} of type {type(preparation).__name__}"
        )
    fitted = preparation if isinstance(preparation, FittedPreparation) else None
    if fitted is not None and picks is not None:
        raise ValueError(
            f"picks={picks!r} cannot be given with a fitted preparation, which has its own "
            "channels; leave picks out"
        )
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
        _same_rate(recordings, fitted)
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
    tell_of_short_epochs(recordings, preparation)
    logger.info(str(prepared))
    return prepared


def _same_rate(recordings, fitted):
    """Check the rates of recordings that keep them."""
    first = recordings[0]
    for one in recordings[1:]:
        if one.timeline.sfreq != first.timeline.sfreq:
            raise ValueError(
                f"preparation.sfreq is None, so rates stay as they are, but {first.label} has "
                f"{first.timeline.sfreq:g} Hz and {one.label} {one.timeline.sfreq:g} Hz; set a "
                f"rate, as in Preparation(sfreq={first.timeline.sfreq:g})"
            )
    if fitted is not None and first.timeline.sfreq != fitted.sfreq_:
        raise ValueError(
            f"{first.label} has {first.timeline.sfreq:g} Hz, but the "
            f"model was trained on data at {fitted.sfreq_:g} Hz that were not resampled; "
            f"resample first (raw.resample({fitted.sfreq_:g}))"
        )


def _in_memory(recordings, preparation, groups, n_jobs):
    """Prepare recordings in one pass; their signals wait for the components."""
    everything = _signals(recordings, range(len(recordings)), preparation, n_jobs, "Preparing")
    signals = [one for _, one in everything]
    tell_what_is_left_out([left_out_of(one) for one in signals], preparation)
    scatters = (
        []
        if groups is None
        else [groups.scatter(one, number, preparation) for number, one in enumerate(signals)]
    )
    if isinstance(preparation, FittedPreparation):
        fitted = preparation
        maps = [] if groups is None else groups.alignments(scatters, fitted.aligned_to_)
    else:
        signs = SignCheck(recordings, preparation)
        moments = (moments_of(one, preparation) for one in signals)
        if groups is None:
            maps = []
            total: Any = None
            for recording, one in zip(recordings, moments, strict=True):
                total = _added(total, _products(one, recording, signs))
            fitted = fit_components(total, recordings[0], preparation)
        else:
            fitted, maps = _fit_aligned(moments, scatters, groups, preparation, signs)
        tell_rank(fitted)
        signs.tell()
    data, time_maps = [], []
    for alignment in maps or [None] * len(recordings):
        # Signals are given free one by one.
        features, time_map = features_of(signals.pop(0), fitted, alignment)
        data.append(features)
        time_maps.append(time_map)
    names = [recording.label for recording in recordings]
    return PreparedData(data, fitted, time_maps, names, maps)


def _fit_aligned(moments, scatters, groups, preparation, signs):
    """Fit the mean to which recordings are aligned, their maps, and components of the aligned."""
    mean = groups.fit_mean(scatters, preparation.align)
    maps = groups.alignments(scatters, mean)
    total: Any = None
    for recording, one, alignment in zip(groups.recordings, moments, maps, strict=True):
        if signs.wants_more:
            signs.add(recording, one.products())
        total = _added(total, one.mapped(alignment.to_mean).products())
    fitted = fit_components(
        total,
        groups.recordings[0],
        preparation,
        aligned_to=mean,
        grouped=not groups.are_recordings,
    )
    return fitted, maps


def _in_folder(recordings, preparation, groups, folder, n_jobs):
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
        fit = _fit_in_folder if groups is None else _fit_aligned_in_folder
        fitted = fit(recordings, preparation, groups, folder, n_jobs)
    if groups is not None:
        _align_groups_in_folder(recordings, fitted, groups, folder, n_jobs)
    folder.drop_products()
    for index, one in _signals(recordings, missing, preparation, n_jobs, "Preparing"):
        alignment = None if groups is None else folder.alignment(index)
        if groups is not None and alignment is None:  # of a recording that is aligned by itself
            scatter, place = groups.scatter(one, index, fitted), groups.place_of(index)
            alignment = groups.alignment([scatter], place, fitted.aligned_to_)
            folder.keep_alignment(index, alignment)
        folder.keep_features(index, *features_of(one, fitted, alignment), left_out_of(one))
        del one  # before the next is read
    tell_what_is_left_out(folder.left_out, preparation)
    if not isinstance(preparation, FittedPreparation):
        tell_rank(fitted)
    return folder.prepared()


def _fit_in_folder(recordings, preparation, groups, folder: Folder, n_jobs):
    """Fit the components in a pass of their own."""
    n_done, total = folder.products()
    if n_done:
        logger.info(f"Going on after {n_done} of {len(recordings)} recordings")
    todo = range(n_done, len(recordings))
    signs = SignCheck(recordings, preparation)
    for index, one in _signals(recordings, todo, preparation, n_jobs, "Fitting"):
        total = _added(total, _products(moments_of(one, preparation), one.recording, signs))
        folder.keep_products(index + 1, total, left_out_of(one))
        del one  # before the next is read
    with _forgotten_if_wrong(folder):
        fitted = fit_components(total, recordings[0], preparation)
    folder.keep_preparation(fitted)
    signs.tell()
    return fitted


def _fit_aligned_in_folder(recordings, preparation, groups, folder: Folder, n_jobs):
    """Fit the mean to which recordings are aligned, and the components, in a pass of their own.

    Components are of aligned recordings, which wait for the mean of all. So what products are made
    of is kept for each recording.
    """
    todo = _without_moments(range(len(recordings)), folder)
    for index, one in _signals(recordings, todo, preparation, n_jobs, "Fitting"):
        scatter = groups.scatter(one, index, preparation)
        folder.keep_moments(index, scatter, moments_of(one, preparation), left_out_of(one))
        del one  # before the next is read
    signs = SignCheck(recordings, preparation)
    scatters = [folder.scatter(index) for index in range(len(recordings))]
    moments = (folder.moments(index) for index in range(len(recordings)))
    with _forgotten_if_wrong(folder):
        fitted, maps = _fit_aligned(moments, scatters, groups, preparation, signs)
    for index, alignment in enumerate(maps):
        folder.keep_alignment(index, alignment)
    folder.keep_preparation(fitted)
    signs.tell()
    return fitted


def _align_groups_in_folder(recordings, fitted, groups, folder: Folder, n_jobs):
    """Find the maps of groups of several recordings, whose first needs to know of the last."""
    places = [
        place
        for place, numbers in enumerate(groups.members)
        if len(numbers) > 1 and any(folder.alignment(number) is None for number in numbers)
    ]
    numbers = sorted(number for place in places for number in groups.members[place])
    todo = _without_moments(numbers, folder)
    for index, one in _signals(recordings, todo, fitted, n_jobs, "Aligning"):
        folder.keep_moments(index, groups.scatter(one, index, fitted), None, left_out_of(one))
        del one  # before the next is read
    for place in places:
        own = groups.members[place]
        scatters = [folder.scatter(number) for number in own]
        alignment = groups.alignment(scatters, place, fitted.aligned_to_)
        for number in own:
            folder.keep_alignment(number, alignment)


def _without_moments(numbers, folder):
    """List the recordings an interrupted call has not been through."""
    todo = [number for number in numbers if not folder.has_moments(number)]
    if len(todo) < len(numbers):
        logger.info(f"Going on after {len(numbers) - len(todo)} of {len(numbers)} recordings")
    return todo


@contextlib.contextmanager
def _forgotten_if_wrong(folder):
    """Leave the folder to other calls if this one fails by what it was asked."""
    try:
        yield
    except ValueError:
        folder.forget()
        raise


def _products(moments, recording, signs):
    """Products of one recording, at whose signs we look."""
    products = moments.products()
    signs.add(recording, products)
    return products


def _added(total, products):
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


def _values(recording, preparation):
    """Prepare signals in another process; what they belong to need not travel back."""
    signals = prepare_signals(recording, preparation, 1)
    return [getattr(signals, field.name) for field in fields(Signals)[1:]]
