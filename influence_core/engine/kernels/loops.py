"""Compiled loops by name, in torch's own threads where possible, and whether they or torch operations read numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch import Tensor

from influence_core.engine.kernels import tasks
from influence_core.engine.kernels.tasks import KINDS, Task

NAMES = "written", "made", "rows", "depthwise"
_UNCOMPILED = ContextVar("uncompiled", default=False)


@contextmanager
def uncompiled() -> Iterator[None]:
    """Context in which torch operations read all numbers, as on a GPU: for few samples faster than compiling."""
    token = _UNCOMPILED.set(True)
    try:
        yield
    finally:
        _UNCOMPILED.reset(token)


def compiles(*values: Tensor) -> bool:
    """Whether a compiled loop reads these tensors: their format and device are supported, outside `uncompiled`."""
    return not _UNCOMPILED.get() and all(value.is_cpu and value.dtype in KINDS for value in values)


def run(task: Task) -> None:
    """Run a task to its end. The tensors that it was made of must live meanwhile."""
    loop(task.dtype, task.loop)(task.numbers, task.threads)


def depthwise(d: Tensor, x: Tensor, edges: tuple[int, int], kernel: tuple[int, int]) -> Tensor:
    """Gradient (b, channels, *kernel) of a kernel of one channel a group, stride 1: sum_yz d[y, z] x[y + k, z + l].

    d and x (b, channels, height, width). x is preceded by `edges` rows and columns of zeros, and followed by zeros.
    """
    d, x = d.contiguous(), x.contiguous()
    out = d.new_empty(*d.shape[:2], *kernel)
    if out.numel():
        run(tasks.depthwise(d, x, out, edges))
    return out


@cache
def loop(dtype: torch.dtype, name: str) -> Any:
    """A loop for a number format: (a task's numbers, threads) -> None. Compiled at first use, then cached on disk."""
    from influence_core.engine.kernels import factor_loop, gradient_loop, position_sums
    from influence_core.engine.kernels.openmp import in_threads

    loops = {
        "written": gradient_loop.WRITTEN,
        "made": factor_loop.MADE,
        "rows": gradient_loop.ROWS_OF_A_TABLE,
        "depthwise": position_sums.DEPTHWISE,
    }
    share, entries = loops[name]
    return in_threads(share, entries, KINDS[dtype])
