"""Cost of one method on one model, measured in a separate process that may refuse, die or take too long.

Order in the child: everything is imported, built and prepared; a training pass over two samples on a second copy of
the model initialises the libraries; then resident memory is read and its high-water mark reset.
1. The method runs once over all samples: peak = VmHWM after - VmRSS before. It is the first large computation there.
2. `repeats` rounds of training pass, inference pass and method, in turn: one ratio a round, so that a slow spell of
   the machine affects all three. The median of the rounds is reported. Rounds end early once they took `limit` seconds.
"""

import ctypes
import gc
import importlib
import multiprocessing
import os
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MESSAGE = 200
"""Letters of a refusal that are shown."""
LEAVE = 10
"""Seconds in which a child that has answered may end by itself, so that libraries release what they hold."""


@dataclass(frozen=True)
class Options:
    """The size of a measurement: n samples, batch size, threads, rounds."""

    samples: int
    batch: int
    threads: int
    repeats: int
    clock: str = "wall"
    """"cpu": processor time of the process, which other work on a shared machine disturbs less; with one thread."""


@dataclass(frozen=True)
class Cost:
    """One row of the table; `refused` is the reason for missing numbers, or empty."""

    refused: str = ""
    details: str = ""
    training_passes: float = float("nan")
    inference_passes: float = float("nan")
    training_seconds: float = float("nan")
    rounds: int = 0
    peak: float | None = None
    """Rise of resident memory during the run in MB; None if the system does not report it."""
    products: tuple[float, ...] = ()


def cost_of(model: str, method: str, options: Options, limit: float) -> Cost:
    """Run one method on one model in a child process; each of its steps may take `limit` seconds."""
    spawn = multiprocessing.get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        noise = Path(folder, "noise")
        child = spawn.Process(target=_child, args=(sender, model, method, options, limit, str(noise)))
        child.start()
        sender.close()
        try:
            return _awaited(receiver, child, limit, noise)
        finally:
            child.kill()  # does nothing to one that has ended by itself
            child.join()


def _awaited(receiver: Connection, child: BaseProcess, limit: float, noise: Path) -> Cost:
    """Wait for the child's messages: the step it begins, and its cost at last."""
    step: Cost | str = "starting"
    while isinstance(step, str):
        if not receiver.poll(limit):
            return Cost(refused=f"not finished after {limit:.0f} s of {step}")
        try:
            step = receiver.recv()
        except EOFError:
            child.join()
            words = noise.read_text(errors="replace").strip() if noise.exists() else ""
            return Cost(refused=f"its process died ({child.exitcode}) in {step}", details=words[-2000:])
    child.join(LEAVE)
    return step


def _child(sender: Connection, model: str, method: str, options: Options, limit: float, noise: str) -> None:
    file = os.open(noise, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
    try:
        sender.send(_measured(sender, model, method, options, limit))
    except Exception as error:  # whatever a library raises is its answer, and goes into the table
        sender.send(Cost(refused=_sentence(error), details=traceback.format_exc()))


def _sentence(error: Exception) -> str:
    """An error in one sentence; for a bare assert, its line of code."""
    text = " ".join(str(error).split()) or traceback.extract_tb(error.__traceback__)[-1].line
    said = f"{type(error).__name__}: {text}"
    return said if len(said) <= MESSAGE else said[:MESSAGE] + "..."


def _measured(sender: Connection, model: str, method: str, options: Options, limit: float) -> Cost:
    import torch

    from benchmarks.cost.methods import inference_pass, training_pass
    from benchmarks.cost.models import build_task
    from benchmarks.cost.peers import ALL, quiet

    torch.set_num_threads(options.threads)
    quiet()
    sender.send("building")
    importlib.import_module(ALL[method].package)
    training_pass(build_task(model, 2, 2))()
    plain = build_task(model, options.samples, options.batch)
    units = (training_pass(plain), inference_pass(plain))
    run = ALL[method].prepare(build_task(model, options.samples, options.batch))

    sender.send("the first run")
    peak, products = _peak(run)
    rounds: list[list[float]] = []
    begun = time.perf_counter()
    while len(rounds) < options.repeats and (not rounds or time.perf_counter() - begun < limit):
        sender.send(f"round {len(rounds) + 1}")
        rounds.append([_seconds(one, options.clock) for one in (*units, run)])
    cost = Cost(peak=peak, rounds=len(rounds), products=products)
    return replace(
        cost,
        training_passes=statistics.median(own / training for training, _, own in rounds),
        inference_passes=statistics.median(own / inference for _, inference, own in rounds),
        training_seconds=statistics.median(training for training, _, _ in rounds),
    )


def _seconds(run: Callable[[], object], clock: str) -> float:
    now = time.process_time if clock == "cpu" else time.perf_counter
    begun = now()
    run()
    return now() - begun


def _peak(run: Callable[[], Any]) -> tuple[float | None, tuple[float, ...]]:
    """Run once; returns the rise of resident memory in MB, and the products."""
    gc.collect()
    if not CLEAR.exists():
        return None, _numbers(run())
    ctypes.CDLL(None).malloc_trim(0)
    CLEAR.write_text("5")  # resets VmHWM to what is resident now
    before = _resident("VmRSS")
    found = run()
    return _resident("VmHWM") - before, _numbers(found)


def _numbers(found: Any) -> tuple[float, ...]:
    return () if found is None else tuple(found.tolist())


def _resident(what: str) -> float:
    """A memory count of this process by the kernel, in MB."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024
