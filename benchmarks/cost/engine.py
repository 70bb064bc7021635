"""Cost of exact per-sample products, ours and of other libraries: models x methods, in one command.

    python -m benchmarks.cost.engine [--models vit resnet18] [--methods ours captum] [--samples 256] [--batch 32]
                                [--threads 2] [--repeats 3] [--clock cpu] [--floor 60] [--markdown] [--details]

Every method computes the same n numbers: the inner product of each training sample's gradient with the gradient of one
held-out sample, over all parameters, model in evaluation mode, float32, the same batches. The columns:

    time        in training passes (forward and backward of the mean loss, no optimizer step) and in inference passes
                over the same samples, measured in turn in the same process; median of the rounds
    peak        MB of resident memory that the first run in a new process added; also in training passes
    error       ||result - true|| / ||true|| on the first samples, true = one-sample autograd in float64; a ReLU at its
                kink may flip in float32, which costs that sample about 1e-4 with any method
    note        what the method leaves out, or why it refused

A method that needs more than 20 training passes (at least --floor seconds) for one step is stopped. Other libraries
come with `pip install 'influence-explorer[peers]'`; a missing one is named in its row.
"""

import argparse
import math
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.cost.models import SUBJECTS, build_task, sample_losses
from benchmarks.cost.peers import ALL
from benchmarks.cost.process_cost import Cost, Options, cost_of

CHECKED = 8
"""Samples whose products are compared with the truth: each costs two passes in float64."""
PATIENCE = 20
"""Training passes that one run of a method may take."""
COLUMNS = ("method", "training passes", "inference passes", "peak MB", "x training", "error", "note")


def truth(model: str, options: Options) -> torch.Tensor:
    """The true products of the first samples: every sample alone through autograd in float64."""
    task = build_task(model, options.samples, options.batch)
    network = task.model.double()
    held, train = task.held_out.tensors, task.train.tensors
    if held[0].is_floating_point():
        held, train = (held[0].double(), held[1]), (train[0].double(), train[1])
    direction = _own(network, held[0][:1], held[1][:1])
    rows = range(min(CHECKED, options.samples))
    return torch.stack([_own(network, train[0][i : i + 1], train[1][i : i + 1]) @ direction for i in rows])


def _own(network: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    gradients = torch.autograd.grad(sample_losses(network(inputs), labels).sum(), list(network.parameters()))
    return torch.cat([g.flatten() for g in gradients])


def error_of(products: Sequence[float], true: torch.Tensor) -> float:
    found = torch.tensor(products[: len(true)], dtype=torch.float64)
    return float((found - true).norm() / true.norm()) if len(found) == len(true) else math.nan


def row(name: str, cost: Cost, reference: Cost, true: torch.Tensor) -> tuple[str, ...]:
    """One line of the table as text; a method that did not run has a reason instead of numbers."""
    if cost.refused:
        return (name, "", "", "", "", "", f"refused: {cost.refused}")
    note = ALL[name].note
    if cost.rounds == 1:
        note = f"{note}; 1 round" if note else "1 round"
    times = f"{cost.training_passes:.2f}", f"{cost.inference_passes:.2f}"
    return (name, *times, *_memory(cost, reference), _error(cost, true), note)


def _memory(cost: Cost, reference: Cost) -> tuple[str, str]:
    if cost.peak is None:
        return "", ""
    share = f"{cost.peak / reference.peak:.2f}" if reference.peak else ""
    return f"{cost.peak:.0f}", share


def _error(cost: Cost, true: torch.Tensor) -> str:
    return f"{error_of(cost.products, true):.0e}" if cost.products else ""


def measure(
    model: str, methods: Sequence[str], options: Options, floor: float, details: bool
) -> list[tuple[str, ...]]:
    """All rows of one model; the training pass comes first because every limit is a multiple of it."""
    true = truth(model, options)
    reference = cost_of(model, "training pass", options, limit=3600)
    if reference.refused:
        raise SystemExit(
            f"The training pass of {model} did not run: {reference.refused}\n{reference.details}"
        )
    print(f"{model}: a training pass takes {reference.training_seconds:.2f} s", file=sys.stderr, flush=True)
    limit = max(floor, PATIENCE * reference.training_seconds)
    rows = [row("training pass", reference, reference, true)]
    for name in methods:
        cost = cost_of(model, name, options, limit)
        rows.append(row(name, cost, reference, true))
        print("    " + " | ".join(rows[-1]), file=sys.stderr, flush=True)
        if details and cost.details:
            print(cost.details, file=sys.stderr, flush=True)
    return rows


def title(model: str, options: Options) -> str:
    task = build_task(model, 1, 1)
    shape = " x ".join(str(side) for side in task.train.tensors[0].shape[1:])
    size = sum(value.numel() for value in task.model.parameters()) / 1e6
    return (
        f"{model} ({size:.1f} M parameters, input {shape}), {options.samples} samples, batch {options.batch}"
    )


def machine(options: Options) -> str:
    """Processor, cores, threads and versions, without the machine's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.processor() or platform.machine()
    python = f"Python {platform.python_version()}, torch {torch.__version__}"
    return (
        f"{processor}, {os.cpu_count()} cores, {options.threads} threads, {python}, {options.repeats} rounds, "
        f"{options.clock} clock"
    )


def as_text(rows: Sequence[tuple[str, ...]]) -> str:
    table = [COLUMNS, *rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(COLUMNS) - 1)]
    return "\n".join(
        "  ".join([*(w.ljust(n) for w, n in zip(line, widths, strict=False)), line[-1]]) for line in table
    )


def as_markdown(rows: Sequence[tuple[str, ...]]) -> str:
    lines = [COLUMNS, ("---", *["---:"] * (len(COLUMNS) - 2), "---"), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--models", nargs="+", choices=SUBJECTS, default=list(SUBJECTS), metavar="MODEL")
    parser.add_argument(
        "--methods", nargs="+", default=[""], metavar="WORD", help="only methods with such a word"
    )
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: on a shared machine")
    parser.add_argument(
        "--floor", type=float, default=60, help="seconds that every step of a method may take"
    )
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--details", action="store_true", help="tracebacks of refusals, on stderr")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    options = Options(args.samples, args.batch, args.threads, args.repeats, args.clock)
    torch.set_num_threads(options.threads)
    chosen = [name for name in ALL if name != "training pass" and any(word in name for word in args.methods)]
    if not chosen:
        raise SystemExit(f"No method has one of the words {args.methods} in its name; known are {list(ALL)}.")
    print(machine(options))
    for model in args.models:
        rows = measure(model, chosen, options, args.floor, args.details)
        shown = as_markdown(rows) if args.markdown else as_text(rows)
        heading = "### " if args.markdown else ""
        print(f"\n{heading}{title(model, options)}\n\n{shown}", flush=True)


if __name__ == "__main__":
    main()
