"""Laws of opening models: the weights that were saved are the weights that score, and misfits are named."""

import json
import threading

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from influence_core.data import open_dataset
from influence_core.errors import ModelError
from influence_core.models import (
    OpenedModel,
    Preprocessing,
    architectures,
    build_network,
    check_fits,
    open_model,
    save_model,
)
from tests.making.pictures import write_split_folder
from tests.making.refusals import assert_refused

GREY = Preprocessing(channels=1, size=(8, 8), mean=(0.3,), std=(0.5,))
CLASSES = ("bright", "dark")


def small_model(
    architecture: str = "mlp", preprocessing: Preprocessing = GREY, classes=CLASSES
) -> OpenedModel:
    torch.manual_seed(0)
    network = build_network(
        architecture, classes=len(classes), channels=preprocessing.channels, size=preprocessing.size
    )
    return OpenedModel(network, classes=classes, preprocessing=preprocessing, architecture=architecture)


def saved(folder, **changes) -> OpenedModel:
    """Save a small model, with some tensors replaced (or removed when None), and model.json beside it."""
    model = small_model()
    weights = model.network.state_dict() | changes
    save_model(model, folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if tensor is not None}
    safetensors.torch.save_file(kept, folder / "model.safetensors")
    return model


def assert_model_refused(path, *words: str, **options) -> None:
    with assert_refused(ModelError, *words):
        open_model(path, **options)


# --- building ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["small_cnn", "mlp", "logistic", "resnet18", "mobilenet_v3_small"])
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_have_the_right_number_of_outputs(architecture, channels):
    network = build_network(architecture, classes=7, channels=channels, size=(32, 40)).eval()
    assert network(torch.rand(2, channels, 32, 40)).shape == (2, 7)


def test_small_cnn_is_small_and_takes_pictures_of_28_to_64_pixels():
    network = build_network("small_cnn", classes=10, channels=1, size=(28, 28)).eval()
    assert 80_000 < sum(parameter.numel() for parameter in network.parameters()) < 120_000
    for side in (28, 32, 64):
        assert network(torch.rand(1, 1, side, side)).shape == (1, 10)


@pytest.mark.parametrize("architecture", ["vit_b_16", "googlenet", "inception_v3", "swin_t"])
def test_torchvision_models_with_options_of_their_own_are_built(architecture):
    side = 96 if architecture == "inception_v3" else 32
    with torch.no_grad(), torch.device("meta"):
        network = build_network(architecture, classes=3, channels=3, size=(side, side))
    names = [name for name, _ in network.named_parameters()]
    assert dict(network.named_parameters())[names[-1]].shape == (3,), "the classifier must come last"


def test_all_torchvision_classification_models_are_offered():
    offered = architectures()
    assert offered[:3] == ["small_cnn", "mlp", "logistic"]
    assert set(torchvision.models.list_models(module=torchvision.models)) < set(offered)


def test_an_unknown_architecture_is_answered_with_the_nearest_names():
    with pytest.raises(ModelError, match=r"'resnet_18'.*resnet18"):
        build_network("resnet_18", classes=2, channels=3, size=None)
    with pytest.raises(ModelError, match=r"No architecture is called 'os:system'"):
        build_network("os:system", classes=2, channels=3, size=None)


# --- opening ----------------------------------------------------------------------------------------------


def test_a_saved_model_comes_back_the_same(tmp_path):
    model = saved(tmp_path)
    x = torch.rand(4, 1, 8, 8)
    for path in (tmp_path, tmp_path / "model.safetensors"):
        opened = open_model(path)
        assert torch.equal(opened(x), model.eval()(x))
        assert opened.fingerprint == model.fingerprint
        assert not opened.training
        assert opened.path == tmp_path / "model.safetensors"


def test_forward_normalises_per_channel():
    pre = Preprocessing(channels=3, size=(2, 2), mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0))
    model = small_model("logistic", pre)
    x = torch.rand(5, 3, 2, 2)
    by_hand = torch.stack([(x[:, c] - pre.mean[c]) / pre.std[c] for c in range(3)], dim=1)
    torch.testing.assert_close(model(x), model.network(by_hand))
    features = small_model("logistic", Preprocessing(channels=4, size=None, mean=(0.5,), std=(2.0,)))
    x = torch.rand(5, 4)
    torch.testing.assert_close(features(x), features.network((x - 0.5) / 2))
    assert set(model.state_dict()) == {"network.head.weight", "network.head.bias"}, (
        "mean and std are no weights"
    )
    assert model.double()(torch.rand(1, 3, 2, 2, dtype=torch.float64)).dtype == torch.float64


def test_the_fingerprint_changes_with_weights_classes_and_preprocessing():
    model = small_model()
    prints = {model.fingerprint, small_model(classes=("dark", "bright")).fingerprint}
    prints.add(small_model(preprocessing=Preprocessing(1, (8, 8), (0.4,), (0.5,))).fingerprint)
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1
    prints.add(model.fingerprint)
    assert len(prints) == 4


def test_opening_leaves_the_random_numbers_alone(tmp_path):
    saved(tmp_path)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    open_model(tmp_path)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict"])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_dict_is_converted_in_a_child_and_gives_the_same_model(tmp_path, wrapper, legacy):
    model = saved(tmp_path)
    weights = {f"module.{name}": tensor for name, tensor in model.network.state_dict().items()}
    content = weights if wrapper is None else {wrapper: weights, "epoch": 3, "optimizer": {"lr": [0.1]}}
    path = tmp_path / "weights.pt"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    assert open_model(path).fingerprint == model.fingerprint


