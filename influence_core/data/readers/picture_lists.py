"""Reader of any file beside pictures that may list them, as a table of text: .csv, .txt, .json, .xlsx, .parquet, ...

Nothing is known of such a file: it may hold anything. So its size is limited before it is parsed, and a file that is no
list of pictures is None, not an error; one that names pictures but cannot be read has a fault. Delimited text is read
as that of tables (delimited.py); a .txt may be cut at blanks instead. Cells stay text ("007"); columns without a header
are numbered.
"""

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from influence_core.data.readers.delimited import SAMPLE, encoding_of, likely_separator, read_delimited
from influence_core.data.readers.header import with_names
from influence_core.data.readers.label_cells import cell_text
from influence_core.data.readers.table_files import SUFFIXES, is_table, read_table_file
from influence_core.errors import DataError
from influence_core.system.missed_files import in_place_of
from influence_core.system.safe_tables import unguarded

MAX_BYTES = 64 * 1024**2
MAX_VALUES = 5_000_000
"""Most values of a JSON file, counted by the marks between them before it is parsed: 0.4 GB of Python objects."""
TEXTS = (".csv", ".tsv", ".txt", ".json", ".jsonl")
ENDS = ("xmin", "ymin", "xmax", "ymax", "bbox", "x_min", "y_min", "bbox_x")
"""Names of columns that give the place of an object in its picture."""
OBJECTS = "lists objects with boxes, as detectors are trained on; one label per picture is needed"
FORM = "a .csv with a column of names and one of labels, or {name: label} in .json"
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


def may_be_list(name: str) -> bool:
    """Whether a file may list pictures, by its suffix."""
    return name.lower().endswith((*SUFFIXES, ".json", ".parquet"))


def read_list(file: Path, is_picture: Callable[[str], bool]) -> PictureList | None:
    """Read a file as a table; `is_picture` tells a picture's name, so that a first row without header is seen."""
    if file.stat().st_size > MAX_BYTES:
        return None
    if came := in_place_of(file):
        return PictureList(pd.DataFrame(), fault=f"is {came}")
    try:
        if file.suffix.lower() not in TEXTS:
            return from_table(file)
        with file.open("rb") as opened:
            encoding, _ = encoding_of(opened, file.name)
        if file.suffix.lower() in (".json", ".jsonl"):
            text = file.read_text(encoding)
            read = from_json(text, file.suffix.lower() == ".jsonl", is_picture)
            found = read and any(is_picture(cell) for _, cells in read.table.items() for cell in cells)
            return read if found else unread(file, f"its form is not known; expected {FORM}", is_picture)
        return from_lines(file, encoding, is_picture)
    except DataError as error:
        return unread(file, str(error), is_picture)
    except (ValueError, RecursionError, OverflowError):
        return None


def from_table(file: Path) -> PictureList | None:
    """Read an Excel, packed or Parquet file that holds a table."""
    if not is_table(file):
        return None
    try:
        frame = read_table_file(file).frame
    except DataError as error:
        return PictureList(pd.DataFrame(), fault=f"cannot be read: {str(error).removesuffix('.')}")
    cells = {
        str(name): [(cell_text(cell) or "").strip() for cell in values] for name, values in frame.items()
    }
    return PictureList(pd.DataFrame(cells))


def unread(file: Path, fault: str, is_picture: Callable[[str], bool]) -> PictureList | None:
    """Return the fault of a file whose first lines name a picture: people meant it as a list."""
    with file.open("rb") as opened:
        lines = opened.read(SAMPLE).replace(b"\x00", b"").decode("latin-1").splitlines()
    cells = (cell.strip(" \"'{}[]") for line in lines[:100] for cell in re.split(r"[,;:\t|]", line))
    if not any(map(is_picture, cells)):
        return None
    return PictureList(pd.DataFrame(), fault=f"cannot be read: {fault.removesuffix('.')}")


