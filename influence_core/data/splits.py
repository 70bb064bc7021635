"""Division of rows into train, validation and test samples, with the checks common to all formats.

In this order:

    ids are unique, and every row or none names its split
    labels that differ in the encoding of accents alone are one
    every row has a label; a validation or test split without any is left out
    every input can be read, or is skipped with the user's consent and a note
    there are two classes or more
    a validation set exists, or is carved out of train, stratified by class and seeded
    no split holds a class that train lacks

Every decision becomes a note in plain words.
"""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from influence_core.data.likeness import likely_slip, likeness_notes, says_no_label
from influence_core.data.rows import Rows, counted, some
from influence_core.data.samples import SPLITS, Samples, Split, repeated
from influence_core.data.storage.content import Content
from influence_core.errors import DataError
from influence_core.system.report import Report

SHOWN_FAULTS = 5
CHUNK = 256


def divide(
    rows: Rows,
    *,
    validation_share: float,
    seed: int,
    skip_unreadable: bool,
    classes: Sequence[str] | None = None,
    report: Report | None = None,
) -> tuple[dict[Split, Samples], tuple[str, ...]]:
    """Check the rows and return the samples of each split, with notes on the decisions made."""
    if not 0 < validation_share < 1:
        raise DataError(
            f"validation_share is {validation_share}; expected a share between 0 and 1, such as 0.15."
        )
    check_ids(rows.ids)
    check_splits(rows)
    rows = in_one_form(rows)
    used, unlabelled = labelled_splits(rows)
    labels = check_labels(rows, used)
    digests, readable, skipped = read_all(rows, used, skip_unreadable, report)
    names = class_order(rows, [labels[row] for row in readable], classes)
    splits, carved = carve(rows.splits, labels, readable, validation_share, seed)
    check_classes_known(splits, labels)
    parts: dict[Split, Samples] = {
        split: take(rows, split, positions, labels, names, digests)
        for split, positions in splits.items()
        if len(positions)
    }
    likeness = likeness_notes([labels[row] for row in readable])
    return parts, (*rows.notes, *likeness, *unlabelled, *skipped, *carved)


def check_ids(ids: list[str]) -> None:
    if len(set(ids)) < len(ids):
        raise DataError(
            f"{repeated(ids)}. Every sample needs a unique id: rename or remove the repeated ones."
        )


def check_splits(rows: Rows) -> None:
    """Raise DataError unless every row or none names its split: a guess could train on test samples."""
    missing = [sample for sample, split in zip(rows.ids, rows.splits, strict=True) if split is None]
    if 0 < len(missing) < len(rows.ids):
        raise DataError(
            f"{len(missing):,} of {len(rows.ids):,} samples name no split, the others do: {some(missing)}. "
            "Give each a split (train, val or test), or remove the split column."
        )


def in_one_form(rows: Rows) -> Rows:
    """Return the rows with each label composed (NFC) that also occurs in another form, as between macOS and others."""
    forms: dict[str, set[str]] = defaultdict(set)
    for label in {label for label in rows.labels if label is not None}:
        forms[composed(label)].add(label)
    one = {form: name for name, several in forms.items() if len(several) > 1 for form in several}
    if not one:
        return rows
    names = sorted({repr(name) for name in one.values()})
    note = f"Labels that look the same but encode their accents in two ways were read as one: {some(names)}."
    return replace(
        rows,
        labels=[None if label is None else one.get(label, label) for label in rows.labels],
        classes=rows.classes and tuple(dict.fromkeys(one.get(name, name) for name in rows.classes)),
        notes=(*rows.notes, note),
    )


def composed(label: str) -> str:
    return label if label.isascii() else unicodedata.normalize("NFC", label)


