"""The visitor and their role: a signed-in person, or a browser that keeps a key.

Without sign-in each browser keeps a random key, which opens its own uploads after a reload and no one else's. With
sign-in (`st.login`, section [auth] of secrets.toml) uploads belong to the person, and an allow-list gives each person a
role. People who are not on it are not admitted:

    viewer      sees runs and scores          annotator   decides as well
    owner       uploads, starts and stops work, deletes, as well

The list is INFLUENCE_ROLES, "owner: ada@lab.org; annotator: *@lab.org", or section [roles] of secrets.toml. A list
without sign-in is refused (`judge_settings`): it would make everybody an owner in silence.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from typing import Literal

import streamlit as st
import streamlit.components.v2 as components
from streamlit.errors import StreamlitSecretNotFoundError

from influence_core.errors import AccessError
from pages.ui.words import formats

Role = Literal["viewer", "annotator", "owner"]
ROLES: tuple[Role, ...] = ("viewer", "annotator", "owner")
KEY = re.compile(r"[0-9a-f]{32}")
_KEYS, _KEPT, _ANSWERED = "_browser_keys", "_browser_kept", "_browser_answered"

_keep = components.component(
    "influence_browser",
    html="<span></span>",
    js="""
const KEY = 'influence-browser';
export default function (component) {
  const { data, setStateValue } = component;
  try {
    const kept = localStorage.getItem(KEY);
    if (!kept) localStorage.setItem(KEY, data.fresh);
    if (!data.answered) setStateValue('key', kept || data.fresh);
  } catch { /* storage is off in this browser: its uploads are found until the tab is closed */
    if (!data.answered) setStateValue('key', data.fresh);
  }
}
""",
)


def recognise() -> None:
    """Let the browser send the key it kept from an earlier visit; once on every page."""
    if sign_in_configured():
        return
    data = {"fresh": _keys()[-1], "answered": recognised()}
    _keep(key=_KEPT, data=data, on_key_change=_answer, height=1)


def recognised() -> bool:
    """Whether it is known who this is: before that, what is refused to a stranger may be the visitor's own."""
    return sign_in_configured() or bool(st.session_state.get(_ANSWERED))


def _answer() -> None:
    key = st.session_state[_KEPT].get("key")
    if isinstance(key, str) and KEY.fullmatch(key) and key not in _keys():
        _keys().insert(0, key)
    st.session_state[_ANSWERED] = True


def _keys() -> list[str]:
    """The keys of this browser, the kept one first; the last one is new in this session."""
    return st.session_state.setdefault(_KEYS, [secrets.token_hex(16)])


def owners() -> tuple[str, ...]:
    """Every key under which uploads of this visitor may be stored; new ones go under the first."""
    if (name := signed_in()) is not None:
        return (f"person {name}",)
    return tuple(f"browser {key}" for key in _keys())


def signed_in() -> str | None:
    """The name of the signed-in person; None when no one is signed in or sign-in is not configured."""
    user = _user()
    if not user.get("is_logged_in"):
        return None
    return str(user.get("email") or user.get("name") or "anonymous")


def _user() -> Mapping:
    return st.user.to_dict()


def sign_in_configured() -> bool:
    """Whether secrets.toml has a section [auth]."""
    return "auth" in _secrets()


def _secrets() -> Mapping:
    try:
        return {name: st.secrets[name] for name in st.secrets}
    except StreamlitSecretNotFoundError:
        return {}


def role() -> Role | None:
    """The visitor's role; None when sign-in is configured and they are not on the list.

    Without sign-in everyone who reaches the server is an owner: it then listens to this machine only.
    Raises AccessError for a list of roles that is malformed or stands without sign-in.
    """
    if not sign_in_configured():
        judge_settings()
        return "owner"
    user = _user()
    email = str(user.get("email") or "").lower()
    if not user.get("is_logged_in") or not email or user.get("email_verified") is False:
        return None
    lists = allow_list()
    roles: list[Role] = [
        role for role in ROLES if any(_matches(email, pattern) for pattern in lists.get(role, ()))
    ]
    return roles[-1] if roles else None


def allow_list() -> dict[str, tuple[str, ...]]:
    """Addresses by role; `*@lab.org` stands for everyone in a domain."""
    if text := os.environ.get("INFLUENCE_ROLES"):
        pairs = [part.partition(":") for part in text.split(";") if part.strip()]
        by_role = {name.strip(): people.split(",") for name, _, people in pairs}
    else:
        by_role = {str(name): list(people) for name, people in dict(_secrets().get("roles", {})).items()}
    unknown = sorted(set(by_role) - set(ROLES))
    if unknown:
        raise AccessError(f"The list of roles names {unknown}; expected {', '.join(ROLES)}.")
    return {name: tuple(person.strip().lower() for person in people) for name, people in by_role.items()}


def judge_settings() -> None:
    """Raise AccessError for a list of roles without sign-in, and for one that names unknown roles."""
    if allow_list() and not sign_in_configured():
        raise AccessError(
            "There is a list of roles (INFLUENCE_ROLES, or the section [roles] of secrets.toml) but no sign-in, so "
            "everybody who reaches this server would be an owner. Add a section [auth] to .streamlit/secrets.toml in "
            "the folder the server is started in, as SECURITY.md shows, or take the list away."
        )


def _matches(email: str, pattern: str) -> bool:
    if pattern.startswith("*@"):
        return email.rpartition("@")[2] == pattern[2:]
    return email == pattern


def may(wanted: Role) -> bool:
    """Whether this visitor's role is this one or a higher one."""
    current = role()
    return current is not None and ROLES.index(current) >= ROLES.index(wanted)


def require(wanted: Role, to_do: str) -> None:
    """Raise AccessError unless this visitor has the role; for every callback that changes something."""
    if not may(wanted):
        raise AccessError(
            f"Your role here is {role() or 'none'}; to {to_do} takes the role {wanted}. Ask the person who runs this "
            "server."
        )


def admit() -> bool:
    """Whether the visitor may go on; if not, draw the sign-in page or say that they are not on the list."""
    try:
        if role() is not None:
            return True
    except AccessError as error:
        st.error(formats.plain_sentence(error), icon=":material/block:")
        return False
    st.title("Influence Explorer", anchor=False)
    if signed_in() is None:
        st.markdown("Sign in to see the runs of this server.")
        st.button("Sign in", type="primary", icon=":material/login:", on_click=st.login)
    else:
        st.error(
            "You are signed in, but not on the list of this server. Ask the person who runs it to add your address.",
            icon=":material/block:",
        )
        st.button("Sign out", on_click=st.logout)
    return False
