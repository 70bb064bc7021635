"""What lies beside weights, what is missing, and what is wrong with a model: said before a run, with the next step."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import influence_core as ic
from influence_core.cli import main as cli
from influence_core.engine.plausibility import doubts
from influence_core.engine.preflight import preflight
from influence_core.errors import ModelError
from influence_core.models import OpenedModel, Preprocessing, open_model, save_model
from influence_core.models.opened import check_fits
from influence_core.training.recipe import Recipe
from influence_core.training.train import train
from tests.making.clouds import fresh
from tests.making.maps import NoMap
from tests.making.pictures import write_split_folder
from tests.making.refusals import assert_refused
from tests.making.untrained import bright_and_dark, untrained

RECIPE = Recipe(epochs=4, batch_size=32, learning_rate=1e-2, weight_decay=1e-2)


def clouds(folder: Path, classes: int = 3) -> Path:
    """Overlapping clouds in six features, as an .npz."""
    generator, parts = np.random.default_rng(0), {}
    for split, size in (("train", 120), ("val", 60)):
        labels = np.arange(size) % classes
        inputs = generator.normal(0, 1, (size, 6)).astype(np.float32)
        inputs[np.arange(size), labels] += 4
        parts |= {f"x_{split}": inputs, f"y_{split}": labels}
    np.savez(folder / "clouds.npz", **parts)
    return folder / "clouds.npz"


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A model of four classes, of whose data only three are left, and those data."""
    folder = tmp_path_factory.mktemp("clouds")
    dataset = ic.open_dataset(clouds(folder))
    model = fresh(("0", "1", "c", "2"))
    train(model, dataset.with_classes(model.classes).train, RECIPE)
    save_model(model, folder / "model.safetensors")
    return folder, open_model(folder / "model.safetensors"), dataset


# --- config.json ------------------------------------------------------------------------------------------

TIMM = {
    "architecture": "small_cnn",
    "num_classes": 2,
    "label_names": ["dark", "bright"],
    "pretrained_cfg": {"mean": [0.3], "std": [0.2], "input_size": [1, 8, 8], "crop_pct": 0.875},
}
BY_NAME = {"label2id": {"bright": "1", "dark": "0"}, "model_type": "resnet"}
FACE = {
    "architectures": ["ResNetForImageClassification"],
    "id2label": {"0": "dark", "1": "bright"},
    "num_channels": 1,
}
PROCESSOR = {"image_mean": [0.3], "image_std": [0.2], "size": {"height": 8, "width": 8}, "do_resize": True}


def bare(folder: Path, **beside: object) -> Path:
    """The weights of a small network, with these files beside them instead of model.json."""
    save_model(untrained(), folder / "model.safetensors")
    (folder / "model.json").unlink()
    for name, content in beside.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    "beside",
    [
        {"config": TIMM},
        {"config": FACE, "preprocessor_config": PROCESSOR},
        {"config": BY_NAME, "preprocessor_config": PROCESSOR},
    ],
)
def test_config_json_tells_the_class_order_mean_std_and_size(tmp_path, beside):
    model = open_model(bare(tmp_path, **beside), architecture="small_cnn")
    assert model.classes == ("dark", "bright")
    assert model.preprocessing == Preprocessing(1, (8, 8), (0.3,), (0.2,))
    said = " ".join(model.notes)
    assert "dark, bright" in said and "0.3" in said, "what was taken is not said"
    assert ("cropped" in said) == ("pretrained_cfg" in beside["config"])


def test_the_data_are_read_in_the_order_of_config_json(tmp_path):
    from influence_core.inputs.pair import open_pair

    data = write_split_folder(tmp_path / "data")
    model, dataset = open_pair(bare(tmp_path, config=TIMM), data)
    assert dataset.classes == model.classes == ("dark", "bright") != ic.open_dataset(data).classes


