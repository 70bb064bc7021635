"""Step 3 of own data: what will be analysed, what it costs, and the button that starts it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from influence_core.intake.uploads import Upload
from influence_core.jobs.submission import JobSpec
from pages.ui.bring import check_panel, data_step, plan
from pages.ui.shell import frame, more_work, state
from pages.ui.words import formats
from pages.ui.words.formats import Markdown


def draw(upload: Upload, preview: dict[str, Any]) -> None:
    """The choices in a line each, and the check where there is a model to look at."""
    left, right = st.columns([2, 3], gap="medium")
    with left.container(border=True):
        frame.section("Ready")
        st.markdown("\n".join(f"- {line}" for line in lines(upload, preview)))
        if not upload.plan.get("train"):
            st.button(
                "Check first",
                icon=":material/fact_check:",
                help="Shows whether this can be analysed, how exactly, and how long it would take.",
                on_click=check,
                args=(upload,),
            )
    with right:
        if check_panel.CHECK in st.session_state:
            with st.container(border=True):
                check_panel.panel()


def lines(upload: Upload, preview: dict[str, Any]) -> list[Markdown]:
    spec = upload.plan.get("spec")
    model = "A small model is trained first" if upload.plan.get("train") else ""
    if spec:
        model = f"{formats.escaped(spec['architecture'])}, {formats.plural(len(spec['classes']), 'class', 'classes')}"
    tried = plan.answer(upload, "trial") if spec else None
    accuracy = (
        f"Validation accuracy {formats.percent(tried['accuracy'])}" if tried and "accuracy" in tried else ""
    )
    private = (
        "Only you see the run, until you share it"
        if is_uploaded(upload)
        else "Everyone on this server sees the run"
    )
    return [line for line in (data_step.headline(preview), model, accuracy, private) if line]


def is_uploaded(upload: Upload) -> bool:
    """Whether any of its files was uploaded; runs of paths on the server belong to everyone."""
    return bool(upload.plan.get("sent") or upload.plan.get("weights_sent"))


@plan.change
def check(upload: Upload) -> None:
    options = {name.replace("_", "-"): value for name, value in plan.options(upload).items()}
    check_panel.begin(
        str(upload.plan["name"]), str(upload.folder / "model"), str(upload.plan["dataset"]), options
    )


def button(upload: Upload) -> None:
    """The one primary action of this step."""
    st.button("Analyse", type="primary", icon=":material/play_arrow:", on_click=analyse, args=(upload,))


@plan.change
def analyse(upload: Upload) -> None:
    """Start the analysis and open its run."""
    name = more_work.analyse(job(upload))
    check_panel.forget()
    state.open_run_named(name)
    frame.redirect("overview")


def job(upload: Upload) -> JobSpec:
    """The job that analyses this upload."""
    train = bool(upload.plan.get("train"))
    return JobSpec(
        dataset=str(upload.plan["dataset"]),
        model=str(upload.folder if train else upload.folder / "model"),
        name=str(upload.plan["name"]),
        dataset_options=plan.options(upload),
        recipe={} if train else None,
        upload=upload.id if is_uploaded(upload) else None,
    )