def labelled_splits(rows: Rows) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the rows to use, without a validation or test split that has no label at all, and notes on these.

    Published test sets often come without labels, or with -1 for each: that counts unless -1 is a class of train.
    """
    without: dict[str, set[str | None]] = {
        split: {
            label for name, label in zip(rows.splits, rows.labels, strict=True) if (name or "train") == split
        }
        for split in SPLITS
    }
    empty = {None, ""} if "-1" in without["train"] else {None, "", "-1"}
    held_out: tuple[Split, ...] = ("val", "test")
    left_out = [split for split in held_out if without[split] and without[split] <= empty]
    used = np.flatnonzero([split not in left_out for split in rows.splits])
    return used, tuple(
        f"The {split} split was not used: none of its {counted(sum(name == split for name in rows.splits), 'sample')} "
        "has a label."
        for split in left_out
    )


def check_labels(rows: Rows, used: np.ndarray) -> list[str]:
    """Return the labels as class names, "" for rows not used; raise DataError where a label is missing."""
    missing = [rows.ids[row] for row in used if rows.labels[row] is None]
    if missing:
        raise DataError(
            f"{len(missing):,} of {len(used):,} samples have no label (empty or NaN): {some(missing)}. "
            f"Give each a label, or remove them."
        )
    return [label or "" for label in rows.labels]


def read_all(
    rows: Rows, used: np.ndarray, skip: bool, report: Report | None = None
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Read every used input once; return digests (n, 32) uint8, positions of readable rows, a note on skipped ones."""
    results = digest_all(rows.content, used, report)
    faults = [
        f"{rows.ids[row]} ({result})"
        for row, result in zip(used, results, strict=True)
        if isinstance(result, DataError)
    ]
    if faults and not skip:
        raise DataError(
            f"{len(faults):,} of {len(results):,} samples cannot be read: {some(faults, SHOWN_FAULTS)}. "
            f"Repair or remove them, or agree to leave them out (skip_unreadable=True)."
        )
    good = np.array([isinstance(result, bytes) for result in results], dtype=bool)
    if not good.any():
        raise DataError(f"None of the {len(results):,} samples can be read: {some(faults, SHOWN_FAULTS)}.")
    digests = np.zeros((len(rows.ids), 32), dtype=np.uint8)
    joined = b"".join(result for result in results if isinstance(result, bytes))
    digests[used[good]] = np.frombuffer(joined, dtype=np.uint8).reshape(-1, 32)
    note = f"Left out {counted(len(faults), 'sample')} that cannot be read: {some(faults, 20)}."
    return digests, used[good], (note,) if faults else ()


def digest_all(content: Content, used: np.ndarray, report: Report | None = None) -> list[bytes | DataError]:
    """Digest every used row in several threads: decoding releases Python's lock."""

    def digest(row: int) -> bytes | DataError:
        try:
            return content.digest(row)
        except DataError as error:
            return error

    starts = range(0, len(used), CHUNK)
    results: list[bytes | DataError] = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for chunk in pool.map(
            lambda start: [digest(int(row)) for row in used[start : start + CHUNK]], starts
        ):
            results += chunk
            if report:
                report("Reading", len(results), len(used))
    return results


