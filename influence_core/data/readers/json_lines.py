"""Reader of a table with one JSON object a line: its keys are the columns, its values are kept as written."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from influence_core.data.readers.delimited import LONGEST, MOST_COLUMNS
from influence_core.data.rows import counted
from influence_core.errors import DataError

MOST_CELLS = 200_000_000
EMPTY_LINES = 1_000
"""Empty objects at the beginning after which no column is expected any more."""


def read_json_lines(file: BinaryIO, shown: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the lines as a frame of text (n, columns), with notes; an absent key and null are empty cells.

    Raises:
        DataError: a line is no JSON object, repeats a key, or holds a list or an object; the text names the line.
    """
    columns: dict[str, tuple[list[int], list[str]]] = {}
    rows = empty = 0
    for line, record in _records(file, shown):
        if not record:
            empty += 1
            if empty > EMPTY_LINES and not columns:
                raise DataError(
                    f"{shown} begins with {EMPTY_LINES:,} empty objects. Expected one sample a line."
                )
            continue
        for name, value in record.items():
            places, texts = columns.setdefault(_whole(name, line, shown).strip(), ([], []))
            if value is not None:
                places.append(rows)
                texts.append(_whole(_text(value, name, line, shown), line, shown))
        rows += 1
        if len(columns) > MOST_COLUMNS or len(columns) * rows > MOST_CELLS:
            raise DataError(
                f"{shown} has {len(columns):,} columns in {rows:,} rows, too many. Leave columns out."
            )
    note = f"Not read: {counted(empty, 'empty row')} of {shown}."
    return pd.DataFrame({name: _column(*cells, rows) for name, cells in columns.items()}), (
        note,
    ) if empty else ()


def _records(file: BinaryIO, shown: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects with their line numbers; numbers stay as written."""
    for number, line in enumerate(iter(lambda: file.readline(LONGEST), b""), 1):
        text = line.strip()
        if not text:
            continue
        if text == b"{}":
            yield number, {}
            continue
        try:
            record = json.loads(
                text.decode("utf-8-sig"),
                parse_int=str,
                parse_float=str,
                parse_constant=str,
                object_pairs_hook=_once,
            )
        except RecursionError as error:
            raise DataError(
                f"{shown}, line {number:,}, is nested too deeply. Expected one flat object."
            ) from error
        except UnicodeDecodeError as error:
            raise DataError(f"{shown} is not UTF-8 in line {number:,}. Save it as UTF-8.") from error
        except ValueError as error:
            raise DataError(
                f"{shown}, line {number:,}: {_fault(error)}. Expected one JSON object a line, as in "
                '{"age": 38, "label": "yes"}.'
            ) from error
        if not isinstance(record, dict):
            kind = {list: "a list", str: "a word or number"}.get(type(record), "no object")
            raise DataError(
                f"{shown} holds {kind} in line {number:,}; expected one JSON object a line. pandas writes it so: "
                "frame.to_json(path, orient='records', lines=True)."
            )
        yield number, record


def _fault(error: ValueError) -> str:
    return (
        f"{error.msg} at column {error.colno:,}"
        if isinstance(error, json.JSONDecodeError)
        else str(error)[:120]
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return record


def _text(value: Any, name: str, line: int, shown: str) -> str:
    if isinstance(value, dict | list):
        raise DataError(
            f"{shown} holds a list or an object in {name!r}, line {line:,}. Expected a number or word."
        )
    return str(value)


def _whole(text: str, line: int, shown: str) -> str:
    """Return a text that can be encoded; half of a pair such as "\\ud800", which no file can hold, is a DataError."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{shown}, line {line:,}, holds half a character, {ascii(text)[:40]}. Write the whole character in UTF-8."
        ) from error
    return text


def _column(places: list[int], texts: list[str], rows: int) -> pd.Series:
    cells = np.full(rows, None, dtype=object)
    cells[places] = texts
    return pd.Series(cells, dtype="str")
