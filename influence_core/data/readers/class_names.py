"""Names and order of the classes, from a file beside the data: classes.txt, one name per line.

    the file names the labels themselves       its order is the order of the classes
    the labels are the numbers 0 .. c-1        the file names them: the first line is label 0

Numbers before the names that count from 0 are dropped. Of those that count from 1, the first line is label 1.

Any other file is refused, and the message names both sides: a guessed order would make every score wrong unnoticed.
"""

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from influence_core.data.rows import Rows, some
from influence_core.errors import DataError

NAMES = ("classes.txt", "class_names.txt", "labels.txt")
MAX_BYTES = 1024**2
BESIDE_NUMBER = r"\s*[:,;\t ]\s*(.+)"


def named_by_file(rows: Rows, root: Path, besides: Collection[str] = ()) -> Rows:
    """Return the rows with the class names and order of the file in `root`; unchanged when there is none.

    Files in `besides` were read as something else: a labels.txt may list pictures with their labels.
    """
    files = [root / name for name in NAMES if name not in besides and (root / name).is_file()]
    if not files:
        return rows
    if len(files) > 1:
        raise DataError(
            f"Two files name the classes: {some([file.name for file in files])}. Keep the one that is right."
        )
    names = read_names(files[0])
    from_one = [re.fullmatch(rf"0*{row}{BESIDE_NUMBER}", name) for row, name in enumerate(names, 1)]
    plain = tuple(match[1] for match in from_one if match)
    if len(plain) == len(names) and not {label for label in rows.labels if label is not None} <= set(names):
        return named(rows, plain, files[0].name, first=1)
    return named(rows, names, files[0].name)


def read_names(file: Path) -> tuple[str, ...]:
    """Read one class name per line. Leading numbers ("0 cat", "0: cat", "0,cat") that count up from 0 are dropped."""
    if file.stat().st_size > MAX_BYTES:
        raise DataError(f"{file.name} has {file.stat().st_size:,} bytes; at most {MAX_BYTES:,} are read.")
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{file.name} is not UTF-8 text: {error}. Save it as UTF-8.") from error
    numbered = [re.fullmatch(rf"(\d+){BESIDE_NUMBER}", line) for line in lines]
    if lines and all(match and int(match[1]) == row for row, match in enumerate(numbered)):
        lines = [match[2] for match in numbered if match]
    if len(set(lines)) < max(2, len(lines)):
        raise DataError(
            f"{file.name} names {len(lines)} classes, {len(set(lines))} of them different: {some(lines, 12)}. Expected "
            "two or more, one per line, all different."
        )
    return tuple(lines)


def named(rows: Rows, names: tuple[str, ...], where: str, first: int = 0) -> Rows:
    """Return the rows with number labels renamed, or with the order of the names; `first` is the first number."""
    labels = {label for label in rows.labels if label is not None}
    if labels <= set(names):
        return replace(rows, classes=names)
    if all(re.fullmatch(r"\d{1,6}", label) and 0 <= int(label) - first < len(names) for label in labels):
        renamed = [None if label is None else names[int(label) - first] for label in rows.labels]
        return replace(rows, labels=renamed, classes=names)
    raise DataError(
        f"{where} names {len(names)} classes ({some(list(names), 6)}), but the samples have the labels "
        f"{some(sorted(labels - set(names)), 6)}. Name exactly these labels, or the numbers from {first} in "
        "their order."
    )
