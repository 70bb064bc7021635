"""Words of the Verify page: the rows and sentences of a verification; no Streamlit."""

from __future__ import annotations

import math

import pandas as pd

from influence_core.judging.intervals import Estimate
from influence_core.repair.predicted_effects import BATCHES, Effects
from influence_core.repair.repairs import rows_of
from influence_core.verification.results import NONE, Verification
from pages.ui.words import formats
from pages.ui.words.formats import Markdown
from pages.ui.words.how_to_read import Reading

ARMS = {
    "nothing": "No change",
    "repair": "The repair",
    "random": "Random repair, same size",
    "oracle": "Every true error corrected",
    "scrambled": "The same changes on random samples",
}

DUMBBELL = Reading(
    "The hollow dot is the model trained on the labels as given, the full dot the one trained on the repaired labels, "
    "the grey tick a random repair of the same size. Bars are 95 % intervals of the paired difference.",
    r"\Delta = \frac{1}{S\,m} \sum_{s,j} \left(\text{right}^{\text{repair}}_{sj} - "
    r"\text{right}^{\text{given}}_{sj}\right)",
)

FIDELITY = Reading(
    "Each point is a change of the training data: the first-order prediction across, what retraining measured upwards. "
    "On the dotted line both agree; the scale of the prediction was fitted to these points, their order was not.",
    r"\widehat{\Delta f} = s \sum_{i} \pm \langle g_i, \nabla f \rangle, \qquad s \text{ fitted through the origin}",
)


def points(share: float, digits: int = 1) -> str:
    """A difference of shares in percentage points, with its sign: 0.036 -> '+3.6'."""
    return f"{100 * share:+.{digits}f}".replace("-", formats.MINUS)


def signed(value: float) -> str:
    """Three significant digits with a sign."""
    return ("+" if value > 0 else "") + formats.number(value)


def band(effect: Estimate) -> str:
    """'+3.6 [+2.8, +4.4]' in percentage points."""
    return f"{points(effect.value)} [{points(effect.low)}, {points(effect.high)}]"


def verdict(effect: Estimate, *, lower_is_better: bool = False) -> str:
    """Better, worse, or no measurable effect."""
    if not effect.measurable:
        return NONE
    return "better" if (effect.value < 0) == lower_is_better else "worse"


def metric_title(name: str) -> str:
    """'class shirt' -> 'shirt', 'gap sex' -> 'accuracy gap of sex', 'gap sex, equalized odds' -> 'gap of sex (...)'."""
    if name.startswith("gap "):
        column, _, kind = name[4:].partition(", ")
        return f"gap of {column} ({kind})" if kind else f"accuracy gap of {column}"
    return name.removeprefix("class ")


def metrics_table(verification: Verification) -> pd.DataFrame:
    """One row per metric: no change, repair, change with interval, verdict, random control."""
    before, after = (verification.arms[arm]["levels"] for arm in ("nothing", "repair"))
    rows = []
    for name in after:
        effect, control = verification.difference(name), verification.difference(name, arm="random")
        if effect is None:
            continue
        loss = name == "loss"
        show = formats.number if loss else formats.percent
        change = (
            f"{signed(effect.value)} [{signed(effect.low)}, {signed(effect.high)}]" if loss else band(effect)
        )
        other = "" if control is None else signed(control.value) if loss else points(control.value)
        rows.append(
            {
                "Metric": metric_title(name),
                "No change": show(before[name]),
                "Repair": show(after[name]),
                "Change [95 %]": change,
                "Reading": verdict(effect, lower_is_better=loss or name.startswith("gap ")),
                "Random repair": other,
            }
        )
    return pd.DataFrame(rows)


