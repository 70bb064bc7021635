"""Datasets, labels and outputs in the usual shapes of Python: understood, or refused with the line to write."""

import warnings
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, IterableDataset, SubsetRandomSampler

import influence_core as ic
from influence_core.errors import DataError, InfluenceError, ModelError
from tests.making.maps import NoMap
from tests.making.oracles import flat_gradients
from tests.making.refusals import assert_refused
from tests.making.sweep_laws import Made

N = 24
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(1)
Pair = namedtuple("Pair", "logits extra")


@dataclass
class Output:
    logits: Tensor


def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).eval()


def returning(shape) -> nn.Module:
    return Made(lambda self, x: shape(self.net(x)), net=net()).eval()


class Items(Dataset):
    """n samples made by a function of the row."""

    def __init__(self, item, n: int = N) -> None:
        self.item, self.n = item, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, row: int):
        return self.item(row)


def labelled(label) -> Items:
    return Items(lambda row: (X[row], label(row)))


def given(inputs) -> Items:
    return Items(lambda row: (inputs(row), int(Y[row])))


class Stream(IterableDataset):
    def __len__(self) -> int:
        return N

    def __iter__(self):
        return iter((X[row], int(Y[row])) for row in range(N))


def broken(row: int):
    if row == 5:
        raise KeyError("5.png")
    return X[row], int(Y[row])


PLAIN = labelled(lambda row: int(Y[row]))
LABELS = {
    "of shape (1,)": lambda row: Y[row : row + 1],
    "int32": lambda row: Y[row].to(torch.int32),
    "uint8": lambda row: Y[row].to(torch.uint8),
    "numpy uint16": lambda row: np.uint16(Y[row]),
    "whole float": lambda row: float(Y[row]),
    "whole float tensor of shape (1,)": lambda row: Y[row : row + 1].float(),
    "one-hot": lambda row: functional.one_hot(Y[row], 3),
    "one-hot float": lambda row: functional.one_hot(Y[row], 3).float(),
}


@pytest.mark.parametrize("label", LABELS)
def test_labels_of_every_usual_format_are_classes(label):
    data = labelled(LABELS[label])
    straight, found = ic.sweep(net(), PLAIN, sketch=8), ic.sweep(net(), data, sketch=8)
    assert torch.allclose(found.grad_norms, straight.grad_norms, rtol=1e-6), (
        f"labels given as {label} changed"
    )
    gradient, same = ic.objective_gradient(net(), data), ic.objective_gradient(net(), PLAIN)
    assert all(torch.allclose(gradient[name], same[name], rtol=1e-5, atol=1e-7) for name in same)
    influence, same = (ic.layer_aware_influence(net(), one, one) for one in (data, PLAIN))
    assert torch.allclose(influence, same, rtol=1e-5, atol=1e-7)


def test_an_analysis_reads_labels_and_loaders_as_the_engine_does(tmp_path):
    """Also groups' gaps, where (b, 1) beside (b,) would silently become (b, b)."""
    tables = []
    for name, item in (
        ("plain", lambda row: int(Y[row])),
        ("odd", LABELS["whole float tensor of shape (1,)"]),
    ):
        data = labelled(item)
        data.groups = pd.DataFrame({"side": np.where(np.arange(N) % 2, "left", "right")})
        data.classes = ("a", "b", "c")
        train = DataLoader(data, 8, shuffle=True) if name == "odd" else data
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = ic.analyze(
                net(),
                train,
                data,
                objectives=["utility", "fairness:side:equal_opportunity", "robustness"],
                out=tmp_path / name,
                drawing=NoMap(),
            )
        tables.append((run.samples, run.description["objectives"]))
    pd.testing.assert_frame_equal(
        *(table for table, _ in tables), rtol=1e-4, atol=1e-5
    )  # two ways to one gradient
    assert tables[0][1] == tables[1][1], "an objective reads labels of shape (1,) against all samples"


INPUTS = {
    "a numpy array": lambda row: X[row].numpy(),
    "a float64 array": lambda row: X[row].double().numpy(),
    "a named tuple": lambda row: namedtuple("One", "input")(X[row]),
    "a dictionary by name": lambda row: {"input": X[row]},
}


@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_of_every_usual_kind_are_read(kind):
    found = ic.sweep(net(), given(INPUTS[kind]), sketch=0)
    assert torch.allclose(found.grad_norms, ic.sweep(net(), PLAIN, sketch=0).grad_norms)


def program() -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(net(), X[:2])


