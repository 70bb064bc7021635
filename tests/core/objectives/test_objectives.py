"""Laws of objectives: value, sign and gradient of each are those of a slow, plain formula; faults are one sentence."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import influence_core as ic
from influence_core.data import samples_from_arrays
from influence_core.engine.watching.watch import scoring
from influence_core.errors import InfluenceError, ObjectiveError
from influence_core.objectives import (
    Gap,
    HeldOut,
    HeldOutBatch,
    Objective,
    Own,
    bind,
    judged,
    measured,
    measured_all,
    resolved,
)

NAMES2, NAMES3 = ("no", "yes"), ("a", "b", "c")


def net(classes: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, classes)).double()


def held_out(classes: int, m: int = 90, seed: int = 1, groups: int = 2):
    rng = np.random.default_rng(seed)
    inputs, labels = rng.normal(size=(m, 4)).astype(np.float32), rng.integers(classes, size=m)
    names = NAMES2 if classes == 2 else NAMES3
    column = pd.DataFrame({"sex": [f"g{code}" for code in rng.integers(groups, size=m)]})
    return samples_from_arrays(inputs, labels, classes=names, groups=column, split="val")


def plain(model: nn.Module, samples, name: str) -> torch.Tensor:
    """The objective as one formula over the whole split, differentiable; loops and masks, nothing clever."""
    inputs, labels = samples.batch(range(len(samples)))
    logits = model(inputs.double())
    losses, p = nn.functional.cross_entropy(logits, labels, reduction="none"), logits.softmax(1)
    groups = samples.groups["sex"].to_numpy()
    masks = [torch.from_numpy(groups == name) for name in sorted(set(groups))]

    def gap(values: torch.Tensor, among: torch.Tensor) -> torch.Tensor:
        means = torch.stack([values[mask & among].mean() for mask in masks])
        return means.max() - means.min()

    c, everyone = logits.shape[1], torch.ones(len(labels), dtype=torch.bool)
    targets = [1] if c == 2 else list(range(c))
    return {
        "utility": lambda: losses.mean(),
        "utility:class:" + samples.classes[1]: lambda: losses[labels == 1].mean(),
        "fairness:sex": lambda: torch.stack([gap(losses, labels == t) for t in targets]).mean(),
        "fairness:sex:demographic_parity": lambda: torch.stack(
            [gap(p[:, t], everyone) for t in targets]
        ).mean(),
        "fairness:sex:equalized_odds": lambda: torch.stack(
            [gap(p[:, t], labels == t) for t in targets] + [gap(p[:, t], labels != t) for t in targets]
        ).mean(),
        "fairness:sex:worst_group": lambda: torch.stack([losses[mask].mean() for mask in masks]).max(),
        "fairness:sex:demographic_parity:" + samples.classes[0]: lambda: gap(p[:, 0], everyone),
    }[name]()


EVERY = [
    "utility",
    "utility:class:{1}",
    "fairness:sex",
    "fairness:sex:demographic_parity",
    "fairness:sex:equalized_odds",
    "fairness:sex:worst_group",
    "fairness:sex:demographic_parity:{0}",
]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(("classes", "groups"), [(2, 2), (3, 2), (2, 3)])
@pytest.mark.parametrize("batch_size", [7, 200])
def test_value_and_gradient_are_those_of_the_plain_formula(name, classes, groups, batch_size):
    model, samples = net(classes), held_out(classes, groups=groups)
    name = name.format(*samples.classes)
    truth = plain(model, samples, name)
    gradients = torch.autograd.grad(truth, list(model.parameters()))
    bound = bind(resolved([name])[0], model, samples, groups=samples.groups)
    found = measured_all(model, samples, [bound], batch_size=batch_size)[0]
    assert found.value == pytest.approx(truth.item(), rel=1e-9)
    for (parameter, mine), theirs in zip(found.gradient.items(), gradients, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-9, atol=1e-12), (
            f"{name}, {parameter}: a mean over a batch instead of a group, or a sign taken too late"
        )


@pytest.mark.parametrize("name", EVERY)
def test_the_sum_of_influences_predicts_one_step_on_each_objective(name):
    """(c): decrease of f / lr after one step on all training samples = sum of influences, ratio 1 +- 1e-2, float64."""
    model, val, train = net(2), held_out(2), held_out(2, m=60, seed=7)
    name = name.format(*val.classes)
    found = measured(model, val, name)
    swept = ic.sweep(model, train, directions=[found.gradient], sketch=0, precision="float64")
    inputs, labels = train.batch(range(len(train)))
    total = nn.functional.cross_entropy(model(inputs.double()), labels, reduction="sum")
    step = torch.autograd.grad(total, list(model.parameters()))
    lr = 1e-6
    with torch.no_grad():
        for value, g in zip(model.parameters(), step, strict=True):
            value -= lr * g
        decrease = (found.value - plain(model, val, name).item()) / lr
    ratio = float(swept.products[:, 0].sum()) / decrease
    assert ratio == pytest.approx(1, abs=1e-2), (
        f"{name}: -1 is a flipped sign, {len(train)} a mean/sum mix-up"
    )


@pytest.mark.parametrize("swap", [False, True])
def test_lowering_a_gap_narrows_it_whichever_group_is_worse(swap):
    """The released code takes the signed difference: half of the time a step along it WIDENS the gap."""
    model, samples = net(2), held_out(2)
    if swap:
        renamed = samples.groups.replace({"g0": "g1", "g1": "g0"})
        samples = samples_from_arrays(
            samples.batch(range(len(samples)))[0].numpy(), samples.labels, classes=NAMES2, groups=renamed
        )
    found = measured(model, samples, "fairness:sex")
    assert found.value > 0
    with torch.no_grad():
        for name, value in model.named_parameters():
            value -= 1e-3 * found.gradient[name]
    assert measured(model, samples, "fairness:sex").value < found.value


def test_a_gap_that_is_there_is_told_from_one_that_is_not():
    rng = np.random.default_rng(3)
    inputs, labels = rng.normal(size=(600, 4)).astype(np.float32), rng.integers(2, size=600)
    inputs[:, 0] = 2 * labels - 1
    groups = rng.integers(2, size=600)
    model = nn.Linear(4, 2).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0, 0, 0, 0], [1.0, 0, 0, 0]]))
        model.bias.zero_()
    for hurt in (False, True):
        moved = inputs.copy()
        if hurt:
            moved[(groups == 1) & (labels == 1), 0] -= 1.5
        column = pd.DataFrame({"sex": groups})
        samples = samples_from_arrays(moved, labels, classes=NAMES2, groups=column)
        facts = judged(measured(model, samples, "fairness:sex"))
        assert facts["present"] is hurt, facts
        assert facts["low"] - 1e-9 <= facts["value"] <= facts["high"] + 1e-9
        if hurt:
            assert facts["highest"] == "1" and facts["rate"]["present"], "group 1 has the larger loss"


@pytest.mark.parametrize("classes", [2, 3])
def test_chance_alone_is_rarely_called_a_gap(classes):
    """Largest minus smallest of six groups, averaged over classes, is never zero; an interval alone would be fooled."""
    model = net(classes)
    found = [
        replace(
            measured(model, held_out(classes, m=300, seed=seed, groups=6), "fairness:sex"), decisions=None
        )
        for seed in range(12)
    ]
    called = sum(judged(one)["present"] for one in found)
    assert called <= 3, f"{called} of 12 gaps that are chance were called real (5 % expected)"


def test_a_function_of_ones_own_is_a_mean_over_samples_or_one_number_of_the_whole_split():
    model, samples = net(2), held_out(2)

    def one_by_one(model, inputs, labels):
        return model(inputs)[:, 0] ** 2

    def whole(model, inputs, labels):
        return model(inputs)[:, 0].std()

    inputs, _ = samples.batch(range(len(samples)))
    for function, truth in ((one_by_one, lambda x: (x**2).mean()), (whole, torch.std)):
        found = measured(model, samples, function)
        expected = truth(model(inputs.double())[:, 0])
        assert found.value == pytest.approx(expected.item())
        gradients = torch.autograd.grad(expected, list(model.parameters()))
        assert all(torch.allclose(a, b) for a, b in zip(found.gradient.values(), gradients, strict=True))
    assert judged(measured(model, samples, whole))["low"] is None, "one number cannot be drawn anew"
    with pytest.raises(InfluenceError, match="one number of the whole split"):
        measured(model, samples, Own(lambda m, x, y: m(x), "bad", "bad"))
    with pytest.raises(InfluenceError, match="does not depend on any trainable parameter"):
        measured(model, samples, Own(lambda m, x, y: x[:, 0], "bad", "bad"))


@dataclass(frozen=True)
class Corrupted(Objective):
    """As an attack would be written: other inputs, seeded by row, so that batches do not matter."""

    name: str = "corrupted"
    title: str = "loss on noisy validation samples"

    def shown(self, seen: HeldOutBatch) -> HeldOutBatch:
        noise = [torch.randn(4, generator=torch.Generator().manual_seed(row)) for row in seen.rows.tolist()]
        return seen.with_inputs(seen.inputs + torch.stack(noise).to(seen.inputs))

    def readings(self, seen: HeldOutBatch) -> torch.Tensor:
        return seen.losses


@dataclass(frozen=True)
class OneSample(Objective):
    """As the influence on one prediction would be written: samples of its own."""

    where: TensorDataset
    name: str = "one"
    title: str = "loss of one sample"

    def samples(self, split):
        return self.where

    def readings(self, seen: HeldOutBatch) -> torch.Tensor:
        return seen.losses


def test_objectives_that_change_inputs_or_bring_samples_need_no_loop_of_their_own():
    model, samples = net(2), held_out(2)
    a, b = (
        measured(model, samples, Corrupted()),
        ic.objective_gradient(model, samples, Corrupted(), batch_size=13),
    )
    assert all(torch.allclose(a.gradient[name], b[name]) for name in b), "noise must not depend on the batch"
    one = TensorDataset(torch.randn(1, 4), torch.tensor([1]))
    found = measured(model, samples, OneSample(one))
    loss = nn.functional.cross_entropy(model(one.tensors[0].double()), one.tensors[1])
    assert found.value == pytest.approx(loss.item())


def test_all_objectives_together_are_the_same_as_each_alone():
    model, samples = net(2), held_out(2)
    asked = resolved(["utility", "utility:class", "fairness:sex", "fairness:sex:worst_group"], NAMES2)
    bound = [bind(objective, model, samples, groups=samples.groups) for objective in asked]
    for one, objective in zip(measured_all(model, samples, bound), asked, strict=True):
        alone = measured(model, samples, objective)
        assert one.value == pytest.approx(alone.value)
        assert all(torch.allclose(one.gradient[name], alone.gradient[name]) for name in alone.gradient)


def test_the_model_comes_back_as_it_was_also_after_an_error():
    model = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)).double().train()
    model[0].bias.requires_grad_(False)
    measured(model, held_out(2), "fairness:sex")
    with pytest.raises(InfluenceError), scoring(model):
        measured(model, held_out(2), Own(lambda m, x, y: m(x), "bad", "bad"))
    assert model.training and not model[0].bias.requires_grad and model[0].weight.requires_grad


def groups_of(values) -> HeldOut:
    samples = held_out(2, m=len(values))
    return HeldOut(
        samples, net(2), lambda outputs, labels: outputs[:, 0], NAMES2, pd.DataFrame({"sex": values})
    )


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["a"] * 60, "has a single value"),
        ([None] * 60, "is empty on all validation samples"),
        ([f"id{row}" for row in range(1000)], "has 1,000 different values"),
        (["a"] * 58 + ["b", "b"], "Fewer than two groups of 'sex' have 5 validation samples"),
    ],
)
def test_a_column_that_cannot_be_compared_is_refused_in_one_sentence(values, says):
    with pytest.raises(ObjectiveError, match=says):
        Gap("sex").bound(groups_of(values))


def test_what_is_left_out_of_a_gap_is_said():
    values = ["a", "b"] * 40 + ["c"] * 3 + [None] * 7
    held = replace(groups_of(values), train_groups=pd.DataFrame({"sex": ["a", "b", "d", "d"]}))
    notes = " ".join(Gap("sex").bound(held).notes)
    assert "7 of 90 validation samples have no value in 'sex'" in notes
    assert "fewer than 5 validation samples are left out: 'c' has 3" in notes
    assert "without any validation sample: d (2 training samples)" in notes


def test_a_class_that_a_group_lacks_is_said_and_the_other_groups_are_compared():
    held = groups_of(["a", "b", "c"] * 30)
    labels = held.samples.labels.copy()
    labels[2::3] = 0
    held = replace(held, samples=held.samples.relabelled(labels))
    bound = Gap("sex").bound(held)
    assert any("labelled yes in some groups of 'sex' ('c' 0" in note for note in bound.notes)
    found = measured_all(held.model, held.samples, [bound])[0]
    inputs, given = held.samples.batch(range(90))
    losses = nn.functional.cross_entropy(held.model(inputs.double()), given, reduction="none")
    own = [losses[(given == 1) & (torch.arange(90) % 3 == group)].mean() for group in (0, 1)]
    truth = torch.autograd.grad((own[0] - own[1]).abs(), list(held.model.parameters()))
    assert all(torch.allclose(a, b) for a, b in zip(found.gradient.values(), truth, strict=True)), (
        "the empty group's 0/0 reached the gradient"
    )
    two = replace(held, groups=pd.DataFrame({"sex": ["a", "a", "c"] * 30}))
    with pytest.raises(ObjectiveError, match="Fewer than two groups remain"):
        Gap("sex").bound(two)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("beauty", "'beauty' is not known; expected one of utility, fairness"),
        ("fairness", "fairness:COLUMN"),
        ("fairness:sex:justice", "equal_opportunity, demographic_parity"),
        ("utility:classes", "utility:class:NAME"),
        ("utility:class:x", "no class 'x'"),
        ("fairness:age", "no group column 'age' on the validation samples; they carry sex"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(name, says):
    with pytest.raises(InfluenceError, match=says):
        ic.objective_gradient(net(2), held_out(2), name)


def test_two_objectives_of_one_name_are_refused():
    with pytest.raises(InfluenceError, match="Two objectives are called fairness_sex"):
        resolved(["fairness:sex", "fairness:sex:equal_opportunity"])
