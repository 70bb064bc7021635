"""The page "Use my own data": from a file or a path to a running analysis in three steps."""

from __future__ import annotations

import streamlit as st

from influence_core.errors import UploadError
from influence_core.intake import uploads
from pages.ui.bring import check_step, data_step, model_step, plan
from pages.ui.shell import frame, visitor
from pages.ui.shell.places import runs_root
from pages.ui.words import formats

TITLES = {"data": "Data", "model": "Model", "check": "Check"}


def page() -> None:
    action = frame.header(
        "Use my own data", "Bring a dataset and a model; see what is in them before anything runs."
    )
    if not visitor.may("owner"):
        st.info("Your role on this server does not allow bringing data. Ask the person who runs it.")
        return
    clean_up()
    try:
        upload = plan.current()
    except UploadError as error:
        if not visitor.recognised():
            frame.nothing(
                "Looking for your upload", "This browser is being asked for the key of its uploads."
            )
            return
        frame.nothing("Not your upload", formats.plain_sentence(error))
        st.button("Start with other data", type="primary", on_click=plan.start_again)
        return
    step = plan.step()
    steps(step)
    if problem := st.session_state.pop(plan.PROBLEM, None):
        frame.problem(problem)
    if step == "data" or upload is None:
        data_step.draw(upload)
    elif step == "model":
        model_step.draw(upload, plan.answer(upload, "preview") or {})
    else:
        check_step.draw(upload, plan.answer(upload, "preview") or {})
    with action:  # last: what the step did decides what comes next
        onward(step)


def steps(now: str) -> None:
    """The step bar: 1 Data, 2 Model, 3 Check; every step within reach can be opened."""
    reachable = plan.reachable()
    with st.container(horizontal=True, gap="small"):
        for number, (name, title) in enumerate(TITLES.items(), 1):
            st.button(
                f"{number}  {title}",
                key=f"step_{name}",
                type="secondary" if name == now else "tertiary",
                disabled=name not in reachable,
                on_click=plan.open_step,
                args=(name,),
            )


def onward(step: str) -> None:
    """The one primary action: the next step, or the analysis."""
    upload, reachable = plan.current(), plan.reachable()
    if upload is None:
        return
    if step == "check":
        check_step.button(upload)
        return
    following = plan.STEPS[plan.STEPS.index(step) + 1]
    if following in reachable:
        st.button(
            f"Next: {TITLES[following].lower()}",
            key="next_step",
            type="primary",
            icon=":material/arrow_forward:",
            on_click=plan.open_step,
            args=(following,),
        )


@st.cache_resource(ttl=600, max_entries=4, show_spinner=False)
def _expired(root: str, day: str) -> int:
    return len(uploads.expire(runs_root()))


def clean_up() -> None:
    """Delete expired uploads, checked at most every ten minutes."""
    _expired(str(runs_root()), str(uploads.keep_days()))


page()
