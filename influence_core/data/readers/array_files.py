"""Files of arrays: .npz, a folder of .npy files, and a .pt of tensors.

Headers are read first: arrays of Python objects are refused, because reading them would run code, and the memory that
the arrays need is judged before one of them is read.
"""

import io
import math
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from influence_core.data.readers.archive import DAMAGES
from influence_core.data.readers.array_labels import KINDS
from influence_core.data.readers.array_names import Arrangement, arrange
from influence_core.data.readers.arrays import rows_of_arrays
from influence_core.data.readers.needs import ROW, Counted, check_need
from influence_core.data.rows import Rows, some, unreadable
from influence_core.errors import DataError
from influence_core.system.temporary import TemporaryFolder

COPIES = 2
"""An array as read, and joined with those of the other splits."""
SHOWN_VALUES = 5
MOST_ARRAYS = 1_000
"""A few a split are used; reading the headers of 300,000 would take half a minute."""
CONVERTER = "influence_core.models.weight_files.tensor_arrays"
"""The program that opens a file of tensors: started by its name, as it lies above this floor."""


@dataclass(frozen=True)
class Header:
    """Shape and type of an array, as its header states."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}"


Headers = Mapping[str, Header]


def read_npz(path: Path, label: str | None = None, shown: str | None = None) -> Rows:
    """Read the splits of an .npz file; `shown` is its name in messages."""
    where = shown or path.name
    with damages(path):
        headers = npz_headers(path)
        arranged = arrangement(headers, where, label)
        check_memory(headers, arranged, where, path.stat().st_size)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in arranged.used}
    return rows_of_arrays(arrays, arranged, where)


def read_npy_files(root: Path, label: str | None = None) -> Rows | None:
    """Read a folder of .npy files, such as X_train.npy and y_train.npy or train/x.npy; None for any other folder."""
    files = {file.relative_to(root).with_suffix("").as_posix(): file
             for file in sorted([*root.glob("*.npy"), *root.glob("*/*.npy")])}  # fmt: skip
    if not files:
        return None
    headers = {}
    for name, file in files.items():
        with damages(file), file.open("rb") as opened:
            headers[name] = read_header(opened, file.name, file.stat().st_size)
    arranged = arrangement(headers, root.name, label)
    check_memory(headers, arranged, root.name, sum(files[name].stat().st_size for name in arranged.used))
    with damages(root):
        arrays = {name: np.load(files[name], allow_pickle=False) for name in arranged.used}
    return rows_of_arrays(arrays, arranged, root.name)


def refuse_npy(path: Path) -> None:
    """Raise DataError for a single .npy: one array has no labels."""
    with damages(path), path.open("rb") as opened:
        header = read_header(opened, path.name, path.stat().st_size)
    beside = sorted(file.name for file in path.parent.glob("*.npy") if file != path)
    folder = f" Beside it lie {some(beside)}: give their folder instead." if beside else ""
    raise DataError(
        f"{path.name} holds one array, {header}; inputs and labels are needed.{folder} Put x_train.npy and y_train.npy "
        "into one folder, or save both: np.savez('data.npz', x_train=x, y_train=y)."
    )


def read_tensor_file(path: Path, label: str | None = None) -> Rows:
    """Read the tensors of a .pt or .pth, converted by a process that may hold nothing but them."""
    with TemporaryFolder() as folder:
        target = folder / f"{path.stem}.npz"
        done = subprocess.run(
            [sys.executable, "-P", "-m", CONVERTER, str(path.resolve()), str(target)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if not target.is_file():
            said = done.stdout.decode("utf-8", "replace").strip().splitlines()
            raise DataError(
                said[-1] if said else f"{path.name} cannot be read: its reader ended without an answer."
            )
        return read_npz(target, label, shown=path.name)


def array_columns(path: Path) -> list[dict[str, Any]]:
    """Describe the arrays among which the labels must be chosen; none where their names tell."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return []
    with damages(path):
        headers = npz_headers(path)
        if "train" in arrange(headers, path.name).inputs or not (names := possible_labels(headers)):
            return []
        sizes = COPIES * sum(headers[name].bytes for name in names)
        check_need(path.name, sizes, path.stat().st_size)
        with np.load(path, allow_pickle=False) as file:
            return [described(name, file[name].reshape(-1)) for name in names]


def described(name: str, values: np.ndarray) -> dict[str, Any]:
    """Describe an array as the reader of tables does a column: its values, and whether it could be the labels."""
    found, counts = np.unique(values, return_counts=True)
    common = sorted(zip(found.tolist(), counts.tolist(), strict=True), key=lambda pair: -pair[1])[
        :SHOWN_VALUES
    ]
    return {
        "name": name,
        "different": len(found),
        "common": [(str(value), count) for value, count in common],
        "classes": 2 <= len(found) <= len(values) // 2,
        "likely": 2 <= len(found) <= len(values) // 2,
    }


