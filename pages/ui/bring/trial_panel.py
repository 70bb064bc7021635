"""The trial of a model on validation samples: its accuracy, and at chance level what may be wrong."""

from __future__ import annotations

from typing import Any

import streamlit as st

from influence_core.intake import uploads
from influence_core.intake.uploads import Upload
from influence_core.system import atomic
from pages.ui.bring import plan, preprocessing_form
from pages.ui.shell import frame, visitor
from pages.ui.shell.places import runs_root
from pages.ui.words import formats

ORDER, NAMES, OTHER_ORDER = "own_order", "own_names", "In another order"
TALL = 200


def draw(upload: Upload, spec: dict[str, Any]) -> None:
    """The trial of the current choice; a button until this choice has been tried."""
    with st.container(border=True):
        frame.section("Does it work?")
        lacking = [name for name in ("architecture", "classes", "preprocessing") if not spec[name]]
        if lacking:
            names = {"classes": "class order"}
            missing = " and the ".join(names.get(name, name) for name in lacking)
            st.caption(f"First choose the {formats.escaped(missing)}.")
            return
        if upload.plan.get("spec") != spec:
            st.button(
                "Try it on the validation samples",
                type="primary",
                icon=":material/fact_check:",
                on_click=begin,
                args=(upload.id, spec),
            )
            return
        trial = plan.wait_for(
            upload,
            "trial",
            {
                "model": str(upload.folder / "model"),
                "dataset": upload.plan["dataset"],
                **plan.options(upload),
            },
            "Trying the model on validation samples.",
            TALL,
        )
        if trial is not None:
            result(upload, trial)


@plan.change
def begin(name: str, spec: dict[str, Any]) -> None:
    """Save the choice as model.json beside the weights, where every later step reads it."""
    upload = uploads.open_upload(runs_root(), name, visitor.owners())
    plan.drop(upload, "trial")
    atomic.write_json(upload.folder / "model" / "model.json", spec)
    uploads.update_plan(upload, spec=spec)


def result(upload: Upload, trial: dict[str, Any]) -> None:
    """Accuracy with its interval and chance, then the next step or what to change."""
    if "refused" in trial:
        frame.problem(trial["refused"], ":material/block:")
        return
    st.metric(
        "Validation accuracy",
        formats.percent(trial["accuracy"]),
        f"{formats.interval(trial['low'], trial['high'])} on {formats.plural(trial['samples'], 'sample')}; chance is "
        f"{formats.percent(trial['chance'])}",
        delta_color="off",
        delta_arrow="off",
    )
    if not trial["at_chance"] and not trial["alternatives"]:
        st.success(
            "The model reads these data correctly. Continue with the check.", icon=":material/check_circle:"
        )
        return
    warning = (
        "This is chance level: something between data and model does not fit."
        if trial["at_chance"]
        else "Another interpretation of the same files does clearly better:"
    )
    st.warning(warning, icon=":material/warning:")
    for index, way in enumerate(trial["alternatives"]):
        st.markdown(f"**{formats.escaped(way['words'])}**: {formats.percent(way['accuracy'])}")
        if way["classes"]:
            st.caption(formats.escaped(", ".join(way["classes"][:20])))
        st.button("Use this", key=f"way_{index}", on_click=use, args=(upload.id, way))
    if not trial["alternatives"]:
        st.caption(
            "No other class order, scale or picture size that was tried does better. Check that this is the dataset "
            "the model was trained on, and that these are its weights."
        )


@plan.change
def use(name: str, way: dict[str, Any]) -> None:
    """Apply one alternative to the choices, and try it."""
    upload = uploads.open_upload(runs_root(), name, visitor.owners())
    spec = dict(upload.plan["spec"])
    if way["classes"]:
        spec["classes"] = list(way["classes"])
        st.session_state[ORDER] = OTHER_ORDER
        st.session_state[NAMES] = "\n".join(way["classes"])
    if how := way["preprocessing"]:
        spec["preprocessing"] = {
            "channels": how["channels"],
            "size": list(how["size"]) if how["size"] else None,
            "mean": list(how["mean"]),
            "std": list(how["std"]),
        }
        preprocessing_form.show(spec["preprocessing"])
    begin(name, spec)
