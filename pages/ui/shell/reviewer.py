"""The reviewer's name: asked once per browser, or that of the signed-in person."""

from __future__ import annotations

import streamlit as st
import streamlit.components.v2 as components

from pages.ui.shell import state
from pages.ui.words import formats

# The name survives a reload and a restart because the browser keeps it. In the address bar it would travel with every
# shared link, and the next person would decide in that name.
_keep = components.component(
    "influence_reviewer",
    html="<span></span>",
    js="""
const KEY = 'influence-reviewer';
export default function (component) {
  const { data, setStateValue } = component;
  try {
    if (data.name) localStorage.setItem(KEY, data.name);
    else if (localStorage.getItem(KEY)) setStateValue('name', localStorage.getItem(KEY));
  } catch { /* storage is off in this browser: the name lives as long as the tab */ }
}
""",
)
_KEPT = "_reviewer_kept"


def ask() -> None:
    """The name field of the sidebar; only a caption when someone is signed in."""
    if (name := state.signed_in()) is not None:
        st.caption(f"Reviewing as {formats.escaped(name)}")
        return
    st.text_input(
        "Reviewer",
        key=state.REVIEWER,
        max_chars=80,
        placeholder="Your name",
        help="Saved with each of your decisions, so that several people can review one run.",
    )
    _keep(key=_KEPT, data={"name": st.session_state.get(state.REVIEWER) or ""}, on_name_change=_restore)


def _restore() -> None:
    """Take over the name that the browser kept from an earlier visit."""
    name = st.session_state[_KEPT].get("name")
    if isinstance(name, str) and name.strip() and not st.session_state.get(state.REVIEWER):
        st.session_state[state.REVIEWER] = name.strip()[:80]
