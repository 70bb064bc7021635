"""No model may get a wrong number without an error: what no operation shows is found on three samples."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset, TensorDataset

import influence_core as ic
from influence_core.errors import DataError, InfluenceError, ModelError
from tests.making.maps import MapHere
from tests.making.oracles import dataset, flat_gradients, random_directions


class Functional(nn.Module):
    """Uses a layer's weight without calling the layer."""

    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(torch.tanh(functional.linear(x, self.hidden.weight, self.hidden.bias)))


class Tied(nn.Module):
    """An embedding whose table is also the output layer."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(7, 5)

    def forward(self, ids):
        return functional.linear(self.words(ids).mean(1), self.words.weight)


class PositionsFirst(nn.Module):
    """A layer that sees positions, not samples, on axis 0."""

    def __init__(self):
        super().__init__()
        self.places, self.head = nn.Embedding(3, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.head((x[:, None] + self.places(torch.arange(3))).tanh().mean(1))


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))
    model[0].register_forward_hook(lambda module, inputs, output: 3 * output)
    return model


def pruned() -> nn.Module:
    from torch.nn.utils import prune

    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))
    prune.l1_unstructured(model[0], "weight", amount=0.5)
    return model


@pytest.mark.parametrize("build", [Functional, hooked, pruned, PositionsFirst])
def test_weights_used_outside_their_layer_are_exact(build):
    torch.manual_seed(0)
    model, samples = build().double(), dataset(4, n=6, classes=3)
    flags = [p.requires_grad for p in model.parameters()]
    found = ic.sweep(model, samples, precision="float64")
    assert torch.allclose(found.grad_norms, flat_gradients(model, samples).norm(dim=1), rtol=1e-10)
    assert "alone" not in found.ways.values(), (
        "seen operation by operation, not by one backward pass a sample"
    )
    assert [p.requires_grad for p in model.parameters()] == flags


def test_tied_weights_are_added_before_a_norm_is_taken():
    torch.manual_seed(0)
    model = Tied().double()
    samples = TensorDataset(torch.randint(7, (6, 4)), torch.randint(7, (6,)))
    found = ic.sweep(model, samples, precision="float64")
    assert torch.allclose(found.grad_norms, flat_gradients(model, samples).norm(dim=1), rtol=1e-10)


class Hidden(torch.autograd.Function):
    """Multiplies by a weight where no operation shows it."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx, d):
        x, weight = ctx.saved_tensors
        return d * weight, (d * x).sum(0)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale, self.head = nn.Parameter(torch.rand(4)), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(Hidden.apply(x, self.scale))


def test_a_parameter_that_no_operation_shows_gets_a_pass_of_its_own():
    torch.manual_seed(0)
    model, samples = Scaled().double(), dataset(4, n=6, classes=3)
    found = ic.sweep(model, samples, precision="float64", batch_size=4)
    assert found.ways["scale"] == "alone" and found.ways["head.weight"] == "rule"
    assert torch.allclose(found.grad_norms, flat_gradients(model, samples).norm(dim=1), rtol=1e-10)


