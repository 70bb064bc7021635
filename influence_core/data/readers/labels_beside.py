"""Labels in a file beside the pictures: labels.csv, train.csv, _classes.csv, val_annotations.txt, labels.json, ...

Any list one of whose columns names pictures of the dataset (picture_names.py) is looked at. Its labels are those of the
column the person named, else of one with a usual name, else of 0/1 columns that name one class a row, else of its only
other column. Its split is that of a column of split words, else of its own name (train.csv, test.txt).

Several files may share the work, a split each. Two that disagree on a picture are refused, and so is a file that says
something else than the folders, unless none of its labels is the name of a folder.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pandas as pd

from influence_core.data.readers.picture_lists import SEVERAL_LABELS, SUFFIXES, PictureList, read_list
from influence_core.data.readers.picture_names import PictureNames, key
from influence_core.data.readers.split_folders import Named
from influence_core.data.readers.split_words import CUT, meaning
from influence_core.data.rows import counted, some, split_of
from influence_core.data.samples import Split
from influence_core.errors import DataError

USUAL = (
    "label", "labels", "class", "class_name", "classname", "class_label", "target", "category", "category_name",
    "label_name", "species", "breed", "diagnosis", "dx", "tag", "y", "class_id", "classid", "category_id", "label_id",
)  # fmt: skip
"""Usual names of the column of labels, as `plain_name` writes them."""
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
MOST_FILES = 10
"""Most lists in one folder, and most folders of lists: YOLO writes a file a picture, others a file a class."""
MOST_COLUMNS = 30
"""Most columns that are searched for names of pictures."""


@dataclass(frozen=True)
class Listed:
    """What one file says of the pictures it names, by position; `name` and `label` are its columns."""

    file: str
    rows: list[int]
    labels: list[str | None] | None
    splits: list[Split | None] | None
    table: pd.DataFrame
    name: str
    label: str | None = None
    others: tuple[str, ...] = ()
    absent: int = 0
    classes: tuple[str, ...] | None = None
    fault: str | None = None
    certain: bool = False
    """Whether the column was named by the person or has a usual name, or the list is one of 0 and 1."""

    @property
    def said(self) -> str:
        columns = self.name if self.label is None else f"{self.name}, {self.label}"
        return f"{self.file} ({columns})"


def lists_beside(
    root: Path, names: Iterable[str], ids: Sequence[str], splits: Sequence[Split | None], label: str | None
) -> list[Listed]:
    """Return what each file below a folder says of its pictures, those that name none left out."""
    stems = {key(PurePosixPath(sample).stem) for sample in ids}
    return [
        listed
        for name in candidates(names)
        if (
            read := read_list(
                root / name, lambda cell: key(PurePosixPath(cell.replace("\\", "/")).stem) in stems
            )
        )
        and (listed := listed_by(name, read, ids, splits, label)) is not None
    ]


def candidates(names: Iterable[str]) -> list[str]:
    """Return the files that may be lists: not deep, not among many of their kind, not of guesses."""
    lists = [PurePosixPath(name) for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES]
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


NOT_LISTS = ("metadata.csv", "metadata.jsonl", "classes.txt", "class_names.txt", "model.json")


def is_guessed(path: PurePosixPath) -> bool:
    return bool(NO_LABELS & {word.lower() for word in CUT.findall(path.stem)})


def listed_by(
    file: str, read: PictureList, ids: Sequence[str], splits: Sequence[Split | None], label: str | None
) -> Listed | None:
    """Return what a list says of the pictures in its folder or its split, else of all; None if it names too few."""
    for rows in scopes(file, ids, splits):
        if (found := column_of_names(read.table, PictureNames(ids, rows), len(rows))) is not None:
            return from_columns(file, read, *found, label)
    return None


def scopes(file: str, ids: Sequence[str], splits: Sequence[Split | None]) -> Iterable[list[int]]:
    folder, told = PurePosixPath(file).parent.as_posix(), meaning(PurePosixPath(file).stem)
    if folder != ".":
        yield [row for row, sample in enumerate(ids) if sample.startswith(f"{folder}/")]
    if told is not None and told.split is not None:
        yield [row for row, split in enumerate(splits) if split == told.split]
    yield list(range(len(ids)))


def column_of_names(
    table: pd.DataFrame, names: PictureNames, pictures: int
) -> tuple[str, list[int | None]] | None:
    """Return the column that names the most pictures, and the picture of each row; at least half of either side."""
    best: tuple[str, list[int | None]] | None = None
    most = 0
    for column in list(table)[:MOST_COLUMNS]:
        found = names.find_all(table[column].tolist())
        different = len(set(found) - {None})
        if different > most and different * 2 >= min(pictures, table[column].nunique()):
            best, most = (str(column), found), different
    return best


def from_columns(
    file: str, read: PictureList, name: str, found: list[int | None], wanted: str | None
) -> Listed:
    """Divide the columns into label, split and the rest."""
    here = [row is not None for row in found]
    rows = [row for row in found if row is not None]
    table = read.table[here].drop(columns=name).reset_index(drop=True)
    split = next((column for column in table if is_split(table[column])), None)
    splits = told_by_name(file, len(rows)) if split is None else [split_of(word) for word in table[split]]
    listed = Listed(
        file, rows, None, splits, table.drop(columns=[] if split is None else split),
        name=f"column {name}" if read.headless else name, absent=len(found) - len(rows), classes=read.classes,
    )  # fmt: skip
    if read.has_boxes and len(set(rows)) < len(rows):
        return replace(
            listed, fault="lists objects with boxes (for a detector); one label per picture is needed"
        )
    if SEVERAL_LABELS in table:
        return replace(listed, fault="gives several labels to a picture; one label per picture is needed")
    return labelled(listed, wanted, read.headless)


def labelled(listed: Listed, wanted: str | None, headless: bool) -> Listed:
    """Return the list with its labels, or with the fault that keeps them from being read."""
    table = listed.table
    if len(hot := one_hot(table)) > 1 and not (wanted and wanted in table):
        return from_one_hot(listed, hot)
    column = label_column(table, wanted)
    if column is None:
        return replace(listed, others=tuple(map(str, table)))
    values = whole(table[column].tolist())
    if several_in_one(values):
        return replace(
            listed, fault=f"gives several labels to a picture in its column {column}; one is needed"
        )
    listed = replace(
        listed,
        label=f"column {column}" if headless else column,
        labels=[named(value, listed.classes) for value in values],
        table=table.drop(columns=column),
        certain=wanted is not None or plain_name(column) in USUAL,
    )
    return without_repetitions(listed)


def named(value: str, classes: tuple[str, ...] | None) -> str | None:
    if not value or value.lower() == "nan":
        return None
    if classes and value not in classes and value.isdecimal() and int(value) < len(classes):
        return classes[int(value)]
    return value


def whole(values: list[str]) -> list[str]:
    """Return labels, "3.0" as "3" where all are such numbers."""
    given = [value for value in values if value]
    if given and all(value.endswith(".0") and value[:-2].isdecimal() for value in given):
        return [value.removesuffix(".0") for value in values]
    return values


def several_in_one(values: list[str]) -> bool:
    """Whether cells hold more labels than one, as "cat|dog" beside "cat"."""
    single = set(values)
    return any(mark in value and set(value.split(mark)) & single for value in single for mark in "|;,")


def label_column(table: pd.DataFrame, wanted: str | None) -> str | None:
    """Return the column of labels: the wanted one, the usual one, the only one; None where that is not clear."""
    columns = [str(column) for column in table]
    if wanted is not None:
        return wanted if wanted in columns else None
    usual = [column for column in columns if plain_name(column) in USUAL]
    if exact := [column for column in usual if plain_name(column) == "label"]:
        usual = exact
    words = [column for column in usual if not table[column].str.fullmatch(r"\d*").all()]
    if len(usual) > 1 and len(words) == 1 and all(same_division(table, words[0], other) for other in usual):
        return words[0]
    if usual:
        return usual[0] if len(usual) == 1 else None
    repeated = [column for column in columns if 1 < table[column].nunique() <= max(2, len(table) // 2)]
    if len(repeated) == 1 and len(columns) == 1:
        return repeated[0]
    words = [column for column in repeated if not table[column].str.fullmatch(r"[\d.]*").all()]
    return words[0] if len(words) == 1 and columns[0].isdecimal() else None


def plain_name(column: str) -> str:
    return "_".join(word.lower() for word in CUT.findall(column))


def same_division(table: pd.DataFrame, one: str, other: str) -> bool:
    pairs = table[[one, other]].drop_duplicates()
    return len(pairs) == table[one].nunique() == table[other].nunique()


def one_hot(table: pd.DataFrame) -> list[str]:
    """Return the columns of 0 and 1; none where a column has a usual name of labels."""
    if any(plain_name(str(column)) in USUAL for column in table):
        return []
    return [str(column) for column in table if set(table[column]) <= {"0", "1", "0.0", "1.0"}]


def from_one_hot(listed: Listed, columns: list[str]) -> Listed:
    ones = listed.table[columns].isin(("1", "1.0")).to_numpy()
    several = [listed.file for count in ones.sum(1) if count > 1]
    if several:
        return replace(
            listed,
            fault=f"gives several labels to {counted(len(several), 'picture')} ({some(columns)}); one per picture is "
            "needed",
        )
    labels = [columns[row.argmax()] if row.any() else None for row in ones]
    return without_repetitions(
        replace(
            listed, labels=labels, label=some(columns), table=listed.table.drop(columns=columns), certain=True
        )
    )


def without_repetitions(listed: Listed) -> Listed:
    """Keep one row per picture; a picture with two labels is a fault."""
    assert listed.labels is not None
    first: dict[int, int] = {}
    for position, row in enumerate(listed.rows):
        if listed.labels[first.setdefault(row, position)] != listed.labels[position]:
            return replace(
                listed, labels=None, fault="gives several labels to a picture; one per picture is needed"
            )
    kept = sorted(first.values())
    return replace(
        listed,
        rows=[listed.rows[position] for position in kept],
        labels=[listed.labels[position] for position in kept],
        splits=None if listed.splits is None else [listed.splits[position] for position in kept],
        table=listed.table.iloc[kept].reset_index(drop=True),
    )


def is_split(column: pd.Series) -> bool:
    return bool(len(column)) and all(split_of(word) is not None for word in column.unique())


def told_by_name(file: str, count: int) -> list[Split | None] | None:
    told = meaning(PurePosixPath(file).stem)
    return None if told is None or told.split is None else [told.split] * count


def completed(named: Named, lists: Sequence[Listed], wanted: str | None) -> tuple[Named, pd.DataFrame]:
    """Return what folders and lists say together, and the further columns of the lists whose labels were taken.

    Raises:
        DataError: two files, or a file and the folders, disagree.
    """
    told = {label for label in named.labels if label is not None}
    by_file = merged([listed for listed in lists if listed.labels is not None])
    if len(told) > 1 and wanted is None:
        by_file = beside_folders(named, by_file)
    labels = [by_file[row][0] if row in by_file else label for row, label in enumerate(named.labels)]
    if len(told) < 2 and by_file:
        labels = [by_file[row][0] if row in by_file else None for row in range(len(labels))]
    used = list(dict.fromkeys(listed.file for _, listed in by_file.values()))
    taken = [listed for listed in lists if listed.file in used]
    splits, note = splits_of_lists(named, lists)
    notes = (*named.notes, *notes_on_labels(taken), *note)
    return replace(named, labels=labels, splits=splits, notes=notes), columns_of(taken, len(labels))


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
    missing = {
        row: said
        for row, said in by_file.items()
        if named.labels[row] is None and (said[1].certain or said[0] in folders)
    }
    both = {row: said for row, said in by_file.items() if named.labels[row] is not None and said[1].certain}
    differing = [row for row, (label, _) in both.items() if key(label) != key(named.labels[row] or "")]
    pairs = {(label, named.labels[row]) for row, (label, _) in both.items()}
    only_renamed = len(pairs) == len({label for label, _ in pairs}) == len({folder for _, folder in pairs})
    if not differing or only_renamed:
        return missing
    listed = both[differing[0]][1]
    labelled = sum(label is not None for label in named.labels)
    if {key(label) for label, _ in both.values()} & {key(folder) for folder in folders} or len(
        both
    ) < labelled:
        raise DataError(
            f"{listed.said} and the folders name different labels for {len(differing):,} of "
            f"{counted(labelled, 'picture')}. If the file is right, call it metadata.csv with the columns file_name "
            f"and label; if the folders are, move {listed.file} out of the dataset."
        )
    return by_file


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
    return tuple(notes)


def columns_of(taken: Sequence[Listed], count: int) -> pd.DataFrame:
    """Return the columns beside the labels, for groups, numbers as numbers; one that numbers the classes is left out."""
    tables = [
        listed.table.drop(
            columns=[name for name in listed.table if numbers_classes(listed, str(name))]
        ).set_axis(listed.rows, axis=0)
        for listed in taken
        if not listed.name.startswith("column ")
    ]
    if not tables:
        return pd.DataFrame(index=range(count))
    joined = pd.concat(tables)
    joined = joined[~joined.index.duplicated()].reindex(range(count))
    return joined.apply(as_numbers)


def numbers_classes(listed: Listed, column: str) -> bool:
    beside = pd.DataFrame({"label": listed.labels, "column": listed.table[column]})
    return same_division(beside, "label", "column")


def as_numbers(column: pd.Series) -> pd.Series:
    column = column.mask(column == "")
    try:
        return pd.to_numeric(column)
    except ValueError:
        return column


def hint(lists: Sequence[Listed]) -> str:
    """Say why the lists beside pictures without labels do not help, and what to do; "" without any."""
    for listed in lists:
        if listed.fault:
            return f" {listed.file} {listed.fault}."
    for listed in lists:
        if listed.labels is None and listed.others:
            return (
                f" {listed.file} names the pictures (in {listed.name}), but which of its columns {some(listed.others)} "
                f"holds the labels is not clear: name it (label={listed.others[0]!r}, or --label {listed.others[0]}), "
                "or call it label."
            )
    return ""
