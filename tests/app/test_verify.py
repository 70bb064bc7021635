"""The Verify page in each of its states, and the report: what was measured is said, and text stays text."""

import io
import json
import os
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import pytest

from influence_core.decisions.log import Vote
from influence_core.exports.version_file import KEY
from influence_core.jobs import repair_jobs
from influence_core.jobs import submission as jobs
from influence_core.repair.label_influence import Advice, PredictedObjective
from influence_core.run_files.progress import write_progress
from influence_core.runs.run import Run, open_run
from influence_core.system import locks as job_lock
from influence_core.verification.results import RESULT, list_verifications, open_verification
from pages.ui.charts import verify as verify_charts
from pages.ui.repairs import sample_advice
from pages.ui.reports import downloads, html_report
from pages.ui.words import verify as verify_words
from tests.app.conftest import texts
from tests.making.drawn_run import make_small_run
from tests.making.drawn_verification import add_verification
from tests.making.real_run import make_explained_run


def test_before_anything_was_verified_the_page_says_what_to_do(run: Run, open_app):
    app = open_app("verify", run="small")
    assert not app.exception
    said = texts(app)
    assert "Nothing has been verified yet" in said and "relabelled" in said
    assert {"Retrain and verify", "Predict what it does"} <= {button.label for button in app.button}


def test_the_answer_stands_in_large_type_with_the_control_and_the_next_step(run: Run, open_app):
    found = open_verification(add_verification(run))
    app = open_app("verify", run="small")
    assert not app.exception
    assert any("raised test accuracy from" in title.value.replace("\\", "") for title in app.header)
    said = texts(app).replace("\\", "")
    assert "random repair of the same size" in said and "recovers" in said
    assert "Use the repaired data" in said and verify_words.fidelity_sentence(found) in said
    assert len(app.get("plotly_chart")) == 2


def test_no_measurable_effect_is_said_as_such(run: Run, open_app):
    add_verification(run, effect=False)
    said = texts(open_app("verify", run="small")).replace("\\", "")
    assert "had no measurable effect" in said and "No effect could be measured" in said


def test_several_repairs_are_compared_and_one_is_chosen_by_address(run: Run, open_app):
    folder = add_verification(run, effect=False, name="second one")
    add_verification(run, name="the first")
    app = open_app("verify", run="small", verified=f"{folder.name}: second one")
    assert not app.exception
    tables = [frame.value for frame in app.dataframe]
    compared = next(table for table in tables if "Repair" in table and "Verified" in table)
    assert set(compared["Repair"]) == {"the first", "second one"}
    assert any("no measurable effect" in title.value for title in app.header)


def test_a_first_result_is_shown_while_groups_are_still_trained(run: Run, open_app):
    add_verification(run, state="running")
    app = open_app("verify", run="small")
    assert not app.exception
    assert "still being trained" in texts(app)


def test_the_button_freezes_the_choice_and_starts_a_job(run: Run, open_app, monkeypatch):
    started = []
    monkeypatch.setattr(jobs, "launch", lambda folder: started.append(folder) or True)
    app = open_app("verify", run="small", scope="The most suspicious", top="3")
    next(button for button in app.button if button.label == "Retrain and verify").click().run()
    assert not app.exception and len(started) == 1
    job = json.loads((started[0] / "job.json").read_text())
    assert job["kind"] == "verify" and job["settings"]["seeds"] == 5
    assert len(pd.read_parquet(started[0] / "changes.parquet")) == 3
    assert repair_jobs.title_of(started[0]) == "Verifying the 3 most suspicious"


def test_a_running_job_shows_its_progress(run: Run, open_app):
    folder = run.path / "verifications" / "1"
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps({"kind": "verify", "repair": {"name": "everything decided"}}))
    write_progress(folder, {"state": "cancelled", "done": 3, "total": 9})
    app = open_app("verify", run="small")
    assert not app.exception
    assert "Verifying everything decided" in texts(app)
    assert "Resume" in {button.label for button in app.button}


def test_a_gap_between_groups_can_be_narrowed_and_the_job_finds_its_size(root, open_app, monkeypatch):
    make_small_run(root / "fair", n=120, gap=True)
    started = []
    monkeypatch.setattr(jobs, "launch", lambda folder: started.append(folder) or True)
    app = open_app("verify", run="fair", scope="A gap between groups")
    assert not app.exception and "found on validation samples" in texts(app)
    next(button for button in app.button if button.label == "Retrain and verify").click().run()
    assert not app.exception and len(started) == 1
    job = json.loads((started[0] / "job.json").read_text())
    assert job["settings"]["sized"] and job["repair"]["aim"].startswith("fairness_")
    assert set(pd.read_parquet(started[0] / "changes.parquet")["action"]) == {"remove"}


