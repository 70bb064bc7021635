"""The what-if bar: which samples would be changed, and what is predicted to follow, before anything is done."""

from __future__ import annotations

import streamlit as st

from influence_core import repair as repairs
from influence_core import repair_jobs
from influence_core.advice import FLOOR, Advice, read_advice
from influence_core.effects import Effects, predicted_effects
from influence_core.errors import InfluenceError
from influence_core.jobs import status
from influence_core.repair import Repair
from influence_core.verifications import calibration_of
from pages.ui import frame, job_panel, state, verify_words, words
from pages.ui.state import Chosen

DOUBT, TOP, CLASS, DECIDED = "Everything in doubt", "The most suspicious", "One class", "Everything decided"
SCOPES = (DOUBT, TOP, CLASS, DECIDED)
PROBLEM = "_verify_problem"


def choose(chosen: Chosen) -> Repair:
    """The controls of the bar; returns the repair they describe."""
    scope = st.segmented_control(
        "What if I changed", SCOPES, default=DOUBT, required=True, key=state.SCOPE, bind="query-params"
    )
    if scope == TOP:
        most = min(2000, len(chosen.run.samples))
        k = st.number_input("How many", 1, most, min(50, most), key=state.TOP, bind="query-params")
        return repairs.most_suspicious(chosen.run, int(k))
    if scope == DECIDED:
        return repairs.decided(chosen.run, chosen.log)
    label = None
    if scope == CLASS:
        label = st.selectbox("Given label", chosen.run.classes, key=state.CLASS, bind="query-params")
    proposed = min(0.99, max(FLOOR, round(chosen.cut, 2)))
    cut = st.slider("From suspicion", FLOOR, 0.99, proposed, 0.01, key=state.FROM, bind="query-params")
    return repairs.above(chosen.run, cut, label=label)


def summary(repair: Repair) -> str:
    """'212 labels relabelled, 30 samples removed.'"""
    relabelled, removed = repair.count("relabel"), repair.count("remove")
    if not len(repair):
        return "This changes nothing: no sample is chosen."
    parts = [words.plural(relabelled, "label") + " relabelled"] if relabelled else []
    parts += [words.plural(removed, "sample") + " removed"] if removed else []
    return f"{', '.join(parts)}; the original data stays as it is."


def prediction(chosen: Chosen, repair: Repair) -> None:
    """Predicted change for every objective, class and group, and who would pay; or the way to get it."""
    folder = chosen.run.path / "advice"
    if (folder / "job.json").exists() and status(folder).state != "finished":
        with st.container(border=True):
            job_panel.panel(folder, key="advice_job", title="Trying every candidate label")
        return
    advice = read_advice(chosen.run)
    missing = (
        () if advice is None else tuple(i for i in map(str, repair.changes.index) if advice.row(i) is None)
    )
    if advice is None or missing:
        _ask(chosen, repair, missing)
    if advice is not None and len(repair):
        _show(chosen, repair, advice)


def _ask(chosen: Chosen, repair: Repair, missing: tuple[str, ...]) -> None:
    row = st.container(horizontal=True, vertical_alignment="center")
    row.button(
        "Predict what it does",
        icon=":material/query_stats:",
        key="predict",
        on_click=_predict,
        args=(chosen, tuple(map(str, repair.changes.index))),
    )
    text = f"{words.plural(len(missing), 'sample')} of this choice are not prepared yet." if missing else ""
    row.caption(
        f"{text} Tries every candidate label of the samples in doubt; about half a minute for the demo."
    )


def _predict(chosen: Chosen, also: tuple[str, ...]) -> None:
    try:
        repair_jobs.submit_prediction(chosen.run, also=also)
    except InfluenceError as error:
        st.session_state[PROBLEM] = str(error)


def _show(chosen: Chosen, repair: Repair, advice: Advice) -> None:
    effects = predicted_effects(chosen.run, repair, advice, calibration=calibration_of(chosen.run))
    _headline(effects)
    if (said := verify_words.guard(effects)) is not None:
        st.warning(words.escaped(said), icon=":material/group_remove:")
    if effects.covered < effects.asked:
        st.caption(
            f"The prediction covers {words.count(effects.covered)} of {words.count(effects.asked)} changes."
        )
    with st.expander("Predicted change of every objective, class and group"):
        st.dataframe(verify_words.effects_table(effects), hide_index=True, width="stretch")
        st.caption(
            "First order: the sum of the influences that appear and disappear. Before a verification it has no scale "
            "that retraining knows: read its sign, its order, and the share of random batches of the same size, "
            "class mix and actions that are predicted to do worse. After one whose measurements confirm the order "
            "of the predictions it is scaled to nats."
        )


def _headline(effects: Effects) -> None:
    """The first objective is the run's own: what the model loses on validation samples."""
    first = effects.table.iloc[0]
    direction = "fall" if first["first_order"] < 0 else "rise"
    share = words.percent(float(first["better_than_random"]))
    text = f"Predicted: **{words.escaped(str(first['title']))} will {direction}**"
    if effects.accuracy_change is not None:
        text += (
            f" by {words.number(abs(float(first['loss_change'])))} nats, accuracy "
            f"{verify_words.points(effects.accuracy_change)} points"
        )
    st.markdown(f"{text}. Better than {share} of random batches of the same size and class mix.")
    frame.how_to_read(verify_words.FIDELITY)
