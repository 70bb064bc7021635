"""As many as were decided are exported, unchanged but for what was decided, and no cell can run."""

import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from influence_core.data import open_dataset
from influence_core.decisions import corrections as corrected
from influence_core.decisions.log import DecisionLog, Vote
from influence_core.errors import ExportError
from influence_core.exports.annotation_tools import label_issues, label_studio_tasks
from influence_core.exports.image_folder import Names, safe_name, write_image_folder
from influence_core.runs.run import Run
from influence_core.system.safe_tables import harmless, read_csv, write_csv, write_parquet
from tests.making.drawn_run import dataset_of


def decide(log: DecisionLog, run: Run, ids, action: str, label: str | None = None) -> None:
    """Decide on samples that nobody decided before."""
    given = run.samples["label"]
    votes = [Vote(sample, 0, given[sample], label) for sample in ids]
    log.record(event_id=f"{action}-{ids[0]}", run=run.id, action=action, votes=votes, reviewer="ann")


def relabel_to(run: Run, label: str) -> list[str]:
    """Samples that do not have this label."""
    return run.samples.index[run.samples["label"] != label].tolist()


def test_the_zip_says_which_labels_nobody_checked(drawn_run, log):
    """Validation and test ship with the labels they came with, some of them wrong."""
    decide(log, drawn_run, drawn_run.samples.index[:2].tolist(), "remove")
    target = io.BytesIO()
    write_image_folder(drawn_run, log, open_dataset(dataset_of(drawn_run.path)), target)
    said = zipfile.ZipFile(target).read("README.md").decode()
    assert "15 validation samples and 15 test samples were not checked" in said
    assert "2 removed; 58 are undecided" in said
    assert corrected.not_checked(drawn_run) in said


def test_validation_that_was_set_aside_is_said_to_be(drawn_run, monkeypatch):
    dataset = drawn_run.description["inputs"]["dataset"]
    monkeypatch.setitem(dataset, "set_aside", 15)
    assert "The 15 for validation were set aside from the training samples" in corrected.not_checked(
        drawn_run
    )
    monkeypatch.setitem(dataset, "n_val", 0)
    monkeypatch.setitem(dataset, "n_test", 0)
    assert corrected.not_checked(drawn_run) == "", "a run without such samples has nothing to say"


@pytest.mark.parametrize("choose", ["one", "two", "all", "filtered", "sorted"])
def test_selected_is_written_is_exported(drawn_run, log, tmp_path, choose):
    samples = drawn_run.samples
    selections = {
        "one": samples.index[:1],
        "two": samples.index[[3, 40]],
        "all": samples.index,
        "filtered": samples.index[samples["suspicion"] > 0.5],
        "sorted": samples.sort_values("suspicion", ascending=False).index[:17],
    }
    selected = selections[choose].tolist()
    decide(log, drawn_run, selected, "remove")
    frame = corrected.corrections(drawn_run, log)
    assert set(frame["sample_id"]) == set(selected) and len(frame) == len(selected)
    for write, read in ((write_csv, read_csv), (write_parquet, pd.read_parquet)):
        ordered = frame.set_index("sample_id").loc[selected].reset_index()
        assert write(ordered, tmp_path / "table") == len(selected)
        assert read(tmp_path / "table")["sample_id"].tolist() == selected, "the export lost the order or rows"
    assert len(corrected.corrected_labels(drawn_run, log)) == len(samples) - len(selected)
    assert corrected.counts(drawn_run, log).removed == len(selected)


def test_counts_add_up_and_undone_decisions_do_not_count(drawn_run, log):
    ids = drawn_run.samples.index.tolist()
    decide(log, drawn_run, ids[:5], "keep")
    decide(
        log,
        drawn_run,
        [sample for sample in relabel_to(drawn_run, "coat") if sample not in ids[:5]][:3],
        "relabel",
        "coat",
    )
    decide(log, drawn_run, ids[-2:], "remove")
    log.undo(event_id="u", run=drawn_run.id, reviewer="ann")
    assert corrected.counts(drawn_run, log) == corrected.ExportCounts(5, 3, 0, len(ids) - 8, len(ids))


