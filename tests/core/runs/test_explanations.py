"""The most helpful and harmful samples of one prediction are those of brute-force autograd, sign included."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import influence_core as ic
from influence_core.engine import batches as loop
from influence_core.engine.directions import sketch_of
from influence_core.errors import DataError, RunError
from influence_core.inputs.reopened import reopen
from influence_core.runs.shortlist import shortlist
from tests.making.maps import NoMap
from tests.making.oracles import flat_gradients, settled
from tests.making.real_run import dataset_of, make_explained_run, write_weights
from tests.making.tiny import tiny_samples

N = 80


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return settled(
        nn.Sequential(nn.Conv2d(2, 9, 3), nn.BatchNorm2d(9), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "a"
    train, val, test = tiny_samples(N, 1), tiny_samples(30, 2), tiny_samples(12, 3)
    return ic.analyze(net(), train, val, test=test, drawing=NoMap(), out=out)


def products(model: nn.Module, samples, v: torch.Tensor) -> np.ndarray:
    """The slow truth: every sample alone through autograd, in float64."""
    return (flat_gradients(model, samples) @ v).numpy()


def exact_in_double(samples: TensorDataset) -> TensorDataset:
    return TensorDataset(samples.tensors[0].double(), samples.tensors[1])


@pytest.mark.parametrize("row", [0, 7, 19])
def test_influence_on_a_validation_loss_is_that_of_autograd(run, row):
    model, val = net().double(), exact_in_double(tiny_samples(30, 2))
    v = flat_gradients(model, val)[row]
    truth = products(model, exact_in_double(tiny_samples(N, 1)), v)
    found = run.explain(str(row), k=10, split="val")
    order = np.argsort(-truth)
    helpful = [str(at) for at in order[:10] if truth[at] > 0]
    assert found.helpful.index.tolist() == helpful, "the most helpful first: the sign, or the order, is wrong"
    assert found.harmful.index.tolist() == [str(at) for at in order[::-1][:10] if truth[at] < 0]
    for table in (found.helpful, found.harmful):
        want = truth[table["position"]]
        np.testing.assert_allclose(table["influence"], want, rtol=1e-3, atol=1e-5 * np.abs(truth).max())
    assert found.quality.scored == N and found.quality.missed_helpful == 0


def test_a_helpful_step_really_lowers_the_loss_of_that_prediction(run):
    """Not a formula: the model takes one small step on the sample, and the prediction's loss is measured again."""
    best, worst = run.explain("4", split="val").helpful, run.explain("4", split="val").harmful
    for table, sign in ((best, 1), (worst, -1)):
        before, after = _loss_before_and_after_a_step(int(table["position"].iloc[0]), 4, rate=1e-7)
        measured = (before - after) / 1e-7
        assert measured == pytest.approx(table["influence"].iloc[0], rel=1e-2)
        assert np.sign(measured) == sign, "positive influence must mean that the loss falls"


def _loss_before_and_after_a_step(train_row: int, val_row: int, rate: float) -> tuple[float, float]:
    model, train, val = (
        net().double().eval(),
        exact_in_double(tiny_samples(N, 1)),
        exact_in_double(tiny_samples(30, 2)),
    )

    def loss(samples: TensorDataset, row: int) -> torch.Tensor:
        value, label = samples[row]
        return nn.functional.cross_entropy(model(value[None]), label[None])

    before = loss(val, val_row).item()
    gradients = torch.autograd.grad(loss(train, train_row), list(model.parameters()))
    with torch.no_grad():
        for value, gradient in zip(model.parameters(), gradients, strict=True):
            value -= rate * gradient
    return before, loss(val, val_row).item()


def test_the_margin_between_two_classes_has_its_own_gradient_and_sign(run):
    model, val = net().double().eval(), exact_in_double(tiny_samples(30, 2))
    logits = model(val[3][0][None])[0]
    gradients = torch.autograd.grad(logits[1] - logits[2], list(model.parameters()))
    toward_one = -products(
        model, exact_in_double(tiny_samples(N, 1)), torch.cat([g.flatten() for g in gradients])
    )
    found = run.explain("3", objective=("1", "2"), split="val", k=5)
    assert found.helpful["position"].tolist() == np.argsort(-toward_one)[:5].tolist(), (
        "a step AGAINST a training gradient must widen the lead of class 1 over class 2"
    )
    mirrored = run.explain("3", objective=("2", "1"), split="val", k=5)
    np.testing.assert_allclose(mirrored.harmful["influence"], -found.helpful["influence"], rtol=1e-5)


def test_a_training_sample_is_not_listed_as_its_own_helper(run):
    found = run.explain("5", split="train", k=50)
    assert "5" not in found.helpful.index, "its own gradient always agrees with itself"
    model, train = net().double(), exact_in_double(tiny_samples(N, 1))
    truth = products(model, train, flat_gradients(model, train)[5])
    assert int(found.harmful["position"].iloc[0]) == int(np.argmin(truth))


