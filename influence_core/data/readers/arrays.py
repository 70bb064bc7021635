"""Reader of arrays, from an .npz file or from memory.

An .npz holds x_train, y_train and optionally x_val, y_val, x_test, y_test, group (or group_train,
group_val, group_test) and classes (names by label number). Inputs are features (n, d), or images (n, h, w),
(n, h, w, c) or (n, c, h, w): bytes 0..255 or floats 0..1. A sample's id is its split and row number: "train/0",
"train/1", ...

Arrays of Python objects are refused: reading them would run code (`allow_pickle=False`).
"""

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib import format as npy

from influence_core.data.readers.archive import DAMAGES
from influence_core.data.rows import Rows, label_name, some
from influence_core.data.samples import SPLITS, Samples, Split
from influence_core.data.storage.content import ArrayRows
from influence_core.errors import DataError

MAX_BYTES = 4 * 1024**3


def samples_from_arrays(
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    classes: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    groups: pd.DataFrame | None = None,
    split: Split = "train",
) -> Samples:
    """Wrap arrays in memory as Samples; labels (n,) are class numbers, ids default to row numbers as text."""
    content = ArrayRows(as_inputs(np.asarray(inputs), "inputs"))
    numbers = np.asarray(labels, dtype=np.int64)
    sample_ids = [str(row) for row in range(len(content))] if ids is None else list(ids)
    no_groups = pd.DataFrame(index=pd.Index(sample_ids))
    digests = b"".join(content.digest(row) for row in range(len(content)))
    return Samples(
        content,
        rows=np.arange(len(content)),
        ids=sample_ids,
        labels=numbers,
        classes=tuple(map(str, range(numbers.max() + 1))) if classes is None else tuple(classes),
        split=split,
        groups=no_groups if groups is None else groups.set_axis(sample_ids, axis=0),
        digests=np.frombuffer(digests, np.uint8).reshape(-1, 32),
    )