def test_labels_change_only_where_somebody_decided(drawn_run, log):
    changed = relabel_to(drawn_run, "coat")[:4]
    decide(log, drawn_run, changed, "relabel", "coat")
    labels = corrected.corrected_labels(drawn_run, log).set_index("sample_id")
    expected = drawn_run.samples["label"].where(~drawn_run.samples.index.isin(changed), "coat")
    assert labels["label"].tolist() == expected.tolist()
    assert labels["original_label"].tolist() == drawn_run.samples["label"].tolist()
    assert corrected.corrections(drawn_run, log)["corrected_label"].tolist() == ["coat"] * 4


def test_decisions_about_other_samples_are_an_error_not_a_smaller_export(drawn_run, log):
    log.record(
        event_id="e", run=drawn_run.id, action="keep", votes=[Vote("stranger", 0, "coat")], reviewer="ann"
    )
    with pytest.raises(ExportError, match="stranger"):
        corrected.corrections(drawn_run, log)


def test_the_image_folder_reads_back_as_the_corrected_dataset(drawn_run, log, tmp_path):
    dataset = open_dataset(dataset_of(drawn_run.path))
    changed = relabel_to(drawn_run, "coat")[:4]
    decide(log, drawn_run, changed, "relabel", "coat")
    removed = [sample for sample in drawn_run.samples.index if sample not in changed][:3]
    decide(log, drawn_run, removed, "remove")
    target, steps = tmp_path / "corrected.zip", []
    written = write_image_folder(
        drawn_run, log, dataset, target, on_progress=lambda *step: steps.append(step)
    )
    again = open_dataset(target)
    labels = corrected.corrected_labels(drawn_run, log)
    assert written == len(again.train) == len(labels)
    assert steps[-1] == ("export", written + len(dataset.val) + len(dataset.test), steps[-1][2])
    found = {again.train.image_bytes(i)[0]: again.classes[again.train.labels[i]] for i in range(written)}
    place = {sample: i for i, sample in enumerate(dataset.train.ids)}
    expected = {
        dataset.train.image_bytes(place[sample])[0]: label
        for sample, label in zip(labels["sample_id"], labels["label"], strict=True)
    }
    assert found == expected, "a picture was re-encoded, lost, or filed under another label"
    assert len(again.val) == len(dataset.val) and len(again.test) == len(dataset.test)
    assert len(read_csv(io.StringIO(zipfile.ZipFile(target).read("corrections.csv").decode()))) == 7


def test_the_same_decisions_give_the_same_zip_also_into_an_open_file(drawn_run, log, tmp_path):
    dataset = open_dataset(dataset_of(drawn_run.path))
    contents = []
    for _ in range(2):
        target = io.BytesIO()
        write_image_folder(drawn_run, log, dataset, target, splits=("train",))
        contents.append(target.getvalue())
    assert contents[0] == contents[1]
    names = zipfile.ZipFile(io.BytesIO(contents[0])).namelist()
    assert len(names) == len(drawn_run.samples) + 3 and not any(name.startswith("val/") for name in names)


def test_a_dataset_that_is_not_the_runs_is_refused(drawn_run, log, tmp_path):
    dataset = open_dataset(dataset_of(drawn_run.path))
    swapped = dataset.train.relabelled((dataset.train.labels + 1) % len(dataset.classes))
    for other, reason in ((dataset.val, "not the same samples"), (swapped, "labels of the dataset differ")):
        pictures = type("Pictures", (), {"train": other, "val": dataset.val, "test": None})
        with pytest.raises(ExportError, match=reason):
            write_image_folder(drawn_run, log, pictures, tmp_path / "no.zip")
    assert not (tmp_path / "no.zip").exists()


def test_an_export_that_cannot_be_written_says_so_and_leaves_nothing(drawn_run, log, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match="cannot be written"):
        write_csv(corrected.corrections(drawn_run, log), tmp_path / "file/corrections.csv")


FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\uff1d1", "'=1"]


@pytest.mark.parametrize("cell", FORMULAS)
def test_no_cell_can_run(cell, tmp_path):
    write_csv(pd.DataFrame({cell: [cell]}), tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 2 and all(text.startswith("'") for row in rows for text in row), rows


def test_a_carriage_return_in_a_cell_begins_no_row_with_a_formula(tmp_path):
    write_csv(pd.DataFrame({"label": ["coat\r=1+1"]}), tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes() == b'label\r\n"coat\r=1+1"\r\n'


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1))
def test_apostrophes_against_formulas_are_taken_away_again(cells):
    target = io.BytesIO()
    write_csv(pd.DataFrame({"cell": cells, "number": range(len(cells))}), target)
    assert read_csv(io.StringIO(target.getvalue().decode()))["cell"].tolist() == cells


