"""A new version of the training data from decisions or a rule. The original is never changed.

    repair = decided(run, log)                    everything people decided
    repair = above(run, 0.5, label="shirt")       a rule: all of class shirt above suspicion 0.5
    version = repaired(train, repair)             the same samples under other labels and weights

A version keeps every row: a removed sample has weight 0, a down-weighted one less than 1. So trainings on two versions
meet the other samples in the same order. Its fingerprint depends on its content only: a repair that changes nothing has
its parent's fingerprint, and the same changes have the same one, whatever their author.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from influence_core.decisions.corrections import corrections
from influence_core.decisions.log import DecisionLog
from influence_core.errors import DataError, RunError
from influence_core.run_files.tables import RunTables
from influence_core.system.times import utc_now

if TYPE_CHECKING:
    from influence_core.data.samples import Samples

ACTIONS = ("relabel", "remove", "weigh")
TOOL = "rule"
SURE = 0.5  # samples with a less probable suggestion are removed instead of relabelled


@dataclass(frozen=True)
class Repair:
    """Changes to make, with their author and the run they come from.

    changes: index sample_id; columns action (relabel, remove, weigh), label_before, label_after (missing unless
        relabelled), weight (1 unless removed or weighed), by (a reviewer, or "rule").
    undone: how many decisions were undone before, for the report.
    aim: the fairness objective it should lower; None: accuracy.
    """

    name: str
    run: str
    changes: pd.DataFrame
    made: str = field(default_factory=utc_now)
    undone: int = 0
    aim: str | None = None

    def __len__(self) -> int:
        return len(self.changes)

    def count(self, action: str) -> int:
        return self.changes["action"].tolist().count(action)


@dataclass(frozen=True)
class Version:
    """The training samples after a repair: n rows in the order of the original.

    samples: n samples under the labels after the repair; weights: (n,) float32, 0 = removed.
    fingerprint: sha256 of its content; parent: that of the original samples.
    """

    samples: "Samples"
    weights: np.ndarray
    fingerprint: str
    parent: str
    repair: Repair

    def remaining(self) -> "Samples":
        """The samples that were not removed, for export and for training elsewhere."""
        return self.samples.select(np.flatnonzero(self.weights > 0))

    def to_json(self) -> dict[str, Any]:
        """The changes, their authors and the run: written beside every file made from this version."""
        changes = self.repair.changes
        return {
            "name": self.repair.name,
            "run": self.repair.run,
            "made": self.repair.made,
            "fingerprint": self.fingerprint,
            "parent": self.parent,
            "by": {str(name): int(count) for name, count in changes["by"].value_counts().items()},
            "undone": self.repair.undone,
            "aim": self.repair.aim,
            **{action: self.repair.count(action) for action in ACTIONS},
            "samples": int((self.weights > 0).sum()),
        }


def rows_of(table: pd.DataFrame) -> Iterator[Any]:
    """Rows by column name; Any, because no type checker knows a table's columns."""
    return iter(table.itertuples())


def changes_of(rows: Sequence[tuple[str, str, str, str | None, float, str]]) -> pd.DataFrame:
    """A table of changes from (sample_id, action, label_before, label_after, weight, by)."""
    columns = ["sample_id", "action", "label_before", "label_after", "weight", "by"]
    return pd.DataFrame(list(rows), columns=columns).set_index("sample_id")


def decided(run: RunTables, log: DecisionLog, *, name: str = "everything decided") -> Repair:
    """The changes that people decided: relabelled and removed samples; kept ones are no change."""
    table = corrections(run, log)
    rows = []
    for row in rows_of(table):
        if row.action == "relabel" and row.corrected_label != row.label:
            rows.append((row.sample_id, "relabel", row.label, row.corrected_label, 1.0, row.reviewer))
        elif row.action == "remove":
            rows.append((row.sample_id, "remove", row.label, None, 0.0, row.reviewer))
    tally = log.tally(run.id)
    undone = int(tally.loc[tally["action"] == "undo", "events"].sum())
    return Repair(name, run.id, changes_of(rows), undone=undone)


def most_suspicious(run: RunTables, k: int, *, label: str | None = None) -> Repair:
    """The k most suspicious samples, of one given label or of all, each with its suggested action."""
    table = _of_label(run, label).sort_values("suspicion", ascending=False, kind="stable").head(k)
    of = f" of class {label}" if label is not None else ""
    return _by_rule(run, table, f"the {len(table):,} most suspicious{of}")


