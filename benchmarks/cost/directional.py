"""Cost of the products along one direction, in inference passes, as the data grows.

    python -m benchmarks.cost.directional [--models vit resnet18] [--samples 2048] [--batch 64] [--threads 1]
        [--rounds 3]

`directional` over all samples, with its fixed check of 32 of them, and forward passes of the same model over the same
batches, in turn in one process; processor time, the smallest of the rounds. Two numbers: the whole over the inference
pass of these samples, and the cost of each further sample, from a second run over an eighth of them. The target is at
most 2.2 inference passes.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch.utils.data import Subset

from benchmarks.cost.engine import machine
from benchmarks.cost.methods import inference_pass, own_gradient
from benchmarks.cost.models import SUBJECTS, build_task
from benchmarks.cost.process_cost import Options
from influence_core.engine.one_direction.directional import measured_directional

COLUMNS = ("model", "inference, s", "directional, s", "whole, in passes", "each sample more", "way", "error")


def seconds(step: Callable[[], object]) -> float:
    begun = time.process_time()
    step()
    return time.process_time() - begun


def row(name: str, chosen: argparse.Namespace) -> str:
    task = build_task(name, chosen.samples, chosen.batch)
    direction, few = own_gradient(task), Subset(task.train, range(chosen.samples // 8))
    inference = inference_pass(task)

    def along(samples):
        return measured_directional(task.model, samples, direction, batch_size=chosen.batch)

    found = along(few)  # the first call loads what is loaded once
    steps = inference, lambda: along(few), lambda: along(task.train)
    rounds = [[seconds(step) for step in steps] for _ in range(chosen.rounds)]
    forward, part, whole = (min(column) for column in zip(*rounds, strict=True))
    more = (whole - part) / (forward * 7 / 8)
    numbers = f"{forward:.2f} | {whole:.2f} | {whole / forward:.2f} | {more:.2f}"
    return f"| {name} | {numbers} | {found.method} | {found.relative_error:.1e} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--samples", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    print(machine(Options(chosen.samples, chosen.batch, chosen.threads, chosen.rounds, "cpu")))
    print("| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS), sep="\n")
    for name in chosen.models:
        print(row(name, chosen), flush=True)


if __name__ == "__main__":
    main()