def arms_table(verification: Verification) -> pd.DataFrame:
    """One row per arm: how many samples it changed, accuracy, change."""
    rows = []
    for name, arm in verification.arms.items():
        effect = verification.difference(arm=name)
        rows.append(
            {
                "Arm": ARMS.get(name, name),
                "Changed": formats.count(arm["changed"]),
                "Accuracy": formats.percent(arm["levels"]["accuracy"]),
                "Points [95 %]": "" if effect is None else band(effect),
                "Reading": "" if effect is None else verdict(effect),
            }
        )
    return pd.DataFrame(rows)


def comparison(verifications: list[Verification]) -> pd.DataFrame:
    """One row per verified repair, newest first."""
    rows = []
    for verification in verifications:
        effect, recovered = verification.difference(), verification.recovered
        gap = verification.difference(verification.aim) if verification.aim != "accuracy" else None
        repair = verification.content["repair"]
        rows.append(
            {
                "Repair": repair["name"],
                "Relabelled": formats.count(repair["relabel"]),
                "Removed": formats.count(repair["remove"]),
                "Seeds": verification.content["seeds"],
                "Points of accuracy [95 %]": "" if effect is None else band(effect),
                "Points of the gap [95 %]": "" if gap is None else band(gap),
                "Reading": verification.verdict,
                "Of the lost accuracy": "" if recovered is None else formats.percent(recovered.value),
                "Verified": formats.moment(verification.content["made"]),
            }
        )
    return pd.DataFrame(rows)


def next_step(verification: Verification) -> str:
    """What to do with this result, in words."""
    lowered = [
        metric_title(name)
        for name in verification.arms["repair"].get("differences", {})
        if name.startswith("class ") and (e := verification.difference(name)) is not None and e.high < 0
    ]
    cost = (
        f" It lowered accuracy on {' and '.join(lowered[:3])}: look at these before you use it."
        if lowered
        else ""
    )
    if verification.verdict == "improved":
        onward = ", or continue reviewing what is still in doubt." if verification.aim == "accuracy" else "."
        return f"Use the repaired data and the model{onward}{cost}"
    if verification.verdict == "worsened" and verification.aim != "accuracy":
        return "Keep the original data: this repair widened the gap." + cost
    if verification.verdict == "worsened":
        return (
            "Keep the original data: this repair made the model worse. Review its labels one by one." + cost
        )
    if verification.aim != "accuracy":
        return (
            "No effect on the gap could be measured: it rests on few test samples, or too few were removed. Verify "
            "with more seeds, another kind of gap, or more samples." + cost
        )
    return (
        "No effect could be measured. Either the repair is too small for this many test samples and seeds, or wrong "
        "labels are not what limits the model: verify a larger repair, or spend the time elsewhere." + cost
    )


def control_sentence(verification: Verification) -> str | None:
    """The random control and the oracle beside the result; None for a gap, whose own sentence has its control."""
    if verification.aim != "accuracy":
        return None
    parts = []
    if (control := verification.difference(arm="random")) is not None:
        parts.append(f"A random repair of the same size: {band(control)} points, {verdict(control)}")
    if (oracle := verification.difference(arm="oracle")) is not None:
        parts.append(f"every true error corrected: {band(oracle)} points")
    if (share := verification.recovered) is not None:
        low, high = formats.percent(share.low), formats.percent(share.high)
        parts.append(
            f"the repair recovers {formats.percent(share.value)} [{low}, {high}] of what wrong labels cost"
        )
    if (share := verification.recovered_loss) is not None:
        low, high = formats.percent(share.low), formats.percent(share.high)
        parts.append(f"of the loss it recovers {formats.percent(share.value)} [{low}, {high}]")
    return "; ".join(parts) + "." if parts else None


def fidelity_sentence(verification: Verification) -> str:
    """How far the predictions can be trusted, even when that is not far."""
    rank = verification.rank_correlation
    if rank is None:
        return "Too few groups were measured to judge the predictions."
    quality = (
        "cannot be distinguished from chance"
        if rank.low <= 0
        else "put the changes in roughly the right order"
    )
    count = formats.plural(len(verification.content["points"]), "change")
    return (
        f"Rank correlation of predicted and measured loss over {count}: {formats.coefficient(rank.value)} "
        f"[{formats.coefficient(rank.low)}, {formats.coefficient(rank.high)}]; the predictions {quality}."
    )


