"""Outliers: which training samples are unusual, by which score, and how do they look?"""

from __future__ import annotations

import streamlit as st

from pages.ui.charts import base as charts
from pages.ui.samples import explained, selection
from pages.ui.samples.grid import grid
from pages.ui.shell import frame, state
from pages.ui.shell.state import Chosen
from pages.ui.words import formats as words
from pages.ui.words import how_to_read as reading
from pages.ui.words import scores
from pages.ui.words.scores import Order

SIZES = (60, 120, 200)


def page() -> None:
    action = frame.header(
        "Outliers", "Which training samples are unusual, by which score, and how do they look?"
    )
    chosen = state.require_run()
    action.button(
        "Review labels in doubt",
        type="primary",
        icon=":material/checklist:",
        on_click=frame.go,
        args=("review",),
    )
    order, filters = controls(chosen)
    left, right = (
        column.container(border=True, height="stretch") for column in st.columns([2, 1], gap="medium")
    )
    with right:
        share = about_score(chosen, order)
    with left:
        distribution(chosen, order, share)
    images(chosen, order, share, filters)


def controls(chosen: Chosen) -> tuple[Order, selection.Filters]:
    """Sort and filters in one row, all of them kept in the address bar."""
    columns = chosen.run.description["columns"]
    sort, given, predicted, suggested = st.columns([3, 2, 2, 2], gap="small")
    title = sort.selectbox(
        "Sort by", [order.title for order in scores.orders(columns)], key=state.SORT, bind="query-params"
    )
    classes = list(chosen.run.classes)
    filters = selection.Filters(
        given=given.selectbox(
            "Given label", classes, None, key=state.GIVEN, bind="query-params", placeholder="All"
        ),
        predicted=predicted.selectbox(
            "Predicted label", classes, None, key=state.PREDICTED, bind="query-params", placeholder="All"
        ),
        suggested=suggested.selectbox(
            "Suggested label", classes, None, key=state.SUGGESTED, bind="query-params", placeholder="All"
        ),
    )
    return scores.order_named(title, columns), filters


def about_score(chosen: Chosen, order: Order) -> float:
    """What the score means, and how much of the list is shown; returns that share."""
    frame.section(order.title)
    st.markdown(scores.score_sentence(order.column, chosen.run.description["columns"]))
    st.space("stretch")
    percentage = st.slider(
        "Show the most suspicious",
        min_value=0.5,
        max_value=100.0,
        value=default_percentage(chosen),
        step=0.5,
        format="%.1f %%",
        key=state.SHARE,
        bind="query-params",
    )
    return percentage / 100


def default_percentage(chosen: Chosen) -> float:
    """As many as are in doubt, in steps of half a per cent."""
    flagged = len(selection.queue(chosen.run, chosen.cut))
    return min(100.0, max(0.5, round(200 * flagged / len(chosen.run.samples)) / 2))


def distribution(chosen: Chosen, order: Order, share: float) -> None:
    frame.section("Distribution over all samples", reading.SCORE)
    threshold = selection.threshold(chosen.run, order, share)
    side = "at most" if order.lowest_first else "at least"
    figure = charts.distribution(
        chosen.run.samples[order.column].to_numpy(dtype=float),
        cut=threshold,
        high_is_suspicious=not order.lowest_first,
        title=scores.axis_title(order, chosen.run.description["columns"]),
        cut_label=f"{words.percent(share)}: {side} {words.number(threshold)}",
        theme=state.theme(),
        suspicion_scale=order.column == "suspicion",
    )
    frame.draw(
        figure, alt=f"Distribution of {order.title}; shown are scores of {side} {threshold:.3g}", key="scores"
    )


def images(chosen: Chosen, order: Order, share: float, filters: selection.Filters) -> None:
    positions = selection.beyond(chosen.run, order, share, filters)
    about, sizes, pages = st.columns([2, 1, 1], vertical_alignment="bottom")
    size = sizes.segmented_control(
        "Images a page", SIZES, default=SIZES[0], required=True, key=state.PAGE_SIZE, bind="query-params"
    )
    count = max(1, -(-len(positions) // size))
    with pages.container(horizontal_alignment="right"):
        number = st.pagination(count, key=state.PAGE, bind="query-params")
    if not len(positions):
        about.caption("No sample passes these filters.")
        frame.nothing("No sample passes these filters", "Choose another class, or show more of the list.")
        return
    shown, kind = selection.span(number, size, len(positions)), f"{explained.noun(chosen.run)}s"
    about.markdown(f"**{shown} {kind}** {words.escaped(filters.words)}")
    grid(
        chosen,
        selection.one_page(positions, number, size),
        key="outliers",
        version=f"{order.column}:{share}:{filters}:{number}:{size}",
        label="Unusual training samples",
    )


page()
