"""Accuracy of the preflight: expected and measured time and memory of a sweep, model by model.

    python -m benchmarks.cost.preflight [--models vit language_model] [--samples 256] [--batch 32] [--threads 1]

The preflight and the sweep (8 directions, sketch 256, float32) each run in a new process, on the same samples; the
directions are the parameters themselves, as in the preflight. Time is wall clock, as users wait, so it includes the
effect of other work on the machine; the processor time of the sweep is in a separate column. Memory is the rise of
resident memory. A ratio is measured over expected; the target is 0.7 to 1.3.
"""

import argparse
import multiprocessing
import time
from multiprocessing.connection import Connection

import torch

import influence_core as ic
from benchmarks.cost.engine import machine
from benchmarks.cost.models import DIRECTIONS, SUBJECTS, build_task
from benchmarks.cost.process_cost import Options, _peak
from influence_core.engine.preflight import preflight

COLUMNS = ("model", "seconds expected", "measured", "ratio", "processor", "MB expected", "measured", "ratio")


def expected(sender: Connection, model: str, options: Options) -> None:
    torch.set_num_threads(options.threads)
    task = build_task(model, options.samples, options.batch)
    facts = preflight(task.model, task.train, directions=DIRECTIONS, batch_size=options.batch)
    sender.send((facts.seconds_expected, facts.memory_expected_mb))


def measured(sender: Connection, model: str, options: Options) -> None:
    torch.set_num_threads(options.threads)
    task = build_task(model, options.samples, options.batch)
    directions = [{name: value.detach() for name, value in task.model.named_parameters()}] * DIRECTIONS
    took: list[float] = []

    def run() -> None:
        begun = time.perf_counter(), time.process_time()
        ic.sweep(task.model, task.train, directions=directions, batch_size=options.batch)
        took.extend((time.perf_counter() - begun[0], time.process_time() - begun[1]))

    peak, _ = _peak(run)
    sender.send((*took, None if peak is None else peak * 2**20 / 1e6))


def alone(work, model: str, options: Options) -> tuple[float, ...]:
    """The result of `work` in a separate process."""
    spawn = multiprocessing.get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    child = spawn.Process(target=work, args=(sender, model, options))
    child.start()
    sender.close()
    found = receiver.recv()
    child.join()
    return found


def row(model: str, options: Options) -> str:
    (seconds, memory), (wall, processor, peak) = (
        alone(work, model, options) for work in (expected, measured)
    )
    times = f"{seconds:.1f} | {wall:.1f} | {wall / seconds:.2f} | {processor:.1f}"
    sizes = f"{memory:.0f} | {peak:.0f} | {peak / memory:.2f}" if memory and peak else " | | "
    return f"| {model} | {times} | {sizes} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=SUBJECTS, default=list(SUBJECTS), metavar="MODEL")
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    options = Options(args.samples, args.batch, args.threads, 1)
    print(f"{machine(options)}, {args.samples} samples, batch {args.batch}\n")
    print("| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS), sep="\n")
    for model in args.models:
        print(row(model, options), flush=True)


if __name__ == "__main__":
    main()
