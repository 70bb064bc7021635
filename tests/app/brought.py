"""An upload as the page leaves it on disk, and the page opened on it by the browser that made it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from streamlit.testing.v1 import AppTest

from influence_core.intake import uploads
from influence_core.intake.uploads import Upload
from pages.ui.bring import child_question
from pages.ui.bring.child_question import ChildQuestion
from pages.ui.shell import places
from tests.app.conftest import MAIN

KEY = "0123456789abcdef" * 2
SHAPE = [1, 4, 4]
PREVIEW = {
    "name": "toys",
    "kind": "image",
    "classes": ["cat", "<b>dog</b>"],
    "counts": {"train": [14, 10], "val": [60, 50]},
    "groups": {"site": [["a", 20], ["b", 4]]},
    "notes": [],
    "skipped": [],
    "problems": [],
    "doubtful_order": False,
    "model": None,
    "size": [4, 4],
    "sizes": 1,
    "channels": 1,
    "mean": [0.4],
    "std": [0.2],
    "samples": [
        {
            "id": f"train/{row}.png",
            "label": ["cat", "<b>dog</b>"][row % 2],
            "offset": 16 * row,
            "shape": SHAPE,
        }
        for row in range(24)
    ],
}
WEIGHTS = {
    "tensors": 2,
    "parameters": 34,
    "guesses": [
        {"architecture": "logistic", "classes": 2, "channels": 16, "size": None, "fitting": 2, "total": 2}
    ],
    "architecture": None,
    "classes": None,
    "preprocessing": None,
}
SPEC = {
    "architecture": "logistic",
    "classes": ["cat", "<b>dog</b>"],
    "preprocessing": {"channels": 1, "size": [4, 4], "mean": [0.0], "std": [1.0]},
}
TRIAL = {"accuracy": 0.93, "low": 0.9, "high": 0.95, "samples": 110, "chance": 0.75, "at_chance": False,
         "alternatives": []}  # fmt: skip


@contextmanager
def nobody_left_behind(monkeypatch) -> Iterator[list[ChildQuestion]]:
    """Every child a page has asked is ended after the test; a browser that leaves lets it finish."""
    asked, ask = [], child_question.ask
    monkeypatch.setattr(child_question, "ask", lambda *given: asked.append(ask(*given)) or asked[-1])
    yield asked
    for one in asked:
        if one.process.returncode is None:
            child_question.end(one)


def bring(root: Path, *, answers: dict[str, dict] | None = None, **plan: object) -> Upload:
    """An upload with these answers of the child and this plan."""
    upload = uploads.begin(root, f"browser {KEY}")
    (upload.folder / "pixels.bin").write_bytes(np.arange(24 * 16, dtype=np.uint8).tobytes())
    for name, found in ({"preview": PREVIEW} if answers is None else answers).items():
        (upload.folder / f"{name}.json").write_text(json.dumps(found))
    (upload.folder / "model").mkdir()
    chosen = {"dataset": str(places.DEMO), "name": "toys", "sent": True, **plan}
    return uploads.update_plan(upload, **chosen)


def open_own(upload: Upload | None = None, step: str = "data", key: str = KEY) -> AppTest:
    """The page in a browser that holds this key."""
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    app.session_state["_browser_keys"], app.session_state["_browser_answered"] = [key], True
    if upload is not None:
        app.query_params["upload"], app.query_params["step"] = upload.id, step
    app.run()
    return app.switch_page("../own_data.py").run()


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()
