"""The header of a table: one name a column, all different. Where the first row is a sample instead, that is refused."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import pandas as pd

from influence_core.data.readers.cells import MISSING_WORDS
from influence_core.data.readers.spelled_numbers import PLAIN
from influence_core.data.rows import counted, some
from influence_core.errors import DataError

LOOKED_AT = 1_000
"""Rows that tell whether a column holds numbers."""
SHOWN_NAMES = 30
YEARS = range(1500, 2200)
STEADY = 4
"""Numbers in equal steps from which they are no accident."""


def with_header(
    frame: pd.DataFrame, shown: str, usual: Sequence[str], separator: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a table of text under checked names, with notes; `usual` are names that prove a header.

    Raises:
        DataError: the first row is a sample, or two columns have the same name.
    """
    names = [str(name) for name in frame.columns]
    told = {name.lower() for name in names if len(name) > 1} & set(usual)
    if (
        len(frame)
        and not told
        and _is_sample(names, [_looked_at(frame.iloc[:, column]) for column in range(len(names))])
    ):
        raise DataError(_without_header(names, shown, separator))
    return with_names(frame, shown)


def with_names(frame: pd.DataFrame, shown: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a table of text with a name for each column, without empty columns that have none; see `with_header`."""
    names = [str(name) for name in frame.columns]
    check_different([name or f"Unnamed: {column}" for column, name in enumerate(names)], shown)
    blank = [column for column, name in enumerate(names) if not name]
    hollow = [column for column in blank if not frame.iloc[:, column].fillna("").str.strip().any()]
    named = frame.set_axis([name or f"Unnamed: {column}" for column, name in enumerate(names)], axis=1)
    kept = named.iloc[:, [column for column in range(len(names)) if column not in hollow]]
    note = f"Not read: {counted(len(hollow), 'empty column')} without a name in {shown}."
    return kept, ((note,) if hollow else ()) + alike(names)


def check_different(names: Sequence[str], shown: str) -> None:
    """Raise DataError where a name occurs twice."""
    twice = [f"{name!r} ({count} times)" for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{shown} has columns of the same name: {some(twice, 12)}. Rename the repeated ones, or remove them."
        )


def alike(names: Sequence[str]) -> tuple[str, ...]:
    """Return a note on names that differ by case or spaces only."""
    folded: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folded[re.sub(r"\s+", "", name).casefold()].append(name)
    pairs = [" and ".join(map(repr, found)) for key, found in folded.items() if key and len(found) > 1]
    return (
        (f"Columns differ by case or spaces only: {some(pairs)}. Each is a column of its own.",)
        if pairs
        else ()
    )


def _looked_at(values: pd.Series) -> list[str]:
    """Return the first cells of a column that are not missing."""
    cells = values.head(LOOKED_AT).dropna().str.strip()
    return [cell for cell in cells if cell and cell.lower() not in MISSING_WORDS]


def _is_sample(names: Sequence[str], looked: Sequence[Sequence[str]]) -> bool:
    """Whether the names look like one more row.

    Numbers over columns of numbers do, if they do not count (0, 1, 2 or years); words do, if they occur among the cells
    below them: one of them beside such numbers, else most. A word over a column of numbers is a name: a header.
    """
    numeric = [bool(cells) and all(map(PLAIN.fullmatch, cells)) for cells in looked]
    above = [name for name, numbers in zip(names, numeric, strict=True) if numbers and name]
    if any(not PLAIN.fullmatch(name) and name.lower() not in MISSING_WORDS for name in above):
        return False
    words = [
        name in cells
        for name, cells, numbers in zip(names, looked, numeric, strict=True)
        if name and not numbers
    ]
    repeated = len(words) > 0 and 2 * sum(words) > len(words)
    numbers = [name for name in above if PLAIN.fullmatch(name)]
    if not numbers:
        return repeated and len(words) > 1
    if not words:
        return not _count(numbers)
    return any(words) and (repeated or not _count(numbers))


def _count(numbers: Sequence[str]) -> bool:
    """Whether the numbers count, as names may: 0, 1, 2 or 1, 2, 3, or years, or STEADY or more in equal steps."""
    if not all(re.fullmatch(r"\d{1,9}", number) for number in numbers):
        return False
    values = list(map(int, numbers))
    steps = {after - before for before, after in pairwise(values)}
    if len(steps) > 1 or 0 in steps:
        return False
    return len(values) >= STEADY or (steps <= {1} and (values[0] in (0, 1) or values[0] in YEARS))


def _without_header(names: Sequence[str], shown: str, separator: str) -> str:
    columns = [f"column_{number}" for number in range(1, len(names))]
    line = separator.join([*columns[:SHOWN_NAMES], *(["..."] if len(columns) > SHOWN_NAMES else []), "label"])
    return (
        f"{shown} has no header: its first row ({some(list(names), 8)}) looks like a sample. Add a first line with "
        f"{counted(len(names), 'name')}, for example: {line}"
    )
