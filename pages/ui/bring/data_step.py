"""Step 1 of own data: from a file or a path to a preview that shows what is in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from influence_core.intake import uploads
from influence_core.intake.uploads import Upload
from pages.ui.bring import plan, questions, sheet
from pages.ui.components import sender
from pages.ui.server import receiving
from pages.ui.shell import frame, places, state, visitor
from pages.ui.shell.places import runs_root
from pages.ui.words import formats
from pages.ui.words.formats import Markdown

PATH = "own_dataset"
AGREED = "own_skip"
HEIGHT = 620
Take = Callable[[Upload, Sequence[tuple[Path, str]]], object]
LAYOUTS = """
**A zip or folder of pictures** (PNG, JPEG, WebP, BMP, GIF, TIFF), one folder per class: `train/cat/1.png`, with `val/`
and `test/` beside `train/` if you have them. Or any folders with a list of names and labels beside them: `labels.csv`,
`train.txt`, `_classes.csv`, `labels.json`, `labels.xlsx`, or a `metadata.csv` (`file_name`, `label`, then groups).

**One file**: `.parquet` with pictures as Hugging Face writes it, `.npz` with `x_train` and `y_train`, `.pt` of tensors,
a table with a label column as `.csv`, `.tsv`, `.txt` (also `.gz`), `.jsonl`, `.xlsx` or `.parquet`; a zip or folder of
`train.csv` and `test.csv`.

**On this server by its path**, all of these, and what torchvision downloads: MNIST, CIFAR (binary), ImageFolder.

