"""The names under which this server answers: whoever asks for another one is refused, on every path and websocket.

A page of a stranger can give its own name the address of this machine (DNS rebinding); the browser then takes the app
for a part of that page and lets it read. The name in the Host header gives it away. Allowed are `server.allowedHosts`
(config.toml: this machine alone), `server.address`, what INFLUENCE_HOSTS lists for a proxy
("influence.example.org, *.lab.org"), and every plain address, also one that a container or a router translates:
nobody can give an address another address.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import config

NAMES = "INFLUENCE_HOSTS"
EVERYWHERE = ("", "0.0.0.0", "::")
"""Addresses of a server that other machines reach under the name of this one."""
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", re.IGNORECASE)


class KnownHosts:
    """Lets requests and websockets pass that name this server, and refuses all others."""

    def __init__(self, app: ASGIApp) -> None:
        """Guard an app, instead of Streamlit's own check, which covers the websocket alone and less than `known`."""
        self._app, self._names = app, known()
        config.set_option("server.allowedHosts", ["*"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on or refuse."""
        if scope["type"] == "lifespan" or self._knows(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()  # the offer to connect; closing before accepting it is answered with 403
            await send({"type": "websocket.close", "code": 1008, "reason": "unknown host"})
        else:
            await PlainTextResponse(_refusal(_host(scope)), status_code=403)(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        host = _host(scope)
        return host is not None and (_is_address(host) or any(_fits(host, name) for name in self._names))


def known() -> tuple[str, ...]:
    """The names of this server; "*." begins one that stands for every name below, "*" alone lets every host pass."""
    address = config.get_option("server.address") or ""
    named = [
        *(config.get_option("server.allowedHosts") or ()),
        *os.environ.get(NAMES, "").split(","),
        address,
    ]
    if address in EVERYWHERE:
        named.append(socket.gethostname())
    return tuple(dict.fromkeys(_plain(name) for name in named if name.strip()))


def _host(scope: Scope) -> str | None:
    """The host that was asked for, without its port; None when it is missing, repeated or malformed."""
    values = [value for name, value in scope["headers"] if name == b"host"]
    match = HOST.fullmatch(values[0].decode("latin-1")) if len(values) == 1 else None
    return _plain(match[1]) if match else None


def _plain(name: str) -> str:
    return name.strip().lower().strip("[]").rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _fits(host: str, name: str) -> bool:
    return name == "*" or host == name or (name.startswith("*.") and host.endswith(name[1:]))


def _refusal(host: str | None) -> str:
    asked = "without the name of a host" if host is None else f"as '{host}'"
    return (
        f"This server was asked for {asked}, and that is not one of its names. On the machine it runs on, open it as "
        f"http://localhost with its port. To serve it under another name, start it with {NAMES}={host or 'the.name'} "
        "in its environment.\n"
    )
