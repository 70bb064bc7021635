"""What reading a file takes, memory, bytes unpacked and entries, judged by what it states before it is read."""

import io
from pathlib import Path

from influence_core.errors import DataError
from influence_core.system import memory

HARMLESS = 1024**3
MOST_PER_BYTE = 500
"""Bytes of memory for each byte of a file. Zeros pack a thousandfold; real data in compressed files took at most 60."""
ROW = 600
"""Bytes of a row beside its numbers: its id, label, split and digest as Python objects."""

FREE_BYTES = 20 * 1024**2
"""Bytes up to which a high compression is harmless."""
MAX_RATIO = 100
"""Bytes that a packed file may unpack to, for each of its own: zeros pack a thousandfold, real data 2 to 60 times."""
MAX_MEMBERS = 300_000
DIRECTORY_BYTES = 512 * MAX_MEMBERS
ENTRY = b"PK\x01\x02"
SMALL_DIRECTORY = 1024**2
"""Bytes of a directory that are not counted here: what is made of them fits in 20 MB."""


def most_unpacked(packed: int, most: int) -> int:
    """Return the bytes that a file of `packed` bytes may unpack to, where `most` are read of any file."""
    return min(most, max(FREE_BYTES, MAX_RATIO * packed))


def check_need(name: str, needed: int, sent: int) -> None:
    """Raise DataError where a file of `sent` bytes needs far more memory than it has bytes, or than is free."""
    if needed <= HARMLESS:
        return
    if needed > MOST_PER_BYTE * sent:
        raise DataError(
            f"{name} was refused: it has {sent:,} bytes and would take {needed / 1e9:,.1f} GB of memory, as only files "
            "of one value throughout, or made to do harm, do. Bring fewer rows."
        )
    if needed > (most := int(memory.SHARE * memory.spare())):
        raise DataError(
            f"{name} would take {needed / 1e9:,.1f} GB of memory; reading it may take {most / 1e9:,.1f} GB now. Bring "
            "fewer rows or smaller ones, save pictures as bytes (uint8), or free memory."
        )


class Counted(io.BufferedReader):
    """A zip file whose directory is counted as it is read: zipfile makes an object of 700 bytes of each entry.

    For archives, arrays and spreadsheets alike.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file; the directory, read in one piece, may have MAX_MEMBERS entries."""
        name = Path(str(self.name)).name
        if size is not None and size > DIRECTORY_BYTES:
            raise DataError(
                f"{name} has a directory of {size:,} bytes; at most {DIRECTORY_BYTES:,} are read."
            )
        data = super().read(size)
        if len(data) > SMALL_DIRECTORY and (entries := data.count(ENTRY)) > MAX_MEMBERS:
            raise DataError(f"{name} holds {entries:,} entries; at most {MAX_MEMBERS:,} are unpacked.")
        return data
