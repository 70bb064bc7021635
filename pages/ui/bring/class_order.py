"""The class that each output of the model stands for: from model.json, or chosen on screen; never assumed."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.ui.bring.trial_panel import NAMES, ORDER, OTHER_ORDER
from pages.ui.words import formats


def choose(found: dict[str, Any], seen: dict[str, Any]) -> list[str] | None:
    """The classes in the order of the outputs; None until an order is chosen."""
    dataset_classes = found["classes"]
    outputs = next((guess["classes"] for guess in seen["guesses"]), None)
    if outputs is not None and outputs != len(dataset_classes):
        st.warning(
            f"The weights have {formats.count(outputs)} outputs, your data "
            f"{formats.count(len(dataset_classes))} classes. Bring the dataset the model was trained on, or name a "
            "class for each output below.",
            icon=":material/warning:",
        )
    offered = orders(found, seen)
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


def orders(found: dict[str, Any], seen: dict[str, Any]) -> dict[str, list[str]]:
    """The orders on offer, by their name on screen; that of model.json comes first."""
    dataset_classes = found["classes"]
    named = (
        {} if seen["classes"] is None else {f"From model.json: {listed(seen['classes'])}": seen["classes"]}
    )
    if seen["classes"] != dataset_classes:
        named[f"As the dataset has them: {listed(dataset_classes)}"] = dataset_classes
    if found["doubtful_order"]:
        named[f"As numbers: {listed(sorted(dataset_classes, key=int))}"] = sorted(dataset_classes, key=int)
    return named


def typed_order() -> list[str] | None:
    text = st.text_area("One class per line, the first output first", key=NAMES, height=160)
    return [line.strip() for line in text.splitlines() if line.strip()] or None


def listed(names: list[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return formats.escaped(", ".join(names[:6]) + more)
