"""Does a hostile file cost more than it may? Wall clock, memory of this process, and of any child it was read in."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from influence_core.probe import Memory

SECONDS = 60.0  # of a wall clock on a busy machine
BYTES = 150e6
CHILD_BYTES = 1.5e9  # the child that reads a pickle has loaded torch, which alone takes a third of it


@contextmanager
def capped(what: str = "it", *, seconds: float = SECONDS, most: float = BYTES) -> Iterator[None]:
    """Fails when what is done inside takes longer than `seconds`, or `most` bytes above what was resident before."""
    memory, began = Memory(torch.device("cpu")), time.monotonic()
    yield
    took, grown = time.monotonic() - began, memory.peak()
    assert took < seconds, f"{what} took {took:.0f} s"
    assert grown is None or grown < most, f"{what} took {grown / 1e6:,.0f} MB of memory"
    unit = 1 if sys.platform == "darwin" else 1024
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    assert child < CHILD_BYTES, f"a child that read {what} took {child / 1e6:,.0f} MB of memory"