def test_what_contradicts_is_said_or_refused(tmp_path):
    bare(tmp_path, config=TIMM)
    options = {"architecture": "small_cnn", "classes": ["bright", "dark"]}
    assert any(
        "bright, dark" in note and "dark, bright" in note for note in open_model(tmp_path, **options).notes
    )
    save_model(untrained(), tmp_path / "model.safetensors")
    model = open_model(tmp_path)
    assert model.classes == ("bright", "dark"), "model.json is the nearer word"
    assert any("model.json was followed" in note for note in model.notes)
    other = ic.open_dataset(write_split_folder(tmp_path / "data")).with_classes(("dark", "bright"))
    with assert_refused(ModelError, "another order"):
        check_fits(model, other)
    (tmp_path / "config.json").write_text(json.dumps(TIMM | {"num_classes": 3}))
    assert any("num_classes 3 and names 2" in note for note in open_model(tmp_path).notes)
    (tmp_path / "model.json").unlink()
    with assert_refused(ModelError, "num_classes 3 and names 2"):
        open_model(tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}},
        {"server": {"port": 80}, "mean": 1},
        {"num_classes": 2, "pretrained_cfg": {"mean": [0.3]}},
    ],
)
def test_a_config_json_that_says_nothing_is_passed_over(tmp_path, config):
    with assert_refused(ModelError, "class order and preprocessing are not known"):
        open_model(bare(tmp_path, config=config), architecture="small_cnn")


HOSTILE = [
    {"id2label": {"0": "a", "7": "b"}},
    {"id2label": {"zero": "a"}},
    {"label_names": [1, 2]},
    {"label_names": ["a", "a"]},
    {"pretrained_cfg": {"mean": ["x"], "std": [1], "input_size": [3, 8, 8]}},
    {"pretrained_cfg": {"mean": [1e400], "std": [1], "input_size": [1, 8, 8]}},
    {"pretrained_cfg": {"mean": [0.5], "std": [0.5], "input_size": [1, 1e9, 1e9]}},
    {"pretrained_cfg": {"mean": [0.5], "std": [0.5], "input_size": [1]}},
    {"num_classes": 2, "mean": [0], "std": [1], "image_size": {"a": 1}},
]


@pytest.mark.parametrize("config", HOSTILE)
def test_a_hostile_config_json_is_refused_in_words(tmp_path, config):
    with pytest.raises(ModelError):
        open_model(bare(tmp_path, config={"num_classes": 2} | config), architecture="small_cnn")


# --- model.json of a stranger -----------------------------------------------------------------------------


def stated(architecture: str = "mlp", **how: object) -> str:
    how = {"channels": 1, "size": [8, 8], "mean": [0.5], "std": [0.5]} | how
    return json.dumps({"architecture": architecture, "classes": ["a", "b"], "preprocessing": how})


STRANGE = {
    "infinite channels": stated(channels=1e400),
    "size of a billion": stated(size=[10**9, 10**9]),
    "mlp of 30,000 a side": stated(size=[4_000, 4_000], channels=10**6),
    "vit of 14,000 a side": stated("vit_h_14", size=[14_000, 14_000], channels=3),
    "vit of 4,004 a side": stated("vit_h_14", size=[4_004, 4_004], channels=3),
    "words": stated(channels="three"),
    "size as a word": stated(size="28"),
    "three sides": stated(size=[8, 8, 3]),
    "half a channel": stated(channels=1.5),
    "mean as a word": stated(mean="5"),
    "nested": '{"preprocessing": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "half a character": '{"classes": ["\\\\ud800", "b"]}'.replace("\\\\\\\\", "\\\\"),
    "a table of lists": stated(table={"columns": [[]]}),
    "nothing": "null",
}


@pytest.mark.parametrize("how", STRANGE)
def test_a_strange_model_json_is_refused_in_words_before_anything_is_allocated(tmp_path, how):
    bare(tmp_path)
    (tmp_path / "model.json").write_text(STRANGE[how])
    began = time.process_time()
    with pytest.raises(ModelError) as caught:
        open_model(tmp_path)
    assert time.process_time() - began < 10 and str(tmp_path) not in str(caught.value)


def test_the_command_refuses_the_largest_of_them_in_a_gigabyte(tmp_path):
    """The limit is set for the process: what is allocated first and refused later ends with a traceback."""
    bare(tmp_path)
    (tmp_path / "model.json").write_text(STRANGE["mlp of 30,000 a side"])
    script = (
        "import resource, sys; from influence_core.cli.main import main; import torch, torchvision; "
        "used = int(open('/proc/self/statm').read().split()[0]) * 4096; "
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**30,) * 2); sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "check", str(tmp_path), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "hidden1" in done.stderr or "stage1" in done.stderr


