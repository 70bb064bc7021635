"""Storage of a dataset's inputs, with fast access by row.

    EncodedPictures   image files, still encoded: on disk, in the store of an unpacked archive, or packed in one file
    ArrayRows         rows of one array: images (n, c, h, w) or plain features (n, d)
    TableRows         rows of a table, encoded as numbers

All return four things per row: its numbers, its picture, its encoded bytes, its digest. Decoded pixels are cached up
to a limit and never evicted. The loops of this package read in order, again and again: evicting the oldest image would
remove each one just before it is needed.
"""

import hashlib
import math
import mmap
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
import torch
from PIL import Image

from influence_core.data.encoding import LARGEST, Encoding, column_of, holds_numbers, numbers_of
from influence_core.data.storage.pictures import (
    check_picture,
    decode_picture,
    encode_png,
    picture_format,
    picture_values,
    to_picture,
    upright_size,
)
from influence_core.errors import DataError

CACHE_BYTES = 512 * 1024**2
GLANCE = 512
"""Longer side at which a picture is measured: the ones of common benchmarks as they are, photos at a fraction."""
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # as Pillow's conversion to "L"

Size = tuple[int, int] | None
Kind = Literal["image", "array"]


class Content(Protocol):
    """The inputs of a dataset, by row."""

    kind: Kind

    def __len__(self) -> int: ...
    def values(self, row: int, channels: int | None, size: Size) -> np.ndarray:
        """Return the numbers of one row, (c, h, w) or (d,): uint8 to be divided by 255, or float32 unscaled."""
        ...

    def glance(self, row: int) -> tuple[np.ndarray, tuple[int, int]]:
        """Return the numbers of one image at most GLANCE pixels a side, not to be cached, and its height and width."""
        ...

    def picture(self, row: int, within: int | None = None) -> Image.Image | None: ...
    def encoded(self, row: int) -> tuple[bytes, str]: ...
    def digest(self, row: int) -> bytes:
        """Return the SHA-256 of the row's content. Raises DataError when the row cannot be read."""
        ...


class ReadBlobs:
    """Encoded files by number, read on each access: by `read`, each from its place; with their SHA-256 where known."""

    def __init__(
        self, read: Callable[[Any], bytes], places: Sequence[Any], digests: Sequence[bytes] | None = None
    ):
        self.read, self.places, self.digests = read, places, digests

    def __len__(self) -> int:
        return len(self.places)

    def at(self, rows: Sequence[int]) -> "ReadBlobs":
        """Return some of the files, in this order."""
        return ReadBlobs(self.read, [self.places[row] for row in rows])

    def __getitem__(self, row: int) -> bytes:
        try:
            return self.read(self.places[row])
        except OSError as error:
            raise DataError(f"cannot be read from disk: {error.strerror}") from error


def packed(blobs: Iterable[bytes], limit: int | None = None) -> ReadBlobs:
    """Pack files in one unnamed temporary file, so that memory does not grow with their size; equal ones once.

    Raises:
        DataError: the different files together have more than `limit` bytes.
    """
    places: dict[bytes, tuple[int, int]] = {}
    rows, end, keys = [], 0, []
    with tempfile.TemporaryFile() as file:
        for blob in blobs:
            key = hashlib.sha256(blob).digest()
            if key not in places:
                places[key] = (end, end := end + file.write(blob))
            if limit is not None and end > limit:
                raise DataError(
                    f"Its pictures unpack to more than {limit:,} bytes, far more than the file has."
                )
            rows.append(places[key])
            keys.append(key)
        file.flush()
        pack = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if end else b""
    return ReadBlobs(lambda place: pack[place[0] : place[1]], rows, keys)


class EncodedPictures:
    """Pictures that are decoded on first use, then cached as uint8, up to `limit` bytes; the first ones stay."""

    kind: Kind = "image"

    def __init__(self, blobs: ReadBlobs, limit: int = CACHE_BYTES):
        self.blobs, self.limit = blobs, limit
        self.cached_bytes = 0
        self._cache: dict[tuple, np.ndarray] = {}
        self._whole: set[bytes] = set()

    def __len__(self) -> int:
        return len(self.blobs)

    def values(self, row: int, channels: int | None, size: Size) -> np.ndarray:
        key = (row, channels, size)
        if (values := self._cache.get(key)) is None:
            values = picture_values(decode_picture(self.blobs[row]), channels, size)
            if self.cached_bytes + values.nbytes <= self.limit and key not in self._cache:
                self._cache[key] = values
                self.cached_bytes += values.nbytes
        return values

    def glance(self, row: int) -> tuple[np.ndarray, tuple[int, int]]:
        data = self.blobs[row]
        return picture_values(decode_picture(data, within=GLANCE), None, None), upright_size(data)

    def picture(self, row: int, within: int | None = None) -> Image.Image:
        return decode_picture(self.blobs[row], within)

    def encoded(self, row: int) -> tuple[bytes, str]:
        data = self.blobs[row]
        return data, picture_format(data)[1]

    def digest(self, row: int) -> bytes:
        known = self.blobs.digests
        digest = hashlib.sha256(self.blobs[row]).digest() if known is None else known[row]
        if digest not in self._whole:  # the same bytes are decoded once, however often they occur
            check_picture(self.blobs[row])
            self._whole.add(digest)
        return digest


