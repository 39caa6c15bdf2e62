"""States of recordings, and their model, as BIDS derivatives."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mne
import numpy as np
from mne.utils import logger

from .. import __version__
from .._utils.checks import check_option, listed, plural
from .._utils.files import cannot_be_written, check_path, report_write_errors, written_atomically
from .._utils.typing import FileName
from ..io.bids import describe_data_set, import_mne_bids, is_bids_path
from ..states.time_course import StateTimeCourse, as_courses
from .bids_annotations import annotations_sidecar, write_annotations
from .hmm import HMM

if TYPE_CHECKING:
    from mne_bids import BIDSPath

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
    bids_paths: "BIDSPath | Sequence[BIDSPath]",
    root: FileName,
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
    courses, sources = _check_recordings(hmm, states, bids_paths)
    root = check_path(root, "root")
    check_option(overwrite, "overwrite", (True, False))
    check_root(root, sources)
    files = files_of_data_set(hmm, sources, root)
    if report is not None:
        files[REPORT] = partial(report.save, open_browser=False, overwrite=True, verbose="ERROR")
    names = names_of_recordings(sources, [course.timeline.epochs is not None for course in courses])
    for course, source, file_names in zip(courses, sources, names, strict=True):
        files |= files_of_recording(course, source, file_names)
    paths = [root / name for name in files]
    _check_absent(paths, overwrite)
    with ExitStack() as stack:
        # All are whole before the first takes its place: what was there stays if one fails.
        stack.enter_context(_make_folders([path.parent for path in paths]))
        temporaries = [
            stack.enter_context(written_atomically(path, overwrite=overwrite)) for path in paths
        ]
        for temporary, path, write in zip(temporaries, paths, files.values(), strict=True):
            with report_write_errors(temporary, path):
                write(temporary)
    logger.info(f"Wrote {plural(len(paths), 'file')} to {root}")
    return paths


@contextmanager
def _make_folders(folders: Iterable[Path]) -> Iterator[None]:
    """Make folders; delete those that are new and empty again if something fails."""
    made: list[Path] = []
    try:
        for folder in folders:
            missing = [path for path in (folder, *folder.parents) if not path.exists()]
            for path in reversed(missing):
                try:
                    path.mkdir(exist_ok=True)
                except OSError as error:
                    raise cannot_be_written(path, error) from error
                made.append(path)
        yield
    except BaseException:
        for path in reversed(made):
            with suppress(OSError):  # another put something there
                path.rmdir()
        raise


def check_root(root: Path, sources: list["BIDSPath"], name: str = "root=") -> None:
    """Check that a folder is empty, or that of derivatives we wrote."""
    if root.exists() and not root.is_dir():
        raise FileExistsError(f"{name}{str(root)!r} is a file; give a folder")
    source_root = Path(sources[0].root)
    described = describe_data_set(root)
    entries = described.get("GeneratedBy", [])
    generators = [entry.get("Name") for entry in entries if isinstance(entry, dict)]
    is_other = (root / DESCRIPTION).exists() and GENERATED_BY not in generators
    folder = root.resolve()
    data_set = next((path for path in folder.parents if (path / DESCRIPTION).exists()), folder)
    first_folder = folder.relative_to(data_set).parts[:1]
    if is_other or folder == source_root.resolve():
        what = f"holds another data set ({described.get('Name', 'no name')})"
    elif first_folder and "derivatives" not in (data_set.name, *first_folder):
        what = f"lies among the files of the data set {data_set}"
    else:
        return
    raise FileExistsError(
        f"{name}{str(root)!r} {what}; give the derivatives a folder of their own, such as "
        f"{str(source_root / 'derivatives' / GENERATED_BY)!r}"
    )


def files_of_data_set(hmm: HMM, sources: list["BIDSPath"], root: Path) -> dict[str, Writer]:
    """Name the files of derivatives that are of all recordings together."""
    source_root = Path(sources[0].root)
    return {
        DESCRIPTION: _json_writer(_describe(source_root, _link(source_root, root))),
        "README.md": _text_writer(README),
        ".bidsignore": _text_writer("".join(f"{pattern}\n" for pattern in NOT_IN_BIDS)),
        "descriptions.tsv": _text_writer(
            "desc_id\tdescription\ndesc-hmm\tstates found by a hidden Markov model\n"
        ),
        MODEL: partial(hmm.save, overwrite=True),
        MODEL_SIDECAR: _json_writer(_describe_model(hmm, sources)),
    }


def names_of_recordings(sources: list["BIDSPath"], are_epochs: Sequence[bool]) -> list[list[str]]:
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
        endings = OF_EPOCHS if is_epochs else OF_RAW
        names = [f"{folder}/{target.basename}_{ending}" for ending in endings]
        if names in out:
            raise ValueError(
                f"bids_paths: {source.basename} and another recording would both be written to "
                f"{Path(names[0]).name}, because they differ in desc- only; write them to "
                "different roots"
            )
        out.append(names)
    return out


def files_of_recording(
    course: StateTimeCourse, source: "BIDSPath", names: Sequence[str]
) -> dict[str, Writer]:
    """Name the files of a recording, each with what writes it."""
    options = {"overwrite": True, "verbose": "ERROR"}
    if course.timeline.epochs is not None:
        (probabilities,) = names
        return {probabilities: lambda fname: course.to_epochs().save(fname, **options)}
    table, sidecar, probabilities = names
    described = annotations_sidecar(course, source=_uri(source), model=f"bids::{MODEL}")
    return {
        table: lambda fname: write_annotations(fname, course),
        sidecar: _json_writer(described),
        probabilities: lambda fname: course.to_raw().save(fname, **options),
    }


def _check_recordings(
    hmm: HMM,
    states: StateTimeCourse | list[StateTimeCourse],
    bids_paths: "BIDSPath | Sequence[BIDSPath]",
) -> tuple[list[StateTimeCourse], list["BIDSPath"]]:
    """Check that states and recordings belong together, and return lists of them."""
    courses = as_courses(states)
    if courses[0].state_names != hmm.state_names:
        raise ValueError(
            f"states are of {listed(courses[0].state_names)}, but the model has "
            f"{listed(hmm.state_names)}; pass hmm.predict(bids_paths)"
        )
    sources: list[Any] = [bids_paths] if is_bids_path(bids_paths) else list(bids_paths)
    wrong = next((source for source in sources if not is_bids_path(source)), None)
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
    roots = {str(source.root) for source in sources}
    if len(roots) > 1 or roots == {"None"}:
        raise ValueError(
            f"bids_paths must be of one data set, got the roots {listed(sorted(roots))}; write "
            "derivatives of each to a root of its own"
        )
    return courses, sources


def _check_absent(paths: list[Path], overwrite: bool) -> None:
    existing = [path for path in paths if path.exists()]
    if existing and not overwrite:
        raise FileExistsError(
            f"{plural(len(existing), 'file')} there already, such as {existing[0]}; pass "
            "overwrite=True to replace them, or another root"
        )


def _describe(source_root: Path, link: str) -> dict[str, Any]:
    """Make the content of dataset_description.json.

    MNE-BIDS' `make_dataset_description` would name two unspecified authors, has no
    ``DatasetLinks``, and writes to a folder instead of a file that is moved there when it is whole.
    """
    source = describe_data_set(source_root)
    source_data_set = {"URL": link}
    if "DatasetDOI" in source:
        source_data_set["DOI"] = source["DatasetDOI"]
    name = source.get("Name", "").strip()
    described: dict[str, Any] = {
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
        "SourceDatasets": [source_data_set],
        "DatasetLinks": {"source": link},
    }
    if "License" in source:
        described["License"] = source["License"]
    return described


def _describe_model(hmm: HMM, sources: list["BIDSPath"]) -> dict[str, Any]:
    """Describe a model in words and numbers."""
    energy = hmm.free_energy_
    return {
        "Description": "Hidden Markov model; mne_hmm.read_hmm reads it.",
        "Sources": [_uri(source) for source in sources],
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


def _uri(bids_path: "BIDSPath") -> str:
    """Name a file of the source data set as BIDS does."""
    inside = Path(bids_path.fpath).relative_to(bids_path.root)
    return f"bids:source:{inside.as_posix()}"


def _link(source_root: Path, root: Path) -> str:
    """Link to the source data set: relative where one lies in the other, for both may move."""
    root, source_root = root.resolve(), source_root.resolve()
    if root.is_relative_to(source_root) or source_root.is_relative_to(root):
        return Path(os.path.relpath(source_root, root)).as_posix()
    return source_root.as_uri()


def _text_writer(text: str) -> Writer:
    return lambda fname: fname.write_text(text, encoding="utf-8")


def _json_writer(content: dict[str, Any]) -> Writer:
    return _text_writer(json.dumps(content, indent=2, ensure_ascii=False, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    """Turn numbers and arrays of NumPy into what JSON knows."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else str(value)
