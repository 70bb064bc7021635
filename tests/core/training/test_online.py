"""Scores while a model is trained: the step stays as it was, scores follow the definition, epochs are kept."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import influence_core as ic
from influence_core.errors import InfluenceError, LayerError, RunError
from influence_core.training.online_valuation import OnlineValuation
from tests.making.layer_inputs import Deep, Language, assert_close
from tests.making.oracles import dataset, flat_gradients, products, settled
from tests.making.untrained import bright_and_dark, untrained


def losses_of(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, labels, reduction="none")


@pytest.mark.parametrize("method", ["layer_aware", "last_layer", "ghost"])
@pytest.mark.parametrize("held_out", [True, False], ids=["validation", "leave one out"])
def test_for_one_linear_layer_every_method_is_the_exact_product(method, held_out):
    model, batch, val = (
        nn.Linear(5, 3, dtype=torch.float64),
        dataset(5, n=6, classes=3),
        dataset(5, n=4, classes=3, seed=1),
    )
    g, v = flat_gradients(model, batch), flat_gradients(model, val)
    gram = g @ g.T
    truth = g @ v.mean(0) if held_out else (gram.sum(1) - gram.diagonal()) / 5
    with OnlineValuation(model, val if held_out else None, method=method) as valuation:
        found = valuation.score(model(batch.tensors[0]), batch.tensors[1])
    assert_close(found, truth, "for one linear layer all methods are <g_j, mean of the others' g>")


def test_ghost_is_exact_below_the_head_too():
    model = Deep().double().eval()
    batch, val = dataset(2, 6, 6, n=5, classes=3), dataset(2, 6, 6, n=4, classes=3, seed=1)
    with OnlineValuation(model, val, method="ghost") as valuation:
        found = valuation.score(model(batch.tensors[0]), batch.tensors[1])
    assert_close(found, products(model, batch, val), "not the product of gradients")


def trained(model: nn.Module, batch: TensorDataset, valuation: OnlineValuation | None) -> list[Tensor]:
    torch.manual_seed(3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for _ in range(4):
        outputs = model(batch.tensors[0])
        if valuation is not None:
            valuation.score(outputs, batch.tensors[1])
        optimizer.zero_grad()
        losses_of(outputs, batch.tensors[1]).mean().backward()
        optimizer.step()
    return [value.clone() for value in model.state_dict().values()]


@pytest.mark.parametrize("method", ["layer_aware", "ghost"])
def test_watching_changes_no_bit_of_the_training(method):
    """Dropout, batch norm and the optimizer: a pass of ours in between must not show anywhere."""
    batch, val = dataset(2, 6, 6, n=8, classes=3), dataset(2, 6, 6, n=4, classes=3, seed=1)
    torch.manual_seed(0)
    plain = Deep().double()
    watched = Deep().double()
    watched.load_state_dict(plain.state_dict())
    valuation = OnlineValuation(watched, val, method=method, refresh=2)
    for mine, theirs in zip(trained(watched, batch, valuation), trained(plain, batch, None), strict=True):
        assert torch.equal(mine, theirs), "scoring moved a weight, a running statistic or the random numbers"
    assert watched.training and all(p.requires_grad for p in watched.parameters())
    valuation.close()
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in watched.modules()), (
        "a hook was left behind"
    )


def test_validation_is_seen_in_turn_and_again_after_so_many_steps():
    model, batch, val = (
        nn.Linear(5, 3),
        dataset(5, n=4, classes=3, dtype=torch.float32),
        dataset(5, n=6, classes=3, dtype=torch.float32),
    )
    valuation = OnlineValuation(model, val, refresh=3, validation_batch=3)
    rows = [valuation._next_rows() for _ in range(4)]
    assert all(sorted(np.concatenate(rows[i : i + 2])) == list(range(6)) for i in (0, 2)), (
        "each sample once a round"
    )
    seen = []
    valuation._validation_sums = lambda: seen.append(valuation.steps) or [torch.zeros(3, 6)]
    for _ in range(7):
        valuation.score(model(batch.tensors[0]), batch.tensors[1])
    assert seen == [0, 3, 6], "the validation matrix must be made anew every `refresh` steps"
    valuation.close()


def test_a_tied_or_repeated_sequence_model_is_scored_in_training_too():
    model = Language().double()
    x, y = torch.randn(4, 7, 5, dtype=torch.float64), torch.randint(4, (4, 7))
    with OnlineValuation(model) as valuation:
        found = valuation.score(model(x), y)
    truth = ic.layer_aware_influence(model, TensorDataset(x, y), None)
    assert_close(found, truth, "a batch that is the whole split must give the same scores")


def test_the_filter_keeps_what_helps():
    model = nn.Linear(5, 3)
    with OnlineValuation(model) as valuation:
        batch = dataset(5, n=16, classes=3, dtype=torch.float32)
        outputs = model(batch.tensors[0])
        scores, losses = valuation.score(outputs, batch.tensors[1]), losses_of(outputs, batch.tensors[1])
        assert 0 < int((scores > 0).sum()) < 16
        assert torch.equal(valuation.kept(losses), losses[scores > 0].mean())
        valuation.scores = -torch.ones(16)
        nothing = valuation.kept(losses)
        nothing.backward()
        assert nothing == 0 and model.weight.grad is not None and not model.weight.grad.any(), (
            "a batch without survivors must be a step of zero, not NaN"
        )
        with pytest.raises(InfluenceError, match="reduction='none'"):
            valuation.kept(losses.mean())


def test_epochs_are_written_and_read_back(tmp_path):
    model = settled(nn.Sequential(nn.Linear(5, 3)))
    train = dataset(5, n=6, classes=3, dtype=torch.float32)
    with OnlineValuation(model, samples=train, out=tmp_path / "values") as valuation:
        for _ in range(3):
            for rows in torch.arange(6).split(3):
                outputs = model(train.tensors[0][rows])
                valuation.score(outputs, train.tensors[1][rows], rows)
            valuation.end_epoch()
        with pytest.raises(InfluenceError, match="needs the positions"):
            valuation.score(model(train.tensors[0]), train.tensors[1])
    recording = ic.open_recording(tmp_path / "values")
    assert recording.finished and recording.epochs == 3
    influence = recording.column("influence")
    assert influence.shape == (3, 6) and np.isfinite(influence).all()
    assert np.array_equal(recording.column("kept"), (influence > 0).astype(np.float32))
    table = ic.training_dynamics(recording)
    expected = losses_of(model(train.tensors[0]), train.tensors[1]).detach()
    assert np.allclose(table["confidence"], torch.exp(-expected), atol=1e-5)
    assert np.allclose(table["variability"], 0, atol=1e-6), "nothing was trained: nothing varies"
    with pytest.raises(RunError, match="finished recording"):
        OnlineValuation(model, samples=train, out=tmp_path / "values")


def test_our_own_samples_are_fitted_and_recorded_under_their_names(tmp_path):
    """As a run writes them: otherwise the Dynamics page would refuse the recording as one of other samples."""
    found, model = bright_and_dark(24), untrained()
    train, val = found.select(range(16)), found.select(range(16, 24))
    with OnlineValuation(model, val, samples=train, out=tmp_path / "r", validation_batch=4) as valuation:
        valuation.score(model(train.batch(range(16))[0]), torch.from_numpy(train.labels), range(16))
        valuation.end_epoch()
    table = ic.open_recording(tmp_path / "r").samples
    assert list(table["sample_id"]) == list(train.ids)
    assert list(table["label"]) == [("bright", "dark")[label] for label in train.labels]


def test_sequences_are_recorded_too_and_padding_is_left_out(tmp_path):
    model = Language()
    x, y = torch.randn(4, 7, 5), torch.randint(4, (4, 7))
    y[2, 3:] = -100
    with OnlineValuation(model, samples=TensorDataset(x, y), out=tmp_path / "s") as valuation:
        outputs = model(x)
        valuation.score(outputs, y, range(4))
        valuation.end_epoch()
    recording = ic.open_recording(tmp_path / "s")
    kept = y >= 0
    losses = torch.nn.functional.cross_entropy(outputs.movedim(-1, 1), y, reduction="none").detach()
    assert np.allclose(recording.column("loss")[0], losses.sum(1) / kept.sum(1), atol=1e-5)
    best = outputs.scatter(2, y.clamp_min(0)[..., None], -torch.inf).max(-1).values
    margins = (outputs.gather(2, y.clamp_min(0)[..., None])[..., 0] - best).detach()
    assert np.allclose(recording.column("margin")[0], (margins * kept).sum(1) / kept.sum(1), atol=1e-5)
    assert next(iter(recording.samples["label"])) == " ".join(str(int(v)) for v in y[0])


def test_misuse_is_a_sentence():
    model = nn.Linear(5, 3)
    with pytest.raises(InfluenceError, match="expected layer_aware"):
        OnlineValuation(model, method="shapley")  # pyright: ignore
    with pytest.raises(InfluenceError, match="`out` needs `samples`"):
        OnlineValuation(model, out="nowhere")
    with pytest.raises(InfluenceError, match="empty"):
        OnlineValuation(model, dataset(5, n=0, classes=3))
    with OnlineValuation(model) as valuation, pytest.raises(LayerError, match="run outputs = model"):
        valuation.score(torch.zeros(2, 3), torch.tensor([0, 1]))
