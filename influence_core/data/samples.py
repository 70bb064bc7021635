"""`Samples`: one split of a dataset in a fixed order, each sample with an id, a label and an input.

    n   number of samples
    c   channels, h height, w width of an input

An item is `(input, label)`. The input is a float32 tensor, (c, h, w) in [0, 1] for images, (d,) for feature arrays. The
label is an index into `classes`. The order never changes, so position i is the same sample everywhere.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Literal, final

import numpy as np
import pandas as pd
import torch
from PIL import Image

from influence_core.data.encoding import Encoding
from influence_core.data.storage.content import Content, Size, TableRows
from influence_core.errors import DataError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@final
class Samples(torch.utils.data.Dataset):
    """One split in a fixed order. Read-only: methods such as select and relabelled return new Samples."""

    def __init__(
        self,
        content: Content,
        *,
        rows: np.ndarray,
        ids: Sequence[str],
        labels: np.ndarray,
        classes: tuple[str, ...],
        split: Split,
        groups: pd.DataFrame,
        digests: np.ndarray,
        view: tuple[int | None, Size] = (None, None),
    ):
        """Rows, ids, labels (indices into classes) and digests (n, 32) uint8 correspond by position."""
        self.ids = tuple(ids)
        self.labels = np.asarray(labels, dtype=np.int64)
        self.classes = tuple(classes)
        self.split: Split = split
        self.groups = groups
        self.kind = content.kind
        self._content = content
        self._rows = rows
        self.digests = digests
        self._view = view
        check_consistent(self)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Samples({self.split}: {len(self):,} x {self.kind}, {len(self.classes)} classes)"

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        return to_tensor(self._values(position)), int(self.labels[position])

    def batch(self, positions: Iterable[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs (b, c, h, w) float32 and labels (b,) int64 of several samples at once."""
        positions = [int(position) for position in positions]
        values = [self._values(position) for position in positions]
        shapes = {array.shape for array in values}
        if len(shapes) > 1:
            raise DataError(
                f"The pictures have different shapes, {' and '.join(map(str, sorted(shapes)[:3]))}, and "
                "cannot share a batch. Use samples.resized(channels, (height, width)) to bring them to one "
                "shape."
            )
        return to_tensor(np.stack(values)), torch.from_numpy(self.labels[positions])

    def picture(self, position: int, within: int | None = None) -> Image.Image | None:
        """Return the picture for display, at most `within` pixels a side; None when the samples are not images."""
        return self._content.picture(int(self._rows[position]), within)

    def glance(self, position: int) -> tuple[np.ndarray, tuple[int, int]]:
        """Return an image in [0, 1] float32, of bounded size and uncached, and its true height and width."""
        values, size = self._content.glance(int(self._rows[position]))
        return to_tensor(values).numpy(), size

    def image_bytes(self, position: int) -> tuple[bytes, str]:
        """Return the bytes of the encoded picture, for a file unchanged, and its suffix such as ".png"."""
        return self._content.encoded(int(self._rows[position]))

    @property
    def encoding(self) -> Encoding | None:
        """The encoding of a table's cells as numbers; None for other datasets."""
        return self._content.encoding if isinstance(self._content, TableRows) else None

    @property
    def cells(self) -> pd.DataFrame | None:
        """The rows of a table as they are in the source (n, columns), for display; None for other datasets."""
        if not isinstance(self._content, TableRows):
            return None
        return self._content.frame.iloc[self._rows].set_axis(list(self.ids), axis=0)

    def encoded_by(self, encoding: Encoding) -> "Samples":
        """Return the same rows of a table under another encoding, such as the one of a trained model."""
        if not isinstance(self._content, TableRows):
            raise DataError(
                "The model was trained on a table; these samples are not from a table. Use the table it was trained on."
            )
        return self._with(content=self._content.with_encoding(encoding))

    def resized(self, channels: int, size: Size) -> "Samples":
        """Return the samples with `channels` (1 or 3), resized to `size` (h, w); arrays stay unchanged."""
        if self.kind == "array":
            return self
        if channels not in (1, 3):
            raise DataError(
                f"Pictures are read with 1 (grey) or 3 (colour) channels, not the {channels} of this model. Analyse it "
                f"from Python, with datasets of ({channels}, h, w) tensors in [0, 1]: analyze(model, train, val)."
            )
        return self._with(view=(channels, None if size is None else (int(size[0]), int(size[1]))))

    def select(self, positions: Sequence[int] | np.ndarray, split: Split | None = None) -> "Samples":
        """Return the samples at these positions, in the order given."""
        picked = np.asarray(positions, dtype=np.int64)
        return self._with(
            rows=self._rows[picked],
            ids=[self.ids[position] for position in picked],
            labels=self.labels[picked],
            groups=self.groups.iloc[picked],
            digests=self.digests[picked],
            split=split or self.split,
        )

    def relabelled(self, labels: Sequence[int] | np.ndarray) -> "Samples":
        """Return the same samples under other labels (n,), as indices into classes."""
        return self._with(labels=np.asarray(labels, dtype=np.int64))

    def with_groups(self, more: pd.DataFrame) -> "Samples":
        """Return the samples with more group columns (n rows); an existing column of the same name wins.

        The fingerprint stays: columns derived from the content add nothing to it.
        """
        new = more[[name for name in more.columns if name not in self.groups]]
        joined = self._with(groups=pd.concat([self.groups, new.set_axis(self.groups.index, axis=0)], axis=1))
        joined.__dict__["fingerprint"] = self.fingerprint
        return joined

    def with_classes(self, classes: Sequence[str]) -> "Samples":
        """Return the same samples with the same class names in another order; further names have no samples."""
        if not set(self.classes) <= set(classes) or len(set(classes)) < len(classes):
            raise DataError(
                f"The classes {list(classes)[:12]} lack some of the dataset: {list(self.classes)[:12]}. "
                f"Give each of these names once, in any order."
            )
        numbers = np.array([list(classes).index(name) for name in self.classes])
        return self._with(classes=tuple(classes), labels=numbers[self.labels])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all content: ids, labels, classes, groups, inputs as stored. A resized view has the same."""
        digest = hashlib.sha256(f"samples 1 {self.kind} {self.split}".encode())
        for texts in (self.ids, self.classes):
            digest.update(len(texts).to_bytes(8, "little"))
            for text in texts:
                encoded = text.encode("utf-8", "surrogatepass")
                digest.update(len(encoded).to_bytes(8, "little") + encoded)
        digest.update(self.labels.astype("<i8").tobytes())
        digest.update(np.ascontiguousarray(self.digests).tobytes())
        digest.update(self.groups.to_csv(index=False).encode())
        return digest.hexdigest()

    def _values(self, position: int) -> np.ndarray:
        return self._content.values(int(self._rows[position]), *self._view)

    def _with(self, **changes: Any) -> "Samples":
        public = ("ids", "labels", "classes", "split", "groups", "digests")
        same = {name: getattr(self, name) for name in public} | {"rows": self._rows, "view": self._view}
        content = changes.pop("content", self._content)
        return Samples(content, **(same | changes))


def to_tensor(values: np.ndarray) -> torch.Tensor:
    """Return stored numbers as a float32 tensor that owns its memory; bytes become [0, 1]."""
    tensor = torch.tensor(values)
    return tensor.to(torch.float32).div_(255) if values.dtype == np.uint8 else tensor.to(torch.float32)


def check_consistent(samples: Samples) -> None:
    """Raise DataError unless ids are unique, labels are valid and all columns equally long."""
    n = len(samples.ids)
    lengths = {
        "labels": len(samples.labels),
        "rows": len(samples._rows),
        "digests": len(samples.digests),
        "groups": len(samples.groups),
    }
    for name, length in lengths.items():
        if length != n:
            raise DataError(
                f"{samples.split}: {n:,} ids but {length:,} {name}; both must be the same number."
            )
    if len(set(samples.ids)) != n:
        raise DataError(f"{samples.split}: {repeated(samples.ids)}. Every sample needs a unique id.")
    if n and (samples.labels.min() < 0 or samples.labels.max() >= len(samples.classes)):
        raise DataError(
            f"{samples.split}: labels run from {samples.labels.min()} to {samples.labels.max()}, but there "
            f"are {len(samples.classes)} classes, numbered from 0."
        )


def repeated(ids: Sequence[str]) -> str:
    """Return the start of a sentence that names the ids occurring more than once."""
    twice = [name for name, count in Counter(ids).items() if count > 1]
    shown = ", ".join(map(repr, twice[:5]))
    occur = "sample id occurs" if len(twice) == 1 else "sample ids occur"
    return f"{len(twice):,} {occur} more than once, for example {shown}"
