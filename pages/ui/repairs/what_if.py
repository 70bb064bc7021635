"""The what-if bar: the samples that a repair would change, and its predicted effect, before anything is done."""

from __future__ import annotations

import streamlit as st

from influence_core.errors import InfluenceError
from influence_core.jobs.submission import status
from influence_core.repair import repairs
from influence_core.repair.gap_repair import DEAREST, ENOUGH, SIZE, SIZES, measured_gaps, narrowing
from influence_core.repair.label_influence import FLOOR, read_advice
from influence_core.repair.left_out import left_out
from influence_core.repair.predicted_effects import Effects, predicted_effects
from influence_core.repair.repairs import Repair
from influence_core.verification.results import calibration_of
from pages.ui.shell import frame, job_panel, more_work, state
from pages.ui.shell.state import OpenRun
from pages.ui.words import fairness as fairness_words
from pages.ui.words import formats
from pages.ui.words import verify as verify_words
from pages.ui.words.formats import Markdown

DOUBT, TOP, CLASS, DECIDED = "Everything in doubt", "The most suspicious", "One class", "Everything decided"
GAP, SENT = "A gap between groups", "Sent from Fairness"
SCOPES = (DOUBT, TOP, CLASS, DECIDED)
SIZED = "verify_sized"
_SENT = "_sent_to_verify"
PROBLEM, PREDICTION_PROBLEM = "_verify_problem", "_prediction_problem"


def send(repair: Repair) -> None:
    """Take a repair that another page describes to the Verify page; nothing is decided by it. For `on_click`."""
    st.session_state[_SENT] = repair
    frame.redirect("verify", **{state.SCOPE: SENT})


def _sent(open_run: OpenRun) -> Repair | None:
    """The repair that was sent in this session, if it is of the open run."""
    repair: Repair | None = st.session_state.get(_SENT)
    return repair if repair is not None and repair.run == open_run.run.id else None


def choose(open_run: OpenRun) -> Repair:
    """The controls of the bar; returns the repair they describe."""
    gaps, sent = measured_gaps(open_run.run), _sent(open_run)
    scope = st.segmented_control(
        "What if I changed",
        (*SCOPES, *((GAP,) if gaps else ()), *((SENT,) if sent is not None else ())),
        default=DOUBT,
        required=True,
        key=state.SCOPE,
        bind="query-params",
    )
    if scope == GAP:
        return _narrowing(open_run, gaps)
    if scope == SENT and sent is not None:
        st.caption(formats.escaped(f"Without {sent.name}."))
        return sent
    if scope == TOP:
        most = min(2000, len(open_run.run.samples))
        k = st.number_input("How many", 1, most, min(50, most), key=state.TOP, bind="query-params")
        return repairs.most_suspicious(open_run.run, int(k))
    if scope == DECIDED:
        return repairs.decided(open_run.run, open_run.log)
    label = None
    if scope == CLASS:
        label = st.selectbox("Given label", open_run.run.classes, key=state.CLASS, bind="query-params")
    proposed = min(0.99, max(FLOOR, round(open_run.cut, 2)))
    cut = st.slider("From suspicion", FLOOR, 0.99, proposed, 0.01, key=state.FROM, bind="query-params")
    return repairs.above(open_run.run, cut, label=label)


def _narrowing(open_run: OpenRun, gaps: list[str]) -> Repair:
    """A repair that removes what widens a gap: the gap, and how many samples, or as many as validation suggests."""
    titles = {str(open_run.run.description["objectives"][name]["title"]): name for name in gaps}
    left, right = st.columns(2, gap="small", vertical_alignment="bottom")
    title = left.selectbox("Narrow", list(titles), key="verify_gap")
    find_size = right.checkbox(
        "Find the number on validation samples",
        value=True,
        key=SIZED,
        help=f"Trains {len(SIZES)} sizes first and takes the smallest that narrows the gap by "
        f"{formats.percent(ENOUGH)} on validation samples and costs at most {100 * DEAREST:g} points of accuracy.",
    )
    most = round(max(SIZES) * len(open_run.run.samples))
    count = round(SIZE * len(open_run.run.samples))
    if not find_size:
        count = right.number_input("How many samples", 1, max(1, most), max(1, count), key="verify_gap_size")
    return narrowing(open_run.run, titles[title], size=count / len(open_run.run.samples))


