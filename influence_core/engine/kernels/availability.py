"""Whether numbers are read by a compiled loop or by torch operations."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch
from torch import Tensor

KINDS = {torch.float32: np.float32, torch.float64: np.float64}
"""Number formats that have compiled loops, by torch dtype."""

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
    return not _UNCOMPILED.get() and all(
        value.device.type == "cpu" and value.dtype in KINDS for value in values
    )
