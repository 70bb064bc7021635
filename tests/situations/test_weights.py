"""Weights as people save them: the right tensors reach the right network, or a sentence says what is to be chosen."""

import json

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn.utils import prune

from influence_core.errors import ModelError, SeveralSetsError, UnknownModelError
from influence_core.models import Preprocessing, build_network, open_model
from influence_core.models.guess import guess_architecture
from influence_core.models.weight_files.sets import chosen
from influence_core.models.weight_files.unpickle import joined, tables_in
from influence_core.models.weight_files.weights import by_set
from tests.making.refusals import assert_refused

CLASSES = ("a", "b", "c", "d")
PICTURES = Preprocessing(channels=3, size=(8, 8), mean=(0.5,), std=(0.5,))
KNOWN = {"architecture": "mlp", "classes": CLASSES, "preprocessing": PICTURES}


def network(architecture: str = "mlp", classes: int = 4, seed: int = 0, channels: int = 3) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_network(architecture, classes=classes, channels=channels, size=(8, 8)).eval()


def saved(path, tensors):
    """Write safetensors, whose tensors must not share memory."""
    safetensors.torch.save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, path)
    return path


def from_checkpoint(path, content, key: str | None = None):
    """A checkpoint read as the child reads it, without a second of starting one; written as safetensors."""
    tables, problem = tables_in(content)
    assert problem is None, problem
    return saved(path, chosen(by_set(joined(tables), list(tables)), key, "checkpoint.pth").tensors)


def assert_same(model, wanted: nn.Module) -> None:
    x = torch.rand(3, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(model(x), wanted((x - 0.5) / 0.5)), "other numbers than those that were saved"


RAW, AVERAGED = network(seed=0), network(seed=1)
STATE = RAW.state_dict()
LINEAR_STATE = {"weight": torch.ones(4), "tp": torch.zeros(4, dtype=torch.long)}


# --- two sets ---------------------------------------------------------------------------------------------


def test_raw_and_averaged_weights_are_a_question_and_the_key_is_the_answer(tmp_path):
    averaged = {f"module.{name}": tensor for name, tensor in AVERAGED.state_dict().items()}
    torch.save({"model": STATE, "model_ema": averaged, "epoch": 3}, tmp_path / "both.pth")
    with assert_refused(SeveralSetsError, "model (6 tensors)", "model_ema", "--weights-key") as caught:
        open_model(tmp_path / "both.pth", **KNOWN)
    assert caught.value.keys == ("model", "model_ema")
    model = open_model(tmp_path / "both.pth", weights_key="model_ema", **KNOWN)
    assert_same(model, AVERAGED)
    assert model.weights_key == "model_ema" and "left out: model" in model.notes[0]


@pytest.mark.parametrize("names", [("model.", "model_ema."), ("", "ema."), ("student.", "teacher.")])
def test_two_networks_in_one_table_are_a_question(tmp_path, names):
    one, other = (
        {f"{prefix}{name}": tensor for name, tensor in net.state_dict().items()}
        for prefix, net in zip(names, (RAW, AVERAGED), strict=True)
    )
    path = saved(tmp_path / "both.safetensors", one | other)
    with pytest.raises(SeveralSetsError) as caught:
        open_model(path, **KNOWN)
    keys = tuple(prefix.rstrip(".") or "plain" for prefix in names)
    assert caught.value.keys == keys, "averaged ones come last: they are the example in the sentence"
    for key, wanted in zip(keys, (RAW, AVERAGED), strict=True):
        assert_same(open_model(path, weights_key=key, **KNOWN), wanted)
    with assert_refused(ModelError, "no weights under 'best'", *keys):
        open_model(path, weights_key="best", **KNOWN)


@pytest.mark.parametrize(
    "keys", [("state_dict", "state_dict_ema"), ("state_dict", "callbacks.EMA.ema_weights")]
)
def test_sets_are_found_at_any_depth(tmp_path, keys):
    content: dict = {"epoch": 1, "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(4, 4)}}}]}
    for key, net in zip(keys, (RAW, AVERAGED), strict=True):
        *path, last = key.split(".")
        place = content
        for part in path:
            place = place.setdefault(part, {})
        place[last] = net.state_dict()
    with pytest.raises(SeveralSetsError) as caught:
        from_checkpoint(tmp_path / "m.safetensors", content)
    assert caught.value.keys == keys
    assert_same(open_model(from_checkpoint(tmp_path / "m.safetensors", content, keys[1]), **KNOWN), AVERAGED)


def test_the_same_weights_twice_are_no_question(tmp_path):
    content = {"model": STATE, "model_ema": {f"module.{name}": tensor for name, tensor in STATE.items()}}
    assert_same(open_model(from_checkpoint(tmp_path / "m.safetensors", content), **KNOWN), RAW)


def test_averages_without_names_are_left_out_and_said(tmp_path):
    shadow = [tensor.clone() for tensor in AVERAGED.state_dict().values()]
    tables, _ = tables_in({"model": STATE, "ema": {"decay": 0.99, "shadow_params": shadow}})
    weights = chosen(by_set(joined(tables), list(tables)), None, "checkpoint.pth")
    assert "without names under ema.shadow_params" in weights.notes[0]
    assert_same(open_model(saved(tmp_path / "m.safetensors", weights.tensors), **KNOWN), RAW)


# --- wrappers and spellings -------------------------------------------------------------------------------

WRAPPED = {
    "net": {"net": STATE, "acc": 91.2, "epoch": 7},
    "network": {"network": STATE, "scheduler": None},
    "state_dict": {"state_dict": STATE, "best_acc1": torch.tensor(0.9), "arch": "mlp"},
    "model": {
        "model": STATE,
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3, 3)}}, "param_groups": [{}]},
    },
    "class weights": {"model": STATE, "class_weights": torch.ones(4)},
    "named optimizer": {
        "model": STATE,
        "optim": {"state": {"hidden1.weight": {"exp_avg": torch.ones(3, 3)}}},
    },
    "loss": {"model": STATE, "criterion": {"centers": torch.ones(4, 4)}},
    "twice": {"checkpoint": {"model": {f"module.{name}": tensor for name, tensor in STATE.items()}}},
    "compiled": {"state_dict": {f"_orig_mod.module.{name}": tensor for name, tensor in STATE.items()}},
    "any word": {"state_dict": {f"backbone.{name}": tensor for name, tensor in STATE.items()}},
    "numbers inside": {**STATE, "epoch": 3, "best": None},
    "lightning": {
        "epoch": 7,
        "state_dict": {f"model.{name}": tensor for name, tensor in STATE.items()}
        | {f"criterion.{name}": tensor for name, tensor in LINEAR_STATE.items()}
        | {"val_acc.tp": torch.zeros(4, dtype=torch.long), "train_loss.value": torch.zeros(1)},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3, 3)}}}],
        "callbacks": {"ModelCheckpoint{'monitor': 'val'}": {"best_model_score": torch.tensor(0.9)}},
    },
    "averaged model": {"n_averaged": torch.tensor(5)}
    | {f"module.{name}": tensor for name, tensor in STATE.items()},
}


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_usual_wrappers_are_opened(tmp_path, wrapper):
    path = from_checkpoint(tmp_path / "m.safetensors", WRAPPED[wrapper])
    (best, *_) = guess_architecture({n: tuple(t.shape) for n, t in safetensors.torch.load_file(path).items()})
    assert (best.architecture, best.share) == ("mlp", 1.0), "guessed worse than it can be opened"
    assert_same(open_model(path, **KNOWN), RAW)


