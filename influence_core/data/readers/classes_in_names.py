"""Classes in the names of files: cat.12.jpg and dog_003.png, which hold a class, then a number."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from influence_core.data.readers.split_words import is_plain_name

FILE_NAME = "file name"
"""The label that asks for these classes: open_dataset(path, label="file name")."""
NUMBERED = re.compile(r"(?P<name>.*?[^\W\d_])[\s._-]*[(\[]?\d+[)\]]?")


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
