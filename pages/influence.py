"""The Influence page: the samples behind one prediction, or those that one training sample helps and hurts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from influence_core.run_files.tables import HELD_OUT
from influence_core.runs.explanations import Explanation
from pages.ui.charts import base as base_charts
from pages.ui.components.gallery import Card, Cell, gallery
from pages.ui.repairs import sample_advice
from pages.ui.samples import cards, contradiction, explained, table_rows
from pages.ui.shell import cached, frame, state
from pages.ui.shell.state import OpenRun
from pages.ui.words import formats, how_to_read

UPLOAD = "Upload"
CHOICES = 24
LOSS, ITS_LOSS = "loss", frame.SHARED[state.AGAINST]


def page() -> None:
    action = frame.header("Influence", "Which training samples made this prediction what it is?")
    open_run = state.require_run()
    way_back(action)
    split, sample = subject()
    if split == UPLOAD:
        uploaded(open_run)
    elif sample:
        about(open_run, split, sample)
    else:
        choices(open_run, split)


def way_back(action) -> None:
    if (came_from := frame.back()) is not None:
        name, query = came_from
        action.button(
            f"Back to {formats.escaped(name.capitalize())}",
            icon=":material/arrow_back:",
            key="way_back",
            on_click=frame.redirect,
            args=(name,),
            kwargs=query,
        )


def subject() -> tuple[str, str]:
    """The split and the id of the sample to explain; both are kept in the address bar."""
    names = {title: split for split, title in frame.SPLITS.items()}
    left, middle, right = st.columns([4, 4, 2], vertical_alignment="bottom", gap="small")
    of = left.segmented_control(
        "Sample from",
        ("Validation", "Test", "Training", UPLOAD),
        default=frame.SHARED[state.OF],
        required=True,
        key=state.OF,
        bind="query-params",
        on_change=state.forget_sample,
    )
    sample = middle.text_input(
        "Sample id",
        key=state.SAMPLE,
        bind="query-params",
        placeholder="Empty: choose from the most wrong",
        disabled=of == UPLOAD,
    )
    with right.container(horizontal_alignment="right"):
        frame.how_to_read(how_to_read.EXPLANATION)
    return names.get(of, UPLOAD), sample.strip()


# ---------------------------------------------------------------------------------------------- choosing


def choices(open_run: OpenRun, split: str) -> None:
    """The samples on which the model is most wrong; the small i on a card explains it."""
    noun = explained.noun(open_run.run)
    if split == "train":
        frame.section(f"The training {noun}s that hurt the model most")
        worst = cached.order(open_run.run.id, "influence_utility", open_run.run)[:CHOICES]
        shown = cards.cards(open_run.run, open_run.name, worst, open_run.log)
    else:
        table = open_run.run.table(HELD_OUT[split])
        frame.section(f"The {explained.KINDS[split]} {noun}s on which the model is most wrong")
        worst = np.argsort(-table["loss"].to_numpy(), kind="stable")[:CHOICES]
        shown = explained.held_out_cards(open_run.run, open_run.name, split, worst.tolist())
    st.caption("Given label → prediction. Press the small i in a corner, or select a card and press I.")
    if split == "test":
        st.caption(
            "Decisions made by looking at test samples can no longer be judged on them. Prefer validation samples."
        )
    show(open_run, shown, key=f"choices_{split}", label="Images to explain")


def show(open_run: OpenRun, shown: list[Card], *, key: str, label: str, columns: int | None = None) -> None:
    """A read-only grid."""
    gallery(
        shown,
        key=f"{key}_{open_run.name}",
        version=f"{open_run.run.id}:{[card['id'] for card in shown]}",
        classes=open_run.run.classes,
        apply=lambda event: None,
        columns=columns,
        label=label,
        read_only=True,
        autofocus=False,
    )


# ---------------------------------------------------------------------------------------------- one sample


def about(open_run: OpenRun, split: str, sample: str) -> None:
    """Explain the named sample; for a training sample, show the validation samples it affects."""
    row = open_run.run.find(sample, split)
    if row is None:
        elsewhere = [name for name in frame.SPLITS if open_run.run.find(sample, name) is not None]
        hint = f" It is a {explained.KINDS[elsewhere[0]]} sample." if elsewhere else ""
        frame.nothing(
            f"No {explained.KINDS[split]} sample is called '{formats.escaped(sample)}'", hint.strip()
        )
        return
    if split == "train":
        training(open_run, sample)
        return
    against = objective(open_run, str(open_run.run.table(HELD_OUT[split])["predicted"].iloc[row]))
    with st.spinner("Opening the model"):
        explanation = cached.explanation(open_run.run.id, split, sample, against, open_run.run)
    answer(open_run, explanation, *face(open_run, split, row))


def face(open_run: OpenRun, split: str, row: int) -> tuple[bytes, list[Cell]]:
    """What a held-out sample looks like: its picture, or the cells of its row."""
    if open_run.run.has_thumbnails:
        return open_run.run.thumbnail(row, split)[0], []
    table = cached.held_out_cells(open_run.run.id, HELD_OUT[split], open_run.run)
    return b"", [] if table is None else table_rows.plain_cells(table, row)


def objective(open_run: OpenRun, predicted: str) -> tuple[str, str] | str:
    """The quantity to explain: the loss, or the lead of the predicted class over another one."""
    over = {f"its lead over {name}": name for name in open_run.run.classes if name != predicted}
    choice = st.selectbox("Explain", [ITS_LOSS, *over], key=state.AGAINST, bind="query-params", width=420)
    return LOSS if choice not in over else (predicted, over[choice])


def uploaded(open_run: OpenRun) -> None:
    """Explain an uploaded picture, read by the same safe reader as a dataset's."""
    if not open_run.run.has_thumbnails:
        frame.nothing("This run has no pictures", "Choose a validation sample instead.")
        return
    file = st.file_uploader(
        "A picture (PNG, JPEG, WebP or BMP, at most 20 MB)",
        type=["png", "jpg", "jpeg", "webp", "bmp"],
        max_upload_size=20,
        key="influence_upload",
    )
    if file is None:
        return
    content = file.getvalue()
    given = st.selectbox(
        "Its label",
        open_run.run.classes,
        None,
        placeholder="As the model predicts",
        width=420,
        key="upload_label",
    )
    with st.spinner("Opening the model"):
        explanation = cached.explanation_of_picture(
            open_run.run.id, hashlib.sha256(content).hexdigest(), given, open_run.run, content
        )
    answer(open_run, explanation, content)


