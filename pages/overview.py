"""Overview: what was found in this dataset, and what should be done first?"""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.elements.lib.column_types import ColumnConfig

from pages.ui.charts import base as charts
from pages.ui.components.gallery import Card, gallery
from pages.ui.samples import cards, explained
from pages.ui.shell import cached, frame, state
from pages.ui.shell.state import Chosen
from pages.ui.words import fairness as gaps
from pages.ui.words import formats as words
from pages.ui.words import how_to_read as reading
from pages.ui.words import overview as findings
from pages.ui.words import scores

STRIP = 12


def page() -> None:
    action = frame.header(
        "Overview", "How many training labels are probably wrong, where, and what comes first?"
    )
    chosen = state.require_run()
    action.button(
        "Review labels in doubt",
        type="primary",
        icon=":material/checklist:",
        on_click=frame.go,
        args=("review",),
    )
    answer = st.container()  # drawn last: the slider below it decides the cut
    left, right = (column.container(border=True, height="stretch") for column in st.columns(2, gap="medium"))
    found = suspicion(chosen, left)
    with answer:
        st.title(found.headline, anchor=False)
        metrics(chosen, found)
        if found.possible:
            st.caption(findings.hesitation(found.possible))
        widest_gap(chosen)
    with right:
        confusion(chosen, found)
    strip(chosen)
    what_next(found)
    if (truth := cached.truth(chosen.run.id, chosen.run)) is not None:
        how_well(chosen, truth)
    what_was_computed(chosen)


def metrics(chosen: Chosen, found: findings.Findings) -> None:
    """Five numbers with their intervals, or with what they are a share of."""
    facts = findings.facts(chosen.run.description["results"], found)
    for column, fact in zip(st.columns(5, gap="small"), facts, strict=True):
        column.metric(
            fact.title,
            fact.value,
            fact.detail,
            delta_color="off",
            delta_arrow="off",
            border=True,
            help=fact.help,
        )


def widest_gap(chosen: Chosen) -> None:
    """One line for the widest gap between groups, where the run measured any, and the way to its page."""
    known = [aim for aim in gaps.aims(chosen.run) if aim.kind is not None]
    if not known:
        return
    widest = max(known, key=lambda aim: aim.facts["rate"]["value"] if aim.facts["rate"]["present"] else 0.0)
    row = st.container(horizontal=True, vertical_alignment="center")
    row.markdown(
        f"**Between groups of {words.escaped(widest.column)}:** {words.escaped(gaps.headline(widest))}",
        width="content",
    )
    row.button(
        "Who widens it?", type="tertiary", icon=":material/balance:", on_click=frame.go, args=("fairness",)
    )


def suspicion(chosen: Chosen, place: DeltaGenerator) -> findings.Findings:
    """The distribution with its cut; the slider is read before anything that depends on it is drawn."""
    with place:
        frame.section("Suspicion of all samples", reading.SUSPICION)
        chart = st.container()
        found = findings.find(chosen.run, state.cut_slider(chosen.cut))
    figure = charts.distribution(
        chosen.run.samples["suspicion"].to_numpy(),
        cut=found.cut,
        high_is_suspicious=True,
        title="suspicion",
        cut_label=f"cut {found.cut:.2f}: {words.count(found.flagged)} in doubt",
        theme=state.theme(),
        suspicion_scale=True,
        height=340,
    )
    with chart:
        frame.draw(figure, alt=found.headline, key="suspicion_chart")
    return found


def confusion(chosen: Chosen, found: findings.Findings) -> None:
    frame.section("Given and suggested label", reading.CONFUSION)
    if found.pair is None:
        st.caption("No sample reaches the cut, so there is nothing to compare.")
        return
    event = frame.draw(
        charts.confusion(found.confusion, theme=state.theme()),
        alt=f"Most frequent pair: {found.pair[0]} that looks like {found.pair[1]}",
        key=f"confusion_{chosen.name}",
        on_select="rerun",
        selection_mode="points",
    )
    st.caption("Click a cell to see its samples.")
    if points := event["selection"]["points"]:
        given, suggested = points[0]["customdata"][:2]
        frame.go("outliers", **{state.GIVEN: given, state.SUGGESTED: suggested})
        st.rerun()


def strip(chosen: Chosen) -> None:
    frame.section(f"The {STRIP} most suspicious {explained.noun(chosen.run)}s")
    positions = cached.order(chosen.run.id, "suspicion", chosen.run)[:STRIP]
    shown = cards.cards(chosen.run, chosen.name, positions, chosen.log)
    gallery(
        [Card(**{**card, "bars": []}) for card in shown],
        key=f"strip_{chosen.name}",
        version=chosen.run.id,
        classes=chosen.run.classes,
        apply=lambda event: None,
        columns=STRIP // 2,
        label="The most suspicious samples",
        read_only=True,
        autofocus=False,
    )


def what_next(found: findings.Findings) -> None:
    frame.section("What to do next")
    st.markdown("\n".join(findings.next_steps(found)))


def how_well(chosen: Chosen, truth: pd.Series) -> None:
    """Only where the true labels are known: the demo."""
    table = cached.detection(chosen.run.id, chosen.run)
    with st.container(border=True):
        frame.section("How well did it do?", reading.DETECTION)
        st.markdown(findings.verdict(table, int(findings.wrong(chosen.run, truth).sum()), len(truth)))
        left, right = st.columns(2, gap="medium")
        titles = {name: scores.title_of(name, chosen.run.description["columns"]) for name in table.index}
        with left:
            frame.draw(
                charts.detection(table, titles, theme=state.theme()),
                alt="AUROC of every signal",
                key="detection",
            )
        with right:
            st.dataframe(
                findings.detection_rows(table, titles),
                hide_index=True,
                row_height=28,
                height="content",
                column_config={
                    "Signal": st.column_config.TextColumn("Signal", width=180),
                    "AP": _share(
                        "AP", "Average precision: precision averaged over all wrong labels, 1 is perfect."
                    ),
                    "First 5 %": _share("First 5 %", "Share of real errors among the first 5 % of the list."),
                    "First 10 %": _share(
                        "First 10 %", "Share of real errors among the first 10 % of the list."
                    ),
                },
            )
        st.caption(
            "Shown because this dataset carries its true labels in truth.csv. No analysis reads that file."
        )


def _share(title: str, help: str) -> ColumnConfig:
    return st.column_config.NumberColumn(title, format="%.3f", width=62, help=help)


def what_was_computed(chosen: Chosen) -> None:
    with st.expander("What was computed, and can it be trusted?", icon=":material/verified:"):
        st.markdown(
            f"{frame.reproducibility_badge(chosen.run)} {findings.reproducibility_sentence(chosen.run)}"
        )
        for line in findings.provenance(chosen.run):
            st.markdown(line)
        columns = chosen.run.description["columns"]
        st.markdown(
            "\n".join(
                f"- **{order.title}**: {scores.score_sentence(order.column, columns)}"
                for order in scores.orders(columns)
            )
        )


page()
