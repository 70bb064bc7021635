"""Atomic writing of files, their reading, and their checksums.

A file is written beside its final name, flushed to the disk, then renamed over it. A reader finds the old content or
the new one, also after a crash. The writer holds a lock on the unfinished file, so that what a killed one left behind
is told from what is being written.
"""

import fcntl
import hashlib
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from influence_core.errors import DamagedError

SUFFIX = ".tmp"  # every unfinished file is called .<name>.<process>.<random>.tmp
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
LARGEST = 16 * 1024**2
"""Bytes of the largest JSON file that is read: the description of a run with 100,000 unreadable pictures has 10 MB."""


@contextmanager
def writing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file that gets its final name only when the block ends without an error.

    Args:
        path: The final name; its folder must exist.
        durable: Flush to the disk first. Use False for content that may be lost, such as progress.
    """
    file, temporary = _unfinished(path)
    try:
        with file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
            os.replace(temporary, path)  # before the lock goes
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        flush_folder(path.parent)


def temporary_name(path: Path) -> Path:
    """Return a name beside `path` that no other process and no other call uses."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{SUFFIX}")


def _unfinished(path: Path) -> tuple[BinaryIO, Path]:
    """Create an unfinished file and lock it; again when it was taken for a killed writer's before it was locked."""
    while True:
        temporary = temporary_name(path)
        file = temporary.open("xb")
        with suppress(OSError):  # a disk without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file, temporary
        file.close()


def flush_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write strict JSON. NumPy numbers become plain numbers; NaN and infinity become null."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    with writing(path, durable=durable) as file:
        file.write(text.encode())


def read_json(path: Path) -> Any:
    """Return the value of a JSON file that this package wrote.

    Raises:
        DamagedError: the file is missing, cannot be read, is no JSON, or is larger than any that is written.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            raise ValueError("it is no file")
        if status.st_size > LARGEST:
            raise ValueError(f"it has {status.st_size / 1e6:,.0f} MB, expected at most {LARGEST / 1e6:,.0f}")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DamagedError(f"{path} is missing. Restore the file, or make it again.") from error
    except RecursionError as error:
        raise DamagedError(f"{path} cannot be read (it is nested too deeply). It is damaged.") from error
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} cannot be read ({error}). It is damaged.") from error


def plain(value: Any) -> Any:
    """Return the same value in the types of JSON."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, os.PathLike) else value


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's whole content, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_unfinished(folder: Path) -> int:
    """Delete the files that killed writers left behind, none that is being written, and return their number."""
    return sum(map(_removed, filter(is_unfinished, list(folder.rglob(f".*{SUFFIX}")))))


def is_unfinished(path: Path) -> bool:
    """Whether a file has a name that `writing` gives to one that is not complete."""
    return _LEFTOVER.fullmatch(path.name) is not None


def _removed(leftover: Path) -> bool:
    with suppress(OSError), leftover.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its writer lives
        leftover.unlink()
        return True
    return False
