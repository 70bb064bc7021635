"""Store of an unpacked archive: its pictures packed in one file.

    <store>/
        pictures.pack     every picture, still encoded, one after the other
        pictures.json     name, length and CRC-32 of each, in that order; it begins at the sum of the lengths before it
        files/            every other member, and every folder, as in the archive

File systems are slow with one file per picture: creating 100,000 of them takes three times as long as unpacking their
bytes. Positions are sums, so that an index cannot point outside the pack. The checksum is compared at each reading.
"""

import json
import os
import weakref
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from influence_core.errors import DataError
from influence_core.system.temporary import TemporaryFolder

PACK, INDEX, FILES = "pictures.pack", "pictures.json", "files"


class TemporaryStore(TemporaryFolder):
    """A folder for a store that disappears with the last reference to it."""


class Packing:
    """The writer of a pack: pictures are appended, `finish` writes the index."""

    def __init__(self, store: Path):
        (store / FILES).mkdir()
        self._store = store
        self.sink: BinaryIO = (store / PACK).open("xb")
        """The file to which the bytes of the current picture are written."""
        self._names: list[str] = []
        self._ends: list[int] = []
        self._checksums: list[int] = []

    def __enter__(self) -> "Packing":
        return self

    def __exit__(self, *_: object) -> None:
        self.sink.close()

    def finished(self, name: str, checksum: int) -> None:
        """Record that the bytes since the last picture are the picture of this name."""
        self._names.append(name)
        self._ends.append(self.sink.tell())
        self._checksums.append(checksum)

    def finish(self) -> None:
        """Write the index; without it there is no store."""
        lengths = np.diff([0, *self._ends]).tolist()
        index = {"names": self._names, "lengths": lengths, "checksums": self._checksums}
        self.sink.flush()
        (self._store / INDEX).write_text(json.dumps(index), encoding="utf-8")


class Store:
    """Reader of a finished store; threads and forked processes may share it."""

    def __init__(self, path: Path, keep_alive: object = None):
        """Open the store; `keep_alive` is the object that removes the folder when it is freed, if any.

        Raises:
            DataError: the index does not fit the pack.
        """
        self.files = path / FILES
        self.keep_alive = keep_alive
        self.names, lengths, self.checksums = read_index(path / INDEX)
        self.starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self._pack = os.open(path / PACK, os.O_RDONLY)
        weakref.finalize(self, os.close, self._pack)
        size = os.fstat(self._pack).st_size
        if size != self.starts[-1]:
            raise DataError(
                f"{path.name} is damaged: its pictures have {size:,} bytes, its index states {self.starts[-1]:,}. "
                "Unpack the archive again."
            )

    def below(self, folder: Path) -> tuple[list[str], list[int]]:
        """Return the names below a folder of `files`, relative to it and sorted, and each picture's number."""
        inside = folder.relative_to(self.files).as_posix()
        start = "" if inside == "." else f"{inside}/"
        pictures = sorted(
            (name.removeprefix(start), row) for row, name in enumerate(self.names) if name.startswith(start)
        )
        return [name for name, _ in pictures], [row for _, row in pictures]

    def read(self, row: int) -> bytes:
        """Return the bytes of one picture, as in the archive."""
        start, end = int(self.starts[row]), int(self.starts[row + 1])
        data = os.pread(self._pack, end - start, start)
        if zlib.crc32(data) != self.checksums[row]:
            raise DataError("was changed on disk since it was unpacked")
        return data


def is_store(path: Path) -> bool:
    """Whether the folder is a finished store."""
    return (path / INDEX).is_file() and (path / PACK).is_file() and (path / FILES).is_dir()


def read_index(path: Path) -> tuple[list[str], list[int], list[int]]:
    """Read and check names, lengths and checksums, equally many; the file is not trusted."""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        names, lengths, checksums = (index[name] for name in ("names", "lengths", "checksums"))
        counts = {len(names), len(lengths), len(checksums)}
        good = all(type(number) is int and 0 <= number < 2**40 for number in (*lengths, *checksums))
        good &= all(isinstance(name, str) for name in names)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path.name} is not an index of pictures: {error!r}. Unpack the archive again."
        ) from error
    if len(counts) > 1 or not good:
        raise DataError(f"{path.name} is not an index of pictures. Unpack the archive again.")
    return names, lengths, checksums
