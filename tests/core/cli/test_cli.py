"""The command says what it does, writes what the app reads, and answers mistakes in one sentence."""

import json
from pathlib import Path

import pytest

from influence_core.cli import main as cli
from influence_core.decisions.log import Vote
from influence_core.run_files.listing import list_runs
from influence_core.run_files.progress import read_progress
from tests.making.clouds import fewer_pictures
from tests.making.drawn_run import dataset_of, make_small_run

ROOT = Path(__file__).resolve().parents[3]


def test_export_writes_exactly_what_was_decided(tmp_path, log, capsys):
    run = make_small_run(tmp_path / "runs" / "small", n=40, pictures=True)
    first, second = run.samples.index[:2]
    other = next(name for name in run.classes if name != run.samples.loc[first, "label"])
    votes = [Vote(first, 0, run.samples.loc[first, "label"], label_after=other)]
    log.record(event_id="a", run=run.id, action="relabel", votes=votes, reviewer="ada")
    votes = [Vote(second, 0, run.samples.loc[second, "label"])]
    log.record(event_id="b", run=run.id, action="remove", votes=votes, reviewer="ada")

    assert cli.main(["export", str(run.path), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "decisions.csv",
        "images.zip",
        "label_issues.csv",
        "labels.csv",
        "labels.parquet",
        "log.csv",
    ]
    assert len((tmp_path / "out" / "decisions.csv").read_text().splitlines()) == 1 + 2
    assert len((tmp_path / "out" / "labels.csv").read_text().splitlines()) == 1 + 39
    assert "39" in said
    assert "10 validation samples and 10 test samples were not checked" in said


def test_export_opens_the_dataset_as_the_analysis_did(tmp_path, capsys):
    """A picture that the run was told to leave out must not stop its export."""
    run = make_small_run(tmp_path / "runs" / "small", n=40, pictures=True, options={"skip_unreadable": True})
    damaged = dataset_of(run.path) / "train" / run.classes[0] / "zzz.png"
    damaged.write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    assert cli.main(["export", str(run.path), "--out", str(tmp_path / "out")]) == 0, capsys.readouterr().err
    assert (tmp_path / "out" / "images.zip").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["analyze", "nowhere", "--out", "{tmp}/run"], "nowhere"),
        (["analyze", "{sample}", "--model", "{tmp}/model.onnx", "--out", "{tmp}/run"], "ONNX"),
        (["analyze", "{sample}", "--objectives", "beauty", "--out", "{tmp}/run"], "'beauty' is not known"),
        (["analyze", "{empty}", "--model", "{sample}/model.safetensors", "--out", "{tmp}/run"], "empty"),
        (["export", "{tmp}", "--out", "{tmp}/out"], "no run.json"),
        (["check", "{sample}", "nowhere"], "nowhere"),
        (["check", "{tmp}/model.onnx", "{sample}"], "ONNX"),
        (["check", "{sample}", "{sample}", "--classes", "a, b"], "trained for 10 classes"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_1(arguments, says, tmp_path, capsys):
    (tmp_path / "model.onnx").write_bytes(b"\x08\x07\x12\x07pytorch")
    (tmp_path / "empty").mkdir()
    places = {"tmp": tmp_path, "sample": ROOT / "sample_data" / "fashion", "empty": tmp_path / "empty"}
    assert cli.main([part.format(**places) for part in arguments]) == 1
    said = capsys.readouterr().err
    assert says in said and "Traceback" not in said
    assert not (tmp_path / "run" / "run.json").exists(), "inputs that were refused leave no run behind"


def test_analyze_writes_a_run_the_app_can_list(tmp_path, capsys):
    """On a dataset folder with its model inside, as the README says."""
    data = str(fewer_pictures(tmp_path / "data"))
    assert cli.main(["analyze", data, "--out", str(tmp_path / "runs" / "a")]) == 0
    said = capsys.readouterr()
    assert "training labels are in doubt" in said.out and "Scoring every training sample" in said.err
    (found,) = list_runs(tmp_path / "runs")
    assert (found.name, found.state, found.n) == ("a", "finished", 1600)
    assert read_progress(tmp_path / "runs" / "a")["fraction"] == 1.0
    assert cli.main(["analyze", data, "--out", str(tmp_path / "runs" / "a")]) == 1, "never overwrite"


def test_check_says_what_an_analysis_would_do_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample = str(ROOT / "sample_data" / "fashion")
    assert cli.main(["check", sample, sample]) == 0
    told = capsys.readouterr().out
    for part in (
        "4,000 training",
        "All 13 layers are exact by closed form",
        "Time",
        "Memory",
        "network.head",
    ):
        assert part in told, part
    assert not list(tmp_path.iterdir())


def test_check_tells_another_process_in_json_also_why_not(capsys):
    sample = str(ROOT / "sample_data" / "fashion")
    assert cli.main(["check", "--json", "--batch-size", "32", "--", sample, sample]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["preflight"]["batch_size"] == 32 and found["preflight"]["ways"] == {"exact": 13}
    assert found["seconds_analysis"] > found["seconds_sweeps"] > 0
    assert cli.main(["check", "--json", sample, "nowhere"]) == 1
    assert "nowhere" in json.loads(capsys.readouterr().out)["refused"]
