"""The button that opens Review, the same on every page: it says what Review will show."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.ui.samples import selection
from pages.ui.shell import frame, state
from pages.ui.shell.state import OpenRun
from pages.ui.words import formats


def draw(place: DeltaGenerator, open_run: OpenRun) -> None:
    """'Review labels in doubt', or how many of the most suspicious where no label reaches the cut."""
    shown = selection.to_review(open_run.run, float(st.session_state.get(state.CUT, open_run.cut)))
    first = formats.count(len(shown.positions))
    place.button(
        "Review labels in doubt" if shown.in_doubt else f"Look at the {first} most suspicious",
        type="primary",
        icon=":material/checklist:",
        on_click=frame.redirect,
        args=("review",),
    )
