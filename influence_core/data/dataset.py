"""What does a person's dataset hold? One call opens a folder, a zip, a Parquet file or arrays."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from influence_core.data.archive import unpack
from influence_core.data.arrays import read_npz
from influence_core.data.class_names import named_by_file
from influence_core.data.folder import read_folder, unwrapped
from influence_core.data.parquet import read_parquet
from influence_core.data.rows import Rows, some
from influence_core.data.samples import Samples
from influence_core.data.shards import read_shards, shards
from influence_core.data.splits import divide
from influence_core.data.torchvision_layouts import read_layout
from influence_core.errors import DataError

READ_TODAY = (
    "a folder of pictures, a .zip of such a folder, a .parquet file with pictures, or an .npz of arrays"
)


@dataclass(frozen=True)
class Dataset:
    """Training, validation and perhaps test samples, with the class names they share.

    `notes` says in sentences what was decided while reading: carved out, skipped, ignored. `options` are the keywords
    of open_dataset that read the same samples again.
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

    def with_classes(self, classes: Sequence[str]) -> "Dataset":
        """Return the same dataset with its classes in another order, such as that of a model's outputs."""
        same = bundle(
            self.name,
            self.path,
            self.train.with_classes(classes),
            self.val.with_classes(classes),
            None if self.test is None else self.test.with_classes(classes),
            self.notes,
        )
        return replace(same, options=self.options)


def open_dataset(
    path: str | Path,
    *,
    validation_share: float = 0.15,
    seed: int = 0,
    skip_unreadable: bool = False,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Open a dataset: a folder of pictures, a .zip of one, a .parquet with pictures, or an .npz of arrays.

    Args:
        path: Where the dataset lies.
        validation_share: Share of each class that is set aside when there is no validation set.
        seed: Which samples are set aside.
        skip_unreadable: Leave samples out that cannot be read, and say so in the notes. Otherwise they are
            an error.
        classes: Order of the class names. Default: as the file fixes it, else sorted.

    Raises:
        DataError: If the dataset cannot be read, or would be read wrongly; the text says what to do.
    """
    path = Path(path)
    with readable(path) as rows:
        parts, notes = divide(
            rows,
            validation_share=validation_share,
            seed=seed,
            skip_unreadable=skip_unreadable,
            classes=classes,
        )
    name = path.resolve().name if path.is_dir() else path.stem
    opened = bundle(name, path, parts["train"], parts["val"], parts.get("test"), notes)
    options = {"validation_share": validation_share, "seed": seed, "skip_unreadable": skip_unreadable}
    return replace(opened, options=options)


@contextmanager
def readable(path: Path) -> Iterator[Rows]:
    """Read the rows; what a zip was unpacked to lives as long as they do, and not at all after an error."""
    if path.suffix.lower() != ".zip" or not path.is_file():
        yield read_rows(path)
        return
    unpacked = unpack(path)
    try:
        yield read_directory(unpacked.path, shown=path.name, keep_alive=unpacked)
    except BaseException:
        unpacked.remove()
        raise


def read_rows(path: Path) -> Rows:
    """Choose the reader by what lies at the path."""
    if not path.exists():
        raise DataError(f"Nothing lies at {path}. Expected {READ_TODAY}.")
    if path.is_dir():
        return read_directory(path, shown=str(path))
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return read_parquet(path)
    if suffix == ".npz":
        return read_npz(path)
    if suffix == ".csv":
        raise DataError(f"{path.name} is a table, and tables cannot be read yet. Read today: {READ_TODAY}.")
    raise DataError(f"{path.name} has the suffix {suffix or '(none)'!r}. Expected {READ_TODAY}.")


def read_directory(path: Path, shown: str, keep_alive: object = None) -> Rows:
    """Read a folder: its one Parquet or .npz file when it has one, else its pictures."""
    root = unwrapped(path)
    if not any(root.iterdir()):
        raise DataError(f"{shown} is empty. Expected {READ_TODAY}.")
    if (files := shards(root)) is not None:
        return read_shards(files)
    if (layout := read_layout(root)) is not None:
        return named_by_file(layout, root)
    tables = sorted(root.glob("*.parquet")) + sorted(root.glob("*.npz"))
    if len(tables) > 1:
        raise DataError(
            f"{shown} holds {len(tables)} data files: {some([table.name for table in tables])}. Expected "
            "one; join them, or name one of them."
        )
    if tables:
        return read_parquet(tables[0]) if tables[0].suffix == ".parquet" else read_npz(tables[0])
    return read_folder(root, shown, keep_alive)


def bundle(
    name: str, path: Path, train: Samples, val: Samples, test: Samples | None, notes: tuple[str, ...]
) -> Dataset:
    parts = [train, val] if test is None else [train, val, test]
    fingerprint = hashlib.sha256("".join(part.fingerprint for part in parts).encode()).hexdigest()
    return Dataset(name, path, train.classes, train, val, test, fingerprint, notes)
