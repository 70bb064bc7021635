"""How does a compiled loop run in torch's own threads? As a task of GOMP, the OpenMP library torch computes with.

A task is a row of 64-bit numbers; a loop takes (task, zero, bytes a number, thread, threads) and does its share.
"""

# pyright: reportPrivateImportUsage=false
import contextlib
import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cfunc, types
from numba.core.typing import signature

THREAD = types.ExternalFunction("omp_get_thread_num", signature(types.int32))
THREADS = types.ExternalFunction("omp_get_num_threads", signature(types.int32))
"""By name, not by address: what calls them can be kept on disk, which saves a second for each loop in every process."""
ADDRESS = types.void(types.CPointer(types.int64))
QUICK = {"fastmath": {"reassoc", "contract", "nsz"}, "nogil": True}


def kept(function: Any) -> Any:
    """Keep what was compiled on disk; without a folder to write to, every process compiles anew, only slower."""
    with contextlib.suppress(RuntimeError):
        function.enable_caching()
    return function


def _loaded() -> Any:
    """What this process has loaded for all, torch's OpenMP library among it; None on a system that does not tell."""
    try:
        return ctypes.CDLL(None)
    except (TypeError, OSError):
        return None


def in_threads(
    enter: Callable[[Any], None], alone: Callable[[np.ndarray], None]
) -> Callable[[np.ndarray, int], None]:
    """A loop for tasks: in torch's own threads if they are GOMP's, else in the calling thread.

    Args:
        enter: What a thread is handed: takes the address of a task and does the share of THREAD() of THREADS().
            A function of a module that closes over nothing, so that numba keeps it on disk.
        alone: Does all of a task.
    """
    library = _loaded()
    if not hasattr(library, "GOMP_parallel"):
        return lambda task, threads: alone(task)
    try:
        entry = cfunc(ADDRESS, cache=True)(enter)
    except RuntimeError:  # no folder to write to, as in `kept`
        entry = cfunc(ADDRESS)(enter)

    def run(task: np.ndarray, threads: int) -> None:
        library.GOMP_parallel(ctypes.c_void_p(entry.address), ctypes.c_void_p(task.ctypes.data), threads, 0)

    return run
