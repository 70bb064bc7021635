"""Words and tables of the Fairness page: the gap, the worse-off group, the samples behind it; no Streamlit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from influence_core.repair.left_out import LeftOut
from influence_core.repair.predicted_effects import BATCHES
from influence_core.runs.run import Run
from pages.ui.words import formats

KINDS = {
    "equal_opportunity": "Equal opportunity",
    "demographic_parity": "Demographic parity",
    "equalized_odds": "Equalized odds",
}
METRICS = {
    "equal_opportunity": "true_positive_rate",
    "demographic_parity": "selection_rate",
    "equalized_odds": "true_positive_rate",
}
TITLES = {
    "samples": "Samples",
    "accuracy": "Accuracy",
    "selection_rate": "Predicted share",
    "true_positive_rate": "True positives",
    "false_positive_rate": "False positives",
}
AXES = {
    "accuracy": "accuracy",
    "selection_rate": "predicted share",
    "true_positive_rate": "true positive rate",
}
QUARTERS = ("helps both", "hurts accuracy, narrows the gap", "hurts both", "helps accuracy, widens the gap")


@dataclass(frozen=True, slots=True)
class FairnessObjective:
    """One fairness objective of a run, with its record in run.json."""

    name: str
    facts: Mapping[str, Any]

    @property
    def influence(self) -> str:
        """The column of samples.parquet."""
        return f"influence_{self.name}"

    @property
    def column(self) -> str:
        """The group column."""
        return str(self.facts["column"])

    @property
    def kind(self) -> str | None:
        """A key of KINDS; None for the worst group's loss."""
        return self.facts.get("kind")

    @property
    def positive(self) -> str | None:
        """The class whose rates are counted; None in the macro form and for the worst group."""
        named = self.facts.get("positive") or []
        return str(named[0]) if len(named) == 1 else None

    @property
    def title(self) -> str:
        """The text in the selector: 'sex: demographic parity'."""
        kind = KINDS[self.kind].lower() if self.kind else "loss of the worst group"
        return f"{self.column}: {kind}" + (f", class {self.positive}" if self.positive else "")


def fairness_objectives(run: Run) -> list[FairnessObjective]:
    """The fairness objectives of a run, in its order."""
    objectives: Mapping[str, Any] = run.description.get("objectives", {})
    return [FairnessObjective(name, facts) for name, facts in objectives.items() if "column" in facts]


def notes(run: Run, aim: FairnessObjective) -> list[str]:
    """The notes needed to read this gap: its own and the run's, without those of other objectives."""
    of_others = {
        note
        for name, facts in run.description["objectives"].items()
        if name != aim.name
        for note in facts["notes"]
    }
    of_this = list(aim.facts["notes"])
    return of_this + [note for note in run.description.get("notes", []) if note not in of_others | {*of_this}]


PEOPLE = {"female": "women", "male": "men"}
"""Groups of people by the word that a sentence needs."""


def headline(aim: FairnessObjective) -> str:
    """Who is served worse than whom, by how much, with the interval: 'Women are predicted >50K 20 points less often
    than men [17, 23]'.
    """
    facts = aim.facts.get("rate", aim.facts)
    if aim.kind is None:
        return f"{facts['highest']} fares worst: mean loss {bracketed(facts)}"
    points = in_points(facts)
    if not facts["present"]:
        return f"No {KINDS[aim.kind].lower()} gap between groups of {aim.column} beyond chance: {points[0]} {points[1]}"
    worse, better = named_groups(aim)
    start = worse[0].upper() + worse[1:]
    if aim.positive is None or aim.kind == "equalized_odds":
        return f"Recognition differs by {points[0]} points between {worse} and {better} {points[1]}"
    if aim.kind == "demographic_parity":
        return f"{start} are predicted {aim.positive} {points[0]} points less often than {better} {points[1]}"
    return f"{start} labelled {aim.positive} are recognised {points[0]} points less often than {better} {points[1]}"


def in_points(facts: Mapping[str, Any]) -> tuple[str, str]:
    """A gap of shares in whole percentage points, and its interval: ('20', '[17, 23]')."""
    size, low, high = (
        f"{100 * facts[end]:.0f}".replace("-", formats.MINUS) for end in ("value", "low", "high")
    )
    return size, f"[{low}, {high}]"


