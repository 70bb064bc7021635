"""Are these numbers read by a compiled loop, or by torch's own operations?"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch
from torch import Tensor

KINDS = {torch.float32: np.float32, torch.float64: np.float64}
"""The kinds of numbers there are loops for, as numpy calls them."""

_PLAINLY = ContextVar("plainly", default=False)


@contextmanager
def uncompiled() -> Iterator[None]:
    """Meanwhile all is read by torch operations, as on a GPU: for a few samples, sooner than a loop is compiled."""
    before = _PLAINLY.set(True)
    try:
        yield
    finally:
        _PLAINLY.reset(before)


def compiles(*values: Tensor) -> bool:
    """Whether these tensors are of a kind that the loops take, and nobody asked to do without."""
    return not _PLAINLY.get() and all(value.device.type == "cpu" and value.dtype in KINDS for value in values)
