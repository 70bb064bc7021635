"""The state of one browser: keys of the session and of the address bar, the open run, and the reviewer.

Nothing lives here that would be missed: runs are on disk, decisions in the log, filters in the address bar.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Never

import streamlit as st

from influence_core.decisions.log import DecisionLog
from influence_core.errors import InfluenceError
from influence_core.intake import uploads
from influence_core.jobs import submission as jobs
from influence_core.run_files.folder import FOLDER_NAME, run_path
from influence_core.run_files.listing import RunSummary, list_runs
from influence_core.runs.run import Run
from influence_core.training.recorder import recordings_of
from pages.ui.charts.base import Theme
from pages.ui.shell import cached, frame, job_panel, visitor
from pages.ui.shell.open_runs import opened
from pages.ui.shell.places import runs_root
from pages.ui.words import fairness as fairness_words
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
OFFERED = 8
"""Runs that an empty page offers to open; the selector at the left has all of them."""


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
    """The run selector, bound to the address: no run is open that nobody asked for.

    Until the browser has been asked for its key, a run that is not in the list may be its own: the selector that is
    bound to the address would clear it there, so it is not drawn yet. It is required, or Escape in its open menu would
    close the run.
    """
    names = [summary.name for summary in summaries]
    requested = st.query_params.get(RUN)
    if requested and requested not in names:
        st.session_state[_UNKNOWN] = requested
        if not visitor.recognised():
            st.selectbox("Run", [], key=f"{RUN}_awaited", disabled=True, placeholder="Looking for it")
            return None
    name = st.selectbox(
        "Run", names, index=None, key=RUN, bind="query-params", placeholder="No run is open", required=True
    )
    if name:
        st.session_state.pop(_UNKNOWN, None)
    return name


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
    return [summary for summary in list_runs(runs_root()) if _may_see(summary.name)]


def may_be_more(shown: list[RunSummary]) -> bool:
    """Whether this browser may turn out to own runs that are not shown: it has not been asked for its key yet."""
    return not visitor.recognised() and len(list_runs(runs_root())) > len(shown)


def _may_see(name: str) -> bool:
    return uploads.may_see(runs_root(), runs_root() / name, visitor.owners())


def require_run(*, chip: bool = True) -> OpenRun:
    """The open, finished run, with its chip drawn; without one, shows what to do and ends the page."""
    name = run_name()
    if name is None or not _may_see(name):
        _without_run()
    folder = run_folder(name)
    if jobs.status(folder).state != "finished":
        _unfinished(folder)
    run = opened(folder)
    if chip:
        frame.run_chip(run)
    return OpenRun(name, run, cached.log(str(runs_root())))


def not_measured() -> tuple[str, ...]:
    """The pages that have nothing to show in the open run, because it did not measure what they are about."""
    name = run_name() or st.query_params.get(RUN)
    if not name or not FOLDER_NAME.fullmatch(name) or not _may_see(name):
        return ()
    try:
        run = opened(run_folder(name))
    except (InfluenceError, OSError):  # still at work, or damaged: its pages say so
        return ()
    lacking = {
        "fairness": not fairness_words.fairness_objectives(run),
        "robustness": run.description.get("robustness") is None,
        "dynamics": not recordings_of(run.path),
    }
    return tuple(page for page, is_lacking in lacking.items() if is_lacking)


def _without_run() -> Never:
    """No run is open: say which can be opened, but not before the browser has been asked for its key."""
    unknown, there = st.session_state.get(_UNKNOWN), summaries()
    if (unknown and not visitor.recognised()) or may_be_more(there):
        if unknown:
            st.caption(f"Looking for the run '{formats.escaped(unknown)}'.")
        _outline()
    elif not there and not unknown:
        frame.empty(
            "No runs yet",
            "A run is one analysis of a dataset with a model. Try the demo, or bring your data.",
            action="Go to Start",
            page="start",
            icon=":material/folder_off:",
        )
    else:
        _offer(unknown, there)
    st.stop()


def _offer(unknown: str | None, there: list[RunSummary]) -> None:
    """What the address named in vain, and a button for each of the newest runs."""
    title, sentence = "No run is open", "Open one of these, or go to Start for the demo and your own data."
    if unknown:
        title = "This run is not visible in this browser"
        sentence = (
            f"The address names the run '{formats.escaped(unknown)}'. It is not on this server, or it was made from "
            "data that somebody else brought, or you in another browser. There it can be shared with everybody here."
        )
    with st.container(border=True, gap="small"):
        st.header(title, anchor=False)
        st.markdown(f":gray[{sentence}]")
        with st.container(horizontal=True):
            for name in [summary.name for summary in there if summary.state != "damaged"][:OFFERED]:
                st.button(
                    f"Open {formats.escaped(name)}",
                    key=frame.key("offer", name),
                    icon=":material/folder_open:",
                    on_click=open_run_named,
                    args=(name,),
                )
            st.button("Go to Start", key="empty_start", on_click=frame.redirect, args=("start",))


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
