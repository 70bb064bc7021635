"""Caps on what a hostile file costs: wall clock, memory of this process, and of any child it was read in."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch

from influence_core.engine.batch_cost import Memory
from tests.making.refusals import assert_dataset_refused

SECONDS = 60.0  # of a wall clock on a busy machine
BYTES = 150e6
CHILD_BYTES = 1.5e9  # the child that reads a pickle has loaded torch, which alone takes a third of it
LOOK = 0.03  # seconds between two looks at the children


@contextmanager
def capped(what: str = "it", *, seconds: float = SECONDS, most: float = BYTES) -> Iterator[None]:
    """Fails when what is done inside takes longer than `seconds`, or `most` bytes above what was resident before."""
    memory, began = Memory(torch.device("cpu")), time.monotonic()
    with children() as largest:
        yield
    took, grown = time.monotonic() - began, memory.peak()
    assert took < seconds, f"{what} took {took:.0f} s"
    assert grown is None or grown < most, f"{what} took {grown / 1e6:,.0f} MB of memory"
    assert largest[0] < CHILD_BYTES, f"a child that read {what} took {largest[0] / 1e6:,.0f} MB of memory"


def assert_refused_cheaply(path: Path, *words: str) -> None:
    """A hostile dataset is refused at little cost, in a message that holds all the words and nothing it could hide."""
    with capped(path.name):
        said = assert_dataset_refused(path, *words)
    assert said.isprintable(), "a hostile name was shown raw"


@contextmanager
def children() -> Iterator[list[int]]:
    """The resident bytes of the largest child seen meanwhile, in a list of one.

    Not what the system says of all children ever: there an analysis that an earlier test ran would count.
    """
    largest, done, ours = [0], threading.Event(), psutil.Process()

    def look() -> None:
        while not done.wait(LOOK):
            for child in ours.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    largest[0] = max(largest[0], child.memory_info().rss)

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    try:
        yield largest
    finally:
        done.set()
        watching.join()