def test_a_file_called_pth_tar_is_opened_and_what_was_left_out_is_said(tmp_path):
    torch.save(WRAPPED["lightning"], tmp_path / "model.pth.tar")
    model = open_model(tmp_path / "model.pth.tar", **KNOWN)
    assert_same(model, RAW)
    assert "val_acc.tp" in model.notes[0] and "criterion.weight" in model.notes[0]


def test_what_is_left_over_and_may_matter_is_refused(tmp_path):
    for odd in ({"temperature": torch.ones(1)}, {"embedding.weight": torch.ones(3, 3)}):
        with assert_refused(ModelError, "left over", *odd):
            open_model(saved(tmp_path / "m.safetensors", STATE | odd), **KNOWN)


def test_pruning_masks_are_applied(tmp_path):
    net = network()
    prune.l1_unstructured(net.get_submodule("hidden2"), "weight", 0.5)
    model = open_model(saved(tmp_path / "m.safetensors", net.state_dict()), **KNOWN)
    assert_same(model, net)
    assert "1 tensors of m.safetensors were pruned" in model.notes[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [("fc.", "fc.1."), ("fc.", "linear."), ("downsample", "shortcut"), ("fc.", "classifier.")],
)
def test_other_words_for_the_same_layer_are_understood(tmp_path, old, new):
    net = network("resnet18")
    path = saved(tmp_path / "m.safetensors", {n.replace(old, new): t for n, t in net.state_dict().items()})
    model = open_model(path, **KNOWN | {"architecture": "resnet18"})
    assert_same(model, net)
    assert "other names in the file" in model.notes[0]


def test_two_layers_are_never_read_as_one(tmp_path):
    head = {"head.0.weight": STATE["head.weight"], "head.0.bias": STATE["head.bias"]}
    head |= {name.replace(".0.", ".2."): tensor for name, tensor in head.items()}
    rest = {name: tensor for name, tensor in STATE.items() if not name.startswith("head")}
    with assert_refused(ModelError, "head.weight", "left over"):
        open_model(saved(tmp_path / "m.safetensors", rest | head), **KNOWN)