def class_order(rows: Rows, labels: list[str], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return the class names in the requested order, else in that of the source, else sorted."""
    present = sorted(set(labels))
    if len(present) < 2:
        raise DataError(
            f"All {len(labels):,} samples have the label {present[0]!r}. Two classes or more are needed: check "
            "that each class has its own folder, or that the label column is the right one."
        )
    form = {composed(name): name for name in present}
    asked = [form.get(composed(name), name) for name in wanted or ()]
    order = tuple(asked) if wanted is not None else rows.classes or tuple(present)
    unknown = sorted(set(present) - set(order))
    if unknown or len(set(order)) < len(order):
        raise DataError(
            f"The dataset has {len(present)} classes: {some(present, 12)}. The requested order has {len(order)}: "
            f"{some(list(order), 12)}. It must name each class once"
            + (f"; missing: {some(unknown)}." if unknown else ".")
        )
    return order


def carve(
    splits: list[Split | None], labels: list[str], readable: np.ndarray, share: float, seed: int
) -> tuple[dict[Split, np.ndarray], tuple[str, ...]]:
    """Group the readable rows by split; take a validation set out of train when there is none."""
    named = np.array([splits[row] or "train" for row in readable])
    parts: dict[Split, np.ndarray] = {split: readable[named == split] for split in SPLITS}
    if not len(parts["train"]):
        raise DataError(
            f"No training samples: found {len(parts['val']):,} for validation and {len(parts['test']):,} for "
            "test. Name the training part train, as a folder or in the split column."
        )
    if len(parts["val"]):
        return parts, ()
    total = len(parts["train"])
    parts["val"] = stratified_share(parts["train"], labels, share, seed)
    parts["train"] = np.setdiff1d(parts["train"], parts["val"])
    note = (
        f"No validation set was given: {len(parts['val']):,} of {total:,} training samples were set aside "
        f"for it ({share:.0%} of each class, seed {seed})."
    )
    return parts, (note, *note_on_single(parts, labels))


def stratified_share(rows: np.ndarray, labels: list[str], share: float, seed: int) -> np.ndarray:
    """Draw the same share of each class: at least one sample of it, never all of them; a single one stays."""
    generator = np.random.default_rng(seed)
    names = np.array([labels[row] for row in rows])
    drawn = []
    for name in np.unique(names):
        members = rows[names == name]
        count = min(max(1, round(share * len(members))), len(members) - 1)
        if count:
            drawn.append(generator.choice(members, size=count, replace=False))
    if not drawn:
        raise DataError(
            f"Each of the {len(rows):,} classes has a single sample, so no validation set can be taken out of train. "
            "Add samples, give a validation set, or check that the label column is the right one."
        )
    return np.sort(np.concatenate(drawn))


def note_on_single(parts: dict[Split, np.ndarray], labels: list[str]) -> tuple[str, ...]:
    """Say which classes have one sample, which stays in train."""
    held_out = {labels[row] for row in parts["val"]}
    single = sorted({labels[row] for row in parts["train"]} - held_out)
    if not single:
        return ()
    named = some([repr(name) for name in single])
    if len(single) == 1:
        return (
            f"Class {named} has a single sample, which stays in train: the validation set holds none of it.",
        )
    return (
        f"{len(single):,} classes have a single sample, which stays in train, not in validation: {named}.",
    )


def check_classes_known(splits: dict[Split, np.ndarray], labels: list[str]) -> None:
    """Raise DataError for classes that train lacks: they cannot be learned, and their scores would be meaningless."""
    trained = {labels[row] for row in splits["train"]}
    for split in ("val", "test"):
        untrained = Counter(labels[row] for row in splits[split] if labels[row] not in trained)
        if untrained:
            named = some(
                [f"{name!r} ({counted(count, 'sample')})" for name, count in untrained.most_common()]
            )
            raise DataError(
                f"The {split} split holds classes that train lacks: {named}. Train has "
                f"{some(sorted(trained), 12)}. {way_out(sorted(untrained), trained, split)}"
            )


def way_out(untrained: Sequence[str], trained: Collection[str], split: Split) -> str:
    """Say what to do about classes that train lacks: most often they are classes of train in another spelling."""
    renames = [f"{name!r} as {known!r}" for name in untrained if (known := likely_slip(name, trained))]
    rest = f"Add training samples of these classes, or take the classes out of {split}."
    if not renames and all(map(says_no_label, untrained)):
        return f"If that means 'no label', leave these labels empty. {rest}"
    if not renames:
        return rest
    slip = f"They look like classes of train in another spelling: in {split}, write {some(renames)}."
    return slip if len(renames) == len(untrained) else f"{slip} As to the others: {rest[0].lower()}{rest[1:]}"


def take(
    rows: Rows,
    split: Split,
    positions: np.ndarray,
    labels: list[str],
    names: tuple[str, ...],
    digests: np.ndarray,
) -> Samples:
    number = {name: index for index, name in enumerate(names)}
    ids = [rows.ids[row] for row in positions]
    groups = rows.groups.iloc[positions].set_axis(ids, axis=0).rename_axis(index="sample_id")
    return Samples(
        rows.content,
        rows=positions,
        ids=ids,
        labels=np.array([number[labels[row]] for row in positions], dtype=np.int64),
        classes=names,
        split=split,
        groups=groups,
        digests=digests[positions],
    )
