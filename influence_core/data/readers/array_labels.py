"""Labels in an array, as it may be stored: (n,), (n, 1) or one-hot (n, c); and the names of the classes."""

from collections.abc import Sequence

import numpy as np

from influence_core.data.rows import label_name, some
from influence_core.errors import DataError

UNLABELLED = -1
KINDS = "biufSU"
"""Kinds of numbers and text; not times, raw bytes, complex numbers or rows of fields."""


def check_plain(array: np.ndarray, name: str) -> None:
    """Raise DataError unless the array is a list of plain numbers or words."""
    if array.dtype.kind not in KINDS or array.dtype.names:
        raise DataError(
            f"{name} has the type {array.dtype}; expected plain numbers or text, one value a row."
        )
    if array.ndim == 0:
        raise DataError(
            f"{name} holds a single value ({str(array)[:40]}); expected one value a row, shape (n,)."
        )


def read_labels(array: np.ndarray, name: str) -> tuple[list, list[str]]:
    """Return one label a row, and a note where they were one-hot."""
    check_plain(array, name)
    flat = array.reshape(len(array), -1) if len(array) else array.reshape(0, 1)
    if flat.shape[1] == 1:
        return texts(flat[:, 0].tolist()), []
    if is_one_hot(flat):
        return flat.argmax(1).tolist(), [
            f"{name} is one-hot: its {flat.shape[1]} columns were read as class numbers."
        ]
    advice = f"Of probabilities, save the largest: np.argmax({name}, axis=1)."
    if array.dtype.kind in "biuf" and bool(((flat == 0) | (flat == 1)).all()):
        advice = f"Of several labels a row, save the one to look at, such as {name}[:, 0]."
    raise DataError(
        f"{name} has shape {array.shape}; expected one label a row, shape ({len(array)},). {advice}"
    )


def is_one_hot(table: np.ndarray) -> bool:
    """Whether every row has a single 1 beside zeros."""
    if table.dtype.kind not in "biuf":
        return False
    return bool(((table == 0) | (table == 1)).all() and (table.sum(1) == 1).all())


def texts(values: list) -> list:
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]


def means_unlabelled(labels: Sequence) -> bool:
    """Whether -1 stands for no label: the others count 0, 1, 2 and on. Beside 1, or 0 and 1, it is a class."""
    different = set(labels)
    others = (
        sorted(different - {UNLABELLED}) if all(not isinstance(label, str) for label in different) else []
    )
    return UNLABELLED in different and len(others) > 2 and others[0] == 0


def class_names(array: np.ndarray, name: str) -> tuple[str, ...]:
    """Read the names of the classes, by label number."""
    check_plain(array, name)
    names = tuple(str(value) for value in texts(array.reshape(-1).tolist()))
    if len(set(names)) < max(2, len(names)):
        raise DataError(
            f"{name} holds {len(names)} class names, {len(set(names))} of them different: {some(names, 12)}. Expected "
            "two or more, all different."
        )
    return names


def named_labels(labels: list, names: tuple[str, ...] | None, where: str) -> list[str | None]:
    """Return labels as class names: numbers by their place in `names`, words as they are."""
    if names is None or (labels and all(isinstance(label, str) for label in labels)):
        return [label_name(label, where) for label in labels]
    wrong = [
        label for label in labels if isinstance(label, str) or label % 1 != 0 or not 0 <= label < len(names)
    ]
    if wrong:
        raise DataError(
            f"{where}: with classes given, labels must be numbers from 0 to {len(names) - 1}; found "
            f"{some(sorted(set(map(str, wrong))))}."
        )
    return [names[int(label)] for label in labels]
