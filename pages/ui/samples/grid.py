"""The gallery in which training samples are decided, the same on every page."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from pages.ui.components.gallery import Reviewer, gallery
from pages.ui.samples import cards, writing
from pages.ui.shell import frame, reviewer, state
from pages.ui.shell.state import OpenRun


def deciding(
    open_run: OpenRun, positions: np.ndarray, *, key: str, version: str, label: str, **look: Any
) -> None:
    """Show cards that take decisions.

    Args:
        open_run: The run on screen, with its decision log.
        positions: Rows of `run.samples`, in the order of the cards.
        key: Name of the gallery on its page.
        version: Names the selection of these rows; another version starts at the first card.
        label: What a screen reader calls it.
        look: Further options of `gallery`, such as view or columns.
    """
    gallery(
        cards.cards(open_run.run, open_run.name, positions, open_run.log),
        key=f"{key}_{open_run.name}",
        version=f"{open_run.run.id}:{version}",
        classes=open_run.run.classes,
        apply=writing.writer(open_run),
        label=label,
        reviewer=_reviewer(),
        named=reviewer.answer,
        **look,
    )


def _reviewer() -> Reviewer:
    name = state.signed_in()
    given = str(st.session_state.get(state.REVIEWER) or "").strip()
    return Reviewer(name=name or given or None, ask=not reviewer.answered(), fixed=name is not None)


grid = st.fragment(frame.framed(deciding))
"""`deciding` as a fragment: a decision redraws marks, not the page."""
