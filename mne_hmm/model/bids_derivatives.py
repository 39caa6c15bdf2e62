"""States of recordings, and their model, as BIDS derivatives."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import mne
import numpy as np
from mne.utils import logger

from .. import __version__
from .._utils.checks import check_option, listed, plural
from .._utils.files import cannot_be_written, check_path, report_write_errors, written_atomically
from ..io.bids import describe_data_set, import_mne_bids, is_bids_path
from ..states.time_course import StateTimeCourse, as_courses
from .bids_annotations import annotations_sidecar, write_annotations
from .hmm import HMM

GENERATED_BY = "mne-hmm"
BIDS_VERSION = "1.10.0"
DESCRIPTION = "dataset_description.json"
MODEL, MODEL_SIDECAR = "desc-hmm_model.h5", "desc-hmm_model.json"
REPORT = "desc-hmm_report.html"
# What there is of a recording.
OF_RAW = ("annotations.tsv", "annotations.json", "raw.fif")
OF_EPOCHS = ("epo.fif",)
# Writes a file of the name it is given.
Writer = Callable[[Path], Any]
# BIDS has no rule for these yet.
NOT_IN_BIDS = (
    "*_desc-hmm_annotations.tsv",
    "*_desc-hmm_annotations.json",
    "*_desc-hmm_raw.fif",
    "*_desc-hmm_epo.fif",
    "/desc-hmm_model.h5",
    "/desc-hmm_model.json",
    "/desc-hmm_report.html",
    "/recordings.tsv",
    "/states.tsv",
    "/run.json",
)
README = """\
States of brain recordings, found by a hidden Markov model with mne-hmm.

- `sub-*/.../*_desc-hmm_annotations.tsv`: when each state was on, in seconds from the first sample
- `sub-*/.../*_desc-hmm_raw.fif` (or `_epo.fif`): probability of each state at each sample, for
  MNE-Python
- `desc-hmm_model.h5`: the model, read by `mne_hmm.read_hmm`; `desc-hmm_model.json` tells of it
- `desc-hmm_report.html`: the report, where one was made
- `recordings.tsv`, `states.tsv`, `run.json`: statistics and what was done, where the command
  line made this folder

BIDS has no rules for these files yet, so `.bidsignore` names them.
"""


def write_bids_derivatives(
    hmm: HMM,
    states: StateTimeCourse | list[StateTimeCourse],
    bids_paths: Any,
    root: Any,
    *,
    report: "mne.Report | None" = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write the states of recordings, and their model, as BIDS derivatives.

    Needs MNE-BIDS (``pip install "mne-hmm[bids]"``).

    Parameters
    ----------
    hmm : HMM
        The model.
    states : StateTimeCourse | list of StateTimeCourse
        The states of the recordings, as ``hmm.predict(bids_paths)`` gives them.
    bids_paths : mne_bids.BIDSPath | list of mne_bids.BIDSPath
        The recordings, all of one data set, as `find_bids_recordings` gives them.
    root : path-like
        Folder of the derivatives, such as ``derivatives/mne-hmm`` in the data set. It is made if
        it is not there.
    report : mne.Report | None
        A report to put beside the model, as ``hmm.report(bids_paths)`` makes it.
    overwrite : bool
        Whether to replace files that exist. Files of other recordings stay.

    Returns
    -------
    paths : list of Path
        The files: first those of the whole data set, then those of each recording.

    Raises
    ------
    FileExistsError
        If a file exists and ``overwrite`` is False, or ``root`` holds another data set.
    ImportError
        If MNE-BIDS is not installed.
    OSError
        If a file cannot be written. What was there before stays, all of it.
    TypeError
        If what is given is of another type.
    ValueError
        If the states are not of this model or these recordings, or the recordings are of
        several data sets, or two of them would have the same files.

    See Also
    --------
    find_bids_recordings : Finds the recordings.
    read_bids_annotations : Reads the annotations.

    Notes
    -----
    Of each recording there are, named as the recording but for ``desc-hmm``:

    - ``_annotations.tsv`` with the columns ``onset`` and ``duration`` (seconds, onsets from the
      recording's first sample) and ``trial_type`` (``hmm/state_0`` and so on), and
      ``_annotations.json``, which explains the columns, and names the recording and the model.
      Epochs have none: where they lie in the recording is not known of them for certain.
    - ``_raw.fif`` with the probability of each state at each sample, as
      :meth:`StateTimeCourse.to_raw` gives them, or ``_epo.fif`` for epochs.

    Of all together there are ``dataset_description.json``, ``descriptions.tsv``, ``README.md``,
    the model (``desc-hmm_model.h5``, and in words ``desc-hmm_model.json``) and the report
    (``desc-hmm_report.html``). BIDS, as of version 1.11, has no rules for annotations,
    probabilities, models and reports; ``.bidsignore`` names them, so that validators pass. Let
    them check ``root`` itself: bids-validator 3.0 does not see this file when it comes down from
    the source data set (``--recursive``).

    Examples
    --------
    >>> import mne_hmm
    >>> paths = mne_hmm.find_bids_recordings("ds", task="rest")   # doctest: +SKIP
    >>> hmm = mne_hmm.fit_hmm(paths, 8)                           # doctest: +SKIP
    >>> mne_hmm.write_bids_derivatives(                           # doctest: +SKIP
    ...     hmm, hmm.predict(paths), paths, "ds/derivatives/mne-hmm"
    ... )
    """
    import_mne_bids()
    if not isinstance(hmm, HMM):
        raise TypeError(f"hmm must be an HMM, got {type(hmm).__name__}")
    if report is not None and not isinstance(report, mne.Report):
        raise TypeError(
            f"report must be an mne.Report or None, got {type(report).__name__}; "
            "hmm.report(inst) makes one"
        )
    courses, sources = _checked(hmm, states, bids_paths)
    root = check_path(root, "root")
    check_option(overwrite, "overwrite", (True, False))
    check_root(root, sources)
    files = files_of_data_set(hmm, sources, root)
    if report is not None:
        files[REPORT] = partial(report.save, open_browser=False, overwrite=True, verbose="ERROR")
    names = names_of_recordings(sources, [course.timeline.epochs is not None for course in courses])
    for course, source, own in zip(courses, sources, names, strict=True):
        files |= files_of_recording(course, source, own)
    paths = [root / name for name in files]
    _check_absent(paths, overwrite)
    with ExitStack() as stack:
        # All are whole before the first takes its place: what was there stays if one fails.
        stack.enter_context(_folders_made([path.parent for path in paths]))
        whole = [
            stack.enter_context(written_atomically(path, overwrite=overwrite)) for path in paths
        ]
        for temporary, path, write in zip(whole, paths, files.values(), strict=True):
            with report_write_errors(temporary, path):
                write(temporary)
    logger.info(f"Wrote {plural(len(paths), 'file')} to {root}")
    return paths