def read_npz(path: Path) -> Rows:
    """Read the splits of an .npz file as rows of one array."""
    arrays = load_arrays(path)
    present: list[Split] = [split for split in SPLITS if f"x_{split}" in arrays]
    if "train" not in present:
        raise DataError(
            f"{path} holds {some(sorted(arrays), 12)}; expected x_train and y_train, and best x_val and y_val."
        )
    inputs = [as_inputs(arrays[f"x_{split}"], f"x_{split}") for split in present]
    if len({array.shape[1:] for array in inputs}) > 1:
        shapes = [f"x_{split} {array.shape}" for split, array in zip(present, inputs, strict=True)]
        raise DataError(
            f"{path}: the splits have different shapes: {some(shapes)}. Only the first number may differ."
        )
    labels = [label for split in present for label in read_labels(arrays, split)]
    splits: list[Split | None] = [split for split in present for _ in arrays[f"x_{split}"]]
    return Rows(
        ArrayRows(np.concatenate(inputs)),
        ids=[f"{split}/{row}" for split in present for row in range(len(arrays[f"x_{split}"]))],
        labels=named_labels(labels, arrays.get("classes"), path),
        splits=splits,
        groups=read_groups(arrays, present),
        classes=None if "classes" not in arrays else tuple(map(str, arrays["classes"])),
    )


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file, after checking their headers."""
    try:
        check_members(path)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except DAMAGES as error:
        raise DataError(f"{path} cannot be read as .npz: {error}") from error


def check_members(path: Path) -> None:
    """Check the headers of the arrays before NumPy reads them: no objects, no false sizes, no bombs."""
    with zipfile.ZipFile(path) as archive:
        total = sum(check_member(archive, info) for info in archive.infolist())
    if total > MAX_BYTES:
        raise DataError(f"{path} unpacks to {total:,} bytes; at most {MAX_BYTES:,} are read.")


def check_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """Return the bytes an array needs by its header, after checking that the archive holds as many."""
    with archive.open(info) as file:
        first = npy.read_magic(file) == (1, 0)
        shape, _, dtype = (npy.read_array_header_1_0 if first else npy.read_array_header_2_0)(file)
    if dtype.hasobject:
        raise DataError(
            f"{info.filename} holds Python objects, which could run code when read. Save plain numbers or "
            "text: np.savez(path, y_train=np.asarray(y, dtype=str))."
        )
    needed = math.prod(map(int, shape)) * dtype.itemsize
    if needed > info.file_size:
        raise DataError(
            f"{info.filename} promises {needed:,} bytes but holds {info.file_size:,}. The file is damaged."
        )
    return needed


def as_inputs(array: np.ndarray, name: str) -> np.ndarray:
    """Return inputs as (n, d) or (n, c, h, w), uint8 or float32, after checking their range."""
    if array.ndim not in (2, 3, 4) or not len(array) or array.dtype.kind not in "uifb":
        raise DataError(
            f"{name} has shape {array.shape} and type {array.dtype}; expected numbers of shape (n, d), (n, "
            "h, w), (n, h, w, c) or (n, c, h, w) with at least one row."
        )
    if array.ndim == 2:
        return array.astype(np.float32)
    images = channels_first(array, name)
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    images = np.ascontiguousarray(images, dtype=np.float32)
    low, high = float(np.nanmin(images)), float(np.nanmax(images))
    if low < 0 or high > 1:
        raise DataError(
            f"{name} runs from {low:g} to {high:g}; images are bytes (uint8) 0..255 or floats 0..1, before "
            "any normalisation. The model's mean and std belong in its preprocessing."
        )
    return images


def channels_first(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 3:
        return array[:, None]
    first, last = array.shape[1] in (1, 3), array.shape[3] in (1, 3, 4)
    if first == last:
        reason = (
            "both the second and the last number could be"
            if first
            else "neither the second nor the last number is"
        )
        raise DataError(f"{name} has shape {array.shape}; {reason} the channels (1 or 3). Use (n, c, h, w).")
    return array if first else array[..., :3].transpose(0, 3, 1, 2)


def read_labels(arrays: dict[str, np.ndarray], split: Split) -> list:
    labels, inputs = arrays.get(f"y_{split}"), arrays[f"x_{split}"]
    if labels is None:
        raise DataError(f"x_{split} has no labels: y_{split} is missing.")
    labels = labels.reshape(len(labels), -1)
    if labels.shape != (len(inputs), 1):
        raise DataError(
            f"x_{split} has {len(inputs):,} rows, y_{split} has shape {labels.shape}; expected one label each."
        )
    return labels[:, 0].tolist()


def named_labels(labels: list, classes: np.ndarray | None, path: Path) -> list[str | None]:
    if classes is None:
        texts = (label.decode("utf-8", "replace") if isinstance(label, bytes) else label for label in labels)
        return [label_name(label, path) for label in texts]
    names = [str(name) for name in classes]
    if any(isinstance(label, str) or label != label or not 0 <= label < len(names) for label in labels):
        raise DataError(f"{path}: with classes given, labels must be numbers from 0 to {len(names) - 1}.")
    return [names[int(label)] for label in labels]


def read_groups(arrays: dict[str, np.ndarray], present: list[Split]) -> pd.DataFrame:
    """Return the column `group` of all splits; empty where a split has none."""
    total = sum(len(arrays[f"x_{split}"]) for split in present)
    parts = {
        split: arrays.get(f"group_{split}", arrays.get("group") if split == "train" else None)
        for split in present
    }
    if all(part is None for part in parts.values()):
        return pd.DataFrame(index=pd.RangeIndex(total))
    column: list = []
    for split, part in parts.items():
        rows = len(arrays[f"x_{split}"])
        if part is not None and part.shape != (rows,):
            raise DataError(
                f"The group of {split} has shape {part.shape}; expected one value for each of {rows:,} rows."
            )
        column += [None] * rows if part is None else part.tolist()
    return pd.DataFrame({"group": column})