class Deciding(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(x) if x.mean() > 0 else self.head(-x)


def test_a_model_that_decides_by_its_batch_is_scored_with_batches_of_one():
    torch.manual_seed(0)
    model, samples = Deciding().double(), dataset(4, n=9, classes=3)
    found = ic.sweep(model, samples, precision="float64", batch_size=4)
    assert torch.allclose(found.grad_norms, flat_gradients(model, samples).norm(dim=1), rtol=1e-10)


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # torch, of vmap over Bilinear
def test_keyword_inputs_are_read_in_the_order_of_forward():
    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.both, self.head = nn.Bilinear(4, 4, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(torch.tanh(self.both(input2=x**2, input1=x)))

    torch.manual_seed(0)
    model, samples = Pairs().double(), dataset(4, n=5, classes=3)
    directions = random_directions(model, 1)
    found = ic.sweep(model, samples, directions=directions, precision="float64").products[:, 0]
    truth = flat_gradients(model, samples) @ torch.cat([v.flatten() for v in directions[0].values()])
    assert torch.allclose(found, truth)


def test_a_backbone_under_no_grad_has_no_gradient():
    class Features(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            with torch.no_grad():
                x = torch.tanh(self.body(x))
            return self.head(x)

    torch.manual_seed(0)
    found = ic.sweep(Features(), dataset(4, n=5, classes=3, dtype=torch.float32))
    assert (found.layer_norms["body"] == 0).all() and (found.layer_norms["head"] > 0).all()


def test_the_last_layer_has_its_norm_also_when_its_weight_is_shared():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)).double()
    model[2].weight = model[0].weight
    samples = dataset(3, n=5, classes=3)
    found = ic.sweep(model, samples, precision="float64")
    assert found.last_layer == "2" and (found.last_norm_l1 > 0).all() and (found.layer_norms["2"] > 0).all()
    assert torch.allclose(found.grad_norms, flat_gradients(model, samples).norm(dim=1)), (
        "counted once in the total"
    )


@pytest.mark.parametrize("change", ["labels", "loss", "activation", "frozen"])
def test_a_shard_of_another_pass_is_never_used(change, tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    samples = dataset(4, n=6, classes=3, dtype=torch.float32)
    ic.sweep(model, samples, shards=tmp_path, fingerprint="first")
    loss, fingerprint = "cross_entropy", "first"
    if change == "labels":
        samples, fingerprint = TensorDataset(samples.tensors[0], (samples.tensors[1] + 1) % 3), "second"
    elif change == "loss":
        loss = lambda outputs, labels: 7 * functional.cross_entropy(outputs, labels, reduction="none")  # noqa: E731
    elif change == "activation":
        model[1] = nn.Tanh()
    else:
        model[0].weight.requires_grad_(False)
    fresh = ic.sweep(model, samples, loss=loss)
    kept = ic.sweep(model, samples, loss=loss, shards=tmp_path, fingerprint=fingerprint)
    assert torch.equal(kept.grad_norms, fresh.grad_norms) and torch.equal(kept.losses, fresh.losses)
    with pytest.raises(InfluenceError, match="without a fingerprint"):
        ic.sweep(model, samples, shards=tmp_path)


def test_features_keep_channels_whatever_the_axis_order():
    torch.manual_seed(0)
    series = nn.Sequential(nn.Conv1d(3, 4, 1), nn.Flatten(), nn.Linear(4 * 9, 2))
    found = ic.sweep(series, dataset(3, 9, n=4, classes=2, dtype=torch.float32), features=["0"]).features["0"]
    assert found.shape == (4, 3), "a series is averaged over time, not over its channels"


class Transformed(Dataset):
    """Like torchvision's SVHN with a target transform: `labels` stands before the transform."""

    def __init__(self, n: int):
        self.inputs, self.labels = torch.randn(n, 4), torch.arange(n).numpy() % 3

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, row):
        return self.inputs[row], int((self.labels[row] + 1) % 3)


def test_labels_come_from_the_items(tmp_path):
    torch.manual_seed(0)
    run = ic.analyze(
        nn.Linear(4, 3), Transformed(20), Transformed(10), out=tmp_path / "run", drawing=MapHere()
    )
    assert run.samples["label"].tolist() == [str((row + 1) % 3) for row in range(20)]


def test_class_names_must_be_as_many_as_outputs(tmp_path):
    data = Transformed(10)
    data.classes = ("a", "b", "c")
    with pytest.raises(ModelError, match=r"5 outputs, but 3 \(a, b, c\)"):
        ic.analyze(nn.Linear(4, 5), data, data, out=tmp_path / "run")


def test_a_failed_run_says_so_and_another_batch_size_continues_it(tmp_path):
    from influence_core.run_files.folder import read_description

    torch.manual_seed(0)
    model, data = nn.Linear(4, 3), Transformed(20)

    def fail(stage, done, total):
        if stage == "validation":
            raise MemoryError("too much")

    with pytest.raises(MemoryError):
        ic.analyze(model, data, data, out=tmp_path / "run", on_progress=fail, drawing=MapHere())
    assert read_description(tmp_path / "run")["state"] == "failed"
    run = ic.analyze(model, data, data, out=tmp_path / "run", batch_size=4, drawing=MapHere())
    assert run.state == "finished"


def test_sizes_that_make_no_sense_are_sentences(tmp_path):
    with pytest.raises(InfluenceError, match="batch size is -1"):
        ic.sweep(nn.Linear(4, 3), Transformed(5), batch_size=-1)
    with pytest.raises(DataError, match="at least 2"):
        ic.analyze(nn.Linear(4, 3), Transformed(1), Transformed(5), out=tmp_path / "run")
