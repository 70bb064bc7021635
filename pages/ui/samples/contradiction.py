"""A suspect beside the training image that most contradicts it, and the validation image it hurts most."""

from __future__ import annotations

import streamlit as st

from influence_core.runs.answers import Explanation, FirstAnswer
from pages.ui.components.gallery import Card, gallery
from pages.ui.samples import cards, explained, writing
from pages.ui.shell import frame
from pages.ui.shell.state import OpenRun
from pages.ui.words import formats
from pages.ui.words.formats import Markdown


@st.fragment
@frame.framed
def card(
    open_run: OpenRun, suspect: str, against: Explanation | FirstAnswer, hurt: Explanation | FirstAnswer
) -> None:
    """Two training images to decide about, and the validation image that the suspect hurts most.

    The contradicting image j has the most negative product <g_suspect, g_j>: a step on one raises the loss of the other
    more than a step on any further training image does.

    Args:
        against: The training samples that matter to the suspect's own loss.
        hurt: The validation samples that the suspect affects.
    """
    other = str(against.harmful.index[0]) if len(against.harmful) else None
    with st.container(border=True):
        frame.section("Which of the two labels is wrong?")
        left, right = st.columns([3, 2], gap="medium")
        with left:
            decide(open_run, suspect, other)
        with right:
            st.markdown(sentence(open_run, suspect, other, len(hurt.harmful) > 0))
            if len(hurt.harmful):
                show_hurt(open_run, hurt)


def decide(open_run: OpenRun, suspect: str, other: str | None) -> None:
    """Both training images, with the keys of the review."""
    rows = [open_run.run.position(name) for name in (suspect, other) if name is not None]
    shown = cards.cards(open_run.run, open_run.name, rows, open_run.log)
    roles = ("the suspect", "contradicts it most")
    gallery(
        [Card(**{**one, "note": role}) for one, role in zip(shown, roles, strict=False)],
        key=f"contradiction_{open_run.name}",
        version=f"{open_run.run.id}:{suspect}:{other}",
        classes=open_run.run.classes,
        apply=writing.writer(open_run),
        columns=2,
        label="The suspect and the image that contradicts it",
        autofocus=False,
    )


def show_hurt(open_run: OpenRun, hurt: Explanation | FirstAnswer) -> None:
    worst = hurt.harmful.head(1)
    plain = explained.held_out_cards(open_run.run, open_run.name, "val", worst["position"].tolist())
    values = explained.influences(worst)
    shown = explained.with_scores(plain, worst, ["hurt most"], abs(values[0]))
    with st.container(width=240):
        gallery(
            shown,
            key=f"hurt_{open_run.name}",
            version=f"{open_run.run.id}:{shown[0]['id']}:{type(hurt).__name__}",
            classes=open_run.run.classes,
            apply=lambda event: None,
            columns=1,
            label="The validation image it hurts most",
            read_only=True,
            autofocus=False,
        )


def sentence(open_run: OpenRun, suspect: str, other: str | None, hurts: bool) -> Markdown:
    """Both labels, and what learning the suspect does, in words."""
    noun, labels = explained.noun(open_run.run), open_run.run.samples["label"]
    label = formats.escaped(str(labels.loc[suspect]))
    if other is None:
        parts = [f"No training {noun} works against it."]
    else:
        against = formats.escaped(str(labels.loc[other]))
        parts = [
            f"The first {noun}, labelled **{label}**, works hardest against the second, labelled **{against}**."
        ]
        parts.append(
            "Both carry the same label, so look at what else differs."
            if label == against
            else "One of the two labels is probably wrong."
        )
    parts.append(f"The validation {noun} it hurts most:" if hurts else f"It hurts no validation {noun}.")
    return "\n\n".join(parts)