def from_lines(file: Path, encoding: str, is_picture: Callable[[str], bool]) -> PictureList | None:
    suffix, text = file.suffix.lower(), file.read_text(encoding)
    first = next((line for line in text.splitlines()[:100] if line.strip()), "")
    separator = likely_separator(text[:SAMPLE], "\t" if suffix == ".tsv" else ",")
    if separator is None or (suffix == ".txt" and separator in ";|" and " " in first):
        table, headless = cut_at_blanks(text, first, suffix, is_picture)
    else:
        with file.open("rb") as opened:
            read = read_delimited(opened, file.name, separator).frame
        if headless := any(map(is_picture, read.columns)):
            read = pd.concat(
                [pd.DataFrame([list(read.columns)]), read.set_axis(range(len(read.columns)), axis=1)]
            )
        table = numbered(read) if headless else with_names(read, file.name)[0]
        table = unguarded(table)
    return PictureList(stripped(table).reset_index(drop=True), headless, guessed=encoding == "cp1252")


def cut_at_blanks(
    text: str, first: str, suffix: str, is_picture: Callable[[str], bool]
) -> tuple[pd.DataFrame, bool]:
    """Read lines of one cell, or of a .txt those between blanks; and whether the first line is no header.

    CelebA's begin with a line that counts the others, and their header has no name for the names of the pictures.
    """
    if suffix == ".txt" and first.strip().isdecimal() and "\n" in text.strip():
        text = text.lstrip().partition("\n")[2]
        first = text.partition("\n")[0]
    if suffix == ".txt" and is_picture(first.rpartition(" ")[0]) and not any(map(is_picture, first.split())):
        rows = [line.rstrip().rpartition(" ")[::2] for line in text.splitlines() if line.strip()]
        return numbered(pd.DataFrame(rows)), True  # names with blanks inside
    whole = suffix != ".txt" or is_picture(first.strip())
    headless = any(map(is_picture, [first, *first.split()]))
    table = pd.read_csv(
        io.StringIO(text), sep="\x1f" if whole else r"\s+", engine="c", header=None if headless else 0, dtype=str,
        keep_default_na=False, skipinitialspace=True, on_bad_lines="error",
    )  # fmt: skip
    if isinstance(table.index, pd.MultiIndex):
        raise ValueError("rows longer than the header")
    if not isinstance(table.index, pd.RangeIndex):
        table = table.reset_index(names="name")
    return (numbered(table), True) if headless else (table.rename(columns=str.strip), False)


def stripped(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({str(name): cells.str.strip() for name, cells in table.items()}, index=table.index)


def numbered(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_axis([str(number) for number in range(1, len(table.columns) + 1)], axis=1)


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
        return from_coco(content)
    if sum(is_picture(name) for name in content) * 2 >= len(content):
        return from_mapping(content)
    values = list(content.values())
    if all(isinstance(value, list) and any(is_name(item, is_picture) for item in value) for value in values):
        rows = [(str(name), str(label)) for label, names in content.items() for name in names]
        return PictureList(pd.DataFrame(rows, columns=["name", "label"]))
    if all(isinstance(value, list) for value in values) and len(set(map(len, values))) == 1 < len(values):
        return as_text([dict(zip(content, row, strict=True)) for row in zip(*values, strict=True)])
    return inside(content, is_picture)


def from_coco(content: dict[str, Any]) -> PictureList | None:
    """Read COCO's form: the category of each picture where annotations have no boxes, as in iNaturalist's lists."""
    images, objects, names = (
        [item for item in content.get(part) or () if isinstance(item, dict)]
        for part in ("images", "annotations", "categories")
    )
    files = {image.get("id"): str(image["file_name"]) for image in images if "file_name" in image}
    if not files:
        return None
    if not objects or any({"bbox", "segmentation", "keypoints"} & set(item) for item in objects):
        return PictureList(pd.DataFrame({"file_name": list(files.values())}), fault=OBJECTS)
    classes = {name.get("id"): str(name.get("name", name.get("id"))) for name in names}
    said = [(files.get(item.get("image_id"), ""), item.get("category_id")) for item in objects]
    rows = [(file, classes.get(category, str(category))) for file, category in said]
    return PictureList(pd.DataFrame(rows, columns=["file_name", "label"]))


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
    """Return records as a table of text; of nested values their label is kept, as in FiftyOne's, else nothing."""
    rows = [{str(name): plain(value) for name, value in record.items()} for record in records]
    return PictureList(pd.DataFrame(rows).fillna(""))


def plain(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("label")
    if value is None or isinstance(value, list | dict):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