def above(run: RunTables, cut: float, *, label: str | None = None) -> Repair:
    """Every sample of at least this suspicion, of one given label or of all."""
    table = _of_label(run, label)
    of = f"all of class {label}" if label is not None else "everything"
    return _by_rule(run, table.loc[(table["suspicion"] >= cut).to_numpy()], f"{of} from suspicion {cut:.2f}")


def leaving_out(run: RunTables, samples: Sequence[str], *, name: str, aim: str | None = None) -> Repair:
    """The removal of these samples; `aim`: the fairness objective it should lower."""
    labels = run.samples["label"].loc[list(samples)]
    rows = [(str(sample), "remove", str(label), None, 0.0, TOOL) for sample, label in labels.items()]
    return Repair(name, run.id, changes_of(rows), aim=aim)


def suggested(run: RunTables) -> Repair:
    """The proposal of the run itself: every sample from its own cut on."""
    return above(run, float(run.description["results"]["cut"]))


def suggested_action(row: Any) -> str:
    """The action of the rule for a sample in doubt: relabel if the suggestion is more likely right than not."""
    return "relabel" if row.suggested_probability >= SURE else "remove"


def repaired(train: "Samples", repair: Repair) -> Version:
    """Apply a repair to the samples of its run.

    Raises:
        DataError: a sample or label that `train` does not have, or a label that differs from the repaired one.
    """
    position_of = {sample: position for position, sample in enumerate(train.ids)}
    number = {name: position for position, name in enumerate(train.classes)}
    labels, weights = train.labels.copy(), np.ones(len(train), np.float32)
    for row in rows_of(repair.changes):
        position = position_of.get(str(row.Index))
        if position is None or train.classes[labels[position]] != row.label_before:
            raise DataError(
                f"The repair changes {row.Index!r} with the label {row.label_before!r}, which these "
                f"{len(train):,} training samples do not have. Give the dataset of the run."
            )
        if row.action == "relabel":
            if row.label_after not in number:
                raise DataError(
                    f"The repair gives {row.Index!r} the label {row.label_after!r}; expected one of the classes "
                    f"{', '.join(train.classes[:12])}. Decide this sample again."
                )
            labels[position] = number[row.label_after]
        weights[position] = row.weight
    relabelled = train.relabelled(labels)
    changed = (labels != train.labels).any() or (weights != 1).any()
    digest = fingerprint(relabelled.fingerprint, weights) if changed else train.fingerprint
    return Version(relabelled, weights, digest, train.fingerprint, repair)


def fingerprint(samples: str, weights: np.ndarray) -> str:
    """sha256 of a version: its samples with their labels, and their weights."""
    return hashlib.sha256(f"version 1 {samples} ".encode() + weights.astype("<f4").tobytes()).hexdigest()


def check_trainable(version: Version, *, needs: Sequence[int] = ()) -> None:
    """Raise unless a model can be trained on this version.

    Args:
        version: The repaired samples.
        needs: Labels (as numbers) that validation or test samples carry; default: the classes before the repair.

    Raises:
        DataError: no sample left, a class lost, or one sample of a class; the message names a way out.
    """
    remaining = np.bincount(
        version.samples.labels[version.weights > 0], minlength=len(version.samples.classes)
    )
    names, way = version.samples.classes, "Keep some of them on the Review page, or choose a smaller repair."
    if not remaining.sum():
        raise DataError(
            f"The repair '{version.repair.name}' removes all {len(version.samples):,} samples. {way}"
        )
    required = sorted({int(label) for label in needs}) or range(len(names))
    if lost := [names[label] for label in required if not remaining[label]]:
        raise DataError(
            f"After the repair '{version.repair.name}' no sample is left of {', '.join(lost[:5])}: a model trained on "
            f"it could never predict that class, and could not be compared with the one before. {way}"
        )
    if single := [names[label] for label in required if remaining[label] == 1]:
        raise DataError(
            f"After the repair '{version.repair.name}' a single sample is left of {', '.join(single[:5])}; one "
            f"sample is too few to learn from. {way}"
        )


def _of_label(run: RunTables, label: str | None) -> pd.DataFrame:
    table = run.samples
    if label is None:
        return table
    if label not in run.classes:
        raise RunError(f"The run has no class {label!r}; it has {', '.join(run.classes[:12])}.")
    return table.loc[(table["label"] == label).to_numpy()]


def _by_rule(run: RunTables, table: pd.DataFrame, name: str) -> Repair:
    rows = []
    for row in rows_of(table):
        action = suggested_action(row)
        after, weight = (row.suggested_label, 1.0) if action == "relabel" else (None, 0.0)
        rows.append((str(row.Index), action, row.label, after, weight, TOOL))
    return Repair(name, run.id, changes_of(rows))
