"""Advice on one training sample: keep, relabel, remove or weigh less, each with its predicted effect."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import streamlit as st

from influence_core.jobs.status import status
from influence_core.repair.label_influence import Advice, read_advice
from influence_core.repair.predicted_effects import sample_advice
from influence_core.repair.repairs import rows_of
from influence_core.verification.results import calibration_of
from pages.ui.repairs import what_if
from pages.ui.shell import frame, job_panel
from pages.ui.shell.state import OpenRun
from pages.ui.words import formats
from pages.ui.words import verify as verify_words
from pages.ui.words.formats import Markdown
from pages.ui.words.how_to_read import Reading

ADVICE = Reading(
    "The number is the predicted change of validation loss by each action, to first order; negative is better. "
    "The marked action is the one that suspicion suggests.",
    r"\Delta f \approx s \left( \langle g_i^{\text{given}}, \nabla f \rangle - "
    r"w\, \langle g_i^{\text{new}}, \nabla f \rangle \right)",
)
MOST = 6


def card(open_run: OpenRun, sample: str) -> None:
    """The actions for one training sample with their predicted effects, or a button to compute them."""
    with st.container(border=True):
        frame.section("What should be done with it?", ADVICE)
        folder = open_run.run.path / "advice"
        if (folder / "job.json").exists() and status(folder).active:
            job_panel.panel(folder, key="sample_advice_job", title="Trying every candidate label")
            return
        advice = read_advice(open_run.run)
        if advice is None or advice.row(sample) is None:
            what_if.ask(open_run, (sample,), "Not predicted yet for this sample.")
            return
        scale = (calibration_of(open_run.run) or {}).get("loss")
        shown, others = rows(open_run, sample, advice, scale)
        st.markdown(sentence(shown))
        st.dataframe(shown, hide_index=True, width="stretch")
        unit = (
            "nats, scaled by a verification"
            if scale
            else "loss per unit of learning rate, not calibrated yet"
        )
        more = f" {formats.plural(others, 'other label')} would do worse and are not shown." if others else ""
        st.caption(f"Change of the objective in {unit}. Negative: it falls, which is better.{more}")


def rows(open_run: OpenRun, sample: str, advice: Advice, scale: float | None) -> tuple[pd.DataFrame, int]:
    """One row per action, the marked one first, then by predicted effect; and the number of labels left out."""
    actions: Any = sample_advice(open_run.run, sample, advice)
    first = advice.objectives[0].name
    actions = actions.sort_values(["suggested", first], ascending=[False, True], kind="stable")
    labels = actions["action"] == "relabel"
    left_out = int(max(0, labels.sum() - (MOST - 3)))
    actions = actions[~labels | (labels.cumsum() <= MOST - 3)]
    factor = 1.0 if scale is None else scale
    table = [
        {
            "Action": action_title(row.action, row.label, row.weight),
            "Advice": "suggested" if row.suggested else "",
            advice.objectives[0].title.capitalize(): change(factor * float(values[first])),
            "Hurts most": payer(advice, values),
        }
        for row, values in zip(rows_of(actions), actions.to_dict("records"), strict=True)
    ]
    return pd.DataFrame(table), left_out


def action_title(action: str, label: str | None, weight: float) -> str:
    """'Relabel to dress', 'Weigh 0.25 instead of 1'."""
    if action == "relabel":
        return f"Relabel to {label}"
    return f"Weigh {formats.coefficient(weight)} instead of 1" if action == "weigh" else action.capitalize()


def change(value: float) -> str:
    """'-0.12, falls (better)'."""
    if not value:
        return "unchanged"
    return f"{verify_words.signed(value)}, {'falls (better)' if value < 0 else 'rises (worse)'}"


def payer(advice: Advice, values: dict[str, Any]) -> str:
    """The class or group whose loss is predicted to rise most."""
    rising = {
        aim.title: float(values[aim.name])
        for aim in advice.objectives
        if aim.kind in ("class", "group") and math.isfinite(values[aim.name]) and values[aim.name] > 0
    }
    if not rising:
        return "none"
    return max(rising, key=lambda title: rising[title]).removeprefix("loss on ").removeprefix("loss where ")


def sentence(shown: pd.DataFrame) -> Markdown:
    """The suggested action and its predicted effect."""
    suggested = shown[shown["Advice"] == "suggested"]
    row = (suggested if len(suggested) else shown).iloc[0]
    objective = shown.columns[2]
    effect = str(row[objective])
    prediction = (
        "changes nothing" if effect == "unchanged" else f"predicted for {objective.lower()}: {effect}"
    )
    return f"**{formats.escaped(str(row['Action']))}**: {formats.escaped(prediction)}."