def test_numbers_stay_numbers(tmp_path):
    frame = pd.DataFrame({"suspicion": [-0.5, np.nan], "label": ["-1", "+1.5e3"]})
    write_csv(frame, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes() == b"suspicion,label\r\n-0.5,-1\r\n,+1.5e3\r\n"
    assert harmless(None) is None


@given(st.lists(st.text(), min_size=1, max_size=30, unique=True))
def test_folder_names_are_safe_and_never_collide(labels):
    names = Names()
    made = [names.of(label, key=label) for label in labels]
    assert len({name.casefold() for name in made}) == len(labels), "two classes share a folder"
    assert made == [names.of(label, key=label) for label in labels]
    assert all(name == Path(name).name and name not in {"", ".", ".."} for name in made)


def test_names_of_pictures_that_are_equal_are_numbered():
    names = Names()
    assert [names.inside("train/a", text, ".png") for text in ("x", "X", "x", "x-2")] == [
        "train/a/x.png",
        "train/a/X-2.png",
        "train/a/x-3.png",
        "train/a/x-2-2.png",
    ]
    assert [safe_name(text) for text in ("T-shirt/top", "../..", "con", "a.", "")] == [
        "T-shirt_top",
        "_",
        "_con",
        "a",
        "_",
    ]


def test_cleanlab_issues_follow_people_first_and_the_cut_otherwise(drawn_run, log):
    suspicious = drawn_run.samples["suspicion"].idxmax()
    quiet = drawn_run.samples["suspicion"].idxmin()
    decide(log, drawn_run, [suspicious], "keep")
    decide(log, drawn_run, [quiet], "remove")
    issues = label_issues(drawn_run, log).set_index("sample_id")
    assert len(issues) == len(drawn_run.samples)
    assert not issues.loc[suspicious, "is_label_issue"] and issues.loc[quiet, "is_label_issue"]
    rest = issues.drop(index=[suspicious, quiet])
    assert (rest["is_label_issue"] == (rest["label_score"] <= 0.5)).all(), "cleanlab: a low score is bad"
    flagged = issues[issues["is_label_issue"]]
    assert (flagged["predicted_label"] != flagged["given_label"]).all(), (
        "the issue says that the label is wrong, and the prediction repeats it"
    )
    suggested = drawn_run.samples["suggested_label"]
    assert (flagged["predicted_label"] == suggested[flagged.index]).all(), (
        "cards and table suggest differently"
    )


def test_label_studio_tasks_are_plain_json_one_for_each_sample_asked_for(drawn_run, log):
    changed = relabel_to(drawn_run, "coat")[0]
    decide(log, drawn_run, [changed], "relabel", "coat")
    chosen = [drawn_run.samples.index[-1], changed]
    tasks = label_studio_tasks(drawn_run, log, lambda sample: f"/data/{sample}", chosen)
    assert [task["data"]["sample_id"] for task in json.loads(json.dumps(tasks, allow_nan=False))] == chosen
    assert tasks[0]["annotations"] == [] and tasks[1]["data"]["image"] == f"/data/{changed}"
    values = {part["from_name"]: part["value"]["choices"] for part in tasks[1]["annotations"][0]["result"]}
    assert values == {"action": ["relabel"], "label": ["coat"]}
    everything = label_studio_tasks(drawn_run, log, str)
    assert len(everything) == len(drawn_run.samples)
    place = {name: k for k, name in enumerate(drawn_run.classes)}
    for row, task in enumerate(everything):
        (prediction,) = task["predictions"]
        ((label,),) = (part["value"]["choices"] for part in prediction["result"])
        doubted = drawn_run.samples["suspicion"].iloc[row] >= 0.5
        assert doubted == (label != task["data"]["given_label"]), (
            "a label not in doubt was filled in otherwise"
        )
        assert prediction["score"] == pytest.approx(float(drawn_run.beliefs[row][place[label]]), abs=1e-6), (
            "the score is not the bar of the card"
        )


def test_the_log_is_exported_whole(drawn_run, log, tmp_path):
    decide(log, drawn_run, drawn_run.samples.index[:3].tolist(), "keep")
    log.undo(event_id="u", run=drawn_run.id, reviewer="ann")
    assert write_csv(log.events(drawn_run.id), tmp_path / "log.csv") == 6
    assert read_csv(tmp_path / "log.csv")["action"].tolist() == ["keep"] * 3 + ["undo"] * 3