@contextmanager
def _folders_made(folders):
    """Make folders; take those that are new and empty away again if something fails."""
    made = []
    try:
        for folder in folders:
            missing = [one for one in (folder, *folder.parents) if not one.exists()]
            for one in reversed(missing):
                try:
                    one.mkdir(exist_ok=True)
                except OSError as error:
                    raise cannot_be_written(one, error) from error
                made.append(one)
        yield
    except BaseException:
        for one in reversed(made):
            with suppress(OSError):  # another put something there
                one.rmdir()
        raise


def check_root(root: Path, sources: list[Any], name: str = "root=") -> None:
    """Check that a folder is empty, or that of derivatives we wrote."""
    if root.exists() and not root.is_dir():
        raise FileExistsError(f"{name}{str(root)!r} is a file; give a folder")
    source_root = Path(sources[0].root)
    known = describe_data_set(root)
    makers = [one.get("Name") for one in known.get("GeneratedBy", []) if isinstance(one, dict)]
    is_other = (root / DESCRIPTION).exists() and GENERATED_BY not in makers
    here = root.resolve()
    around = next((one for one in here.parents if (one / DESCRIPTION).exists()), here)
    place = here.relative_to(around).parts[:1]
    if is_other or here == source_root.resolve():
        what = f"holds another data set ({known.get('Name', 'no name')})"
    elif place and "derivatives" not in (around.name, *place):
        what = f"lies among the files of the data set {around}"
    else:
        return
    raise FileExistsError(
        f"{name}{str(root)!r} {what}; give the derivatives a folder of their own, such as "
        f"{str(source_root / 'derivatives' / GENERATED_BY)!r}"
    )


def files_of_data_set(hmm: HMM, sources: list[Any], root: Path) -> dict[str, Writer]:
    """Name the files of derivatives that are of all recordings together."""
    source_root = Path(sources[0].root)
    return {
        DESCRIPTION: _json(_data_set(source_root, _link(source_root, root))),
        "README.md": _text(README),
        ".bidsignore": _text("".join(f"{one}\n" for one in NOT_IN_BIDS)),
        "descriptions.tsv": _text(
            "desc_id\tdescription\ndesc-hmm\tstates found by a hidden Markov model\n"
        ),
        MODEL: partial(hmm.save, overwrite=True),
        MODEL_SIDECAR: _json(_model(hmm, sources)),
    }


