"""Starts the page of harness_page.py together with the app's own thumbnail and point routes."""

import sys
from pathlib import Path

import streamlit as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pages.ui.server.routes import routes

app = st.App(Path(__file__).with_name("harness_page.py"), routes=routes())