# --- a class without samples ------------------------------------------------------------------------------


def test_a_class_that_was_cleaned_away_keeps_its_output_through_the_whole_analysis(tmp_path, taught):
    folder, model, _ = taught
    from influence_core.inputs.pair import open_pair

    model, dataset = open_pair(folder / "model.safetensors", folder / "clouds.npz")
    assert dataset.classes == ("0", "1", "c", "2") and "No sample has the class c" in dataset.notes[-1]
    run = ic.analyze(
        model,
        dataset.train,
        dataset.val,
        objectives=["utility", "utility:class:2", "utility:class:c"],
        source=dataset,
        out=tmp_path / "runs" / "a",
        drawing=NoMap(),
    )
    assert run.description["results"]["flagged"] <= 12, "an empty class made the others suspicious"
    numbers = run.samples.select_dtypes("number")
    assert numbers.drop(columns=[c for c in numbers if "group" in c]).notna().all().all(), "NaN in a column"
    from influence_core.inputs.reopened import reopen

    assert reopen(run).train.classes == model.classes


def test_the_classes_may_be_named_for_a_model_with_more_outputs(taught):
    folder, model, dataset = taught
    with assert_refused(ModelError, "lacks ['c']", "open_dataset(path, classes=model.classes)"):
        check_fits(model, dataset)
    check_fits(model, ic.open_dataset(folder / "clouds.npz", classes=model.classes))


# --- outputs ----------------------------------------------------------------------------------------------


class Ending(nn.Module):
    """A model with something after its logits."""

    def __init__(self, model: nn.Module, end) -> None:
        super().__init__()
        self.model, self.end = model, end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(self.model(x))


def test_probabilities_are_refused_with_the_line_and_log_softmax_is_not(tmp_path, taught):
    _, model, dataset = taught
    ordered = dataset.with_classes(model.classes)
    soft = Ending(model, lambda z: z.softmax(1))
    for look in (
        lambda: ic.analyze(soft, ordered.train, ordered.val, out=tmp_path / "a", drawing=NoMap()),
        lambda: preflight(soft, ordered.train),
    ):
        with assert_refused(ModelError, "returns probabilities", "clamp_min(1e-30).log()"):
            look()
    assert not (tmp_path / "a" / "run.json").exists()
    assert doubts(Ending(model, lambda z: z.log_softmax(1)), ordered.val) == ()
    logarithm = Ending(soft, lambda p: p.clamp_min(1e-30).log())
    assert doubts(logarithm, ordered.val) == ()
    (note,) = doubts(Ending(model, torch.sigmoid), ordered.val)
    assert "between 0 and 1" in note


def test_worse_than_chance_is_said_with_the_order_that_would_be_right(taught):
    _, model, dataset = taught
    ordered = dataset.with_classes(model.classes)
    assert doubts(model, ordered.val) == ()
    (note,) = doubts(Ending(model, lambda z: z[:, [3, 0, 2, 1]]), ordered.val)
    assert "worse than guessing among 4 classes" in note and "order 2, 0, c, 1" in note


def test_an_untrained_model_is_said_to_guess_in_the_check_and_in_the_run(tmp_path):
    samples = bright_and_dark(60)
    run = ic.analyze(untrained(), samples, samples, out=tmp_path / "a", drawing=NoMap())
    assert any("not better than guessing" in note for note in run.description["notes"])
    assert any("not better than guessing" in note for note in preflight(untrained(), samples).doubts)