def predicted_headline(effects: Effects) -> str:
    """The predicted answer and who pays: 'Predicted: better overall, worse for 4 of 10 classes'."""
    change = float(effects.table["first_order"].to_numpy()[0])
    overall = "better" if change < 0 else "worse" if change > 0 else "no change"
    costs = [
        cost
        for kind, nouns in (("class", "classes"), ("group", "groups"))
        if (cost := _cost(effects, kind, nouns))
    ]
    return f"Predicted: {overall} overall, {' and '.join(costs) or 'worse for no class'}"


def _cost(effects: Effects, kind: str, nouns: str) -> str:
    """'worse for 4 of 10 classes'; empty where nobody of this kind is predicted to pay."""
    everybody, worse = (table["kind"].tolist().count(kind) for table in (effects.table, effects.worsened))
    return f"worse for {formats.count(worse)} of {formats.count(everybody)} {nouns}" if worse else ""


def predicted_size(effects: Effects) -> Markdown:
    """How much the first objective, the loss on validation samples, is predicted to change, beside random batches."""
    first = effects.table.iloc[0]
    title, direction = str(first["title"]), "falls" if first["first_order"] < 0 else "rises"
    said = f"{formats.escaped(title[0].upper() + title[1:])} {direction}"
    compared = f"{beside_random(float(first['better_than_random']))} of the same size and class mix"
    if effects.accuracy_change is None:
        return f"{said}: {compared}. By how many nats is known after a first verification."
    nats = formats.number(abs(float(first["loss_change"])))
    accuracy = formats.escaped(points(effects.accuracy_change))
    return f"{said} by {nats} nats, accuracy {accuracy} points: {compared}."


def beside_random(share: float) -> Markdown:
    """A share of random batches that would do worse, in words: 'better than all 1 000 random batches'."""
    batches = formats.count(BATCHES)
    if share == 1:
        return f"better than all {batches} random batches"
    if share == 0:
        return f"worse than all {batches} random batches"
    return f"better than {formats.percent(share)} of {batches} random batches"


def guard(effects: Effects) -> str | None:
    """The classes and groups that are expected to get worse, each beside random batches; None when there are none."""
    worsened = effects.worsened
    if not len(worsened):
        return None
    shown = [
        f"{payer_name(str(row.title))} ({formats.percent(1 - float(row.better_than_random))})"
        for row in rows_of(worsened.head(6))
    ]
    more = len(worsened) - len(shown)
    return (
        f"Expected to get worse: {', '.join(shown)}{f' and {more} more' if more > 0 else ''}. In brackets: the share "
        "of random batches of the same size that would cost less. Look at them before you apply this."
    )


def payer_name(title: str) -> str:
    """'loss on class shirt' -> 'shirt', 'loss where sex is Female' -> 'sex is Female'."""
    return title.removeprefix("loss on class ").removeprefix("loss on ").removeprefix("loss where ")


def effects_table(effects: Effects) -> pd.DataFrame:
    """One row per objective: predicted change with direction, and how it compares with random batches."""
    rows = []
    for row in rows_of(effects.table):
        calibrated = math.isfinite(row.loss_change)
        value = row.loss_change if calibrated else row.first_order
        rows.append(
            {
                "Objective": row.title,
                "Predicted change": signed(float(value)),
                "Unit": "nats" if calibrated else "loss per unit of learning rate",
                "Direction": "falls (better)" if value < 0 else "rises (worse)" if value > 0 else "unchanged",
                "Beside random batches": beside_random(float(row.better_than_random)),
                "Kind": {"run": "objective", "class": "class", "group": "group"}[row.kind],
            }
        )
    return pd.DataFrame(rows)
