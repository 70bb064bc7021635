"""Exports for cleanlab and Label Studio."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from influence_core.decisions.corrections import corrections
from influence_core.decisions.log import DecisionLog
from influence_core.errors import ExportError
from influence_core.runs.run import Run


def label_issues(run: Run, log: DecisionLog) -> pd.DataFrame:
    """Return cleanlab's table of label issues, one row per training sample, in the order of the run.

    Columns: sample_id; is_label_issue: as decided, else whether the suspicion reaches the run's cut; label_score in
    [0, 1], low is bad (cleanlab's sign): 1 - suspicion; given_label; predicted_label: the suggested label where the
    given one is in doubt or decided to be an issue, else the given one. As cleanlab expects, it comes from readers that
    never saw the label; a model that has memorised its labels would predict the given one in every row.
    """
    samples, decided = run.samples, corrections(run, log).set_index("sample_id")["action"]
    doubted = _doubted(run)
    flagged = doubted.copy()
    flagged[decided.index] = decided.to_numpy() != "keep"
    columns = {
        "sample_id": samples.index,
        "is_label_issue": flagged.to_numpy(),
        "label_score": 1 - samples["suspicion"].to_numpy(),
        "given_label": samples["label"].to_numpy(),
        "predicted_label": samples["suggested_label"].where(doubted | flagged, samples["label"]).to_numpy(),
    }
    return pd.DataFrame(columns)


def _doubted(run: Run) -> pd.Series:
    """Whether the suspicion of each sample reaches the run's cut."""
    cut = run.description.get("results", {}).get("cut")
    if cut is None:
        raise ExportError(f"The run {run.name} states no cut for its suspicion. Analyse again.")
    return run.samples["suspicion"] >= cut


def label_studio_tasks(
    run: Run,
    log: DecisionLog,
    image_url: Callable[[str], str],
    sample_ids: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Return tasks in Label Studio's import format: one per sample, with our prediction and the decision.

    The prediction is the suggested label where the given one is in doubt, else the given one; its score is the
    probability that it is right, by the evidence that made the suspicion.

    `image_url` gives the address of a picture by its sample id; `sample_ids` are in order, default all.
    """
    samples, decided = run.samples, corrections(run, log).set_index("sample_id")
    exported = samples.index if sample_ids is None else list(sample_ids)
    rows = samples.assign(doubted=_doubted(run)).loc[exported].to_dict("index")
    verdicts = decided.to_dict("index")
    return [_task(run, str(sample), rows[sample], verdicts.get(sample), image_url) for sample in exported]


def _task(
    run: Run,
    sample: str,
    row: dict[str, Any],
    verdict: dict[str, Any] | None,
    image_url: Callable[[str], str],
) -> dict[str, Any]:
    data = {"image": image_url(sample), "sample_id": sample, "given_label": str(row["label"])}
    shown = {"suspicion": _finite(row["suspicion"]), "reviewer": verdict["reviewer"] if verdict else None}
    label, score = row["label"], 1 - row["suspicion"]
    if row["doubted"]:
        label, score = row["suggested_label"], row["suggested_probability"]
    prediction = {"model_version": run.id, "score": _finite(score), "result": [_choice("label", str(label))]}
    return {"data": data | shown, "predictions": [prediction], "annotations": _annotations(verdict)}


def _annotations(verdict: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the annotations of a decision. A removed sample has no correct label: only the action."""
    if verdict is None:
        return []
    label = {"keep": verdict["label"], "relabel": verdict["corrected_label"]}.get(verdict["action"])
    choices = {"action": verdict["action"]} | ({} if label is None else {"label": str(label)})
    return [{"result": [_choice(name, value) for name, value in choices.items()]}]


def _choice(name: str, value: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": "image", "type": "choices", "value": {"choices": [value]}}


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
