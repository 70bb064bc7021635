"""The Map page: samples that push the model the same way lie together, and a lasso selects them."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages.ui.charts import base as base_charts
from pages.ui.charts.base import class_colour
from pages.ui.components.map import CIVIDIS, Categories, Hover, Polygon, Scale, inside, scatter_map, shade
from pages.ui.samples import explained
from pages.ui.samples.grid import deciding
from pages.ui.server.routes import points_url, thumbnail_base
from pages.ui.shell import cached, frame, state
from pages.ui.shell.state import OpenRun
from pages.ui.words import formats, how_to_read, scores

HEIGHT = 640
SHOWN = 60
LABELS = {"Given label": "label", "Predicted label": "predicted", "Suggested label": "suggested_label"}


def page() -> None:
    action = frame.header("Map", "Which samples push the model the same way, and what stands out among them?")
    open_run = state.require_run()
    action.button(
        "Review labels in doubt",
        type="primary",
        icon=":material/checklist:",
        on_click=frame.redirect,
        args=("review",),
    )
    explore(open_run)


@st.fragment
@frame.framed
def explore(open_run: OpenRun) -> None:
    """Map and selection together: a lasso redraws both, and nothing else."""
    colour_by, focus = controls(open_run)
    left, right = st.columns([5, 3], gap="medium")
    with left:
        polygon = draw(open_run, colour_by, focus)
    with right:
        selection(open_run, polygon, focus)


def controls(open_run: OpenRun) -> tuple[str, int | None]:
    """The colour of the points, and the row position of the sample to find."""
    titles = [order.title for order in scores.orders(open_run.run.description["columns"])]
    colour, find, help_ = st.columns([3, 3, 2], vertical_alignment="bottom")
    colour_by = colour.selectbox("Colour by", [*LABELS, *titles], key=state.COLOUR, bind="query-params")
    wanted = find.text_input(
        "Find a sample",
        key=state.SAMPLE,
        bind="query-params",
        placeholder="Sample id, for example train-00012",
    )
    with help_.container(horizontal_alignment="right"):
        frame.how_to_read(how_to_read.MAP)
    focus = cached.columns(open_run.run.id, open_run.run)["position"].get(wanted.strip()) if wanted else None
    if wanted and focus is None:
        find.caption(f"No training sample is called '{formats.escaped(wanted)}'.")
    return colour_by, focus


def draw(open_run: OpenRun, colour_by: str, focus: int | None) -> Polygon | None:
    columns = cached.columns(open_run.run.id, open_run.run)
    colour, palette, legend = colours(open_run, colour_by)
    classes = tuple(open_run.run.classes)
    return scatter_map(
        key=f"map_{open_run.name}",
        xy=cached.coordinates(open_run.run.id, open_run.run),
        colour=colour,
        palette=palette,
        legend=legend,
        hover=[
            Hover("given", cached.codes(open_run.run.id, "label", open_run.run), classes),
            Hover("predicted", cached.codes(open_run.run.id, "predicted", open_run.run), classes),
            Hover("suspicion", columns["suspicion"]),
        ],
        thumbnails=thumbnail_base(open_run.run, open_run.name) if open_run.run.has_thumbnails else None,
        points_url=points_url(open_run.run, open_run.name),
        focus=focus,
        height=HEIGHT,
    )


def colours(open_run: OpenRun, colour_by: str) -> tuple[np.ndarray, tuple[str, ...], Categories | Scale]:
    """One palette index per point, the palette, and its legend."""
    classes = tuple(open_run.run.classes)
    if colour_by in LABELS:
        palette = tuple(class_colour(position) for position in range(min(len(classes), 256)))
        codes = cached.codes(open_run.run.id, LABELS[colour_by], open_run.run)
        return (codes % 256).astype(np.uint8), palette, Categories(colour_by, classes[:256])
    order = scores.order_named(colour_by, open_run.run.description["columns"])
    values = open_run.run.samples[order.column].to_numpy(dtype=float)
    limits = (0.0, 1.0) if order.column == "suspicion" else (None, None)
    index, scale = shade(values, *limits)
    return index, CIVIDIS, Scale(order.title, scale.low, scale.high)


def selection(open_run: OpenRun, polygon: Polygon | None, focus: int | None) -> None:
    """The right third: count, labels and images of the selection, most suspicious first."""
    positions = selected(open_run, polygon, focus)
    with st.container(border=True, height=HEIGHT + 2):
        if not len(positions):
            nothing_selected()
            return
        st.header(f"{formats.plural(len(positions), explained.noun(open_run.run))} selected", anchor=False)
        codes = cached.codes(open_run.run.id, "label", open_run.run)[positions]
        st.caption("Given labels")
        mix = base_charts.class_mix(codes, open_run.run.classes, theme=state.theme())
        frame.draw(mix, alt="Given labels of the selection", key="mix")
        if len(positions) > SHOWN:
            st.caption(
                f"Showing the {SHOWN} most suspicious of {formats.count(len(positions))}; "
                "a decision applies to the images you select."
            )
        deciding(
            open_run,
            positions[:SHOWN],
            key="lasso",
            version=f"{polygon}:{focus}",
            label="Selected samples",
            autofocus=False,
        )


def selected(open_run: OpenRun, polygon: Polygon | None, focus: int | None) -> np.ndarray:
    """Row positions inside the lasso, or of the sample to find; most suspicious first."""
    if polygon is None:
        return np.array([] if focus is None else [focus], dtype=int)
    positions = inside(polygon, cached.coordinates(open_run.run.id, open_run.run))
    suspicion = cached.columns(open_run.run.id, open_run.run)["suspicion"]
    return positions[np.argsort(-suspicion[positions], kind="stable")]


def nothing_selected() -> None:
    st.header("Nothing selected", anchor=False)
    st.markdown(
        "Draw around some points to see and decide them here.\n\n"
        "- drag: draw around points\n"
        "- Shift or Space and drag: move the map\n"
        "- wheel: zoom\n"
        "- double click: whole map"
    )


page()
