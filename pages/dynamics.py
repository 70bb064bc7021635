"""The Dynamics page: how each sample was learned, epoch by epoch, in a recorded training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from influence_core.errors import InfluenceError
from influence_core.jobs import submission as jobs
from influence_core.training.dynamics import FEWEST
from influence_core.training.recorder import Recording, recordings_of
from pages.ui.charts import dynamics as dynamics_charts
from pages.ui.samples import explained, selection
from pages.ui.samples.grid import grid
from pages.ui.shell import cached, frame, job_panel, more_work, state
from pages.ui.shell.state import OpenRun
from pages.ui.words import dynamics as dynamics_words
from pages.ui.words import formats, how_to_read

PROBLEM = "_dynamics_problem"
LINES = 8
IMAGES = 36


def page() -> None:
    action = frame.header(
        "Dynamics", "When was each sample learned, and which were never learned or forgotten?"
    )
    open_run = state.require_run()
    folders = recordings_of(open_run.run.path)
    busy = next((f for f in folders if (f / "job.json").exists() and jobs.status(f).active), None)
    if busy is None:
        label = "Record again" if folders else "Record a training"
        kind = "secondary" if folders else "primary"
        icon = ":material/fiber_manual_record:"
        action.button(label, type=kind, icon=icon, on_click=start, args=(open_run,), **more_work.for_owners())
    if problem := st.session_state.pop(PROBLEM, None):
        frame.problem(problem)
    if folders:
        recorded(open_run, folders)
    else:
        nothing_yet()
    from_python(open_run)


def start(open_run: OpenRun) -> None:
    """Start a recording; a refusal is shown on the page."""
    try:
        more_work.record(open_run.run)
    except InfluenceError as error:
        st.session_state[PROBLEM] = str(error)


def nothing_yet() -> None:
    frame.nothing(
        "Nothing is recorded yet",
        "A trained model does not show how it learned. Record a training: the same network is trained again on the "
        "same samples in a separate process, and every sample is followed through every epoch.",
    )


def from_python(open_run: OpenRun) -> None:
    with st.expander("Record your own training from Python", icon=":material/code:"):
        st.markdown(
            "Works in any PyTorch training loop. `ic.OnlineValuation(..., out=...)` also values every step."
        )
        st.code(dynamics_words.FROM_PYTHON.format(folder=str(open_run.run.path)), language="python")
    with st.expander("Leave harmful samples out while training?", icon=":material/filter_alt_off:"):
        st.markdown(dynamics_words.FILTER)


def recorded(open_run: OpenRun, folders: list[Path]) -> None:
    """The newest or the selected recording, with its job until that has finished."""
    folder = folders[0]
    if len(folders) > 1:
        named = {path.name: path for path in folders}
        folder = named[str(st.selectbox("Recording", list(named), key=state.RECORDING, bind="query-params"))]
    unfinished = (folder / "job.json").exists() and jobs.status(folder).state != "finished"
    if unfinished:
        with st.container(border=True):
            job_panel.panel(folder, key="recording_job")
    recording = dynamics_words.readable(folder)
    if unfinished:
        rerun_when_grown(folder, 0 if recording is None else recording.epochs)
    if recording is None or recording.epochs < FEWEST:
        waiting(recording, unfinished)
        return
    dynamics_words.aligned(open_run.run, recording)
    show_recording(open_run, recording, unfinished)


def rerun_when_grown(folder: Path, epochs: int) -> None:
    """Rerun the page when the job has written another epoch."""
    st.fragment(frame.framed(_rerun_if_grown), run_every=3.0 if jobs.status(folder).active else None)(
        folder, epochs
    )


def _rerun_if_grown(folder: Path, epochs: int) -> None:
    now = dynamics_words.readable(folder)
    if now is not None and now.epochs != epochs:
        st.rerun()


def waiting(recording: Recording | None, unfinished: bool) -> None:
    """A placeholder until there are enough epochs for curves."""
    done = 0 if recording is None else recording.epochs
    if unfinished:
        st.caption(
            f"Curves appear after {FEWEST} epochs ({formats.count(done)} so far). You can close this window; "
            "the training continues."
        )
        left, right = st.columns(2, gap="medium")
        left.skeleton(height=420)
        right.skeleton(height=420)
    else:
        frame.nothing(
            "Too few epochs",
            f"{formats.plural(done, 'epoch')} recorded; curves need at least {FEWEST}. Record again.",
        )


def show_recording(open_run: OpenRun, recording: Recording, unfinished: bool) -> None:
    table = cached.dynamics(str(recording.folder), recording.epochs, recording)
    frame.large(dynamics_words.headline(table, recording.epochs))
    if unfinished:
        st.caption("So far; the training continues.")
    facts = dynamics_words.facts(table, recording.epochs)
    for column, fact in zip(st.columns(len(facts), gap="small"), facts, strict=True):
        column.metric(
            formats.escaped(fact.title),
            formats.escaped(fact.value),
            formats.escaped(fact.detail),
            delta_color="off",
            delta_arrow="off",
            border=True,
            help=formats.plain_sentence(fact.help),
        )
    groups = dynamics_words.groups(table)
    kind = st.segmented_control(
        "Which samples",
        list(groups),
        default=next(iter(groups)),
        required=True,
        key=state.KIND,
        format_func=formats.escaped,
        bind="query-params",
    )
    rows = groups[str(kind)]
    st.caption(
        formats.plain_sentence(next(group.sentence for group in dynamics_words.KINDS if group.title == kind))
    )
    left, right = (column.container(border=True, height="stretch") for column in st.columns(2, gap="medium"))
    with left:
        clicked = cartography(open_run, table, rows, str(kind))
    with right:
        curves(recording, table, rows if clicked is None else np.array([clicked]), str(kind), clicked)
    images(open_run, rows, f"{recording.folder.name}:{recording.epochs}:{kind}")


def cartography(open_run: OpenRun, table: pd.DataFrame, rows: np.ndarray, kind: str) -> int | None:
    """Map of confidence and variability; returns the row position of the clicked sample."""
    frame.section("Confidence and variability", how_to_read.CARTOGRAPHY)
    whole_table = len(rows) == len(table)
    marked = rows[: max(1, len(rows) // 20)] if whole_table else rows
    name = f"{kind}: first 5 %" if whole_table else kind
    figure = dynamics_charts.cartography(
        table["variability"].to_numpy(),
        table["confidence"].to_numpy(),
        list(table.index),
        marked,
        name=name,
        theme=state.theme(),
    )
    event = frame.draw(
        figure,
        alt=f"{len(table)} samples by confidence and variability; {len(marked)} are highlighted",
        key=f"cartography_{open_run.name}_{kind}",
        on_select="rerun",
        selection_mode="points",
    )
    st.caption("Click a point to see its curve.")
    points = event["selection"]["points"]
    return int(points[0]["customdata"][0]) if points else None


def curves(
    recording: Recording, table: pd.DataFrame, rows: np.ndarray, kind: str, clicked: int | None
) -> None:
    frame.section("Over the epochs", how_to_read.TRAJECTORIES)
    by_title = {curve.title: curve for curve in dynamics_words.CURVES}
    for column in ("Influence", "Kept"):  # not every recording has them
        if np.isnan(table[column.lower()].to_numpy()).all():
            by_title.pop(column)
    title = st.segmented_control(
        "Follow",
        list(by_title),
        default="Confidence",
        required=True,
        key=state.CURVE,
        bind="query-params",
        format_func=formats.escaped,
    )
    curve = by_title[str(title)]
    name = f"{kind}: the first {min(LINES, len(rows))}" if clicked is None else str(table.index[clicked])
    figure = dynamics_charts.trajectories(
        dynamics_words.values(recording, curve),
        rows[:LINES],
        list(table.index),
        unit=curve.unit,
        name=name,
        theme=state.theme(),
        height=380,
    )
    frame.draw(figure, alt=f"{curve.title} over {recording.epochs} epochs", key="trajectories")


def images(open_run: OpenRun, rows: np.ndarray, version: str) -> None:
    about, pages = st.columns([3, 1], vertical_alignment="bottom")
    with pages.container(horizontal_alignment="right"):
        number = st.pagination(max(1, -(-len(rows) // IMAGES)), key=state.PAGE, bind="query-params")
    about.markdown(f"**{selection.span(number, IMAGES, len(rows))} {explained.noun(open_run.run)}s**")
    grid(
        open_run,
        selection.one_page(rows, number, IMAGES),
        key="dynamics",
        version=f"{version}:{number}",
        label="Samples by how they were learned",
    )


page()
