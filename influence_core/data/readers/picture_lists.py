"""Reader of any file beside pictures that may list them, as a table of text: .csv, .tsv, .txt, .json, .jsonl.

Nothing is known of such a file: it may hold anything. So its size is limited before it is parsed, and a file that is no
list of pictures is None, not an error. Cells stay text ("007"); columns without a header are numbered.
"""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

MAX_BYTES = 64 * 1024**2
MAX_VALUES = 5_000_000
"""Most values of a JSON file, counted by the marks between them before it is parsed: 0.4 GB of Python objects."""
MAX_COLUMNS = 1_000
SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl")
SEPARATORS = ("\t", ";", "|", ",")
ENDS = ("xmin", "ymin", "xmax", "ymax", "bbox", "x_min", "y_min", "bbox_x")
"""Names of columns that give the place of an object in its picture."""
OBJECTS = "lists objects with boxes, as detectors are trained on; one label per picture is needed"
SEVERAL = "gives several labels to a picture; one label per picture is needed"


@dataclass(frozen=True)
class PictureList:
    """A file as a table of text; `classes` are the names of its numbered labels, in order, if it states them."""

    table: pd.DataFrame
    headless: bool = False
    classes: tuple[str, ...] | None = None
    guessed: bool = False
    """Whether it is no Unicode text, and was read as Windows-1252."""
    fault: str | None = None
    """Why its labels are not those of whole pictures, one each."""

    @property
    def has_boxes(self) -> bool:
        """Whether its rows are objects in pictures, as detectors are trained on."""
        return bool(set(ENDS) & {str(name).strip().lower() for name in self.table})


def read_list(file: Path, is_picture: Callable[[str], bool]) -> PictureList | None:
    """Read a file as a table; `is_picture` tells a picture's name, so that a first row without header is seen."""
    if file.stat().st_size > MAX_BYTES:
        return None
    text, guessed = decoded(file.read_bytes())
    suffix = file.suffix.lower()
    try:
        if suffix in (".json", ".jsonl"):
            return from_json(text, suffix == ".jsonl", is_picture)
        read = from_lines(text, suffix, is_picture)
        return read and replace(read, guessed=guessed)
    except (ValueError, RecursionError, csv.Error, OverflowError):
        return None