class ArrayRows:
    """Rows of one array in memory: uint8 or float32, images (n, c, h, w) or features (n, d)."""

    def __init__(self, array: np.ndarray):
        self.array = array
        self.kind: Kind = "image" if array.ndim == 4 else "array"

    def __len__(self) -> int:
        return len(self.array)

    def values(self, row: int, channels: int | None, size: Size) -> np.ndarray:
        values = self.array[row]
        if self.kind == "array":
            return values
        if values.dtype == np.uint8:
            return picture_values(to_picture(values), channels, size)
        return fit_floats(values, channels, size)

    def glance(self, row: int) -> tuple[np.ndarray, tuple[int, int]]:
        values = self.array[row]
        return values, (values.shape[1], values.shape[2])

    def picture(self, row: int, within: int | None = None) -> Image.Image | None:
        if self.kind == "array":
            return None
        picture = to_picture(self._bytes(row))
        if within is not None:
            picture.thumbnail((within, within), Image.Resampling.BILINEAR)
        return picture

    def encoded(self, row: int) -> tuple[bytes, str]:
        if self.kind == "array":
            raise DataError("Rows of a feature array have no picture to export; export them as a table.")
        return encode_png(self._bytes(row)), ".png"

    def digest(self, row: int) -> bytes:
        values = np.ascontiguousarray(self.array[row])
        if not np.isfinite(values).all():
            raise DataError("holds NaN or infinity")
        return hashlib.sha256(f"{values.dtype} {values.shape} ".encode() + values.tobytes()).digest()

    def _bytes(self, row: int) -> np.ndarray:
        values = self.array[row]
        return values if values.dtype == np.uint8 else (values * 255).round().astype(np.uint8)


class TableRows:
    """Rows of a table in memory. Their numbers need an encoding, fitted later on the training rows."""

    kind: Kind = "array"

    def __init__(self, frame: pd.DataFrame, encoding: Encoding | None = None):
        self.frame = frame
        self.encoding = encoding
        self._encoded = None if encoding is None else encoding.encode(frame)

    def __len__(self) -> int:
        return len(self.frame)

    def with_encoding(self, encoding: Encoding) -> "TableRows":
        """Return the same rows under another encoding."""
        return self if encoding == self.encoding else TableRows(self.frame, encoding)

    def values(self, row: int, channels: int | None, size: Size) -> np.ndarray:
        assert self._encoded is not None, "with_encoding() comes first"
        return self._encoded[row]

    def glance(self, row: int) -> tuple[np.ndarray, tuple[int, int]]:
        raise DataError("Rows of a table are no images.")

    def picture(self, row: int, within: int | None = None) -> Image.Image | None:
        return None

    def encoded(self, row: int) -> tuple[bytes, str]:
        raise DataError("Rows of a table have no picture to export; export them as a table.")

    def digest(self, row: int) -> bytes:
        cells = self._lists[row]
        if fault := self._faults.get(row):
            raise DataError(fault)
        return hashlib.sha256(repr(cells).encode("utf-8", "surrogatepass")).digest()

    @cached_property
    def _faults(self) -> dict[int, str]:
        """What no network can compute with, by row: infinity, and numbers whose differences float32 cannot hold."""
        found: dict[int, str] = {}
        for name in self.frame:
            values = column_of(self.frame, name)
            if not holds_numbers(values):
                continue
            numbers = numbers_of(values)
            for row in np.flatnonzero(np.abs(numbers) > LARGEST):
                number = (
                    "infinity" if math.isinf(numbers[row]) else f"{numbers[row]:g}, too large for float32,"
                )
                found.setdefault(int(row), f"holds {number} in column {str(name)!r}")
        return found

    @cached_property
    def _lists(self) -> list[list]:
        """The column names and the cells of each row, as plain Python values."""
        names = [str(name) for name in self.frame.columns]
        return [[*names, *cells] for cells in self.frame.astype(object).to_numpy().tolist()]


def fit_floats(values: np.ndarray, channels: int | None, size: Size) -> np.ndarray:
    """Convert float (c, h, w) pixels to `channels` and `size`, as `picture_values` does for bytes."""
    if channels == 1 and len(values) == 3:
        values = np.tensordot(LUMA, values, axes=1)[None]
    elif channels == 3 and len(values) == 1:
        values = np.repeat(values, 3, axis=0)
    if size is None or values.shape[1:] == size:
        return values
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(values)[None], size, mode="bilinear", antialias=True
    )
    return resized[0].numpy()
