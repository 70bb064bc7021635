"""Detection benchmark: how well wrong labels are found, in every regime.

    python -m benchmarks.detection.run --cells CACHE [--fashion FOLDER] [--adult FILE] [--seeds 0 1] [--first N]
        [--tables] [--unseen FOLDER] [--kept] [--json FILE]

Cells of cells.py: data x noise x network x regime x validation labels. Each is trained once into CACHE and then scored
by the functions that the app calls; cells without data are left out and counted. Printed as Markdown: one row a cell,
then means over cells by regime with 95 % bootstrap intervals over cells.
    gap      AUROC of suspicion minus that of the best single signal of that cell (chosen by the truth)
    ECE      calibration error of suspicion, ten bins
    flagged  share of samples with suspicion of at least one half; on clean labels these are false flags
    passes   processor time of suspicion and of every other signal, without the sweep whose features they read, in
             training passes of that network over these samples
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
import torch

import influence_core as ic
from benchmarks.detection.cells import Cell, Trained, cells, is_kept, opened, table_cells, unseen_cells
from influence_core.analysis.sample_table import CUT, sample_table
from influence_core.data import Samples, samples_from_arrays
from influence_core.engine import batches as loop
from influence_core.judging.detection import detection_table
from influence_core.judging.expected_errors import TOLD, expected_errors
from influence_core.models import OpenedModel
from influence_core.scores.influence.worst_class import class_directions
from influence_core.scores.suspicion.evidence_layers import evidence_layers
from influence_core.scores.suspicion.input_view import input_view

SINGLE = (
    "loss",
    "margin",
    "el2n",
    "grad_norm",
    "grad_norm_l1",
    "outlier_forest",
    "outlier_l1",
    "outlier_l2",
    "influence_utility",
    "influence_worst_class",
    "layer_aware",
    "knn_shapley",
    "confident_learning",
)
RESAMPLES = 2000


def scored(made: Trained) -> tuple[pd.DataFrame, dict, dict[str, float]]:
    """The app's table and results of one cell, and CPU seconds of its parts and of one training pass."""
    names, model = made.model.classes, made.model.eval()
    train = samples_from_arrays(made.inputs, made.given, classes=names)
    val = samples_from_arrays(made.held_out, made.held_out_labels, classes=names, split="val")
    validated = made.cell.validation != "none"
    layers = evidence_layers(model, train)
    clock = [process_time()]
    directions = []
    if validated:
        directions = [ic.objective_gradient(model, val)]
        directions += class_directions(model, val, made.held_out_labels, loss="cross_entropy")
    swept = ic.sweep(model, train, directions=directions, features=layers, batch_size=100)
    held = ic.sweep(model, val, features=layers, sketch=0, batch_size=100) if validated else None
    clock.append(process_time())
    seen = input_view(model, train, val if validated else None)
    found = sample_table(
        swept,
        held,
        seen,
        ids=train.ids,
        labels=made.given,
        held_out_labels=made.held_out_labels if validated else np.zeros(0, dtype=np.int64),
        classes=names,
        objectives=["utility"] if validated else [],
        seed=0,
        on_progress=lambda stage, done, total: None,
    )
    clock.append(process_time())
    table = found.table.set_index("sample_id")
    if validated:
        table["layer_aware"] = ic.layer_aware_influence(model, train, val).numpy()
    scores = clock[2] - clock[1]
    cost = {"sweep": clock[1] - clock[0], "scores": scores, "passes": scores / training_pass(model, train)}
    return table, found.results, cost


def training_pass(model: OpenedModel, train: Samples) -> float:
    """Processor seconds of one pass forward and backward in batches of 100, weights untouched; the second of two."""
    taken = 0.0
    for _ in range(2):
        start = process_time()
        for batch in loop.batches(train, 100, like=model):
            torch.nn.functional.cross_entropy(model(batch.inputs), batch.labels).backward()
        taken = process_time() - start
    model.zero_grad(set_to_none=True)
    return taken


def counted(stated: np.ndarray, wrong: np.ndarray, support: float) -> dict[str, object]:
    """Whether the interval of the number of errors holds the truth (to half a label), and its width as a share.

    Before any decision, and when the 100 most suspicious or all flagged samples were reviewed without a mistake.
    """
    order, row = np.argsort(-stated, kind="stable"), {"told": support >= TOLD}
    for name, first in (("", 0), (" after 100", 100), (" after the queue", int((stated >= CUT).sum()))):
        decided = np.full(len(stated), np.nan)
        decided[order[:first]] = wrong[order[:first]]
        errors = expected_errors(stated, support, decided)
        row[f"inside{name}"] = bool(errors.low - 0.5 <= wrong.sum() <= errors.high + 0.5)
        row[f"width{name}"] = (errors.high - errors.low) / len(stated)
    return row


