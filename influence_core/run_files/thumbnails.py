"""Thumbnails of a run's samples, small enough for a page of sixty.

All thumbnails of a split are one file (`thumbnails/pack.bin` for train, `thumbnails/val.bin`, `thumbnails/test.bin`).
Beside it lie n + 1 byte offsets (`thumbnails/index.npy`, ...): thumbnail i is pack[index[i]:index[i + 1]]. One file
instead of thousands opens, copies and checks fast. A sample without a picture has no bytes.
"""

from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from influence_core.system import atomic
from influence_core.system.report import Report

PACK, INDEX = "thumbnails/pack.bin", "thumbnails/index.npy"
FILES = {
    "train": (PACK, INDEX),
    "val": ("thumbnails/val.bin", "thumbnails/val.npy"),
    "test": ("thumbnails/test.bin", "thumbnails/test.npy"),
}
"""Pack and index of each split."""
KEPT = 96  # pixels: a picture up to this size keeps its size, without loss
SIDE = 128  # pixels: the longer side of a picture that is made smaller
QUALITY = 85


class Pictured(Protocol):
    """Samples in a fixed order, each with a picture or None."""

    def __len__(self) -> int: ...

    def picture(self, position: int, /) -> Image.Image | None: ...


def pack_thumbnails(
    samples: Pictured, folder: Path | str, on_progress: Report | None = None, *, split: str = "train"
) -> int:
    """Write the thumbnails of all samples of a split, in their order; returns the number of samples with a picture.

    `on_progress` is called with ("thumbnails", done, total).
    """
    folder, (pack_file, index_file) = Path(folder), FILES[split]
    (folder / pack_file).parent.mkdir(parents=True, exist_ok=True)
    offsets = np.zeros(len(samples) + 1, dtype=np.int64)
    with atomic.writing(folder / pack_file) as pack:
        for position in range(len(samples)):
            picture = samples.picture(position)
            written = 0 if picture is None else pack.write(encode(picture))
            offsets[position + 1] = offsets[position] + written
            if on_progress is not None:
                on_progress("thumbnails", position + 1, len(samples))
    with atomic.writing(folder / index_file) as index:
        np.save(index, offsets, allow_pickle=False)
    return int(np.count_nonzero(np.diff(offsets)))


class Pack:
    """The thumbnails of one split, read from their two files."""

    def __init__(self, pack: Path, index: Path) -> None:
        self.offsets = np.load(index, allow_pickle=False)
        self.content = np.memmap(pack, np.uint8, "r") if pack.stat().st_size else np.zeros(0, np.uint8)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, position: int) -> bytes:
        """Return one thumbnail; no bytes for a sample without a picture."""
        return self.content[self.offsets[position] : self.offsets[position + 1]].tobytes()


def encode(picture: Image.Image) -> bytes:
    """Encode a small picture as PNG without loss, a larger one as JPEG of at most 128 pixels a side."""
    target = BytesIO()
    if max(picture.size) <= KEPT:
        _displayable(picture).save(target, "PNG")
    else:
        small = _opaque(picture)
        small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        small.save(target, "JPEG", quality=QUALITY)
    return target.getvalue()


def media_type(thumbnail: bytes) -> str:
    """Return the media type of a thumbnail, from its first bytes."""
    return "image/png" if thumbnail.startswith(b"\x89PNG") else "image/jpeg"


def _displayable(picture: Image.Image) -> Image.Image:
    """Return a copy without metadata, in a mode that browsers show as PNG: all other modes become RGB."""
    shown = picture if picture.mode in {"1", "L", "LA", "RGB", "RGBA"} else picture.convert("RGB")
    clean = Image.new(shown.mode, shown.size)
    clean.paste(shown)
    return clean


def _opaque(picture: Image.Image) -> Image.Image:
    """Return the picture as RGB on white: JPEG has no transparency."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layered = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
