"""The question of which column of a table holds the classes, asked where several could; never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from influence_core.intake import uploads
from influence_core.intake.uploads import Upload
from pages.ui.bring import plan
from pages.ui.shell import frame, visitor
from pages.ui.shell.places import runs_root
from pages.ui.words import formats

COLUMN = "own_label"


def draw(upload: Upload, columns: Sequence[dict[str, Any]]) -> None:
    """The columns to choose from, what each of them holds, and the way back."""
    left, right = st.columns([2, 3], gap="medium")
    with left.container(border=True):
        frame.section("Which column is the label?")
        st.markdown(
            ":gray[The model learns to predict this column from the others. Nothing in a table says which one it is: "
            "only you can know.]"
        )
        facts = {column["name"]: column for column in columns}
        label = st.selectbox(
            "Label column",
            list(facts),
            index=None,
            key=COLUMN,
            format_func=lambda name: f"{formats.visible(name)}{' (likely)' if facts[name]['likely'] else ''}",
            placeholder="Choose a column",
        )
        if label and not facts[label]["classes"]:
            st.warning(
                f"It holds {formats.plural(facts[label]['different'], 'different value')}. "
                "A column of classes has few.",
                icon=":material/warning:",
            )
        st.button(
            "Use this column",
            type="primary",
            icon=":material/label:",
            disabled=label is None,
            on_click=answered,
            args=(upload.id, [column["name"] for column in columns]),
        )
    with right.container(border=True):
        frame.section("What the columns hold")
        table(columns)
    st.button("Choose other data", icon=":material/undo:", on_click=plan.start_again, type="tertiary")


def table(columns: Sequence[dict[str, Any]]) -> None:
    """Every column with its number of values and the most common ones."""
    listed = [
        ", ".join(f"{value} ({formats.count(n)})" for value, n in column["common"]) for column in columns
    ]
    shown = pd.DataFrame(
        {
            "Column": [formats.visible(column["name"]) for column in columns],
            "Different values": [column["different"] for column in columns],
            "Most common values (count)": [formats.visible(text) for text in listed],
        }
    )
    st.dataframe(
        shown,
        hide_index=True,
        height="content" if len(shown) <= 12 else 420,
        alt="Every column of the table with its number of different values and the most common ones",
    )


@plan.change
def answered(name: str, columns: Sequence[str]) -> None:
    """Set the label column and read the data again."""
    label = st.session_state.get(COLUMN)
    if label not in columns:  # the browser is not trusted
        return
    upload = uploads.open_upload(runs_root(), name, visitor.owners())
    plan.drop(upload, "preview", "trial")
    uploads.update_plan(upload, label=label)
