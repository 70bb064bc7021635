"""A suspect beside the training image that most contradicts it, and the validation image it hurts most."""

from __future__ import annotations

import streamlit as st

from pages.ui.components.gallery import Card, gallery
from pages.ui.samples import cards, explained, writing
from pages.ui.shell import cached, frame
from pages.ui.shell.state import OpenRun
from pages.ui.words import formats
from pages.ui.words.formats import Markdown


@st.fragment
@frame.framed
def card(open_run: OpenRun, suspect: str) -> None:
    """Two training images to decide about, and the validation image that the suspect hurts most.

    The contradicting image j has the most negative product <g_suspect, g_j>: a step on one raises the loss of the other
    more than a step on any further training image does.
    """
    against = cached.explanation(open_run.run.id, "train", suspect, "loss", open_run.run).harmful
    hurt = cached.affected(open_run.run.id, suspect, open_run.run).harmful
    with st.container(border=True):
        frame.section("Which of the two labels is wrong?")
        left, right = st.columns([3, 2], gap="medium")
        with left:
            decide(open_run, suspect, str(against.index[0]) if len(against) else None)
        with right:
            st.markdown(sentence(open_run, suspect, against, hurt))
            if len(hurt):
                shown = explained.held_out_cards(
                    open_run.run, open_run.name, "val", hurt["position"].head(1).tolist()
                )
                show_hurt(
                    open_run, explained.with_scores(shown, hurt.head(1), abs(hurt["influence"].iloc[0]))
                )


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


def show_hurt(open_run: OpenRun, shown: list[Card]) -> None:
    with st.container(width=240):
        gallery(
            shown,
            key=f"hurt_{open_run.name}",
            version=f"{open_run.run.id}:{shown[0]['id']}",
            classes=open_run.run.classes,
            apply=lambda event: None,
            columns=1,
            label="The validation image it hurts most",
            read_only=True,
            autofocus=False,
        )


def sentence(open_run: OpenRun, suspect: str, against, hurt) -> Markdown:
    """Both labels, and what the step on the suspect does, in words."""
    label, noun = (
        formats.escaped(str(open_run.run.samples["label"].loc[suspect])),
        explained.noun(open_run.run),
    )
    parts = []
    if len(against):
        other = formats.escaped(str(against["label"].iloc[0]))
        parts.append(
            f"Learning that the first {noun} is **{label}** makes the model unlearn, more than any other training "
            f"{noun} does, that the second is **{other}** "
            f"({explained.signed(float(against['influence'].iloc[0]))} on its loss)."
        )
        if label == other:
            parts.append("Both carry the same label, so look at what else differs.")
    else:
        parts.append(f"No training {noun} contradicts it.")
    if len(hurt):
        parts.append(f"Below: the validation {noun} whose loss a step on the suspect raises most.")
    else:
        parts.append(f"It hurts no validation {noun}.")
    return "\n\n".join(parts)
