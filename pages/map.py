"""Map: which samples push the model the same way, and what is inside an area drawn around them?"""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages.ui.charts import base as charts
from pages.ui.charts.base import class_colour
from pages.ui.components.map import CIVIDIS, Categories, Hover, Polygon, Scale, inside, scatter_map, shade
from pages.ui.samples import explained
from pages.ui.samples.grid import deciding
from pages.ui.server.routes import points_url, thumbnail_base
from pages.ui.shell import cached, frame, state
from pages.ui.shell.state import Chosen
from pages.ui.words import formats as words
from pages.ui.words import how_to_read as reading
from pages.ui.words import scores

HEIGHT = 640
SHOWN = 60
LABELS = {"Given label": "label", "Predicted label": "predicted", "Suggested label": "suggested_label"}


def page() -> None:
    action = frame.header("Map", "Which samples push the model the same way, and what stands out among them?")
    chosen = state.require_run()
    action.button(
        "Review labels in doubt",
        type="primary",
        icon=":material/checklist:",
        on_click=frame.go,
        args=("review",),
    )
    explore(chosen)


@st.fragment
@frame.framed
def explore(chosen: Chosen) -> None:
    """Map and selection together: a lasso redraws both, and nothing else."""
    colour_by, focus = controls(chosen)
    left, right = st.columns([5, 3], gap="medium")
    with left:
        polygon = draw(chosen, colour_by, focus)
    with right:
        selection(chosen, polygon, focus)


def controls(chosen: Chosen) -> tuple[str, int | None]:
    """What colours the points, and which sample to find."""
    titles = [order.title for order in scores.orders(chosen.run.description["columns"])]
    colour, find, help_ = st.columns([3, 3, 2], vertical_alignment="bottom")
    colour_by = colour.selectbox("Colour by", [*LABELS, *titles], key=state.COLOUR, bind="query-params")
    wanted = find.text_input(
        "Find a sample",
        key=state.SAMPLE,
        bind="query-params",
        placeholder="Sample id, for example train-00012",
    )
    with help_.container(horizontal_alignment="right"):
        frame.how_to_read(reading.MAP)
    focus = cached.columns(chosen.run.id, chosen.run)["position"].get(wanted.strip()) if wanted else None
    if wanted and focus is None:
        find.caption(f"No training sample is called '{words.escaped(wanted)}'.")
    return colour_by, focus


def draw(chosen: Chosen, colour_by: str, focus: int | None) -> Polygon | None:
    columns = cached.columns(chosen.run.id, chosen.run)
    colour, palette, legend = colours(chosen, colour_by)
    classes = tuple(chosen.run.classes)
    return scatter_map(
        key=f"map_{chosen.name}",
        xy=cached.coordinates(chosen.run.id, chosen.run),
        colour=colour,
        palette=palette,
        legend=legend,
        hover=[
            Hover("given", cached.codes(chosen.run.id, "label", chosen.run), classes),
            Hover("predicted", cached.codes(chosen.run.id, "predicted", chosen.run), classes),
            Hover("suspicion", columns["suspicion"]),
        ],
        thumbnails=thumbnail_base(chosen.run, chosen.name) if chosen.run.has_thumbnails else None,
        points_url=points_url(chosen.run, chosen.name),
        focus=focus,
        height=HEIGHT,
    )


def colours(chosen: Chosen, colour_by: str) -> tuple[np.ndarray, tuple[str, ...], Categories | Scale]:
    """One palette index per point, the palette, and its legend."""
    classes = tuple(chosen.run.classes)
    if colour_by in LABELS:
        palette = tuple(class_colour(at) for at in range(min(len(classes), 256)))
        codes = cached.codes(chosen.run.id, LABELS[colour_by], chosen.run)
        return (codes % 256).astype(np.uint8), palette, Categories(colour_by, classes[:256])
    order = scores.order_named(colour_by, chosen.run.description["columns"])
    values = chosen.run.samples[order.column].to_numpy(dtype=float)
    limits = (0.0, 1.0) if order.column == "suspicion" else (None, None)
    index, scale = shade(values, *limits)
    return index, CIVIDIS, Scale(order.title, scale.low, scale.high)


def selection(chosen: Chosen, polygon: Polygon | None, focus: int | None) -> None:
    """The right third: how many, of which labels, and the images, most suspicious first."""
    positions = selected(chosen, polygon, focus)
    with st.container(border=True, height=HEIGHT + 2):
        if not len(positions):
            nothing_selected()
            return
        st.subheader(f"{words.plural(len(positions), explained.noun(chosen.run))} selected", anchor=False)
        codes = cached.codes(chosen.run.id, "label", chosen.run)[positions]
        st.caption("Given labels")
        mix = charts.class_mix(codes, chosen.run.classes, theme=state.theme())
        frame.draw(mix, alt="Given labels of the selection", key="mix")
        if len(positions) > SHOWN:
            st.caption(
                f"Showing the {SHOWN} most suspicious of {words.count(len(positions))}; "
                "a decision applies to what you mark."
            )
        deciding(
            chosen,
            positions[:SHOWN],
            key="lasso",
            version=f"{polygon}:{focus}",
            label="Selected samples",
            autofocus=False,
        )


def selected(chosen: Chosen, polygon: Polygon | None, focus: int | None) -> np.ndarray:
    """Row positions inside the lasso, or the sample that was looked for; most suspicious first."""
    if polygon is None:
        return np.array([] if focus is None else [focus], dtype=int)
    found = inside(polygon, cached.coordinates(chosen.run.id, chosen.run))
    suspicion = cached.columns(chosen.run.id, chosen.run)["suspicion"]
    return found[np.argsort(-suspicion[found], kind="stable")]


def nothing_selected() -> None:
    st.subheader("Nothing selected", anchor=False)
    st.markdown(
        "Draw around some points to see them here and decide about them.\n\n"
        "- drag: draw around points\n"
        "- Shift or Space and drag: move the map\n"
        "- wheel: zoom\n"
        "- double click: whole map"
    )


page()
