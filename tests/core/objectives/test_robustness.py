"""Attacks stay where they may, find what they should, and influence on them predicts what a training step does."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import influence_core as ic
from influence_core.analysis.robustness_curve import robustness
from influence_core.errors import InfluenceError, ObjectiveError
from influence_core.objectives import bind, measured
from influence_core.objectives.held_out import HeldOutBatch
from influence_core.objectives.perturbed.attacks import attacked
from influence_core.objectives.perturbed.corruptions import CORRUPTIONS, corrupted, jpeg
from influence_core.objectives.perturbed.input_space import input_space
from influence_core.objectives.perturbed.robustness import past_boundary
from tests.making.oracles import flat, flat_gradients

NAMES = (
    "robustness",
    "robustness:fgsm",
    "robustness:pgd:0.02",
    "robustness:corruption",
    "robustness:corruption:blur",
)


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.Softplus(),
        nn.Flatten(),
        nn.Linear(8 * 64, 12),
        nn.Tanh(),
        nn.Linear(12, 3),
    ).double()


def pictures(n: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(n, 1, 8, 8, generator=generator, dtype=torch.float64)
    return TensorDataset(inputs, torch.randint(3, (n,), generator=generator))


def opened(network: nn.Module | None = None, std: float = 0.3) -> ic.OpenedModel:
    preprocessing = ic.Preprocessing(1, (8, 8), (0.5,), (std,))
    return ic.OpenedModel(
        network or net(), classes=("a", "b", "c"), preprocessing=preprocessing, architecture="own"
    ).double()


def seen_of(model: nn.Module, samples: TensorDataset) -> HeldOutBatch:
    inputs, labels = samples.tensors
    loss = ic.engine.losses.LOSSES["cross_entropy"]
    return HeldOutBatch(model.eval(), inputs, labels, torch.arange(len(inputs)), loss)


@pytest.mark.parametrize("name", NAMES)
def test_the_sum_of_influences_predicts_one_training_step(name):
    """(c): the objective is measured anew after the step, with a fresh attack on the stepped model."""
    model, train, val = opened(), pictures(20, 1), pictures(15, 2)
    before = measured(model, val, name)
    influence = flat_gradients(model, train) @ flat(before.gradient, model)
    rate = 1e-7
    _take_a_step(model, flat_gradients(model, train).sum(0), rate)
    after = measured(model, val, name).value
    ratio = (before.value - after) / rate / float(influence.sum())
    assert ratio == pytest.approx(1, abs=1e-2), f"{name}: the step does {ratio:.4f} of what influence says"


def test_influence_on_the_linear_step_predicts_the_loss_where_the_step_has_put_the_samples():
    model, train, val = opened(), pictures(20, 1), pictures(15, 2)
    before = measured(model, val, "robustness:linear")
    *layers, head = model.network.children()
    assert isinstance(head, nn.Linear)
    body = nn.Sequential(*layers)

    def moved_loss(step: torch.Tensor) -> float:
        with torch.no_grad():
            outputs = head(body((val.tensors[0] - 0.5) / 0.3) + step)
            return float(nn.functional.cross_entropy(outputs, val.tensors[1]))

    with torch.no_grad():
        step = past_boundary(head, body((val.tensors[0] - 0.5) / 0.3))
    assert moved_loss(step) == pytest.approx(before.value, rel=1e-9)
    influence = flat_gradients(model, train) @ flat(before.gradient, model)
    _take_a_step(model, flat_gradients(model, train).sum(0), 1e-7)
    ratio = (before.value - moved_loss(step)) / 1e-7 / float(influence.sum())
    assert ratio == pytest.approx(1, abs=1e-2)


def _take_a_step(model: nn.Module, gradient: torch.Tensor, rate: float) -> None:
    with torch.no_grad():
        at = 0
        for value in model.parameters():
            value -= rate * gradient[at : at + value.numel()].view_as(value)
            at += value.numel()


@pytest.mark.parametrize("kind", ["fgsm", "pgd"])
def test_an_attack_stays_in_the_pixel_range_and_near_and_hurts(kind):
    model, samples = opened(), pictures(30, 3)
    seen, space = seen_of(model, samples), input_space(model, samples)
    changed = attacked(seen, space, kind, 0.05)
    assert float(changed.min()) >= 0 and float(changed.max()) <= 1, (
        "bounds are those of pixels BEFORE normalisation"
    )
    assert float((changed - seen.inputs).abs().max()) <= 0.05 + 1e-12
    assert (seen.with_inputs(changed).losses >= seen.losses).all(), "an attack must raise the loss"
    assert not changed.requires_grad
    alone = [
        attacked(seen_of(model, TensorDataset(*(t[i : i + 1] for t in samples.tensors))), space, kind, 0.05)
        for i in range(5)
    ]
    torch.testing.assert_close(torch.cat(alone), changed[:5], rtol=0, atol=1e-12)


def test_pgd_is_at_least_as_strong_as_fgsm_and_both_beat_noise():
    model, samples = opened(), pictures(60, 4)
    seen, space = seen_of(model, samples), input_space(model, samples)
    for value in model.parameters():
        value.requires_grad_(False)
    losses = {
        kind: float(seen.with_inputs(attacked(seen, space, kind, 0.1)).losses.mean())
        for kind in ("fgsm", "pgd")
    }
    signs = torch.randint(2, seen.inputs.shape, generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    random = float(seen.with_inputs(space.near(seen.inputs + 0.1 * signs, seen.inputs, 0.1)).losses.mean())
    assert losses["pgd"] >= losses["fgsm"] - 1e-9 > random, (losses, random)


def test_the_strength_is_of_the_pixel_range_whatever_the_normalisation():
    coarse, fine = opened(std=0.9), opened(std=0.1)
    for model in (coarse, fine):
        space = input_space(model, pictures(4, 0))
        assert float(space.unit) == 1 and float(space.high) == 1 and space.usual == 8 / 255  # pyright: ignore


def test_features_are_moved_in_standard_deviations_and_unbounded():
    torch.manual_seed(0)
    samples = TensorDataset(
        torch.randn(50, 4) * torch.tensor([1.0, 100.0, 0.01, 1.0]), torch.randint(2, (50,))
    )
    model = nn.Linear(4, 2)
    space = input_space(model, samples)
    moved = attacked(seen_of(model, samples), space, "fgsm", 0.1) - samples.tensors[0]
    torch.testing.assert_close(
        moved.abs().amax(0), 0.1 * samples.tensors[0].std(0, correction=0), rtol=1e-3, atol=0
    )


def test_the_linear_step_is_the_papers_for_two_classes():
    """x' = x - 1.3 (w.x + b) / |w|^2 w with w the difference of the two rows."""
    torch.manual_seed(1)
    head, x = nn.Linear(5, 2).double(), torch.randn(7, 5, dtype=torch.float64)
    w, b = head.weight[1] - head.weight[0], head.bias[1] - head.bias[0]
    published = x - 1.3 * ((x @ w + b) / (w @ w))[:, None] * w
    torch.testing.assert_close(x + past_boundary(head, x), published.detach())


