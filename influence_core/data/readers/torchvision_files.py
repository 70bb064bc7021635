"""Reader of the files of MNIST and CIFAR, as torchvision and their makers store them.

    train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-...     MNIST and its relatives, also as .gz
    data_batch_1.bin, ..., test_batch.bin, batches.meta.txt        CIFAR-10, binary version
    train.bin, test.bin, fine_label_names.txt                      CIFAR-100, binary version
    data_batch_1, batches.meta; train, meta                        CIFAR, Python version: pickles, refused

Formats: LeCun's idx (big-endian magic, sizes, bytes) and Krizhevsky's rows (label bytes, then 3 x 32 x 32). There is no
validation set; one is carved out of train as for every other source.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from influence_core.data.readers.needs import most_unpacked
from influence_core.data.rows import Rows, fault
from influence_core.data.samples import Split
from influence_core.data.storage.content import ArrayRows
from influence_core.errors import DataError

MAX_BYTES = 4 * 1024**3
MNIST: dict[Split, str] = {"train": "train", "test": "t10k"}
DEPTH = 3
SIDE, PIXELS = 32, 3 * 32 * 32
PICKLES = ({"data_batch_1", "batches.meta"}, {"train", "test", "meta"})
RECIPE = (
    "Bring the binary version of the same data (cifar-10-binary or cifar-100-binary), or write the arrays where you "
    'trust the file: numpy.savez("cifar.npz", x_train=dataset.data, y_train=dataset.targets).'
)
Parts = dict[Split, tuple[np.ndarray, np.ndarray]]


def read_layout(root: Path) -> Rows | None:
    """Read a folder in one of these layouts; None for any other folder."""
    for folder in folders(root, DEPTH):
        names = {child.name for child in folder.iterdir()}
        if any(kind <= names for kind in PICKLES):
            raise DataError(
                f"{folder.name} is the Python version of CIFAR: its files are pickles, which can run code when "
                f"opened. {RECIPE}"
            )
        if names & {"train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"}:
            return rows_of(read_mnist(folder), None)
        if {"data_batch_1.bin", "test_batch.bin"} <= names:
            return read_cifar10(folder, names)
        if {"train.bin", "test.bin", "fine_label_names.txt"} <= names:
            return read_cifar100(folder)
    return None


def folders(root: Path, depth: int) -> list[Path]:
    """Return a folder and those below it, to a depth; links are not followed."""
    if not depth:
        return [root]
    inside = [child for child in sorted(root.iterdir()) if child.is_dir() and not child.is_symlink()]
    return [root, *(folder for child in inside[:100] for folder in folders(child, depth - 1))]


def rows_of(parts: Parts, classes: tuple[str, ...] | None, groups: pd.DataFrame | None = None) -> Rows:
    """Join the splits. A label is its name in `classes`, else its number as text."""
    images = np.concatenate([images for images, _ in parts.values()])
    numbers = np.concatenate([labels for _, labels in parts.values()])
    if classes is not None and numbers.size and int(numbers.max()) >= len(classes):
        raise DataError(
            f"A label is number {int(numbers.max())}, but {len(classes)} classes are named, from 0. The file of names "
            "belongs to other data."
        )
    splits: list[Split | None] = [split for split, (_, labels) in parts.items() for _ in labels]
    return Rows(
        ArrayRows(images),
        ids=[f"{split}/{row}" for split, (_, labels) in parts.items() for row in range(len(labels))],
        labels=[str(number) if classes is None else classes[number] for number in numbers.tolist()],
        splits=splits,
        groups=pd.DataFrame(index=pd.RangeIndex(len(splits))) if groups is None else groups,
        classes=classes if classes is not None else tuple(map(str, sorted(set(numbers.tolist())))),
    )


def read_mnist(folder: Path) -> Parts:
    parts: Parts = {}
    for split, stem in MNIST.items():
        images = folder / f"{stem}-images-idx3-ubyte"
        if split == "train" or images.exists() or images.with_name(images.name + ".gz").exists():
            pixels, labels = read_idx(images, 3), read_idx(folder / f"{stem}-labels-idx1-ubyte", 1)
            if len(pixels) != len(labels):
                raise DataError(
                    f"{images.name} holds {len(pixels):,} images, its labels are {len(labels):,}. Download both again."
                )
            parts[split] = pixels[:, None], labels
    return parts


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read one idx file of bytes, plain or as .gz, after checking that its header fits its length."""
    data = content(path)
    start = 4 + 4 * dimensions
    if len(data) < start or data[:4] != bytes([0, 0, 8, dimensions]):
        raise DataError(
            f"{path.name} begins with {data[:4].hex(' ') or 'nothing'}; expected an idx file of bytes in {dimensions} "
            f"dimensions (00 00 08 0{dimensions}). Download it again."
        )
    shape = [int.from_bytes(data[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(dimensions)]
    if math.prod(shape) != len(data) - start:
        raise DataError(
            f"{path.name} states that it holds {' x '.join(f'{side:,}' for side in shape)} bytes, but "
            f"{len(data) - start:,} follow. It is cut off or damaged: download it again."
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def content(path: Path) -> bytes:
    """Return the bytes of a file or of its .gz; more than is read is an error, whatever size the archive states."""
    packed = path.with_name(path.name + ".gz")
    source = path if path.is_file() else packed
    if not source.is_file():
        raise DataError(
            f"There is no file {path.name} nor {packed.name} in {path.parent.name}. Download it again."
        )
    most = MAX_BYTES if source == path else most_unpacked(source.stat().st_size, MAX_BYTES)
    try:
        with path.open("rb") if source == path else gzip.open(packed) as file:
            data = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{source.name} cannot be read: {fault(error)}. Download it again.") from error
    if len(data) > most:
        raise DataError(
            f"{source.name} unpacks to more than {most:,} bytes, the most that is read of its size."
        )
    return data


def read_cifar10(folder: Path, names: set[str]) -> Rows:
    batches = sorted(name for name in names if name.startswith("data_batch_") and name.endswith(".bin"))
    train = np.concatenate([read_rows(folder / name, 1) for name in batches])
    test = read_rows(folder / "test_batch.bin", 1)
    parts: Parts = {"train": split_rows(train, 1), "test": split_rows(test, 1)}
    return rows_of(parts, lines(folder / "batches.meta.txt"))


def read_cifar100(folder: Path) -> Rows:
    """Read CIFAR-100. The fine label is the class; the coarse one, where names exist, a group."""
    train, test = (read_rows(folder / name, 2) for name in ("train.bin", "test.bin"))
    coarse = lines(folder / "coarse_label_names.txt")
    groups = None
    if coarse is not None:
        numbers = np.concatenate([train[:, 0], test[:, 0]])
        if int(numbers.max(initial=0)) >= len(coarse):
            raise DataError(
                f"A coarse label is number {int(numbers.max())}, but {len(coarse)} are named, from 0."
            )
        groups = pd.DataFrame({"coarse": [coarse[number] for number in numbers.tolist()]})
    parts: Parts = {"train": split_rows(train, 2), "test": split_rows(test, 2)}
    return rows_of(parts, lines(folder / "fine_label_names.txt"), groups)


def read_rows(path: Path, labels: int) -> np.ndarray:
    """Read rows of `labels` bytes and one picture each, uint8 (n, labels + 3072)."""
    data = content(path)
    width = labels + PIXELS
    if not data or len(data) % width:
        raise DataError(
            f"{path.name} has {len(data):,} bytes; expected rows of {width:,} ({labels} label, 3 x 32 x 32). It is cut "
            "off, or no CIFAR file: download it again."
        )
    return np.frombuffer(data, np.uint8).reshape(-1, width)


def split_rows(rows: np.ndarray, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures (n, 3, 32, 32) uint8 and their (fine) labels (n,) int64."""
    return rows[:, labels:].reshape(-1, 3, SIDE, SIDE), rows[:, labels - 1].astype(np.int64)


def lines(path: Path) -> tuple[str, ...] | None:
    """Read class names, one per line; None without the file: classes are then named by their numbers."""
    if not path.is_file():
        return None
    names = content(path)[: 1024**2].decode("utf-8", "replace").split("\n")
    return tuple(name.strip() for name in names if name.strip())
