"""The panel of a job: state, progress, time left, cancel and resume. It polls only while the job is active."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from influence_core.errors import InfluenceError
from influence_core.jobs import submission as jobs
from influence_core.jobs.status import JobStatus
from pages.ui.shell import frame, more_work, places
from pages.ui.words import formats
from pages.ui.words.formats import Markdown

PROBLEM = "_job_problem"
LOOKS = {
    "queued": ("gray", "schedule", "waiting"),
    "running": ("blue", "autorenew", "running"),
    "finished": ("green", "check_circle", "finished"),
    "cancelled": ("gray", "cancel", "cancelled"),
    "interrupted": ("orange", "power_off", "interrupted"),
    "failed": ("orange", "error", "failed"),
    "damaged": ("orange", "broken_image", "damaged"),
}


def state_badge(state: str) -> Markdown:
    """The state of a run as a badge in markdown: colour, icon and word."""
    colour, icon, text = LOOKS[state]
    return f":{colour}-badge[:material/{icon}: {text}]"


def panel(folder: Path, *, key: str, compact: bool = False, title: str | None = None) -> None:
    """State, progress and buttons of one job; reruns the page once when the job starts or ends.

    `compact` is for the sidebar and leaves out messages and log. `title` names the job, by default its folder.
    """
    active = jobs.status(folder).active
    live = st.fragment(frame.framed(_live), run_every=1.0 if active else None)
    live(folder, key, compact, active, title or folder.name)


def _live(folder: Path, key: str, compact: bool, was_active: bool, title: str) -> None:
    status = jobs.status(folder)
    if status.active != was_active:
        st.rerun()
    st.markdown(f"**{formats.escaped(title)}** {state_badge(status.state)}")
    st.progress(min(1.0, status.fraction), text=step_text(status))
    st.caption(detail_text(status))
    if problem := st.session_state.pop(PROBLEM, None):
        frame.problem(problem)
    _buttons(folder, key, status)
    if not compact:
        _troubles(status)


def _buttons(folder: Path, key: str, status: JobStatus) -> None:
    """Cancel, then kill for a job that does not react; resume for one that stopped early."""
    if status.cancelling:
        _button("Stop now", "stop_circle", f"{key}_kill", more_work.stop_at_once, folder)
    elif status.active:
        _button("Cancel", "stop", f"{key}_cancel", more_work.cancel, folder)
    elif status.resumable and (folder / "job.json").exists():
        _button("Resume", "play_arrow", f"{key}_resume", more_work.resume, folder)


def _button(label: Markdown, icon: str, key: str, action, folder: Path) -> None:
    st.button(
        label,
        icon=f":material/{icon}:",
        key=key,
        on_click=_attempt,
        args=(action, folder),
        **more_work.for_owners(),
    )


def _attempt(action, folder: Path) -> None:
    """Run the action of a button; a refusal is shown in the panel."""
    try:
        action(folder)
    except InfluenceError as error:
        st.session_state[PROBLEM] = str(error)


def _troubles(status: JobStatus) -> None:
    """Why the job stopped, and the last lines of its log."""
    if status.message and status.state in ("failed", "interrupted"):
        frame.problem(status.message)
    if status.log:
        with st.expander("Last lines of the log", icon=":material/description:"):
            st.code(places.as_named("\n".join(status.log)), language=None, wrap_lines=True)


def step_text(status: JobStatus) -> Markdown:
    """'Step 2 of 6: gradients', or the state in words."""
    if status.cancelling:
        return "Stopping; finished parts are kept"
    if status.state == "queued":
        return _queue_text(status.ahead)
    if status.state == "running":
        step = f"Step {formats.count(status.stage_index + 1)} of {formats.count(status.stage_count)}"
        return (
            f"{step}: {formats.escaped(status.stage_title[:1].lower() + status.stage_title[1:])}"
            if status.stage_title
            else "Starting"
        )
    return {
        "cancelled": "Stopped on request; finished parts are kept",
        "interrupted": "Stopped from outside; finished parts are kept",
        "failed": "Stopped by an error; finished parts are kept",
        "finished": "Finished",
    }[status.state]


def _queue_text(ahead: int | None) -> Markdown:
    return f"In line: {formats.plural(ahead, 'run')} before yours" if ahead else "Starting"


def detail_text(status: JobStatus) -> Markdown:
    """'1 200 of 4 000 · 950 a second · about 12 s left'."""
    if status.state != "running":
        return f"{formats.percent(status.fraction)} done"
    parts = [f"{formats.count(status.done)} of {formats.count(status.total)}"] if status.total else []
    if status.rate:
        parts.append(formats.rate(status.rate))
    parts.append(
        "estimating the time left" if status.eta is None else f"about {formats.duration(status.eta)} left"
    )
    return " · ".join(parts)
