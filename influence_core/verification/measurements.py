"""Measurements of the trained models: accuracy, loss, classes, groups and attack, with paired differences.

Everything is a mean over seeds; a difference is paired with the arm "nothing" of the same seed (judging/paired.py).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from influence_core.data.samples import Samples
from influence_core.judging import decision_gaps
from influence_core.judging.decision_gaps import DecidedGap
from influence_core.judging.group_levels import FEWEST, MOST_LEVELS, levels
from influence_core.judging.intervals import Estimate
from influence_core.judging.paired import bootstrapped, paired_mean, rank_correlation, slope_through_zero
from influence_core.repair.repairs import Version
from influence_core.verification.trainings import Outcome

TINY = 1e-12


def right(judged: Samples, outcomes: list[Outcome], *, attacked: bool = False) -> np.ndarray:
    """(S, m) float: 1 where the most probable class is the given label."""
    tables = [o.attacked if attacked else o.probabilities for o in outcomes]
    return np.stack([(table.argmax(1) == judged.labels).astype(float) for table in tables])


def losses(judged: Samples, outcomes: list[Outcome]) -> np.ndarray:
    """(S, m) nats, float64: a small difference of two means is lost in float32."""
    label_probabilities = np.stack([o.probabilities[np.arange(len(judged)), judged.labels] for o in outcomes])
    return -np.log(np.maximum(label_probabilities.astype(np.float64), TINY))


def summary(
    judged: Samples,
    outcomes: dict[str, list[Outcome]],
    versions: dict[str, list[Version]],
    gaps: Sequence[DecidedGap] = (),
) -> dict:
    """For each arm the number of changes, its level in every metric, and the paired difference to "nothing".

    gaps: of the run's fairness objectives; each becomes a separate metric.
    """
    base = outcomes.get("nothing")
    gaps = [decided for decided in gaps if decision_gaps.measurable(decided, judged)]
    answers = {arm: [outcome.probabilities for outcome in trained] for arm, trained in outcomes.items()}
    arms = {}
    for arm, trained in outcomes.items():
        entry: dict[str, Any] = {
            "changed": float(np.mean([len(version.repair) for version in versions[arm]])),
            "fingerprints": list(dict.fromkeys(version.fingerprint for version in versions[arm])),
            "levels": {name: float(values.mean()) for name, values in metrics(judged, trained).items()},
            "by_seed": right(judged, trained).mean(axis=1).tolist(),
        }
        entry["levels"] |= {f"gap {name}": gap(judged, trained, name) for name in group_columns(judged)}
        entry["levels"] |= {
            decided.metric: decision_gaps.level(decided, judged, answers[arm]) for decided in gaps
        }
        if base is not None and arm != "nothing":
            entry["differences"] = differences(judged, base, trained)
            for decided in gaps:
                narrower = decision_gaps.difference(decided, judged, answers["nothing"], answers[arm])
                entry["differences"][decided.metric] = narrower.to_json()
        arms[arm] = entry
    result: dict[str, Any] = {"arms": arms, "gaps": {decided.objective: decided.metric for decided in gaps}}
    if {"nothing", "repair", "oracle"} <= set(outcomes):
        hits = {arm: right(judged, outcomes[arm]) for arm in ("nothing", "repair", "oracle")}
        result["recovered"] = recovered(hits)
        result["recovered_loss"] = recovered({arm: -losses(judged, outcomes[arm]) for arm in hits})
    return result


def metrics(judged: Samples, outcomes: list[Outcome]) -> dict[str, np.ndarray]:
    """Name -> (S, members) values whose mean is the metric: accuracy, loss, robust accuracy, classes, groups."""
    hit = right(judged, outcomes)
    values = {"accuracy": hit, "loss": losses(judged, outcomes)}
    values["robust accuracy"] = right(judged, outcomes, attacked=True)
    for number, name in enumerate(judged.classes):
        members = np.flatnonzero(judged.labels == number)
        if len(members) >= FEWEST:
            values[f"class {name}"] = hit[:, members]
    for column in group_columns(judged):
        for level, members in levels(judged.groups, column).items():
            values[f"{column} = {level}"] = hit[:, members]
    return values


def differences(judged: Samples, base: list[Outcome], trained: list[Outcome]) -> dict[str, dict[str, float]]:
    """Paired difference of every metric, arm minus "nothing", with its interval."""
    before, after = metrics(judged, base), metrics(judged, trained)
    estimates = {name: paired_mean(after[name] - before[name]).to_json() for name in after}
    for column in group_columns(judged):
        estimates[f"gap {column}"] = _gap_difference(judged, base, trained, column).to_json()
    return estimates


def group_columns(judged: Samples) -> list[str]:
    """Columns with 2 to MOST_LEVELS groups of enough samples among those that judge."""
    return [str(c) for c in judged.groups.columns if 2 <= len(levels(judged.groups, str(c))) <= MOST_LEVELS]


def gap(judged: Samples, outcomes: list[Outcome], column: str) -> float:
    """Accuracy of the best group minus that of the worst, a share of one; smaller is fairer."""
    hit = right(judged, outcomes)
    values = [float(hit[:, members].mean()) for members in levels(judged.groups, column).values()]
    return max(values) - min(values)


def _gap_difference(judged: Samples, base: list[Outcome], trained: list[Outcome], column: str) -> Estimate:
    before, after = right(judged, base), right(judged, trained)
    codes = np.full(len(judged), -1)
    for code, members in enumerate(levels(judged.groups, column).values()):
        codes[members] = code
    group_codes = range(codes.max() + 1)

    def statistic(seeds: np.ndarray, rows: np.ndarray) -> float:
        gaps = []
        for table in (after, before):
            part = table[np.ix_(seeds, rows)].mean(axis=0)
            values = [part[codes[rows] == code].mean() for code in group_codes if (codes[rows] == code).any()]
            gaps.append(max(values) - min(values))
        return gaps[0] - gaps[1]

    return bootstrapped(statistic, len(base), len(judged))


def recovered(hit: dict[str, np.ndarray]) -> dict[str, float] | None:
    """Share of the cost of wrong labels that the repair recovers (oracle = 1); None when no cost is measurable.

    hit: (S, m) of the arms nothing, repair and oracle, more = better.
    """

    def statistic(seeds: np.ndarray, rows: np.ndarray) -> float:
        value = {arm: table[np.ix_(seeds, rows)].mean() for arm, table in hit.items()}
        lost = value["oracle"] - value["nothing"]
        return float((value["repair"] - value["nothing"]) / lost) if lost > 0 else float("nan")

    if not paired_mean(hit["oracle"] - hit["nothing"]).low > 0:
        return None
    return bootstrapped(statistic, *hit["nothing"].shape).to_json()


def change(judged: Samples, base: Outcome, after: Outcome) -> dict[str, float]:
    """Measured change from "nothing" to a training of the same seed: loss in nats, accuracy as a share."""
    return {
        "measured_loss": float((losses(judged, [after]) - losses(judged, [base])).mean()),
        "measured_accuracy": float((right(judged, [after]) - right(judged, [base])).mean()),
    }


def fidelity(points: list[dict[str, Any]]) -> dict[str, Any]:
    """Agreement of predictions with measurements: their points, rank correlation and scale.

    Points are groups and arms; the seeds of one arm are averaged into one point.
    """
    merged: dict[str, list[dict[str, Any]]] = {}
    for point in points:
        merged.setdefault(point["name"], []).append(point)
    fields = ("size", "predicted", "measured_loss", "measured_accuracy")
    rows = [
        {"name": name, **{f: float(np.mean([p[f] for p in same])) for f in fields}}
        for name, same in merged.items()
    ]
    predicted, loss, accuracy = (np.array([row[f] for row in rows]) for f in fields[1:])
    correlation = rank_correlation(predicted, loss)
    scale = slope_through_zero(predicted, loss)
    spread = float(((loss - loss.mean()) ** 2).sum()) if len(rows) else 0.0
    explained = None
    if scale is not None and spread > 0:
        explained = 1 - float(((loss - scale * predicted) ** 2).sum()) / spread
    return {
        "points": rows,
        "rank_correlation": None if correlation is None else correlation.to_json(),
        "calibration": {
            "loss": scale,
            "accuracy": slope_through_zero(predicted, accuracy),
            "explained": explained,
            "points": len(rows),
        },
    }
