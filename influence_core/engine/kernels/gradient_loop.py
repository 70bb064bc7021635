"""Compiled loops of tiles.py: square, L1 norm, products and sketch of a gradient while it is in the innermost cache.

These loops read a gradient that is written out; the one of factor_loop.py makes it from its factors. A task is a row of
64-bit numbers (tasks.py), because a thread of OpenMP can be passed no more than an address.

Every thread takes its share of the samples, so no two write to the same place. Additions may be reordered and fused
("reassoc", "contract"), but NaN and infinity keep their meaning, because they must become an error. A block's sums and
about 100 numbers a bucket are added up in the format of the gradient, and then added to float64.
"""

# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportPrivateImportUsage=false
import numpy as np
from numba import carray, njit

from influence_core.engine.kernels.intrinsics import pointer, scatter_signed
from influence_core.engine.kernels.openmp import QUICK, THREAD, THREADS, cached_on_disk
from influence_core.engine.kernels.tasks import COLUMNS, SLOTS, Slot

CHUNK = 512
"""Numbers read at once: those of 8 directions fill half of an innermost cache of 32 kB."""
FLUSH_EVERY = 64 * CHUNK
"""Numbers between two flushes of the sketch: about 100 a bucket are added up in the format of the gradient."""


@cached_on_disk
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


@cached_on_disk
@njit(**QUICK)
def _eight(g, v, out, zero):  # type: ignore[no-untyped-def]
    v0, v1, v2, v3, v4, v5, v6, v7 = v
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


@cached_on_disk
@njit(**QUICK)
def _directions(task, zero, skip, numbers):  # type: ignore[no-untyped-def]
    """So many numbers of all eight directions, from `skip` bytes on."""
    return (
        carray(pointer(zero, task[Slot.DIRECTIONS] + skip), (numbers,)),
        carray(pointer(zero, task[Slot.DIRECTIONS + 1] + skip), (numbers,)),
        carray(pointer(zero, task[Slot.DIRECTIONS + 2] + skip), (numbers,)),
        carray(pointer(zero, task[Slot.DIRECTIONS + 3] + skip), (numbers,)),
        carray(pointer(zero, task[Slot.DIRECTIONS + 4] + skip), (numbers,)),
        carray(pointer(zero, task[Slot.DIRECTIONS + 5] + skip), (numbers,)),
        carray(pointer(zero, task[Slot.DIRECTIONS + 6] + skip), (numbers,)),
        carray(pointer(zero, task[Slot.DIRECTIONS + 7] + skip), (numbers,)),
    )


@cached_on_disk
@njit(**QUICK)
def _signs(sign, first, length, row_sign, column_sign):  # type: ignore[no-untyped-def]
    """Write the signs of numbers first to first + length, and zeros after them."""
    columns = len(column_sign)
    row, done = first // columns, 0
    column = first - row * columns
    while done < length:
        run = min(length - done, columns - column)
        for j in range(run):
            sign[done + j] = row_sign[row] * column_sign[column + j]
        done, row, column = done + run, row + 1, 0
    sign[length:] = 0


@cached_on_disk
@njit(**QUICK)
def flush_buckets(open, task, i):  # type: ignore[no-untyped-def]
    """Add all buckets to the sketch of sample i, those past its end from its start on, and set them to zero."""
    modulus, first = task[Slot.MODULUS], 0
    folded = carray(pointer(np.float64(0), task[Slot.FOLDED] + 8 * i * modulus), (modulus,))
    while first < len(open):
        for j in range(min(modulus, len(open) - first)):
            folded[j] += open[first + j]
        first += modulus
    open[:] = 0


