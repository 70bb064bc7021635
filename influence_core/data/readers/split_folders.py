"""Which folders of a tree of pictures are splits, and which are classes.

    train/<class>/..., seg_train/seg_train/<class>/..., train/images/<class>/...    splits above classes
    <class>/train/..., <class>/test/...                                             classes above splits
    <class>/...                                                                     classes alone
    outer/outer/<any of these>                                                      folders around all of it

Folders count as splits when all beside one another are named so, or two of them are named alike but for the split:
"train" alone beside "bus" and "cat" is a class, and that is said. Whatever can be read in two ways is refused: a split
taken for a class trains on test pictures and scores nothing.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from influence_core.data.readers.split_words import (
    Meaning,
    are_parts,
    is_classless,
    is_plain_name,
    meaning,
    meanings,
)
from influence_core.data.rows import SPLIT_NAMES, counted, some
from influence_core.data.samples import Split
from influence_core.errors import DataError

Folders = tuple[str, ...]
"""The folders above a picture, outermost first."""


@dataclass(frozen=True)
class Named:
    """What the folders say of each picture: label and split, None where they say nothing; `left_out` are positions."""

    labels: list[str | None]
    splits: list[Split | None]
    left_out: frozenset[int] = frozenset()
    notes: tuple[str, ...] = field(default=())


def name_by_folder(ids: Sequence[str]) -> Named:
    """Read label and split of each picture from the folders above it.

    Raises:
        DataError: the folders can be read in two ways, or name no training part.
    """
    paths = [PurePosixPath(sample).parts[:-1] for sample in ids]
    paths = without_outer(paths)
    told = splits_among(paths)
    if told is not None:
        return below_splits(ids, paths, told)
    if (named := above_splits(ids, paths)) is not None:
        return named
    check_no_split_below(paths)
    classes = sorted({path[0] for path in paths if path})
    if len(classes) > 1 and is_classless(classes):
        raise DataError(
            f"The folders {some(classes)} name kinds of files, not classes. Leave masks and other pictures that are no "
            "samples out, and give each class a folder of its own, or list the labels in a metadata.csv with the "
            "columns file_name and label."
        )
    check_one_kind_of_classes(paths)
    check_no_shelves(paths)
    labels = [path[0] if path and not are_parts(classes) else None for path in paths]
    return Named(labels, [None] * len(paths), notes=(*note_on_classes(classes), *note_on_inside(paths)))


def without_outer(paths: list[Folders]) -> list[Folders]:
    """Leave out the folders around everything. A lone folder that directly holds pictures stays: it may be a class."""
    while len({path[:1] for path in paths}) == 1 and paths[0] and any(len(path) > 1 for path in paths):
        name = paths[0][0]
        if name.lower() in SPLIT_NAMES or any(len(path) == 1 for path in paths):
            break
        paths = [path[1:] for path in paths]
    return paths


def splits_among(paths: list[Folders]) -> dict[str, Meaning] | None:
    """Return what the outermost folders tell, if they are splits; None if they are not."""
    below: dict[str, list[Folders]] = defaultdict(list)
    for path in paths:
        if path:
            below[path[0]].append(path[1:])
    told = meanings(below)
    others = sorted(set(below) - set(told))
    splits = {found.split for found in told.values()} - {None}
    if not splits or (others and not (alike(told) or is_parted(told, below, others))):
        return None
    check_trained(told, others)
    check_no_class_in_name(told, below)
    return told


def alike(told: dict[str, Meaning]) -> bool:
    """Whether two names differ in the split alone: seg_train and seg_test, not "train station" and "test tube"."""
    splits: dict[Folders, set[Split]] = defaultdict(set)
    for found in told.values():
        if found.split is not None:
            splits[found.rest].add(found.split)
    return any(len(several) > 1 for several in splits.values())


def is_parted(told: dict[str, Meaning], below: dict[str, list[Folders]], others: list[str]) -> bool:
    """Whether the one folder named as a split holds classes while its neighbours do not, or holds those very classes.

    Raises:
        DataError: its folders are named as its neighbours.
    """
    for name in told:
        inside = {path[0] for path in below[name] if path}
        if len(inside & set(others)) > 1:
            raise DataError(
                f"The folder {name!r} holds folders named as those beside it ({some(sorted(inside & set(others)))}), "
                f"so it seems to be a split, and they the training part. Move them into a folder train beside {name!r}."
            )
    deep = {name for name, paths in below.items() if any(paths)}
    return any(found.split == "train" and name in deep for name, found in told.items()) and not deep & set(
        others
    )


def check_trained(told: dict[str, Meaning], others: list[str]) -> None:
    if not any(found.split == "train" for found in told.values()):
        beside = f" beside {some(others)}" if others else ""
        raise DataError(
            f"No training samples: the folders are {some(sorted(told))}{beside}, none of them for training. Name the "
            "training part train; or, if these names are classes, label the pictures in a metadata.csv with the "
            "columns file_name and label."
        )


def check_no_class_in_name(told: dict[str, Meaning], below: dict[str, list[Folders]]) -> None:
    """Raise DataError for train_cats and train_dogs with pictures right inside: the classes stand in the names."""
    flat = {name for name in told if not any(below[name])}
    rests = {found.rest for name, found in told.items() if found.split == "train" and name in flat}
    if len(rests) > 1:
        names = sorted(name for name in flat if told[name].split == "train")
        rest = next(rest for rest in sorted(rests) if rest)
        raise DataError(
            f"The folders {some(names)} seem to name a split and a class at once. Give each split a folder with one "
            f"folder per class inside, such as train/{' '.join(filter(None, rest))}."
        )


def below_splits(ids: Sequence[str], paths: list[Folders], told: dict[str, Meaning]) -> Named:
    """Read the classes below the splits."""
    outside = [sample for sample, path in zip(ids, paths, strict=True) if not path or path[0] not in told]
    if outside:
        raise DataError(
            f"{counted(len(outside), 'picture lies', 'pictures lie')} outside {some([f'{n}/' for n in told])}: "
            f"{some(outside)}. Move them into one of the splits, or out of the dataset; or, if all these folders are "
            "classes, label the pictures in a metadata.csv with the columns file_name and label."
        )
    labels: list[str | None] = [None] * len(ids)
    classes: set[str] = set()
    inside: list[Folders] = []
    for split in ("train", "val", "test"):
        for name in (name for name, found in told.items() if found.split == split):
            rows = [row for row, path in enumerate(paths) if path[0] == name]
            inner = without_inner([paths[row][1:] for row in rows], classes, name)
            check_one_kind_of_classes(inner)
            check_no_shelves(inner)
            inside += inner
            for row, path in zip(rows, inner, strict=True):
                labels[row] = path[0] if path else None
        classes |= {label for label in labels if label is not None} if split == "train" else set()
    left_out = frozenset(row for row, path in enumerate(paths) if told[path[0]].split is None)
    splits: list[Split | None] = [told[path[0]].split for path in paths]
    notes = (*notes_on_splits(told, [ids[row] for row in sorted(left_out)]), *note_on_inside(inside))
    return Named(labels, splits, left_out, notes)


def without_inner(paths: list[Folders], classes: set[str], outer: str) -> list[Folders]:
    """Leave out the folders around all classes of a split; right above the pictures a plain name is no class.

    Nor is the name of the split itself: cars_train/cars_train/1.jpg.
    """
    while paths and len({path[:1] for path in paths}) == 1 and paths[0] and paths[0][0] not in classes:
        if any(len(path) == 1 for path in paths):
            again = paths[0][0].lower() == outer.lower() or is_plain_name(paths[0][0])
            return [path[1:] for path in paths] if again else paths
        paths = [path[1:] for path in paths]
    return paths


def above_splits(ids: Sequence[str], paths: list[Folders]) -> Named | None:
    """Read <class>/train/...: every class holds splits, and the pictures lie right inside them; None if not so."""
    told = meanings({path[1] for path in paths if len(path) > 1})
    if not all(len(path) == 2 and path[1] in told for path in paths):
        return None
    splits: list[Split | None] = [told[path[1]].split for path in paths]
    if "train" not in splits or None in splits:
        return None
    return Named([path[0] for path in paths], splits, notes=notes_on_splits(told, []))


def check_no_split_below(paths: Iterable[Folders]) -> None:
    """Raise DataError where folders further down are named as splits: datasets beside one another, or a mixture."""
    deeper = meanings({name for path in paths for name in path[1:]})
    found = {name: told for name, told in deeper.items() if not told.rest and told.split is not None}
    if len({told.split for told in found.values()}) > 1:
        holding = sorted({path[0] for path in paths if set(path[1:]) & set(found)})
        raise DataError(
            f"Folders named as splits ({some(sorted(found))}) lie inside {some(holding)}, beside or below other "
            "folders, so classes and splits cannot be told apart. Expected train/<class>/... with val/ and test/ "
            "beside it, or <class>/train/... in every class."
        )


def check_one_kind_of_classes(paths: Sequence[Folders]) -> None:
    """Raise DataError where folders inside may be the classes: named as their neighbours above, or alike in all.

    So are a dataset beside its copy, and folders for kinds of pictures, cameras or folds with the same classes in each.
    Numbers inside are classes where the folders around them are numbered as well: a patient each, over 0 and 1.
    """
    below: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        if path:
            below[path[0]] |= {name for name in path[1:] if not is_plain_name(name)}
    for name, inside in below.items():
        if len(again := sorted(inside & set(below))) > 1:
            raise DataError(
                f"The folder {name!r} holds folders named as those beside it ({some(again)}): a copy of them, or a "
                f"part of the dataset. If it is a copy, take {name!r} out; else put its pictures into those beside it."
            )
    common = set.intersection(*below.values()) if len(below) > 1 else set()
    if not common and len({without_number(name) for name in below}) == 1 < len(below):
        common = set.intersection(
            *({path[1] for path in paths if path[0] == name and path[1:]} for name in below)
        )
    if len({without_number(name) for name in common}) > 1 or len(set(filter(str.isdecimal, common))) > 1:
        raise DataError(
            f"The folders {some(sorted(below))} all hold folders called {some(sorted(common))}, so it is not clear "
            "which are the classes. If those inside are, open one of the outer folders alone, or put all pictures of a "
            "class into one folder; if the outer ones are, list the labels in a metadata.csv with the columns "
            "file_name and label."
        )


def check_no_shelves(paths: Iterable[Folders]) -> None:
    """Raise DataError where folders are letters, such as Places' a and b over a/abbey and b/bakery."""
    pairs = {path[:2] for path in paths if path}
    if len({pair[0] for pair in pairs}) > 1 and all(
        len(pair) == 2 and len(pair[0]) == 1 and pair[1].lower().startswith(pair[0].lower()) for pair in pairs
    ):
        raise DataError(
            f"The folders {some(sorted({pair[0] for pair in pairs}))} are the first letters of those inside, such as "
            f"{'/'.join(min(pairs))}: they sort classes and are none. Move the folders inside up, beside one another."
        )


