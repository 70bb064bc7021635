"""The upload zone: a file goes from the browser to the server's disk without passing through its memory.

Streamlit's own uploader holds a file in memory about twice until the page has read it. This one sends it by PUT to our
route (receiving.py), which writes pieces of a megabyte as they arrive; progress is drawn in the browser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

from pages.ui.shell import frame
from pages.ui.words import formats

_HERE = Path(__file__).parent
HTML = """
<div class="label"></div>
<div class="zone">
  <button class="choose" type="button">Choose a file</button>
  <input type="file">
  <span class="text" role="status"></span>
  <button class="stop" type="button">Stop</button>
  <div class="bar"></div>
</div>
"""
ADVICE = "Open larger data by its path on the server, or delete an older upload."

_mount = component(
    "influence_sender",
    html=HTML,
    css=(_HERE / "sender.css").read_text("utf-8"),
    js=(_HERE / "sender.js").read_text("utf-8"),
)


def sender(
    key: str,
    label: str,
    *,
    accept: Sequence[str],
    limit: int,
    url: str | None,
    on_wanted: Callable[[], object],
    on_sent: Callable[[Sequence[tuple[str, str]]], object],
    several: bool = False,
) -> None:
    """A zone to drop a file on, or several.

    Args:
        key: Of the component.
        label: What is expected, above the zone.
        accept: Suffixes; the browser's filter only, the route checks again.
        limit: Bytes that may be sent.
        url: Where to send to, relative to the page; None until a file is chosen.
        on_wanted: Called when a file is chosen and there is no url yet; the next run is expected to give one.
        on_sent: Called with each file's name on disk, as the route said it, and its name on the person's computer.
        several: Whether files that are chosen together are sent one after the other; else only the first is.
    """

    key = frame.key(key)

    def wanted() -> None:
        on_wanted()

    def arrived() -> None:
        sent: Any = st.session_state[key].get("sent")
        if isinstance(sent, list):
            on_sent(
                [(str(file.get("stored")), str(file.get("name"))) for file in sent if isinstance(file, dict)]
            )

    hint = f"or drop it here · up to {formats.count(limit / 1e6)}{formats.THIN}MB · {', '.join(accept)}"
    _mount(
        key=key,
        data={
            "label": label,
            "accept": list(accept),
            "limit": limit,
            "several": several,
            "url": url,
            "hint": hint,
            "advice": ADVICE,
        },
        on_wanted_change=wanted,
        on_sent_change=arrived,
    )
