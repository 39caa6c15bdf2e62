"""``run.json``: what a command did, so that it can be done again to the bit."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import scipy

from .._utils.checks import listed
from ..model.file import software_versions
from .inputs import digest, is_of_bids
from .outputs import RUN, Outputs

FORMAT = "mne_hmm run"
FORMAT_VERSION = 1
# Numbers of threads, on which the last bits of matrix products depend.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def environment(*, bids: bool = False) -> dict[str, Any]:
    """List what the bits of results depend on besides data, arguments and seed."""
    return {
        **software_versions(),
        "scipy": scipy.__version__,
        **({"mne_bids": version("mne-bids")} if bids else {}),
        "machine": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        **{name: os.environ.get(name) for name in THREADS},
    }


def write_run(
    outputs: Outputs,
    command: str,
    *,
    arguments: dict[str, Any],
    inputs: list[dict[str, Any]],
    names: list[str],
    others: dict[str, Any],
    results: dict[str, Any],
) -> None:
    """Write what a command did.

    There are no dates in it, so it is the same whenever the run is repeated.
    """
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "command": command,
        "arguments": arguments,
        "inputs": inputs,
        "names": names,
        "other_inputs": others,
        "environment": environment(bids=is_of_bids({"inputs": inputs})),
        "results": results,
        "outputs": outputs.content(),
    }
    with outputs.writing(RUN) as path:
        path.write_text(json.dumps(content, indent=1, default=_plain) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """Make what JSON knows of numbers and arrays of NumPy, and of paths."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def read_run(path: Path) -> dict[str, Any]:
    """Read what a command did."""
    if path.is_dir():
        path = path / RUN
        if not path.exists():
            raise FileNotFoundError(
                f"{path.parent} holds no {RUN}; name a folder that mne-hmm fit or apply left"
            )
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        is_ours = run["format"] == FORMAT
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path} is damaged, or no JSON file ({error})") from error
    except (KeyError, TypeError):
        is_ours = False
    if not is_ours:
        raise ValueError(f"{path} does not describe a run of mne-hmm, as {RUN} of mne-hmm fit does")
    if run["format_version"] > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format {run['format_version']}, of a newer mne-hmm; this version reads up "
            f"to format {FORMAT_VERSION}: update with pip install -U mne-hmm"
        )
    return {**run, "folder": path.parent}


def check_unchanged(run: dict[str, Any]) -> None:
    """Check that all files a run began with are as they were."""
    files = [file for entry in run["inputs"] for file in entry["files"]]
    files += [file for entries in run["other_inputs"].values() for file in entries]
    missing = [file["path"] for file in files if not Path(file["path"]).is_file()]
    if missing:
        raise FileNotFoundError(f"{listed(missing)}, which the run began with, is there no more")
    changed = [file["path"] for file in files if digest(Path(file["path"])) != file]
    if changed:
        raise ValueError(
            f"{listed(changed)} changed since the run (other SHA-256), so it cannot be repeated; "
            "bring the old files back, or start a new run"
        )


def list_differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Say in which values two dictionaries differ."""
    names = dict.fromkeys([*ours, *theirs])
    return [
        f"{name} is {ours.get(name)}, was {theirs.get(name)}"
        for name in names
        if ours.get(name) != theirs.get(name)
    ]
