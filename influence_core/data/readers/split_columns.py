"""Columns of a table that tell the split of each row: one of words such as train and eval, else is_valid, is_test."""

from pathlib import PurePosixPath

import pandas as pd

from influence_core.data.encoding import column_of
from influence_core.data.readers.split_words import CUT, meanings, plain_name
from influence_core.data.rows import some, split_of, splits_of
from influence_core.data.samples import Split
from influence_core.errors import DataError

DIVIDING = {"split", "splits", "partition", "partitions"}
"""Words of a file's name that promise a division of the pictures, not their classes: list_eval_partition.txt."""
TRUE = ("true", "1", "yes")
TRUTHS = ({"true", "false"}, {"1", "0"}, {"yes", "no"})
"""Cells of a column such as is_valid, in lower case."""


def is_split(column: pd.Series) -> bool:
    return bool(len(column)) and all(split_of(word) is not None for word in column.unique())


def is_dividing(file: str) -> bool:
    return bool(DIVIDING & {word.lower() for word in CUT.findall(PurePosixPath(file).stem)})


def splits_in(table: pd.DataFrame, file: str) -> tuple[list[Split | None] | None, list[str]]:
    """Return the splits that columns of a table tell, and these columns: one of words, else those such as is_valid."""
    columns = [str(column) for column in table]
    told = [column for column in columns if is_split(column_of(table, column))]
    if told := told or [column for column in columns if plain_name(column) == "split"]:
        return splits_named(column_of(table, told[0]), f"{file}, column {told[0]},"), told[:1]
    marks: dict[str, Split] = {
        column: split
        for column in columns
        if plain_name(column).startswith("is_")
        and (split := split_of(plain_name(column).removeprefix("is_")))
        and {word.lower() for word in table[column].unique()} in TRUTHS
    }
    return (splits_marked(table, marks, file) if marks else None), list(marks)


def splits_marked(table: pd.DataFrame, marks: dict[str, Split], file: str) -> list[Split | None]:
    """Return the splits of columns such as is_valid and is_test: where one is true, its split; else train or test."""
    rest: Split = "test" if set(marks.values()) == {"train"} else "train"
    splits: list[Split | None] = []
    for row, words in enumerate(zip(*(table[column] for column in marks), strict=True), 1):
        here: set[Split] = {
            split for word, split in zip(words, marks.values(), strict=True) if word.lower() in TRUE
        }
        if len(here) > 1:
            raise DataError(
                f"{file}, row {row:,}, is in two splits at once by its columns {some(list(marks))}."
            )
        splits.append(here.pop() if here else rest)
    return splits


def splits_named(words: pd.Series, where: str) -> list[Split | None]:
    """Return the splits of a column of words such as train and eval; DataError for one that names none."""
    told = meanings(words.unique())
    return splits_of([told[word].split if word in told else word or None for word in words], where)