def decoded(data: bytes) -> tuple[str, bool]:
    """Decode UTF-8, UTF-16 with its mark, else, as a guess, Windows-1252, in which programs of that system write."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace"), False
    try:
        return data.decode("utf-8-sig"), False
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace"), True


def separator_of(line: str, suffix: str = ".csv") -> str | None:
    """The character that separates the columns of a line; None for blanks, or for a single column."""
    counts = {mark: line.count(mark) for mark in SEPARATORS}
    best = max(SEPARATORS, key=counts.__getitem__)
    return best if counts[best] and not (suffix == ".txt" and best in ";|" and " " in line) else None


def from_lines(text: str, suffix: str, is_picture: Callable[[str], bool]) -> PictureList | None:
    first = next((line for line in text.splitlines()[:100] if line.strip()), "")
    separator = separator_of(first, suffix)
    if "\x00" in first or (separator and first.count(separator) >= MAX_COLUMNS):
        return None
    options: dict[str, Any] = {"sep": separator, "engine": "c"}
    if separator is None:
        blanks = suffix == ".txt" and not is_picture(first.strip())
        options = {"sep": r"\s+", "engine": "c"} if blanks else {"sep": "\x1f", "engine": "c"}
    cells = next(csv.reader([first], delimiter=separator), []) if separator else [first, *first.split()]
    headless = any(map(is_picture, cells))
    table = pd.read_csv(
        io.StringIO(text), header=None if headless else 0, dtype=str, keep_default_na=False, skipinitialspace=True,
        on_bad_lines="error", **options,
    )  # fmt: skip
    if not isinstance(table.index, pd.RangeIndex):  # rows longer than the header
        return None
    table.columns = [str(name + 1) if headless else str(name).strip() for name in table.columns]
    return PictureList(table.map(str.strip), headless)


def from_json(text: str, lines: bool, is_picture: Callable[[str], bool]) -> PictureList | None:
    if sum(map(text.count, ",[{")) > MAX_VALUES:
        return None
    content = [json.loads(line) for line in text.splitlines() if line.strip()] if lines else json.loads(text)
    return from_content(content, is_picture)


def from_content(content: Any, is_picture: Callable[[str], bool]) -> PictureList | None:
    """Read records, {name: label}, {label: [names]}, pairs of name and label, or any of these inside an object."""
    if isinstance(content, list):
        return from_items(content, is_picture)
    if not isinstance(content, dict) or not content:
        return None
    if {"images", "annotations"} <= set(content):
        return objects_of(content["images"])
    if sum(is_picture(name) for name in content) * 2 >= len(content):
        return from_mapping(content)
    values = list(content.values())
    if all(isinstance(value, list) and any(is_name(item, is_picture) for item in value) for value in values):
        rows = [(str(name), str(label)) for label, names in content.items() for name in names]
        return PictureList(pd.DataFrame(rows, columns=["name", "label"]))
    if all(isinstance(value, list) for value in values) and len(set(map(len, values))) == 1 < len(values):
        return as_text([dict(zip(content, row, strict=True)) for row in zip(*values, strict=True)])
    return inside(content, is_picture)


def objects_of(images: Any) -> PictureList | None:
    """Return the pictures of a file in COCO's form."""
    if not isinstance(images, list):
        return None
    names = [str(image["file_name"]) for image in images if isinstance(image, dict) and "file_name" in image]
    return PictureList(pd.DataFrame({"file_name": names}), fault=OBJECTS) if names else None


def is_name(item: Any, is_picture: Callable[[str], bool]) -> bool:
    return isinstance(item, str) and is_picture(item)


def inside(content: dict[str, Any], is_picture: Callable[[str], bool]) -> PictureList | None:
    """Read the one value of an object that lists pictures; names of the classes may stand beside it."""
    found = [
        read
        for value in content.values()
        if isinstance(value, dict | list) and (read := from_content(value, is_picture)) is not None
    ]
    names = next((content[name] for name in ("classes", "class_names", "names") if name in content), None)
    if len(found) != 1:
        return None
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return PictureList(found[0].table, classes=tuple(names))
    return found[0]


def from_items(items: list[Any], is_picture: Callable[[str], bool]) -> PictureList | None:
    if items and all(isinstance(item, dict) for item in items):
        return as_text(items)
    if items and all(isinstance(item, list) and len(item) == 2 for item in items):
        return as_text([{"name": name, "label": label} for name, label in items])
    if items and all(isinstance(item, str) for item in items) and any(map(is_picture, items)):
        return as_text([{"name": item} for item in items])
    return None


def from_mapping(content: dict[str, Any]) -> PictureList | None:
    if all(isinstance(value, dict) for value in content.values()):
        return as_text([{"name": name, **value} for name, value in content.items()])
    if any(isinstance(value, list) and len(value) != 1 for value in content.values()):
        return PictureList(pd.DataFrame({"name": list(content)}), fault=SEVERAL)
    single = [value[0] if isinstance(value, list) else value for value in content.values()]
    return as_text([{"name": name, "label": value} for name, value in zip(content, single, strict=True)])


def as_text(records: list[dict[str, Any]]) -> PictureList:
    """Return records as a table of text; nested values are left out, but for boxes, which are told by their name."""
    rows = [
        {str(name): plain(value) for name, value in record.items() if not isinstance(value, dict)}
        for record in records
    ]
    return PictureList(pd.DataFrame(rows).fillna(""))


def plain(value: Any) -> str:
    if value is None or isinstance(value, list):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
