"""Dynamics in every state: nothing recorded, at work, too few epochs, finished, of other samples; a click records."""

import json
from pathlib import Path

import numpy as np
import pytest

from influence_core.jobs import submission as jobs
from influence_core.runs.run import Run
from influence_core.training.recorder import Recorder, recording_folder
from pages.ui.charts import dynamics as dynamics_charts
from pages.ui.shell import more_work
from pages.ui.words import dynamics as dynamics_words
from tests.app.conftest import Open, texts


def recorded(run: Run, epochs: int = 6, *, ids: list[str] | None = None, close: bool = True) -> Path:
    """A recording in which wrong labels are never learned, and some samples are forgotten."""
    rng, table = np.random.default_rng(0), run.samples
    folder = recording_folder(run.path)
    recorder = Recorder(folder, ids or list(table.index), list(table["label"]))
    wrong = table["suspicion"].to_numpy() > 0.5
    for epoch in range(epochs):
        margin = np.where(wrong, -2.0, 0.5 * epoch - 0.4) + rng.normal(0, 0.2, len(table))
        margin[:5] = 1.0 if epoch % 2 else -1.0
        recorder.numbers(range(len(table)), margin=margin, loss=np.log1p(np.exp(-margin)), influence=margin)
        recorder.end_epoch()
    if close:
        recorder.close()
    return folder


def test_without_a_recording_it_says_how_to_make_one(open_app: Open, run: Run) -> None:
    app = open_app("dynamics", run="small")
    assert not app.exception
    assert any(button.label == "Record a training" for button in app.button)
    assert "Nothing is recorded yet" in texts(app)
    assert "ic.Recorder" in app.code[0].value
    assert any(expander.label == "Leave harmful samples out while training?" for expander in app.expander)
    said = " ".join(texts(app).split())
    for effect in ("helps a network that memorises", "hurts one that does not", "`docs/online.md`"):
        assert effect in said, "what filtering costs must be said where it is offered"


def test_a_finished_recording_is_told_in_one_sentence_and_shown(open_app: Open, run: Run) -> None:
    recorded(run)
    app = open_app("dynamics", run="small")
    assert not app.exception and not app.error, [e.value for e in app.error]
    never = int((run.samples["suspicion"].to_numpy()[5:] > 0.5).sum())
    assert f"{never} of 200 samples were never learned" in texts(app)
    assert len(app.get("plotly_chart")) == 2
    assert [m.label for m in app.metric] == ["Never learned", "Forgotten", "Typically learned in", "Hurting"]
    assert any(button.label == "Record again" for button in app.button)


@pytest.mark.parametrize("kind", ["Forgotten", "Hardest", "Wavering", "Hurting"])
@pytest.mark.parametrize("curve", ["Margin", "Influence"])
def test_every_kind_and_curve_opens_by_address(open_app: Open, run: Run, kind: str, curve: str) -> None:
    recorded(run)
    app = open_app("dynamics", run="small", kind=kind, curve=curve)
    assert not app.exception and not app.error, [e.value for e in app.error]
    assert next(known.sentence for known in dynamics_words.KINDS if known.title == kind) in texts(app)


def test_too_few_epochs_say_so(open_app: Open, run: Run) -> None:
    recorded(run, epochs=2)
    assert "2 epochs recorded" in texts(open_app("dynamics", run="small"))


def test_a_dead_job_shows_its_state_above_what_there_is(open_app: Open, run: Run) -> None:
    folder = recorded(run, close=False)
    (folder / "job.json").write_text(
        json.dumps({"format": 1, "dataset": "d", "model": "m", "name": "training"})
    )
    (folder / "progress.json").write_text(json.dumps({"state": "running", "stage": "train"}))
    app = open_app("dynamics", run="small")
    assert not app.exception
    assert "interrupted" in texts(app) and any(button.label == "Resume" for button in app.button)
    assert "So far" in texts(app) and len(app.get("plotly_chart")) == 2


def test_a_recording_of_other_samples_is_refused(open_app: Open, run: Run) -> None:
    recorded(run, ids=[f"other{i}" for i in range(200)])
    app = open_app("dynamics", run="small")
    assert not app.exception and "other ids" in app.error[0].value


def test_recording_starts_a_job_of_its_own_kind(
    open_app: Open, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(jobs, "submit", lambda root, spec: asked.append((root, spec)) or "training")
    monkeypatch.setattr(
        more_work, "record_spec", lambda run: jobs.JobSpec("data", "model", "training", work="record")
    )
    app = open_app("dynamics", run="small")
    next(button for button in app.button if button.label == "Record a training").click().run()
    assert not app.exception and asked == [
        (run.path / "recordings", jobs.JobSpec("data", "model", "training", work="record"))
    ]


def test_a_run_from_python_says_why_it_cannot_be_recorded_here(run: Run) -> None:
    run.description["inputs"]["model"].pop("path")
    with pytest.raises(Exception, match="Record its training from Python"):
        more_work.record(run)


def test_charts_show_the_numbers_they_were_given() -> None:
    values = np.array([[0.1, 0.5, np.nan], [0.2, 0.6, 0.9], [0.3, 0.4, 0.8]])
    ids = ["a", "<b>", "c"]
    figure = dynamics_charts.trajectories(values, np.array([1]), ids, unit="p", name="<i>", theme="light")
    line = figure.data[-1]
    assert list(line.y) == [0.5, 0.6, 0.4] and list(line.x) == [1, 2, 3]
    assert "&lt;b&gt;" in line.hovertemplate and "<i>" not in str(figure.layout.annotations), (
        "text of data is inert"
    )
    low, median = figure.data[0], figure.data[2]
    assert (
        np.allclose(median.y, np.nanmedian(values, axis=1))
        and (np.asarray(low.y) <= np.asarray(median.y)).all()
    )
    cloud = dynamics_charts.cartography(
        np.array([0.1, 0.2, 0.3]),
        np.array([0.9, 0.5, 0.1]),
        ids,
        np.array([2]),
        name="Never learned",
        theme="dark",
    )
    assert list(cloud.data[0].y) == [0.9, 0.5] and list(cloud.data[1].y) == [0.1]
    assert cloud.data[1].customdata[0][0] == 2, "a click must find its sample again"
    assert cloud.data[0].customdata[1][1] == "&lt;b&gt;"


def test_a_large_map_keeps_every_chosen_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamics_charts, "SHOWN", 10)
    chosen = np.arange(5)
    cloud = dynamics_charts.cartography(
        np.zeros(50), np.ones(50), [str(i) for i in range(50)], chosen, name="x", theme="light"
    )
    assert len(cloud.data[0].y) == 10 and len(cloud.data[1].y) == 5
