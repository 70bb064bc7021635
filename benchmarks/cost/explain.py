"""Time to the first answer and to the whole answer of the Influence page, from a server that has just started.

    python -m benchmarks.cost.explain RUN ... [--samples 9] [--threads 1]

Each run is opened in a process of its own, as a server would, which asks for the explanations of its most wrong
validation samples in turn. First answer: the sketches' estimate. Exact: the prediction's exact answer. Whole: with both
exact answers of the contradiction card. The first sample also waits for the model and the data to be opened.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np


def timed(work: Callable[[], object]) -> tuple[float, float, object]:
    """Wall-clock seconds, processor seconds and the result."""
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - wall, time.process_time() - processor, found


def measure(folder: str, samples: int, threads: int) -> None:
    """Print one line for the first sample and one for the median of the others."""
    from influence_core.runs.run import Run, open_run

    def whole(run: Run, sample: str) -> tuple[float, ...]:
        first = timed(lambda: run.first_answer(sample, split="val"))
        exact = timed(lambda: explained(run, sample, threads))
        suspect = str(exact[2].harmful.index[0])  # pyright: ignore[reportAttributeAccessIssue]
        others = timed(lambda: opponents(run, suspect))
        scored = exact[2].quality.scored  # pyright: ignore[reportAttributeAccessIssue]
        return first[0], first[0] + exact[0], first[0] + exact[0] + others[0], exact[1] + others[1], scored

    run = open_run(folder)
    table = run.table("validation")
    ids = [str(name) for name in table.index[np.argsort(-table["loss"].to_numpy())[:samples]]]
    rows = np.array([whole(run, sample) for sample in ids])
    for name, row in (
        ("first sample", rows[0]),
        (f"median of {samples - 1} more", np.median(rows[1:], axis=0)),
    ):
        first, exact, all_of_it, processor, scored = row
        print(
            f"{run.name}, {name}: first answer {first:.3f} s, exact {exact:.2f} s, whole {all_of_it:.2f} s "
            f"({processor:.2f} s of processor); {scored:.0f} products of the prediction",
            flush=True,
        )


def explained(run, sample: str, threads: int):
    """The exact answer, on as many threads as asked for, as the server's own thread gives it."""
    import torch

    torch.set_num_threads(threads)
    return run.explain(sample, split="val")


def opponents(run, suspect: str) -> None:
    """What the contradiction card asks."""
    run.explain(suspect, k=1, top=1, split="train")
    run.affected(suspect, k=1, top=1)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("runs", nargs="+", help="folders of finished runs whose model and data can be opened")
    asked.add_argument("--samples", type=int, default=9)
    asked.add_argument("--threads", type=int, default=1)
    asked.add_argument("--here", action="store_true", help="measure in this process, as its children do")
    chosen = asked.parse_args()
    if chosen.here:
        measure(chosen.runs[0], chosen.samples, chosen.threads)
        return
    print(f"load before: {os.getloadavg()[0]:.1f}; {chosen.threads} thread(s)", flush=True)
    for folder in chosen.runs:
        options = ["--samples", str(chosen.samples), "--threads", str(chosen.threads), "--here"]
        subprocess.run([sys.executable, "-m", "benchmarks.cost.explain", folder, *options], check=True)


if __name__ == "__main__":
    main()
