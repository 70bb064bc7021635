"""What reading a file takes, memory and bytes unpacked, judged by the sizes that it states before it is read."""

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
