"""Names of the arrays in a file: which hold inputs, labels, groups and class names, and of which split.

    x_train, X_train, trainX, train_images, train/images, images, data, features, ...     inputs
    y_train, Y_train, train_labels, labels, target, ...                                   labels
    group, group_val, ...                                                                 groups
    classes, class_names, target_names, ...                                               names of the classes

Capitals and separators do not count. The documented names win over others of the same meaning; two others of the same
meaning are refused: one of them would be taken without a word.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from influence_core.data.rows import SPLIT_NAMES, some, split_of
from influence_core.data.samples import SPLITS, Split
from influence_core.errors import DataError

INPUTS = ("x", "image", "images", "img", "imgs", "picture", "pictures", "pixels", "data", "input", "inputs",
          "feature", "features")  # fmt: skip
LABELS = ("y", "label", "labels", "target", "targets", "class")
GROUPS = ("group", "groups")
CLASSES = ("classes", "classnames", "labelnames", "targetnames")
MEANINGS = {"x": INPUTS, "y": LABELS, "group": GROUPS, "classes": CLASSES}
"""The words of each meaning, by its documented name."""
SHORT: dict[str, Split] = {"tr": "train", "te": "test"}
SEPARATORS = re.compile(r"[\s_\-./]+")


@dataclass(frozen=True)
class Arrangement:
    """The name of the array for each split, by meaning; `unnamed` are the arrays without one."""

    inputs: Mapping[Split, str]
    labels: Mapping[Split, str]
    groups: Mapping[Split, str]
    classes: str | None = None
    unnamed: tuple[str, ...] = ()

    @property
    def used(self) -> tuple[str, ...]:
        """The names of all arrays that are read."""
        classes = () if self.classes is None else (self.classes,)
        return (*self.inputs.values(), *self.labels.values(), *self.groups.values(), *classes)


def arrange(names: Iterable[str], where: str) -> Arrangement:
    """Sort arrays by the meaning of their names; an array that names no split belongs to train."""
    names = list(names)
    claims = {meaning: claimed(names, words) for meaning, words in MEANINGS.items()}
    taken: dict[str, dict[Split, str]] = {
        meaning: {split: chosen(found, meaning, split, where) for split, found in parts.items()}
        for meaning, parts in claims.items()
    }
    used = {name for parts in taken.values() for name in parts.values()}
    return Arrangement(
        taken["x"],
        taken["y"],
        taken["group"],
        taken["classes"].get("train"),
        tuple(sorted(set(names) - used)),
    )


def claimed(names: list[str], words: Iterable[str]) -> dict[Split, list[str]]:
    """The names that mean one of the words, by split, in the order of the splits."""
    split_words = "|".join(sorted({*SPLIT_NAMES, *SHORT}, key=len, reverse=True))
    pattern = re.compile(f"(?P<before>{split_words})?(?:{'|'.join(words)})(?P<after>{split_words})?")
    found: dict[Split, list[str]] = {}
    for name in names:
        match = pattern.fullmatch(SEPARATORS.sub("", name.lower()))
        if match and not (match["before"] and match["after"]):
            word = match["before"] or match["after"] or "train"
            found.setdefault(SHORT.get(word) or split_of(word) or "train", []).append(name)
    return {split: found[split] for split in SPLITS if split in found}


def chosen(found: list[str], meaning: str, split: Split, where: str) -> str:
    """The documented name among those found, else the only one."""
    documented = [name for name in (f"{meaning}_{split}", meaning) if name in found]
    if documented or len(found) == 1:
        return (documented or found)[0]
    what = {"x": "inputs", "y": "labels", "group": "groups", "classes": "class names"}[meaning]
    raise DataError(
        f"{where} holds several arrays that could be the {what} of {split}: {some(sorted(found))}. Name the right one "
        f"{meaning}_{split} and leave the others out."
    )
