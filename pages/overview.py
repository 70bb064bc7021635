"""The Overview page: how many labels are wrong, in which classes, and where to start."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.elements.lib.column_types import ColumnConfig

from pages.ui.charts import base as base_charts
from pages.ui.charts import overview as overview_charts
from pages.ui.components.gallery import Card, gallery
from pages.ui.samples import cards, explained, review_button
from pages.ui.shell import cached, frame, state
from pages.ui.shell.state import OpenRun
from pages.ui.words import fairness as fairness_words
from pages.ui.words import formats, how_to_read, scores
from pages.ui.words import overview as overview_words
from pages.ui.words.formats import Markdown

STRIP = 12


def page() -> None:
    action = frame.header("Overview", "How many labels are wrong, in which classes, and where to start?")
    open_run = state.require_run()
    review_button.draw(action, open_run)
    answer = st.container()  # drawn last: the slider below it decides the cut
    left, right = (column.container(border=True, height="stretch") for column in st.columns(2, gap="medium"))
    findings = suspicion(open_run, left)
    with answer:
        frame.large(formats.plain_sentence(findings.headline))
        metrics(open_run, findings)
        if not findings.told and round(findings.errors.high):
            st.caption(overview_words.HESITATION)
        if mix := open_run.run.description["results"].get("validation_mix"):
            st.caption(formats.escaped(mix))
        widest_gap(open_run)
    with right:
        confusion(open_run, findings)
    strip(open_run)
    what_next(findings)
    if (truth := cached.truth(open_run.run.id, open_run.run)) is not None:
        how_well(open_run, truth)
    what_was_computed(open_run)


def metrics(open_run: OpenRun, findings: overview_words.Findings) -> None:
    """Five numbers, each with its interval or with what it is a share of."""
    facts = overview_words.facts(open_run.run.description["results"], findings)
    for column, fact in zip(st.columns(5, gap="small"), facts, strict=True):
        column.metric(
            formats.escaped(fact.title),
            formats.escaped(fact.value),
            formats.escaped(fact.detail),
            delta_color="off",
            delta_arrow="off",
            border=True,
            help=formats.plain_sentence(fact.help),
        )


def widest_gap(open_run: OpenRun) -> None:
    """One line for the widest gap between groups, where the run measured any, with a link to its page."""
    aims = [aim for aim in fairness_words.fairness_objectives(open_run.run) if aim.kind is not None]
    if not aims:
        return
    widest = max(aims, key=lambda aim: aim.facts["rate"]["value"] if aim.facts["rate"]["present"] else 0.0)
    row = st.container(horizontal=True, vertical_alignment="center")
    row.markdown(
        f"**Between groups of {formats.escaped(widest.column)}:** {formats.escaped(fairness_words.headline(widest))}",
        width="content",
    )
    row.button(
        "Who widens it?",
        type="tertiary",
        icon=":material/balance:",
        on_click=frame.redirect,
        args=("fairness",),
        kwargs={"objective": widest.title},
    )


def suspicion(open_run: OpenRun, place: DeltaGenerator) -> overview_words.Findings:
    """The distribution with its cut; the slider is read before anything that depends on it is drawn."""
    with place:
        frame.section("Suspicion of all samples", how_to_read.SUSPICION)
        chart = st.container()
        decisions = open_run.log.current(open_run.run.id)
        findings = overview_words.find(open_run.run, state.cut_slider(open_run.cut), decisions)
    figure = base_charts.distribution(
        open_run.run.samples["suspicion"].to_numpy(),
        cut=findings.cut,
        high_is_suspicious=True,
        title="suspicion",
        cut_label=f"cut {findings.cut:.2f}: {formats.count(findings.flagged)} in doubt",
        theme=state.theme(),
        suspicion_scale=True,
        height=340,
    )
    with chart:
        frame.draw(figure, alt=findings.headline, key="suspicion_chart")
    return findings


def confusion(open_run: OpenRun, findings: overview_words.Findings) -> None:
    frame.section("Given and suggested label", how_to_read.CONFUSION)
    if findings.pair is None:
        st.caption("No sample reaches the cut, so there is nothing to compare.")
        return
    event = frame.draw(
        overview_charts.confusion(findings.confusion, theme=state.theme()),
        alt=f"Most frequent pair: {findings.pair[0]} that looks like {findings.pair[1]}",
        key=f"confusion_{open_run.name}",
        on_select="rerun",
        selection_mode="points",
    )
    st.caption("Click a cell to see its samples.")
    if points := event["selection"]["points"]:
        given, suggested = points[0]["customdata"][:2]
        frame.redirect("outliers", **{state.GIVEN: given, state.SUGGESTED: suggested})
        st.rerun()


def strip(open_run: OpenRun) -> None:
    frame.section(f"The {STRIP} most suspicious {explained.noun(open_run.run)}s")
    positions = cached.order(open_run.run.id, "suspicion", open_run.run)[:STRIP]
    shown = cards.cards(open_run.run, open_run.name, positions, open_run.log)
    gallery(
        [Card(**{**card, "bars": []}) for card in shown],
        key=f"strip_{open_run.name}",
        version=open_run.run.id,
        classes=open_run.run.classes,
        apply=lambda event: None,
        columns=STRIP // 2,
        label="The most suspicious samples",
        read_only=True,
        autofocus=False,
    )


def what_next(findings: overview_words.Findings) -> None:
    frame.section("What to do next")
    st.markdown("\n".join(overview_words.next_steps(findings)))


def how_well(open_run: OpenRun, truth: pd.Series) -> None:
    """How well each signal finds the wrong labels; only where the true labels are known."""
    table = cached.detection(open_run.run.id, open_run.run)
    with st.container(border=True):
        frame.section("How well did it do?", how_to_read.DETECTION)
        st.markdown(
            overview_words.verdict(table, int(overview_words.wrong(open_run.run, truth).sum()), len(truth))
        )
        titles = {name: scores.title_of(name, open_run.run.description["columns"]) for name in table.index}
        signals(overview_charts.leading(table), titles, "The first signals and a random order")
        with st.expander("All signals"):
            signals(table, titles, "All signals")
        st.caption(
            "Shown because this dataset has its true labels in truth.csv. No analysis reads that file."
        )


def signals(table: pd.DataFrame, titles: dict[str, str], alt: str) -> None:
    """How well some signals find wrong labels, as dots and as numbers."""
    left, right = st.columns(2, gap="medium")
    with left:
        figure = overview_charts.detection(table, titles, theme=state.theme())
        frame.draw(figure, alt=f"AUROC: {alt}", key=f"detection_{len(table)}")
    with right:
        st.dataframe(
            overview_words.detection_rows(table, titles),
            hide_index=True,
            row_height=28,
            height="content",
            column_config={
                "Signal": st.column_config.TextColumn("Signal", width=180),
                "AP": _share_column(
                    "AP", "Average precision: precision averaged over all wrong labels, 1 is perfect."
                ),
                "First 5 %": _share_column(
                    "First 5 %", "Share of real errors among the first 5 % of the list."
                ),
                "First 10 %": _share_column(
                    "First 10 %", "Share of real errors among the first 10 % of the list."
                ),
            },
        )


def _share_column(title: str, help: Markdown) -> ColumnConfig:
    return st.column_config.NumberColumn(title, format="%.3f", width=62, help=help)


def what_was_computed(open_run: OpenRun) -> None:
    with st.expander("What was computed, and can it be trusted?", icon=":material/verified:"):
        st.markdown(
            f"{frame.reproducibility_badge(open_run.run)} "
            f"{formats.plain_sentence(overview_words.reproducibility_sentence(open_run.run))}"
        )
        for line in overview_words.provenance(open_run.run):
            st.markdown(line)
        columns = open_run.run.description["columns"]
        st.markdown(
            "\n".join(
                f"- **{formats.escaped(order.title)}**: {scores.score_sentence(order.column, columns)}"
                for order in scores.orders(columns)
            )
        )


page()