def test_models_can_be_opened_from_several_threads(tmp_path):
    model = saved(tmp_path)
    torch.save(model.network.state_dict(), tmp_path / "model.pth")
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(open_model(tmp_path / "model.pth").fingerprint))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [model.fingerprint] * 2


def test_old_files_without_batch_counters_are_read(tmp_path):
    pre = Preprocessing(channels=1, size=(28, 28), mean=(0.3,), std=(0.5,))
    model = small_model("small_cnn", pre)
    save_model(model, tmp_path / "model.safetensors")
    weights = {
        name: tensor for name, tensor in model.network.state_dict().items() if "num_batches" not in name
    }
    safetensors.torch.save_file(weights, tmp_path / "model.safetensors")
    assert open_model(tmp_path).fingerprint == model.fingerprint


# --- misfits ----------------------------------------------------------------------------------------------


def test_missing_left_over_and_misshapen_tensors_are_named(tmp_path):
    saved(tmp_path, **{"head.weight": torch.zeros(2, 99)})
    assert_model_refused(tmp_path, "head.weight: file (2, 99), network (2, 128)")
    saved(tmp_path, **{"hidden1.bias": None, "other.bias": torch.zeros(1)})
    assert_model_refused(tmp_path, "1 are missing (hidden1.bias)", "1 are left over (other.bias)")
    assert_model_refused(tmp_path / "model.safetensors", "into logistic", architecture="logistic")
    saved(tmp_path, **{f"other{index}": torch.zeros(1) for index in (3, 0, 4, 2, 1)})
    assert_model_refused(tmp_path, "5 are left over (other0, other1, other2, other3, and 1 more)")


def test_quantised_integers_are_not_taken_for_weights(tmp_path):
    saved(tmp_path, **{"head.bias": torch.ones(2, dtype=torch.int8)})
    assert_model_refused(tmp_path, "head.bias: file (2,) int8, network (2,)")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_weights_of_any_float_precision_are_read_as_float32(tmp_path, dtype):
    saved(tmp_path, **{"head.bias": torch.tensor([0.5, -2.0]).to(dtype)})
    assert open_model(tmp_path).network.head.bias.tolist() == [0.5, -2.0]


def test_another_number_of_classes_says_both_numbers(tmp_path):
    saved(tmp_path)
    assert_model_refused(tmp_path, "trained for 2 classes, but 3 are named", classes=["a", "b", "c"])
    assert_model_refused(tmp_path, "two or more, all different", classes=["a", "a"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, value):
    weight = torch.zeros(128)
    weight[3] = value
    saved(tmp_path, **{"hidden2.bias": weight})
    assert_model_refused(tmp_path, "'hidden2.bias'", "1 values that are NaN or infinite")


def test_what_is_not_known_is_asked_for(tmp_path):
    saved(tmp_path)
    spec = json.loads((tmp_path / "model.json").read_text())
    for name, words in (
        ("architecture", "mlp"),
        ("classes", "classes=dataset.classes"),
        ("preprocessing", '"mean"'),
    ):
        (tmp_path / "model.json").write_text(
            json.dumps({key: value for key, value in spec.items() if key != name})
        )
        assert_model_refused(tmp_path, "is not known", words)
    (tmp_path / "model.json").unlink()
    opened = open_model(tmp_path, architecture="mlp", classes=CLASSES, preprocessing=GREY)
    assert opened.fingerprint == small_model().fingerprint


def test_a_damaged_model_json_is_named(tmp_path):
    saved(tmp_path)
    for text, words in (
        ("{", "not valid JSON"),
        ("[1]", "expected a table"),
        ('{"architecture": "mlp", "loader_module": "os"}', "loader_module"),
        ('{"architecture": 7}', "architecture is 7"),
        ('{"classes": "ab"}', "list of names"),
        ('{"preprocessing": {"channels": 1}}', "preprocessing is"),
        ('{"preprocessing": {"channels": 1, "size": null, "mean": [0], "std": [0]}}', "greater than 0"),
        ('{"preprocessing": {"channels": 3, "size": null, "mean": [0, 0], "std": [1]}}', "2 values of mean"),
        ('{"preprocessing": {"channels": 1, "size": null, "mean": [NaN], "std": [1]}}', "must be finite"),
    ):
        (tmp_path / "model.json").write_text(text)
        assert_model_refused(tmp_path, words)


def test_a_model_must_name_the_classes_of_its_dataset(tmp_path):
    dataset = open_dataset(write_split_folder(tmp_path))
    check_fits(small_model(), dataset)
    for classes, words in (
        (("dark", "bright"), "open_dataset(path, classes=model.classes)"),
        (("a", "b", "c"), "3 outputs, the dataset 2 classes"),
        (("bright", "dark", "dim"), "lacks ['dim'] of the model's 3 classes"),
        (("bright", "dim"), "only the model has ['dim']"),
    ):
        with assert_refused(ModelError, words):
            check_fits(small_model(classes=classes), dataset)
    check_fits(small_model(classes=("dark", "bright")), dataset.with_classes(("dark", "bright")))


def test_missing_files_are_named(tmp_path):
    assert_model_refused(tmp_path, "holds no weights", "model.safetensors")
    assert_model_refused(
        tmp_path / "x.safetensors",
        "There is no weight file at",
        architecture="mlp",
        classes=CLASSES,
        preprocessing=GREY,
    )


def test_networks_of_ones_own_can_be_wrapped():
    model = OpenedModel(nn.Flatten(), classes=CLASSES, preprocessing=GREY, architecture="own")
    np.testing.assert_allclose(model(torch.full((1, 1, 1, 2), 0.8)).numpy(), [[1.0, 1.0]], rtol=1e-6)
