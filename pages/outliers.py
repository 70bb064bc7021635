"""The Outliers page: training samples ordered by one score, its distribution, and the images."""

from __future__ import annotations

import streamlit as st

from pages.ui.charts import base as base_charts
from pages.ui.samples import explained, review_button, selection
from pages.ui.samples.grid import grid
from pages.ui.shell import frame, state
from pages.ui.shell.state import OpenRun
from pages.ui.words import formats, how_to_read, scores
from pages.ui.words.scores import Order

SIZES = (60, 120, 200)


def page() -> None:
    action = frame.header(
        "Outliers", "Which training samples are unusual, by which score, and how do they look?"
    )
    open_run = state.require_run()
    review_button.draw(action, open_run)
    order, filters = controls(open_run)
    left, right = (
        column.container(border=True, height="stretch") for column in st.columns([2, 1], gap="medium")
    )
    with right:
        share = about_score(open_run, order)
    with left:
        distribution(open_run, order, share)
    images(open_run, order, share, filters)


def controls(open_run: OpenRun) -> tuple[Order, selection.Filters]:
    """Order and filters in one row, all kept in the address bar."""
    columns = open_run.run.description["columns"]
    sort, given, predicted, suggested = st.columns([3, 2, 2, 2], gap="small")
    title = sort.selectbox(
        "Sort by", [order.title for order in scores.orders(columns)], key=state.SORT, bind="query-params"
    )
    classes = list(open_run.run.classes)
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


def about_score(open_run: OpenRun, order: Order) -> float:
    """The meaning of the score, and a slider for the share of the list to show; returns that share."""
    frame.section(formats.escaped(order.title))
    st.markdown(scores.score_sentence(order.column, open_run.run.description["columns"]))
    st.space("stretch")
    percentage = st.slider(
        "Show the most suspicious",
        min_value=0.5,
        max_value=100.0,
        value=default_percentage(open_run),
        step=0.5,
        format="%.1f %%",
        key=state.SHARE,
        bind="query-params",
    )
    return percentage / 100


def default_percentage(open_run: OpenRun) -> float:
    """The share in doubt, in steps of half a percent."""
    flagged = len(selection.queue(open_run.run, open_run.cut))
    return min(100.0, max(0.5, round(200 * flagged / len(open_run.run.samples)) / 2))


def distribution(open_run: OpenRun, order: Order, share: float) -> None:
    frame.section("Distribution over all samples", how_to_read.SCORE)
    threshold = selection.threshold(open_run.run, order, share)
    side = "at most" if order.lowest_first else "at least"
    figure = base_charts.distribution(
        open_run.run.samples[order.column].to_numpy(dtype=float),
        cut=threshold,
        high_is_suspicious=not order.lowest_first,
        title=scores.axis_title(order, open_run.run.description["columns"]),
        cut_label=f"{formats.percent(share)}: {side} {formats.number(threshold)}",
        theme=state.theme(),
        suspicion_scale=order.column == "suspicion",
    )
    frame.draw(
        figure, alt=f"Distribution of {order.title}; scores of {side} {threshold:.3g} are shown", key="scores"
    )


def images(open_run: OpenRun, order: Order, share: float, filters: selection.Filters) -> None:
    positions = selection.beyond(open_run.run, order, share, filters)
    about, sizes, pages = st.columns([2, 1, 1], vertical_alignment="bottom")
    size = sizes.segmented_control(
        "Images per page", SIZES, default=SIZES[0], required=True, key=state.PAGE_SIZE, bind="query-params"
    )
    count = max(1, -(-len(positions) // size))
    with pages.container(horizontal_alignment="right"):
        number = st.pagination(count, key=state.PAGE, bind="query-params")
    if not len(positions):
        about.caption("No samples match these filters.")
        frame.nothing("No samples match these filters", "Choose another class, or show more of the list.")
        return
    shown, kind = selection.span(number, size, len(positions)), f"{explained.noun(open_run.run)}s"
    about.markdown(f"**{shown} {kind}** {formats.escaped(filters.words)}")
    grid(
        open_run,
        selection.one_page(positions, number, size),
        key="outliers",
        version=f"{order.column}:{share}:{filters}:{number}:{size}",
        label="Unusual training samples",
    )


page()
