"""Reader of delimited text: its encoding and separator are recognised, its cells are kept as written.

    encoding     UTF-8, or UTF-16 and UTF-8 with their mark; other text is read as Windows-1252, and said
    separator    comma, semicolon, tab or |: the one that cuts most rows into equally many cells; "sep=;" is followed
    rows         each has as many cells as the header; the first that has not is named by its line

Nothing is guessed about the meaning of a cell here; that is `cells.py`.
"""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

import pandas as pd

from influence_core.data.readers.text_columns import TextColumns
from influence_core.data.rows import counted, some
from influence_core.errors import DataError

SEPARATORS = ",;\t|"
SAMPLE = 2**16
"""Characters from which the separator is chosen."""
SAMPLE_ROWS = 200
CHUNK = 2**20
MOST_COLUMNS = 20_000
LONGEST = 2**24
"""Most characters of one line."""
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Encodings by their mark; that of UTF-32 begins like that of UTF-16, so it is tried first."""


@dataclass(frozen=True)
class Delimited:
    """A table as text (n, columns), its header as written, its separator, and notes."""

    frame: pd.DataFrame
    separator: str
    notes: tuple[str, ...]


def read_delimited(
    file: BinaryIO, shown: str, expected: str = ",", most_rows: int | None = None
) -> Delimited:
    """Read delimited text; of two separators that fit equally well, the expected one is taken.

    Raises:
        DataError: the text cannot be decoded, has no separator, a row of another length or more than `most_rows`,
            blank ones included; the text names the line.
    """
    encoding, notes = encoding_of(file, shown)
    file.seek(0)
    text = io.TextIOWrapper(file, encoding=encoding, newline="")
    head = text.read(SAMPLE)
    text.seek(0)
    separator, told = separator_of(head, expected, shown)
    lines = islice(_lines(text, shown), int(told), None)
    frame, more = _table(lines, separator, head, shown, first=1 + told, most=most_rows)
    text.detach()
    return Delimited(frame, separator, (*notes, *more))


def encoding_of(file: BinaryIO, shown: str) -> tuple[str, tuple[str, ...]]:
    """Return the encoding of a text file, with a note where it had to be supposed.

    Raises:
        DataError: it is neither UTF-8 nor UTF-16 nor Windows-1252.
    """
    head = file.read(4)
    for mark, encoding in MARKS.items():
        if head.startswith(mark):
            _decoded(file, encoding, shown)
            return encoding, ()
    file.seek(0)
    decoder, line, piece = codecs.getincrementaldecoder("utf-8")(), 1, b" "
    while piece:
        piece = file.read(CHUNK)
        if b"\x00" in piece:
            line += piece[: piece.index(b"\x00")].count(b"\n")
            raise DataError(
                f"{shown} holds a zero byte in line {line:,}, so it is no text in UTF-8 (UTF-16 without its mark, or "
                "no text at all). Save it as UTF-8."
            )
        try:
            decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].count(b"\n")
            return _supposed(file, error.object[error.start], line, shown)
        line += piece.count(b"\n")
    return "utf-8", ()


def _supposed(file: BinaryIO, byte: int, line: int, shown: str) -> tuple[str, tuple[str, ...]]:
    """Return Windows-1252 and a note with a word to judge it by, or raise DataError."""
    file.seek(0)
    with_byte = next(islice(file, line - 1, None))
    try:
        word = _word_around(with_byte.decode("cp1252"))
        _decoded(file, "cp1252", shown)
    except (UnicodeDecodeError, DataError) as error:
        raise DataError(
            f"{shown} is not UTF-8: byte {byte:#04x} in line {line:,}. Save it as UTF-8 (in a spreadsheet: CSV UTF-8)."
        ) from error
    return "cp1252", (
        f"{shown} is not UTF-8 and was read as Windows-1252, for example {word!r} in line {line:,}. If that is not the "
        "word, save the file as UTF-8.",
    )


def _word_around(line: str) -> str:
    """Return the first word with a letter beyond ASCII."""
    words = re.findall(r"[^\s,;|\"']+", line)
    return next((word for word in words if not word.isascii()), line)[:40]


def _decoded(file: BinaryIO, encoding: str, shown: str) -> None:
    """Decode a file to its end; raise DataError where that fails."""
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while piece := file.read(CHUNK):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise DataError(f"{shown} is not the {encoding} that it begins as. Save it as UTF-8.") from error


def separator_of(head: str, expected: str, shown: str) -> tuple[str, bool]:
    """Return the separator that cuts most rows into equally many cells, and whether a line "sep=;" states it."""
    if stated := re.match(r"\"?sep=([,;\t|:~^])\"?\r?\n", head, re.IGNORECASE):
        return stated[1], True
    best = likely_separator(head, expected)
    if best is None:
        first = head.splitlines()[0] if head.strip() else ""
        raise DataError(
            f"{shown} has a single column, {first[:80]!r}. Expected a header and rows, their columns separated by "
            "commas, semicolons, tabs or |. Save it as CSV with commas."
            if first
            else f"{shown} is empty. Expected a header and rows."
        )
    return best, False


def likely_separator(head: str, expected: str) -> str | None:
    """Return the separator that cuts most rows into equally many cells; None where each row is one cell."""
    fits = {separator: _fit(head, separator) for separator in sorted(SEPARATORS, key=expected.__ne__)}
    best = max(fits, key=lambda separator: fits[separator])
    return best if fits[best][0] else None


def _fit(head: str, separator: str) -> tuple[float, int]:
    """Return how well a separator fits: the share of rows with the most common number of cells, and that number."""
    lengths = []
    try:
        for row in islice(csv.reader(io.StringIO(head, newline=""), delimiter=separator), SAMPLE_ROWS):
            lengths += [len(row)] if row else []
    except csv.Error:
        pass  # reported with its line by the real reading
    if len(head) >= SAMPLE and len(lengths) > 1:
        lengths.pop()  # cut off in its middle
    if not lengths:
        return 0.0, 0
    cells, rows = Counter(lengths).most_common(1)[0]
    return (0.0, 0) if cells < 2 else (rows / len(lengths), cells)


def _lines(text: io.TextIOWrapper, shown: str) -> Iterator[str]:
    """Yield the lines with their ends; one that is too long for a row of a table is a DataError."""
    for number, line in enumerate(iter(lambda: text.readline(LONGEST), ""), 1):
        if len(line) == LONGEST:
            raise DataError(
                f"{shown} has a line {number:,} of more than {LONGEST:,} characters. Expected a row a line."
            )
        yield line


def _table(
    lines: Iterable[str], separator: str, head: str, shown: str, first: int, most: int | None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Cut lines into cells; the first row is the header."""
    spaced = (
        re.search(rf"{re.escape(separator)} +\"", head) is not None
    )  # a, "b, c": the space is none of the cell
    cut = csv.reader(lines, delimiter=separator, skipinitialspace=spaced, strict=True)
    rows = _numbered(cut, shown, first, most)
    _, header = next(rows, (0, []))
    names = [cell.strip() for cell in header]
    if len(names) > MOST_COLUMNS:
        raise DataError(
            f"{shown} has {len(names):,} columns; at most {MOST_COLUMNS:,} are read. Leave columns out."
        )
    width, kept = len(names), TextColumns(len(names))
    empty = repeated = 0
    for line, cells in rows:
        if not len(kept) and len(cells) == width + 1 and width > 1:
            width, kept = width + 1, TextColumns(width + 1)
        if len(cells) != width:
            raise DataError(_other_length(shown, line, cells, names))
        if not any(cells):
            empty += 1
        elif cells == header:
            repeated += 1
        else:
            kept.append(cells)
    frame, row_names = _named(kept, names, shown)
    return frame, tuple(_row_notes(shown, row_names, empty, repeated))


