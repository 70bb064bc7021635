"""How is a folder of pictures read?

    train/<class>/*.png, val/<class>/*, test/<class>/*     splits by folder
    <class>/*.png                                          one tree; a validation set is carved out later
    metadata.csv: file_name, label, split, any groups      says more than the folders do, and wins over them

(metadata.csv as in Hugging Face's image folders; it may lie at the top or in each split's folder.)
A sample's id is its path relative to the folder, so it stays the same on every machine.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pandas as pd

from influence_core.data.content import EncodedPictures, FileBlobs
from influence_core.data.rows import SPLIT_NAMES, Rows, some, split_name
from influence_core.data.samples import Split
from influence_core.errors import DataError

# What is taken for a picture; those of the second line are then refused by name instead of silently ignored.
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
PICTURE_SUFFIXES |= {".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".eps", ".psd", ".svg", ".jfif"}
# What may lie beside the pictures and is nobody's sample.
COMPANIONS = {".md", ".py", ".txt", ".json", ".csv", ".safetensors", ".pt", ".pth", ".license", ""}


def read_folder(root: Path, shown: str, keep_alive: object = None) -> Rows:
    """List the pictures of a folder with their labels, splits and groups; `shown` names it in messages."""
    pictures, others = list_files(root)
    if not pictures:
        raise DataError(
            f"No pictures in {shown}. Expected train/<class>/*.png (or .jpg, .webp, .bmp) with val/ and "
            "test/ beside it, or one folder per class, or a single .parquet file."
        )
    ids = [picture.relative_to(root).as_posix() for picture in pictures]
    check_names_are_text(ids)
    metadata = read_metadata(root, ids)
    labels: list[str | None]
    splits: list[Split | None]
    labels, splits = name_by_folder(ids)
    if "label" in metadata:
        labels = [None if pd.isna(label) else str(label) for label in metadata["label"]]
    if "split" in metadata:
        splits = [split_named(text) for text in metadata["split"]]
    check_no_strays(labels, ids)
    groups = metadata.drop(columns=["label", "split"], errors="ignore")
    content = EncodedPictures(FileBlobs(pictures, keep_alive))
    return Rows(content, ids, labels, splits, groups, notes=note_on_others(others))


def split_named(text: str | float) -> Split | None:
    return None if pd.isna(text) else split_name(str(text), "metadata.csv")


def unwrapped(path: Path) -> Path:
    """Step into a folder that holds nothing but one folder, as archives often have around everything."""
    inside = [child for child in path.iterdir() if not is_hidden(child.name)]
    if len(inside) == 1 and inside[0].is_dir() and inside[0].name.lower() not in SPLIT_NAMES:
        children = [child for child in inside[0].iterdir() if not is_hidden(child.name)]
        if any(child.is_dir() or child.suffix in (".parquet", ".npz") for child in children):
            return unwrapped(inside[0])
    return path


def list_files(root: Path) -> tuple[list[Path], list[str]]:
    """Return the pictures below a folder in the order of their ids, and the names of files that are none."""
    files = sorted(walk(root), key=lambda file: file.relative_to(root).as_posix())
    pictures = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
    others = [
        file.relative_to(root).as_posix()
        for file in files
        if file.suffix.lower() not in PICTURE_SUFFIXES | COMPANIONS
    ]
    return pictures, others


def walk(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield all files below a folder, without hidden ones; links are followed, never in a circle."""
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
    strange = [ascii(sample) for sample in ids if not is_text(sample)]
    if strange:
        raise DataError(
            f"{len(strange):,} file names are no valid UTF-8 text: {some(strange)}. Rename these files; "
            "tables and exports could not hold their names."
        )


def is_text(name: str) -> bool:
    """False for names with bytes that no text encoding explains (Python keeps them as lone surrogates)."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def name_by_folder(ids: list[str]) -> tuple[list[str | None], list[Split | None]]:
    """Read split and label from the folders of each id: train/<class>/... or <class>/..."""
    parts = [PurePosixPath(sample).parts[:-1] for sample in ids]
    if not any(part and SPLIT_NAMES.get(part[0].lower()) == "train" for part in parts):
        unsplit: list[Split | None] = [None] * len(parts)
        return [part[0] if part else None for part in parts], unsplit
    labels: list[str | None] = [part[1] if len(part) > 1 else None for part in parts]
    splits: list[Split | None] = [SPLIT_NAMES.get(part[0].lower()) if part else None for part in parts]
    strange = [sample for sample, split in zip(ids, splits, strict=True) if split is None]
    if strange:
        raise DataError(
            f"{len(strange):,} pictures lie outside train/, val/ and test/: {some(strange)}. "
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


def read_metadata(root: Path, ids: list[str]) -> pd.DataFrame:
    """Return the columns of metadata.csv, one row per picture in the order of `ids`; no columns without a "
    "file."""
    files = [file for file in [root / "metadata.csv", *sorted(root.glob("*/metadata.csv"))] if file.is_file()]
    if not files:
        return pd.DataFrame(index=pd.Index(ids))
    table = pd.concat([read_one_metadata(file, root) for file in files])
    check_metadata_names(table.index, ids)
    return table.reindex(ids)


def read_one_metadata(file: Path, root: Path) -> pd.DataFrame:
    where = file.relative_to(root).as_posix()
    try:
        table = pd.read_csv(
            file,
            dtype={"file_name": str, "label": str, "split": str},
            keep_default_na=False,  # a class may be called "None" or "NA"
            na_values=["", "nan", "NaN"],
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{where} cannot be read as a CSV table: {error}") from error
    if "file_name" not in table:
        raise DataError(
            f"{where} has the columns {some(list(map(str, table)), 12)}; expected one called file_name."
        )
    base = file.parent.relative_to(root)
    names = [(base / str(name)).as_posix() for name in table.pop("file_name")]
    return table.set_axis(names, axis=0)


def check_metadata_names(names: pd.Index, ids: list[str]) -> None:
    twice = list(names[names.duplicated()].unique())
    if twice:
        raise DataError(
            f"metadata.csv names {len(twice):,} files more than once: {some(twice)}. Keep one row each."
        )
    absent = sorted(set(names) - set(ids))
    if absent:
        raise DataError(
            f"metadata.csv names {len(absent):,} pictures that are not there: {some(absent)}. file_name is "
            "the path relative to the folder of metadata.csv."
        )


def note_on_others(others: list[str]) -> tuple[str, ...]:
    if not others:
        return ()
    return (f"Ignored {len(others):,} files that are no pictures: {some(others)}.",)
