"""Reader of a folder of pictures.

    train/<class>/*.png, val/<class>/*, test/<class>/*     splits by folder
    <class>/*.png                                          one tree; a validation set is carved out later
    metadata.csv, metadata.jsonl: file_name, label, ...    labels and splits that override the folders; groups
    classes.txt: one name per line                         the order of the classes, or names for numbers

A sample's id is its path relative to the folder, so it stays the same on every machine.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pandas as pd

from influence_core.data.readers.class_names import named_by_file
from influence_core.data.readers.metadata import read_metadata
from influence_core.data.rows import SPLIT_NAMES, Rows, counted, some, splits_of
from influence_core.data.samples import Split
from influence_core.data.storage.content import EncodedPictures, ReadBlobs
from influence_core.data.storage.store import Store
from influence_core.errors import DataError

# Suffixes of pictures. Those of the second line are not read: they are refused by name instead of silently ignored.
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
PICTURE_SUFFIXES |= {".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".eps", ".psd", ".svg", ".jfif"}
# Suffixes of files beside the pictures that are not samples.
COMPANIONS = {".md", ".py", ".txt", ".json", ".jsonl", ".csv", ".safetensors", ".pt", ".pth", ".license", ""}
# Bytes of a file name that are not UTF-8, which Python holds as lone surrogates.
UNDECODABLE = re.compile("[\ud800-\udfff]")


def read_folder(root: Path, shown: str, store: Store | None = None) -> Rows:
    """List the pictures of a folder with their labels, splits and groups; `shown` is its name in messages.

    The pictures of an unpacked archive lie in its `store`; `root` is then a folder in the store's `files`.
    """
    ids, others, blobs = list_files(root, store)
    if not ids:
        raise DataError(
            f"No pictures in {shown}. Expected train/<class>/*.png (or .jpg, .webp, .bmp) with val/ and "
            "test/ beside it, or one folder per class, or a single .parquet file."
        )
    check_names_are_text(ids)
    metadata = read_metadata(root, ids)
    labels, splits = name_by_folder(ids)
    if "label" in metadata:
        labels = [None if pd.isna(label) else str(label) for label in metadata["label"]]
    if "split" in metadata:
        splits = splits_of(metadata["split"], "The metadata")
    check_no_strays(labels, ids)
    groups = metadata.drop(columns=["label", "split"], errors="ignore")
    rows = Rows(EncodedPictures(blobs), ids, labels, splits, groups, notes=note_on_others(others))
    return named_by_file(rows, root)


def unwrapped(path: Path, store: Store | None = None) -> Path:
    """Return the folder of the data below outer folders that hold a single folder, as archives often have."""
    inside = [child for child in path.iterdir() if not is_hidden(child.name)]
    if store is not None and any("/" not in name for name in store.below(path)[0]):
        return path
    if len(inside) == 1 and inside[0].is_dir() and inside[0].name.lower() not in SPLIT_NAMES:
        children = [child for child in inside[0].iterdir() if not is_hidden(child.name)]
        if any(child.is_dir() or child.suffix in (".parquet", ".npz", ".npy") for child in children):
            return unwrapped(inside[0], store)
    return path


def list_files(root: Path, store: Store | None) -> tuple[list[str], list[str], ReadBlobs]:
    """Return the ids of the pictures below a folder in order, the names of unknown files, and the pictures."""
    names = sorted(file.relative_to(root).as_posix() for file in walk(root))
    suffix = {name: PurePosixPath(name).suffix.lower() for name in names}
    others = [name for name in names if suffix[name] not in PICTURE_SUFFIXES | COMPANIONS]
    if store is not None:
        ids, rows = store.below(root)
        return ids, others, ReadBlobs(store.read, rows)
    ids = [name for name in names if suffix[name] in PICTURE_SUFFIXES]
    return ids, others, ReadBlobs(Path.read_bytes, [root / name for name in ids])


def holds_pictures(root: Path, store: Store | None) -> bool:
    """Whether a picture lies anywhere below the folder."""
    if store is not None:
        return bool(store.below(root)[0])
    return any(file.suffix.lower() in PICTURE_SUFFIXES for file in walk(root))


def walk(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield all files below a folder except hidden ones. Links are followed, circles are not."""
    real = folder.resolve()
    if real in above:
        return
    for child in folder.iterdir():
        if is_hidden(child.name):
            continue
        if child.is_dir():
            yield from walk(child, (*above, real))
        else:
            yield child


def is_hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "__pycache__")


def check_names_are_text(ids: list[str]) -> None:
    undecodable = [ascii(sample) for sample in ids if UNDECODABLE.search(sample)]
    if undecodable:
        raise DataError(
            f"{counted(len(undecodable), 'file name is', 'file names are')} not valid UTF-8 text: {some(undecodable)}. "
            "Rename these files; tables and exports could not hold their names."
        )


def name_by_folder(ids: list[str]) -> tuple[list[str | None], list[Split | None]]:
    """Read split and label from the folders of each id: train/<class>/... or <class>/..."""
    parts = [PurePosixPath(sample).parts[:-1] for sample in ids]
    if not any(part and SPLIT_NAMES.get(part[0].lower()) == "train" for part in parts):
        unsplit: list[Split | None] = [None] * len(parts)
        return [part[0] if part else None for part in parts], unsplit
    labels: list[str | None] = [part[1] if len(part) > 1 else None for part in parts]
    splits: list[Split | None] = [SPLIT_NAMES.get(part[0].lower()) if part else None for part in parts]
    outside = [sample for sample, split in zip(ids, splits, strict=True) if split is None]
    if outside:
        raise DataError(
            f"{counted(len(outside), 'picture lies', 'pictures lie')} outside train/, val/ and test/: {some(outside)}. "
            f"Move them into one of the splits, or out of the dataset."
        )
    return labels, splits


def check_no_strays(labels: list[str | None], ids: list[str]) -> None:
    missing = [sample for sample, label in zip(ids, labels, strict=True) if label is None]
    if missing:
        raise DataError(
            f"{len(missing):,} of {len(ids):,} pictures have no label: {some(missing)}. Put each into a "
            "folder named after its class, or name it in metadata.csv with the columns file_name and label."
        )


def note_on_others(others: list[str]) -> tuple[str, ...]:
    if not others:
        return ()
    kind = counted(len(others), "file that is not a picture", "files that are not pictures")
    return (f"Ignored {kind}: {some(others)}.",)
