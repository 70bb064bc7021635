"""Serve Influence Explorer: the pages, and beside them the plain HTTP routes for thumbnails and map points.

    streamlit run app.py        the usual way; flags such as --server.port 8600 work
    uvicorn app:app             under any ASGI server, started in this folder

The script lives in pages/ui/main.py and not here: Streamlit runs every file of a `pages` folder that lies
beside the *script* as a page of its own, so that the first deep link would show a page without its frame.
"""

import sys
from pathlib import Path

import streamlit as st

HERE = Path(__file__).resolve().parent
# `pages` is a folder, never an installed package: this file may lie in a checkout or inside a wheel.
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from pages.ui.server import receiving, routes  # noqa: E402  (needs the line above)

app = st.App(HERE / "pages" / "ui" / "main.py", routes=[*routes.routes(), *receiving.routes()])

if __name__ == "__main__":
    app.run()
