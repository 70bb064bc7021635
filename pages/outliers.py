"""The Outliers page: training samples ordered by one score, its distribution, and the images."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from pages.ui.charts import strip as strips
from pages.ui.samples import explained, review_button, selection
from pages.ui.samples.grid import grid
from pages.ui.shell import frame, state
from pages.ui.shell.state import OpenRun
from pages.ui.words import formats, how_to_read, scores
from pages.ui.words.formats import Markdown
from pages.ui.words.scores import Order

SIZES = (60, 120, 200)


def page() -> None:
    action = frame.header(
        "Outliers", "Which training samples are unusual, by which score, and how do they look?"
    )
    open_run = state.require_run()
    review_button.draw(action, open_run)
    order, filters, share = controls(open_run)
    strip(open_run, order, share)
    images(open_run, order, share, filters)


def controls(open_run: OpenRun) -> tuple[Order, selection.Filters, float]:
    """Order, filters and the share of the list to show, in one row; all kept in the address bar."""
    columns = open_run.run.description["columns"]
    sort, given, predicted, suggested, share = st.columns([5, 4, 4, 4, 4], gap="small")
    orders = {order.title: order for order in scores.orders(columns)}
    title = sort.selectbox("Sort by", list(orders), key=state.SORT, bind="query-params", help=about(columns))
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
    percentage = share.slider(
        "Most suspicious",
        min_value=0.5,
        max_value=100.0,
        value=default_percentage(open_run),
        step=0.5,
        format=f"%.1f{formats.THIN}%%",
        key=state.SHARE,
        bind="query-params",
        help="The share of all samples that is shown, from the most suspicious end of the order.",
    )
    return orders[title], filters, percentage / 100


def about(columns: Mapping[str, Mapping[str, str]]) -> Markdown:
    """The meaning of the score that is sorted by: the selector is drawn after it, so its state is asked."""
    known = {order.title: order.column for order in scores.orders(columns)}
    return scores.score_sentence(known.get(str(st.session_state.get(state.SORT)), "suspicion"), columns)


def default_percentage(open_run: OpenRun) -> float:
    """The share in doubt, in steps of half a percent."""
    flagged = len(selection.queue(open_run.run, open_run.cut))
    return min(100.0, max(0.5, round(200 * flagged / len(open_run.run.samples)) / 2))


def strip(open_run: OpenRun, order: Order, share: float) -> None:
    """All samples by this score as a strip of 48 pixels, and in words where the shown part of it begins."""
    threshold = selection.threshold(open_run.run, order, share)
    side = "at most" if order.lowest_first else "at least"
    title = scores.axis_title(order, open_run.run.description["columns"])
    row = st.container(horizontal=True, vertical_alignment="center", gap="small")
    with row.container(width="stretch"):
        st.html(
            strips.strip(
                open_run.run.samples[order.column].to_numpy(dtype=float),
                cut=threshold,
                high_is_suspicious=not order.lowest_first,
                theme=state.theme(),
                suspicion_scale=order.column == "suspicion",
                alt=f"Distribution of {title}; scores of {side} {threshold:.3g} are shown",
            )
        )
    row.caption(
        f"{formats.escaped(title)} of all samples, log scale  \nShown: {side} {formats.number(threshold)}",
        width="content",
    )
    with row.container(width="content"):
        frame.how_to_read(how_to_read.SCORE)


def images(open_run: OpenRun, order: Order, share: float, filters: selection.Filters) -> None:
    """The gallery, and below it how many there are, how many a page, and the pages."""
    positions = selection.beyond(open_run.run, order, share, filters)
    if not len(positions):
        frame.nothing("No samples match these filters", "Choose another class, or show more of the list.")
        return
    gallery = st.container()
    about, sizes, pages = st.columns([2, 1, 1], vertical_alignment="bottom")
    noun = explained.noun(open_run.run)
    size = sizes.segmented_control(
        f"{noun.capitalize()}s per page",
        SIZES,
        default=SIZES[0],
        required=True,
        key=state.PAGE_SIZE,
        bind="query-params",
    )
    count = max(1, -(-len(positions) // size))
    with pages.container(horizontal_alignment="right"):
        number = st.pagination(count, key=state.PAGE, bind="query-params")
    about.markdown(
        f"**{selection.span(number, size, len(positions))} {noun}s** {formats.escaped(filters.words)}"
    )
    with gallery:
        grid(
            open_run,
            selection.one_page(positions, number, size),
            key="outliers",
            version=f"{order.column}:{share}:{filters}:{number}:{size}",
            label="Unusual training samples",
        )


page()
