"""Step 2 of own data: from weights, or without any, to a model that reads these data correctly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from influence_core.intake import uploads
from influence_core.intake.uploads import Upload
from pages.ui.bring import data_step, plan, preprocessing_form, questions, trial_panel
from pages.ui.bring.trial_panel import NAMES, ORDER, OTHER_ORDER
from pages.ui.shell import frame, places, visitor
from pages.ui.shell.places import runs_root
from pages.ui.words import formats

PATH = "own_model"
ARCHITECTURE, SET = "own_architecture", "own_set"
WEIGHT_NAMES = ("model.safetensors", "model.pt", "model.pth", uploads.INDEX)
HEIGHT = 260
BUILT_IN = "small_cnn", "mlp", "logistic"


def draw(upload: Upload, preview: dict[str, Any]) -> None:
    """Two ways: existing weights, or a small model trained here."""
    if upload.plan.get("train"):
        training_notice(upload)
    elif "weights" in upload.plan:
        weights(upload, preview)
    else:
        ways_in(upload, preview)


def ways_in(upload: Upload, preview: dict[str, Any]) -> None:
    left, right = st.columns(2, gap="medium")
    with left.container(border=True, height="stretch"):
        frame.section("I have trained weights")
        st.markdown(
            ":gray[A state dict: `.safetensors`, or `.pt`, `.pth`. It is read in a process without network, rights or "
            "files, and kept as safetensors. Files that could run code are refused.]"
        )
        data_step.uploader(
            "model",
            "Weights from this computer, and their model.json if there is one",
            take_sent,
            several=True,
        )
        if spec_file(upload).is_file():
            st.caption("A model.json has arrived. Now upload the weights that it describes.")
        with st.form("own_weights", border=False):
            st.text_input("Or a path on the server", key=PATH, placeholder="data/flowers/model.safetensors")
            st.form_submit_button("Look at it", icon=":material/search:", on_click=take_path)
        if preview.get("model"):
            st.button(
                "Use the model in the dataset's folder",
                on_click=take_named,
                args=(upload.id, preview["model"]),
            )
    with right.container(border=True, height="stretch"):
        frame.section("I have no model yet")
        size = "A network of about 95 000 parameters" if preview["kind"] == "image" else "A small network"
        st.markdown(
            f":gray[{size} is trained here on your training samples, with a fixed recipe and seed, before the "
            "analysis. What it learns from wrong labels is what the analysis finds.]"
        )
        st.button(
            "Train a small one for me",
            icon=":material/model_training:",
            on_click=train_one,
            args=(upload.id,),
        )


@plan.change
def train_one(name: str) -> None:
    upload = uploads.open_upload(runs_root(), name, visitor.owners())
    uploads.update_plan(upload, train=True, weights=None, spec=None)
    plan.open_step("check")


def training_notice(upload: Upload) -> None:
    with st.container(border=True):
        frame.section("A small model will be trained for you")
        st.markdown(
            ":gray[It is trained at the start of the analysis and kept with the run. Its accuracy on your "
            "validation samples is shown on the Overview; the better it is, the more the findings mean.]"
        )
        other_model(upload)


def other_model(upload: Upload) -> None:
    st.button(
        "Choose another model", icon=":material/undo:", type="tertiary", on_click=forget, args=(upload.id,)
    )


@plan.change
def forget(name: str) -> None:
    upload = uploads.open_upload(runs_root(), name, visitor.owners())
    plan.drop(upload, "weights", "trial")
    spec_file(upload).unlink(missing_ok=True)
    uploads.update_plan(upload, weights=None, weights_name=None, spec=None, train=None)
    plan.open_step("model")


# ---------------------------------------------------------------------------------------------- weights


def spec_file(upload: Upload) -> Path:
    """The path of an uploaded model.json: beside the uploaded weights."""
    return upload.folder / "files" / uploads.SPEC


def take_sent(upload: Upload, files: Sequence[tuple[Path, str]]) -> None:
    """Use uploaded weights, their model.json, or both; in either order the weights are read with it."""
    sent = [(path, name) for path, name in files if path.name not in (uploads.SPEC, *uploads.FROM_HUBS)]
    if sent:
        whole = [file for file in sent if file[0].name == uploads.INDEX]  # rather than one of its parts
        take(upload, *(whole or sent)[-1])
    else:
        plan.drop(upload, "weights", "trial")
        uploads.update_plan(upload, spec=None)


def take(upload: Upload, path: Path, name: str, *, sent: bool = True) -> None:
    """Use these weights; drops everything known about others."""
    plan.drop(upload, "weights", "trial")
    named = {
        "weights": str(path),
        "weights_name": name[-80:],
        "weights_sent": sent or None,
        "weights_key": None,
    }
    uploads.update_plan(upload, **named, train=None, spec=None)


@plan.change
def take_path() -> None:
    path = places.permitted(str(st.session_state.get(PATH) or ""), "model")
    take(plan.ensure(), path, path.name, sent=False)


@plan.change
def take_named(name: str, path: str) -> None:
    take(uploads.open_upload(runs_root(), name, visitor.owners()), Path(path), Path(path).name, sent=False)


def weights(upload: Upload, preview: dict[str, Any]) -> None:
    """The content of the file, the three things that weights alone do not tell, and the trial."""
    file = Path(upload.plan["weights"])
    if file.is_dir():
        file = next((file / name for name in WEIGHT_NAMES if (file / name).is_file()), file)
    options = {"weights": str(file), "target": str(upload.folder / "model" / "model.safetensors")}
    if key := upload.plan.get("weights_key"):
        options["key"] = key
    if spec_file(upload).is_file():
        options["spec"] = str(spec_file(upload))
    seen = plan.wait_for(
        upload,
        "weights",
        options,
        "Reading the weights in a separate process.",
        HEIGHT,
    )
    if seen is None:
        return
    if "refused" in seen:
        frame.problem(seen["refused"], ":material/block:")
        other_model(upload)
        return
    if "sets" in seen:
        choose_set(upload, seen["sets"])
        other_model(upload)
        return
    left, right = st.columns(2, gap="medium")
    with left:
        spec = choices(upload, preview, seen)
        if not complete(seen):
            with st.expander("I have a model.json that says all this"):
                data_step.uploader("model", "The model.json of these weights", take_sent, several=True)
    with right:
        if complete(seen) and "spec" not in upload.plan:
            trial_panel.begin(upload.id, spec)  # nothing is left to choose
            st.rerun()
        trial_panel.draw(upload, spec)
        preprocessing_form.preview(upload, preview, spec)
    other_model(upload)


def choose_set(upload: Upload, names: Sequence[str]) -> None:
    """Ask which of several sets of weights is meant: nothing in the file says it."""
    with st.container(border=True):
        frame.section("Which weights of this file?")
        st.markdown(
            f":gray[It holds {formats.count(len(names))} different sets, which would give different scores. Averaged "
            "ones (ema, swa) are usually the ones to use.]"
        )
        choice = st.radio("Set of weights", names, index=None, key=SET, format_func=formats.visible)
        st.button(
            "Use this set",
            type="primary",
            icon=":material/check:",
            disabled=choice is None,
            on_click=take_set,
            args=(upload.id, list(names)),
        )


@plan.change
def take_set(name: str, names: Sequence[str]) -> None:
    """Read the chosen set of weights."""
    plan.keep_choice(name, SET, names, "weights_key", "weights", "trial")


def complete(seen: dict[str, Any]) -> bool:
    """Whether a model.json says all that weights alone do not tell."""
    return all(seen[name] for name in ("architecture", "classes", "preprocessing"))


def choices(upload: Upload, preview: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    """Architecture, class order and preprocessing as chosen; None where a choice is missing."""
    with st.container(border=True):
        frame.section("What the weights are")
        st.markdown(
            f"**{formats.escaped(str(upload.plan['weights_name']))}**: {formats.plural(seen['tensors'], 'tensor')}, "
            f"{formats.count(seen['parameters'])} numbers"
        )
        for note in seen.get("notes", ()):
            st.caption(formats.escaped(note))
        restore(upload, preview, seen)
        architecture = choose_architecture(seen, upload.plan.get("spec") or {})
        classes = questions.class_order(preview, seen)
    with st.container(border=True):
        frame.section("What the model expects")
        how = preprocessing_form.choose(upload, preview, seen, architecture)
    return {"architecture": architecture, "classes": classes, "preprocessing": how}


def restore(upload: Upload, preview: dict[str, Any], seen: dict[str, Any]) -> None:
    """Select the class order again that was tried before a reload."""
    spec = upload.plan.get("spec")
    if spec is None or ORDER in st.session_state:
        return
    offered = questions.class_orders(preview, seen)
    st.session_state[ORDER] = next(
        (name for name in offered if offered[name] == spec["classes"]), OTHER_ORDER
    )
    st.session_state[NAMES] = "\n".join(spec["classes"])


def choose_architecture(seen: dict[str, Any], tried: dict[str, Any]) -> str | None:
    """A searchable list of architectures; guesses come first and are marked as such."""
    guesses = {guess["architecture"]: guess for guess in seen["guesses"]}
    stated = seen["architecture"]
    names = [*guesses, *(name for name in all_architectures() if name not in guesses)]
    if stated and stated not in names:
        names = [stated, *names]
    best = [name for name, guess in guesses.items() if guess["fitting"] == guess["total"]] or list(guesses)[
        :1
    ]
    first = tried.get("architecture") or stated or (best[0] if len(best) == 1 else None)

    def shown(name: str) -> str:
        if name == stated:
            return f"{name} (from model.json)"
        if (guess := guesses.get(name)) is None:
            return name
        return f"{name} (best guess: {guess['fitting']} of {guess['total']} tensors fit)"

    choice = st.selectbox(
        "Architecture",
        names,
        index=None if first is None else names.index(first),
        key=ARCHITECTURE,
        format_func=shown,
        placeholder="Several networks have exactly these tensors: choose yours"
        if best
        else "No known architecture looks like these weights; type to search",
    )
    guess = guesses.get(choice) if choice else None
    if guess and not stated and guess["fitting"] < guess["total"]:
        st.caption(
            f"{formats.count(guess['total'] - guess['fitting'])} tensors differ. If it is another network, choose that "
            "one; your own network can be analysed from Python."
        )
    return choice


@st.cache_resource(show_spinner=False)
def all_architectures() -> tuple[str, ...]:
    """Every name that can be built, without loading torch into the server: torchvision's own list, as text."""
    return (*BUILT_IN, *(name for name in torchvision_names()))


def torchvision_names() -> list[str]:
    from importlib.util import find_spec

    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return []
    folder = Path(spec.origin).parent / "models"
    return sorted(
        name for file in folder.glob("*.py") for name in registered(file.read_text(encoding="utf-8"))
    )


def registered(source: str) -> list[str]:
    """The functions below `@register_model()` in one file."""
    import re

    return re.findall(r"@register_model\(\)\n(?:@[^\n]+\n)*def (\w+)\(", source)