def answer(open_run: OpenRun, explanation: Explanation, picture: bytes, cells: Sequence[Cell] = ()) -> None:
    """The prediction, then what helped (left) and what hurt (right), then the contradiction behind it."""
    with st.container(border=True):
        left, middle, right = st.columns([1, 2, 2], gap="medium")
        if picture:
            left.image(
                explained.enlarged(picture),
                caption=formats.escaped(explanation.sample_id or "Uploaded picture"),
            )
        elif cells:
            told = (f"{formats.escaped(cell['name'])}: **{formats.escaped(cell['text'])}**" for cell in cells)
            left.markdown("  \n".join(told))
        with middle:
            st.header(explained.headline(explanation), anchor=False)
            st.caption(explained.what_counts(explanation))
        with right:
            frame.draw(
                base_charts.probabilities(
                    explanation.probabilities, open_run.run.classes, theme=state.theme()
                ),
                alt=f"The model says {explanation.predicted}",
                key="probabilities",
            )
    two_sides(open_run, explanation)
    if len(explanation.harmful):
        contradiction.card(open_run, str(explanation.harmful.index[0]))


def two_sides(open_run: OpenRun, explanation: Explanation) -> None:
    strongest = max(
        (
            float(abs(table["influence"].iloc[0]))
            for table in (explanation.helpful, explanation.harmful)
            if len(table)
        ),
        default=0.0,
    )
    sides = (("helpful", "Helps", explanation.helpful), ("harmful", "Hurts", explanation.harmful))
    for column, (kind, title, table) in zip(st.columns(2, gap="medium"), sides, strict=True):
        with column.container(border=True):
            frame.toned(title, kind, state.theme())
            one_side(open_run, explanation, table, kind, strongest)
    st.caption(f"{explained.how_found(explanation)} {explained.carried(explanation)}")


def one_side(
    open_run: OpenRun, explanation: Explanation, table: pd.DataFrame, kind: str, strongest: float
) -> None:
    if table.empty:
        frame.nothing(
            "Nothing here",
            f"No {explained.KINDS[explanation.among]} {explained.noun(open_run.run)} is "
            f"{formats.escaped(kind)} to this one.",
        )
        return
    places = table["position"].tolist()
    if explanation.among == "train":
        plain = cards.cards(open_run.run, open_run.name, places, open_run.log)
    else:
        plain = explained.held_out_cards(open_run.run, open_run.name, explanation.among, places)
    scored = explained.with_scores(plain, table, strongest)
    wide = 2 if open_run.run.cells is not None else 5  # a row needs width to be read, a picture does not
    show(open_run, scored, key=f"{kind}_side", label=f"{kind.capitalize()} samples", columns=wide)


# ---------------------------------------------------------------------------------------------- a training sample


def training(open_run: OpenRun, sample: str) -> None:
    """The validation samples it helps and hurts, the image it contradicts, and what to do with it."""
    with st.spinner("Opening the model"):
        explanation = cached.affected(open_run.run.id, sample, open_run.run)
    st.header(explained.headline(explanation), anchor=False)
    st.caption(explained.what_counts(explanation))
    contradiction.card(open_run, sample)
    sample_advice.card(open_run, sample)
    two_sides(open_run, explanation)


page()
