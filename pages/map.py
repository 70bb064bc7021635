"""The Map page: samples that push the model the same way lie together, and a lasso selects them."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages.ui.charts import base as base_charts
from pages.ui.charts.base import class_colour
from pages.ui.components.map import (
    CIVIDIS,
    Categories,
    Hover,
    Polygon,
    Rings,
    Scale,
    inside,
    scatter_map,
    shade,
    shade_doubt,
)
from pages.ui.samples import explained, review_button, selection
from pages.ui.samples.grid import deciding
from pages.ui.server.routes import points_url, thumbnail_base
from pages.ui.shell import cached, frame, state
from pages.ui.shell.state import OpenRun
from pages.ui.words import formats, how_to_read, scores
from pages.ui.words.formats import Markdown

HEIGHT = 640
SHOWN = 60
SUSPICION = "Suspicion"
LABELS = {"Given label": "label", "Predicted label": "predicted", "Suggested label": "suggested_label"}


def page() -> None:
    action = frame.header("Map", "Which samples act alike, and which stand apart?")
    open_run = state.require_run()
    review_button.draw(action, open_run)
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
        panel(open_run, polygon, focus)


def controls(open_run: OpenRun) -> tuple[str, int | None]:
    """The colour of the points, suspicion at first, and the row position of the sample to find."""
    titles = [order.title for order in scores.orders(open_run.run.description["columns"])]
    ids = cached.columns(open_run.run.id, open_run.run)["sample_id"]
    colour, find, help_ = st.columns([3, 3, 2], vertical_alignment="bottom")
    colour_by = colour.selectbox(
        "Colour by", sorted([*LABELS, *titles], key=SUSPICION.__ne__), key=state.COLOUR, bind="query-params"
    )
    wanted = find.text_input(
        "Find a sample",
        key=state.SAMPLE,
        bind="query-params",
        placeholder=f"Sample id, for example {ids[to_mark(open_run).positions[0]]}",
    )
    with help_.container(horizontal_alignment="right"):
        frame.how_to_read(how_to_read.MAP)
    focus = cached.columns(open_run.run.id, open_run.run)["position"].get(wanted.strip()) if wanted else None
    if wanted and focus is None:
        find.caption(f"No training sample is called '{formats.escaped(wanted)}'.")
    return colour_by, focus


def to_mark(open_run: OpenRun) -> selection.ToReview:
    """The points with a ring: what Review would show."""
    return selection.to_review(open_run.run, open_run.cut)


def marked_words(open_run: OpenRun) -> str:
    """What the rings mean: 'in doubt: suspicion of 0.5 or more (327)'."""
    marked = to_mark(open_run)
    count = formats.count(len(marked.positions))
    if marked.in_doubt:
        return f"in doubt: suspicion of {formats.short(open_run.cut)} or more ({count})"
    return f"the {count} most suspicious; none is in doubt"


def marked_title(open_run: OpenRun) -> Markdown:
    """'327 labels in doubt', or 'The 40 most suspicious' where none is."""
    marked = to_mark(open_run)
    count = len(marked.positions)
    if marked.in_doubt:
        return f"{formats.plural(count, 'label')} in doubt"
    return f"The {formats.count(count)} most suspicious"


def draw(open_run: OpenRun, colour_by: str, focus: int | None) -> Polygon | None:
    columns = cached.columns(open_run.run.id, open_run.run)
    classes, marked = tuple(open_run.run.classes), np.zeros(len(open_run.run.samples), dtype=bool)
    marked[to_mark(open_run).positions] = True
    colour, palette, legend, quiet = colours(open_run, colour_by, marked)
    return scatter_map(
        key=f"map_{open_run.name}",
        xy=cached.coordinates(open_run.run.id, open_run.run),
        colour=colour,
        palette=palette,
        legend=legend,
        hover=[
            Hover("given", cached.codes(open_run.run.id, "label", open_run.run), classes),
            Hover("suggested", cached.codes(open_run.run.id, "suggested_label", open_run.run), classes),
            Hover("suspicion", columns["suspicion"]),
        ],
        rings=Rings(marked, marked_words(open_run)),
        quiet=quiet,
        thumbnails=thumbnail_base(open_run.run, open_run.name) if open_run.run.has_thumbnails else None,
        points_url=points_url(open_run.run, open_run.name),
        focus=focus,
        height=HEIGHT,
    )


def colours(
    open_run: OpenRun, colour_by: str, marked: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...], Categories | Scale, int]:
    """One palette index per point, the palette, its legend, and how many of its first colours are quiet."""
    classes = tuple(open_run.run.classes)
    if colour_by in LABELS:
        palette = tuple(class_colour(position) for position in range(min(len(classes), 256)))
        codes = cached.codes(open_run.run.id, LABELS[colour_by], open_run.run)
        return (codes % 256).astype(np.uint8), palette, Categories(colour_by, classes[:256]), 0
    order = scores.order_named(colour_by, open_run.run.description["columns"])
    values = open_run.run.samples[order.column].to_numpy(dtype=float)
    if order.column == "suspicion":
        index, quiet = shade_doubt(values, marked)
        return index, CIVIDIS, Scale(order.title, 0.0, 1.0), quiet
    index, scale = shade(values)
    return index, CIVIDIS, Scale(order.title, scale.low, scale.high), 0


def panel(open_run: OpenRun, polygon: Polygon | None, focus: int | None) -> None:
    """The right third: count, labels and images of the selection, at first of the ringed points."""
    chosen = polygon is not None or focus is not None
    positions = selected(open_run, polygon, focus) if chosen else to_mark(open_run).positions
    noun = explained.noun(open_run.run)
    with st.container(border=True, height=HEIGHT + 2):
        if not len(positions):
            frame.nothing("No point lies inside", "Draw around some points to see them here.")
            return
        if chosen:
            st.header(f"{formats.plural(len(positions), noun)} selected", anchor=False)
            st.caption("Given labels")
            codes = cached.codes(open_run.run.id, "label", open_run.run)[positions]
            mix = base_charts.class_mix(codes, open_run.run.classes, theme=state.theme())
            frame.draw(mix, alt="Given labels of the selection", key="mix")
        else:
            st.header(marked_title(open_run), anchor=False)
            st.caption("Each has a ring. Draw around points to see others.")
        if len(positions) > SHOWN:
            st.caption(
                f"{SHOWN} of {formats.count(len(positions))} shown, most suspicious first. Keys act on marked {noun}s "
                "only."
            )
        deciding(
            open_run,
            positions[:SHOWN],
            key="lasso",
            version=f"{polygon}:{focus}",
            label="Selected samples" if chosen else "The ringed samples",
            autofocus=False,
        )


def selected(open_run: OpenRun, polygon: Polygon | None, focus: int | None) -> np.ndarray:
    """Row positions inside the lasso, or of the sample to find; most suspicious first."""
    if polygon is None:
        return np.array([] if focus is None else [focus], dtype=int)
    positions = inside(polygon, cached.coordinates(open_run.run.id, open_run.run))
    suspicion = cached.columns(open_run.run.id, open_run.run)["suspicion"]
    return positions[np.argsort(-suspicion[positions], kind="stable")]


page()
