"""The state of one browser: keys of the session and of the address bar, the open run, and the reviewer.

Nothing lives here that would be missed: runs are on disk, decisions in the log, filters in the address bar.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Never

import streamlit as st

from influence_core.decisions.log import DecisionLog
from influence_core.intake import uploads
from influence_core.jobs import submission as jobs
from influence_core.run_files.folder import run_path
from influence_core.run_files.listing import RunSummary, list_runs
from influence_core.runs.run import Run
from pages.ui.charts.base import Theme
from pages.ui.shell import cached, frame, job_panel, visitor
from pages.ui.shell.open_runs import opened
from pages.ui.shell.places import runs_root
from pages.ui.words import formats

RUN = "run"
SAMPLE = "sample"
CUT = "cut"
SORT = "sort"
SHARE = "share"
GIVEN, PREDICTED, SUGGESTED = "given", "predicted", "suggested"
PAGE, PAGE_SIZE = "page", "size"
COLOUR = "colour"
OF, AGAINST, ROBUST = "of", "against", "robust"
RECORDING, KIND, CURVE = "recording", "kind", "curve"
SHOW, QUEUE_PAGE = "show", "queue"
PREVIEW = "preview"
SCOPE, TOP, CLASS, FROM, VERIFIED = "scope", "top", "class", "from", "verified"
FROZEN = "_review_list"
REVIEWER = "reviewer"
_UNKNOWN = "_unknown_run"


@dataclass(frozen=True, slots=True)
class OpenRun:
    """The open run: its folder name (what the address bar carries), the run itself, and its decision log."""

    name: str
    run: Run
    log: DecisionLog

    @property
    def cut(self) -> float:
        """The cut the run proposes: samples above it are in doubt."""
        return float(self.run.description["results"]["cut"])


def theme() -> Theme:
    """The theme to draw with; light while it is unknown, on the first run of a session."""
    return "dark" if st.context.theme.type == "dark" else "light"


def address() -> str:
    """The server's address as this browser reaches it, ending in '/': the page's address without the page."""
    url = st.context.url or ""
    return url[: url.rfind("/") + 1]


signed_in = visitor.signed_in


def reviewer() -> str:
    """The reviewer: the signed-in person, else the name they gave, else 'anonymous'."""
    if (name := signed_in()) is not None:
        return name
    return str(st.session_state.get(REVIEWER) or "").strip() or "anonymous"


def choose_run(summaries: list[RunSummary]) -> str | None:
    """The run selector. The address bar wins; without a run there, the newest finished run is open.

    Until the browser has been asked for its key, a run that is not in the list may be its own: the selector that is
    bound to the address would clear it there, so it is not drawn yet.
    """
    names = [summary.name for summary in summaries]
    requested = st.query_params.get(RUN)
    if requested and requested not in names:
        st.session_state[_UNKNOWN] = requested
        if not visitor.recognised():
            st.selectbox("Run", [], key=f"{RUN}_awaited", disabled=True, placeholder="Looking for it")
            return None
    elif RUN not in st.session_state and not requested:
        _open_newest(summaries)
    name = st.selectbox("Run", names, index=None, key=RUN, bind="query-params", placeholder="No run is open")
    if name:
        st.session_state.pop(_UNKNOWN, None)
    return name


def _open_newest(summaries: list[RunSummary]) -> None:
    """Open the newest finished run, also in the address bar before the selector owns it: addresses can be shared."""
    newest = next((summary.name for summary in summaries if summary.state == "finished"), None)
    if newest is not None:
        st.query_params[RUN] = st.session_state[RUN] = newest


def open_run_named(name: str) -> None:
    """Make this the open run; for callbacks, which run before the selector is drawn."""
    st.session_state[RUN] = name


def run_name() -> str | None:
    """The folder name of the open run, if there is one in the list."""
    return st.session_state.get(RUN)


def run_folder(name: str) -> Path:
    """The folder of a run of this server; refuses names that could lead elsewhere."""
    return run_path(runs_root(), name)


def summaries() -> list[RunSummary]:
    """Every run this visitor may see, newest first, without those of other people's uploads."""
    root, owners = runs_root(), visitor.owners()
    return [summary for summary in list_runs(root) if uploads.may_see(root, root / summary.name, owners)]


def require_run(*, chip: bool = True) -> OpenRun:
    """The open, finished run, with its chip drawn; without one, shows what to do and ends the page."""
    name = run_name()
    if name is None:
        _without_run()
    folder = run_folder(name)
    if not uploads.may_see(runs_root(), folder, visitor.owners()):
        _without_run()
    if jobs.status(folder).state != "finished":
        _unfinished(folder)
    run = opened(folder)
    if chip:
        frame.run_chip(run)
    return OpenRun(name, run, cached.log(str(runs_root())))


def _without_run() -> Never:
    unknown = st.session_state.get(_UNKNOWN)
    if unknown and not visitor.recognised():
        frame.nothing("Looking for this run", f"The address names the run '{formats.escaped(unknown)}'.")
        st.stop()
    if unknown:
        title, text = (
            "This run is not here",
            f"The address names the run '{formats.escaped(unknown)}', which is not on this server.",
        )
    else:
        title, text = (
            "No run yet",
            "A run is one analysis of a dataset with its model. Start with the demo.",
        )
    frame.empty(title, text, action="Go to Start", page="start", icon=":material/folder_off:")
    st.stop()


def _unfinished(folder: Path) -> Never:
    with st.container(border=True):
        job_panel.panel(folder, key="page_job")
    if jobs.status(folder).active:
        st.caption("Results appear here. You can close this window; the analysis continues.")
        _outline()
    st.stop()


def _outline() -> None:
    """Skeletons in place of the answer: five numbers, two charts."""
    for column in st.columns(5, gap="small"):
        column.skeleton(height=112)
    for column in st.columns(2, gap="medium"):
        column.skeleton(height=420)


def cut_slider(proposed: float) -> float:
    """The cut above which a label is in doubt; one value for Overview and Review, kept in the address bar."""
    return st.slider(
        "Cut: lowest suspicion that is in doubt",
        min_value=0.01,
        max_value=0.99,
        value=min(0.99, max(0.01, round(proposed, 2))),
        step=0.01,
        key=CUT,
        bind="query-params",
    )


def forget_sample() -> None:
    """Clear the sample id: another split has other ids."""
    st.session_state[SAMPLE] = ""
