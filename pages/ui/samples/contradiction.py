"""Which of the two labels is wrong? A suspect beside the training image that most contradicts it, and whom it hurts."""

from __future__ import annotations

import streamlit as st

from pages.ui.components.gallery import Card, gallery
from pages.ui.samples import cards, explained, writing
from pages.ui.shell import cached, frame
from pages.ui.shell.state import Chosen
from pages.ui.words import formats as words


@st.fragment
@frame.framed
def card(chosen: Chosen, suspect: str) -> None:
    """Two training images to decide about, and the validation image that the suspect hurts most.

    The contradicting image j has the most negative product <g_suspect, g_j>: a step on one raises the loss of the other
    more than any other training image does.
    """
    against = cached.explanation(chosen.run.id, "train", suspect, "loss", chosen.run).harmful
    hurt = cached.affected(chosen.run.id, suspect, chosen.run).harmful
    with st.container(border=True):
        frame.section("Which of the two labels is wrong?")
        left, right = st.columns([3, 2], gap="medium")
        with left:
            decide(chosen, suspect, str(against.index[0]) if len(against) else None)
        with right:
            st.markdown(sentence(chosen, suspect, against, hurt))
            if len(hurt):
                shown = explained.held_out_cards(
                    chosen.run, chosen.name, "val", hurt["position"].head(1).tolist()
                )
                show_hurt(chosen, explained.with_scores(shown, hurt.head(1), abs(hurt["influence"].iloc[0])))


def decide(chosen: Chosen, suspect: str, other: str | None) -> None:
    """Both training images, with the keys of the review."""
    rows = [chosen.run.position(name) for name in (suspect, other) if name is not None]
    shown = cards.cards(chosen.run, chosen.name, rows, chosen.log)
    roles = ("the suspect", "contradicts it most")
    gallery(
        [Card(**{**one, "note": role}) for one, role in zip(shown, roles, strict=False)],
        key=f"contradiction_{chosen.name}",
        version=f"{chosen.run.id}:{suspect}:{other}",
        classes=chosen.run.classes,
        apply=writing.writer(chosen),
        columns=2,
        label="The suspect and the image that contradicts it",
        autofocus=False,
    )


def show_hurt(chosen: Chosen, shown: list[Card]) -> None:
    with st.container(width=240):
        gallery(
            shown,
            key=f"hurt_{chosen.name}",
            version=f"{chosen.run.id}:{shown[0]['id']}",
            classes=chosen.run.classes,
            apply=lambda event: None,
            columns=1,
            label="The validation image it hurts most",
            read_only=True,
            autofocus=False,
        )


def sentence(chosen: Chosen, suspect: str, against, hurt) -> str:
    """Both labels, and what the step on the suspect does, in words."""
    label, noun = words.escaped(str(chosen.run.samples["label"].loc[suspect])), explained.noun(chosen.run)
    parts = []
    if len(against):
        other = words.escaped(str(against["label"].iloc[0]))
        parts.append(
            f"Learning that the first {noun} is **{label}** unlearns, more than anything else does, that the second is "
            f"**{other}** ({explained.signed(float(against['influence'].iloc[0]))} on its loss)."
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
