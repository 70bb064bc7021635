"""Is this file still the one that was written when the run was finished?

A seal is the size and the checksum of a file, kept in run.json under "files":
{name: {"sha256": 64 digits, "bytes": size}}.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from influence_core.errors import RunError
from influence_core.system import atomic

SMALL = 1_000_000  # bytes: files up to this size are checked whenever a run is opened
# What describes the work, not the result: it may change after the run was sealed.
UNSEALED = frozenset({"run.json", "progress.json", "job.json", "lock", "pid", "cancel", "log.txt"})


def take(folder: Path) -> dict[str, dict[str, Any]]:
    """The seals of all files of a folder that belong to the result."""
    files = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    return {
        name: {"sha256": atomic.sha256(path), "bytes": path.stat().st_size}
        for name, path in files.items()
        if name not in UNSEALED and path.suffix != atomic.SUFFIX
    }


def read(folder: Path, description: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The seals written in run.json.

    Raises:
        RunError: If there are none, or a name leads out of the folder.
    """
    seals = description.get("files")
    if not isinstance(seals, dict) or "samples.parquet" not in seals:
        raise RunError(f"{folder}/run.json does not list its files. The run is damaged: analyse again.")
    for name, seal in seals.items():
        if Path(name).is_absolute() or ".." in Path(name).parts or not {"sha256", "bytes"} <= set(seal):
            raise RunError(f"{folder}/run.json lists the file {name!r} wrongly. The run is damaged.")
    return seals


def check_size(folder: Path, name: str, seal: Mapping[str, Any]) -> None:
    """Refuse a file that is missing or was cut; costs no reading."""
    path = folder / name
    if not path.is_file():
        raise RunError(
            f"{name} is missing in {folder}. The run is damaged: restore the file or analyse again."
        )
    if (found := path.stat().st_size) != seal["bytes"]:
        raise RunError(
            f"{name} in {folder} has {found:,} bytes, expected {seal['bytes']:,}. "
            f"The run is damaged: restore the file or analyse again."
        )


def check_content(folder: Path, name: str, seal: Mapping[str, Any]) -> None:
    """Refuse a file of which one bit differs; reads the whole file, once per process."""
    check_size(folder, name, seal)
    path = folder / name
    about = path.stat()
    if (found := _checksum(path, about.st_ino, about.st_size, about.st_mtime_ns)) != seal["sha256"]:
        raise RunError(
            f"{name} in {folder} has the checksum {found[:8]}, expected {seal['sha256'][:8]}: it was changed "
            f"after the run was finished. The run is damaged: restore the file or analyse again."
        )


@lru_cache(maxsize=4096)
def _checksum(path: Path, _inode: int, _size: int, _changed_at: int) -> str:
    """Read each version of a file once per process, however often its run is opened."""
    return atomic.sha256(path)
