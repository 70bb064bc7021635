"""Before anything runs: what is in the files, whether the model reads them, and a model for who has none."""

import json
import subprocess

import numpy as np
import pytest
import torch

from influence_core.data import open_dataset
from influence_core.errors import DataError, ModelError
from influence_core.intake import inspection
from influence_core.intake.preview import chosen, doubtful_order, preview
from influence_core.intake.trial import trial
from influence_core.models import OpenedModel, Preprocessing, open_model, save_model
from influence_core.training.first_model import recipe_for, small_network, trained_model
from influence_core.training.train import Recipe, accuracy, train
from tests.making.pictures import write_folder, write_split_folder


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    return write_split_folder(tmp_path_factory.mktemp("toys") / "data", per_class=20)


@pytest.fixture(scope="module")
def good(toys, tmp_path_factory):
    """A model that tells bright from dark: its weights and model.json."""
    dataset = open_dataset(toys)
    how = Preprocessing(channels=1, size=(8, 8), mean=(0.4,), std=(0.1,))
    torch.manual_seed(0)
    model = OpenedModel(
        small_network(dataset).network, classes=dataset.classes, preprocessing=how, architecture="small_cnn"
    )
    train(model, dataset.train, Recipe(epochs=12, batch_size=8))
    folder = tmp_path_factory.mktemp("model")
    save_model(model.eval(), folder / "model.safetensors")
    assert accuracy(model, dataset.val) == 1
    return folder


def test_a_preview_says_what_is_there(toys, tmp_path):
    found = json.loads(json.dumps(preview(toys, tmp_path / "p")))
    assert found["counts"] == {"train": [20, 20], "val": [20, 20], "test": [20, 20]}
    assert (found["kind"], found["size"], found["channels"], found["sizes"]) == ("image", [8, 8], 1, 1)
    assert len(found["samples"]) == 24 and {s["label"] for s in found["samples"]} == {"bright", "dark"}
    raw = (tmp_path / "p").read_bytes()
    last = found["samples"][-1]
    assert last["offset"] + np.prod(last["shape"]) == len(raw), "pixels and their places belong together"
    assert "Only 40 validation samples" in found["problems"][0]


