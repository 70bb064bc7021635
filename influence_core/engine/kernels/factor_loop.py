"""The compiled loop that makes a gradient of its factors, a few rows of 64 columns at a time, and reads them at once.

A block of the 8 directions lies in the innermost cache while it is met with every sample; the factors of a block's 64
columns lie in the next one while BAND rows go by, whose factors are packed when it is their turn: packed all at once
they had gone back to memory meanwhile (linear layers with 64 positions: 0.95 of the time). Tasks, threads and sums are
those of gradient_loop.py.
"""

# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportPrivateImportUsage=false
import numpy as np
from numba import carray, njit

from influence_core.engine.kernels.gradient_loop import SETTLED, TASK, settled
from influence_core.engine.kernels.intrinsics import (
    BITS,
    COLUMNS,
    ROWS,
    copier,
    fetch,
    make,
    pointer,
    reader,
    turn,
)
from influence_core.engine.kernels.openmp import QUICK, THREAD, THREADS, kept

BAND = 48
"""Rows after which the next columns are taken."""
APART = 64
"""Bytes between blocks, so that they do not all fall into one set of the cache."""
VECTOR = BITS // 8
copy, copy_8 = copier(COLUMNS), copier(8)
eight, eight_folded, one, one_folded = reader(8, False), reader(8, True), reader(1, False), reader(1, True)


