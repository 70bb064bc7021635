"""Questions about an upload that only its owner can answer: the label column, and the class of each output.

Neither is guessed: nothing in a table says which column is the label, and weights do not name their outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from influence_core.intake.uploads import Upload
from pages.ui.bring import plan
from pages.ui.bring.trial_panel import NAMES, ORDER, OTHER_ORDER
from pages.ui.shell import frame
from pages.ui.words import formats
from pages.ui.words.formats import Markdown

COLUMN = "own_label"


# ---------------------------------------------------------------------------------------------- label column


def label_column(upload: Upload, columns: Sequence[dict[str, Any]]) -> None:
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
            on_click=set_label_column,
            args=(upload.id, [column["name"] for column in columns]),
        )
    with right.container(border=True):
        frame.section("What the columns hold")
        column_table(columns)
    st.button("Choose other data", icon=":material/undo:", on_click=plan.start_again, type="tertiary")


def column_table(columns: Sequence[dict[str, Any]]) -> None:
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
def set_label_column(name: str, columns: Sequence[str]) -> None:
    """Set the label column and read the data again."""
    plan.keep_choice(name, COLUMN, columns, "label", "preview", "trial")


# ---------------------------------------------------------------------------------------------- class order


def class_order(preview: dict[str, Any], seen: dict[str, Any]) -> list[str] | None:
    """The classes in the order of the outputs; None until an order is chosen."""
    dataset_classes = preview["classes"]
    outputs = next((guess["classes"] for guess in seen["guesses"]), None)
    if outputs is not None and outputs != len(dataset_classes):
        st.warning(
            f"The weights have {formats.count(outputs)} outputs, your data "
            f"{formats.count(len(dataset_classes))} classes. Bring the dataset the model was trained on, or name a "
            "class for each output below.",
            icon=":material/warning:",
        )
    offered = class_orders(preview, seen)
    if ORDER in st.session_state and st.session_state[ORDER] not in (*offered, OTHER_ORDER, None):
        del st.session_state[ORDER]  # chosen for other data
    choice = st.radio(
        "Which class does each output of the model stand for?",
        [*offered, OTHER_ORDER],
        index=None if seen["classes"] is None else 0,
        key=ORDER,
        help="The order decides what every prediction means. It is not in the weights, so only you know it.",
    )
    if choice in offered:
        return offered[choice]
    return None if choice is None else typed_order()


def class_orders(preview: dict[str, Any], seen: dict[str, Any]) -> dict[Markdown, list[str]]:
    """The orders on offer, by their name on screen; the one stated beside the weights comes first."""
    dataset_classes = preview["classes"]
    named = (
        {}
        if seen["classes"] is None
        else {f"As stated beside the weights: {listed(seen['classes'])}": seen["classes"]}
    )
    if seen["classes"] != dataset_classes:
        named[f"As the dataset has them: {listed(dataset_classes)}"] = dataset_classes
    if preview["doubtful_order"]:
        named[f"As numbers: {listed(sorted(dataset_classes, key=int))}"] = sorted(dataset_classes, key=int)
    return named


def typed_order() -> list[str] | None:
    text = st.text_area("One class per line, the first output first", key=NAMES, height=160)
    return [line.strip() for line in text.splitlines() if line.strip()] or None


def listed(names: list[str]) -> Markdown:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return formats.escaped(", ".join(names[:6]) + more)
