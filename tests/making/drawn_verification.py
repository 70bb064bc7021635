"""A verification on disk without any training: drawn answers, through the same tables a real one goes through."""

from pathlib import Path

import numpy as np

from influence_core.data import samples_from_arrays
from influence_core.repair import repairs
from influence_core.runs.run import Run
from influence_core.system import atomic
from influence_core.system.safe_tables import write_parquet
from influence_core.training.recipe import Recipe
from influence_core.verification import measurements as measured
from influence_core.verification.results import RESULT, new_folder
from influence_core.verification.trainings import Outcome

RIGHT = {"nothing": 0.70, "repair": 0.85, "random": 0.70, "oracle": 0.90}


def add_verification(
    run: Run, *, effect: bool = True, state: str = "finished", name: str = "by hand"
) -> Path:
    """Write a verification of the run's own proposal; without `effect` the repair is as good as no change."""
    generator, c, m = np.random.default_rng(0), len(run.classes), 400
    labels = np.arange(m) % c
    judged = samples_from_arrays(np.zeros((m, 3), np.float32), labels, classes=run.classes)
    ease = generator.random(m)
    share = RIGHT if effect else dict.fromkeys(RIGHT, 0.7)
    answers = {arm: [_answers(generator, labels, ease, share[arm], c) for _ in range(3)] for arm in RIGHT}
    repair = repairs.suggested(run)
    facts = {"name": name, "run": run.id, "made": repair.made, "fingerprint": "b" * 64, "parent": "a" * 64}
    facts |= {"by": {"rule": len(repair)}, "undone": 0, "samples": len(run.samples)}
    facts |= {action: repair.count(action) for action in repairs.ACTIONS}
    points = [
        {"name": f"group {i}", "size": 10.0 * (i + 1), "predicted": 30.0 * i - 60, "measured_loss": 0.02 * i - 0.05,
         "measured_accuracy": 0.01 - 0.004 * i, "seed": 0}
        for i in range(6)
    ]  # fmt: skip
    folder = new_folder(run)
    write_parquet(repair.changes.reset_index(), folder / "changes.parquet")
    content = {
        "format": 1, "state": state, "run": run.id, "made": f"2026-11-24T10:00:0{len(name) % 10}Z", "repair": facts,
        "recipe": Recipe().to_json(), "seeds": 3, "epsilon": 0.03, "judged_by": "test", "judged_samples": m,
        "classes": list(run.classes), "model": "c" * 40,
        **measured.summary(judged, answers, {arm: [_Version(repair)] for arm in RIGHT}),
        **(measured.fidelity(points) if state == "finished" else {}),
    }  # fmt: skip
    atomic.write_json(folder / RESULT, content)
    return folder


class _Version:
    """As much of a version as a table asks for."""

    def __init__(self, repair: repairs.Repair) -> None:
        self.repair, self.fingerprint = repair, "b" * 64


def _answers(
    generator: np.random.Generator, labels: np.ndarray, ease: np.ndarray, share: float, c: int
) -> Outcome:
    """Easy samples are right; which ones near the edge are right differs a little between trainings."""
    right = ease + generator.normal(0, 0.02, len(ease)) < share
    said = np.where(right, labels, (labels + 1) % c)
    table = np.full((len(labels), c), 0.1 / (c - 1), np.float32)
    table[np.arange(len(labels)), said] = 0.9
    return Outcome(table, table)
