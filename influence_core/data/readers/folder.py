"""Reader of a folder of pictures.

    train/<class>/*.png, val/<class>/*, test/<class>/*     splits by folder; other layouts: split_folders.py
    <class>/*.png                                          one tree; a validation set is carved out later
    metadata.csv, metadata.jsonl: file_name, label, ...    labels and splits that override the folders; groups
    labels.csv, train.txt, _classes.csv, labels.json ...   lists with labels where folders have none: labels_beside.py
    classes.txt: one name per line                         the order of the classes, or names for numbers

A sample's id is its path relative to the folder, so it stays the same on every machine.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pandas as pd

from influence_core.data.readers.class_names import named_by_file
from influence_core.data.readers.labels_beside import (
    Listed,
    asked_about,
    completed,
    hint,
    lists_beside,
    strays,
    without_empty,
)
from influence_core.data.readers.metadata import NAMES, read_metadata
from influence_core.data.readers.picture_lists import may_be_list
from influence_core.data.readers.picture_names import (
    FILE_NAME,
    FRAMED,
    SUFFIXES,
    classes_in_names,
    is_picture,
    offered,
    stem,
)
from influence_core.data.readers.split_columns import is_dividing, splits_in
from influence_core.data.readers.split_folders import Named, name_by_folder
from influence_core.data.readers.split_words import is_plain_name
from influence_core.data.readers.table_files import may_be_table
from influence_core.data.rows import SPLIT_NAMES, Rows, counted, some
from influence_core.data.storage.content import EncodedPictures, ReadBlobs
from influence_core.data.storage.store import Store
from influence_core.errors import DataError

COMPANIONS = (
    ".md", ".py", ".safetensors", ".pt", ".pth", ".license", "license", "licence", "readme", "notice", "makefile",
)  # fmt: skip
"""Ends of the names of files beside the pictures that are no samples."""
# Folders and files that systems leave beside the data; those with a leading dot are hidden anyway.
SYSTEM = {
    "__macosx", "__pycache__", "@eadir", "$recycle.bin", "system volume information", "lost+found",
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",
}  # fmt: skip
# Bytes of a file name that are not UTF-8, which Python holds as lone surrogates.
UNDECODABLE = re.compile("[\ud800-\udfff]")


def read_folder(root: Path, shown: str, store: Store | None = None, label: str | None = None) -> Rows:
    """List the pictures of a folder with their labels, splits and groups; `shown` is its name in messages.

    The pictures of an unpacked archive lie in its `store`; `root` is then a folder in the store's `files`. `label` is
    the column of the labels in a file beside them, or "file name" for the classes in the names of the pictures.
    """
    names, ids, places = list_files(root, store)
    if not ids:
        instead = f" It holds {some(names)}." if names else ""
        raise DataError(
            f"No pictures in {shown}.{instead} Expected train/<class>/*.png (or .jpg, .webp, .bmp) with val/ and "
            "test/ beside it, or one folder per class, or a single .parquet file. Of a table, name the file itself, or "
            "put train.csv and test.csv into one folder."
        )
    check_names_are_text(ids)
    metadata, said = read_metadata(root, ids)
    if label in metadata:
        metadata = metadata.drop(columns="label", errors="ignore").rename(columns={label: "label"})
    named, groups, used = named_beside(root, names, ids, metadata, label)
    kept = [row for row in range(len(ids)) if row not in named.left_out]
    rows = Rows(
        EncodedPictures(places.at(kept)),
        [ids[row] for row in kept],
        [named.labels[row] for row in kept],
        [named.splits[row] for row in kept],
        groups.iloc[kept],
        notes=(*said, *named.notes, *note_on_frames(ids), *note_on_others(unknown(names))),
    )
    return named_by_file(rows, root, besides=used)


def named_beside(
    root: Path, names: list[str], ids: list[str], metadata: pd.DataFrame, label: str | None
) -> tuple[Named, pd.DataFrame, frozenset[str]]:
    """Return labels and splits of the pictures, the groups, and the lists beside them that were used.

    metadata.csv wins over folders and lists; the classes in file names win where they are asked for.
    """
    words = metadata.fillna("").astype(str)
    splits, columns = splits_in(words, "The metadata") if len(words.columns) else (None, [])
    groups = metadata.drop(columns=["label", *columns], errors="ignore")
    if "label" in metadata:
        labels = [None if pd.isna(name) or not name else str(name) for name in metadata["label"]]
        named = Named(labels, splits) if splits else replace(name_by_folder(ids), labels=labels)
        named = without_empty(
            named, {row for row, there in enumerate(metadata["label"].notna()) if there}, ids, "the metadata"
        )
        check_no_strays(named, ids, "")
        return named, groups, frozenset()
    named = name_by_folder(ids)
    named = named if splits is None else replace(named, splits=splits)
    if label == FILE_NAME:
        return replace(named, labels=classes_in_names(ids)), groups, frozenset()
    lists = lists_beside(root, names, ids, named, label)
    named, more = completed(named, lists, label, ids)
    named = replace(named, notes=(*named.notes, *note_on_dividing(names, lists)))
    check_label_found(label, lists)
    found = hint(lists) or hint_of_boxes(names, ids) or hint_of_others(root, names, lists)
    check_no_strays(without_lone_folder(named, ids, lists), ids, found)
    taken = {listed.label for listed in lists if PurePosixPath(listed.file).name in NAMES}
    groups = groups.drop(columns=[name for name in groups if name in taken])
    more = more[[name for name in more if name not in groups]].set_axis(groups.index, axis=0)
    return named, pd.concat([groups, more], axis=1), frozenset(listed.file for listed in lists)


def possible_labels(root: Path, store: Store | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Return what may be the labels of pictures: columns of one list beside them, or the classes in their names.

    There is nothing to choose where read_folder finds labels without asking, or refuses the folder.
    """
    names, ids, _ = list_files(root, store)
    try:
        if "label" in read_metadata(root, ids)[0]:
            return pd.DataFrame(), []
        named = name_by_folder(ids)
        lists = lists_beside(root, names, ids, named, None)
        named = without_lone_folder(completed(named, lists, None, ids)[0], ids, lists)
    except DataError:
        return pd.DataFrame(), []
    if any(named.labels):
        return pd.DataFrame(), []
    listed = asked_about(lists)
    choice = pd.DataFrame() if listed is None else listed.table[list(listed.others)]
    in_names = pd.DataFrame({FILE_NAME: classes_in_names(ids)} if offered(ids) else {})
    return pd.concat([in_names, choice], axis=1), list(in_names)