def test_the_check_doubts_the_model_on_samples_that_it_did_not_learn(tmp_path, capsys):
    """A model that knows its training labels by heart, while those of validation are other ones."""
    data = dict(np.load(clouds(tmp_path)))
    data["y_val"] = (data["y_val"] + 1) % 3
    np.savez(tmp_path / "clouds.npz", **data)
    model = fresh(("0", "1", "2"))
    train(model, ic.open_dataset(tmp_path / "clouds.npz").train, RECIPE)
    save_model(model, tmp_path / "model.safetensors")
    assert cli.main(["check", str(tmp_path), str(tmp_path / "clouds.npz")]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "of 60 samples, worse than guessing" in said and "order 1, 2, 0" in said


def test_a_network_that_is_none_of_ours_is_sent_to_python(tmp_path):
    torch.save(nn.Sequential(nn.Linear(4, 3)).state_dict(), tmp_path / "model.pt")
    with assert_refused(ModelError, "influence_core.analyze(network, train, val)"):
        open_model(tmp_path)


# --- the command ------------------------------------------------------------------------------------------


def test_check_names_the_command_that_says_what_weights_do_not(tmp_path, capsys):
    """The command it prints is run as it stands, and its model.json is enough from then on."""
    import shlex

    data = write_split_folder(tmp_path / "data", per_class=12)
    weights = str(bare(tmp_path) / "model.safetensors")
    assert cli.main(["check", weights, str(data)]) == 1
    said = capsys.readouterr().err
    assert "look like small_cnn" in said and "--write" in said
    line = shlex.split(said.strip().splitlines()[-1])
    assert cli.main(line[1:]) == 0, capsys.readouterr().err
    assert "not better than guessing" in capsys.readouterr().out
    written = json.loads((tmp_path / "model.json").read_text())
    assert written["classes"] == ["bright", "dark"] and written["preprocessing"]["size"] == [8, 8]
    assert cli.main(["check", weights, str(data)]) == 0


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--preprocessing", "{", "not valid JSON"),
        ("--preprocessing", '{"channels": 1}', "--preprocessing: preprocessing is"),
        ("--classes", "[1]", "expected names"),
    ],
)
def test_options_that_cannot_be_read_are_answered_in_words(tmp_path, capsys, option, value, words):
    assert cli.main(["check", str(bare(tmp_path)), str(tmp_path), option, value]) == 1
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said


def test_analyze_without_weights_trains_a_small_model(tmp_path, capsys, monkeypatch):
    from influence_core.scores import gradient_map
    from influence_core.training import first_model

    monkeypatch.setattr(first_model, "STEPS", 10)
    monkeypatch.setattr(gradient_map, "MapProcess", lambda seed: NoMap())
    data = clouds(tmp_path)
    assert cli.main(["analyze", str(data), "--out", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    assert "a small one is trained" in capsys.readouterr().err
    assert isinstance(open_model(tmp_path / "run" / "model"), OpenedModel)
    run = ic.open_run(tmp_path / "run")
    assert run.description["inputs"]["model"]["path"], "the run could not be opened again"
    assert cli.main(["analyze", str(data), "--architecture", "mlp", "--out", str(tmp_path / "b")]) == 1
    assert "--model FILE" in capsys.readouterr().err


def test_a_small_model_of_other_samples_is_never_taken_for_this_one(tmp_path, monkeypatch):
    """A run that ended after its training; then the labels change, or somebody's model lies in that folder."""
    from influence_core.training import first_model

    monkeypatch.setattr(first_model, "STEPS", 10)
    path, folder, stages = clouds(tmp_path), tmp_path / "run" / "model", []

    def trained():
        stages.clear()
        return first_model.trained_model(
            ic.open_dataset(path), {"epochs": 1}, folder, lambda *at: stages.append(at)
        )

    first = trained().fingerprint
    assert len(stages) > 1 and trained().fingerprint == first and len(stages) == 1, (
        "trained again for nothing"
    )
    data = dict(np.load(path))
    data["y_train"] = data["y_train"][::-1]
    np.savez(path, **data)
    assert trained().fingerprint != first, "the model of the old labels was used"
    (folder / first_model.ORIGIN).unlink()
    with assert_refused(ModelError, "not trained for this run", f"--model {folder}"):
        trained()


def test_an_unknown_objective_is_refused_before_a_model_is_trained(tmp_path, capsys):
    words = ["analyze", str(clouds(tmp_path)), "--out", str(tmp_path / "run"), "--objectives", "nonsense"]
    assert cli.main(words) == 1 and "'nonsense' is not known" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
