"""Compare: do the signals agree, what would each one add, and which of them did this run trust?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from influence_core.judging import signals as comparison
from influence_core.judging.detection import doubts
from pages.ui.charts import compare as comparison_charts
from pages.ui.samples import selection
from pages.ui.shell import cached, frame, state
from pages.ui.shell.state import Chosen
from pages.ui.words import compare as trust
from pages.ui.words import formats as words
from pages.ui.words import how_to_read as reading
from pages.ui.words import overview as findings
from pages.ui.words import scores

NEXT = 50
AT_MOST_CURVES = 4


def page() -> None:
    action = frame.header("Compare", "Do the signals agree, and what would each one add to the queue?")
    chosen = state.require_run()
    action.button(
        "Review labels in doubt",
        type="primary",
        icon=":material/checklist:",
        on_click=frame.go,
        args=("review",),
    )
    wrong, source = errors(chosen)
    table = doubts(chosen.run.samples)
    columns = chosen.run.description["columns"]
    titles = {name: scores.title_of(str(name), columns) for name in (*table, "random")}
    trusted(chosen)
    added(chosen, table, titles, wrong, source)
    alike(table, titles)
    quality(table, titles, wrong, source)
    meaning(chosen, table, titles)


def errors(chosen: Chosen) -> tuple[pd.Series, str]:
    """Which labels are wrong, as far as anybody knows, and how it is known."""
    truth = cached.truth(chosen.run.id, chosen.run)
    if truth is not None:
        return findings.wrong(chosen.run, truth).astype(
            "boolean"
        ), "the true labels of this dataset (truth.csv)"
    current = chosen.log.current(chosen.run.id)
    decided = dict(zip(current.index.astype(str), current["action"], strict=True))
    found = comparison.decided_errors(decided, chosen.run.samples.index)
    return found, f"the {words.plural(int(found.notna().sum()), 'decision')} made so far"


def trusted(chosen: Chosen) -> None:
    """What suspicion was made of in this run, and why."""
    frame.section("What this run trusted, and why")
    results = chosen.run.description["results"]
    st.markdown(trust.headline(results))
    rows = trust.rows(results)
    if len(rows):
        st.dataframe(
            rows,
            hide_index=True,
            row_height=28,
            height="content",
            column_config={
                "Evidence": st.column_config.TextColumn("Evidence", width=220),
                "Share": st.column_config.ProgressColumn(
                    "Share",
                    format="percent",
                    min_value=0,
                    max_value=1,
                    width=140,
                    help="Share of the whole weight.",
                ),
                "Why": st.column_config.TextColumn("Why", width=480),
            },
        )


def added(chosen: Chosen, table: pd.DataFrame, titles: dict[str, str], wrong: pd.Series, source: str) -> None:
    """The next fifty by each signal that the queue of suspicion does not hold."""
    with st.container(border=True):
        frame.section("What would each signal add to the queue?", reading.YIELD)
        k = st.slider("Next samples by each signal", 10, 200, NEXT, 10, key="next_samples")
        queue = np.zeros(len(table), dtype=bool)
        queue[selection.queue(chosen.run, chosen.cut)] = True
        found = comparison.marginal_yield(table, queue, wrong, k)
        if not any(y.known for y in found):
            frame.nothing(
                "Nobody has looked beyond the queue yet",
                "Decide about some samples by another order, on Outliers, and this chart shows what each order adds.",
            )
            return
        st.markdown(trust.added(found, titles, int(queue.sum())))
        figure = comparison_charts.yields(found, titles, theme=state.theme())
        frame.draw(figure, alt="Errors added by each signal", key="yields")
        st.caption(f"Judged by {source}.")


def alike(table: pd.DataFrame, titles: dict[str, str]) -> None:
    """Rank agreement over all samples, or overlap of the heads."""
    with st.container(border=True):
        frame.section("Do they say the same?", reading.AGREEMENT)
        left, right = st.columns([2, 2], vertical_alignment="bottom")
        views = ("Agreement of all ranks", "Overlap of the first samples")
        view = left.segmented_control("Compare by", views, default=views[0], required=True, key="compare_by")
        share = view == views[1]
        k = right.slider(
            "First samples", 10, max(20, len(table) // 2), min(100, len(table) // 4), 10, disabled=not share
        )
        matrix = comparison.overlap(table, k) if share else comparison.agreement(table)
        figure = comparison_charts.matrix(matrix, titles, theme=state.theme(), share=share)
        frame.draw(figure, alt=f"{view}, every signal against every other", key="matrix")


def quality(table: pd.DataFrame, titles: dict[str, str], wrong: pd.Series, source: str) -> None:
    """Precision against recall, where something is known."""
    with st.container(border=True):
        frame.section("How many of those in front are errors?", reading.PRECISION_RECALL)
        found = comparison.curves(table, wrong)
        if not found:
            frame.nothing(
                "No error is known yet",
                "Relabel or remove some samples in Review; the curves are then drawn over what was decided.",
            )
            return
        others = [str(name) for name in table if name != "suspicion"]
        usual = [name for name in ("loss", "outlier_forest", "confident_learning") if name in others]
        names = st.multiselect(
            "Signals beside suspicion",
            others,
            default=usual,
            format_func=lambda name: titles[str(name)],
            max_selections=AT_MOST_CURVES,
            key="curves",
        )
        figure = comparison_charts.precision_recall(found, titles, names, theme=state.theme())
        frame.draw(figure, alt="Precision against recall", key="precision_recall")
        known = int(wrong.notna().sum())
        st.caption(
            f"Over {words.plural(known, 'judged sample')}, by {source}; the dotted line is a random order."
        )


def meaning(chosen: Chosen, table: pd.DataFrame, titles: dict[str, str]) -> None:
    with st.expander("What each signal means", icon=":material/info:"):
        columns = chosen.run.description["columns"]
        lines = [f"- **{titles[str(name)]}**: {scores.score_sentence(str(name), columns)}" for name in table]
        st.markdown("\n".join(lines))


page()
