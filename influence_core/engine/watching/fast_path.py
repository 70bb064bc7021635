"""Torch's fast path through encoders, switched off for the whole process while anybody scores."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch

_LOCK = Lock()
_users = 0
_before = True


@contextmanager
def without_fast_path() -> Iterator[None]:
    """Off until the last of the threads that asked for it is done: restored one by one, it could stay off for good."""
    global _users, _before
    with _LOCK:
        if _users == 0:
            _before = torch.backends.mha.get_fastpath_enabled()
            torch.backends.mha.set_fastpath_enabled(False)
        _users += 1
    try:
        yield
    finally:
        with _LOCK:
            _users -= 1
            if _users == 0:
                torch.backends.mha.set_fastpath_enabled(_before)
