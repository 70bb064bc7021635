"""Compiled loops in torch's own threads, as tasks of GOMP, the OpenMP library that torch computes with.

A task is a row of 64-bit numbers; a loop takes (task, zero, bytes a number, thread, threads) and does its share.
"""

# pyright: reportPrivateImportUsage=false
import contextlib
import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numba import cfunc, types
from numba.core.typing import signature

THREAD = types.ExternalFunction("omp_get_thread_num", signature(types.int32))
THREADS = types.ExternalFunction("omp_get_num_threads", signature(types.int32))
"""By name, not by address, so that callers can be cached on disk: saves a second for each loop in every process."""
ADDRESS = types.void(types.CPointer(types.int64))
QUICK = {"fastmath": {"reassoc", "contract", "nsz"}, "nogil": True}


def cached_on_disk(function: Any) -> Any:
    """Cache a compiled function on disk. Without a writable folder every process compiles it again."""
    with contextlib.suppress(RuntimeError):
        function.enable_caching()
    return function


def _loaded() -> Any:
    """Symbols loaded by this process, torch's OpenMP library among them; None on a system without this call."""
    try:
        return ctypes.CDLL(None)
    except (TypeError, OSError):
        return None


def in_threads(
    share: Callable[..., None], entries: Mapping[type, Callable[[Any], None]], kind: type
) -> Callable[[np.ndarray, int], None]:
    """A loop for tasks: in torch's own threads if they are GOMP's, else in the calling thread.

    Args:
        share: the loop.
        entries: by number format, what runs in each thread: takes the address of a task, and does the share of THREAD()
            of THREADS(). A function of a module that closes over nothing, so that numba can cache it on disk.
        kind: the number format.
    """
    library, enter, zero = _loaded(), entries[kind], kind(0)
    if not hasattr(library, "GOMP_parallel"):
        return lambda task, threads: share(task, zero, zero.itemsize, 0, 1)
    try:
        entry = cfunc(ADDRESS, cache=True)(enter)
    except RuntimeError:  # no writable folder, as in `cached_on_disk`
        entry = cfunc(ADDRESS)(enter)

    def run(task: np.ndarray, threads: int) -> None:
        library.GOMP_parallel(ctypes.c_void_p(entry.address), ctypes.c_void_p(task.ctypes.data), threads, 0)

    return run
