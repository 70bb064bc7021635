"""The gallery: a grid or a card of samples to keep, relabel or remove, driven by keys.

The browser draws every mark at once. A decision waits in an outbox there (component state plus the tab's
sessionStorage) until `apply` has written it, so no keystroke is lost to a slow rerun, to a page left right after the
key, or to a killed server. An event may therefore arrive twice; its `event_id` lets `apply` recognise it.

The cards stand in one component and what was decided about them in a second, which draws nothing and hands its data to
the first. Streamlit sends a message that it has sent before as a reference, so 100 cards (200 kB with the scripts)
travel once and a decision is answered in 3 kB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict
from urllib.parse import quote

import streamlit as st
from streamlit.components.v2 import component

from pages.ui.components.outbox import PREFIX, Apply, Event, SentVote, drain, register
from pages.ui.shell import frame

__all__ = [
    "Bar",
    "Card",
    "Cell",
    "Decision",
    "Event",
    "Neighbour",
    "Queue",
    "Reviewer",
    "SentVote",
    "gallery",
]

_HERE = Path(__file__).parent
SCRIPTS = (
    "ending.js",
    "outbox.js",
    "gallery_parts.js",
    "gallery_stage.js",
    "gallery_finish.js",
    "gallery_picker.js",
    "gallery_name.js",
    "gallery.js",
)
_LETTERS = {"keep": "k", "relabel": "l", "remove": "x"}
_STANDING = ("decision", "revision", "conflict")  # of a card: what a decision changes


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


class Queue(TypedDict):
    """The queue of which the cards are a part: what was decided about the others.

    `more` says that another page follows; `sentence` tells of the whole queue in words.
    """

    total: int
    keep: int
    relabel: int
    remove: int
    more: bool
    sentence: str


class Reviewer(TypedDict):
    """Who decides: their name; whether to ask for it at the first decision; whether they may change it here."""

    name: str | None
    ask: bool
    fixed: bool


_mount = component(
    "influence_gallery",
    html="<div class='root'></div>",
    css=(_HERE / "gallery.css").read_text("utf-8"),
    js="\n".join((_HERE / name).read_text("utf-8") for name in SCRIPTS),
)
_answer = component(
    "influence_answer", html="<div class='root'></div>", js=(_HERE / "gallery_answer.js").read_text("utf-8")
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
    fills: bool = False,
    queue: Queue | None = None,
    follow: Callable[[str], None] | None = None,
    reviewer: Reviewer | None = None,
    named: Callable[[str], None] | None = None,
    conflicts: int = 0,
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
        fills: one at a time, it takes the height that the window has left.
        queue: what the cards are a part of; its progress is shown in place of that of the cards.
        follow: opens what comes after the last card, "page" or "verify", or the samples in "conflict".
        reviewer: whose decisions these are; `named` takes the name that they typed, empty when they skipped it.
        conflicts: samples that two people decided differently; a button of the toolbar leads there.
    """
    frame.rerun_if_redirected()
    key = frame.key(key)

    def write() -> None:
        sent = st.session_state[key].get("queue")
        if named is not None and isinstance(sent, dict) and isinstance(sent.get("name"), str):
            named(sent["name"])
        drain(sent, _ack(key), apply)

    def onward() -> None:
        if follow is not None and (where := st.session_state[key].get("follow")) in (
            "page",
            "verify",
            "conflict",
        ):
            follow(where)

    def explain() -> None:
        request = st.session_state[key].get("explain")
        if isinstance(request, dict) and isinstance(request.get("id"), str):
            frame.explain(request["id"], str(request.get("split")))

    register(f"{PREFIX}{key}", apply)
    _mount(
        key=key,
        data={
            "cards": [{name: card[name] for name in card if name not in _STANDING} for card in cards],
            "version": version,
            "classes": list(classes),
            "view": view,
            "columns": columns,
            "label": label,
            "readOnly": read_only,
            "explains": explains,
            "fills": fills,
            "autofocus": view == "card" if autofocus is None else autofocus,
            "outbox": f"{PREFIX}{key}",
        },
        on_queue_change=write,
        on_explain_change=explain,
        on_follow_change=onward,
    )
    numbers = {name: number for number, name in enumerate(classes)}
    _answer(
        key=frame.key(f"{key}_answer"),
        data={
            "outbox": f"{PREFIX}{key}",
            "version": version,
            "ack": dict(_ack(key)),
            "standing": " ".join(_standing(card, numbers) for card in cards),
            "queue": queue,
            "reviewer": reviewer,
            "conflicts": conflicts,
        },
        height=1,
    )


def _standing(card: Card, numbers: Mapping[str, int]) -> str:
    """What stands about a card in a few letters, because 100 of them answer each decision.

    'k1' is kept at revision 1, 'l2.3' relabelled to class 3, '-4' undone; '!' at the end: in conflict. A label that is
    no class of the run follows '~', quoted as in an address.
    """
    decision, revision = card.get("decision"), card.get("revision", 0)
    label = decision["label"] if decision else None
    place = "" if label is None else f".{numbers[label] if label in numbers else '~' + quote(label, safe='')}"
    standing = f"{_LETTERS[decision['action']] if decision else '-'}{revision}{place}"
    return "" if standing == "-0" else f"{standing}{'!' if card.get('conflict') else ''}"


def _ack(key: str) -> dict[str, Any]:
    """How far this session has written the outbox of one mounted gallery, and what stopped it."""
    return st.session_state.setdefault(f"_{key}_ack", {"epoch": None, "seq": 0, "problem": None})
