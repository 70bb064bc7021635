"""The Influence page: the samples behind one prediction, or those that one training sample helps and hurts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from influence_core.run_files.tables import HELD_OUT
from influence_core.runs.answers import Explanation, FirstAnswer
from pages.ui.charts import base as base_charts
from pages.ui.components.gallery import Card, Cell, gallery
from pages.ui.repairs import sample_advice
from pages.ui.samples import cards, contradiction, explained, table_rows
from pages.ui.shell import cached, exact_answers, frame, state
from pages.ui.shell.state import OpenRun
from pages.ui.words import formats, how_to_read

UPLOAD = "Upload"
CHOICES = 24
SIDE_HEIGHT = 480  # pixels that one side takes until it is there: two rows of five pictures
LOSS, ITS_LOSS = "loss", frame.SHARED[state.AGAINST]


def page() -> None:
    action = frame.header("Influence", "Which training samples shaped this prediction?")
    open_run = state.require_run()
    way_back(action)
    split, sample, beside = subject()
    if split == UPLOAD:
        uploaded(open_run)
    elif sample:
        about(open_run, split, sample, beside)
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


def subject() -> tuple[str, str, DeltaGenerator]:
    """The split and the id of the sample to explain, kept in the address bar; and the place for the next control."""
    names = {title: split for split, title in frame.SPLITS.items()}
    left, middle, beside, right = st.columns([36, 23, 23, 18], vertical_alignment="bottom", gap="small")
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
        placeholder="Sample id, or pick one below",
        disabled=of == UPLOAD,
    )
    with right.container(horizontal_alignment="right"):
        frame.how_to_read(how_to_read.EXPLANATION)
    return names.get(of, UPLOAD), sample.strip(), beside


# ---------------------------------------------------------------------------------------------- choosing


def choices(open_run: OpenRun, split: str) -> None:
    """The samples on which the model is most wrong; a click on one explains it."""
    exact_answers.prepare(open_run.run)
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
    st.caption(
        "Given label → prediction. Click one to explain it."
        if split != "train"
        else "Click one to see what it helps and hurts."
    )
    if split == "test":
        st.caption("Looking at test samples spoils them for the final score. Prefer validation samples.")
    show(open_run, shown, key=f"choices_{split}", label="Images to explain")


def show(open_run: OpenRun, shown: list[Card], *, key: str, label: str, columns: int | None = None) -> None:
    """A read-only grid."""
    gallery(
        shown,
        key=f"{key}_{open_run.name}",
        version=f"{open_run.run.id}:{[(card['id'], card.get('note')) for card in shown]}",
        classes=open_run.run.classes,
        apply=lambda event: None,
        columns=columns,
        label=label,
        read_only=True,
        autofocus=False,
    )


# ---------------------------------------------------------------------------------------------- one sample


def about(open_run: OpenRun, split: str, sample: str, beside: DeltaGenerator) -> None:
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
    against = objective(open_run, str(open_run.run.table(HELD_OUT[split])["predicted"].iloc[row]), beside)
    asked = exact_answers.explanation(open_run.run, split, sample, against)
    found = exact_answers.result(asked)
    if found is None and against == LOSS:
        found = cached.first_answer(open_run.run.id, split, sample, "train", open_run.run)
    picture, cells = face(open_run, split, row)
    answer(open_run, found, Subject(sample, picture, cells))
    exact_answers.watch([asked, *which_is_wrong(open_run, found)])


def face(open_run: OpenRun, split: str, row: int) -> tuple[bytes, list[Cell]]:
    """What a held-out sample looks like: its picture, or the cells of its row."""
    if open_run.run.has_thumbnails:
        return open_run.run.thumbnail(row, split)[0], []
    table = cached.held_out_cells(open_run.run.id, HELD_OUT[split], open_run.run)
    return b"", [] if table is None else table_rows.plain_cells(table, row)


def objective(open_run: OpenRun, predicted: str, place: DeltaGenerator) -> tuple[str, str] | str:
    """The quantity to explain: the loss, or the lead of the predicted class over another one."""
    over = {f"its lead over {name}": name for name in open_run.run.classes if name != predicted}
    choice = place.selectbox("Explain", [ITS_LOSS, *over], key=state.AGAINST, bind="query-params")
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
    digest = hashlib.sha256(content).hexdigest()
    asked = exact_answers.explanation_of_picture(open_run.run, digest, given, content)
    found = exact_answers.result(asked)
    answer(open_run, found, Subject("Uploaded picture", content))
    exact_answers.watch([asked, *which_is_wrong(open_run, found)])


@dataclass(frozen=True, slots=True)
class Subject:
    """What is explained: its name, and its picture or its cells."""

    name: str
    picture: bytes
    cells: Sequence[Cell] = ()


def answer(open_run: OpenRun, found: Explanation | FirstAnswer | None, subject: Subject) -> None:
    """The prediction, then what helped (left) and what hurt (right); before any answer, their outlines."""
    with st.container(border=True):
        left, middle, right = st.columns([1, 2, 2], gap="medium")
        with left:
            looks(subject)
        with middle:
            if found is None:
                st.skeleton(height=96)
            else:
                st.header(explained.headline(found), anchor=False)
                st.caption(explained.what_counts(found))
        with right:
            probabilities(open_run, found)
    two_sides(open_run, found)


def looks(subject: Subject) -> None:
    if subject.picture:
        st.image(explained.enlarged(subject.picture), caption=formats.escaped(subject.name))
        return
    told = (f"{formats.escaped(cell['name'])}: **{formats.escaped(cell['text'])}**" for cell in subject.cells)
    st.markdown("  \n".join(told))


def probabilities(open_run: OpenRun, found: Explanation | FirstAnswer | None) -> None:
    if not isinstance(found, Explanation):
        st.skeleton(height=base_charts.probabilities_height(open_run.run.classes))
        return
    frame.draw(
        base_charts.probabilities(found.probabilities, open_run.run.classes, theme=state.theme()),
        alt=f"The model says {found.predicted}",
        key="probabilities",
    )


def two_sides(open_run: OpenRun, found: Explanation | FirstAnswer | None) -> None:
    """Both ends side by side, in the same place and size whether estimated, exact or still awaited."""
    for column, side in zip(st.columns(2, gap="medium"), SIDES, strict=True):
        with column.container(border=True, height="stretch"):
            frame.toned(side.title, side.kind, state.theme())
            if found is None:
                st.skeleton(height=SIDE_HEIGHT)
            else:
                one_side(open_run, found, side)
    if found is not None:
        carried = explained.carried(found) if isinstance(found, Explanation) else ""
        more = explained.measured(found) if isinstance(found, Explanation) else None
        st.caption(f"{explained.how_found(found)} {carried}", help=more)


@dataclass(frozen=True, slots=True)
class Side:
    """One end of an answer, and what its influences are a share of."""

    kind: str
    title: str
    whole: str

    def table(self, found: Explanation | FirstAnswer) -> pd.DataFrame:
        return found.helpful if self.kind == "helpful" else found.harmful

    def notes(self, found: Explanation | FirstAnswer) -> list[str]:
        """Each card's share of the whole; of a first answer only that it is one."""
        values = explained.influences(self.table(found))
        if isinstance(found, FirstAnswer):
            return ["estimate"] * len(values)
        total = found.quality.help if self.kind == "helpful" else found.quality.harm
        return explained.shares(values, total.value)


