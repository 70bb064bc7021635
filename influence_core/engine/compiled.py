"""The compiled loops of tiles.py: a gradient's square, L1 norm, products and sketch while it is in the innermost cache.

Two loops: one reads a gradient that is written out; the other makes it of its factors, block by block of 16 x 128
numbers, and reads each block before it is forgotten. A task is a row of 64-bit numbers, addresses among them, because
that is what a thread of OpenMP can be handed:

    0 g  1 n  2 numbers a sample    3 sums  4 width | 5 fold?  6 columns  7 modulus  8 start  9 row signs
    0 d  1 n  2 rows                10 column signs  11 folded | 12-19 directions | 20 a  21 t (a multiple of 4)

Every thread takes its share of the samples, so no two write to the same place. Additions may be reordered and fused
("reassoc", "contract"), but NaN and infinity keep their meaning: they must reach the person.
"""

# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportPrivateImportUsage=false
import contextlib
import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray, cfunc, njit, types
from numba.extending import intrinsic

BLOCK_ROWS, BLOCK_COLUMNS = 16, 128
CHUNK = 512
"""Numbers looked at at once: those of 8 directions fill half of an innermost cache of 32 kB."""
QUICK = {"fastmath": {"reassoc", "contract", "nsz"}, "nogil": True}


def _kept(function: Any) -> Any:
    """Keep what was compiled on disk; without a folder to write to, every process compiles anew, only slower."""
    with contextlib.suppress(RuntimeError):
        function.enable_caching()
    return function


@intrinsic
def _pointer(context: Any, like: Any, address: Any) -> Any:
    signature = types.CPointer(like)(like, types.int64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[1], context.get_value_type(signature.return_type))

    return signature, generate


@_kept
@njit(**QUICK)
def _one(g, v, out, zero):  # type: ignore[no-untyped-def]
    square, size, product = zero, zero, zero
    for j in range(len(g)):
        x = g[j]
        square += x * x
        size += abs(x)
        product += x * v[j]
    out[0] += square
    out[1] += size
    out[2] += product


@_kept
@njit(**QUICK)
def _eight(g, v0, v1, v2, v3, v4, v5, v6, v7, out, zero):  # type: ignore[no-untyped-def]
    square, size = zero, zero
    p0, p1, p2, p3, p4, p5, p6, p7 = zero, zero, zero, zero, zero, zero, zero, zero
    for j in range(len(g)):
        x = g[j]
        square += x * x
        size += abs(x)
        p0 += x * v0[j]
        p1 += x * v1[j]
        p2 += x * v2[j]
        p3 += x * v3[j]
        p4 += x * v4[j]
        p5 += x * v5[j]
        p6 += x * v6[j]
        p7 += x * v7[j]
    out[0] += square
    out[1] += size
    for index, product in enumerate((p0, p1, p2, p3, p4, p5, p6, p7)):
        out[2 + index] += product


@_kept
@njit(**QUICK)
def _add_signed(folded, sign, g):  # type: ignore[no-untyped-def]
    for j in range(len(folded)):
        folded[j] += sign[j] * g[j]


@_kept
@njit(**QUICK)
def _fold(g, first, start, modulus, row_sign, column_sign, folded):  # type: ignore[no-untyped-def]
    """Add g, which begins at number `first` of the tile, to its buckets: run by run, up to a row's or the map's end."""
    columns = column_sign.shape[1]
    row, done = first // columns, 0
    column, place = first - row * columns, (first + start) % modulus
    while done < len(g):
        run = min(len(g) - done, modulus - place, columns - column)
        sign = column_sign[0 if row_sign[row] > 0 else 1, column : column + run]
        _add_signed(folded[place : place + run], sign, g[done : done + run])
        done, place, column = done + run, place + run, column + run
        if place == modulus:
            place = 0
        if column == columns:
            row, column = row + 1, 0