def test_the_linear_step_changes_every_prediction_and_takes_the_nearest_boundary():
    torch.manual_seed(2)
    head, x = nn.Linear(5, 6).double(), torch.randn(40, 5, dtype=torch.float64)
    step = past_boundary(head, x)
    assert (head(x + step).argmax(1) != head(x).argmax(1)).all()
    assert (head(x + 0.76 * step).argmax(1) == head(x).argmax(1)).all(), (
        "1/1.3 of the step ends on the boundary"
    )


def test_corruptions_change_pictures_within_their_range_and_repeat():
    model, samples = opened(), pictures(6, 5)
    space, rows = input_space(model, samples), torch.tensor([3, 9, 1, 0, 2, 7])
    inputs = samples.tensors[0]
    for kind in CORRUPTIONS:
        once = corrupted(inputs, rows, space, kind)
        assert once.shape == inputs.shape and float(once.min()) >= 0 and float(once.max()) <= 1, kind
        assert float((once - inputs).abs().mean()) > 0.005, f"{kind} changes nothing"
        torch.testing.assert_close(corrupted(inputs[4:], rows[4:], space, kind), once[4:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 1, 28, 28), (2, 5, 9, 12), (1, 2, 1, 1)])
def test_jpeg_reads_any_channels_each_alone_and_leaves_what_is_flat(shape):
    inputs, rows = (
        torch.rand(shape, generator=torch.Generator().manual_seed(0)).double(),
        torch.arange(shape[0]),
    )
    found = jpeg(inputs, rows)
    for channel in range(shape[1]):
        alone = jpeg(inputs[:, channel : channel + 1], rows)
        assert torch.equal(found[:, channel : channel + 1], alone), (
            "channels were mixed, or taken for colours"
        )
    flat = torch.full(shape, 0.5).double()
    assert float((jpeg(flat, rows) - flat).abs().max()) < 0.02, (
        "a flat picture has nothing to lose but its rounding"
    )


