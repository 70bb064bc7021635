"""Names that tell of a split: train, seg_train, imagesTr, "Training Set", test1, my-data-val, mytest beside mytrain.

A name is cut into words, at other characters and at changes of case or to digits. Exactly one of its words must name a
split; what is left of the name, without words such as "images", is its `rest`: seg for seg_train. One name alone proves
little: "test tube" and, of COCO's classes, "train". So names are judged beside their neighbours: split_folders.py.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from influence_core.data.rows import SPLIT_NAMES
from influence_core.data.samples import Split

WORDS: dict[str, Split] = {
    **SPLIT_NAMES,
    "trainval": "train", "tr": "train", "trn": "train",
    "validate": "val", "devel": "val", "eval": "val", "evaluation": "val",
    "tst": "test", "ts": "test", "holdout": "test",
}  # fmt: skip
UNLABELLED = {
    "pred", "preds", "predict", "prediction", "predictions", "unlabeled", "unlabelled", "unknown",
}  # fmt: skip
"""Words for pictures that nobody has labelled: they belong to no split."""
PLAIN = {
    "set", "sets", "data", "dataset", "image", "images", "img", "imgs", "jpeg", "jpg", "jpegimages", "png", "photo",
    "photos", "pic", "pics", "picture", "pictures", "folder", "dir", "split", "part", "sample", "samples", "all",
    "label", "labels", "labeled", "labelled", "annotation", "annotations", "list", "file", "files",
}  # fmt: skip
"""Words of a name that say nothing of what is inside."""
OVERLAYS = {
    "mask", "masks", "segmentation", "segmentations", "seg", "gt", "groundtruth", "heatmaps", "depth", "class",
    "object",
}  # fmt: skip
"""Words for pictures that belong to other pictures, such as VOC's SegmentationClass."""
HOLDERS = {
    "image", "images", "img", "imgs", "jpeg", "jpg", "png", "photo", "photos", "pic", "pics", "picture", "pictures",
    "folder", "dir", "part", "batch", "chunk", "shard",
}  # fmt: skip
"""Words that, with a number, name parts of a dataset: images_001."""
CODES = ("tr", "ts")
"""Words that are codes of countries as well, where a neighbour such as "DE" tells of no split."""
JUDGES = {"eval", "evaluation"}
"""Words for validation, or for the test where something else is for validation."""
CUT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
LONG = "|".join(sorted((word for word in (*WORDS, *UNLABELLED) if len(word) > 2), key=len, reverse=True))
GLUED = re.compile(rf"(?P<before>[a-z]*?)(?P<word>{LONG})(?P<after>[a-z]*)")


@dataclass(frozen=True)
class Meaning:
    """The split that a name tells of, None for pictures without labels, and the rest of the name."""

    split: Split | None
    rest: tuple[str, ...] = ()
    judge: bool = False


def meaning(name: str) -> Meaning | None:
    """Return what a name tells of its split; None for a name without such a word, or with two that differ."""
    words = [part for word in CUT.findall(name) for part in unglued(word.lower())]
    told: set[Split | None] = {WORDS.get(word) for word in words if word in WORDS or word in UNLABELLED}
    if told == {"train", "val"} and len(words) == 2:
        told = {"train"}  # "train_val" holds both, to be trained on
    if len(told) != 1:
        return None
    rest = tuple(word for word in words if not (word in WORDS or is_plain(word)) and word not in UNLABELLED)
    return Meaning(told.pop(), rest, judge=bool(JUDGES & set(words)))


def unglued(word: str) -> tuple[str, ...]:
    """Cut "trainset" into train and set; other words stay whole, "latest" and "trained" among them."""
    match = GLUED.fullmatch(word)
    if match and all(part in PLAIN or not part for part in (match["before"], match["after"])):
        return tuple(part for part in match.groups() if part)
    return (word,)


def plain_name(name: str) -> str:
    """Return the words of a name in lower case: class_name for ClassName."""
    return "_".join(word.lower() for word in CUT.findall(name))


def is_plain(word: str) -> bool:
    """Whether a word says nothing of what is inside: "images", a number, a lone letter such as the x of x_train."""
    return word in PLAIN or word.isdecimal() or word in ("x", "the", "of", "my")


def is_plain_name(name: str) -> bool:
    """Whether a folder's name says nothing of the class of what is inside: "images", "train", "unknown"."""
    words = [part for word in CUT.findall(name) for part in unglued(word.lower())]
    return bool(words) and all(is_plain(word) or word in WORDS or word in UNLABELLED for word in words)


def is_classless(names: Iterable[str]) -> bool:
    """Whether neighbours are kinds of files, such as images beside masks, rather than classes."""
    words = [{word.lower() for word in CUT.findall(name)} for name in names]
    return all(word and word <= PLAIN | OVERLAYS | UNLABELLED for word in words)


def are_parts(names: Collection[str]) -> bool:
    """Whether neighbours only number parts of a dataset: images_001 and images_002."""
    words = [[word.lower() for word in CUT.findall(name)] for name in names]
    rests = {tuple(word for word in cut if not word.isdecimal()) for cut in words}
    return len(names) > 1 and len(rests) == 1 and bool(HOLDERS & set(rests.pop()))


def meanings(names: Iterable[str]) -> dict[str, Meaning]:
    """Return what each of several neighbours tells; names that tell nothing are left out.

    Words grown together count where two neighbours differ in the split alone: mytrain beside mytest, not strain.
    """
    names = list(dict.fromkeys(names))
    told = {name: found for name in names if (found := meaning(name)) is not None}
    if len(told) < len(names):
        told = {name: found for name, found in told.items() if name.lower() not in CODES}
    grown = {name: grown_together(name) for name in names if name not in told}
    for name, found in grown.items():
        if found and any(
            other and other.rest == found.rest and other.split != found.split for other in grown.values()
        ):
            told[name] = found
    if any(found.split == "val" and not found.judge for found in told.values()):
        told = {name: Meaning("test", found.rest) if found.judge else found for name, found in told.items()}
    return told


def grown_together(name: str) -> Meaning | None:
    """Return what a single word such as "mytrain" would tell, its rest being what it is grown together with."""
    for match in re.finditer(rf"(?=({LONG}))", name.lower()):
        start, end = match.span(1)
        if start == 0 or end == len(name):
            return Meaning(WORDS.get(match[1]), (name[:start].lower(), name[end:].lower()))
    return None
