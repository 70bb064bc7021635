"""The Verify page: what a repair does to the model, for whom, and whether that was predicted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import streamlit as st

from influence_core.errors import InfluenceError
from influence_core.jobs import repair_jobs
from influence_core.jobs.status import status
from influence_core.repair.predicted_effects import Effects
from influence_core.repair.repairs import Repair
from influence_core.training.recipe import Recipe, suggested
from influence_core.verification.results import FOLDER, RESULT, Verification, list_verifications
from pages.ui.charts import verify as verify_charts
from pages.ui.repairs import what_if
from pages.ui.reports import downloads
from pages.ui.shell import frame, job_panel, more_work, state
from pages.ui.shell.state import OpenRun
from pages.ui.words import formats
from pages.ui.words import verify as verify_words


def page() -> None:
    action = frame.header(
        "Verify", "Does the repair make the model better, for whom, and was that predicted?"
    )
    open_run = state.require_run()
    verifications = list_verifications(open_run.run)
    running(open_run)
    if verifications:
        result(open_run, selected(verifications))
        plan(open_run, action, answered=True)
    else:
        answer = st.container()  # drawn last: the choice below decides what is predicted
        effects = plan(open_run, action, answered=False)
        with answer:
            expected(effects)
    if len(verifications) > 1:
        frame.section("All verified repairs of this run")
        st.dataframe(verify_words.comparison(verifications), hide_index=True, width="stretch")


def expected(effects: Effects | None) -> None:
    """Before any retraining: the predicted answer and who pays, or what to do for one."""
    if effects is None:
        frame.large("Nothing has been verified yet.")
    else:
        frame.large(formats.escaped(verify_words.predicted_headline(effects)))
        st.markdown(verify_words.predicted_size(effects))
    st.markdown(
        ":gray[Retraining measures it: with and without the repair chosen below, several times, and beside a random "
        "repair of the same size. The test set is used only once, at the end.]"
    )


def running(open_run: OpenRun) -> None:
    """Jobs of this run that are running, waiting, or stopped before their first result."""
    for path in sorted((open_run.run.path / FOLDER).glob("*/job.json"), key=lambda p: p.stat().st_mtime):
        folder = path.parent
        state_ = status(folder)
        if state_.active or (state_.resumable and not (folder / RESULT).exists()):
            with st.container(border=True):
                job_panel.panel(folder, key=f"verify_{folder.name}", title=repair_jobs.title_of(folder))


def selected(verifications: list[Verification]) -> Verification:
    """The newest verification, or the one in the address bar."""
    if len(verifications) == 1:
        return verifications[0]
    names = {
        f"{verification.folder.name}: {verification.name}": verification for verification in verifications
    }
    choice = st.selectbox("Verification", list(names), key=state.VERIFIED, bind="query-params")
    return names[choice]


def result(open_run: OpenRun, verification: Verification) -> None:
    """The answer in a sentence, before and after, predictions and measurements, every number, the next step."""
    frame.large(formats.escaped(formats.restyled(verification.sentence())))
    if (control := verify_words.control_sentence(verification)) is not None:
        st.markdown(f":gray[{formats.escaped(control)}]")
    if verification.content["judged_by"] != "test":
        st.warning(
            "There is no test split, so this was judged on the validation samples, which also went into suspicion: the "
            "result is too optimistic. Add a test split to the dataset.",
            icon=":material/warning:",
        )
    left, right = (c.container(border=True, height="stretch") for c in st.columns(2, gap="medium"))
    with left:
        frame.section("Before and after", verify_words.DUMBBELL)
        frame.draw(
            verify_charts.dumbbell(verification, theme=state.theme()),
            alt=verification.sentence(),
            key=f"dumbbell_{verification.folder.name}",
        )
    with right:
        agreement(verification)
    with st.expander("Every number", icon=":material/table:"):
        st.dataframe(verify_words.arms_table(verification), hide_index=True, width="stretch")
        st.dataframe(verify_words.metrics_table(verification), hide_index=True, width="stretch")
        st.caption(formats.escaped(method(verification)))
    frame.section("What to do next")
    st.markdown(formats.escaped(verify_words.next_step(verification)))
    offers(open_run, verification)


def agreement(verification: Verification) -> None:
    """Predictions and measurements, shown even where they disagree."""
    frame.section("Predicted and measured", verify_words.FIDELITY)
    if not verification.finished:
        st.caption("The groups of samples are still being trained; the points appear when that is done.")
        st.skeleton(height=420)
        return
    st.caption(formats.escaped(verify_words.fidelity_sentence(verification)))
    if verification.content["points"]:
        frame.draw(
            verify_charts.fidelity(verification, theme=state.theme()),
            alt=verify_words.fidelity_sentence(verification),
            key=f"fidelity_{verification.folder.name}",
        )


def method(verification: Verification) -> str:
    """How it was measured, in one line."""
    recipe, content = verification.content["recipe"], verification.content
    return (
        f"{content['seeds']} paired seeds, {recipe['epochs']} epochs of {recipe['optimizer']}, starting from "
        f"{'new' if recipe['start'] == 'scratch' else 'the given'} weights, last epoch; "
        f"{formats.count(content['judged_samples'])} {content['judged_by']} samples, used once; robust accuracy under "
        f"a fresh attack of {content['epsilon']} on every model. Data {content['repair']['parent'][:8]} became "
        f"{content['repair']['fingerprint'][:8]}."
    )


def offers(open_run: OpenRun, verification: Verification) -> None:
    """The verified model, the repaired data, the report."""
    row = st.container(horizontal=True, gap="small")
    weights, name = verification.model_folder() / "model.safetensors", f"{open_run.name}-repaired"
    if weights.exists():
        offer(
            row, "Verified model (safetensors)", f"{name}.safetensors", downloads.BINARY, weights.read_bytes
        )
    make = partial(downloads.repaired, open_run.run, verification)
    offer(row, "Repaired dataset (Parquet)", f"{name}.parquet", downloads.PARQUET, make)
    make = partial(downloads.report, open_run.run, open_run.log)
    offer(row, "Report (HTML)", f"{open_run.name}-report.html", "text/html", make)
    row.button("Review what is left", icon=":material/checklist:", on_click=frame.redirect, args=("review",))


def offer(row, label: str, file_name: str, media_type: str, make: Callable[[], bytes]) -> None:
    row.download_button(
        formats.escaped(label),
        data=make,
        file_name=file_name,
        mime=media_type,
        icon=":material/download:",
        on_click="ignore",
        key=f"download_{file_name}",
    )


def plan(open_run: OpenRun, action, *, answered: bool) -> Effects | None:
    """The what-if bar with its prediction and guard, the recipe, and the button that starts it; what is predicted."""
    frame.section("What if")
    with st.container(border=True):
        repair = what_if.choose(open_run)
        st.markdown(what_if.summary(repair))
        effects = what_if.prediction(open_run, repair, answered=answered)
        settings(open_run)
    if problem := st.session_state.pop(what_if.PROBLEM, None):
        frame.problem(problem)
    action.button(
        "Retrain and verify",
        type="primary",
        icon=":material/science:",
        key="verify",
        on_click=start,
        args=(open_run, repair),
        **more_work.for_owners(
            disabled=not len(repair),
            help="Trains with and without the chosen repair. Runs in the background, also after a reload.",
        ),
    )
    return effects


def settings(open_run: OpenRun) -> None:
    """The form for recipe, seeds and groups; `requested` reads it."""
    proposed = proposal(open_run)
    with st.expander("Training recipe", icon=":material/tune:"):
        first, second, third, fourth = st.columns(4, gap="small")
        first.number_input("Seeds", 1, 20, 5, key="verify_seeds")
        second.number_input(
            "Groups to remove",
            0,
            12,
            8,
            key="verify_groups",
            help="Each is left out of one training, to compare with the prediction.",
        )
        third.number_input("Epochs", 1, 200, proposed.epochs, key="verify_epochs")
        highest = proposed.learning_rate
        fourth.number_input("Highest learning rate", 1e-6, 1.0, highest, format="%.4f", key="verify_rate")
        first.selectbox("Optimizer", ("adamw", "sgd"), key="verify_optimizer")
        second.selectbox(
            "Start from", ("scratch", "given"), index=("scratch", "given").index(proposed.start), key="verify_start",
            format_func={"scratch": "new weights", "given": "the given weights"}.__getitem__,
        )  # fmt: skip
        third.checkbox("Mirror and shift", key="verify_augment")


def proposal(open_run: OpenRun) -> Recipe:
    facts = open_run.run.description["inputs"]
    return suggested(facts["model"]["parameters"], facts["dataset"]["n_train"])


def requested(open_run: OpenRun) -> tuple[Recipe, int, int]:
    """The recipe, seeds and groups now in the form.

    A number typed just before the click counts, even if the page was not yet redrawn with it.
    """
    form, proposed = st.session_state, proposal(open_run)
    recipe = replace(
        proposed,
        epochs=int(form["verify_epochs"]),
        learning_rate=float(form["verify_rate"]),
        optimizer=form["verify_optimizer"],
        start=form["verify_start"],
        augment=bool(form["verify_augment"]),
    )
    return recipe, int(form["verify_seeds"]), int(form["verify_groups"])


def start(open_run: OpenRun, repair: Repair) -> None:
    """Start a verification; what cannot be trained on is refused before any time is spent."""
    try:
        recipe, seeds, groups = requested(open_run)
        more_work.verify(
            open_run.run,
            repair,
            recipe=recipe.to_json(),
            seeds=seeds,
            groups=groups,
            sized=what_if.finds_its_size(repair),
        )
    except InfluenceError as error:
        st.session_state[what_if.PROBLEM] = str(error)


page()