SIDES = (Side("helpful", "Helps", "all help"), Side("harmful", "Hurts", "all harm"))


def one_side(open_run: OpenRun, found: Explanation | FirstAnswer, side: Side) -> None:
    table, kind = side.table(found), side.kind
    if table.empty:
        frame.nothing(
            "Nothing here",
            f"No {explained.KINDS[found.among]} {explained.noun(open_run.run)} is "
            f"{formats.escaped(kind)} to this one.",
        )
        return
    places = table["position"].tolist()
    if found.among == "train":
        plain = cards.cards(open_run.run, open_run.name, places, open_run.log)
        plain = explained.doubted(plain, open_run.cut)
    else:
        plain = explained.held_out_cards(open_run.run, open_run.name, found.among, places)
    strongest = max(abs(value) for end in SIDES for value in explained.influences(end.table(found)))
    scored = explained.with_scores(plain, table, side.notes(found), strongest)
    exact = isinstance(found, Explanation)
    st.caption(
        explained.doubts(scored) + (f" Percent: share of {formats.escaped(side.whole)}." if exact else "")
    )
    wide = 2 if open_run.run.cells is not None else 5  # a row needs width to be read, a picture does not
    show(open_run, scored, key=f"{kind}_side", label=f"{kind.capitalize()} samples", columns=wide)


# ---------------------------------------------------------------------------------------------- the contradiction


def which_is_wrong(open_run: OpenRun, found: Explanation | FirstAnswer | None) -> list[exact_answers.Asked]:
    """The sample that hurts most beside the one it contradicts; returns what is still being computed for it."""
    if found is None:
        st.skeleton(height=SIDE_HEIGHT)
        return []
    if found.harmful.empty:
        return []
    suspect, asked = str(found.harmful.index[0]), []
    if isinstance(found, Explanation):  # before, it is not certain who the suspect is
        run = open_run.run
        asked = [exact_answers.opponent(run, suspect), exact_answers.hurt_most(run, suspect)]
    contradicted(open_run, suspect, asked)
    return asked


def contradicted(open_run: OpenRun, suspect: str, asked: Sequence[exact_answers.Asked]) -> None:
    """The contradiction of the suspect by its sketches, and exactly where what was asked is ready: whom it works
    against among the training samples, and whom it hurts among the validation samples.
    """
    run = open_run.run
    known = [cached.first_answer(run.id, "train", suspect, among, run) for among in ("train", "val")]
    known = (
        [exact_answers.result(one) or first for one, first in zip(asked, known, strict=True)]
        if asked
        else known
    )
    against, hurt = known
    assert against is not None and hurt is not None, "sketches of training samples are stored"
    contradiction.card(open_run, suspect, against, hurt)


# ---------------------------------------------------------------------------------------------- a training sample


def training(open_run: OpenRun, sample: str) -> None:
    """The validation samples it helps and hurts, the image it contradicts, and what to do with it."""
    asked = exact_answers.affected(open_run.run, sample)
    found = exact_answers.result(asked) or cached.first_answer(
        open_run.run.id, "train", sample, "val", open_run.run
    )
    assert found is not None, "sketches of training samples are stored"
    st.header(explained.headline(found), anchor=False)
    st.caption(explained.what_counts(found))
    two_sides(open_run, found)
    opponent = exact_answers.opponent(open_run.run, sample)
    contradicted(open_run, sample, [opponent, asked])
    sample_advice.card(open_run, sample)
    exact_answers.watch([asked, opponent])


page()
