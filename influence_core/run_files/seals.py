"""Seals: proof that the files of a finished run are unchanged.

A seal is the size and the checksum of a file, kept in run.json under "files":
{name: {"sha256": 64 digits, "bytes": size}}. A JSON file that holds seals, or a task, has its own in itself, under
"seal": the checksum of everything else in it. Files of versions before 0.6 have none.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from influence_core.errors import DamagedError, RunError
from influence_core.system import atomic

SMALL = 1_000_000  # bytes: the content of files up to this size is checked whenever a run is opened
# Files about the work, not the result: they may change after the run was sealed.
UNSEALED = frozenset({"run.json", "progress.json", "job.json", "lock", "pid", "cancel", "log.txt"})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file together with its own seal."""
    plain = atomic.plain(content)
    atomic.write_json(path, {**plain, "seal": _seal_of(plain)})


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; one with a seal must fit it.

    Raises:
        DamagedError: it is missing, no JSON object, or was changed after it was written.
    """
    content = read_object(path)
    check_own(path, content)
    return content


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object without a look at its seal; raises DamagedError."""
    content = atomic.read_json(path)
    if not isinstance(content, dict):
        raise DamagedError(
            f"{path} holds {type(content).__name__}, expected an object {{...}}. It is damaged."
        )
    return content


def check_own(path: Path, content: Mapping[str, Any]) -> None:
    """Raise DamagedError when the content of a file does not fit the seal in it."""
    if "seal" in content and content["seal"] != _seal_of(content):
        raise DamagedError(
            f"{path} was changed after it was written: its content does not fit its seal. Restore the file; or, if it "
            f'was changed by hand and on purpose, remove the entry "seal" from it.'
        )


def _seal_of(content: Mapping[str, Any]) -> str:
    """Return the checksum of everything but the seal: of the values, not of spaces and line ends."""
    rest = {key: value for key, value in content.items() if key != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def seal_all(folder: Path) -> dict[str, dict[str, Any]]:
    """Compute the seals of all files of a folder that belong to the result; a name with a dot in front does not."""
    return {
        name: {"sha256": atomic.sha256(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if (name := path.relative_to(folder).as_posix()) not in UNSEALED
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    }


def read(folder: Path, description: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Read the seals from the content of run.json.

    Raises:
        RunError: If there are none, or a name leads out of the folder.
    """
    seals = description.get("files")
    if not isinstance(seals, dict) or "samples.parquet" not in seals:
        raise RunError(f"{folder}/run.json does not list its files. The run is damaged: analyse again.")
    for name, seal in seals.items():
        if name.startswith("/") or ".." in name.split("/") or not _is_seal(seal):
            raise RunError(
                f"{folder}/run.json lists the file {name!r} wrongly. The run is damaged: analyse again."
            )
    return seals


def _is_seal(seal: Any) -> bool:
    return isinstance(seal, dict) and isinstance(seal.get("sha256"), str) and type(seal.get("bytes")) is int


def check_size(folder: Path, name: str, seal: Mapping[str, Any]) -> None:
    """Raise RunError for a file that is missing or has another size, without reading it."""
    path = folder / name
    if not path.is_file():
        raise RunError(
            f"{name} is missing in {folder}. The run is damaged: restore the file or analyse again."
        )
    if (size := path.stat().st_size) != seal["bytes"]:
        raise RunError(
            f"{name} in {folder} has {size:,} bytes, expected {seal['bytes']:,}. "
            f"The run is damaged: restore the file or analyse again."
        )


def check_content(folder: Path, name: str, seal: Mapping[str, Any]) -> None:
    """Raise RunError for a file that differs in any bit. Reads the whole file, once per process."""
    check_size(folder, name, seal)
    path = folder / name
    status = path.stat()
    if (checksum := _checksum(path, status.st_ino, status.st_size, status.st_mtime_ns)) != seal["sha256"]:
        raise RunError(
            f"{name} in {folder} has the checksum {checksum[:8]}, expected {seal['sha256'][:8]}: it was changed "
            f"after the run was finished. The run is damaged: restore the file or analyse again."
        )


@lru_cache(maxsize=4096)
def _checksum(path: Path, _inode: int, _size: int, _changed_at: int) -> str:
    """Return the checksum of one version of a file, computed once per process."""
    return atomic.sha256(path)
