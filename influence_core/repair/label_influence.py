"""Which samples are prepared for predictions, and what was found for them? Kept beside the run, read without torch.

Prepared are all samples in doubt, those somebody decided on, and some random ones of every class as a yardstick; each
under its given label and its candidate labels (candidate_labels.py does the sweep).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from influence_core.errors import RunError
from influence_core.run_files.tables import Run
from influence_core.system import atomic

if TYPE_CHECKING:
    from influence_core.inputs.reopened import Inputs

FOLDER, ARRAYS, FACTS = "advice", "products.npz", "advice.json"
FLOOR = 0.3  # suspicion from which samples are prepared: below it a rule would hardly change anything
MOST_FLAGGED = 3000
REFERENCE = 20  # random samples of each given label, for the comparison with random batches
FULL = 10  # classes up to which every label is a candidate
CANDIDATES = 4  # otherwise: given, suggested, and the most probable others

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Aim:
    """One objective to be predicted. kind: "run" (a column of the run), "class" or "group"."""

    name: str
    kind: str
    title: str


@dataclass(frozen=True)
class Advice:
    """Influence of s prepared samples under c labels on k objectives; products (s, c, k), NaN where not prepared.

    reference: (s,) bool, the random samples that stand for what a random batch would do.
    """

    aims: tuple[Aim, ...]
    ids: tuple[str, ...]
    products: np.ndarray
    reference: np.ndarray
    given: np.ndarray
    suggested: np.ndarray

    def row(self, sample: str) -> int | None:
        return self._rows.get(sample)

    @property
    def _rows(self) -> dict[str, int]:
        return {sample: row for row, sample in enumerate(self.ids)}


def prepare(
    run: Run, inputs: "Inputs", *, also: tuple[str, ...] = (), on_progress: Progress | None = None
) -> Advice:
    """Sweep the samples in doubt, and those in `also`, under their candidate labels; kept beside the run."""
    from influence_core.repair.candidate_labels import (  # brings torch: readers of advice need not wait
        aims,
        pair_products,
    )

    flagged, reference = _chosen(run, also)
    positions = np.concatenate([flagged, reference])
    known = aims(run, inputs)
    c = len(run.classes)
    most = c if c <= FULL else CANDIDATES
    pairs = [(row, p, label) for row, p in enumerate(positions) for label in candidate_labels(run, p, most)]
    rows, at, labels = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    products = np.full((len(positions), c, len(known)), np.nan, np.float32)
    directions = [direction for _, direction in known]
    products[rows, labels] = pair_products(inputs, at, labels, directions, on_progress=on_progress)
    advice = _advice(run, tuple(aim for aim, _ in known), positions, products, len(flagged))
    _write(run, advice)
    return advice


def read_advice(run: Run) -> Advice | None:
    """What prepare kept for this run, or None."""
    folder = run.path / FOLDER
    if not (folder / FACTS).exists():
        return None
    facts = atomic.read_json(folder / FACTS)
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        products, positions = arrays["products"], arrays["positions"]
    if facts.get("run") != run.id or facts.get("sha256") != atomic.sha256(folder / ARRAYS):
        raise RunError(
            f"{folder} belongs to another run or was changed. Delete this folder and predict again."
        )
    return _advice(run, tuple(Aim(**aim) for aim in facts["aims"]), positions, products, facts["flagged"])


def candidate_labels(run: Run, position: int, most: int) -> list[int]:
    """The given label first, then the suggestion, then the classes the model finds most probable."""
    row = run.samples.iloc[position]
    order = np.argsort(-run.probabilities[position], kind="stable")
    wanted = [run.classes.index(row["label"]), run.classes.index(row["suggested_label"]), *order.tolist()]
    return [int(label) for label in dict.fromkeys(wanted)][: max(2, most)]


def _chosen(run: Run, also: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Positions in doubt (and asked for), and random ones of each given label."""
    suspicion = run.samples["suspicion"].to_numpy(float)
    flagged = np.argsort(-suspicion, kind="stable")[: min(MOST_FLAGGED, int((suspicion >= FLOOR).sum()))]
    flagged = np.unique(np.concatenate([flagged, positions_of(run, also)])).astype(np.int64)
    rest = np.setdiff1d(np.arange(len(suspicion)), flagged)
    generator, labels = (
        np.random.default_rng(run.description.get("seed") or 0),
        run.samples["label"].to_numpy(),
    )
    parts = [rest[labels[rest] == name] for name in run.classes]
    drawn = [generator.choice(part, min(REFERENCE, len(part)), replace=False) for part in parts if len(part)]
    return flagged, np.concatenate([*drawn, np.zeros(0, np.int64)]).astype(np.int64)


def _advice(
    run: Run, known: tuple[Aim, ...], positions: np.ndarray, products: np.ndarray, flagged: int
) -> Advice:
    rows = run.samples.iloc[positions]
    number = {name: at for at, name in enumerate(run.classes)}
    return Advice(
        aims=known,
        ids=tuple(map(str, rows.index)),
        products=products,
        reference=np.arange(len(positions)) >= flagged,
        given=np.array([number[name] for name in rows["label"]], dtype=np.int64),
        suggested=np.array([number[name] for name in rows["suggested_label"]], dtype=np.int64),
    )


def _write(run: Run, advice: Advice) -> None:
    folder = run.path / FOLDER
    folder.mkdir(exist_ok=True)
    content = BytesIO()
    np.savez(content, products=advice.products, positions=positions_of(run, advice.ids))
    with atomic.writing(folder / ARRAYS) as file:
        file.write(content.getvalue())
    facts = {
        "run": run.id,
        "sha256": atomic.sha256(folder / ARRAYS),
        "flagged": int((~advice.reference).sum()),
        "aims": [{"name": aim.name, "kind": aim.kind, "title": aim.title} for aim in advice.aims],
    }
    atomic.write_json(folder / FACTS, facts)


def positions_of(run: Run, ids: pd.Index | Sequence[str]) -> np.ndarray:
    """Rows of these samples, (s,) int64."""
    return np.array([run.position(str(sample)) for sample in ids], dtype=np.int64)
