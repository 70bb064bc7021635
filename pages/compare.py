"""The Compare page: how far the signals agree, what each would add to the queue, and what the run trusted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from influence_core.judging import signals
from influence_core.judging.detection import doubts
from pages.ui.charts import compare as compare_charts
from pages.ui.samples import explained, review_button, selection
from pages.ui.shell import cached, frame, state
from pages.ui.shell.state import OpenRun
from pages.ui.words import compare as compare_words
from pages.ui.words import formats, how_to_read, scores
from pages.ui.words import overview as overview_words

NEXT = 50
AT_MOST_CURVES = 4


def page() -> None:
    action = frame.header("Compare", "Do the signals agree, and what would each one add to the queue?")
    open_run = state.require_run()
    review_button.draw(action, open_run)
    wrong, source = errors(open_run)
    table = doubts(open_run.run.samples)
    columns = open_run.run.description["columns"]
    titles = {name: scores.title_of(str(name), columns) for name in (*table, "random")}
    trusted(open_run)
    added(open_run, table, titles, wrong, source)
    alike(table, titles)
    quality(table, titles, wrong, source)
    meaning(open_run, table, titles)


def errors(open_run: OpenRun) -> tuple[pd.Series, str]:
    """The known wrong labels by sample id, and their source in words."""
    truth = cached.truth(open_run.run.id, open_run.run)
    if truth is not None:
        return overview_words.wrong(open_run.run, truth).astype(
            "boolean"
        ), "the true labels of this dataset (truth.csv)"
    wrong = signals.decided_errors(open_run.log.current(open_run.run.id), open_run.run.samples.index)
    return wrong, f"the {formats.plural(int(wrong.notna().sum()), 'decision')} made so far"


def trusted(open_run: OpenRun) -> None:
    """The answer in large type: which kinds of readers this run trusted, and whether the model memorised."""
    results, noun = open_run.run.description["results"], explained.noun(open_run.run)
    frame.large(compare_words.headline(results, noun))
    if not (shares := compare_words.kinds(results, noun)):
        return
    st.markdown(f":gray[{compare_words.reasons(results)}]")
    with st.container(border=True):
        frame.section("What this run trusted", how_to_read.TRUST)
        frame.draw(
            compare_charts.kinds(shares, theme=state.theme()),
            alt=compare_words.headline(results, noun),
            key="kinds",
        )
        with st.expander("All evidence, and why it was trusted"):
            st.dataframe(
                compare_words.rows(results, noun),
                hide_index=True,
                row_height=28,
                height="content",
                column_config={
                    "Evidence": st.column_config.TextColumn("Evidence", width=320),
                    "Weight": st.column_config.NumberColumn(
                        "Weight", format=f"%.1f{formats.THIN}%%", width=80, help="Share of the whole weight."
                    ),
                    "Why": st.column_config.TextColumn("Why", width=480),
                },
            )


def added(
    open_run: OpenRun, table: pd.DataFrame, titles: dict[str, str], wrong: pd.Series, source: str
) -> None:
    """Errors among the next samples of each signal outside the queue."""
    with st.container(border=True):
        frame.section("What would each signal add to the queue?", how_to_read.YIELD)
        k = st.slider("Next samples by each signal", 10, 200, NEXT, 10, key="next_samples")
        queue = np.zeros(len(table), dtype=bool)
        queue[selection.queue(open_run.run, open_run.cut)] = True
        yields = signals.marginal_yield(table, queue, wrong, k)
        if not any(y.judged for y in yields):
            frame.nothing(
                "No sample outside the queue is reviewed yet",
                "Review some in another order on Outliers; this chart then shows what each order adds.",
            )
            return
        st.markdown(compare_words.added(yields, titles, int(queue.sum())))
        figure = compare_charts.yields(yields, titles, theme=state.theme())
        frame.draw(figure, alt="Errors added by each signal", key="yields")
        st.caption(f"Judged by {formats.escaped(source)}.")


def alike(table: pd.DataFrame, titles: dict[str, str]) -> None:
    """Rank agreement over all samples, or overlap of the first ones."""
    with st.container(border=True):
        frame.section("Do the signals agree?", how_to_read.AGREEMENT)
        left, right = st.columns([2, 2], vertical_alignment="bottom")
        views = ("Agreement of all ranks", "Overlap of the first samples")
        view = left.segmented_control("Compare by", views, default=views[0], required=True, key="compare_by")
        share = view == views[1]
        k = right.slider(
            "First samples", 10, max(20, len(table) // 2), min(100, len(table) // 4), 10, disabled=not share
        )
        matrix = signals.overlap(table, k) if share else signals.agreement(table)
        figure = compare_charts.matrix(matrix, titles, theme=state.theme(), share=share)
        frame.draw(figure, alt=f"{view}, every signal against every other", key="matrix")


def quality(table: pd.DataFrame, titles: dict[str, str], wrong: pd.Series, source: str) -> None:
    """Precision against recall, where errors are known."""
    with st.container(border=True):
        frame.section("How many of the first are real errors?", how_to_read.PRECISION_RECALL)
        curves = signals.curves(table, wrong)
        if not curves:
            frame.nothing(
                "No error is known yet",
                "Relabel or remove some samples on Review; the curves are then drawn from these decisions.",
            )
            return
        others = [str(name) for name in table if name != "suspicion"]
        usual = [name for name in ("loss", "outlier_forest", "confident_learning") if name in others]
        names = st.multiselect(
            "Signals to compare with suspicion",
            others,
            default=usual,
            format_func=lambda name: titles[str(name)],
            max_selections=AT_MOST_CURVES,
            key="curves",
        )
        figure = compare_charts.precision_recall(curves, titles, names, theme=state.theme())
        frame.draw(figure, alt="Precision against recall", key="precision_recall")
        judged = int(wrong.notna().sum())
        st.caption(
            f"Over {formats.plural(judged, 'judged sample')}, by {formats.escaped(source)}; "
            "the dotted line is a random order."
        )


def meaning(open_run: OpenRun, table: pd.DataFrame, titles: dict[str, str]) -> None:
    with st.expander("What each signal means", icon=":material/info:"):
        columns = open_run.run.description["columns"]
        lines = [
            f"- **{formats.escaped(titles[str(name)])}**: {scores.score_sentence(str(name), columns)}"
            for name in table
        ]
        st.markdown("\n".join(lines))


page()
