"""`Counted`: a zip file whose directory may not grow without limit, for archives, arrays and spreadsheets alike."""

import io
from pathlib import Path

from influence_core.errors import DataError

MAX_MEMBERS = 300_000
DIRECTORY_BYTES = 512 * MAX_MEMBERS
ENTRY = b"PK\x01\x02"
SMALL = 1024**2
"""Bytes of a directory that are not counted here: what is made of them fits in 20 MB."""


class Counted(io.BufferedReader):
    """A zip file whose directory is counted as it is read: zipfile makes an object of 700 bytes of each entry."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file; the directory, read in one piece, may have MAX_MEMBERS entries."""
        name = Path(str(self.name)).name
        if size is not None and size > DIRECTORY_BYTES:
            raise DataError(
                f"{name} has a directory of {size:,} bytes; at most {DIRECTORY_BYTES:,} are read."
            )
        data = super().read(size)
        if len(data) > SMALL and (entries := data.count(ENTRY)) > MAX_MEMBERS:
            raise DataError(f"{name} holds {entries:,} entries; at most {MAX_MEMBERS:,} are unpacked.")
        return data
