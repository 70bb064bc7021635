"""Opening a dataset: a folder, a zip, a Parquet file, a table or arrays, by one call."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from influence_core.data.encoding import Encoding, fit_encoding
from influence_core.data.readers.archive import unpack
from influence_core.data.readers.array_files import read_npy_files, read_npz, read_tensor_file, refuse_npy
from influence_core.data.readers.class_names import named_by_file
from influence_core.data.readers.folder import holds_pictures, read_folder, unwrapped
from influence_core.data.readers.parquet import read_parquet
from influence_core.data.readers.parquet_shards import read_shards, shards
from influence_core.data.readers.table import read_table
from influence_core.data.readers.table_files import is_table, table_suffix
from influence_core.data.readers.table_folder import table_place
from influence_core.data.readers.torchvision_files import read_layout
from influence_core.data.rows import Rows, fault, some
from influence_core.data.samples import Samples, Split
from influence_core.data.splits import divide
from influence_core.data.storage.store import Store, is_store
from influence_core.errors import DataError, InfluenceError
from influence_core.system import memory
from influence_core.system.report import Report

READ_TODAY = (
    "a folder of pictures, a .zip of such a folder, a .parquet file with pictures, a table with a label column (.csv, "
    ".tsv or .txt, also as .gz, .jsonl, .xlsx or .parquet; or a folder with train.csv), or arrays: an .npz, a folder "
    "of .npy files, a .pt of tensors"
)
TENSORS = (".pt", ".pth")


@dataclass(frozen=True)
class Dataset:
    """Training, validation and optional test samples, with the class names they share.

    `notes` are sentences about decisions made while reading: carved out, skipped, ignored. `options` are the keywords
    of open_dataset that read the same samples again. `set_aside`: validation samples that were taken out of train.
    """

    name: str
    path: Path
    classes: tuple[str, ...]
    train: Samples
    val: Samples
    test: Samples | None
    fingerprint: str
    notes: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    set_aside: int = 0

    @property
    def encoding(self) -> Encoding | None:
        """The encoding of a table's cells as numbers, fitted on train; None for other datasets."""
        return self.train.encoding

    @property
    def parts(self) -> dict[Split, Samples]:
        """The samples of each split that exists."""
        every: dict[Split, Samples | None] = {"train": self.train, "val": self.val, "test": self.test}
        return {split: part for split, part in every.items() if part is not None}

    def with_classes(self, classes: Sequence[str]) -> "Dataset":
        """Return the same dataset with its classes in the order of a model's outputs; further ones have no samples."""
        parts: dict[Split, Samples] = {
            split: part.with_classes(classes) for split, part in self.parts.items()
        }
        absent = [name for name in classes if name not in self.classes]
        note = f"No sample has the class {some(absent)}; the model's output for it is kept." if absent else ""
        notes = (*self.notes, *filter(None, [note]))
        return bundle(self.name, self.path, parts, notes, self.options, self.set_aside)


def open_dataset(
    path: str | Path,
    *,
    validation_share: float = 0.15,
    seed: int = 0,
    skip_unreadable: bool = False,
    classes: Sequence[str] | None = None,
    label: str | None = None,
    on_progress: Report | None = None,
) -> Dataset:
    """Open a dataset: a folder of pictures, a .zip of one, a .parquet with pictures, a table, or an .npz of arrays.

    Args:
        path: Path of the dataset.
        validation_share: Share of each class that is set aside when there is no validation set.
        seed: Seed of the draw of these samples.
        skip_unreadable: Leave unreadable samples out and list them in the notes. Otherwise they are an error.
        classes: Order of the class names. Default: the order in the source, else sorted.
        label: Name of the label column, of a table or of a list beside pictures; "file name" for the classes in names
            such as cat.12.jpg. Default: label.
        on_progress: Called with the step ("Unpacking", "Reading"), the files done and their total.

    Raises:
        DataError: If the dataset cannot be read, or would be read wrongly; the text names the next action.
    """
    path = Path(path)
    options: dict[str, Any] = dict(
        validation_share=validation_share, seed=seed, skip_unreadable=skip_unreadable
    )
    with reading(path):
        with readable(path, label, on_progress) as rows:
            parts, notes = divide(rows, report=on_progress, classes=classes, **options)
            given = {sample for sample, split in zip(rows.ids, rows.splits, strict=True) if split == "val"}
        parts, notes = encoded(parts, notes)
    name = (
        path.resolve().name
        if path.is_dir()
        else path.name.removesuffix(table_suffix(path.name) or path.suffix)
    )
    set_aside = sum(sample not in given for sample in parts["val"].ids)
    return bundle(
        name, path, parts, notes, options if label is None else options | {"label": label}, set_aside
    )