The order of the classes comes from `classes.txt` (one name per line) if there is one, otherwise from the alphabet.
"""


def draw(upload: Upload | None) -> None:
    """The ways to bring a dataset, then its preview."""
    if upload is None or "dataset" not in upload.plan:
        ways_in()
        return
    preview = plan.wait_for(upload, "preview", question(upload), "Reading every sample once.", HEIGHT)
    if preview is None:
        return
    if preview.get("dataset", upload.plan["dataset"]) != upload.plan["dataset"]:
        upload = uploads.unpacked(upload, preview["dataset"])
    if "columns" in preview:
        questions.label_column(upload, preview["columns"])
    else:
        result(upload, preview)


def question(upload: Upload) -> dict[str, Any]:
    """The options for the child that reads the data; an uploaded zip is unpacked permanently."""
    dataset = str(upload.plan["dataset"])
    options: dict[str, Any] = {"dataset": dataset, "pixels": str(upload.folder / "pixels.bin")}
    if upload.plan.get("label"):
        options["label"] = upload.plan["label"]
    if upload.plan.get("sent") and dataset.endswith(".zip") and Path(dataset).is_file():
        left = uploads.left_for(runs_root(), upload, freed=Path(dataset).stat().st_size)
        options |= {"store": str(upload.folder / "store"), "limit": max(0, left)}
    return options


def ways_in() -> None:
    left, right = st.columns([3, 2], gap="medium")
    with left.container(border=True):
        frame.section("Your dataset")
        uploader("dataset", "A .zip, a table, .parquet or .npz from this computer", take_dataset)
        with st.form("own_path", border=False):
            st.text_input(
                "Or a path on the server",
                key=PATH,
                placeholder="data/flowers",
                help="Best for large data: nothing has to be uploaded.",
            )
            st.form_submit_button("Look at it", icon=":material/search:", on_click=take_path)
    with right.container(border=True):
        frame.section("What can be read")
        st.markdown(LAYOUTS)
    earlier()


def uploader(kind: str, label: str, take: Take, *, several: bool = False) -> None:
    """A drop zone for files, which go straight to disk; `take` gets the upload, and path and name of each file."""
    upload = plan.current()

    @plan.change
    def arrived(sent: Sequence[tuple[str, str]]) -> None:
        current = plan.ensure()
        take(current, [(uploads.stored_file(current, stored), name) for stored, name in sent])

    sender.sender(
        f"send_{kind}",
        label,
        accept=uploads.SUFFIXES[kind],
        limit=max(0, uploads.quota() - uploads.used(runs_root(), visitor.owners())),
        url=None if upload is None else receiving.address(upload, kind),
        on_wanted=plan.ensure,
        on_sent=arrived,
        several=several,
    )


def take_dataset(upload: Upload, files: Sequence[tuple[Path, str]]) -> None:
    """Use an uploaded dataset."""
    path, name = files[-1]
    use(upload, path, Path(name).stem[:80], sent=True)


def use(upload: Upload, path: Path, name: str, *, sent: bool) -> None:
    """Make this the dataset of the upload; drops everything known about another one."""
    plan.drop(upload, "preview", "trial")
    forgotten = dict.fromkeys(("skip", "spec", "train", "label"))
    uploads.update_plan(upload, dataset=str(path), name=name, sent=sent or None, **forgotten)


@plan.change
def take_path() -> None:
    """Use the typed path, if this server may read it."""
    path = places.permitted(str(st.session_state.get(PATH) or ""), "dataset")
    use(plan.ensure(), path, path.stem[:80], sent=False)


def earlier() -> None:
    """Earlier uploads of this visitor, to open, share or delete."""
    kept = [
        upload for upload in uploads.uploads_of(runs_root(), visitor.owners()) if "dataset" in upload.plan
    ]
    if not kept:
        return
    with st.container(border=True):
        frame.section("Earlier uploads")
        used = formats.size(uploads.used(runs_root(), visitor.owners()))
        st.caption(
            f"Only you see these. {used} of {formats.size(uploads.quota())} are used. Uploads not opened for "
            f"{formats.short(uploads.keep_days())} days are deleted with their runs."
        )
        for upload in reversed(kept[-10:]):
            name, shared, again, gone = st.columns([4, 3, 2, 1], vertical_alignment="center")
            name.markdown(f"**{formats.escaped(str(upload.plan['name']))}**")
            shared.toggle(
                "Everyone here sees its runs",
                value=upload.shared,
                key=f"share_{upload.id}",
                on_change=share,
                args=(upload.id,),
            )
            again.button(
                f"Open {formats.escaped(str(upload.plan['name']))}",
                key=f"open_{upload.id}",
                on_click=reopen,
                args=(upload.id,),
                width="stretch",
            )
            with gone:
                deletion(upload)


def reopen(name: str) -> None:
    st.query_params[plan.UPLOAD] = name


@plan.change
def share(name: str) -> None:
    upload = uploads.open_upload(runs_root(), name, visitor.owners())
    uploads.share(upload, bool(st.session_state[f"share_{name}"]))


def deletion(upload: Upload) -> None:
    """A delete button inside a popover that says what is deleted."""
    with st.popover("Delete", width="stretch"):
        st.markdown(
            "This deletes the uploaded files and every run made from them, with thumbnails and scores. Decisions stay "
            "in the log: they name samples and labels, no pictures. Data opened by a path are not deleted."
        )
        st.button(
            "Delete for good",
            key=f"delete_{upload.id}",
            icon=":material/delete:",
            on_click=delete,
            args=(upload.id,),
        )


@plan.change
def delete(name: str) -> None:
    upload = uploads.open_upload(runs_root(), name, visitor.owners())
    plan.forget_question()
    gone = uploads.delete(runs_root(), upload)
    if st.query_params.get(plan.UPLOAD) == name:
        st.query_params.clear()
    if state.run_name() in gone.runs:
        st.session_state[state.RUN] = None
    names = formats.escaped(", ".join(gone.runs))
    runs = f" and {formats.plural(len(gone.runs), 'run')} ({names})" if gone.runs else ""
    st.toast(f"Deleted {formats.plural(gone.files, 'file')}, {formats.size(gone.bytes)}{runs}.")


# ---------------------------------------------------------------------------------------------- the preview


def result(upload: Upload, preview: dict[str, Any]) -> None:
    """The preview: sizes in one line, then problems, samples and counts."""
    if "refused" in preview:
        frame.problem(preview["refused"], ":material/block:")
        st.button("Choose other data", icon=":material/undo:", on_click=plan.start_again)
        return
    st.header(headline(preview), anchor=False)
    troubles(upload, preview)
    left, right = st.columns([3, 2], gap="medium")
    with left.container(border=True):
        frame.section(f"{len(preview['samples'])} of the training samples")
        if preview["kind"] == "image":
            sheet.pictures(preview["samples"], plan.pixels(upload, preview["samples"]))
        else:
            sheet.rows(preview["samples"])
    with right.container(border=True):
        frame.section("Classes and splits")
        counts(preview)
        groups(preview)
    st.button("Choose other data", icon=":material/undo:", on_click=plan.start_again, type="tertiary")


def headline(preview: dict[str, Any]) -> Markdown:
    sizes = {split: sum(numbers) for split, numbers in preview["counts"].items()}
    names = {"train": "training", "val": "validation", "test": "test"}
    parts = [f"{formats.count(size)} {names[split]}" for split, size in sizes.items()]
    return f"{', '.join(parts)} samples in {formats.plural(len(preview['classes']), 'class', 'classes')}"


def shape(preview: dict[str, Any]) -> str:
    if preview["kind"] != "image":
        numbers = formats.plural(preview["features"], "number")
        if not preview.get("table"):
            return f"{numbers} per sample"
        columns = formats.plural(len(preview["table"]["columns"]), "column")
        return f"{columns} to learn from, which become {numbers} per sample: each word is one number, 1 or 0"
    height, width = preview["size"]
    mixed = "" if preview["sizes"] == 1 else f" most often; {formats.count(preview['sizes'])} sizes in all"
    return f"{'Grey' if preview['channels'] == 1 else 'Colour'} pictures of {width} x {height} pixels{mixed}"


def troubles(upload: Upload, preview: dict[str, Any]) -> None:
    """What needs consent, what should be known, and what the reader decided."""
    for note in preview["skipped"]:
        st.warning(formats.plain_sentence(places.as_named(note)), icon=":material/broken_image:")
        st.checkbox(
            "Continue without them",
            key=AGREED,
            value=bool(upload.plan.get("skip")),
            on_change=agree,
            args=(upload.id,),
        )
    for problem in preview["problems"]:
        st.warning(formats.plain_sentence(places.as_named(problem)), icon=":material/warning:")
    notes = [shape(preview), *preview["notes"]]
    if preview["doubtful_order"]:
        notes.append(
            "The classes are numbers sorted as text (10 before 2). You will be asked whether your model's outputs have "
            "that order."
        )
    if not preview["problems"] and not preview["skipped"]:
        notes.append("No sample is repeated, has two labels, or is in two splits.")
    st.markdown("\n".join(f"- {formats.plain_sentence(places.as_named(note))}" for note in notes))


@plan.change
def agree(name: str) -> None:
    upload = uploads.open_upload(runs_root(), name, visitor.owners())
    uploads.update_plan(upload, skip=True if st.session_state.get(AGREED) else None)


def counts(preview: dict[str, Any]) -> None:
    """Samples per class and split, in class order."""
    names = {"train": "Training", "val": "Validation", "test": "Test"}
    table = pd.DataFrame(
        {"Class": preview["classes"], **{names[split]: n for split, n in preview["counts"].items()}}
    )
    most = max(preview["counts"]["train"])
    bar = st.column_config.ProgressColumn("Training", format="%d", min_value=0, max_value=most)
    st.dataframe(
        table,
        hide_index=True,
        height="content" if len(table) <= 12 else 420,
        column_config={"Training": bar},
        alt="Samples of each class in each split",
    )


def groups(preview: dict[str, Any]) -> None:
    if not preview["groups"]:
        return
    st.markdown("**Groups**")
    for name, values in preview["groups"].items():
        listed = ", ".join(f"{formats.escaped(str(value))} ({formats.count(n)})" for value, n in values)
        st.markdown(f"{formats.escaped(name)}: :gray[{listed}]")
