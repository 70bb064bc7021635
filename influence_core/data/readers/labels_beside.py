"""Labels in lists beside the pictures: labels.csv, train.csv, _classes.csv, val_annotations.txt, labels.json, ...

Any list one of whose columns names pictures of the dataset is looked at (picture_lists.py, listed_labels.py). Several
may share the work, a split each. Two that disagree on a picture are refused, and so is one that says something else
than the folders, unless none of its labels is the name of a folder: then the folders are no classes.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pandas as pd

from influence_core.data.readers.cells import typed
from influence_core.data.readers.listed_labels import Listed, listed_by, same_division
from influence_core.data.readers.metadata import NAMES
from influence_core.data.readers.picture_lists import may_be_list, read_list
from influence_core.data.readers.picture_names import key, stem
from influence_core.data.readers.split_folders import Named
from influence_core.data.readers.split_words import CUT, meanings
from influence_core.data.rows import counted, some
from influence_core.data.samples import Split
from influence_core.errors import DataError

NO_LABELS = {
    "submission",
    "submissions",
    "prediction",
    "predictions",
    "pred",
    "preds",
    "results",
    "output",
    "outputs",
}
"""Words of a file's name that promise guesses, not labels: a sample_submission.csv labels every test picture."""
ALIKE = 0.8
"""Share of pictures from which on a list's labels are the folders' under other names, with errors on one side."""
MOST_FILES = 10
"""Most lists in one folder, and most folders of lists: YOLO writes a file a picture, others a file a class."""
NOT_LISTS = ("classes.txt", "class_names.txt", "model.json", "truth.csv")
"""truth.csv holds the answers that no analysis may read (run_files/tables.py)."""


def lists_beside(
    root: Path, names: Iterable[str], ids: Sequence[str], named: Named, label: str | None
) -> list[Listed]:
    """Return what each file below a folder says of its pictures, those that name none left out.

    A metadata.csv without a column called label is a list like any other where folders give no classes.
    """
    if len({label for label in named.labels if label is not None}) > 1:
        names = [name for name in names if PurePosixPath(name).name not in NAMES]
    stems, files = {stem(sample) for sample in ids}, candidates(names)
    told = meanings(PurePosixPath(name).stem for name in files)
    splits: dict[str, Split | None] = {
        name: found.split for name in files if (found := told.get(PurePosixPath(name).stem))
    }
    return [
        listed
        for name in files
        if (read := read_list(root / name, lambda cell: stem(cell) in stems))
        and (listed := listed_by(name, read, ids, named.splits, label, splits.get(name))) is not None
    ]


def candidates(names: Iterable[str]) -> list[str]:
    """Return the files that may be lists: not deep, not among many of their kind, not of guesses."""
    lists = [PurePosixPath(name) for name in names if may_be_list(name)]
    lists = [
        path for path in lists if len(path.parts) <= 3 and not is_guessed(path) and path.name not in NOT_LISTS
    ]
    beside = Counter(path.parent for path in lists)
    deep = {path.parent for path in lists if len(path.parts) == 3}
    return [
        path.as_posix()
        for path in lists
        if beside[path.parent] <= MOST_FILES and (len(path.parts) < 3 or len(deep) <= MOST_FILES)
    ]


def is_guessed(path: PurePosixPath) -> bool:
    return bool(NO_LABELS & {word.lower() for word in CUT.findall(path.stem)})


def completed(
    named: Named, lists: Sequence[Listed], wanted: str | None, ids: Sequence[str]
) -> tuple[Named, pd.DataFrame]:
    """Return what folders and lists say together, and the further columns of the lists whose labels were taken.

    Raises:
        DataError: two files, or a file and the folders, disagree.
    """
    told = {label for label in named.labels if label is not None}
    beside_classes = len(told) > 1 and wanted is None
    by_file = merged(
        [
            listed
            for listed in lists
            if listed.labels is not None
            and (not beside_classes or listed.certain or set(listed.labels) <= told)
        ]
    )
    if beside_classes:
        by_file = beside_folders(named, by_file)
    labels = [by_file[row][0] if row in by_file else label for row, label in enumerate(named.labels)]
    if len(told) < 2 and by_file:
        labels = [by_file[row][0] if row in by_file else None for row in range(len(labels))]
    used = list(dict.fromkeys(listed.file for _, listed in by_file.values()))
    taken = [listed for listed in lists if listed.file in used]
    splits, note = splits_of_lists(named, lists)
    columns, spelled = columns_of(taken, len(labels))
    replaced = () if told <= set(labels) or not beside_classes else note_on_replaced(told)
    notes = (*named.notes, *notes_on_labels(taken), *replaced, *note, *spelled)
    named = replace(named, labels=labels, splits=splits, notes=notes)
    return without_empty(named, {row for listed in taken for row in listed.rows}, ids, some(used)), columns


def strays(named: Named) -> list[int]:
    """Return the pictures without a label, but for whole splits that have none and are not for training."""
    labelled = {split for split, label in zip(named.splits, named.labels, strict=True) if label is not None}
    return [
        row
        for row, (label, split) in enumerate(zip(named.labels, named.splits, strict=True))
        if label is None and row not in named.left_out and (split in labelled or split not in ("val", "test"))
    ]


def without_empty(named: Named, listed: Collection[int], ids: Sequence[str], where: str) -> Named:
    """Leave pictures out that are listed without a label: someone has left it open."""
    empty = [row for row in strays(named) if row in listed]
    if not empty or not any(named.labels):
        return named
    pictures, shown = counted(len(empty), "picture"), some([ids[row] for row in empty])
    note = f"Not used: {pictures} without a label in {where}: {shown}."
    return replace(named, left_out=named.left_out | set(empty), notes=(*named.notes, note))


