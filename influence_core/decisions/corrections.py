"""Corrected labels: the decisions of a run applied to its training samples.

Law: every decided sample is one row, in the order of the run. A decision on a sample that the run does not have is an
error, never dropped.
"""

from dataclasses import dataclass

import pandas as pd

from influence_core.decisions.log import DecisionLog
from influence_core.errors import ExportError
from influence_core.run_files.tables import RunTables


@dataclass(frozen=True)
class ExportCounts:
    """Numbers of training samples by decision; they add up to total."""

    kept: int
    relabelled: int
    removed: int
    undecided: int
    total: int


def counts(run: RunTables, log: DecisionLog) -> ExportCounts:
    """Count the current decisions of a run."""
    actions = _decided(run, log)["action"].tolist()
    kept, relabelled, removed = (actions.count(name) for name in ("keep", "relabel", "remove"))
    total = len(run.samples)
    return ExportCounts(kept, relabelled, removed, total - kept - relabelled - removed, total)


def not_checked(run: RunTables) -> str:
    """Say which samples no review reaches: those of validation and test, whose labels have no suspicion.

    Empty for a run without such samples. Runs of older versions do not say whether validation was set aside.
    """
    facts = run.description["inputs"]["dataset"]
    sizes = [
        (int(facts.get(f"n_{split}") or 0), name) for split, name in (("val", "validation"), ("test", "test"))
    ]
    parts = [f"{size:,} {name} sample{'s' * (size != 1)}" for size, name in sizes if size]
    if not parts:
        return ""
    said = f"{' and '.join(parts)} were not checked: only training labels get a suspicion, so these keep their labels."
    if set_aside := int(facts.get("set_aside") or 0):
        said += f" The {set_aside:,} for validation were set aside from the training samples of the dataset."
    return said


def corrections(run: RunTables, log: DecisionLog) -> pd.DataFrame:
    """Return one row per decided sample, in the order of the run.

    Columns: sample_id, label (given in the dataset), corrected_label (of a relabelled sample, else
    missing), action, suggested_label, suspicion, reviewer, time (UTC).
    """
    decided = _decided(run, log)
    rows = run.samples.loc[decided.index]
    frame = pd.DataFrame({"sample_id": decided.index, "label": rows["label"].to_numpy()})
    frame["corrected_label"] = decided["label_after"].to_numpy()
    frame["action"] = decided["action"].to_numpy()
    for name in ("suggested_label", "suspicion"):
        frame[name] = rows[name].to_numpy() if name in rows else None
    frame["reviewer"] = decided["reviewer"].to_numpy()
    frame["time"] = decided["time"].array
    return frame


def corrected_labels(run: RunTables, log: DecisionLog) -> pd.DataFrame:
    """Return one row per training sample that was not removed: sample_id, label (as decided), original_label."""
    decided = _decided(run, log)
    labels = pd.DataFrame({"original_label": run.samples["label"].astype("str")})
    renamed = decided[decided["action"] == "relabel"]
    labels.insert(0, "label", labels["original_label"])
    labels.loc[renamed.index, "label"] = renamed["label_after"]
    removed = decided[decided["action"] == "remove"]
    return labels.drop(index=removed.index).rename_axis("sample_id").reset_index()


def _decided(run: RunTables, log: DecisionLog) -> pd.DataFrame:
    """Return the current decisions, in the order of the run."""
    current = log.current(run.id)
    foreign = current.index.difference(run.samples.index)
    if len(foreign):
        raise ExportError(
            f"{len(foreign):,} decisions are about samples that the run {run.name} does not have, such as "
            f"{foreign[0]!r}. The log belongs to another run with the id {run.id}; nothing was exported."
        )
    return current.loc[[sample for sample in run.samples.index if sample in current.index]]
