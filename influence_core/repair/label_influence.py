"""`Advice`: the influence of samples in doubt under other labels, stored beside the run and read without torch."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from influence_core.errors import DamagedError, RunError
from influence_core.run_files import seals
from influence_core.run_files.tables import RunTables
from influence_core.system import atomic

FOLDER, ARRAYS, FACTS = "advice", "products.npz", "advice.json"
FLOOR = 0.3  # suspicion from which samples are prepared: below it a rule hardly changes anything


@dataclass(frozen=True)
class PredictedObjective:
    """One objective to predict. kind: "run" (a column of the run), "class" or "group"."""

    name: str
    kind: str
    title: str


@dataclass(frozen=True)
class Advice:
    """Influence of s prepared samples under c labels on k objectives; products (s, c, k), NaN where not prepared.

    reference: (s,) bool, the random samples from which random batches are drawn.
    """

    objectives: tuple[PredictedObjective, ...]
    ids: tuple[str, ...]
    products: np.ndarray
    reference: np.ndarray
    given: np.ndarray
    suggested: np.ndarray

    def row(self, sample: str) -> int | None:
        """The row of a sample, None where it was not prepared."""
        return self.rows.get(sample)

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each sample."""
        return {sample: row for row, sample in enumerate(self.ids)}


def read_advice(run: RunTables) -> Advice | None:
    """The advice that `prepare` stored for this run, or None."""
    folder = run.path / FOLDER
    if not (folder / FACTS).exists():
        return None
    try:
        facts = seals.read_json(folder / FACTS)
    except DamagedError as error:
        raise RunError(f"{error} Delete this folder and predict again.") from error
    complete = (folder / ARRAYS).is_file() and facts.get("sha256") == atomic.sha256(folder / ARRAYS)
    if facts.get("run") != run.id or not complete:
        raise RunError(
            f"{folder} belongs to another run or was changed. Delete this folder and predict again."
        )
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        products, positions = arrays["products"], arrays["positions"]
    return advice_of(
        run, tuple(PredictedObjective(**aim) for aim in facts["aims"]), positions, products, facts["flagged"]
    )


def candidate_labels(run: RunTables, position: int, most: int) -> list[int]:
    """The given label first, then the suggestion, then the classes the model finds most probable."""
    row = run.samples.iloc[position]
    order = np.argsort(-run.probabilities[position], kind="stable")
    wanted = [run.classes.index(row["label"]), run.classes.index(row["suggested_label"]), *order.tolist()]
    return [int(label) for label in dict.fromkeys(wanted)][: max(2, most)]


def advice_of(
    run: RunTables,
    objectives: tuple[PredictedObjective, ...],
    positions: np.ndarray,
    products: np.ndarray,
    flagged: int,
) -> Advice:
    rows = run.samples.iloc[positions]
    number = {name: position for position, name in enumerate(run.classes)}
    return Advice(
        objectives=objectives,
        ids=tuple(map(str, rows.index)),
        products=products,
        reference=np.arange(len(positions)) >= flagged,
        given=np.array([number[name] for name in rows["label"]], dtype=np.int64),
        suggested=np.array([number[name] for name in rows["suggested_label"]], dtype=np.int64),
    )


def write_advice(run: RunTables, advice: Advice) -> None:
    """Store the advice beside the run."""
    folder = run.path / FOLDER
    folder.mkdir(exist_ok=True)
    with atomic.writing(folder / ARRAYS) as file:
        np.savez(file, products=advice.products, positions=positions_of(run, advice.ids))
    facts = {
        "run": run.id,
        "sha256": atomic.sha256(folder / ARRAYS),
        "flagged": int((~advice.reference).sum()),
        "aims": [asdict(aim) for aim in advice.objectives],
    }
    seals.write_json(folder / FACTS, facts)


def positions_of(run: RunTables, ids: pd.Index | Sequence[str]) -> np.ndarray:
    """Rows of these samples, (s,) int64."""
    return np.array([run.position(str(sample)) for sample in ids], dtype=np.int64)