def encoded(
    parts: dict[Split, Samples], notes: tuple[str, ...]
) -> tuple[dict[Split, Samples], tuple[str, ...]]:
    """Encode the cells of a table as numbers, fitted on train alone; other datasets stay unchanged."""
    if (cells := parts["train"].cells) is None:
        return parts, notes
    encoding, left_out = fit_encoding(cells)
    return {split: part.encoded_by(encoding) for split, part in parts.items()}, (*notes, *left_out)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a reader or a library raises on damaged or hostile files into a DataError in words."""
    try:
        yield
    except InfluenceError:
        raise
    except MemoryError as error:
        raise DataError(
            f"{path.name} needs more memory than reading it may take ({memory.spare() / 1e9:,.1f} GB are free now). "
            "Bring fewer samples or smaller ones, or free memory and try again."
        ) from error
    except Exception as error:
        raise DataError(
            f"{path.name} cannot be read: {fault(error)}. Write it again, or bring another file."
        ) from error


@contextmanager
def readable(path: Path, label: str | None = None, report: Report | None = None) -> Iterator[Rows]:
    """Read the rows. The unpacked files of a zip live as long as the rows, and are removed after an error."""
    if path.suffix.lower() != ".zip" or not path.is_file():
        yield read_rows(path, label)
        return
    unpacked = unpack(path, report=report)
    try:
        yield read_store(Store(unpacked.path, keep_alive=unpacked), shown=path.name, label=label)
    except BaseException:
        unpacked.remove()
        raise


def read_store(store: Store, shown: str, label: str | None = None) -> Rows:
    """Read an unpacked archive as the folder it was packed from."""
    return read_directory(store.files, shown=shown, store=store, label=label)


def read_rows(path: Path, label: str | None = None) -> Rows:
    """Read the rows with the reader that fits the path."""
    if not path.exists():
        raise DataError(f"There is nothing at {path}. Expected {READ_TODAY}.")
    if path.is_dir():
        if is_store(path):
            return read_store(Store(path), shown=path.name, label=label)
        return read_directory(path, shown=str(path), label=label)
    suffix = path.suffix.lower()
    if is_table(path):
        return read_table(path, label)
    if suffix == ".parquet":
        return read_parquet(path, label)
    if suffix == ".npz":
        return read_npz(path, label)
    if suffix == ".npy":
        refuse_npy(path)
    if suffix in TENSORS:
        return read_tensor_file(path, label)
    raise DataError(f"{path.name} has the suffix {suffix or '(none)'!r}. Expected {READ_TODAY}.")


def read_directory(path: Path, shown: str, store: Store | None = None, label: str | None = None) -> Rows:
    """Read a folder: its Parquet shards, MNIST or CIFAR files, or one Parquet or .npz file; else its pictures."""
    root = unwrapped(path, store)
    if not any(root.iterdir()) and (store is None or not store.names):
        raise DataError(f"{shown} is empty. Expected {READ_TODAY}.")
    if (files := shards(root)) is not None:
        return read_shards(files, label)
    if (layout := read_layout(root)) is not None:
        return named_by_file(layout, root)
    files = [file for file in sorted(root.glob("*.parquet")) if not is_table(file)] + sorted(
        root.glob("*.npz")
    )
    if len(files) > 1:
        raise DataError(
            f"{shown} holds {len(files)} data files: {some([file.name for file in files])}. Expected "
            "one; join them, or name one of them."
        )
    if files:
        return read_rows(files[0], label)
    if not holds_pictures(root, store) and (arrays := read_npy_files(root, label)) is not None:
        return arrays
    if (place := table_place(root, store)) is not None:
        return read_table(place, label, Path(shown).name)
    return read_folder(root, shown, store, label)


def bundle(
    name: str,
    path: Path,
    parts: Mapping[Split, Samples],
    notes: tuple[str, ...],
    options: Mapping[str, Any],
    set_aside: int,
) -> Dataset:
    """Return the parts, in the order train, val, test, as a dataset with the fingerprint of all."""
    fingerprint = hashlib.sha256("".join(part.fingerprint for part in parts.values()).encode()).hexdigest()
    train, val, test = parts["train"], parts["val"], parts.get("test")
    return Dataset(name, path, train.classes, train, val, test, fingerprint, notes, options, set_aside)
