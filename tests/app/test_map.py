"""The Map page opens on what is doubtful, and what it says is true of the run it shows."""

import pytest
from streamlit.testing.v1 import AppTest

from influence_core.runs.run import Run
from pages.ui.samples.selection import FIRST
from pages.ui.words import formats
from tests.app.conftest import Open, texts


def test_the_map_opens_by_suspicion_and_shows_the_labels_in_doubt(open_app: Open, run: Run) -> None:
    app = open_app("map", run="small")
    assert not app.exception
    assert app.selectbox(key="colour").value == "Suspicion"
    in_doubt = int((run.samples["suspicion"] >= 0.5).sum())
    assert f"{in_doubt} labels in doubt" in texts(app), "an empty panel beside the map helps nobody"


def test_the_choice_of_colour_stays_in_the_address(open_app: Open, run: Run) -> None:
    assert open_app("map", run="small", colour="Given label").selectbox(key="colour").value == "Given label"


def test_the_example_of_an_id_is_one_of_this_run(open_app: Open, run: Run) -> None:
    example = _placeholder(open_app("map", run="small")).removeprefix("Sample id, for example ")
    assert example in run.samples.index
    app = open_app("map", run="small", sample=example)
    assert "1 image selected" in texts(app), "the example that the page gives is not found by it"


def test_where_nothing_is_in_doubt_the_most_suspicious_have_the_rings(
    open_app: Open, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(run.description["results"], "cut", 1.5)
    monkeypatch.setattr("pages.ui.shell.state.opened", lambda folder: run)
    app = open_app("map", run="small")
    assert not app.exception
    assert f"The {formats.count(FIRST)} most suspicious" in texts(app)


def _placeholder(app: AppTest) -> str:
    return app.text_input(key="sample").placeholder