def merged(lists: Sequence[Listed]) -> dict[int, tuple[str, Listed]]:
    """Return the label of each picture that the files name, and the file it is from."""
    labels: dict[int, tuple[str, Listed]] = {}
    for listed in lists:
        for row, label in zip(listed.rows, listed.labels or [], strict=True):
            if label is None:
                continue
            other = labels.setdefault(row, (label, listed))
            if other[0] != label:
                raise DataError(
                    f"Two files name different labels: {other[1].said} says {other[0]!r} where {listed.said} says "
                    f"{label!r}. Keep the one that is right, or call it metadata.csv with the columns file_name and "
                    "label."
                )
    return labels


def beside_folders(named: Named, by_file: dict[int, tuple[str, Listed]]) -> dict[int, tuple[str, Listed]]:
    """Return the labels of files that add to those of the folders, or replace folders that are no classes.

    Raises:
        DataError: some labels are names of folders, but of others: one of the two is wrong.
    """
    folders = {label for label in named.labels if label is not None}
    missing = {row: said for row, said in by_file.items() if named.labels[row] is None}
    both = {row: said for row, said in by_file.items() if named.labels[row] is not None and said[1].certain}
    differing = [row for row, (label, _) in both.items() if key(label) != key(named.labels[row] or "")]
    common = {key(label) for label, _ in both.values()} & {key(folder) for folder in folders}
    named_alike = agreement([label for label, _ in both.values()], [named.labels[row] for row in both])
    if not differing or (named_alike == 1 and not common):
        return missing
    listed = both[differing[0]][1]
    labelled = sum(label is not None for label in named.labels)
    if common or len(both) < labelled or named_alike > ALIKE:
        raise DataError(
            f"{listed.said} and the folders name different labels for {len(differing):,} of "
            f"{counted(labelled, 'picture')}. If the file is right, call it metadata.csv with the columns file_name "
            f"and label and a row for each picture; if the folders are, move {listed.file} out of the dataset."
        )
    return by_file


def agreement(labels: Sequence[str], folders: Sequence[str | None]) -> float:
    """Return the share of pictures whose folder is that of most with their label, if both name equally many classes."""
    if not labels or len(set(labels)) != len(set(folders)):
        return 0.0
    table = pd.crosstab(pd.Series(labels), pd.Series(folders))
    return float(table.max(axis=1).sum() / len(labels)) if table.idxmax(axis=1).is_unique else 0.0


def splits_of_lists(named: Named, lists: Sequence[Listed]) -> tuple[list[Split | None], tuple[str, ...]]:
    """Return the splits of the folders, else those that the lists tell, and a note on the files."""
    if any(split is not None for split in named.splits):
        return named.splits, ()
    splits: dict[int, Split | None] = {}
    told = [listed for listed in lists if listed.splits is not None]
    for listed in told:
        for row, split in zip(listed.rows, listed.splits or [], strict=True):
            if splits.setdefault(row, split) != split:
                raise DataError(
                    f"The lists {some([other.file for other in told])} put one picture into both {splits[row]} and "
                    f"{split}. Keep the lists that divide the pictures as you want."
                )
    if "train" not in splits.values():
        return named.splits, ()
    note = f"Splits come from {some([listed.file for listed in told])}."
    return [splits.get(row) for row in range(len(named.splits))], (note,)


def notes_on_labels(taken: Sequence[Listed]) -> tuple[str, ...]:
    if not taken:
        return ()
    notes = [f"Labels come from {some([listed.said for listed in taken])}."]
    notes += [
        f"{listed.file} names {counted(listed.absent, 'picture')} more that {'is' if listed.absent == 1 else 'are'} "
        "not here."
        for listed in taken
        if listed.absent
    ]
    notes += [
        f"{listed.file} is not UTF-8 text; it was read as Windows-1252. Save it as UTF-8 if names look wrong."
        for listed in taken
        if listed.guessed
    ]
    return (*notes, *(note for listed in taken for note in listed.notes))


def note_on_replaced(folders: set[str]) -> tuple[str, ...]:
    return (f"The folders {some(sorted(folders))} were not taken for classes, as the list names others.",)


def columns_of(taken: Sequence[Listed], count: int) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the columns beside the labels, for groups, with notes; those that number classes or rows are left out."""
    tables = [
        listed.table.drop(
            columns=[
                name
                for name in listed.table
                if numbers_classes(listed, str(name)) or str(name).startswith("Unnamed: ")
            ]
        ).set_axis(listed.rows, axis=0)
        for listed in taken
        if not listed.name.startswith("column ")
    ]
    if not tables:
        return pd.DataFrame(index=range(count)), ()
    rows = pd.concat(tables)
    joined: pd.DataFrame = rows.loc[~rows.index.duplicated()].reindex(range(count))
    return typed(joined)


def numbers_classes(listed: Listed, column: str) -> bool:
    beside = pd.DataFrame({"label": listed.labels, "column": listed.table[column]})
    return same_division(beside, "label", "column")


def hint(lists: Sequence[Listed]) -> str:
    """Say why the lists beside pictures without labels do not help, and what to do; "" without any."""
    for listed in lists:
        if listed.fault:
            return f" {listed.file} {listed.fault}."
    if (listed := asked_about(lists)) is None:
        return ""
    return (
        f" {listed.file} names the pictures (in {listed.name}), but which of its columns {some(listed.others)} "
        f"holds the labels is not clear: name it (label={listed.others[0]!r}, or --label {listed.others[0]}), "
        "or call it label."
    )


def asked_about(lists: Sequence[Listed]) -> Listed | None:
    """Return the list that leaves most columns to choose the label from; None where there is nothing to choose."""
    return max(
        (listed for listed in lists if listed.others), key=lambda listed: len(listed.others), default=None
    )