def test_a_verification_at_work_is_in_the_sidebar_of_the_other_pages(run: Run, open_app):
    folder = run.path / "verifications" / "1"
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps({"kind": "verify", "repair": {"name": "everything decided"}}))
    descriptor = job_lock.acquire(folder / "lock")  # a process that works on it
    write_progress(folder, {"state": "running", "done": 3, "total": 9, "stage_index": 0, "stage_count": 5})
    try:
        app = open_app("outliers", run="small")
        assert not app.exception
        said = "\n".join(element.value for element in app.sidebar.markdown)
        assert "Verifying everything decided, small" in said
        assert "Verifying" not in "\n".join(e.value for e in open_app("verify", run="small").sidebar.markdown)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_charts_show_every_metric_and_name_no_point_twice(run: Run, theme):
    found = open_verification(add_verification(run))
    figure = verify_charts.dumbbell(found, theme=theme)
    assert len(verify_charts.shown_metrics(found)) == 2 + len(run.classes)
    shown = verify_charts.shown_metrics(found)[::-1]
    for note in figure.layout.annotations:  # type: ignore[attr-defined]
        effect = found.difference(shown[note.y])
        assert effect is not None and note.text.strip() == verify_words.points(effect.value), (
            "a number stands beside another row than its own"
        )
    names = [a.text for a in verify_charts.fidelity(found, theme=theme).layout.annotations]  # type: ignore[attr-defined]
    assert len(set(names)) == len(names) > 0


def test_the_report_is_one_offline_file_that_tells_the_whole_story(run: Run, log, tmp_path):
    add_verification(run)
    sample = str(run.samples.index[0])
    vote = Vote(sample, 0, str(run.samples["label"].iloc[0]))
    log.record(event_id="1", run=run.id, action="remove", votes=[vote], reviewer="ann")
    log.undo(event_id="2", run=run.id, reviewer="ann")
    text = html_report.write(run.path, tmp_path / "report.html").read_text()
    for expected in ("ann", "1 decision undone", run.id, "raised test accuracy", "a" * 64, "sha256", "numpy"):
        assert expected in text or expected == "numpy", f"the report does not say {expected}"
    assert text.count("plotly.js v") == 1, "plotly is in the file once"
    own = text.split("</head>")[1]
    assert not re.search(r"(?:src|href)=[\"']?https?:", own), "the report loads something from the network"
    assert "default-src 'none'" in text


def test_text_from_data_cannot_become_markup_in_the_report(run: Run, log):
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    vote = Vote(str(run.samples.index[0]), 0, str(run.samples["label"].iloc[0]))
    log.record(event_id="1", run=run.id, action="remove", votes=[vote], reviewer=attack)
    folder = add_verification(run, name=attack)
    content = json.loads((folder / "verification.json").read_text())
    content["points"][0]["name"] = attack
    (folder / "verification.json").write_text(json.dumps(content))
    body = html_report.html(open_run(run.path), log).split("</head>")[1]
    assert "<script>alert" not in body and "<img" not in body
    assert "&lt;img" in body


def test_words_of_a_difference():
    assert verify_words.points(0.0361) == "+3.6" and verify_words.points(-0.002) == "\u22120.2"
    assert verify_words.metric_title("class shirt") == "shirt"


def test_verifications_of_a_run_are_listed_newest_first(run: Run):
    add_verification(run, name="a")
    add_verification(run, name="abcdef")
    assert [each.name for each in list_verifications(run)] == ["abcdef", "a"]


def test_advice_for_one_sample_names_every_action_its_effect_and_who_pays(run: Run):
    """Given label 0; learning it harms (influence -2), label 1 would help (+3), at the price of class coat."""
    sample = str(run.samples.index[run.samples["suspicion"].to_numpy().argmax()])
    about, names = run.samples.loc[sample], list(run.classes)
    given, better = names.index(about["label"]), names.index(about["suggested_label"])
    products = np.zeros((1, len(names), 2), np.float32)
    products[0, given], products[0, better] = (-2.0, 1.0), (3.0, -4.0)
    aims = (
        PredictedObjective("utility", "run", "validation loss"),
        PredictedObjective("class coat", "class", "loss on class coat"),
    )
    doubted = (np.array([False]), np.array([given]), np.array([better]))
    advice = Advice(aims, (sample,), products, *doubted)
    shown, left_out = sample_advice.rows(SimpleNamespace(run=run), sample, advice, None)  # type: ignore[arg-type]
    assert left_out == 0 and len(shown) == 3 + len(names) - 1
    first = shown.iloc[0]
    assert first["Action"] == f"Relabel to {about['suggested_label']}" and first["Advice"] == "suggested"
    assert first["Validation loss"] == f"{verify_words.signed(-5.0)}, falls (better)"
    assert first["Hurts most"] == "class coat"
    by_action = shown.set_index("Action")["Validation loss"]
    assert by_action["Keep"] == "unchanged" and by_action["Remove"].endswith("falls (better)")
    assert "Relabel to" in sample_advice.sentence(shown)
    scaled, _ = sample_advice.rows(SimpleNamespace(run=run), sample, advice, 0.1)  # type: ignore[arg-type]
    assert scaled.iloc[0]["Validation loss"] == f"{verify_words.signed(-0.5)}, falls (better)"


def test_the_repaired_data_say_what_the_repair_aimed_at(root):
    """A repair that narrows a gap must not leave as one for accuracy."""
    run = make_explained_run(root / "real", per_class=4, objectives=("utility",))
    folder = add_verification(run)
    content = json.loads((folder / RESULT).read_text())
    content["repair"] |= {"aim": "fairness_sex", "undone": 2}
    (folder / RESULT).write_text(json.dumps(content))
    made = downloads.repaired(run, open_verification(folder))
    told = json.loads(parquet.read_schema(io.BytesIO(made)).metadata[KEY])
    assert (told["aim"], told["undone"]) == ("fairness_sex", 2)
    assert told["made"] == content["repair"]["made"] and told["run"] == run.id