def test_problems_are_found_before_anything_runs(tmp_path):
    root = write_split_folder(tmp_path / "toys")
    twin = (root / "train/dark/0.png").read_bytes()
    (root / "val/dark/twin.png").write_bytes(twin)
    (root / "train/bright/torn.png").write_bytes(twin)
    write_folder(root, {"rare": 2}, split="train", start=500)
    (root / "train/dark/broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    found = preview(root, tmp_path / "p")
    said = " ".join(found["problems"])
    for words in (
        "1 of 3 classes has fewer than 5",
        "rare (2)",
        "more than one split",
        "two different labels",
    ):
        assert words in said, said
    assert "broken.png" in found["skipped"][0] and "0x" not in found["skipped"][0]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is empty"):
        preview(tmp_path / "empty", tmp_path / "p")


def test_the_label_column_is_asked_for_where_more_than_one_could_be_meant(tmp_path):
    """`label` alone is the documented name; anything else is a question, likely columns first, none taken."""
    rows = "".join(f"{row % 3},{'ab'[row % 2]},{row * 1.5},{row}\n" for row in range(60))
    asked = {}
    for heads in ("kind,label,x,id", "target,label,x,id", "kind,target,x,id", "grade,kind,x,id"):
        (tmp_path / "t.csv").write_text(heads + "\n" + rows)
        asked[heads] = preview(tmp_path / "t.csv", tmp_path / "p").get("columns")
    assert asked.pop("kind,label,x,id") is None
    assert [column["name"] for column in asked["target,label,x,id"]] == ["target", "label", "x"]
    assert [column["name"] for column in asked["kind,target,x,id"] if column["likely"]] == ["target"]
    assert asked["grade,kind,x,id"][0]["common"][0] == ("0", 20)
    found = preview(tmp_path / "t.csv", tmp_path / "p", label="kind")
    assert found["classes"] == ["a", "b"] and found["features"] == 2
    assert [column["name"] for column in found["table"]["columns"]] == ["grade", "x"]


def test_one_is_not_spoken_of_as_several(tmp_path):
    root = write_split_folder(tmp_path / "toys")
    (root / "train/dark/broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    (root / "val/dark/twin.png").write_bytes((root / "train/dark/0.png").read_bytes())
    (root / "odd.xyz").write_text("x")
    said = json.dumps(preview(root, tmp_path / "p"))
    for words in (
        "Left out 1 sample that",
        "1 sample stands in more than one split",
        "Ignored 1 file that is no picture",
    ):
        assert words in said, said


def test_samples_of_all_classes_are_shown_and_doubtful_orders_named():
    labels = np.repeat([0, 1, 2], [100, 3, 1])
    assert [labels[row] for row in chosen(labels, 6)] == [0, 1, 2, 0, 1, 0]
    assert doubtful_order(["0", "1", "10", "2"]) and not doubtful_order(["0", "1", "2"])
    assert not doubtful_order(["cat", "10"])


def test_a_model_that_fits_is_said_to_and_nobody_waits_for_more(good, toys, monkeypatch):
    """At 100 % no other preprocessing can gain a tenth, so none is tried."""
    monkeypatch.setattr("influence_core.intake.trial.preprocessings", lambda *_: pytest.fail("tried in vain"))
    found = trial(good, toys)
    assert found["accuracy"] == 1 and not found["at_chance"] and found["alternatives"] == []
    assert found["chance"] == 0.5


def test_a_wrong_class_order_is_found(good, toys):
    (good / "model.json").write_text((good / "model.json").read_text().replace("bright", "*").replace("dark", "bright")
                                     .replace("*", "dark"))  # fmt: skip
    found = trial(good, toys)
    (good / "model.json").write_text((good / "model.json").read_text().replace("bright", "*").replace("dark", "bright")
                                     .replace("*", "dark"))  # fmt: skip
    assert found["accuracy"] == 0 and found["at_chance"]
    best = found["alternatives"][0]
    assert best["accuracy"] == 1 and tuple(best["classes"]) == ("bright", "dark")


def test_a_wrong_scale_is_found(good, toys, tmp_path):
    """Trained on 0 to 255, opened as 0 to 1."""
    dataset = open_dataset(toys)
    how = Preprocessing(1, (8, 8), (0.0,), (1 / 255,))
    torch.manual_seed(0)
    model = OpenedModel(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)), classes=dataset.classes,
                        preprocessing=how, architecture="logistic")  # fmt: skip
    from influence_core.models import build_network

    model = OpenedModel(build_network("logistic", classes=2, channels=1, size=(8, 8)), classes=dataset.classes,
                        preprocessing=how, architecture="logistic")  # fmt: skip
    with torch.no_grad():
        model.network.head.weight[0], model.network.head.weight[1] = 1.0, -1.0
        model.network.head.bias[0], model.network.head.bias[1] = -8000.0, 8000.0
    save_model(model, tmp_path / "model.safetensors")
    assert trial(tmp_path, toys)["accuracy"] == 1
    text = json.loads((tmp_path / "model.json").read_text())
    text["preprocessing"]["std"] = [1.0]
    (tmp_path / "model.json").write_text(json.dumps(text))
    found = trial(tmp_path, toys)
    assert found["at_chance"]
    assert found["alternatives"][0]["words"] == "Pixels from 0 to 255"
    assert found["alternatives"][0]["accuracy"] == 1


def test_a_person_with_only_images_gets_a_model_that_learned_them(toys, tmp_path):
    dataset, seen = open_dataset(toys), []
    model = trained_model(dataset, {"epochs": 8}, tmp_path / "model", lambda *report: seen.append(report))
    assert accuracy(model, dataset.val) > 0.9 and seen[-1][0] == "train"
    again = trained_model(dataset, {"epochs": 8}, tmp_path / "model", lambda *report: None)
    assert again.fingerprint == open_model(tmp_path / "model").fingerprint == model.fingerprint, (
        "a resumed job must not train another model"
    )
    assert recipe_for(100_000, {}).epochs == 5 and recipe_for(500, {}).epochs == 40
    with pytest.raises(ModelError):
        recipe_for(10, {"epochs": 0})


def test_questions_are_answered_by_a_process_of_their_own(good, toys, tmp_path):
    """One line of JSON, also for a refusal; the weights arrive as safetensors with a guess."""
    asked = {
        "weights": str(good / "model.safetensors"),
        "target": str(tmp_path / "kept" / "model.safetensors"),
    }
    done = subprocess.run(inspection.command("weights", asked), capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert found["guesses"][0]["architecture"] == found["architecture"] == "small_cnn"
    assert open_model(tmp_path / "kept", architecture="small_cnn", classes=("a", "b"),
                      preprocessing=Preprocessing(1, (8, 8), (0.4,), (0.1,))).classes == ("a", "b")  # fmt: skip
    refused = subprocess.run(
        inspection.command("preview", {"dataset": str(tmp_path / "nothing"), "pixels": str(tmp_path / "p")}),
        capture_output=True,
        text=True,
    )
    assert "There is nothing at" in json.loads(refused.stdout)["refused"] and refused.returncode == 1
