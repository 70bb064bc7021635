"""The gallery and the map with a real run and a real decision log, and a rerun that can be made slow.

?delay=0.4      every rerun of the component's fragment takes that much longer
?view=card      start one at a time
?n=4000         how many points the map shows
"""

import json
import time
from functools import lru_cache

import numpy as np
import streamlit as st

from influence_core.decisions.log import DecisionLog, decision_log_for
from influence_core.runs.run import Run, open_run
from pages.ui.components.gallery import gallery
from pages.ui.components.map import (
    CIVIDIS,
    Categories,
    Hover,
    Rings,
    inside,
    scatter_map,
    shade_doubt,
)
from pages.ui.components.map import Scale as ColourBar
from pages.ui.components.outbox import courier
from pages.ui.samples.cards import cards
from pages.ui.samples.writing import apply
from pages.ui.server.routes import points_url, thumbnail_base
from pages.ui.shell.places import runs_root

COLOURS = (
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#999999",
    "#5F4690",
    "#8C564B",
)


@lru_cache(maxsize=64)
def opened(folder: str) -> tuple[Run, DecisionLog]:
    return open_run(runs_root() / folder), decision_log_for(runs_root())


def folder() -> str:
    # Kept for the session: the menu's links drop the query.
    return st.session_state.setdefault("folder", st.query_params.get("run", "small"))


def delay() -> float:
    return st.session_state.setdefault("delay", float(st.query_params.get("delay", 0)))


@st.fragment
def review() -> None:
    run, log = opened(folder())
    time.sleep(delay())
    page = st.pagination(max(1, len(run.samples) // 60), key="page")
    order = np.argsort(-run.samples["suspicion"].to_numpy(), kind="stable")[60 * (page - 1) : 60 * page]
    view = st.query_params.get("view", "grid")
    gallery(
        cards(run, folder(), [int(at) for at in order], log),
        key=f"gallery-{run.id}",
        version=f"{run.id} {page}",
        classes=run.classes,
        apply=lambda event: apply(event, run=run, log=log, reviewer="tester"),
        view="card" if view == "card" else "grid",
    )
    st.text(f"{len(log.current(run.id))} decided")


@st.fragment
def sample_map() -> None:
    run, _ = opened(folder())
    samples = run.samples
    by = st.segmented_control("Colour", ["label", "suspicion"], default="label", key="colour")
    xy = samples[["map_x", "map_y"]].to_numpy()
    given = np.array([run.classes.index(label) for label in samples["label"]])
    suspicion = samples["suspicion"].to_numpy()
    doubtful = suspicion >= 0.5
    predicted = np.array([run.classes.index(label) for label in samples["predicted"]])
    quiet = 0
    if by == "label":
        colour, palette, legend = (
            given.astype("u1"),
            COLOURS[: len(run.classes)],
            Categories("Given label", run.classes),
        )
    else:
        colour, quiet = shade_doubt(suspicion, doubtful)
        palette, legend = CIVIDIS, ColourBar("Suspicion", 0, 1)
    polygon = scatter_map(
        key=f"map-{run.id}",
        xy=xy,
        colour=colour,
        palette=palette,
        legend=legend,
        hover=[
            Hover("Given", given, run.classes),
            Hover("Predicted", predicted, run.classes),
            Hover("Suspicion", suspicion),
        ],
        rings=Rings(doubtful, "in doubt"),
        quiet=quiet,
        thumbnails=thumbnail_base(run, folder()),
        points_url=points_url(run, folder()),
    )
    chosen = inside(polygon, xy) if polygon else np.array([], int)
    st.code(json.dumps({"positions": chosen.tolist(), "polygon": polygon}), wrap_lines=True)
    # last: a test that sees this line may read what stands above it
    st.text(f"selected={len(chosen)} corners={len(polygon or [])} colour={by}")


def elsewhere() -> None:
    st.title("Another page")


st.set_page_config(page_title="Harness", layout="wide")
page = st.navigation(
    [
        st.Page(review, title="Review", url_path="review", default=True),
        st.Page(sample_map, title="Map", url_path="map"),
        st.Page(elsewhere, title="Elsewhere", url_path="elsewhere"),
    ]
)
courier(page.url_path)
page.run()
