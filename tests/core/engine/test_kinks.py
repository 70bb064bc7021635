"""Laws of held kinks: with every unit on its side the line is smooth, whatever the step and the way it is written."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import influence_core as ic
from influence_core.engine import batches, measured_directional
from influence_core.engine.losses import LOSSES
from influence_core.engine.one_direction.held_kinks import Held, Seen
from influence_core.engine.one_direction.ways import Line, differences, gradients, held, kinked
from influence_core.errors import LayerError
from tests.making.oracles import dataset, random_directions
from tests.making.sweep_laws import Made

KINKED = {
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "functional.relu": functional.relu,
    "torch.relu": torch.relu,
    "Tensor.relu": torch.Tensor.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu_": torch.Tensor.relu_,
    "nn.LeakyReLU": nn.LeakyReLU(0.3),
    "nn.LeakyReLU in place": nn.LeakyReLU(0.3, inplace=True),
    "nn.LeakyReLU that folds": nn.LeakyReLU(-0.3),
    "functional.leaky_relu_": functional.leaky_relu_,
    "nn.MaxPool2d": nn.MaxPool2d(3, 2, 1),
    "nn.MaxPool2d of one": lambda x: nn.MaxPool2d(2, ceil_mode=True)(x.flatten(0, 1)).unflatten(
        0, x.shape[:2]
    ),
    "torch.max_pool2d": lambda x: torch.max_pool2d(x, 2),
    "nn.MaxPool3d": lambda x: nn.MaxPool3d(2)(x),
}


def line_of(kink, e_dtype=torch.float64):
    """A convolution, a kink and a head; the direction moves the convolution alone, so the outputs have corners only."""
    torch.manual_seed(0)
    shape = (8, 8)
    model = Made(
        lambda m, x: m.head(kink(m.first(x)).flatten(1)),
        first=nn.Conv2d(2, 4, 3, padding=1),
        head=nn.LazyLinear(3),
    )
    model.first.to(e_dtype)
    model.head.to(e_dtype)
    samples = dataset(2, *shape, n=6, classes=3, dtype=e_dtype)
    with torch.no_grad():
        model(samples.tensors[0])
    theta = {"first.weight": model.first.weight.detach()}
    along = {"first.weight": torch.randn_like(theta["first.weight"])}
    line = Line(model, theta, along, LOSSES["cross_entropy"], sloped=True)
    return line, next(iter(batches.batches(samples, 6, like=model)))


@pytest.mark.parametrize("name", KINKED)
def test_between_held_corners_no_step_is_too_large(name):
    line, batch = line_of(KINKED[name])
    _, true = gradients(line, batch)

    def error(way):
        return float((way(batch) - true).norm() / true.norm())

    assert kinked(line, batch), f"{name} was not seen"
    assert error(held(line, 1.0)) <= 1e-10, (
        f"{name}: a unit changed its side, or its two passes round differently"
    )
    assert error(differences(line, 1.0)) >= 1e-3, "nothing was turned over: this law could not fail"


@pytest.mark.parametrize("name", KINKED)
def test_looking_at_a_pass_does_not_change_it(name):
    line, batch = line_of(KINKED[name])
    with torch.no_grad():
        plain = line.outputs({}, batch.inputs)
        with Seen() as seen:
            looked = line.outputs({}, batch.inputs)
        with Held(seen.sides):
            again = line.outputs({}, batch.inputs)
    assert torch.equal(looked, plain), f"{name} means something else when it is looked at"
    assert torch.equal(again, plain), f"{name} held on its own sides is not itself"


def test_a_network_of_many_kinks_is_held_without_being_asked():
    """Stock ResNet-18 in float32: the best central difference is above the bar, and forward mode took 2.8 passes."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    model = resnet18(num_classes=10)
    samples = dataset(3, 32, 32, n=12, classes=10, dtype=torch.float32)
    (v,) = random_directions(model, 1)
    found = measured_directional(model, samples, v)
    true = ic.directional(model, samples, v, method="forward", precision="float64")
    assert found.method == "held"
    assert (found.values - true).norm() <= 5e-3 * true.norm()


def test_a_smooth_network_is_not_held():
    model, samples = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)), dataset(4, n=9, classes=3)
    (v,) = random_directions(model, 1)
    assert measured_directional(model.double(), samples, v, precision="float64").method == "difference"


def fickle(m, x):
    """Takes another function as soon as its bias moves."""
    return m.head((torch.relu if m.head.bias[0] == 0.5 else nn.functional.leaky_relu)(x))


def test_a_model_that_takes_another_path_is_refused_by_name_and_auto_goes_on():
    torch.manual_seed(0)
    model, samples = Made(fickle, head=nn.Linear(4, 3)).double(), dataset(4, n=8, classes=3)
    nn.init.constant_(model.head.bias, 0.5)
    (v,) = random_directions(model, 1)
    with pytest.raises(LayerError, match=r"another path.*leaky_relu.* instead of .*relu.*method='forward'"):
        ic.directional(model, samples, v, method="held", precision="float64")
    samples.tensors[0].abs_()  # above zero the two functions are one, and the central difference is right
    assert measured_directional(model, samples, v, precision="float64").method == "difference"