def test_the_curve_falls_and_carries_intervals_and_examples():
    model, samples = opened(), pictures(80, 6)
    samples = TensorDataset(samples.tensors[0], model.eval()(samples.tensors[0]).argmax(1))
    facts, examples = robustness(model, samples, rows=50, strengths=(0.01, 0.1, 0.5))
    values = [point["value"] for point in facts["attacks"]["pgd"]]
    assert facts["clean"]["value"] == 1.0 and facts["samples"] == 50
    assert values == sorted(values, reverse=True) and values[-1] < 0.5
    for point in facts["attacks"]["fgsm"]:
        assert point["low"] <= point["value"] <= point["high"]
    assert len(examples) > 0
    with torch.no_grad():
        said = model(torch.from_numpy(examples.attacked).double()).argmax(1).numpy()
        was = model(samples.tensors[0][examples.rows]).argmax(1).numpy()
    assert (said == examples.after).all() and (was == examples.before).all() and (said != was).all()
    reach = np.abs(examples.attacked - examples.original).max(axis=(1, 2, 3))
    assert (reach <= examples.strength + 1e-6).all()


def test_another_model_is_attacked_anew():
    """A repaired model must not be judged by the attacks on its predecessor."""
    first, second, samples = opened(net(0)), opened(net(7)), pictures(60, 8)
    old = attacked(seen_of(first, samples), input_space(first, samples), "pgd", 0.3)
    fresh, _ = robustness(second, samples, strengths=(0.3,))
    with torch.no_grad():
        reused = float((second(old).argmax(1) == samples.tensors[1]).double().mean())
    assert fresh["attacks"]["pgd"][0]["value"] < reused, "the old attack must look weaker than a fresh one"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("robustness:fgsm:no", "strength above zero"),
        ("robustness:pgd:-1", "strength above zero"),
        ("robustness:smudge", "robustness:fgsm"),
        ("robustness:corruption:smudge", "noise, blur"),
    ],
)
def test_a_name_that_is_not_known_is_a_sentence(name, said):
    with pytest.raises(InfluenceError, match=said):
        ic.objective_gradient(opened(), pictures(4, 1), name)


def test_what_cannot_be_attacked_is_said():
    words = TensorDataset(torch.randint(9, (6, 5)), torch.randint(2, (6,)))
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 2))
    with pytest.raises(ObjectiveError, match="floating numbers"):
        bind(ic.objectives.objective_by_name("robustness"), model, words)
    scaled = nn.Sequential(nn.Linear(4, 2), nn.Softmax(1))
    numbers = TensorDataset(torch.randn(6, 4), torch.randint(2, (6,)))
    with pytest.raises(ObjectiveError, match="last linear layer"):
        bind(ic.objectives.objective_by_name("robustness:linear"), scaled, numbers)
    with pytest.raises(ObjectiveError, match="pictures only"):
        bind(ic.objectives.objective_by_name("robustness:corruption:blur"), nn.Linear(4, 2), numbers)
