"""The reviewer's name: asked by the gallery at the first decision and kept by the browser, or that of who signed in."""

from __future__ import annotations

import streamlit as st
import streamlit.components.v2 as components

from pages.ui.shell import state

# The name survives a reload and a restart because the browser keeps it: gallery_name.js writes it there. In the address
# bar it would travel with every shared link, and the next person would decide in that name.
_keep = components.component(
    "influence_reviewer",
    html="<span></span>",
    js="""
const KEY = 'influence-reviewer';
export default function (component) {
  const { data, setStateValue } = component;
  try {
    const kept = localStorage.getItem(KEY);
    if (!data.answered && kept) setStateValue('name', kept);
  } catch { /* storage is off in this browser: the name lives as long as the tab */ }
}
""",
)
_KEPT, _ANSWERED = "_reviewer_kept", "_reviewer_answered"


def recall() -> None:
    """Let the browser send the name it kept from an earlier visit; once on every page."""
    if state.signed_in() is None:
        data = {"answered": answered()}
        _keep(
            key=_KEPT, data=data, on_name_change=lambda: answer(st.session_state[_KEPT].get("name")), height=1
        )


def answered() -> bool:
    """Whether the reviewer has given a name or stays anonymous: then nobody asks in this session any more."""
    return state.signed_in() is not None or bool(st.session_state.get(_ANSWERED))


def answer(name: object) -> None:
    """Take the name from the browser; an empty one means anonymous."""
    if isinstance(name, str):
        st.session_state[state.REVIEWER] = " ".join(name.split())[:80]
        st.session_state[_ANSWERED] = True