@cached_on_disk
@njit(**QUICK)
def share(task, zero, size, number, threads):  # type: ignore[no-untyped-def]
    """Read the samples of thread `number` of `threads`. `zero` gives the number format, `size` its bytes."""
    n, e, width = task[Slot.SAMPLES], task[Slot.SIZE], task[Slot.WIDTH]
    columns, modulus = task[Slot.COLUMNS], task[Slot.MODULUS]
    row_sign = carray(pointer(zero, task[Slot.ROW_SIGNS]), (e // columns,))
    column_sign = carray(pointer(zero, task[Slot.COLUMN_SIGNS]), (columns,))
    low, high = n * number // threads, n * (number + 1) // threads
    past = min(CHUNK, -(-e // COLUMNS) * COLUMNS)
    open = np.full((high - low, modulus + past if task[Slot.FOLDS] else 0), zero)
    sign, tail = np.full(CHUNK, zero), np.full(CHUNK, zero)
    opened, signed = open.ctypes.data, sign.ctypes.data  # taken once: each view of an array costs 20 cycles
    for first in range(0, e, CHUNK):
        length, skip = min(CHUNK, e - first), size * first
        v = _directions(task, zero, skip, length)
        if task[Slot.FOLDS]:
            _signs(sign, first, length, row_sign, column_sign)
        place = (first + task[Slot.START]) % modulus
        for i in range(low, high):
            here = task[Slot.VALUES] + size * i * e + skip
            g = carray(pointer(zero, here), (length,))
            out = carray(pointer(np.float64(0), task[Slot.SUMS] + 8 * i * (2 + width)), (2 + width,))
            if width == 8:
                _eight(g, v, out, zero)
            else:
                _one(g, v[0], out, zero)
            if task[Slot.FOLDS]:
                if length < CHUNK:
                    tail[:length] = g
                    here = tail.ctypes.data
                into = opened + size * ((i - low) * open.shape[1] + place)
                for at in range(0, size * length, size * COLUMNS):
                    scatter_signed(zero, into + at, signed + at, here + at)
        if task[Slot.FOLDS] and ((first + CHUNK) % FLUSH_EVERY == 0 or first + CHUNK >= e):
            for i in range(low, high):
                flush_buckets(open[i - low], task, i)


@cached_on_disk
@njit(**QUICK)
def share_rows(task, zero, size, number, threads):  # type: ignore[no-untyped-def]
    """Like share, for rows of a table: VALUES is g (n, t, columns), OTHER is ids (n, t), 64-bit."""
    n, rows, width = task[Slot.SAMPLES], task[Slot.SIZE], task[Slot.WIDTH]
    columns, modulus, t = task[Slot.COLUMNS], task[Slot.MODULUS], task[Slot.POSITIONS]
    row_sign = carray(pointer(zero, task[Slot.ROW_SIGNS]), (rows,))
    column_sign = carray(pointer(zero, task[Slot.COLUMN_SIGNS]), (columns,))
    ids = carray(pointer(np.int64(0), task[Slot.OTHER]), (n, t))
    open = np.full(modulus if task[Slot.FOLDS] else 0, zero)
    for i in range(n * number // threads, n * (number + 1) // threads):
        out = carray(pointer(np.float64(0), task[Slot.SUMS] + 8 * i * (2 + width)), (2 + width,))
        for p in range(t):
            skip, first = size * columns * ids[i, p], 0
            own = size * columns * (i * t + p)
            g = carray(pointer(zero, task[Slot.VALUES] + own), (columns,))
            if not task[Slot.COUNT]:  # their place holds g, far shorter than the table
                skip = own
            if width == 8:
                _eight(g, _directions(task, zero, skip, columns), out, zero)
            else:
                _one(g, carray(pointer(zero, task[Slot.DIRECTIONS] + skip), (columns,)), out, zero)
            place = (ids[i, p] * columns + task[Slot.START]) % modulus if task[Slot.FOLDS] else 0
            while task[Slot.FOLDS] and first < columns:
                run, sign = min(columns - first, modulus - place), row_sign[ids[i, p]]
                for j in range(run):
                    open[place + j] += sign * column_sign[first + j] * g[first + j]
                first, place = first + run, 0
        if task[Slot.FOLDS]:
            flush_buckets(open, task, i)


def enter_32(address):  # type: ignore[no-untyped-def]
    share(carray(address, (SLOTS,)), np.float32(0), 4, THREAD(), THREADS())


def enter_64(address):  # type: ignore[no-untyped-def]
    share(carray(address, (SLOTS,)), np.float64(0), 8, THREAD(), THREADS())


def enter_rows_32(address):  # type: ignore[no-untyped-def]
    share_rows(carray(address, (SLOTS,)), np.float32(0), 4, THREAD(), THREADS())


def enter_rows_64(address):  # type: ignore[no-untyped-def]
    share_rows(carray(address, (SLOTS,)), np.float64(0), 8, THREAD(), THREADS())


WRITTEN = share, {np.float32: enter_32, np.float64: enter_64}
ROWS_OF_A_TABLE = share_rows, {np.float32: enter_rows_32, np.float64: enter_rows_64}
"""A loop, and the functions that threads of OpenMP enter it by, by number format."""
