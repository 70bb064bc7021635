"""Cost of k objectives as directions of one sweep, compared with one objective and with k sweeps.

    python -m benchmarks.cost.objectives [--train 2000] [--rounds 3]

On sample_data/fashion: all norms, a sketch of 256, and the influence on k = 1, 4, 8 and 12 objectives (utility, the
classes, gaps between derived groups). Everything is timed in turn in one run; ratios are of medians. `k sweeps` is
k times the time of one objective with its sweep, measured in the same round.
"""

import argparse
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

import influence_core as ic
from influence_core.analysis.derived_groups import with_derived_groups
from influence_core.inputs.facts import in_model_format
from influence_core.objectives import Objective, bind, measured_all, resolved

FASHION = Path(__file__).parents[2] / "sample_data" / "fashion"
NAMES = ("utility", "fairness:brightness", "fairness:contrast:demographic_parity", "utility:class")
COUNTS = (1, 4, 8, 12)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--train", type=int, default=2000, help="training samples; validation has a quarter of it"
    )
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    model = ic.open_model(FASHION)
    data = ic.open_dataset(FASHION).with_classes(model.classes)
    train, val = with_derived_groups(in_model_format(data.train, model), in_model_format(data.val, model))
    train, val = train.select(range(arguments.train)), val.select(range(min(len(val), arguments.train // 4)))
    every = resolved(NAMES, model.classes)
    times: dict[int, list[float]] = {k: [] for k in COUNTS}
    for _ in range(arguments.rounds):
        for k in COUNTS:
            times[k].append(timed(model, train, val, every[:k]))
    one = median(times[1])
    print(f"{len(train):,} training and {len(val):,} validation samples, {torch.get_num_threads()} threads")
    print("| objectives | seconds | of one objective | of k sweeps |\n|---|---|---|---|")
    for k in COUNTS:
        each = median(times[k])
        print(f"| {k} | {each:.2f} | {each / one:.2f} | {each / (k * one):.2f} |")


def timed(model: Any, train: Any, val: Any, objectives: tuple[Objective, ...]) -> float:
    """Seconds for influence on all objectives: their gradients and the sweep."""
    start = perf_counter()
    bound = [bind(objective, model, val, groups=val.groups) for objective in objectives]
    directions = [one.gradient for one in measured_all(model, val, bound)]
    ic.sweep(model, train, directions=directions, sketch=256, batch_size=64)
    return perf_counter() - start


if __name__ == "__main__":
    main()