def room(n: int, rows: int, columns: int, t: int, threads: int) -> int:
    """Numbers that the packed factors take, with the gaps between their blocks in float32."""
    blocks, wide = -(-min(rows, BAND) // ROWS), -(-columns // COLUMNS)
    return n * t * (blocks * ROWS + wide * COLUMNS) + APART // 4 * threads * (blocks + wide)


@kept
@njit(**QUICK)
def _packed_rows(task, zero, size, i, band, last, into, apart):  # type: ignore[no-untyped-def]
    """Rows band to last of d of sample i to addresses `apart` bytes apart, as (positions, 6), padded by zeros."""
    rows, t, step, along = task[2], task[22], task[24], task[25]
    begin, blocks, whole = task[0] + size * (i * task[23] + band * step), -(-(last - band) // ROWS), 0
    rows -= band
    d = carray(pointer(zero, begin), ((rows - 1) * step + (t - 1) * along + 1,))
    if step == 1:  # 8 at once: the 2 too many are overwritten, or read from the rows that follow
        whole = max(0, min(blocks, (rows - 2) // ROWS))
        for p in range(t - 1):
            for block in range(whole):
                copy_8(
                    zero, into + apart * block + size * ROWS * p, begin + size * (ROWS * block + p * along)
                )
    for block in range(blocks):
        packed = carray(pointer(zero, into + apart * block), (t, ROWS))
        for r in range(ROWS):
            row = block * ROWS + r
            for p in range(t - 1 if block < whole else 0, t):
                packed[p, r] = d[row * step + p * along] if row < rows else zero


@kept
@njit(**QUICK)
def _packed_columns(task, zero, size, i, into, apart):  # type: ignore[no-untyped-def]
    """a of sample i to addresses `apart` bytes from each other, as (positions, 64), columns padded by zeros."""
    columns, t, step, along = task[6], task[22], task[27], task[28]
    begin = task[21] + size * i * task[26]
    a = carray(pointer(zero, begin), ((columns - 1) * step + (t - 1) * along + 1,))
    for block in range(-(-columns // COLUMNS)):
        packed = carray(pointer(zero, into), (t, COLUMNS))
        first, wide = block * COLUMNS, min(COLUMNS, columns - block * COLUMNS)
        if wide < COLUMNS:
            packed[:] = 0
        if step == 1 and wide == COLUMNS:
            for p in range(t):
                copy(zero, into + size * COLUMNS * p, begin + size * (first + p * along))
        elif step == 1:
            for p in range(t):
                for c in range(wide):
                    packed[p, c] = a[first + c + p * along]
        else:
            turned, eights = t // 4 * 4 if along == 1 else 0, wide // 8 * 8
            for c in range(0, eights, 8):
                for p in range(0, turned, 4):
                    there = into + size * (COLUMNS * p + c)
                    turn(zero, there, begin + size * ((first + c) * step + p), size * COLUMNS, size * step)
            for c in range(wide):
                for p in range(turned if c < eights else 0, t):
                    packed[p, c] = a[(first + c) * step + p * along]
        into += apart


@kept
@njit(**QUICK)
def _directions(task, zero, size, v, first, tall, column, wide):  # type: ignore[no-untyped-def]
    """Rows from `first` on of all directions into v (tall, width, 64)."""
    width, columns = task[4], task[6]
    into = v.ctypes.data
    for look in range(task[20]):
        begin = task[12 + look] + size * (first * columns + column)
        if wide == COLUMNS:
            for r in range(tall):
                copy(zero, into + size * COLUMNS * (r * width + look), begin + size * r * columns)
        else:
            direction = carray(pointer(zero, begin), ((tall - 1) * columns + wide,))
            for r in range(tall):
                for j in range(wide):
                    v[(r * width + look) * COLUMNS + j] = direction[r * columns + j]


@kept
@njit(**QUICK)
def _ahead(task, size, row, column):  # type: ignore[no-untyped-def]
    """Ask for one row of all directions."""
    for look in range(task[20]):
        fetch(task[12 + look] + size * (row * task[6] + column))


@kept
@njit(**QUICK)
def _closed(task, sums, low, lanes):  # type: ignore[no-untyped-def]
    """Add the vectors of sums of each sample up in float64, and begin anew."""
    width = 2 + task[4]
    for i in range(len(sums)):
        out = carray(pointer(np.float64(0), task[3] + 8 * (low + i) * width), (width,))
        for index in range(width):
            for lane in range(lanes):
                out[index] += sums[i, index * lanes + lane]
    sums[:] = 0


@kept
@njit(**QUICK)
def _read(task, zero, size, d, a, apart, v, signs, into, places, rows, sums, made):  # type: ignore[no-untyped-def]
    """Add one sample's gradient at `rows` rows and 64 columns to its sums; `made` is room for the block."""
    for r in range(0, rows, ROWS):
        make(zero, d + apart * (r // ROWS), a, made + size * COLUMNS * r, task[22])
    if task[4] == 8:
        if task[5]:
            eight_folded(zero, made, v, signs, into, places, rows, sums)
        else:
            eight(zero, made, v, signs, into, places, rows, sums)
    elif task[5]:
        one_folded(zero, made, v, signs, into, places, rows, sums)
    else:
        one(zero, made, v, signs, into, places, rows, sums)


@kept
@njit(**QUICK)
def share_made(task, zero, size, number, threads):  # type: ignore[no-untyped-def]
    """The samples of thread `number` of so many. `zero` names the format, `size` its bytes."""
    n, rows, width, columns, modulus, t = task[1], task[2], task[4], task[6], task[7], task[22]
    tall = task[29]
    row_sign = carray(pointer(zero, task[9]), (rows,))
    column_sign = carray(pointer(zero, task[10]), (columns,))
    low, high = n * number // threads, n * (number + 1) // threads
    blocks, tall_line = -(-columns // COLUMNS), size * ROWS * t
    wide_line = size * COLUMNS * t
    row_apart, apart = tall_line * (high - low) + APART, wide_line * (high - low) + APART
    row_blocks = -(-min(rows, BAND) // ROWS)
    before = low * (tall_line * row_blocks + wide_line * blocks) + number * APART * (row_blocks + blocks)
    factors = task[30] + before
    windows = factors + row_apart * row_blocks
    for i in range(high - low):  # blocks of one place beside each other, whatever their sample
        _packed_columns(task, zero, size, low + i, windows + i * wide_line, apart)
    open = np.full((high - low, modulus + COLUMNS if task[5] else 0), zero)
    lanes = VECTOR // size
    sums = np.full((high - low, (2 + width) * lanes), zero)
    g, sign, v = (
        np.full(tall * COLUMNS, zero),
        np.full(tall * COLUMNS, zero),
        np.full(width * tall * COLUMNS, zero),
    )
    place = np.zeros(tall, dtype=np.int64)
    added, opened, places = sums.ctypes.data, open.ctypes.data, place.ctypes.data
    made, along, signed = g.ctypes.data, v.ctypes.data, sign.ctypes.data
    since = 0
    for band in range(0, rows, BAND):
        last = min(band + BAND, rows)
        for i in range(high - low):
            _packed_rows(task, zero, size, low + i, band, last, factors + i * tall_line, row_apart)
        for block in range(blocks):
            column = block * COLUMNS
            wide = min(COLUMNS, columns - column)
            if wide < COLUMNS:
                v[:], sign[:] = 0, 0
            for first in range(band, last, tall):
                high_rows = min(tall, last - first)
                whole = -(-high_rows // ROWS) * ROWS
                if high_rows < whole:
                    v[high_rows * width * COLUMNS :], sign[high_rows * COLUMNS :] = 0, 0
                    place[high_rows:] = 0
                _directions(task, zero, size, v, first, high_rows, column, wide)
                if task[5]:
                    for r in range(high_rows):
                        place[r] = size * (((first + r) * columns + column + task[8]) % modulus)
                        for j in range(wide):
                            sign[r * COLUMNS + j] = row_sign[first + r] * column_sign[column + j]
                later, beside = first + tall, column
                if later >= last:
                    later, beside = band, column + COLUMNS
                for i in range(high - low):
                    left, right = (
                        factors + (first - band) // ROWS * row_apart + i * tall_line,
                        windows + block * apart + i * wide_line,
                    )
                    into, total = opened + size * i * open.shape[1], added + VECTOR * i * (2 + width)
                    _read(
                        task,
                        zero,
                        size,
                        left,
                        right,
                        row_apart,
                        along,
                        signed,
                        into,
                        places,
                        whole,
                        total,
                        made,
                    )
                    if i < tall and later + i < rows and beside < columns:
                        _ahead(task, size, later + i, beside)
            _closed(task, sums, low, lanes)
            since += BAND * COLUMNS
            if task[5] and (since >= SETTLED or (last == rows and block == blocks - 1)):
                since = 0
                for i in range(low, high):
                    settled(
                        open[i - low], carray(pointer(np.float64(0), task[11] + 8 * i * modulus), (modulus,))
                    )


def enter_made_32(address):  # type: ignore[no-untyped-def]
    share_made(carray(address, (TASK,)), np.float32(0), 4, THREAD(), THREADS())


def enter_made_64(address):  # type: ignore[no-untyped-def]
    share_made(carray(address, (TASK,)), np.float64(0), 8, THREAD(), THREADS())


MADE = {
    np.float32: (enter_made_32, lambda task: share_made(task, np.float32(0), 4, 0, 1)),
    np.float64: (enter_made_64, lambda task: share_made(task, np.float64(0), 8, 0, 1)),
}
"""By number format: for a thread of OpenMP, and for the calling thread alone."""
