"""The Start page: what the app does, the demos, your own data, and earlier runs."""

from __future__ import annotations

import streamlit as st

from influence_core.errors import InfluenceError
from influence_core.jobs import submission as jobs
from influence_core.jobs.submission import JobSpec
from influence_core.run_files.listing import RunSummary
from pages.ui.reports import story
from pages.ui.shell import frame, job_panel, more_work, places, state
from pages.ui.shell.places import runs_root
from pages.ui.words import formats
from pages.ui.words.formats import Markdown

PROBLEM = "_start_problem"
LINE = 70
"""Height of a run in the list, in pixels."""
DEMO_NAME = "fashion"
FAIRNESS_NAME = "adult"
FAIRNESS_OBJECTIVES = [
    "utility",
    "utility:class",
    "fairness:sex:demographic_parity",
    "fairness:sex",
    "fairness:race:demographic_parity",
]


def page() -> None:
    action = frame.header(
        "Influence Explorer", "Find the training samples that hurt your model, see why, and repair them."
    )
    summaries = state.summaries()
    demo_buttons(action, summaries)
    if problem := st.session_state.pop(PROBLEM, None):
        frame.problem(problem)
    chapters()
    left, right = st.columns([3, 2], gap="medium")
    with left:
        earlier(summaries)
    with right:
        own_data()
        second_demo()


def chapters() -> None:
    """Three pictures: find, understand, repair."""
    for column, chapter in zip(st.columns(3, gap="small"), story.CHAPTERS, strict=True):
        with column.container(border=True, height="stretch"):
            st.image(chapter.picture, width="stretch", alt=f"{chapter.title}: {chapter.sentence}")
            st.markdown(
                f"**{formats.escaped(chapter.title)}**  \n:gray[{formats.plain_sentence(chapter.sentence)}]"
            )


def demo_buttons(place, summaries: list[RunSummary]) -> None:
    """One primary button: run the demo, or open it when it exists, with a second button to run it again."""
    demo = [
        summary for summary in summaries if summary.dataset == DEMO_NAME or summary.name.startswith(DEMO_NAME)
    ]
    finished = next((summary for summary in demo if summary.state == "finished"), None)
    with place:
        if finished is None:
            st.button(
                "Explore the demo",
                type="primary",
                icon=":material/play_arrow:",
                on_click=run_demo,
                **more_work.for_owners(),
            )
            return
        st.button("Run again", icon=":material/replay:", on_click=run_demo, **more_work.for_owners())
        st.button(
            "Open the demo",
            type="primary",
            icon=":material/play_arrow:",
            on_click=open_run,
            args=(finished.name,),
        )


def run_demo() -> None:
    """Start the demo; a second click or a second tab opens the running one instead."""
    busy = next((s for s in state.summaries() if s.name.startswith(DEMO_NAME) and _active(s.name)), None)
    if busy is not None:
        open_run(busy.name)
        return
    submit(JobSpec(dataset=str(places.DEMO), model=str(places.DEMO), name=DEMO_NAME))


def fairness_demo() -> None:
    """Open the newest run of Adult that is finished or running, else start one."""
    runs = [s for s in state.summaries() if s.name.startswith(FAIRNESS_NAME)]
    ready = next((s for s in runs if s.state == "finished" or _active(s.name)), None)
    if ready is None:
        path = str(places.FAIRNESS_DEMO)
        settings = {"objectives": FAIRNESS_OBJECTIVES}
        submit(JobSpec(dataset=path, model=path, name=FAIRNESS_NAME, settings=settings))
        return
    state.open_run_named(ready.name)
    frame.redirect("fairness" if ready.state == "finished" else "overview")


def _active(name: str) -> bool:
    return jobs.status(runs_root() / name).active


def open_run(name: str) -> None:
    state.open_run_named(name)
    frame.redirect("overview")


def submit(spec: JobSpec) -> None:
    """Start an analysis and open its run; a refusal is shown on this page."""
    try:
        name = more_work.analyse(spec)
    except InfluenceError as error:
        st.session_state[PROBLEM] = str(error)
        return
    open_run(name)


# ---------------------------------------------------------------------------------------------- earlier runs


def earlier(summaries: list[RunSummary]) -> None:
    """The runs of this visitor; those of this browser keep their place until it has been asked for its key."""
    with st.container(border=True):
        frame.section("Earlier runs")
        if state.may_be_more(summaries):
            st.skeleton(height=LINE * min(20, max(1, len(summaries))))
            return
        if not summaries:
            st.caption("No runs yet. Try the demo, or bring your data.")
        for summary in summaries[:20]:
            line(summary)
        if len(summaries) > 20:
            st.caption(f"and {formats.count(len(summaries) - 20)} more in the run selector at the left")


def line(summary: RunSummary) -> None:
    """One run: name, state, facts, and its one action."""
    now = summary.state if summary.state == "damaged" else jobs.status(runs_root() / summary.name).state
    name, button = st.columns([4, 1], vertical_alignment="center")
    name.markdown(
        f"**{formats.escaped(summary.name)}** {job_panel.state_badge(now)}  \n:gray[{facts(summary)}]"
    )
    if now == "damaged":
        return
    stopped = now in ("cancelled", "interrupted", "failed")
    button.button(
        f"{'Resume' if stopped else 'Open'} {formats.escaped(summary.name)}",
        key=f"run_{summary.name}",
        on_click=resume if stopped else open_run,
        args=(summary.name,),
        width="stretch",
        **(more_work.for_owners() if stopped else {}),
    )


def facts(summary: RunSummary) -> Markdown:
    if summary.problem:
        return formats.escaped(places.as_named(summary.problem))
    flagged = f"{formats.count(summary.flagged)} in doubt" if summary.flagged is not None else ""
    size = formats.plural(summary.n, "sample") if summary.n else ""
    parts = (
        formats.escaped(summary.model),
        size,
        flagged,
        formats.moment(summary.created),
    )
    return " · ".join(part for part in parts if part)


def resume(name: str) -> None:
    try:
        more_work.resume(runs_root() / name)
    except InfluenceError as error:
        st.session_state[PROBLEM] = str(error)
        return
    open_run(name)


# ---------------------------------------------------------------------------------------------- what else to open


def own_data() -> None:
    with st.container(border=True):
        frame.section("Use my own data")
        st.markdown(
            ":gray[Pictures in a zip, a folder on this server, a Parquet, CSV or NumPy file; with a trained model or "
            "without. Three steps; you see what the data contain before anything runs.]"
        )
        st.button(
            "Use my own data",
            icon=":material/upload_file:",
            on_click=frame.redirect,
            args=("own_data",),
            width="stretch",
        )


def second_demo() -> None:
    with st.container(border=True):
        frame.section("A second demo: fairness")
        st.markdown(
            ':gray[10,000 rows of a census: which of them make a model predict ">50K" less often for women?]'
        )
        st.button(
            "Explore the fairness demo",
            icon=":material/balance:",
            on_click=fairness_demo,
            width="stretch",
            **more_work.for_owners(),
        )


page()
