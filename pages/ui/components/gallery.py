"""The gallery: a grid or a card of samples to keep, relabel or remove, driven by keys.

The browser draws every mark at once. A decision waits in an outbox there (component state plus the tab's
sessionStorage) until `apply` has written it, so no keystroke is lost to a slow rerun, to a page left right after the
key, or to a killed server. An event may therefore arrive twice; its `event_id` lets `apply` recognise it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import streamlit as st
from streamlit.components.v2 import component

from pages.ui.components.outbox import PREFIX, Apply, Event, SentVote, drain, register
from pages.ui.shell import frame

__all__ = ["Bar", "Card", "Cell", "Decision", "Event", "Neighbour", "SentVote", "gallery"]

_HERE = Path(__file__).parent
SCRIPTS = (
    "ending.js",
    "outbox.js",
    "gallery_parts.js",
    "gallery_stage.js",
    "gallery_picker.js",
    "gallery.js",
)


class Decision(TypedDict):
    """What was decided about a sample; `label` is the new label of a relabel, else None."""

    action: str
    label: str | None


class Bar(TypedDict):
    """One of the small bars: `value` in [0, 1] is drawn, `text` (a rank or a share) is read, `raw` is shown on hover.

    `tone` is "helpful" or "harmful" where the bar is an influence.
    """

    name: str
    value: float
    text: NotRequired[str]
    raw: NotRequired[str]
    tone: NotRequired[str]


class Cell(TypedDict):
    """One cell of a row of a table; `odd` marks it as unusual, `group` as the group that the page compares."""

    name: str
    text: str
    odd: bool
    group: NotRequired[bool]


class Neighbour(TypedDict):
    """A training sample shown for comparison; of a row, the cells that differ."""

    src: str
    label: str
    cells: NotRequired[list[Cell]]


class Card(TypedDict):
    """One sample. Only the first three keys are needed; the rest is shown when it is there.

    `top` holds (class index, probability) pairs, likeliest first, by the evidence that made the suspicion (None: not
    kept by an old run); `why` names its strongest witnesses, `model` is the model's own answer; `flagged` says that the
    suspicion reaches the run's cut. `revision` is the number of events the
    decision log has accepted for this sample; `conflict` says that reviewers disagree about it. A row of a
    table has `cells`, the most telling ones, and `all` of them. `note` is a line below the labels, in the colour of
    `tone` ("helpful", "harmful"); `doubt` marks a sample shown for another reason whose label is in doubt; `split`
    names the split of a sample that is not a training sample.
    """

    id: str
    src: str
    given: str
    given_index: NotRequired[int | None]
    suggested: NotRequired[str | None]
    rank: NotRequired[int | None]
    suspicion: NotRequired[float | None]
    flagged: NotRequired[bool]
    revision: NotRequired[int]
    decision: NotRequired[Decision | None]
    conflict: NotRequired[bool]
    bars: NotRequired[list[Bar]]
    why: NotRequired[str]
    model: NotRequired[str]
    top: NotRequired[list[tuple[int, float | None]]]
    neighbours: NotRequired[list[Neighbour]]
    note: NotRequired[str]
    tone: NotRequired[str]
    doubt: NotRequired[str]
    split: NotRequired[str]
    cells: NotRequired[list[Cell]]
    all: NotRequired[list[Cell]]


_mount = component(
    "influence_gallery",
    html="<div class='root'></div>",
    css=(_HERE / "gallery.css").read_text("utf-8"),
    js="\n".join((_HERE / name).read_text("utf-8") for name in SCRIPTS),
)


def gallery(
    cards: Sequence[Card],
    *,
    key: str,
    version: str,
    classes: Sequence[str],
    apply: Apply,
    view: Literal["grid", "card"] = "grid",
    columns: int | None = None,
    label: str = "Images to review",
    read_only: bool = False,
    autofocus: bool | None = None,
    explains: bool = True,
) -> None:
    """Show `cards` and hand every decision to `apply`, in order, at least once.

    Args:
        cards: what to show, in order. Build them after the decisions were read: this call's `apply` has run.
        key: must contain the run, because the browser's outbox is named after it.
        version: changes when other samples (or another order) are shown; the same version only updates marks.
        apply: writes one event before it returns. An InfluenceError keeps the event in the browser and shows
            its text there, to try again or to discard.
        view: the view to start in; Enter switches it.
        columns: number of columns of the grid, None for as many as fit.
        read_only: a grid to look at, without marks and toolbar; where it `explains`, a click or Enter does.
        autofocus: take the keyboard when nothing else has it; None: only in the card view.
        explains: the key i and the small i of a card lead to the Influence page.
    """
    frame.rerun_if_redirected()
    key = frame.key(key)

    def write() -> None:
        drain(st.session_state[key].get("queue"), _ack(key), apply)

    def explain() -> None:
        request = st.session_state[key].get("explain")
        if isinstance(request, dict) and isinstance(request.get("id"), str):
            frame.explain(request["id"], str(request.get("split")))

    register(f"{PREFIX}{key}", apply)
    _mount(
        key=key,
        data={
            "cards": [dict(card) for card in cards],
            "version": version,
            "classes": list(classes),
            "view": view,
            "columns": columns,
            "label": label,
            "readOnly": read_only,
            "explains": explains,
            "autofocus": view == "card" if autofocus is None else autofocus,
            "outbox": f"{PREFIX}{key}",
            "ack": dict(_ack(key)),
        },
        on_queue_change=write,
        on_explain_change=explain,
    )


def _ack(key: str) -> dict[str, Any]:
    """How far this session has written the outbox of one mounted gallery, and what stopped it."""
    return st.session_state.setdefault(f"_{key}_ack", {"epoch": None, "seq": 0, "problem": None})