def _named(kept: TextColumns, names: list[str], shown: str) -> tuple[pd.DataFrame, bool]:
    """Name the columns; where the header has one name fewer, say whether the first cells name the rows.

    They do where R wrote the file: then all differ. Or each row ends with a separator, and the last column is empty.
    Otherwise a cell holds the separator in every row, which would shift all that follow: a DataError.
    """
    if kept.columns == len(names):
        return kept.frame(names), False
    frame = kept.frame([*names, ""])
    if not frame.iloc[:, -1].str.strip().any():
        return frame, False
    if not frame.iloc[:, 0].is_unique:
        raise DataError(_other_length(shown, 2, list(frame.iloc[0]), names))
    return frame.set_axis(["", *names], axis=1), True


def _row_notes(shown: str, row_names: bool, empty: int, repeated: int) -> Iterator[str]:
    if row_names:
        yield (
            f"The header of {shown} has one name fewer than the rows have cells, as R writes it: the first cell of "
            "each row is its name, not a feature."
        )
    if empty:
        yield f"Not read: {counted(empty, 'empty row')} of {shown}."
    if repeated:
        yield f"Not read: {counted(repeated, 'repetition')} of the header inside {shown}."


def _numbered(rows, shown: str, first: int, most: int | None) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with the number of its last line; a broken quote is a DataError."""
    began = first
    try:
        for count, cells in enumerate(rows):
            if most is not None and count > most:
                raise DataError(f"{shown} has more than {most:,} rows, more than there are samples.")
            began = rows.line_num + first
            if len(cells) > 1 or any(cell.strip() for cell in cells):
                yield began - 1, cells
    except csv.Error as error:
        fault = str(error)
        said = (
            f"a cell of more than {csv.field_size_limit():,} characters" if "field limit" in fault else
            "a quote that is never closed" if "unexpected end" in fault else
            "a quote inside a quoted cell" if "expected after" in fault else fault
        )  # fmt: skip
        raise DataError(
            f"{shown} has {said} in the row that begins in line {began:,}. Close the quote, and write a quote inside a "
            'quoted cell twice ("").'
        ) from error


def _other_length(shown: str, line: int, cells: list[str], names: list[str]) -> str:
    if len(names) == 1:
        return (
            f"{shown} has 1 cell in its first line, {names[0][:60]!r}, and {len(cells)} in line {line:,}. Expected the "
            "names of the columns in the first line; remove what stands above them."
        )
    return (
        f"{shown} has {counted(len(cells), 'cell')} in line {line:,}, but {len(names)} names in its header: "
        f"{some(names, 12)}. The line ends with {cells[-1][:40]!r}. Give each row {len(names)} cells; put a cell that "
        "holds the separator in double quotes."
    )