def without_lone_folder(named: Named, ids: list[str], lists: list[Listed]) -> Named:
    """Take the label from pictures that all lie in one folder, called "images" or beside other sources of labels."""
    told = {label for label in named.labels if label is not None}
    lone = len(told) == 1 and (any(map(is_plain_name, told)) or hint(lists) or offered(ids))
    return replace(named, labels=[None] * len(ids)) if lone and None not in named.labels else named


def check_label_found(label: str | None, lists: list[Listed]) -> None:
    if label is not None and not any(listed.labels for listed in lists):
        beside = "; ".join(
            f"{listed.file} {listed.fault or f'has {some(listed.others, 12)}'}"
            for listed in lists
            if listed.fault or listed.others
        )
        raise DataError(
            f"No file beside the pictures has a column called {label} for labels{': ' + beside if beside else ''}. "
            f"Name a column of metadata.csv or of a list of the pictures, or {FILE_NAME!r} for the classes in their "
            "names."
        )


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
    """Return the names of all files below a folder that are not in its store, the ids of the pictures, and these."""
    names = sorted(file.relative_to(root).as_posix() for file in walk(root))
    if store is not None:
        ids, rows = store.below(root)
        return names, ids, ReadBlobs(store.read, rows)
    ids = [name for name in names if is_picture(name)]
    return names, ids, ReadBlobs(Path.read_bytes, [root / name for name in ids])