def finds_its_size(repair: Repair) -> bool:
    """Whether the number of samples is to be found on validation samples before it is verified."""
    narrows = st.session_state.get(state.SCOPE) == GAP
    return narrows and repair.aim is not None and bool(st.session_state.get(SIZED, True))


def summary(repair: Repair) -> Markdown:
    """'212 labels relabelled, 30 samples removed.'"""
    relabelled, removed = repair.count("relabel"), repair.count("remove")
    if not len(repair):
        return "No sample is selected."
    parts = [formats.plural(relabelled, "label") + " relabelled"] if relabelled else []
    parts += [formats.plural(removed, "sample") + " removed"] if removed else []
    if finds_its_size(repair):
        return (
            f"For example {', '.join(parts)}: samples that widen the gap and raise validation loss, the worst first. "
            "Their final number is found on validation samples; the original data are not changed."
        )
    return f"{', '.join(parts)}; the original data are not changed."


def prediction(open_run: OpenRun, repair: Repair, *, answered: bool) -> Effects | None:
    """The predicted change of every objective, class and group, and who gets worse; or a button to compute it.

    answered: a verification stands above in large type, so the prediction of this repair is said here.
    """
    if repair.aim is not None and len(repair):
        st.markdown(formats.escaped(effect_on_gap(open_run, repair)))
    folder = open_run.run.path / "advice"
    if (folder / "job.json").exists() and status(folder).state != "finished":
        with st.container(border=True):
            job_panel.panel(folder, key="advice_job", title="Trying every candidate label")
        return None
    advice = read_advice(open_run.run)
    missing = (
        () if advice is None else tuple(i for i in map(str, repair.changes.index) if advice.row(i) is None)
    )
    if advice is None or missing:
        text = (
            f"{formats.plural(len(missing), 'sample')} of this choice have no prediction yet."
            if missing
            else ""
        )
        ask(open_run, tuple(map(str, repair.changes.index)), text)
    if advice is None or not len(repair):
        return None
    effects = predicted_effects(open_run.run, repair, advice, calibration=calibration_of(open_run.run))
    if answered:
        st.markdown(_said(effects))
    _show(effects)
    return effects


def effect_on_gap(open_run: OpenRun, repair: Repair) -> str:
    """The predicted effect on the gap and on accuracy of leaving samples out, from influences that are measured."""
    samples, aim = repair.changes.index.tolist(), str(repair.aim)
    utility = "influence_utility" in open_run.run.samples
    accuracy = left_out(open_run.run, samples, "utility") if utility else None
    return fairness_words.effect(left_out(open_run.run, samples, aim), accuracy, len(samples))


def ask(open_run: OpenRun, samples: tuple[str, ...], text: Markdown) -> None:
    """A button that starts a prediction which also covers these samples."""
    if problem := st.session_state.pop(PREDICTION_PROBLEM, None):
        frame.problem(problem)
    row = st.container(horizontal=True, vertical_alignment="center")
    row.button(
        "Predict what it does",
        icon=":material/query_stats:",
        key="predict",
        on_click=_predict,
        args=(open_run, samples),
        **more_work.for_owners(),
    )
    row.caption(f"{text} Tries every candidate label of the samples in doubt.")


def _predict(open_run: OpenRun, also: tuple[str, ...]) -> None:
    try:
        more_work.predict(open_run.run, also=also)
    except InfluenceError as error:
        st.session_state[PREDICTION_PROBLEM] = str(error)


def _said(effects: Effects) -> Markdown:
    headline = formats.escaped(verify_words.predicted_headline(effects))
    return f"**{headline}.** {verify_words.predicted_size(effects)}"


def _show(effects: Effects) -> None:
    frame.how_to_read(verify_words.FIDELITY)
    if (warning := verify_words.guard(effects)) is not None:
        st.warning(formats.escaped(warning), icon=":material/group_remove:")
    if effects.covered < effects.requested:
        st.caption(
            f"The prediction covers {formats.count(effects.covered)} of {formats.count(effects.requested)} changes."
        )
    with st.expander("Predicted change of every objective, class and group"):
        st.dataframe(verify_words.effects_table(effects), hide_index=True, width="stretch")
        st.caption(
            "First order: the sum of the influences that are added and removed. Without a verification its scale is "
            "unknown: read its sign, its order, and the share of random batches of the same size, class mix and "
            "actions that are predicted to do worse. A verification that confirms the order of the predictions "
            "scales it to nats."
        )
