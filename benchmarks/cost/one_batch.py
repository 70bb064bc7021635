"""Cost of one batch of a sweep in plain training passes, without the fixed study of the model.

    python -m benchmarks.cost.one_batch [--models vit resnet18] [--batch 32] [--threads 1] [--rounds 7] [--clock cpu]

Norms of all layers, 8 directions and a sketch of 256 numbers in float32, against forward and backward of the mean loss
on the same batch (no optimizer step), in turn in one process. A round has three of each, and the first does not count;
median of the rounds, smallest and largest. Other work on the machine disturbs a round: look at the spread. `engine.py`
measures whole sweeps and other libraries.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.cost.engine import machine
from benchmarks.cost.methods import own_gradient
from benchmarks.cost.models import DIRECTIONS, SUBJECTS, build_task, sample_losses
from benchmarks.cost.process_cost import Options
from influence_core.engine import batches
from influence_core.engine.losses import loss_by_name
from influence_core.engine.one_batch import one_batch
from influence_core.engine.study import study_model
from influence_core.engine.sweep import _planned
from influence_core.engine.watching.watch import scoring

CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}
SKETCH = 256


def steps(name: str, batch: int) -> tuple[Callable[[], object], Callable[[], object], Callable[[], object]]:
    """Functions that run a training pass, one batch of the sweep and an inference pass."""
    task, loss = build_task(name, batch, batch), loss_by_name("cross_entropy")
    directions = [own_gradient(task, row) for row in range(DIRECTIONS)]
    plan = _planned(task.model, study_model(task.model, task.train, loss), directions, SKETCH, loss, 0, ())
    inputs, labels = task.train.tensors
    samples = next(batches.batches(task.train, batch, like=task.model))

    def training() -> None:
        task.model.zero_grad(set_to_none=True)
        sample_losses(task.model(inputs), labels).mean().backward()

    def sweeping() -> None:
        with scoring(task.model):
            one_batch(task.model, samples, plan)

    def inference() -> None:
        with torch.inference_mode():
            task.model(inputs)

    return training, sweeping, inference


def seconds(step: Callable[[], object], clock: Callable[[], float]) -> float:
    begun = clock()
    step()
    return clock() - begun


def settled(step: Callable[[], object], clock: Callable[[], float]) -> float:
    """Mean time of two runs, after one that starts with the heap as the other step left it."""
    step()
    return (seconds(step, clock) + seconds(step, clock)) / 2


def row(name: str, chosen: argparse.Namespace) -> str:
    three, clock = steps(name, chosen.batch), CLOCKS[chosen.clock]
    training, sweeping, inference = three
    for step in three * 2:  # compiled loops, caches
        step()
    rounds = []
    for _ in range(chosen.rounds):
        train, infer = settled(training, clock), settled(inference, clock)
        rounds.append((train, settled(sweeping, clock), infer))
    ratios = [sweep / train for train, sweep, _ in rounds]
    inference = statistics.median(infer / train for train, _, infer in rounds)
    middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
    return f"| {name} | {middle:.2f} | {low:.2f} to {high:.2f} | {inference:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    print(machine(Options(chosen.batch, chosen.batch, chosen.threads, chosen.rounds, chosen.clock)))
    print("| model | one batch of the sweep, in training passes | rounds | inference, in training passes |")
    print("|---|---|---|---|")
    for name in chosen.models:
        print(row(name, chosen), flush=True)


if __name__ == "__main__":
    main()