def unknown(names: list[str]) -> list[str]:
    """Return the names of files that are neither pictures nor usual companions of them."""
    return [
        name for name in names if not (name.lower().endswith((*SUFFIXES, *COMPANIONS)) or may_be_list(name))
    ]


def holds_pictures(root: Path, store: Store | None) -> bool:
    """Whether a picture lies anywhere below the folder."""
    if store is not None:
        return bool(store.below(root)[0])
    return any(is_picture(file.name) for file in walk(root))


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
    return name.startswith(".") or name.lower() in SYSTEM


def check_names_are_text(ids: list[str]) -> None:
    undecodable = [ascii(sample) for sample in ids if UNDECODABLE.search(sample)]
    if undecodable:
        raise DataError(
            f"{counted(len(undecodable), 'file name is', 'file names are')} not valid UTF-8 text: {some(undecodable)}. "
            "Rename these files; tables and exports could not hold their names."
        )


def check_no_strays(named: Named, ids: list[str], hint: str) -> None:
    """Raise DataError for pictures without a label, unless their whole split has none and is not for training."""
    stray = strays(named)
    if stray:
        missing = [ids[row] for row in stray]
        raise DataError(
            f"{len(missing):,} of {len(ids):,} pictures have no label: {some(missing)}.{hint}{offer(missing)} Put each "
            "into a folder named after its class, or name it in metadata.csv with the columns file_name and label, or "
            "take it out."
        )


def hint_of_boxes(names: list[str], ids: list[str]) -> str:
    """Say what a file of .txt or .xml beside each picture means: boxes, as YOLO and VOC write them."""
    stems = {stem(sample) for sample in ids}
    for suffix in (".txt", ".xml"):
        beside = sum(
            PurePosixPath(name).suffix.lower() == suffix and PurePosixPath(name).stem.lower() in stems
            for name in names
        )
        if beside * 2 > len(ids):
            return f" A {suffix} file beside each picture lists objects with boxes; one label per picture is needed."
    return ""


def hint_of_others(root: Path, names: list[str], lists: list[Listed]) -> str:
    """Name the tables that name no picture, and may be the dataset; else the files that are not read."""
    if lists:
        return ""
    if tables := [name for name in names if "/" not in name and may_be_table(root / name)]:
        return f" {some(tables)} beside them: no picture is named there. If that is the dataset, take the pictures out."
    others = unknown(names)
    return f" If their labels lie in {some(others, 3)}: that is not read." if others else ""


def offer(ids: list[str]) -> str:
    """Say how to use the classes that stand in the names of files, if there are any."""
    if not (classes := offered(ids)):
        return ""
    return (
        f" Their names hold {counted(len(classes), 'class', 'classes')} ({some(classes)}): to use these, read with "
        f"label={FILE_NAME!r} (on the command line --label {FILE_NAME!r})."
    )


def note_on_dividing(names: list[str], lists: list[Listed]) -> tuple[str, ...]:
    used = {listed.file for listed in lists if listed.splits is not None}
    unused = [name for name in names if name not in used and is_dividing(name)]
    if not unused:
        return ()
    return (
        f"Not used: {some(unused)}, which by the name divides the pictures. A list of names with train, val or test "
        "beside each is read.",
    )


def note_on_frames(ids: list[str]) -> tuple[str, ...]:
    framed = sum(sample.lower().endswith(FRAMED) for sample in ids)
    if not framed:
        return ()
    return (f"Of {counted(framed, 'GIF or TIFF file')} the first frame or page was read.",)


def note_on_others(others: list[str]) -> tuple[str, ...]:
    if not others:
        return ()
    kind = counted(
        len(others), "file that is no picture by its name", "files that are no pictures by their names"
    )
    return (f"Ignored {kind}: {some(others)}.",)