def bracketed(facts: Mapping[str, Any]) -> str:
    """'0.21 [0.19, 0.23]'."""
    value, low, high = (formats.coefficient(facts[end]) for end in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def named_groups(aim: FairnessObjective) -> tuple[str, str]:
    """The group with the lower rate and the other one, as words: ('women', 'men').

    For equal opportunity the recorded rate is that of MISSED positives.
    """
    facts = aim.facts.get("rate", aim.facts)
    ends = [str(facts["lowest"]), str(facts["highest"])]
    worse, better = ends[::-1] if aim.kind == "equal_opportunity" else ends
    if {worse.lower(), better.lower()} <= PEOPLE.keys():
        return PEOPLE[worse.lower()], PEOPLE[better.lower()]
    return f"samples with {aim.column} {worse}", f"those with {better}"


ABSENT = (
    "There is no measurable gap: its interval spans 0, or shuffled groups give one as large. The order of samples "
    "below is random; do not act on it."
)
SMOOTH = {"probability": "probabilities", "loss": "the loss"}


def explained(aim: FairnessObjective) -> str:
    """The gap in decisions and the smooth one on which influence is measured, told apart."""
    facts, samples = aim.facts, f"on {formats.count(aim.facts['samples'])} validation samples"
    smooth = f"Influence works on {SMOOTH.get(facts['unit'], facts['unit'])}: {bracketed(facts)}, {samples}."
    if "rate" not in facts:
        return smooth
    return f"Counted by decisions: {bracketed(facts['rate'])}. {smooth}"


def effect(gap: LeftOut, accuracy: LeftOut | None, count: int) -> str:
    """What leaving the samples out is predicted to do, to the gap and to accuracy."""
    text = f"Predicted, by sign and order only: training without these {formats.count(count)} would "
    if gap.change < 0:
        text += f"narrow the gap, more than {of_random(gap.better_than_random)} random choices of as many labels do"
    else:
        text += "widen the gap"
    if accuracy is None:
        return f"{text}. The effect on accuracy was not measured."
    fall, verdict = ("lower", "better") if accuracy.change < 0 else ("raise", "worse")
    share = accuracy.better_than_random if accuracy.change < 0 else 1 - accuracy.better_than_random
    return f"{text}; it would {fall} validation loss, {verdict} than {of_random(share)}."


def of_random(share: float) -> str:
    """'all 1 000', '998 of 1 000'."""
    beaten = round(share * BATCHES)
    return f"{'all' if beaten == BATCHES else f'{formats.count(beaten)} of'} {formats.count(BATCHES)}"


def cells(run: Run, aim: FairnessObjective) -> pd.DataFrame:
    """Sums of negative and of positive influence on the gap, and the count, per group and given label.

    Columns group, label, n, widens (<= 0), narrows (>= 0); in the unit of the objective per unit of learning rate.
    """
    table = run.samples
    grouped: Any = (
        table[table[aim.column].notna()] if aim.column in table else table[:0].assign(**{aim.column: ""})
    )
    values = grouped[aim.influence]
    frame = pd.DataFrame(
        {
            "group": grouped[aim.column].astype(str),
            "label": grouped["label"].astype(str),
            "n": 1,
            "widens": values.clip(upper=0),
            "narrows": values.clip(lower=0),
        }
    )
    sums: Any = frame.groupby(["group", "label"], sort=True, observed=True).sum()
    sums = sums.reset_index()
    return sums.sort_values("widens", kind="stable").reset_index(drop=True)


def quarter(run: Run, aim: FairnessObjective) -> np.ndarray:
    """The quarter of the trade-off that each sample is in: a position in QUARTERS, shape (n,)."""
    utility = run.samples["influence_utility"].to_numpy() >= 0
    fair = run.samples[aim.influence].to_numpy() >= 0
    return np.select([utility & fair, ~utility & fair, ~utility & ~fair], [0, 1, 2], default=3)


def widening(
    run: Run, aim: FairnessObjective, group: str | None, label: str | None, quarters: tuple[int, ...]
) -> np.ndarray:
    """Row positions of samples that widen the gap, the one that widens it most first, after the filters."""
    table = run.samples
    values = table[aim.influence].to_numpy()
    kept = values < 0
    if group is not None:
        kept &= (table[aim.column].astype(str) == group).to_numpy()
    if label is not None:
        kept &= (table["label"] == label).to_numpy()
    if quarters and "influence_utility" in table:
        kept &= np.isin(quarter(run, aim), quarters)
    order = np.argsort(values, kind="stable")
    return order[kept[order]]


def share_of_worst(run: Run, aim: FairnessObjective, k: int) -> str:
    """What the k worst samples have in common: 'Of the 100 that widen it most, 83 are Male labelled >50K.'"""
    worst = widening(run, aim, None, None, ())[:k]
    if not len(worst) or aim.column not in run.samples:
        return ""
    table = run.samples.iloc[worst]
    pairs = (table[aim.column].astype(str) + " labelled " + table["label"].astype(str)).value_counts()
    return (
        f"Of the {formats.count(len(worst))} samples that widen it most, {formats.count(int(pairs.iloc[0]))} are "
        f"{pairs.index[0]}."
    )


def metric_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Group metrics as shown: titles, shares in percent, the group as a column."""
    shares = {name: 100 * table[name] for name in table if name != "samples"}
    return table.assign(**shares).rename(columns=TITLES).rename_axis(index="Group").reset_index()
