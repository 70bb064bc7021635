"""Names of pictures: which picture a name in a file means, and the classes in names such as cat.12.jpg.

People write names as their tool did: with backslashes, with the folder or without, without the suffix, after a path of
their own machine, with accents in one code point or two, in another case. A name means a picture when it is the end of
its path, or its path is the end of the name; a name that could mean two pictures means neither.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from influence_core.data.readers.split_words import is_plain_name

FRAMED = (".gif", ".tif", ".tiff")
SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", *FRAMED,
    ".heic", ".heif", ".avif", ".eps", ".psd", ".svg", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jxl", ".tga",
    ".dcm", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".exr",
)  # fmt: skip
"""Suffixes of pictures. Those after the first line are not read: they are refused by name, not silently ignored."""
SEVERAL = -1
FILE_NAME = "file name"
"""The label that asks for these classes: open_dataset(path, label="file name")."""
NUMBERED = re.compile(r"(?P<name>.*?[^\W\d_])[\s._-]*[(\[]?\d+[)\]]?")


class PictureNames:
    """An index of some of the pictures by the ends of their paths."""

    def __init__(self, ids: Sequence[str], rows: Iterable[int]):
        self._ends: dict[str, int] = {}
        self._paths: set[str] = set()
        for row in rows:
            path = key(ids[row])
            for whole in {path, bare(path)}:
                self._paths.add(whole)
                parts = whole.split("/")
                for start in range(len(parts)):
                    end = "/".join(parts[start:])
                    self._ends[end] = row if self._ends.get(end, row) == row else SEVERAL

    def find(self, name: str) -> int | None:
        """Return the position of the picture a name means; None if there is none, or more than one."""
        path = key(name)
        for whole in (path, bare(path)):
            if (row := self._ends.get(whole)) is not None:
                return None if row == SEVERAL else row
            parts = whole.split("/")
            for start in range(1, len(parts)):
                if (end := "/".join(parts[start:])) in self._paths:
                    row = self._ends[end]
                    return None if row == SEVERAL else row
        return None

    def find_all(self, names: Sequence[str]) -> list[int | None]:
        """Find each of a column of names; a folder that all of them begin with, and no picture has, is ignored."""
        found = {name: self.find(name) for name in set(names)}
        if all(row is None for row in found.values()):
            keys = {name: key(name) for name in found}
            if len({path.rpartition("/")[0] for path in keys.values()}) == 1:
                found = {name: self.find(path.rpartition("/")[2]) for name, path in keys.items()}
        return [found[name] for name in names]


def key(name: str) -> str:
    """Return a name with slashes, without "./", composed and in lower case."""
    name = name.strip().replace("\\", "/").lower()
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    while name.startswith(("./", "/")):
        name = name.removeprefix(".").lstrip("/")
    return name


def stem(name: str) -> str:
    """Return the last part of a name, without the suffix of a picture."""
    return bare(key(name)).rpartition("/")[2]


def is_picture(name: str) -> bool:
    """Whether a file is a picture by the suffix of its name."""
    return name.lower().endswith(SUFFIXES)


def bare(path: str) -> str:
    """Return a path without the suffix of a picture."""
    return path[: path.rindex(".")] if path.endswith(SUFFIXES) else path


def classes_in_names(ids: Sequence[str]) -> list[str | None]:
    """Return what stands before the number of each file's name; None for a name of another form."""
    matches = [NUMBERED.fullmatch(PurePosixPath(sample).stem) for sample in ids]
    return [None if match is None else match["name"] for match in matches]


def offered(ids: Sequence[str]) -> list[str]:
    """Return the classes that the names hold, if they divide the files: two or more, each of several files.

    Names such as train_1.jpg and test_1.jpg hold none.
    """
    counts = Counter(name for name in classes_in_names(ids) if name is not None)
    if (
        len(counts) < 2
        or min(counts.values()) < 2
        or sum(counts.values()) * 2 < len(ids)
        or all(map(is_plain_name, counts))
    ):
        return []
    return sorted(counts)