def arrangement(headers: Headers, where: str, label: str | None) -> Arrangement:
    """Sort the arrays by their names, or by the name that a person gave for the labels."""
    arranged = arrange(headers, where)
    if label is not None and arranged.labels.get("train") != label:
        arranged = arranged_by_person(headers, where, label, arranged)
    if "train" in arranged.inputs:
        return arranged
    shown = (
        some([f"{name or 'a tensor'} {header}" for name, header in sorted(headers.items())], 12)
        or "no arrays"
    )
    choice = (
        f" Or name the labels: --label {names[0]} (label={names[0]!r})."
        if (names := possible_labels(headers))
        else ""
    )
    raise DataError(
        f"{where} holds {shown}; expected x_train and y_train, and best x_val and y_val. Save them under these names: "
        f"np.savez('data.npz', x_train=..., y_train=...).{choice}"
    )


def arranged_by_person(headers: Headers, where: str, label: str, arranged: Arrangement) -> Arrangement:
    """Take the labels that a person named; the inputs are the array of that name, else the only one as long."""
    if label not in headers:
        raise DataError(f"{where} holds no array called {label}; it holds {some(sorted(headers), 12)}.")
    if set(arranged.inputs) - {"train"}:
        raise DataError(
            f"{where} has several splits; name their labels {', '.join(f'y_{s}' for s in arranged.inputs)}."
        )
    rows = headers[label].shape[:1]
    longer = [name for name, header in headers.items() if header.shape[:1] == rows and len(header.shape) > 1]
    inputs = arranged.inputs.get("train") or (longer[0] if len(set(longer) - {label}) == 1 else None)
    if inputs is None:
        raise DataError(
            f"{where} holds several arrays as long as {label}: {some(longer)}. Name the inputs x_train."
        )
    unnamed = tuple(
        sorted(set(headers) - {label, inputs, *arranged.groups.values(), arranged.classes or label})
    )
    return replace(arranged, inputs={"train": inputs}, labels={"train": label}, unnamed=unnamed)


def possible_labels(headers: Headers) -> list[str]:
    """The names of lists of values that are as long as another array of more dimensions."""
    widths = {name: math.prod(header.shape[1:]) for name, header in headers.items() if header.shape}
    lengths = {headers[name].shape[0] for name, width in widths.items() if width > 1}
    return [
        name
        for name, width in widths.items()
        if width == 1 and headers[name].shape[0] in lengths and headers[name].dtype.kind in KINDS
    ]


def check_memory(headers: Headers, arranged: Arrangement, where: str, sent: int) -> None:
    """Judge the memory that the arrays need before one is read."""
    rows = sum(headers[name].shape[0] for name in arranged.inputs.values() if headers[name].shape)
    check_need(where, COPIES * sum(headers[name].bytes for name in arranged.used) + ROW * rows, sent)


def npz_headers(path: Path) -> dict[str, Header]:
    """Read the headers of the arrays of an .npz file."""
    headers = {}
    with Counted(io.FileIO(path)) as opened, zipfile.ZipFile(opened) as archive:
        arrays = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        if len(arrays) > MOST_ARRAYS:
            raise DataError(
                f"{path.name} holds {len(arrays):,} arrays; at most {MOST_ARRAYS:,} are read. Save the inputs as one "
                "array, with a row for each sample: np.stack(inputs)."
            )
        for info in arrays:
            with archive.open(info) as file:
                headers[info.filename.removesuffix(".npy")] = read_header(file, info.filename, info.file_size)
    return headers


def read_header(file: IO[bytes], name: str, size: int) -> Header:
    """Read the header of an array, after checking that the file can hold what it promises."""
    first = npy.read_magic(file) == (1, 0)
    shape, _, dtype = (npy.read_array_header_1_0 if first else npy.read_array_header_2_0)(file)
    header = Header(tuple(map(int, shape)), dtype)
    if dtype.hasobject:
        raise DataError(
            f"{name} holds Python objects, which could run code when read. Save plain numbers or "
            "text: np.savez(path, y_train=np.asarray(y, dtype=str))."
        )
    if header.bytes > size or (dtype.itemsize == 0 and math.prod(shape)):
        raise DataError(f"{name} promises {header.bytes:,} bytes but holds {size:,}. The file is damaged.")
    return header


@contextmanager
def damages(path: Path) -> Iterator[None]:
    """Turn what NumPy raises on a damaged file into a DataError."""
    try:
        yield
    except DAMAGES as error:
        kind = path.suffix or "a folder of arrays"
        raise unreadable(path, f"read as {kind}", error, "Save it again with NumPy.") from error
