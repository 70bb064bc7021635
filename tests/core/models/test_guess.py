"""The architecture is named from tensors alone, whatever wrapped them, and never certain where nothing is alike."""

import time
from functools import cache

import pytest
import safetensors.torch
import torch

from influence_core.errors import ModelError
from influence_core.models import Preprocessing, build_network, guess, open_model
from influence_core.models.guess import guess_architecture, unallocated

CLASSES = tuple("abcdefghij")
REAL = ("resnet18", "mobilenet_v3_small", "efficientnet_b0", "vit_b_16")


@cache
def built(architecture: str, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    network = unallocated(architecture, size)
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def shapes_of(architecture: str, size=(32, 32), prefix: str = "") -> dict[str, tuple[int, ...]]:
    return {prefix + name: shape for name, shape in built(architecture, size).items()}


@cache
def random_network(architecture: str) -> torch.nn.Module:
    """Random weights are made once a network: for a vision transformer that takes longer than reading them."""
    torch.manual_seed(0)
    return build_network(architecture, classes=10, channels=3, size=(32, 32)).eval()


@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod.", "model."])
@pytest.mark.parametrize("architecture", [*REAL, "small_cnn", "logistic", "mlp"])
def test_an_architecture_is_guessed_from_its_tensors(architecture, prefix):
    (best, *_) = guess_architecture(shapes_of(architecture, prefix=prefix))
    assert (best.architecture, best.share, best.classes) == (architecture, 1.0, 10)
    assert best.size == ((32, 32) if architecture == "vit_b_16" else None)


@pytest.mark.parametrize(
    "architecture",
    ["alexnet", "vgg11_bn", "densenet121", "resnext50_32x4d", "squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5",
     "mobilenet_v2", "regnet_y_400mf", "convnext_tiny", "googlenet", "swin_t"],
)  # fmt: skip
def test_every_family_has_its_mark(architecture):
    (best, *_) = guess_architecture(shapes_of(architecture, size=(224, 224)))
    assert (best.architecture, best.share) == (architecture, 1.0), "the mark of the family is wrong or shared"


def test_the_nearest_in_size_is_looked_at_first(monkeypatch):
    """A family has up to thirty members, of which some take seconds to build."""
    seen = []
    compared = guess.compared
    monkeypatch.setattr(guess, "compared", lambda name, shapes: seen.append(name) or compared(name, shapes))
    for architecture in ("resnet18", "mobilenet_v3_small", "vit_b_16", "regnet_y_400mf"):
        guess_architecture(shapes_of(architecture))
        assert seen.index(architecture) < 4, f"{architecture} after {seen}"
        seen.clear()


def test_grey_pictures_and_other_class_counts_are_read_from_the_file():
    with torch.device("meta"):
        network = build_network("resnet18", classes=37, channels=1, size=(28, 28))
    (best, *_) = guess_architecture({name: tuple(v.shape) for name, v in network.state_dict().items()})
    assert (best.architecture, best.classes, best.channels, best.share) == ("resnet18", 37, 1, 1.0)


def test_a_changed_network_is_a_guess_below_one_and_an_unknown_one_none():
    shapes = shapes_of("resnet18") | {"layer1.0.conv1.weight": (64, 64, 5, 5), "extra.weight": (3, 3)}
    best = guess_architecture(shapes)[0]
    assert best.architecture == "resnet18" and 0.9 < best.share < 1
    assert guess_architecture({"my.own.weight": (3, 4), "my.own.bias": (3,)}) == []
    assert guess_architecture({}) == []


@pytest.mark.parametrize("architecture", REAL)
@pytest.mark.parametrize("wrapping", ["plain", "module.", "state_dict", "training"])
def test_real_state_dicts_load_by_name_however_they_were_saved(tmp_path, architecture, wrapping):
    """The conversion in the child costs a second each, so it is done for one network; the names for all."""
    network = random_network(architecture)
    weights = network.state_dict()
    prefix = "module." if wrapping in ("module.", "training") else ""
    renamed = {prefix + name: tensor for name, tensor in weights.items()}
    path = tmp_path / "m.safetensors"
    if architecture == "mobilenet_v3_small" and wrapping != "plain":
        wrapped = {"state_dict": renamed} if wrapping == "state_dict" else renamed
        wrapped = {"model": renamed, "epoch": 3, "optimizer": {}} if wrapping == "training" else wrapped
        torch.save(wrapped, tmp_path / "m.pth")
        path = tmp_path / "m.pth"
    else:
        safetensors.torch.save_file(renamed, path)
    (best, *_) = guess_architecture({name: tuple(value.shape) for name, value in renamed.items()})
    model = open_model(path, architecture=best.architecture, classes=CLASSES, preprocessing=PICTURES)
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(x), network((x - 0.5) / 0.5)), "other weights than those saved"


PICTURES = Preprocessing(channels=3, size=(32, 32), mean=(0.5,), std=(0.5,))


def test_mismatches_name_both_sides(tmp_path):
    network = build_network("resnet18", classes=10, channels=3, size=None)
    safetensors.torch.save_file(network.state_dict(), tmp_path / "m.safetensors")

    def words(**options) -> str:
        with pytest.raises(ModelError) as caught:
            open_model(tmp_path / "m.safetensors", **{"preprocessing": PICTURES, **options})
        return str(caught.value)

    assert "trained for 10 classes, but 3 are named" in words(
        architecture="resnet18", classes=("a", "b", "c")
    )
    other = words(architecture="resnet34", classes=CLASSES)
    assert "are missing" in other and "layer1.2.conv1.weight" in other
    grey = Preprocessing(channels=1, size=(32, 32), mean=(0.5,), std=(0.5,))
    said = words(architecture="resnet18", classes=CLASSES, preprocessing=grey)
    assert "file (64, 3, 7, 7), network (64, 1, 7, 7)" in said


def test_the_guess_never_allocates_what_it_compares():
    started = time.monotonic()
    network = unallocated("vit_h_14", (224, 224))
    assert all(value.is_meta for value in network.parameters()), "2.5 GB would be taken"
    assert time.monotonic() - started < 60
