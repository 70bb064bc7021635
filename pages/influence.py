"""Influence: which training images made this prediction what it is, and whom does a training image help and hurt?"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import streamlit as st

from influence_core.run_files.tables import HELD_OUT
from influence_core.runs.explanations import Explanation
from pages.ui.charts import base as charts
from pages.ui.components.gallery import Card, gallery
from pages.ui.repairs import sample_advice
from pages.ui.samples import cards, contradiction, explained
from pages.ui.samples import table_rows as rows
from pages.ui.shell import cached, frame, state
from pages.ui.shell.state import Chosen
from pages.ui.words import formats as words
from pages.ui.words import how_to_read as reading

UPLOAD = "Upload"
CHOICES = 24
LOSS, ITS_LOSS = "loss", "its loss"


def page() -> None:
    action = frame.header("Influence", "Which training samples made this prediction what it is?")
    chosen = state.require_run()
    way_back(action)
    split, wanted = subject()
    if split == UPLOAD:
        uploaded(chosen)
    elif wanted:
        about(chosen, split, wanted)
    else:
        choices(chosen, split)


def way_back(action) -> None:
    if (came_from := frame.back()) is not None:
        name, query = came_from
        action.button(
            f"Back to {name.capitalize()}",
            icon=":material/arrow_back:",
            key="way_back",
            on_click=frame.go,
            args=(name,),
            kwargs=query,
        )


def subject() -> tuple[str, str]:
    """Which sample is asked about; both answers stand in the address bar."""
    names = {title: split for split, title in frame.SPLITS.items()}
    left, middle, right = st.columns([4, 4, 2], vertical_alignment="bottom", gap="small")
    of = left.segmented_control(
        "Sample from",
        ("Validation", "Test", "Training", UPLOAD),
        default="Validation",
        required=True,
        key=state.OF,
        bind="query-params",
        on_change=state.forget_sample,
    )
    wanted = middle.text_input(
        "Sample id",
        key=state.SAMPLE,
        bind="query-params",
        placeholder="Empty: choose one of the most wrong",
        disabled=of == UPLOAD,
    )
    with right.container(horizontal_alignment="right"):
        frame.how_to_read(reading.EXPLANATION)
    return names.get(of, UPLOAD), wanted.strip()


# ---------------------------------------------------------------------------------------------- choosing


def choices(chosen: Chosen, split: str) -> None:
    """The images on which the model is most wrong; a click on the small i explains one."""
    noun = explained.noun(chosen.run)
    if split == "train":
        frame.section(f"The training {noun}s that hurt the model most")
        worst = cached.order(chosen.run.id, "influence_utility", chosen.run)[:CHOICES]
        shown = cards.cards(chosen.run, chosen.name, worst, chosen.log)
    else:
        table = chosen.run.table(HELD_OUT[split])
        frame.section(f"The {explained.KINDS[split]} {noun}s on which the model is most wrong")
        worst = np.argsort(-table["loss"].to_numpy(), kind="stable")[:CHOICES]
        shown = explained.held_out_cards(chosen.run, chosen.name, split, worst.tolist())
    st.caption(
        "Given label, then → what the model says. Press the small i in a corner, or choose a card and press I."
    )
    if split == "test":
        st.caption(
            "What is decided by looking at test samples can no longer be judged on them. Prefer validation samples."
        )
    show(chosen, shown, key=f"choices_{split}", label="Images to explain")


def show(chosen: Chosen, shown: list[Card], *, key: str, label: str, columns: int | None = None) -> None:
    """A grid to look at."""
    gallery(
        shown,
        key=f"{key}_{chosen.name}",
        version=f"{chosen.run.id}:{[card['id'] for card in shown]}",
        classes=chosen.run.classes,
        apply=lambda event: None,
        columns=columns,
        label=label,
        read_only=True,
        autofocus=False,
    )


# ---------------------------------------------------------------------------------------------- one sample


def about(chosen: Chosen, split: str, wanted: str) -> None:
    """A sample that was named; a training sample is read the other way round."""
    row = chosen.run.find(wanted, split)
    if row is None:
        elsewhere = [name for name in frame.SPLITS if chosen.run.find(wanted, name) is not None]
        hint = f" It is a {explained.KINDS[elsewhere[0]]} sample." if elsewhere else ""
        frame.nothing(f"No {explained.KINDS[split]} sample is called '{words.escaped(wanted)}'", hint.strip())
        return
    if split == "train":
        training(chosen, wanted)
        return
    against = objective(chosen, str(chosen.run.table(HELD_OUT[split])["predicted"].iloc[row]))
    with st.spinner("Opening the model"):
        found = cached.explanation(chosen.run.id, split, wanted, against, chosen.run)
    answer(chosen, found, *face(chosen, split, row))


def face(chosen: Chosen, split: str, row: int) -> tuple[bytes, str]:
    """How a held-out sample looks: its picture, or the cells of its row in words."""
    if chosen.run.has_thumbnails:
        return chosen.run.thumbnail(row, split)[0], ""
    table = cached.held_out_cells(chosen.run.id, HELD_OUT[split], chosen.run)
    cells = [] if table is None else rows.plain_cells(table, row)
    return b"", "  \n".join(f"{words.escaped(c['name'])}: **{words.escaped(c['text'])}**" for c in cells)


def objective(chosen: Chosen, predicted: str) -> tuple[str, str] | str:
    """Loss, or the lead of the predicted class over another one."""
    over = {f"its lead over {name}": name for name in chosen.run.classes if name != predicted}
    asked = st.selectbox("Explain", [ITS_LOSS, *over], key=state.AGAINST, bind="query-params", width=420)
    return LOSS if asked not in over else (predicted, over[asked])


def uploaded(chosen: Chosen) -> None:
    """A picture of one's own, read by the same careful reader as a dataset's."""
    if not chosen.run.has_thumbnails:
        frame.nothing("This run is not about pictures", "Choose a validation sample instead.")
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
        chosen.run.classes,
        None,
        placeholder="As the model predicts",
        width=420,
        key="upload_label",
    )
    with st.spinner("Opening the model"):
        found = cached.explanation_of_picture(
            chosen.run.id, hashlib.sha256(content).hexdigest(), given, chosen.run, content
        )
    answer(chosen, found, content)


def answer(chosen: Chosen, found: Explanation, picture: bytes, cells: str = "") -> None:
    """The prediction, then what helped (left) and what hurt (right), then the contradiction behind it."""
    with st.container(border=True):
        left, middle, right = st.columns([1, 2, 2], gap="medium")
        if picture:
            left.image(
                explained.enlarged(picture), caption=words.escaped(found.sample_id or "Uploaded picture")
            )
        elif cells:
            left.markdown(cells)
        with middle:
            st.subheader(explained.headline(found), anchor=False)
            st.caption(explained.what_counts(found))
        with right:
            frame.draw(
                charts.probabilities(found.probabilities, chosen.run.classes, theme=state.theme()),
                alt=f"The model says {found.predicted}",
                key="probabilities",
            )
    two_sides(chosen, found)
    if len(found.harmful):
        contradiction.card(chosen, str(found.harmful.index[0]))


def two_sides(chosen: Chosen, found: Explanation) -> None:
    strongest = max(
        (float(abs(table["influence"].iloc[0])) for table in (found.helpful, found.harmful) if len(table)),
        default=0.0,
    )
    sides = (("helpful", "Helps", found.helpful), ("harmful", "Hurts", found.harmful))
    for column, (kind, title, table) in zip(st.columns(2, gap="medium"), sides, strict=True):
        with column.container(border=True):
            frame.toned(title, kind, state.theme())
            one_side(chosen, found, table, kind, strongest)
    st.caption(f"{explained.how_found(found)} {explained.carried(found)}")


def one_side(chosen: Chosen, found: Explanation, table: pd.DataFrame, kind: str, strongest: float) -> None:
    if table.empty:
        frame.nothing(
            "Nothing here",
            f"No {explained.KINDS[found.among]} {explained.noun(chosen.run)} is {kind} to this one.",
        )
        return
    places = table["position"].tolist()
    if found.among == "train":
        plain = cards.cards(chosen.run, chosen.name, places, chosen.log)
    else:
        plain = explained.held_out_cards(chosen.run, chosen.name, found.among, places)
    scored = explained.with_scores(plain, table, strongest)
    wide = 2 if chosen.run.cells is not None else 5  # a row must be read, a picture only seen
    show(chosen, scored, key=f"{kind}_side", label=f"{kind.capitalize()} samples", columns=wide)


# ---------------------------------------------------------------------------------------------- a training sample


def training(chosen: Chosen, wanted: str) -> None:
    """Whom does it help and hurt? And which label is wrong: its own, or that of the image it contradicts?"""
    with st.spinner("Opening the model"):
        found = cached.affected(chosen.run.id, wanted, chosen.run)
    st.subheader(explained.headline(found), anchor=False)
    st.caption(explained.what_counts(found))
    contradiction.card(chosen, wanted)
    sample_advice.card(chosen, wanted)
    two_sides(chosen, found)


page()