def without_number(name: str) -> str:
    """Return a folder's name without its numbers: session1 and session2 number parts of one thing."""
    return re.sub(r"[\d\W_]+", "", name.lower())


def note_on_inside(paths: Iterable[Folders]) -> tuple[str, ...]:
    inside = sorted(
        {
            f"{path[0]}/{path[1]}"
            for path in paths
            if len(path) > 1 and (path[1].isdecimal() or not is_plain_name(path[1]))
        }
    )
    if not inside:
        return ()
    return (f"Folders inside those of the classes were read as parts of these classes: {some(inside)}.",)


def note_on_classes(classes: list[str]) -> tuple[str, ...]:
    told = sorted(name for name in classes if (found := meaning(name)) is not None and found.split)
    if not told or len(classes) < 2:
        return ()
    others = [name for name in classes if name not in told]
    return (
        f"{'The folder' if len(told) == 1 else 'The folders'} {some([repr(name) for name in told])} "
        f"{'is' if len(told) == 1 else 'are'} read as {'a class' if len(told) == 1 else 'classes'}, like "
        f"{some(others)} beside {'it' if len(told) == 1 else 'them'}, not as a split.",
    )


def notes_on_splits(told: dict[str, Meaning], left_out: list[str]) -> tuple[str, ...]:
    """Say how names other than the usual ones were read."""
    unusual = [
        f"{name} as {found.split}"
        for name, found in told.items()
        if found.split is not None and SPLIT_NAMES.get(name.lower()) != found.split
    ]
    read = (f"Folders were read as splits by their names: {some(sorted(unusual), 12)}.",) if unusual else ()
    if not left_out:
        return read
    named = some(sorted(name for name, found in told.items() if found.split is None))
    pictures = counted(len(left_out), "picture")
    return (*read, f"Not used: {pictures} in {named}, which by its name holds pictures without labels.")
