"""Time of single explanations, and their recall of the true extremes.

    python -m benchmarks.cost.explanations RUN [--samples 12] [--k 10] [--copies N]

Explains validation samples of a finished run. The truth is one sweep over all training samples along the same
directions, measured in the same process. With --copies, the stored sketches stand for that many times as many training
samples: each copy's estimates get the error of an independent sketch, as if the copies were different samples.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.utils.data import ConcatDataset

import influence_core as ic
from influence_core.runs import shortlist as finder
from influence_core.runs.run import Run


@dataclass(frozen=True)
class Clock:
    """Wall-clock seconds, and processor seconds on all cores, which hardly depend on other work of the machine."""

    wall: float
    cpu: float


def timed(work: Callable[[], object]) -> tuple[object, Clock]:
    """The result of the work and its time."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, Clock(time.perf_counter() - wall, time.process_time() - cpu)


def measure(run: Run, ids: list[str], k: int) -> None:
    """Times of single explanations and of one sweep along one direction, and recall of the true extremes."""
    _, opening = timed(run.inputs)
    print(f"opening model and data: {opening.wall:.2f} s")
    run.explain(ids[0], k=k)
    clocks, found = [], []
    for sample in ids:
        one, clock = timed(lambda sample=sample: run.explain(sample, k=k))
        clocks.append(clock)
        found.append(one)
    model, train, val = run.inputs().model, run.inputs().train, run.inputs().val
    directions = [ic.objective_gradient(model, [val[run.find(sample, "val")]]) for sample in ids]  # pyright: ignore
    _, whole = timed(lambda: ic.sweep(model, train, directions=directions[:1], sketch=0))
    truth = ic.sweep(model, train, directions=directions, sketch=0).products.numpy()
    wall, cpu = np.median([clock.wall for clock in clocks]), np.median([clock.cpu for clock in clocks])
    print(
        f"one explanation, n = {len(train):,}: median {wall:.2f} s ({cpu:.2f} s of processor), worst "
        f"{max(clock.wall for clock in clocks):.2f} s"
    )
    print(
        f"one sweep along its direction: {whole.wall:.2f} s ({whole.cpu:.2f} s of processor), "
        f"{whole.cpu / cpu:.1f} times as much"
    )
    recalls = [recall(one, truth[:, at], k) for at, one in enumerate(found)]
    print(
        f"recall of the true {k} most helpful and harmful: mean {np.mean(recalls):.3f}, worst {np.min(recalls):.3f}; "
        f"expected to be missing of 50: {np.mean([one.quality.missed_helpful for one in found]):.3f}"
    )
    print(
        f"exact products: {np.mean([one.quality.scored for one in found]):.0f} on average; rank correlation of the "
        f"sketches on the control: {np.mean([one.quality.rank_agreement for one in found]):.3f}"
    )


def recall(found, truth: np.ndarray, k: int) -> float:
    """Share of the true k of both ends that were found."""
    order = np.argsort(-truth)
    helpful, harmful = set(order[:k].tolist()), set(order[::-1][:k].tolist())
    hits = len(helpful & set(found.helpful["position"])) + len(harmful & set(found.harmful["position"]))
    return hits / (2 * k)


def measure_copies(run: Run, ids: list[str], copies: int) -> None:
    """The times for a training set that many times as large: reading sketches, choosing, exact products."""
    from influence_core.runs.exact_products import exact_products
    from influence_core.runs.explanations import _estimates

    inputs, q = run.inputs(), run.sketches.shape[1]
    n = len(inputs.train)
    copied = replace(inputs, train=ConcatDataset([inputs.train] * copies))
    stored = np.tile(np.asarray(run.sketches, np.float32), (copies, 1))
    clocks, scored = [], []
    for sample in ids:
        direction = ic.objective_gradient(inputs.model, [inputs.val[run.find(sample, "val")]])  # pyright: ignore

        def explain(direction=direction) -> finder.Shortlist:
            estimates, bounds = _estimates(run, inputs, direction, "train")
            _ = stored @ stored[0]  # what reading n * copies sketches costs
            bounds = np.tile(bounds, copies)
            noise = np.random.default_rng(0).normal(size=n * copies) * bounds / np.sqrt(q)
            noise[:n] = 0
            return finder.shortlist(
                np.tile(estimates, copies) + noise,
                bounds,
                lambda rows: exact_products(copied, "train", direction, rows),
                q=q,
            )

        found, clock = timed(explain)
        clocks.append(clock)
        scored.append(found.quality.scored)  # pyright: ignore
    print(
        f"n = {n * copies:,} (simulated): median {np.median([c.wall for c in clocks]):.2f} s "
        f"({np.median([c.cpu for c in clocks]):.2f} s of processor), {np.mean(scored):.0f} exact products"
    )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("run", help="folder of a finished run whose model and data can be opened")
    asked.add_argument("--samples", type=int, default=12)
    asked.add_argument("--k", type=int, default=10)
    asked.add_argument(
        "--copies", type=int, default=0, help="simulate this many times as many training samples"
    )
    chosen = asked.parse_args()
    torch.manual_seed(0)
    run = ic.open_run(chosen.run)
    table = run.table("validation")
    worst = table.index[np.argsort(-table["loss"].to_numpy())[: chosen.samples // 2]].tolist()
    others = table.index[
        np.random.default_rng(0).permutation(len(table))[: chosen.samples - len(worst)]
    ].tolist()
    ids = [str(name) for name in [*worst, *others]]
    measure(run, ids, chosen.k)
    if chosen.copies:
        measure_copies(run, ids, chosen.copies)


if __name__ == "__main__":
    main()