REFUSED = {
    "a tuple returned": (lambda: (returning(lambda o: (o, o)), PLAIN), ModelError, "output[0]"),
    "a dictionary returned": (
        lambda: (returning(lambda o: {"logits": o}), PLAIN),
        ModelError,
        "output['logits']",
    ),
    "a named tuple returned": (lambda: (returning(lambda o: Pair(o, o)), PLAIN), ModelError, "output.logits"),
    "an object returned": (lambda: (returning(Output), PLAIN), ModelError, "output.logits"),
    "classes returned": (lambda: (returning(lambda o: o.argmax(1)), PLAIN), ModelError, "argmax"),
    "one logit": (
        lambda: (returning(lambda o: o[:, :1]), PLAIN),
        ModelError,
        "torch.zeros_like(output), output",
    ),
    "a fraction as label": (lambda: (net(), labelled(lambda row: row / 2)), DataError, "sample 1 is 0.5"),
    "NaN as label": (lambda: (net(), labelled(lambda row: float("nan"))), DataError, "nan"),
    "label -1": (lambda: (net(), labelled(lambda row: -(row == 7))), DataError, "-1"),
    "label -100": (lambda: (net(), labelled(lambda row: -100 * (row == 7))), DataError, "-100"),
    "a label too large": (lambda: (net(), labelled(lambda row: 3 * (row == 20))), DataError, "3"),
    "no label": (
        lambda: (net(), labelled(lambda row: None if row == 3 else 0)),
        DataError,
        "Sample 3 has no label",
    ),
    "a word as label": (lambda: (net(), labelled(lambda row: "cat")), DataError, "names.index(label)"),
    "several classes": (
        lambda: (net(), labelled(lambda row: torch.tensor([1.0, 1, 0]))),
        InfluenceError,
        "[1.0, 1.0",
    ),
    "labels of another length": (lambda: (net(), labelled(lambda row: torch.zeros(5))), InfluenceError, "5"),
    "uint8 inputs": (
        lambda: (net(), given(lambda row: X[row].to(torch.uint8))),
        ModelError,
        "input.float() / 255",
    ),
    "a picture": (lambda: (net(), given(lambda row: Image.new("L", (4, 4)))), DataError, "ToTensor()"),
    "a text": (lambda: (net(), given(lambda row: "words")), DataError, "tokenize"),
    "a list of numbers": (
        lambda: (net(), given(lambda row: X[row].tolist())),
        ModelError,
        "torch.tensor(input)",
    ),
    "inputs too narrow": (lambda: (net(), given(lambda row: X[row][:5])), ModelError, "5) float32"),
    "other shapes": (lambda: (net(), given(lambda row: X[row][: 6 - (row == 9)])), DataError, "0 and 9"),
    "a dictionary as sample": (
        lambda: (net(), Items(lambda row: {"image": X[row], "label": 0})),
        DataError,
        "[(item['image'], item['label']) for item in dataset]",
    ),
    "three parts": (lambda: (net(), Items(lambda row: (X[row], 0, row))), DataError, "(item[0], item[1])"),
    "an input alone": (lambda: (net(), X), DataError, "TensorDataset(inputs, labels)"),
    "a stream": (lambda: (net(), Stream()), DataError, "list(samples)"),
    "a loader that chooses": (
        lambda: (net(), DataLoader(PLAIN, sampler=SubsetRandomSampler(range(9)))),
        DataError,
        "loader.dataset",
    ),
    "a loader that changes": (
        lambda: (net(), DataLoader(PLAIN, collate_fn=list)),
        DataError,
        "loader.dataset",
    ),
    "several splits": (lambda: (net(), {"train": PLAIN}), DataError, 'samples["train"]'),
    "weights without numbers": (lambda: (nn.Linear(6, 3, device="meta"), PLAIN), ModelError, "'meta'"),
    "lazy layers": (lambda: (nn.LazyLinear(3), PLAIN), ModelError, "lazy layers", "model(inputs)"),
    "a program": (lambda: (program(), PLAIN), ModelError, "TorchScript", "load_state_dict"),
    "an array returned": (lambda: (returning(lambda o: o.detach().numpy()), PLAIN), ModelError, ".numpy()"),
    "axes of length 1": (
        lambda: (returning(lambda o: o[..., None, None]), PLAIN),
        ModelError,
        "output.flatten(1)",
    ),
    "no module": (lambda: (lambda x: x, PLAIN), ModelError, "torch.nn.Module"),
    "no gradient": (lambda: (returning(lambda o: o.detach()), PLAIN), InfluenceError, "detach()"),
    "a sample that cannot be read": (lambda: (net(), Items(broken)), DataError, "Sample 5", "5.png"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_understood_is_refused_with_the_line_to_write(case):
    make, error, *words = REFUSED[case]
    with assert_refused(error, *words):
        ic.sweep(*make())


@pytest.mark.parametrize(
    "case", ["a dictionary returned", "one logit", "a fraction as label", "label -1", "a picture"]
)
def test_an_analysis_refuses_in_the_same_words(case, tmp_path):
    make, error, *words = REFUSED[case]
    model, data = make()
    with assert_refused(error, *words[:1]):
        ic.analyze(model, data, PLAIN, out=tmp_path / "run", drawing=NoMap())


DOORS = {
    "objective_gradient": ic.objective_gradient,
    "layer_aware_influence": lambda model, data: ic.layer_aware_influence(model, data, data),
    "per_sample_gradients": lambda model, data: ic.per_sample_gradients(model, data, "cross_entropy"),
    "directional": lambda model, data: ic.directional(
        model,
        data,
        {name: torch.ones(value.shape) for name, value in getattr(model, "named_parameters", dict)()},
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_no_door_shows_a_traceback_of_torch(door):
    for case, (make, *_) in REFUSED.items():
        if case == "no gradient" and door in ("layer_aware_influence", "directional"):
            continue  # the one needs none, the other finds that all products are zero
        if case == "lazy layers" and door == "directional":
            continue  # without shapes nobody can write a direction
        with pytest.raises(InfluenceError):
            DOORS[door](*make())
            raise AssertionError(f"{case} was accepted")


def test_the_line_for_one_logit_gives_the_gradients_of_binary_cross_entropy():
    model, data = returning(lambda o: o[:, :1]), labelled(lambda row: int(Y[row] > 0))
    binary = flat_gradients(
        model,
        data,
        lambda o, y: functional.binary_cross_entropy_with_logits(o[:, 0], y.float(), reduction="none"),
    )
    model.register_forward_hook(
        lambda module, args, output: torch.cat([torch.zeros_like(output), output], -1)
    )
    assert torch.allclose(ic.sweep(model, data, sketch=0).grad_norms, binary.norm(dim=1), rtol=1e-4)


def test_the_line_for_a_dictionary_scores_as_the_logits_do():
    model = returning(lambda o: {"logits": o})
    model.register_forward_hook(lambda module, args, output: output["logits"])
    assert torch.equal(
        ic.sweep(model, PLAIN, sketch=0).grad_norms, ic.sweep(net(), PLAIN, sketch=0).grad_norms
    )


def test_the_person_s_own_error_is_chained_and_its_place_named():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(10, 4), nn.Linear(4, 3)

        def forward(self, ids):
            return self.head(self.words(ids).mean(1))

    data = Items(lambda row: (torch.arange(5) + 8 * (row == 17), int(Y[row])))
    with assert_refused(ModelError, "sample 17", "'words'", "IndexError") as caught:
        ic.sweep(Words(), data)
    assert isinstance(caught.value.__cause__, IndexError), "the traceback of the model's own code is lost"
    with assert_refused(DataError, "Sample 5", "KeyError") as caught:
        ic.sweep(net(), Items(broken))
    assert isinstance(caught.value.__cause__, KeyError)
    with assert_refused(InfluenceError, "The loss failed", "ZeroDivisionError") as caught:
        ic.sweep(net(), PLAIN, loss=lambda outputs, labels: outputs / (1 // 0))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_recordings_refuse_what_they_cannot_read(tmp_path):
    recorder = ic.Recorder(tmp_path / "a", ids=["a", "b"], labels=[0, 1])
    z = torch.zeros(2, 3)
    recorder.batch([0, 1], z, torch.tensor([[0], [1]]))
    for rows, outputs, labels in (
        ([0, 1], {"logits": z}, [0, 1]),
        ([0, 1], z, ["x", "y"]),
        ([0, 1], z, [0, 3]),
        ([0, 1], z, [0.5, 1]),
        ([0], z, [0, 1]),
        (["a", "b"], z, [0, 1]),
        ([0, 1], z, None),
    ):
        with pytest.raises(InfluenceError):
            recorder.batch(rows, outputs, labels)
    with assert_refused(InfluenceError, "margin"):
        recorder.numbers([0, 1], margins=[1, 2])


def test_empty_data_and_models_in_training_mode_are_understood():
    assert len(ic.sweep(net(), []).losses) == 0
    model = nn.Sequential(nn.Linear(6, 3), nn.Dropout()).train()
    swept = ic.sweep(model, PLAIN, sketch=0)
    assert model.training and model[1].training
    assert torch.allclose(swept.grad_norms, flat_gradients(model, PLAIN).norm(dim=1), rtol=1e-4)
