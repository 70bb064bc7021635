"""The Robustness page: accuracy under attack, and the training samples that make the model fragile."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from influence_core.analysis.adversarial_examples import Examples, read_examples
from influence_core.errors import InfluenceError
from influence_core.jobs.submission import JobSpec
from influence_core.runs.run import Run
from pages.ui.charts import robustness as robustness_charts
from pages.ui.charts import trade_off as trade_off_charts
from pages.ui.components.gallery import gallery
from pages.ui.samples import attacked_inputs, cards, explained, writing
from pages.ui.shell import cached, frame, more_work, state
from pages.ui.shell.state import OpenRun
from pages.ui.words import formats, how_to_read, scores
from pages.ui.words import robustness as robustness_words

PROBLEM = "_robustness_problem"
SHOWN, WORST = 8, 24


def page() -> None:
    frame.header(
        "Robustness",
        "How small a change makes the model fail, and which training samples make it so fragile?",
    )
    open_run = state.require_run()
    facts = open_run.run.description.get("robustness")
    if facts is None:
        not_measured(open_run)
        return
    frame.large(formats.plain_sentence(robustness_words.headline(facts)))
    metrics(facts)
    left, right = (
        column.container(border=True, height="stretch") for column in st.columns([3, 2], gap="medium")
    )
    with left:
        frame.section("Accuracy under attack", how_to_read.ATTACK)
        figure = robustness_charts.accuracy_curve(facts, theme=state.theme())
        frame.draw(figure, alt=robustness_words.headline(facts), key="curve")
        st.caption(
            f"Measured on {formats.count(facts['samples'])} validation samples; bands are 95 % intervals."
        )
    with right:
        frame.section("Accuracy under natural changes")
        figure = robustness_charts.corruptions(facts, theme=state.theme())
        frame.draw(figure, alt="Accuracy under noise and other natural changes", key="corruptions")
        st.caption("One middle severity each; bars are 95 % intervals.")
    if (examples := read_examples(open_run.run)) is not None and len(examples):
        adversarial(open_run.run, examples, facts)
    fragile(open_run)


def metrics(facts: dict[str, Any]) -> None:
    """Four accuracies with their intervals."""
    natural = facts["corruptions"]
    worst = min(natural, key=lambda name: natural[name]["value"])
    shown = (
        ("Clean accuracy", facts["clean"]),
        ("Under PGD", robustness_words.at_usual(facts, "pgd")),
        ("Under FGSM", robustness_words.at_usual(facts, "fgsm")),
        (f"Worst natural change: {worst if worst != 'jpeg' else 'JPEG'}", natural[worst]),
    )
    for column, (title, share) in zip(st.columns(4, gap="small"), shown, strict=True):
        column.metric(
            formats.escaped(title),
            formats.percent(share["value"]),
            formats.interval(share["low"], share["high"]),
            delta_color="off",
            delta_arrow="off",
            border=True,
        )


# ---------------------------------------------------------------------------------------------- not measured


def not_measured(open_run: OpenRun) -> None:
    """Offer the same analysis with robustness as a job, or name the call that measures it."""
    spec = more_work.spec_with_robustness(open_run.run)
    with st.container(border=True, horizontal_alignment="center", gap="small"):
        st.space("medium")
        st.header("Robustness was not measured in this run", anchor=False, text_alignment="center")
        if spec is None:
            st.markdown(
                ":gray[It was made from objects in Python. Analyse again with "
                '`objectives=["utility", "robustness"]`.]',
                text_alignment="center",
            )
        else:
            st.markdown(
                ":gray[Runs the same analysis again, with attacks on the validation samples. It takes longer and makes "
                "a new run; this one is kept.]",
                text_alignment="center",
            )
            st.button(
                "Measure robustness",
                type="primary",
                icon=":material/shield:",
                on_click=measure,
                args=(spec,),
                key="measure_robustness",
                **more_work.for_owners(),
            )
        if problem := st.session_state.pop(PROBLEM, None):
            frame.problem(problem)
        st.space("medium")


def measure(spec: JobSpec) -> None:
    """Start the job and open its run, so that this page shows its progress."""
    try:
        state.open_run_named(more_work.analyse(spec))
    except InfluenceError as error:
        st.session_state[PROBLEM] = str(error)


# ---------------------------------------------------------------------------------------------- examples


def adversarial(run: Run, examples: Examples, facts: dict[str, Any]) -> None:
    """Original inputs, their attacked versions, and the amplified change."""
    with st.container(border=True):
        frame.section("Small changes and their effect")
        if examples.original.ndim != 4:
            st.dataframe(attacked_inputs.moved_features(run, examples), hide_index=True)
            return
        st.caption("Top: the original. Middle: attacked. Bottom: the change, amplified (grey = none).")
        for column, row in zip(
            st.columns(SHOWN, gap="small"), range(min(SHOWN, len(examples))), strict=False
        ):
            before, after = run.classes[examples.before[row]], run.classes[examples.after[row]]
            original, attacked = examples.original[row], examples.attacked[row]
            times = attacked_inputs.amplification(original, attacked)
            column.image(
                attacked_inputs.shown(original), alt=f"Original, recognised as {before}", width="stretch"
            )
            column.image(attacked_inputs.shown(attacked), alt=f"Attacked, taken for {after}", width="stretch")
            column.image(
                attacked_inputs.shown(attacked_inputs.change(original, attacked, times)),
                alt="The change",
                width="stretch",
            )
            column.caption(
                f"{formats.escaped(before)} → **{formats.escaped(after)}**  \n"
                f"{formats.escaped(robustness_words.strength_words(facts, float(examples.strength[row])))}, "
                f"change amplified {times:.0f} times"
            )


# ---------------------------------------------------------------------------------------------- who makes it fragile


def fragile(open_run: OpenRun) -> None:
    names = robustness_words.columns(open_run.run)
    if not names:
        return
    columns = open_run.run.description["columns"]
    column = names[0]
    if len(names) > 1:
        column = st.selectbox(
            "Objective",
            names,
            format_func=lambda name: scores.title_of(name, columns),
            key=state.ROBUST,
            bind="query-params",
            width=420,
        )
    values = open_run.run.samples[column].to_numpy(dtype=float)
    frame.section(
        f"The training {explained.noun(open_run.run)}s that make the model most fragile", how_to_read.FRAGILE
    )
    st.caption(
        f"{scores.score_sentence(column, columns)} Percent on a card: its share of all that makes it fragile."
    )
    rows = robustness_words.worst(open_run.run, column, WORST)
    if not len(rows):
        frame.nothing(
            "No training sample makes the model fragile",
            "One more training step on any of them would make it more robust.",
        )
    else:
        grid(open_run, rows, values, column)
    if "influence_utility" in open_run.run.samples.columns:
        same(open_run, values, column)


@st.fragment
@frame.framed
def grid(open_run: OpenRun, rows: np.ndarray, values: np.ndarray, column: str) -> None:
    plain = explained.doubted(cards.cards(open_run.run, open_run.name, rows, open_run.log), open_run.cut)
    table = open_run.run.samples.iloc[rows].assign(influence=values[rows])
    notes = explained.shares(values[rows].tolist(), -float(values[values < 0].sum()))
    gallery(
        explained.with_scores(plain, table, notes, float(np.abs(values[rows]).max())),
        key=f"fragile_{open_run.name}",
        version=f"{open_run.run.id}:{column}",
        classes=open_run.run.classes,
        apply=writing.writer(open_run),
        label="Images that make the model fragile",
        autofocus=False,
    )


def same(open_run: OpenRun, robust: np.ndarray, column: str) -> None:
    """Whether the fragile samples are those that hurt accuracy: a chart and sentences."""
    with st.container(border=True):
        frame.section(f"Are they the {explained.noun(open_run.run)}s that hurt accuracy?")
        left, right = st.columns([3, 2], gap="medium")
        utility = open_run.run.samples["influence_utility"].to_numpy(dtype=float)
        relation = cached.relation(open_run.run.id, column, open_run.run)
        with left:
            figure = trade_off_charts.trade_off(
                utility,
                robust,
                quarters=robustness_words.QUARTERS,
                axis="fragile  |  influence on robustness  |  robust",
                name="robustness",
                theme=state.theme(),
            )
            frame.draw(figure, alt="Influence on validation loss and on robustness", key="trade_off")
        with right:
            for sentence in robustness_words.relation_sentences(relation):
                st.markdown(sentence)


page()
