"""The script of the app: the frame of every page, with menu, run, reviewer and running job."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

import streamlit as st

if (
    root := str(Path(__file__).resolve().parents[2])
) not in sys.path:  # run as a script: `pages` is next to app.py
    sys.path.insert(0, root)

from influence_core.errors import InfluenceError
from influence_core.jobs import repair_jobs
from influence_core.jobs import submission as jobs
from influence_core.run_files.listing import RunSummary
from pages.ui.components import outbox
from pages.ui.shell import frame, job_panel, reviewer, state, visitor
from pages.ui.shell.places import runs_root
from pages.ui.words import formats
from pages.ui.words.formats import Markdown

ICON = Path(__file__).with_name("icon.png")


def main() -> None:
    st.set_page_config(page_title="Influence Explorer", page_icon=str(ICON), layout="wide")
    if not visitor.admit():
        st.stop()
    frame.style()
    page = st.navigation(_pages(state.not_measured()), expanded=True)
    name = page.url_path or "start"
    # Review needs the window for its work; on leaving it the menu comes back
    st.set_page_config(initial_sidebar_state="collapsed" if name == "review" else "auto")
    frame.apply_redirect(name)
    frame.note_page(name)
    summaries = state.summaries()
    with st.sidebar:
        _sidebar(summaries, name)
        outbox.courier(page.url_path)  # delivers decisions that were still waiting when the page changed
    with st.container(horizontal_alignment="center"), st.container(width=frame.CONTENT_WIDTH):
        _framed(page)


def _pages(lacking: Collection[str]) -> dict[str, list]:
    """The menu; a page with nothing to show in the open run says so beside its name."""

    def page(name: str, title: str, icon: str, help: str):
        path, start = frame.page_file(name), name == "start"
        if name in lacking:
            title, help = f"{title} · not measured", f"Not measured in this run. {help}"
        return st.Page(path, title=title, icon=f":material/{icon}:", help=help, default=start)

    return {
        "": [
            page("start", "Start", "rocket_launch", "Open the demo, your own data, or an earlier run."),
            page("own_data", "Use my own data", "upload_file", "Bring a dataset and a model in three steps."),
            page(
                "overview", "Overview", "insights", "What was found, in numbers; progress of a running job."
            ),
        ],
        "Explore": [
            page("outliers", "Outliers", "grid_view", "Ranked samples and the distribution of every score."),
            page(
                "map",
                "Map",
                "scatter_plot",
                "Images that push the model the same way lie together; draw around them.",
            ),
            page(
                "compare",
                "Compare",
                "leaderboard",
                "Do the signals agree, what would each add, and which did this run trust?",
            ),
        ],
        "Understand": [
            page(
                "influence",
                "Influence",
                "compare_arrows",
                "One prediction: the training samples that helped and hurt it most.",
            ),
            page(
                "fairness",
                "Fairness",
                "balance",
                "How large the gap between groups is, and which training samples widen it.",
            ),
            page(
                "robustness",
                "Robustness",
                "shield",
                "How accuracy falls under attack, and which training samples make the model fragile.",
            ),
            page(
                "dynamics",
                "Dynamics",
                "timeline",
                "How each sample was learned over the epochs: never, late, or forgotten again.",
            ),
        ],
        "Act": [
            page("review", "Review", "checklist", "The queue of labels in doubt: keep, relabel or remove."),
            page(
                "verify",
                "Verify",
                "science",
                "Retrain with and without the repair; compare prediction and measurement.",
            ),
            page(
                "export",
                "Export",
                "download",
                "The corrected labels and samples, and the log of all decisions.",
            ),
        ],
    }


def _sidebar(summaries: list[RunSummary], page: str) -> None:
    name = state.choose_run(summaries)
    open_summary = next((summary for summary in summaries if summary.name == name), None)
    if open_summary is not None:
        st.caption(_about(open_summary))
    reviewer.recall()
    visitor.recognise()
    _job_banner(summaries, page)


def _about(summary: RunSummary) -> Markdown:
    size = formats.plural(summary.n, "sample") if summary.n else ""
    facts = " · ".join(fact for fact in (formats.escaped(summary.dataset), size) if fact)
    return f"{facts}  \n{formats.moment(summary.created)}"


def _job_banner(summaries: list[RunSummary], page: str) -> None:
    """The running or waiting job, on every page except those of its own run, which show it themselves."""
    waiting = [runs_root() / summary.name for summary in summaries if summary.state in ("queued", "running")]
    busy = next((folder for folder in waiting if jobs.status(folder).active), None)
    if busy is None or (busy.name == state.run_name() and page != "start"):
        _repair_banner(summaries, page)
        return
    with st.container(border=True):
        job_panel.panel(busy, key="banner", compact=True)


def _repair_banner(summaries: list[RunSummary], page: str) -> None:
    """A running verification or prediction of any visible run; the Verify page of that run shows it itself."""
    for summary in summaries:
        if summary.name == state.run_name() and page == "verify":
            continue
        for folder in repair_jobs.active(runs_root() / summary.name):
            with st.container(border=True):
                title = f"{repair_jobs.title_of(folder)}, {summary.name}"
                job_panel.panel(folder, key="repair_banner", compact=True, title=title)
            return


def _framed(page) -> None:
    """Run a page and show an expected error as a sentence; any other is a bug and must surface."""
    try:
        page.run()
    except InfluenceError as error:
        frame.problem(error)


main()
