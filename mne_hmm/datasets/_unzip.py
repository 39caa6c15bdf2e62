"""Zip files become folders, whole or not at all, and nothing lands outside of them."""

import os
import shutil
import stat
import tempfile
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

# What macOS adds to zip files: nobody's data.
LEFT_OUT = "__MACOSX"


def unzip(fname: Path, folder: Path) -> dict[str, int]:
    """Unpack a zip file; the folder appears when all of it is there."""
    try:
        with zipfile.ZipFile(fname) as content:
            members = [member for member in content.infolist() if not _is_left_out(member)]
            for member in members:  # all of them, before anything is written
                _check_member(member, fname)
            folder.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            try:
                inside = temporary / "new"
                inside.mkdir()
                content.extractall(inside, members)
                if folder.exists():
                    os.replace(folder, temporary / "old")
                os.replace(inside, folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise OSError(
            f"{fname} cannot be unpacked ({error}); is it a zip file, and complete? Delete it to "
            "fetch it again"
        ) from error
    return {member.filename: member.file_size for member in members if not member.is_dir()}


def is_whole(folder: Path, members: dict[str, int]) -> bool:
    """Whether the files that were unpacked are still there, as long as they were."""
    return folder.is_dir() and all(
        (folder / name).is_file() and (folder / name).stat().st_size == size
        for name, size in members.items()
    )


def _is_left_out(member: zipfile.ZipInfo) -> bool:
    """Whether a member is what macOS adds."""
    return member.filename.split("/")[0] == LEFT_OUT


def _check_member(member: zipfile.ZipInfo, fname: Path) -> None:
    """Refuse a name that leads out of the folder on any system, and links, which may."""
    name = member.filename
    parts = {*PurePosixPath(name).parts, *PureWindowsPath(name).parts}
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    if name.startswith(("/", "\\")) or PureWindowsPath(name).drive or ".." in parts or is_link:
        raise OSError(
            f"{fname} holds {name!r}, which {'is a link' if is_link else 'leads'} out of its "
            "folder; nothing was unpacked: do not use this file, and tell whoever made it"
        )
