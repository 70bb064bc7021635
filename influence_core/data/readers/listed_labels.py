"""`Listed`: what one list says of the pictures it names: labels, splits, further columns.

The labels are those of the column the person named, else of one with a usual name, else of 0/1 columns that name one
class a row, else of the only other column. The split is that of a column of split words, else of columns such as
is_valid, else of the file's name (train.csv, test.txt). Names are looked up in the folder of the file, in its split,
then everywhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import pandas as pd

from influence_core.data.encoding import column_of
from influence_core.data.readers.identifiers import NUMBERING
from influence_core.data.readers.label_cells import labels_of
from influence_core.data.readers.picture_lists import OBJECTS, SEVERAL, PictureList
from influence_core.data.readers.picture_names import PictureNames, bare, key, stem
from influence_core.data.readers.split_columns import is_dividing, splits_in
from influence_core.data.readers.split_words import CUT, plain_name
from influence_core.data.rows import counted, some
from influence_core.data.samples import Split

USUAL = (
    "label", "labels", "class", "class_name", "classname", "class_label", "target", "category", "category_name",
    "label_name", "species", "breed", "diagnosis", "dx", "tag", "class_id", "classid", "category_id", "label_id",
)  # fmt: skip
"""Usual names of the column of labels, as `plain_name` writes them."""
UNUSUAL = {
    "partition", "split", "set", "subset", "fold", "phase", "usage", "width", "height", "size", "channels", "date",
    "time", "year", "caption", "text", "url", "path", "folder", "source", "index", "row", "number", "count", "page",
    "age", "x", "y", "score", "confidence", "probability",
}  # fmt: skip
"""Names of columns that hold something else than classes, as `plain_name` writes them."""
FEWEST = 5
"""Plain names must be of a fifth of the pictures: names of classes numbered from 0 name 0.png and 1.png by accident."""
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
    guessed: bool = False
    fault: str | None = None
    notes: tuple[str, ...] = ()
    certain: bool = False
    """Whether the column was named by the person or has a usual name, or the list is one of 0 and 1."""

    @property
    def said(self) -> str:
        columns = self.name if self.label is None else f"{self.name}, {self.label}"
        return f"{self.file} ({columns})"


def listed_by(
    file: str,
    read: PictureList,
    ids: Sequence[str],
    splits: Sequence[Split | None],
    label: str | None,
    split: Split | None,
) -> Listed | None:
    """Return what a list says of the pictures in its folder or its split, else of all; None if it names too few.

    `split` is what the name of the file tells, `splits` what the folders tell of each picture.
    """
    if read.fault and read.table.empty:
        return Listed(file, [], None, None, read.table, name="", fault=read.fault)
    stems = {stem(sample) for sample in ids}
    columns = [
        column
        for column in list(read.table)[:MOST_COLUMNS]
        if any(stem(name) in stems for name in read.table[column].unique())
    ]
    for rows in scopes(file, ids, splits, split) if columns else ():
        found = columns_of_names(read.table, columns, PictureNames(ids, rows), len(rows))
        if found:
            name, *rivals = found
            if differing := [other for other in rivals if found[other] != found[name]]:
                read = replace(read, fault=naming_twice(name, differing[0]))
            return from_columns(file, read, name, found[name], label, split)
    return None


def scopes(
    file: str, ids: Sequence[str], splits: Sequence[Split | None], told: Split | None
) -> Iterable[list[int]]:
    folder = PurePosixPath(file).parent.as_posix()
    if folder != ".":
        yield [row for row, sample in enumerate(ids) if sample.startswith(f"{folder}/")]
    if told is not None:
        yield [row for row, split in enumerate(splits) if split == told]
    yield list(range(len(ids)))


def columns_of_names(
    table: pd.DataFrame, columns: Iterable[str], names: PictureNames, pictures: int
) -> dict[str, list[int | None]]:
    """Return the picture that each row means, by the column that names the most; then by others that may name them.

    A column names at least half of either side. A list of many more pictures than are here counts too, one of very few
    does not, unless files are written out in it, with a suffix or a folder. Numbers of rows name pictures called 0.png,
    1.png, ... by accident: files written out win over plain names, and these over a column called index or without a
    name; two plain columns are rivals.
    """
    found: dict[str, list[int | None]] = {}
    ranks: dict[str, tuple[int, int]] = {}
    for column in columns:
        values = table[column].tolist()
        rows = names.find_all(values)
        different, kind = len(set(rows) - {None}), written_out(column, values)
        few = different * FEWEST < pictures and kind < 2
        if different * 2 >= min(pictures, len(set(values))) and different and not few:
            found[column], ranks[column] = rows, (kind, different)
    order = sorted(found, key=ranks.__getitem__, reverse=True)
    alike = [column for column in order if ranks[column][0] == ranks[order[0]][0]]
    return {column: found[column] for column in alike if column == order[0] or table[column].is_unique}


def written_out(column: str, values: Sequence[str]) -> int:
    """Return 2 for a column of files with suffix or folder, 0 for one that by its name numbers the rows, else 1."""
    if any("/" in key(value) or key(value) != bare(key(value)) for value in values):
        return 2
    return 0 if {word.lower() for word in CUT.findall(column) if not word.isdecimal()} <= NUMBERING else 1


def naming_twice(one: str, other: str) -> str:
    return (
        f"names other pictures in its column {one} than in {other}: write the names with their suffix in the right "
        "one, or remove the other"
    )


def from_columns(
    file: str, read: PictureList, name: str, found: list[int | None], wanted: str | None, told: Split | None
) -> Listed:
    """Divide the columns into label, split and the rest; `told` is the split that the name of the file tells."""
    here = [row is not None for row in found]
    rows = [row for row in found if row is not None]
    table: pd.DataFrame = read.table.drop(columns=name).loc[here].reset_index(drop=True)
    splits: list[Split | None] | None
    splits, columns = splits_in(table, file)
    if not columns and told is not None and not is_dividing(file):
        splits = [told for _ in rows]
    listed = Listed(
        file, rows, None, splits, table.drop(columns=columns),
        name=f"column {name}" if read.headless else name, absent=len(found) - len(rows), classes=read.classes,
        guessed=read.guessed,
    )  # fmt: skip
    if read.fault or (read.has_boxes and len(set(rows)) < len(rows)):
        return replace(listed, fault=read.fault or OBJECTS)
    return labelled(listed, wanted, read.headless)


def labelled(listed: Listed, wanted: str | None, headless: bool) -> Listed:
    """Return the list with its labels, or with the fault that keeps them from being read."""
    table = listed.table
    hot = one_hot(table)
    others = [name for name in table if name not in hot and may_divide(column_of(table, name), str(name))]
    if len(hot) > 1 and not (wanted and wanted in table) and (not others or names_one(table, hot)):
        return from_one_hot(listed, hot)
    column = label_column(table, wanted)
    certain = column is not None and (wanted is not None or plain_name(column) in USUAL)
    if is_dividing(listed.file) and not certain:
        return listed
    if column is None:
        return replace(
            listed, others=tuple(str(name) for name in table if column_of(table, name).nunique() > 1)
        )
    values = table[column].tolist()
    labels, notes = labels_of(pd.Series(values, dtype=object))
    if several_in_one(values):
        return replace(listed, fault=SEVERAL)
    listed = replace(
        listed,
        label=f"column {column}" if headless else column,
        labels=[value and named(value, listed.classes) for value in labels],
        notes=notes,
        table=table.drop(columns=column),
        certain=certain,
    )
    return without_repetitions(listed)


def named(value: str, classes: tuple[str, ...] | None) -> str | None:
    if value.lower() == "nan":
        return None
    if classes and value not in classes and value.isdecimal() and int(value) < len(classes):
        return classes[int(value)]
    return value


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
    divides = [column for column in columns if may_divide(column_of(table, column), column)]
    if (
        len(divides) > 1 and columns[0].isdecimal()
    ):  # without a header: the words, not the numbers beside them
        divides = [column for column in divides if not table[column].str.fullmatch(r"[\d.]*").all()]
    return divides[0] if len(divides) == 1 else None


def may_divide(values: pd.Series, column: str) -> bool:
    """Whether a column could name classes: few values, no measurements, and no name that says something else."""
    few = 1 < values.nunique() <= max(2, len(values) // 2)
    return few and plain_name(column) not in UNUSUAL and not values.str.fullmatch(r"-?\d*\.\d+").any()


def same_division(table: pd.DataFrame, one: str, other: str) -> bool:
    pairs = table[[one, other]].drop_duplicates()
    return len(pairs) == table[one].nunique() == table[other].nunique()


def one_hot(table: pd.DataFrame) -> list[str]:
    """Return the columns of 0 and 1; none where a column has a usual name of labels."""
    if any(plain_name(str(column)) in USUAL for column in table):
        return []
    return [str(column) for column in table if set(table[column]) <= {"0", "1", "0.0", "1.0"}]


def names_one(table: pd.DataFrame, columns: list[str]) -> bool:
    """Whether each row has a single 1 in these columns of 0 and 1."""
    return bool((table[columns].isin(("1", "1.0")).sum(axis=1) == 1).all())


def from_one_hot(listed: Listed, columns: list[str]) -> Listed:
    ones = listed.table[columns].isin(("1", "1.0")).to_numpy()
    if several := int((ones.sum(1) > 1).sum()):
        pictures = counted(several, "picture")
        return replace(listed, fault=f"gives several labels to {pictures}; one label per picture is needed")
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
            return replace(listed, labels=None, fault=SEVERAL)
    kept = sorted(first.values())
    return replace(
        listed,
        rows=[listed.rows[position] for position in kept],
        labels=[listed.labels[position] for position in kept],
        splits=None if listed.splits is None else [listed.splits[position] for position in kept],
        table=listed.table.iloc[kept].reset_index(drop=True),
    )
