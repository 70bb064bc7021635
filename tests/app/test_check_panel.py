"""Before a run: the panel says what an analysis would do, in the words of `influence check`, or why it is refused."""

import json
import shutil
import sys
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from influence_core.engine.rules.dispatch import HOW
from pages.ui.bring import check_panel
from pages.ui.shell import places
from pages.ui.words import overview as overview_words
from tests.app.brought import SPEC, bring, nobody_left_behind, open_own, press
from tests.app.conftest import texts

THIN = "\u202f"


def layer(name: str, covered: str = HOW["rule"]) -> dict[str, object]:
    return {"name": name, "kind": "Linear", "operations": "linear", "covered": covered, "parameters": 1200}


FOUND = {
    "model": "resnet18",
    "dataset": "flowers_1",
    "train": 4000,
    "held_out": 1000,
    "notes": ["Validation: 15 % of train, seed 0."],
    "seconds_sweeps": 12.4,
    "seconds_analysis": 80.0,
    "preflight": {
        "layers": [layer("layer1"), layer("", HOW["vmap"])],
        "share_covered": 1.0,
        "parameters": 2400,
        "frozen": ["a.weight", "b.weight", "c.weight", "d.weight", "e.weight"],
        "frozen_parameters": 99,
        "batch_norm": "19 layers, with running statistics",
        "dtype": "float32",
        "device": "cpu",
        "batch_size": 64,
        "memory_expected_mb": 318.4,
        "sentence": "1 of 2 layers is exact by closed form, 1 by vmap (slower).",
    },
}


def says(monkeypatch: pytest.MonkeyPatch, answer: str, *, code: int = 0, wait: float = 0) -> None:
    """A check that answers this; the real one is tested by its command, and once below."""
    script = f"import sys, time; time.sleep({wait}); print({answer!r}); sys.exit({code})"
    monkeypatch.setattr(check_panel, "COMMAND", (sys.executable, "-c", script))


@pytest.fixture(autouse=True)
def children(monkeypatch):
    with nobody_left_behind(monkeypatch) as asked:
        yield asked


def opened(root: Path) -> AppTest:
    """The last step of bringing data, with the bundled dataset and its own model."""
    upload = bring(root, spec=SPEC)
    for name in ("model.safetensors", "model.json"):
        shutil.copy(places.DEMO / name, upload.folder / "model" / name)
    return open_own(upload, "check")


def ask(app: AppTest) -> AppTest:
    return press(app, "Check first")


def answered(app: AppTest, seconds: float = 60) -> AppTest:
    """As the fragment looks again and again in a browser."""
    end = time.monotonic() + seconds
    while app.session_state[check_panel.CHECK].found is None:
        assert time.monotonic() < end, "the check did not answer"
        time.sleep(0.2)
        app.run()
    return app.run()


def test_the_answer_comes_first_then_every_layer(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, json.dumps(FOUND))
    app = answered(ask(opened(root)))
    assert not app.exception and not app.error
    shown = texts(app)
    assert "1 of 2 layers is exact by closed form, 1 by vmap (slower)." in shown
    assert "can be analysed" in shown
    assert {metric.label: metric.value for metric in app.metric} == {
        "Expected time": f"1{THIN}min 20{THIN}s",
        "Extra memory": f"318{THIN}MB",
    }
    for part in (
        "flowers\\_1",
        "resnet18",
        "19 layers, with running statistics",
        "float32 on cpu",
        "and 2 more",
    ):
        assert part in shown, part
    (table,) = app.dataframe
    assert list(table.value["Layer"]) == ["layer1", "(the model itself)"]
    assert list(table.value["Gradient"]) == [HOW["rule"], HOW["vmap"]]


def test_while_it_works_the_page_answers_and_a_second_question_ends_the_first(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch, json.dumps(FOUND), wait=60)
    app = ask(opened(root))
    assert not app.exception and "Trying the first samples" in texts(app)
    first = app.session_state[check_panel.CHECK].process
    says(monkeypatch, json.dumps({"refused": "Layer '1' mixes samples."}), code=1)
    app = answered(ask(app))
    assert first.returncode is not None, "a check that nobody waits for must not go on"
    assert "Layer '1' mixes samples" in app.error[0].value.replace("\\", "")
    assert "cannot be analysed" in texts(app)


@pytest.mark.parametrize(("answer", "code"), [("", 137), ("Killed", 1)])
def test_a_check_that_dies_is_a_sentence(
    root: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    says(monkeypatch, answer, code=code)
    app = answered(ask(opened(root)))
    assert not app.exception and f"code {code}" in app.error[0].value.replace("\\", "")


def test_a_check_that_never_ends_is_given_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, "", wait=60)
    monkeypatch.setattr(check_panel, "LONGEST", 0.5)
    app = answered(ask(opened(root)))
    assert "no answer within" in app.error[0].value
    assert app.session_state[check_panel.CHECK].process.returncode is not None


def test_the_real_check_answers_on_the_page(root: Path) -> None:
    """The bundled dataset with its model, through the command itself."""
    app = answered(ask(opened(root)), seconds=240)
    assert not app.error, [error.value for error in app.error]
    assert "layers are exact by closed form." in texts(app)
    assert f"4{THIN}000 training and 1{THIN}000 validation samples" in texts(app)


def test_the_overview_says_how_the_gradients_were_found() -> None:
    assert overview_words.exactness_sentence({}) == ""
    older = {"layers": [{"covered": "exact"}, {"covered": "exact, by vmap (slower)"}], "share_covered": 1.0}
    assert "2 of 2 layers exact" in overview_words.exactness_sentence(older)
    assert "1 by vmap" in overview_words.exactness_sentence(FOUND["preflight"])
    assert "5 frozen tensors left out" in overview_words.exactness_sentence(FOUND["preflight"])
