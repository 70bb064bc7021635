"""How does a compiled loop run in torch's own threads? As a task of GOMP, the OpenMP library torch computes with.

A task is a row of 64-bit numbers; a loop takes (task, zero, bytes a number, thread, threads) and does its share.
"""

# pyright: reportPrivateImportUsage=false
import contextlib
import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray, cfunc, types

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


def in_threads(share: Any, kind: type[np.floating], numbers: int) -> Callable[[np.ndarray, int], None]:
    """A loop for one number format and tasks of so many numbers: in torch's own threads if they are GOMP's, else in the
    calling thread."""
    zero, size, library = kind(0), np.dtype(kind).itemsize, _loaded()
    if not hasattr(library, "GOMP_parallel"):
        return lambda task, threads: share(task, zero, size, 0, 1)
    number, count = library.omp_get_thread_num, library.omp_get_num_threads
    for function in (number, count):
        function.restype, function.argtypes = ctypes.c_int, []

    @cfunc(types.void(types.CPointer(types.int64)))
    def enter(address):  # type: ignore[no-untyped-def]
        share(carray(address, (numbers,)), zero, size, number(), count())

    def run(task: np.ndarray, threads: int) -> None:
        library.GOMP_parallel(ctypes.c_void_p(enter.address), ctypes.c_void_p(task.ctypes.data), threads, 0)

    return run