def test_a_small_stem_is_guessed_and_max_pooling_is_asked_for(tmp_path):
    net = network("resnet18_3x3")
    path = saved(tmp_path / "m.safetensors", net.state_dict())
    with assert_refused(UnknownModelError, "resnet18_3x3 or resnet18_3x3_pool (102 of 102", "only you know"):
        open_model(path)
    assert_same(open_model(path, **KNOWN | {"architecture": "resnet18_3x3"}), net)
    pooled = open_model(path, **KNOWN | {"architecture": "resnet18_3x3_pool"})
    x = torch.rand(2, 3, 8, 8)
    assert not torch.allclose(pooled(x), net((x - 0.5) / 0.5)), "max pooling has no effect"
    with assert_refused(ModelError, "file (64, 3, 3, 3)", "look like resnet18_3x3 or"):
        open_model(path, **KNOWN | {"architecture": "resnet18"})


@pytest.mark.parametrize("channels", [1, 4])
def test_what_is_guessed_of_other_bands_is_opened(tmp_path, channels):
    net = network("resnet18", channels=channels)
    path = saved(tmp_path / "m.safetensors", net.state_dict())
    (best, *_) = guess_architecture({name: tuple(t.shape) for name, t in net.state_dict().items()})
    how = Preprocessing(channels=best.channels, size=(8, 8), mean=(0.5,), std=(0.5,))
    model = open_model(path, architecture=best.architecture, classes=CLASSES, preprocessing=how)
    x = torch.rand(2, channels, 8, 8)
    with torch.no_grad():
        assert best.share == 1 and torch.equal(model(x), net((x - 0.5) / 0.5))


def test_one_output_is_read_as_two_exactly(tmp_path):
    """sigmoid(z) = softmax([0, z])[1]."""
    net = network(classes=2)
    net.set_submodule("head", nn.Linear(128, 1))
    path = saved(tmp_path / "m.safetensors", net.state_dict())
    model = open_model(path, **KNOWN | {"classes": ("no", "yes")})
    x = torch.rand(5, 3, 8, 8)
    with torch.no_grad():
        two, one = model(x), net((x - 0.5) / 0.5)
    torch.testing.assert_close(two[:, 1], one[:, 0])
    assert not two[:, 0].any()
    torch.testing.assert_close(two.softmax(1)[:, 1], one[:, 0].sigmoid())
    assert "0 and z" in model.notes[-1]
    (best, *_) = guess_architecture({name: tuple(t.shape) for name, t in net.state_dict().items()})
    assert best.classes == 2, "one class would be asked for"


def test_float64_weights_are_said_to_be_rounded(tmp_path):
    path = saved(tmp_path / "m.safetensors", {name: tensor.double() for name, tensor in STATE.items()})
    assert "6 tensors of m.safetensors are float64" in open_model(path, **KNOWN).notes[0]


# --- parts ------------------------------------------------------------------------------------------------


def in_parts(folder, **changes):
    names, split = list(STATE), {}
    for number, part in enumerate((names[:3], names[3:]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        saved(folder / file, {name: STATE[name] for name in part})
        split |= dict.fromkeys(part, file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": split | changes}))
    return index


def test_weights_in_parts_are_one_model_by_folder_index_or_part(tmp_path):
    index = in_parts(tmp_path)
    for path in (tmp_path, index, tmp_path / "model-00002-of-00002.safetensors"):
        assert_same(open_model(path, **KNOWN), RAW)
    index.unlink()
    with assert_refused(ModelError, "one of 2 parts", "model.safetensors.index.json"):
        open_model(tmp_path / "model-00002-of-00002.safetensors", **KNOWN)


@pytest.mark.parametrize(
    "part", ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", "..\\x.safetensors", ""]
)
def test_a_part_never_leads_out_of_its_folder(tmp_path, part):
    folder = tmp_path / "inside"
    folder.mkdir()
    saved(tmp_path / "secret.safetensors", STATE)
    with assert_refused(ModelError, "model.safetensors.index.json"):
        open_model(in_parts(folder, **{"head.bias": part}), **KNOWN)


def test_parts_that_do_not_belong_together_are_refused(tmp_path):
    index = in_parts(tmp_path, **{"more.weight": "model-00001-of-00002.safetensors"})
    with assert_refused(ModelError, "more.weight", "download all parts"):
        open_model(index, **KNOWN)
    (tmp_path / "model-00001-of-00002.safetensors").unlink()
    with assert_refused(ModelError, "not beside it"):
        open_model(index, **KNOWN)
