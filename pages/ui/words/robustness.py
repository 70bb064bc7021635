"""Words of the Robustness page, and the overlap of fragile samples with those that hurt accuracy; no Streamlit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from influence_core.judging.ranks import rank_correlation
from influence_core.runs.run import Run
from pages.ui.words import formats
from pages.ui.words.formats import Markdown

DRAWS = 200
COLUMN = "influence_robustness"
QUARTERS = (
    "helps both",
    "hurts accuracy, makes robust",
    "hurts both",
    "helps accuracy, makes fragile",
)


@dataclass(frozen=True, slots=True)
class Relation:
    """Influence on robustness beside influence on utility, over n samples.

    `rank` is Spearman's correlation with its 95 % bootstrap interval. `both`, `fragile`, `utility` and `neither` count
    the samples that hurt both, only robustness, only utility, or neither. `overlap` of the `k` worst of each are the
    same samples; chance alone would give `by_chance`.
    """

    rank: float
    low: float
    high: float
    both: int
    fragile: int
    utility: int
    neither: int
    k: int
    overlap: int
    by_chance: float


def relation(robust: np.ndarray, utility: np.ndarray, *, k: int, seed: int = 0) -> Relation:
    """Compare two influences (n,), positive = helpful."""
    rng, n = np.random.default_rng(seed), len(robust)
    draws = [rank_correlation(robust[rows], utility[rows]) for rows in rng.integers(0, n, (DRAWS, n))]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    hurts = robust < 0, utility < 0
    same = set(np.argsort(robust, kind="stable")[:k]) & set(np.argsort(utility, kind="stable")[:k])
    return Relation(
        rank=rank_correlation(robust, utility),
        low=float(low),
        high=float(high),
        both=int((hurts[0] & hurts[1]).sum()),
        fragile=int((hurts[0] & ~hurts[1]).sum()),
        utility=int((~hurts[0] & hurts[1]).sum()),
        neither=int((~hurts[0] & ~hurts[1]).sum()),
        k=k,
        overlap=len(same),
        by_chance=k * k / n,
    )


def relation_sentences(relation: Relation) -> list[Markdown]:
    """The relation in three sentences."""
    bracket = formats.escaped(f"[{formats.coefficient(relation.low)}, {formats.coefficient(relation.high)}]")
    alike = (
        "mostly the same"
        if relation.rank > 0.7
        else "partly the same"
        if relation.rank > 0.3
        else "mostly other samples"
    )
    return [
        f"The samples that make the model fragile and those that hurt its accuracy are **{alike}**: rank correlation "
        f"**{formats.number(relation.rank)}** {bracket} (1: the same order, 0: no relation).",
        f"Of the {formats.count(relation.k)} most harmful of each kind, **{formats.count(relation.overlap)}** are the "
        f"same; by chance it would be {formats.number(relation.by_chance)}.",
        f"**{formats.count(relation.fragile)}** samples help accuracy and make the model fragile: "
        "a choice, not an error.",
    ]


def at_usual(facts: dict[str, Any], kind: str) -> dict[str, float]:
    """Accuracy at the usual strength of an attack."""
    points = facts["attacks"][kind]
    return min(points, key=lambda point: abs(point["strength"] - facts["usual"]))


def strength_words(facts: dict[str, Any], strength: float) -> str:
    """'3.1 % of the pixel range', or '0.1 standard deviations of each feature'."""
    if facts["pictures"]:
        return f"{formats.percent(strength)} of the pixel range"
    return f"{formats.number(strength)} {facts['unit']}"


def headline(facts: dict[str, Any]) -> str:
    """The fall of accuracy under the usual attack, in one sentence."""
    attacked, clean = at_usual(facts, "pgd"), facts["clean"]
    change = strength_words(facts, attacked["strength"])
    before, after = formats.percent(clean["value"]), formats.percent(attacked["value"])
    if attacked["high"] >= clean["low"]:
        return f"Changing inputs by {change} does not measurably lower accuracy ({before}, under attack {after})."
    return f"Changing inputs by {change} lowers accuracy from {before} to {after}."


def columns(run: Run) -> list[str]:
    """The robustness influences of a run, the plain one first."""
    names = [str(name) for name in run.samples.columns if str(name).startswith(COLUMN)]
    return sorted(names, key=lambda name: (name != COLUMN, name))


def worst(run: Run, column: str, k: int) -> np.ndarray:
    """Row positions of the k samples that make the model most fragile, the worst first; only those that do."""
    values = run.samples[column].to_numpy(dtype=float)
    order = np.argsort(values, kind="stable")[:k]
    return order[values[order] < 0]