@_kept
@njit(**QUICK)
def _share(task, zero, size, number, threads):  # type: ignore[no-untyped-def]
    """The samples of thread `number` of so many. `zero` names the format, `size` its bytes."""
    n, e, width, columns, modulus = task[1], task[2], task[4], task[6], task[7]
    row_sign = carray(_pointer(zero, task[9]), (e // columns,))
    column_sign = carray(_pointer(zero, task[10]), (2, columns))
    low, high = n * number // threads, n * (number + 1) // threads
    for first in range(0, e, CHUNK):
        length, skip = (min(CHUNK, e - first),), size * first
        v0 = carray(_pointer(zero, task[12] + skip), length)
        if width == 8:
            v1 = carray(_pointer(zero, task[13] + skip), length)
            v2 = carray(_pointer(zero, task[14] + skip), length)
            v3 = carray(_pointer(zero, task[15] + skip), length)
            v4 = carray(_pointer(zero, task[16] + skip), length)
            v5 = carray(_pointer(zero, task[17] + skip), length)
            v6 = carray(_pointer(zero, task[18] + skip), length)
            v7 = carray(_pointer(zero, task[19] + skip), length)
        for i in range(low, high):
            g = carray(_pointer(zero, task[0] + size * i * e + skip), length)
            out = carray(_pointer(np.float64(0), task[3] + 8 * i * (2 + width)), (2 + width,))
            if width == 8:
                _eight(g, v0, v1, v2, v3, v4, v5, v6, v7, out, zero)
            else:
                _one(g, v0, out, zero)
            if task[5]:
                folded = carray(_pointer(zero, task[11] + size * i * modulus), (modulus,))
                _fold(g, first, task[8], modulus, row_sign, column_sign, folded)


@_kept
@njit(**QUICK)
def _update(g0, g1, a0, a1, a2, a3, d00, d01, d02, d03, d10, d11, d12, d13):  # type: ignore[no-untyped-def]
    """Two rows of G and four positions: as many multipliers as registers hold."""
    for j in range(len(g0)):
        x0, x1, x2, x3 = a0[j], a1[j], a2[j], a3[j]
        g0[j] += d00 * x0 + d01 * x1 + d02 * x2 + d03 * x3
        g1[j] += d10 * x0 + d11 * x1 + d12 * x2 + d13 * x3


@_kept
@njit(**QUICK)
def _block(g, wide, d, first, stop, a, column):  # type: ignore[no-untyped-def]
    """G = sum_t d_t a_t^T for rows first to stop and `wide` columns, one row after another in g; a spare row behind."""
    g[: (stop - first) * wide] = 0
    for t in range(0, a.shape[0], 4):
        a0, a1 = a[t, column : column + wide], a[t + 1, column : column + wide]
        a2, a3 = a[t + 2, column : column + wide], a[t + 3, column : column + wide]
        for r in range(first, stop, 2):
            at, other = (r - first) * wide, min(r + 1, stop - 1)
            x, y = d[r], d[other]
            _update(
                g[at : at + wide],
                g[at + wide : at + 2 * wide],
                a0,
                a1,
                a2,
                a3,
                x[t],
                x[t + 1],
                x[t + 2],
                x[t + 3],
                y[t],
                y[t + 1],
                y[t + 2],
                y[t + 3],
            )


@_kept
@njit(**QUICK)
def _share_made(task, zero, size, number, threads):  # type: ignore[no-untyped-def]
    """As _share, for gradients that are made here."""
    n, rows, width, columns, modulus, positions = task[1], task[2], task[4], task[6], task[7], task[21]
    row_sign = carray(_pointer(zero, task[9]), (rows,))
    column_sign = carray(_pointer(zero, task[10]), (2, columns))
    low, high = n * number // threads, n * (number + 1) // threads
    g = np.full((BLOCK_ROWS + 1) * BLOCK_COLUMNS, zero)
    v = np.full((width, BLOCK_ROWS * BLOCK_COLUMNS), zero)
    for first in range(0, rows, BLOCK_ROWS):
        stop = min(rows, first + BLOCK_ROWS)
        for column in range(0, columns, BLOCK_COLUMNS):
            wide = min(BLOCK_COLUMNS, columns - column)
            whole = (stop - first) * wide
            for look in range(width):
                direction = carray(_pointer(zero, task[12 + look]), (rows, columns))
                for r in range(first, stop):
                    for j in range(wide):
                        v[look, (r - first) * wide + j] = direction[r, column + j]
            for i in range(low, high):
                d = carray(_pointer(zero, task[0] + size * i * rows * positions), (rows, positions))
                a = carray(_pointer(zero, task[20] + size * i * positions * columns), (positions, columns))
                _block(g, wide, d, first, stop, a, column)
                out = carray(_pointer(np.float64(0), task[3] + 8 * i * (2 + width)), (2 + width,))
                if width == 8:
                    read = (v[0, :whole], v[1, :whole], v[2, :whole], v[3, :whole])
                    more = (v[4, :whole], v[5, :whole], v[6, :whole], v[7, :whole])
                    _eight(g[:whole], *read, *more, out, zero)
                else:
                    _one(g[:whole], v[0, :whole], out, zero)
                if task[5]:
                    folded = carray(_pointer(zero, task[11] + size * i * modulus), (modulus,))
                    for r in range(first, stop):
                        at, part = (r - first) * wide, r * columns + column
                        row = g[at : at + wide]
                        _fold(row, part, task[8], modulus, row_sign, column_sign, folded)


def _loaded() -> Any:
    """What this process has loaded for all, torch's OpenMP library among it; None on a system that does not tell."""
    try:
        return ctypes.CDLL(None)
    except (TypeError, OSError):
        return None


def in_threads(kind: type[np.floating], made: bool) -> Callable[[np.ndarray, int], None]:
    """One loop for one number format: in torch's own threads if they are GOMP's, else in the calling thread."""
    zero, size, library = kind(0), np.dtype(kind).itemsize, _loaded()
    share = _share_made if made else _share
    if not hasattr(library, "GOMP_parallel"):
        return lambda task, threads: share(task, zero, size, 0, 1)
    number, count = library.omp_get_thread_num, library.omp_get_num_threads
    for function in (number, count):
        function.restype, function.argtypes = ctypes.c_int, []

    @cfunc(types.void(types.CPointer(types.int64)))
    def enter(address):  # type: ignore[no-untyped-def]
        share(carray(address, (22,)), zero, size, number(), count())

    def run(task: np.ndarray, threads: int) -> None:
        library.GOMP_parallel(ctypes.c_void_p(enter.address), ctypes.c_void_p(task.ctypes.data), threads, 0)

    return run