def calibration_error(stated: np.ndarray, wrong: np.ndarray) -> float:
    bins = np.minimum((stated * 10).astype(int), 9)
    gaps = [
        abs(stated[bins == b].mean() - wrong[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)
    ]
    return float(sum(gaps))


def measured(cell: Cell, cache: Path, sources: dict[str, Path]) -> dict[str, object]:
    """One row: qualities of every signal, calibration, flags and cost."""
    made = opened(cell, cache, sources)
    table, results, cost = scored(made)
    stated, wrong = table["suspicion"].to_numpy(), pd.Series(made.wrong, index=table.index)
    row: dict[str, object] = {
        "cell": cell.name,
        "regime": cell.regime if wrong.any() else "clean",
        "validation": cell.validation,
        "wrong": float(wrong.mean()),
        "expected": float(stated.mean()),
        "ece": calibration_error(stated, made.wrong),
        "flagged": float((stated >= CUT).mean()),
        **counted(stated, made.wrong, results["noise_support"]),
        "trusted": results["regime"],
        **cost,
    }
    if not wrong.any():
        return row
    quality = detection_table(table.assign(aum=made.aum), wrong)
    single = quality.loc[[name for name in SINGLE if name in quality.index], "auroc"]
    named = made.truth >= 0
    right = table["suggested_label"].to_numpy() == np.array(made.model.classes)[made.truth]
    return row | {
        **{name: float(quality.at[name, "auroc"]) for name in quality.index},
        "best": float(single.max()),
        "best_name": str(single.idxmax()),
        "gap": float(quality.at["suspicion", "auroc"] - single.max()),
        "above_loss": float(quality.at["suspicion", "auroc"] - quality.at["loss", "auroc"]),
        **{f"suspicion_{k}": float(quality.at["suspicion", k]) for k in quality.columns if k != "auroc"},
        "suggested_right": float(right[made.wrong & named].mean()) if (made.wrong & named).any() else np.nan,
    }


def markdown(rows: Sequence[dict[str, object]], columns: Sequence[str]) -> str:
    def text(value: object) -> str:
        return f"{value:.3f}" if isinstance(value, float) else str(value if value is not None else "")

    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(
        [*lines, *("| " + " | ".join(text(row.get(c, "")) for c in columns) + " |" for row in rows)]
    )


def summary(rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """Means by regime with 95 % bootstrap intervals over cells, and the worst gap."""
    table, found = pd.DataFrame(rows), []
    wrongs = table[table["regime"] != "clean"]
    for regime, part in [
        *wrongs.groupby("regime"),
        ("all with errors", wrongs),
        *table[table["regime"] == "clean"].groupby("regime"),
    ]:
        row: dict[str, object] = {"regime": regime, "cells": len(part)}
        columns = (
            "suspicion",
            "loss",
            "best",
            "gap",
            "above_loss",
            "suspicion_average_precision",
            "ece",
            "flagged",
            *SINGLE,
        )
        for name in columns:
            if name in part and part[name].notna().any():
                row[name] = interval(part[name].dropna().to_numpy(float), np.mean)
        if "inside" in part:
            row["truth inside the interval"] = f"{int(part['inside'].sum())} of {len(part)}"
        if "gap" in part and part["gap"].notna().any():
            row["lowest gap"] = float(part["gap"].min())
            row["gap at least -0.005"] = (
                f"{int((part['gap'] >= -0.005).sum())} of {int(part['gap'].notna().sum())}"
            )
        found.append(row)
    return found


def interval(values: np.ndarray, statistic: Callable[[np.ndarray], float]) -> str:
    rng = np.random.default_rng(0)
    drawn = [statistic(rng.choice(values, len(values))) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{statistic(values):.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description="Detection of planted label errors")
    parser.add_argument("--cells", type=Path, required=True, help="folder where trained cells are kept")
    parser.add_argument("--fashion", type=Path)
    parser.add_argument("--adult", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--first", type=int, help="only the first N cells of each seed; they are well mixed")
    parser.add_argument("--tables", action="store_true", help="the cells of tables.py instead")
    parser.add_argument("--unseen", type=Path, help="the cells of unseen.py instead, made of this folder")
    parser.add_argument("--kept", action="store_true", help="only cells that CACHE holds: nothing is trained")
    parser.add_argument("--json", type=Path, help="also write every number here, after each cell")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    sources = {
        name: path
        for name, path in (("fashion", asked.fashion), ("adult", asked.adult), ("unseen", asked.unseen))
        if path
    }
    planned = [cell for seed in asked.seeds for cell in list(cells(seed))[: asked.first]]
    planned = list(table_cells())[: asked.first] if asked.tables else planned
    planned = list(unseen_cells())[: asked.first] if asked.unseen else planned
    given = [cell for cell in planned if cell.data not in ("fashion", "adult") or cell.data in sources]
    given = [cell for cell in given if is_kept(cell, asked.cells)] if asked.kept else given
    rows: list[dict[str, object]] = []
    for cell in given:
        rows.append(measured(cell, asked.cells, sources))
        if asked.json:
            asked.json.write_text(json.dumps(rows, indent=1, default=float))
    shown = (
        "cell",
        "suspicion",
        "best",
        "best_name",
        "gap",
        "loss",
        "aum",
        "wrong",
        "expected",
        "ece",
        "flagged",
        "passes",
    )
    print(markdown(rows, shown))
    print(f"\n{len(planned) - len(given)} cells left out for want of data or, with --kept, of training.\n")
    total = summary(rows)
    print(markdown(total, list(dict.fromkeys(name for row in total for name in row))))


if __name__ == "__main__":
    main()
