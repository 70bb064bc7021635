"""A server with and without runs, and the app opened on it as a person would: by its entry script."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from influence_core.runs.run import Run
from pages.ui.shell import visitor
from tests.making.drawn_run import make_small_run

MAIN = Path(__file__).resolve().parents[2] / "pages" / "ui" / "main.py"
PAGES = tuple(sorted(page.stem for page in MAIN.parents[1].glob("*.py")))

Open = Callable[..., AppTest]
SignIn = Callable[..., None]
ROLES = "owner: ada@lab.org; annotator: *@labels.org, bob@lab.org; viewer: *@lab.org"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty runs root of this test alone; caches are process-wide, so they are emptied too."""
    monkeypatch.setenv("INFLUENCE_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("INFLUENCE_DECISIONS", raising=False)
    monkeypatch.delenv("INFLUENCE_DATA", raising=False)
    monkeypatch.delenv("INFLUENCE_SECRET", raising=False)
    st.cache_data.clear()
    st.cache_resource.clear()
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def run(root: Path) -> Run:
    """A finished run of 200 samples and 4 classes in the folder `small`."""
    return make_small_run(root / "small", n=200, classes=4)


@pytest.fixture
def open_app() -> Open:
    """Open a page by its name and address: open_app("review", run="small")."""

    def open_page(page: str = "start", /, **query: str) -> AppTest:
        app = AppTest.from_file(str(MAIN), default_timeout=30)
        for key, value in query.items():
            app.query_params[key] = value
        app.run()
        return app if page == "start" else app.switch_page(f"../{page}.py").run()

    return open_page


@pytest.fixture
def sign_in(monkeypatch: pytest.MonkeyPatch) -> SignIn:
    """A server with sign-in, and somebody at the browser: sign_in("ada@lab.org")."""
    monkeypatch.setattr(visitor, "_secrets", lambda: {"auth": {}})
    monkeypatch.setenv("INFLUENCE_ROLES", ROLES)

    def user(email: str | None, **more: object) -> None:
        facts = {"is_logged_in": False} if email is None else {"is_logged_in": True, "email": email, **more}
        monkeypatch.setattr(visitor, "_user", lambda: facts)

    return user


def answer(app: AppTest) -> dict[str, Any]:
    """What the gallery of the page is told about what was decided."""
    protos: list[Any] = [element.proto for element in app.get("bidi_component")]
    return json.loads(next(proto.json for proto in protos if proto.component_name == "influence_answer"))


def texts(app: AppTest) -> str:
    """Everything readable on the page, for `in`."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "error", "info", "warning")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))
