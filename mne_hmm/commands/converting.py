"""``mne-hmm convert``: model folders of osl-dynamics in and out."""

from importlib import import_module
from pathlib import Path

from .._utils.files import check_target
from ..hmm import read_hmm
from .outputs import check_place


def run_convert(source: Path, target: Path, *, overwrite: bool = False) -> str:
    """Turn a model folder into a model file, or a model file into a model folder.

    Parameters
    ----------
    source : Path
        A folder that osl-dynamics saved, or a file that ``HMM.save`` wrote.
    target : Path
        The file, or the folder.
    overwrite : bool
        Whether to replace what is there.

    Returns
    -------
    text : str
        What came out.
    """
    if not source.exists():
        raise FileNotFoundError(
            f"there is no {source}; name a model folder of osl-dynamics, or a model file"
        )
    if source.is_dir():
        check_target(target, overwrite, (".h5", ".hdf5"))
        hmm = _format().read_osl_hmm(source)
        hmm.save(target, overwrite=overwrite)
    else:
        check_place(target)
        if target.exists() and not overwrite:
            raise FileExistsError(
                f"{target} exists already; pass --overwrite to replace it, or name another"
            )
        hmm = read_hmm(source)
        _format().write_osl_hmm(hmm, target, overwrite=overwrite)
    return f"{hmm}\nWrote {target}"


def _format():
    return import_module("mne_hmm.osl_format")
