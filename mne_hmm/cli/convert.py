"""``mne-hmm convert``: model folders of osl-dynamics in and out."""

from pathlib import Path

from .._utils.files import check_target
from ..io.file_search import is_prepared_folder
from ..model.hmm import read_hmm
from ..model.osl import read_osl_hmm, write_osl_hmm
from ..preparation.cache import read_prepared
from ..preparation.settings import FittedPreparation
from .outputs import check_place


def run_convert(
    source: Path,
    target: Path,
    *,
    sfreq: float | None = None,
    preparation: Path | None = None,
    overwrite: bool = False,
) -> str:
    """Turn a model folder into a model file, or a model file into a model folder."""
    if not source.exists():
        raise FileNotFoundError(
            f"there is no {source}; name a model folder of osl-dynamics, or a model file"
        )
    if source.is_dir():
        check_target(target, overwrite, (".h5", ".hdf5"))
        fitted = None if preparation is None else _read_preparation(preparation)
        hmm = read_osl_hmm(source, sfreq=sfreq, preparation=fitted)
        hmm.save(target, overwrite=overwrite)
    else:
        check_place(target)
        for name, value in (("--sfreq", sfreq), ("--preparation", preparation)):
            if value is not None:
                raise ValueError(
                    f"{name} is for model folders, but {source} is a file; leave it out"
                )
        hmm = read_hmm(source)
        write_osl_hmm(hmm, target, overwrite=overwrite)
    return f"{hmm}\nWrote {target}"


def _read_preparation(path: Path) -> FittedPreparation:
    """Read the fitted preparation of prepared data, or of a model."""
    if is_prepared_folder(path):
        return read_prepared(path).preparation
    return read_hmm(path).preparation_
