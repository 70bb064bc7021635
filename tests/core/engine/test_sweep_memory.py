"""What is alive while a sweep goes on, counted in the tensors themselves, and what it makes the system do for them."""

import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import influence_core as ic
from influence_core.engine.losses import loss_by_name
from influence_core.engine.readings.batch_totals import Table
from influence_core.engine.study import study_model
from influence_core.engine.watching.backward_roots import End
from influence_core.errors import InfluenceError
from tests.making.oracles import random_directions
from tests.making.sweep_laws import Made

WIDTH, WORDS, LENGTH, BATCH = 64, 200, 32, 16


class Words(nn.Module):
    """Next word at every position, with positions as a raw parameter: added, so differentiated by `broadcast`."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.positions = nn.Parameter(torch.randn(LENGTH, WIDTH))
        layers = [
            nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU()) for _ in range(3)
        ]
        self.layers = nn.ModuleList(layers)
        self.back = nn.ModuleList(nn.Linear(4 * WIDTH, WIDTH) for _ in range(3))
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens) + self.positions
        for layer, back in zip(self.layers, self.back, strict=True):
            x = x + back(layer(x))
        return self.head(x)


def words(n: int) -> tuple[Words, TensorDataset]:
    torch.manual_seed(0)
    tokens = torch.randint(WORDS, (n, LENGTH))
    return Words().eval(), TensorDataset(tokens, tokens.roll(-1, dims=1))


def peak(run) -> int:
    """Largest sum of bytes of the tensors that `run` made and that were alive together."""
    with torch.autograd.profiler.profile(profile_memory=True) as seen:
        run()
    events = [event for event in seen.kineto_results.events() if event.name() == "[memory]"]
    alive = largest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        largest = max(largest, alive)
    return largest


def test_a_whole_sweep_holds_hardly_more_than_a_training_pass():
    """1.12 times in tensors; the promised 1.5 leave the rest to the heap between them."""
    model, samples = words(BATCH)
    directions, loss = random_directions(model, 8), loss_by_name("cross_entropy")

    def training() -> None:
        loss(model(samples.tensors[0]), samples.tensors[1]).mean().backward()

    def sweeping() -> None:
        ic.sweep(model, samples, directions=directions, batch_size=BATCH)

    sweeping()  # loops, and what else is made once in a process
    trained = peak(training)
    model.zero_grad()
    swept = peak(sweeping)
    assert trained > 5e6, "the measure does not see tensors"
    assert swept < 1.2 * trained, f"{swept / trained:.2f}: activations are kept longer than their contraction"


def grown(make: Callable[[int], tuple[nn.Module, TensorDataset]]) -> float:
    """Bytes that a sweep's peak grows by for each sample more."""
    peaks = []
    for n in (16 * BATCH, 32 * BATCH):
        model, samples = make(n)
        study = study_model(model, samples, loss_by_name("cross_entropy"))
        peaks.append(
            peak(lambda m=model, s=samples, k=study: ic.sweep(m, s, batch_size=BATCH, sketch=8, study=k))
        )
    return (peaks[1] - peaks[0]) / (16 * BATCH)


def test_of_more_samples_only_their_rows_are_kept_and_once():
    def classifier(n: int) -> tuple[nn.Module, TensorDataset]:
        return nn.Linear(4, 5000), TensorDataset(torch.randn(n, 4), torch.zeros(n, dtype=torch.long))

    each = grown(classifier)
    assert 0.9 * 20_000 < each < 1.2 * 20_000, "parts of a sweep exist beside what they are joined to"


def test_of_sequences_the_outputs_are_not_kept():
    """Memory that grows by 64 words times 1,000 outputs a sample would end a sweep of 100,000 sentences at 26 GB."""
    assert grown(words) < 0.01 * LENGTH * WORDS * 4
    assert ic.sweep(*words(3), batch_size=2, sketch=8).logits.shape == (3, 0)


def test_one_number_a_sample_is_kept():
    model, samples = (
        nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)),
        TensorDataset(torch.randn(5, 4), torch.randn(5)),
    )
    found = ic.sweep(model, samples, loss="squared_error", batch_size=2, sketch=8)
    assert torch.allclose(found.logits, model(samples.tensors[0])), "predictions of a regression are gone"


def test_outputs_whose_rows_are_steps_are_not_taken_for_samples():
    """(t, b): row i is step i of all samples."""
    model = Made(lambda m, x: m.head(x)[..., 0].T, head=nn.Linear(4, 1))
    samples = TensorDataset(torch.randn(5, 3, 4), torch.randn(5, 3))
    found = ic.sweep(model, samples, loss=lambda z, y: (z.T - y).square().mean(1), batch_size=2, sketch=8)
    assert found.logits.shape == (5, 0) and found.losses.shape == (5,)


def test_the_look_at_a_large_model_holds_one_gradient_of_one_sample_and_one_of_a_parameter():
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(600, 600) for _ in range(4)))  # too many numbers for three at once
    samples = TensorDataset(torch.randn(3, 600), torch.tensor([0, 1, 0]))
    numbers = sum(value.numel() for value in model.parameters())
    found = peak(lambda: study_model(model, samples, loss_by_name("cross_entropy")))
    assert found < 1.4 * 4 * numbers, (
        f"{found / (4 * numbers):.1f} gradients: the truth, a parameter's, and what else?"
    )


ALONE = """
import sys
import torch
from tests.core.engine.test_sweep_memory import words
import influence_core as ic
from influence_core.engine.kernels.loops import uncompiled

assert "sympy" not in sys.modules, "loaded before the sweep"
with uncompiled():
    ic.sweep(*words(3), batch_size=3)
print("sympy" in sys.modules)
"""


def test_a_sweep_loads_no_computer_algebra():
    """torch loads sympy, 40 MB, wherever `autograd.grad` is handed a gradient."""
    told = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr[-2000:]
    assert told.stdout.strip() == "False"


def test_the_end_of_a_graph_hands_back_the_gradient_it_was_given():
    x, d = torch.randn(3, 4, dtype=torch.float64, requires_grad=True), torch.randn(3, 4, dtype=torch.float64)
    (found,) = torch.autograd.grad(End.apply(x * x, d), x)
    (expected,) = torch.autograd.grad(x * x, x, d)
    assert torch.equal(found, expected)


@pytest.mark.skipif(sys.platform != "linux", reason="counts page faults as Linux does")
def test_a_later_batch_finds_its_memory_already_there():
    model, samples = words(12 * 4 * BATCH)
    faults = []

    def report(stage: str, done: int, total: int) -> None:
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)

    ic.sweep(model, samples, batch_size=4 * BATCH, on_progress=report)
    each = [after - before for before, after in pairwise(faults[3:])]
    outputs = 4 * BATCH * LENGTH * WORDS * 4 // 4096
    assert statistics.median(each) < 1.5 * outputs, (
        "the heap is given back between batches: pages are made anew in each"
    )


def test_columns_of_another_shape_are_named():
    table = Table(4)
    assert table.put(0, {"logits": torch.zeros(2, 3)}) == 2
    with pytest.raises(InfluenceError, match=r"logits of samples 2 to 3 have shape \(1,\).*\(3,\)"):
        table.put(2, {"logits": torch.zeros(2, 1)})
