"""Serve Influence Explorer: the pages, and plain HTTP routes for thumbnails, map points and uploads.

    streamlit run app.py        the usual way; flags such as --server.port 8600 work
    uvicorn app:app             under any ASGI server, started in this folder

The script is pages/ui/main.py, not this file. Streamlit runs every file of a `pages` folder beside the *script* as a
page of its own, so the first deep link would show a page without its frame.
"""

import sys
import threading
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

HERE = Path(__file__).resolve().parent
# `pages` is a folder, never an installed package: this file is in a checkout or inside a wheel.
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from influence_core.errors import AccessError  # noqa: E402  (needs the line above)
from pages.ui.server import content_policy, hosts, receiving, routes  # noqa: E402
from pages.ui.shell import visitor  # noqa: E402


def load(rooms: Iterable[str]) -> None:
    """Import every file of these rooms of pages/ui."""
    for room in rooms:
        for path in sorted((HERE / "pages" / "ui" / room).glob("*.py")):
            import_module(f"pages.ui.{room}.{path.stem}")


def load_the_rest() -> None:
    """What loads scikit-learn and torch, 7 s of work: the first Overview and the first upload would wait for it."""
    import_module("influence_core.judging.detection")
    load(("samples", "bring"))


# Before the port opens: otherwise the first visitor looks at a blank page meanwhile.
load(("words", "charts", "shell", "components", "repairs", "reports"))
threading.Thread(target=load_the_rest, daemon=True).start()

try:
    visitor.judge_settings()
except AccessError as error:
    sys.exit(f"influence: {error}")

app = st.App(
    HERE / "pages" / "ui" / "main.py",
    routes=[*routes.routes(), *receiving.routes()],
    middleware=[Middleware(content_policy.ContentPolicy), Middleware(hosts.KnownHosts)],
)

if __name__ == "__main__":
    app.run()