def names_of_recordings(sources: list[Any], are_epochs: Sequence[bool]) -> list[list[str]]:
    """Name the files of derivatives that are of each recording."""
    mne_bids = import_mne_bids()
    out: list[list[str]] = []
    for source, is_epochs in zip(sources, are_epochs, strict=True):
        target = mne_bids.BIDSPath(
            **{**source.entities, "split": None, "description": "hmm"},
            datatype=source.datatype or Path(source.fpath).parent.name,
            check=False,
        )
        folder = Path(target.directory).as_posix()
        ends = OF_EPOCHS if is_epochs else OF_RAW
        names = [f"{folder}/{target.basename}_{end}" for end in ends]
        if names in out:
            raise ValueError(
                f"bids_paths: {source.basename} and another recording would both be written to "
                f"{Path(names[0]).name}, because they differ in desc- only; write them to "
                "different roots"
            )
        out.append(names)
    return out


def files_of_recording(
    course: StateTimeCourse, source: Any, names: Sequence[str]
) -> dict[str, Writer]:
    """Tell what writes the files of a recording."""
    saved = {"overwrite": True, "verbose": "ERROR"}
    if course.timeline.epochs is not None:
        (probabilities,) = names
        return {probabilities: lambda fname: course.to_epochs().save(fname, **saved)}
    table, sidecar, probabilities = names
    told = annotations_sidecar(course, source=_uri(source), model=f"bids::{MODEL}")
    return {
        table: lambda fname: write_annotations(fname, course),
        sidecar: _json(told),
        probabilities: lambda fname: course.to_raw().save(fname, **saved),
    }


def _checked(hmm, states, bids_paths):
    """States and recordings that belong together, as lists."""
    courses = as_courses(states)
    if courses[0].state_names != hmm.state_names:
        raise ValueError(
            f"states are of {listed(courses[0].state_names)}, but the model has "
            f"{listed(hmm.state_names)}; pass hmm.predict(bids_paths)"
        )
    sources = [bids_paths] if is_bids_path(bids_paths) else list(bids_paths)
    wrong = next((one for one in sources if not is_bids_path(one)), None)
    if wrong is not None:
        raise TypeError(
            f"bids_paths must be mne_bids.BIDSPath objects, got {type(wrong).__name__}; "
            "find_bids_recordings(root) gives them"
        )
    if len(sources) != len(courses):
        raise ValueError(
            f"bids_paths has {plural(len(sources), 'recording')} and states "
            f"{len(courses)}; pass hmm.predict(bids_paths)"
        )
    roots = {str(one.root) for one in sources}
    if len(roots) > 1 or roots == {"None"}:
        raise ValueError(
            f"bids_paths must be of one data set, got the roots {listed(sorted(roots))}; write "
            "derivatives of each to a root of its own"
        )
    return courses, sources


def _check_absent(paths, overwrite):
    there = [path for path in paths if path.exists()]
    if there and not overwrite:
        raise FileExistsError(
            f"{plural(len(there), 'file')} there already, such as {there[0]}; pass "
            "overwrite=True to replace them, or another root"
        )


def _data_set(source_root, link):
    source = describe_data_set(source_root)
    known = {"URL": link}
    if "DatasetDOI" in source:
        known["DOI"] = source["DatasetDOI"]
    name = source.get("Name", "").strip()
    described = {
        "Name": f"States of a hidden Markov model{f' in {name}' if name else ''}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": GENERATED_BY,
                "Version": __version__,
                "Description": "Hidden Markov models for MNE-Python",
            }
        ],
        "SourceDatasets": [known],
        "DatasetLinks": {"source": link},
    }
    if "License" in source:
        described["License"] = source["License"]
    return described


def _model(hmm, sources):
    """Tell of a model in words and numbers."""
    energy = hmm.free_energy_
    return {
        "Description": "Hidden Markov model; mne_hmm.read_hmm reads it.",
        "Sources": [_uri(one) for one in sources],
        "NumberOfStates": hmm.n_states,
        "StateNames": list(hmm.state_names),
        "NumberOfFeatures": hmm.n_features,
        "Channels": list(hmm.preparation_.ch_names_),
        "Preparation": hmm.preparation_.settings,
        "SamplingFrequency": float(hmm.preparation_.sfreq_),
        "FreeEnergy": float(energy) if np.isfinite(energy) else None,
        "Converged": hmm.converged_,
        "Software": hmm.versions,
    }


def _uri(bids_path):
    """BIDS's name of a file of the source data set."""
    inside = Path(bids_path.fpath).relative_to(bids_path.root)
    return f"bids:source:{inside.as_posix()}"


def _link(source_root, root):
    """Path to the source data set: relative where one lies in the other, for both may move."""
    here, there = root.resolve(), source_root.resolve()
    if here.is_relative_to(there) or there.is_relative_to(here):
        return Path(os.path.relpath(there, here)).as_posix()
    return there.as_uri()


def _text(text):
    return lambda fname: fname.write_text(text, encoding="utf-8")


def _json(content):
    return _text(json.dumps(content, indent=2, ensure_ascii=False, default=_plain) + "\n")


def _plain(value):
    """Numbers and arrays of NumPy as JSON knows them."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else str(value)
