"""Division of rows into train, validation and test samples, with the checks common to all formats.

In this order:

    ids are unique, and every row or none names its split
    every row has a label
    every input can be read, or is skipped with the user's consent and a note
    there are two classes or more
    a validation set exists, or is carved out of train, stratified by class and seeded
    no split holds a class that train lacks

Every decision becomes a note in plain words.
"""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

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
    labels = check_labels(rows)
    digests, readable, skipped = read_all(rows, skip_unreadable, report)
    names = class_order(rows, [labels[row] for row in readable], classes)
    splits, carved = carve(rows.splits, labels, readable, validation_share, seed)
    check_classes_known(splits, labels)
    parts: dict[Split, Samples] = {
        split: take(rows, split, positions, labels, names, digests)
        for split, positions in splits.items()
        if len(positions)
    }
    return parts, (*rows.notes, *likeness_notes([labels[row] for row in readable]), *skipped, *carved)


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


def check_labels(rows: Rows) -> list[str]:
    """Return the labels as class names; raise DataError where a label is missing."""
    missing = [sample for sample, label in zip(rows.ids, rows.labels, strict=True) if label is None]
    if missing:
        raise DataError(
            f"{len(missing):,} of {len(rows.ids):,} samples have no label (empty or NaN): {some(missing)}. "
            f"Give each a label, or remove them."
        )
    return [str(label) for label in rows.labels]


def read_all(
    rows: Rows, skip: bool, report: Report | None = None
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Read every input once; return digests (n, 32) uint8, positions of readable rows, a note on skipped ones."""
    results = digest_all(rows.content, report)
    faults = [
        f"{rows.ids[row]} ({result})" for row, result in enumerate(results) if isinstance(result, DataError)
    ]
    if faults and not skip:
        raise DataError(
            f"{len(faults):,} of {len(results):,} samples cannot be read: {some(faults, SHOWN_FAULTS)}. "
            f"Repair or remove them, or agree to leave them out (skip_unreadable=True)."
        )
    readable = np.flatnonzero([isinstance(result, bytes) for result in results])
    if not len(readable):
        raise DataError(f"None of the {len(results):,} samples can be read: {some(faults, SHOWN_FAULTS)}.")
    joined = b"".join(result if isinstance(result, bytes) else bytes(32) for result in results)
    digests = np.frombuffer(joined, dtype=np.uint8).reshape(-1, 32)
    note = f"Left out {counted(len(faults), 'sample')} that cannot be read: {some(faults, 20)}."
    return digests, readable, (note,) if faults else ()


def digest_all(content: Content, report: Report | None = None) -> list[bytes | DataError]:
    """Digest every row in several threads: decoding releases Python's lock."""

    def digest(row: int) -> bytes | DataError:
        try:
            return content.digest(row)
        except DataError as error:
            return error

    starts = range(0, len(content), CHUNK)
    results: list[bytes | DataError] = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for chunk in pool.map(
            lambda start: [digest(row) for row in range(start, min(start + CHUNK, len(content)))], starts
        ):
            results += chunk
            if report:
                report("Reading", len(results), len(content))
    return results


def class_order(rows: Rows, labels: list[str], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return the class names in the requested order, else in that of the source, else sorted."""
    present = sorted(set(labels))
    if len(present) < 2:
        raise DataError(
            f"All {len(labels):,} samples have the label {present[0]!r}. Two classes or more are needed: check "
            "that each class has its own folder, or that the label column is the right one."
        )
    order = tuple(wanted) if wanted is not None else rows.classes or tuple(present)
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
    return parts, (note,)


def stratified_share(rows: np.ndarray, labels: list[str], share: float, seed: int) -> np.ndarray:
    """Draw the same share of each class: at least one sample of it, never all of them."""
    generator = np.random.default_rng(seed)
    names = np.array([labels[row] for row in rows])
    drawn = []
    for name in np.unique(names):
        members = rows[names == name]
        if len(members) < 2:
            raise DataError(
                f"Class {str(name)!r} has a single sample, so no validation set can be taken out of train. "
                f"Add samples, remove the class, or give a validation set."
            )
        count = min(max(1, round(share * len(members))), len(members) - 1)
        drawn.append(generator.choice(members, size=count, replace=False))
    return np.sort(np.concatenate(drawn))


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