def test_whom_a_training_sample_hurts_is_the_same_product_read_the_other_way(run):
    found = run.affected("11", k=5)
    assert found.among == "val"
    for sample_id, influence in found.harmful["influence"].items():
        back = run.explain(str(sample_id), split="val", k=50)
        both = pd.concat([back.helpful, back.harmful])
        assert both.loc["11", "influence"] == pytest.approx(influence, rel=1e-4), "<g_i, g_j> is symmetric"


def test_a_sample_that_was_handed_over_is_explained_like_one_that_was_named(run):
    value, label = tiny_samples(30, 2)[8]
    named, given = run.explain("8", split="val"), run.explain((value, int(label)))
    pd.testing.assert_frame_equal(named.helpful, given.helpful)
    assert given.sample_id is None and given.split == "given"
    unlabelled = run.explain((value, None))
    assert unlabelled.label == unlabelled.predicted


def test_the_sketch_of_a_direction_is_the_one_a_sweep_stores():
    model, samples = net(), tiny_samples(5, 7)
    swept = ic.sweep(model, samples, sketch=64, seed=3)
    for row in range(5):
        alone = TensorDataset(*(t[row : row + 1] for t in samples.tensors))
        own = sketch_of(model, ic.objective_gradient(model, alone), q=64, seed=3)
        torch.testing.assert_close(own, swept.sketches[row], rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------- the first answer


@pytest.mark.parametrize(("split", "among"), [("val", "train"), ("train", "train"), ("train", "val")])
def test_the_first_answer_gives_the_estimates_that_the_exact_one_begins_with(run, split, among):
    """The likely bugs: another seed for the stored sketches, the sample itself among its helpers, a lost sign."""
    first = run.first_answer("7", split=split, among=among, k=8)
    exact = run.affected("7", k=50) if among == "val" else run.explain("7", split=split, k=50)
    assert (first.label, first.predicted) == (exact.label, exact.predicted)
    assert first.confidence == pytest.approx(exact.confidence, abs=1e-5)
    both = pd.concat([exact.helpful, exact.harmful])
    for sign, table in ((1, first.helpful), (-1, first.harmful)):
        assert (sign * table["estimate"] > 0).all() and (np.diff(sign * table["estimate"]) <= 0).all()
        assert split != among or "7" not in table.index
        known = table.index[table.index.isin(both.index)]
        np.testing.assert_allclose(table.loc[known, "estimate"], both.loc[known, "estimate"], rtol=1e-4)
    model, others = (
        net().double(),
        exact_in_double(tiny_samples(N, 1) if among == "train" else tiny_samples(30, 2)),
    )
    own = flat_gradients(
        model, exact_in_double(tiny_samples(N, 1) if split == "train" else tiny_samples(30, 2))
    )[7]
    truth = products(model, others, own)
    assert np.corrcoef(truth[first.helpful["position"]], first.helpful["estimate"])[0, 1] > 0.9


def test_no_first_answer_where_no_sketch_is_stored(run):
    assert run.first_answer("3", split="test") is None
    with pytest.raises(RunError, match="no sample"):
        run.first_answer("nobody", split="val")


def test_the_first_answer_neither_opens_the_model_nor_imports_torch(run):
    code = (
        "import sys, influence_core as ic\n"
        f"run = ic.open_run({str(run.path)!r})\n"
        "assert len(run.first_answer('4', split='val').helpful)\n"
        "assert 'torch' not in sys.modules, 'torch: two seconds before the first answer of a server'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# ---------------------------------------------------------------------------------------------- the shortlist


def synthetic(n: int, q: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimates, bounds and exact products as sketches of 40-dimensional gradients give them."""
    rng = np.random.default_rng(seed)
    v = rng.normal(size=40)
    g = rng.normal(size=(n, 40)) * rng.lognormal(0, 1.5, (n, 1)) + 0.2 * v
    signs = rng.choice([-1.0, 1.0], (40, q)) / np.sqrt(q)
    return g @ signs @ (v @ signs), np.linalg.norm(g, axis=1) * np.linalg.norm(v), g @ v


def test_the_shortlist_finds_the_extremes_with_a_fraction_of_the_products():
    estimates, bounds, exact = synthetic(20_000, 256, seed=0)
    found = shortlist(estimates, bounds, lambda rows: exact[rows], q=256, k=50)
    order = np.argsort(-exact)
    assert found.quality.scored <= 1024
    recall = len(set(found.rows[:10]) & set(order[:10])) / 10
    assert recall == 1.0, "the ten most helpful must be among the shortlist"
    assert set(found.rows[-10:]) == set(order[-10:])
    np.testing.assert_array_equal(found.products, exact[found.rows])


def test_what_may_be_missed_is_said_and_true_on_average():
    """Sketches far too small for the budget: the expected number of misses must match the real one."""
    said, real = [], []
    for seed in range(12):
        estimates, bounds, exact = synthetic(8_000, 32, seed)
        found = shortlist(estimates, bounds, lambda rows, e=exact: e[rows], q=32, k=50, budget=300, seed=seed)
        scored = set(found.rows.tolist())
        bar = found.products[49]
        real.append(sum(exact[at] > bar for at in range(len(exact)) if at not in scored))
        said.append(found.quality.missed_helpful)
    assert np.mean(real) > 1, "this test needs misses"
    assert 0.5 <= np.mean(said) / np.mean(real) <= 2, f"said {np.mean(said):.1f}, missed {np.mean(real):.1f}"


def test_the_share_of_the_top_covers_the_truth():
    inside, sums = [], []
    for seed in range(20):
        estimates, bounds, exact = synthetic(5_000, 256, seed)
        quality = shortlist(estimates, bounds, lambda rows, e=exact: e[rows], q=256, seed=seed).quality
        share, total = quality.top_helpful, quality.help
        truth = np.sort(exact)[::-1][:50].sum() / exact[exact > 0].sum()
        inside.append(share.low <= truth <= share.high)
        sums.append(total.low <= exact[exact > 0].sum() <= total.high)
    assert min(np.mean(inside), np.mean(sums)) >= 0.8, (
        "a 95 % interval that misses the truth so often is none"
    )


def test_everything_is_exact_when_there_are_few_samples():
    estimates, bounds, exact = synthetic(300, 16, seed=1)
    found = shortlist(estimates, bounds, lambda rows: exact[rows], q=16)
    assert found.quality.scored == 300 and found.quality.missed_harmful == 0
    share = found.quality.top_helpful
    assert found.quality.harm.value == found.quality.harm.low == pytest.approx(-exact[exact < 0].sum())
    assert share.low == share.high == pytest.approx(np.sort(exact)[::-1][:50].sum() / exact[exact > 0].sum())


# ---------------------------------------------------------------------------------------------- refusals


def test_a_run_refuses_a_model_that_was_trained_on(run):
    model = run.inputs().model
    with torch.no_grad():
        model[4].bias += 0.125
    try:
        with pytest.raises(RunError, match="has changed"):
            run.explain("0", split="val")
        with pytest.raises(RunError, match="has changed"):
            ic.open_run(run.path).adopt(model, tiny_samples(N, 1), tiny_samples(30, 2), tiny_samples(12, 3))
    finally:
        model.load_state_dict(net().state_dict())


def test_a_run_made_in_python_refuses_other_data_and_says_how_to_give_its_own(run):
    again = ic.open_run(run.path)
    with pytest.raises(RunError, match=r"run\.adopt"):
        again.explain("0", split="val")
    with pytest.raises(RunError, match="dataset of the run"):
        again.adopt(net(), tiny_samples(N, 8), tiny_samples(30, 2), tiny_samples(12, 3))
    again.adopt(net(), tiny_samples(N, 1), tiny_samples(30, 2), tiny_samples(12, 3))
    assert len(again.explain("0", split="val", k=3).helpful) == 3


def test_files_that_changed_are_refused(tmp_path):
    run = make_explained_run(tmp_path / "a", objectives=("utility",))
    root = dataset_of(tmp_path / "a")
    assert len(run.explain("val/bright/100.png", k=3).helpful) == 3, (
        "opened again from its files, with its options"
    )
    write_weights(root, seed=1)
    with pytest.raises(RunError, match=r"The model of the run .* has changed"):
        reopen(ic.open_run(run.path))
    write_weights(root, seed=0)
    next((root / "train" / "dark").glob("*.png")).unlink()
    with pytest.raises(RunError, match=r"The dataset of the run .* has changed"):
        reopen(ic.open_run(run.path))


def test_a_picture_as_a_file_is_explained_like_the_sample_it_is(tmp_path):
    run = make_explained_run(tmp_path / "a", objectives=("utility",))
    content = (dataset_of(tmp_path / "a") / "val" / "dark" / "101.png").read_bytes()
    given, named = run.explain(content, label="dark"), run.explain("val/dark/101.png")
    pd.testing.assert_frame_equal(given.helpful, named.helpful)
    with pytest.raises(DataError, match="damaged GIF"):
        run.explain(b"GIF89a")


@pytest.mark.parametrize(
    ("sample", "options", "said"),
    [
        ("nobody", {}, "has no validation, test or training sample"),
        ("0", {"objective": ("1", "1")}, "two different class names"),
        ("0", {"objective": ("1", "coat")}, "not a class"),
        ("0", {"k": 0}, "expected 1 to 50"),
    ],
)
def test_a_question_that_cannot_be_answered_is_a_sentence(run, sample, options, said):
    with pytest.raises(RunError, match=said):
        run.explain(sample, **options)


def test_the_model_is_left_as_it_was_found(run):
    model = run.inputs().model
    model.train()
    model[0].weight.requires_grad_(False)
    run.explain("1", split="val")
    assert model.training and not model[0].weight.requires_grad
    model.eval()
    model[0].weight.requires_grad_(True)
    assert loop.home(model)[1] == torch.float32
