"""Delivery of decisions from the browser: applied in order, at least once, and confirmed.

A gallery sends its whole outbox until `drain` has confirmed it. When its page is left at the very moment of a key,
Streamlit drops what was on its way; the courier, which is on every page, delivers it later.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypedDict

import streamlit as st
from streamlit.components.v2 import component

from influence_core.errors import InfluenceError

ACTIONS = ("keep", "relabel", "remove", "undo")
PREFIX = "influence-outbox:"
_APPLIERS, _WRITTEN, _COURIER = "_outbox_appliers", "_outbox_written", "influence-courier"
_REMEMBERED = 500  # confirmed event ids the courier is told about
_HERE = Path(__file__).parent
_EVENT_ID = re.compile(r"[0-9A-Za-z-]{8,64}")


class SentVote(TypedDict):
    """One sample of an event: what the browser saw and, for a relabel, the new label.

    It saw the server's `revision` and, on top of it, its `own` events by id (decisions/log.py says why).
    """

    id: str
    revision: int
    own: list[str]
    label: str | None


class Event(TypedDict):
    """One key press or click. `target` names the event an undo takes back; None: the reviewer's newest."""

    event_id: str
    action: Literal["keep", "relabel", "remove", "undo"]
    votes: list[SentVote]
    seconds: float | None
    target: str | None


Apply = Callable[[Event], object]

_mount = component(
    "influence_courier",
    html="<div class='root'></div>",
    js="\n".join((_HERE / name).read_text("utf-8") for name in ("ending.js", "outbox.js", "courier.js")),
)


def courier(page: str) -> None:
    """Deliver what galleries of this session left unsent; call it once on every page, before its content.

    Args:
        page: Last part of the page's address: once it is drawn, nothing needs to wait for the click that led there.
    """
    _mount(
        key=_COURIER,
        data={
            "page": page,
            "known": list(st.session_state.get(_APPLIERS, {})),
            "written": st.session_state.get(_WRITTEN, []),
        },
        height=1,
        on_mail_change=lambda: deliver(st.session_state[_COURIER].get("mail")),
    )


def register(name: str, apply: Apply) -> None:
    """Tell the courier who writes the events of an outbox."""
    st.session_state.setdefault(_APPLIERS, {})[name] = apply


def deliver(mail: Any) -> None:
    """Apply what the courier brought; an event that cannot be written stays in the browser."""
    letters = mail.get("letters") if isinstance(mail, dict) else None
    appliers = st.session_state.get(_APPLIERS, {})
    for letter in letters if isinstance(letters, list) else []:
        if isinstance(letter, dict) and letter.get("name") in appliers:
            ack: dict[str, Any] = {"epoch": None, "seq": 0, "problem": None}
            written = drain({"epoch": None, "events": letter.get("events")}, ack, appliers[letter["name"]])
            _remember(written)


def _remember(written: list[str]) -> None:
    event_ids = st.session_state.setdefault(_WRITTEN, [])
    event_ids.extend(written)
    del event_ids[:-_REMEMBERED]


def drain(queue: Any, ack: dict[str, Any], apply: Apply) -> list[str]:
    """Apply the events of `queue` that `ack` does not cover yet, in order; stop at the first that fails.

    Returns the ids of the events that are done with: written, or malformed and dropped.
    """
    if not isinstance(queue, dict) or not isinstance(queue.get("events"), list):
        return []
    if queue.get("epoch") != ack["epoch"]:
        ack.update(epoch=queue.get("epoch"), seq=0)
    ack["problem"], done = None, []
    for raw in queue["events"]:
        sequence = raw.get("seq") if isinstance(raw, dict) else None
        if not isinstance(sequence, int) or sequence <= ack["seq"]:
            continue
        event = read_event(raw)
        if event is not None:
            try:
                apply(event)
            except InfluenceError as error:
                ack["problem"] = str(error)
                return done
        ack["seq"] = sequence
        done.append(str(raw.get("event_id")))
    return done


def read_event(raw: dict[str, Any]) -> Event | None:
    """An event as the browser sent it, checked; None when no browser of ours could have sent it.

    Only the shape is checked here. Whether the samples and labels exist is for `apply` to say.
    """
    votes = raw.get("votes")
    if not (
        isinstance(raw.get("event_id"), str)
        and _EVENT_ID.fullmatch(raw["event_id"])
        and raw.get("action") in ACTIONS
        and isinstance(votes, list)
        and all(map(_is_vote, votes))
        and (votes or raw["action"] == "undo")
    ):
        return None
    target, seconds = raw.get("target"), raw.get("seconds")
    return Event(
        event_id=raw["event_id"],
        action=raw["action"],
        votes=[
            SentVote(id=vote["id"], revision=vote["revision"], own=vote.get("own", []), label=vote["label"])
            for vote in votes
        ],
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        target=target if isinstance(target, str) and _EVENT_ID.fullmatch(target) else None,
    )


def _is_vote(vote: Any) -> bool:
    return (
        isinstance(vote, dict)
        and isinstance(vote.get("id"), str)
        and isinstance(vote.get("revision"), int)
        and vote["revision"] >= 0
        and isinstance(own := vote.get("own", []), list)  # a tab opened before an update sends none
        and all(isinstance(event, str) and _EVENT_ID.fullmatch(event) for event in own)
        and isinstance(vote.get("label"), str | None)
    )
