"""Compiled loop that makes a gradient from its factors, a few rows of 64 columns at a time, and reads them at once.

A block of the 8 directions stays in the innermost cache while it is multiplied with every sample. The factors of a
block's 64 columns stay in the next cache for BAND rows. Row factors are packed when their band starts: packed all at
once, they left the cache before they were used. Bands take 0.95 of the time (linear layers with 64 positions). Threads
and sums are those of gradient_loop.py.
"""

# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportPrivateImportUsage=false
import numpy as np
from numba import carray, njit

from influence_core.engine.kernels.gradient_loop import FLUSH_EVERY, flush_buckets
from influence_core.engine.kernels.intrinsics import BITS, copier, fetch, make, pointer, reader, transpose_8x4
from influence_core.engine.kernels.openmp import QUICK, THREAD, THREADS, cached_on_disk
from influence_core.engine.kernels.tasks import BAND, BLOCK_GAP, COLUMNS, ROWS, SLOTS, Slot

VECTOR = BITS // 8
copy, copy_8 = copier(COLUMNS), copier(8)
eight, eight_folded, one, one_folded = reader(8, False), reader(8, True), reader(1, False), reader(1, True)


@cached_on_disk
@njit(**QUICK)
def _packed_rows(task, zero, size, i, band, last, into, apart):  # type: ignore[no-untyped-def]
    """Copy rows band to last of d of sample i to addresses `apart` bytes apart, as (positions, 6), zeros as padding."""
    rows, t, step, along = task[Slot.SIZE], task[Slot.POSITIONS], task[Slot.D_ROW], task[Slot.D_POSITION]
    begin = task[Slot.VALUES] + size * (i * task[Slot.D_SAMPLE] + band * step)
    blocks, whole = -(-(last - band) // ROWS), 0
    rows -= band
    d = carray(pointer(zero, begin), ((rows - 1) * step + (t - 1) * along + 1,))
    if step == 1:  # 8 at once: the 2 too many are overwritten, or read from the rows that follow
        whole = max(0, min(blocks, (rows - 2) // ROWS))
        for p in range(t - 1):
            for block in range(whole):
                there = into + apart * block + size * ROWS * p
                copy_8(zero, there, begin + size * (ROWS * block + p * along))
    for block in range(blocks):
        packed = carray(pointer(zero, into + apart * block), (t, ROWS))
        for r in range(ROWS):
            row = block * ROWS + r
            for p in range(t - 1 if block < whole else 0, t):
                packed[p, r] = d[row * step + p * along] if row < rows else zero


@cached_on_disk
@njit(**QUICK)
def _packed_columns(task, zero, size, i, into, apart):  # type: ignore[no-untyped-def]
    """Copy a of sample i to addresses `apart` bytes apart, as (positions, 64), columns padded with zeros."""
    columns, t = task[Slot.COLUMNS], task[Slot.POSITIONS]
    step, along = task[Slot.A_COLUMN], task[Slot.A_POSITION]
    begin = task[Slot.OTHER] + size * i * task[Slot.A_SAMPLE]
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
                    there, here = into + size * (COLUMNS * p + c), begin + size * ((first + c) * step + p)
                    transpose_8x4(zero, there, here, size * COLUMNS, size * step)
            for c in range(wide):
                for p in range(turned if c < eights else 0, t):
                    packed[p, c] = a[(first + c) * step + p * along]
        into += apart


@cached_on_disk
@njit(**QUICK)
def _directions(task, zero, size, v, first, tall, column, wide):  # type: ignore[no-untyped-def]
    """Copy `tall` rows of all directions, from row `first` on, into v (tall, width, 64)."""
    width, columns = task[Slot.WIDTH], task[Slot.COLUMNS]
    into = v.ctypes.data
    for look in range(task[Slot.COUNT]):
        begin = task[Slot.DIRECTIONS + look] + size * (first * columns + column)
        if wide == COLUMNS:
            for r in range(tall):
                copy(zero, into + size * COLUMNS * (r * width + look), begin + size * r * columns)
        else:
            direction = carray(pointer(zero, begin), ((tall - 1) * columns + wide,))
            for r in range(tall):
                for j in range(wide):
                    v[(r * width + look) * COLUMNS + j] = direction[r * columns + j]


@cached_on_disk
@njit(**QUICK)
def _ahead(task, size, row, column):  # type: ignore[no-untyped-def]
    """Prefetch one row of all directions."""
    for look in range(task[Slot.COUNT]):
        fetch(task[Slot.DIRECTIONS + look] + size * (row * task[Slot.COLUMNS] + column))


@cached_on_disk
@njit(**QUICK)
def _closed(task, sums, low, lanes):  # type: ignore[no-untyped-def]
    """Add each sample's vectors of sums to its float64 sums, and set them to zero."""
    width = 2 + task[Slot.WIDTH]
    for i in range(len(sums)):
        out = carray(pointer(np.float64(0), task[Slot.SUMS] + 8 * (low + i) * width), (width,))
        for index in range(width):
            for lane in range(lanes):
                out[index] += sums[i, index * lanes + lane]
    sums[:] = 0


@cached_on_disk
@njit(**QUICK)
def _read(task, zero, size, d, a, apart, v, signs, into, places, rows, sums, made):  # type: ignore[no-untyped-def]
    """Make `rows` rows and 64 columns of one sample's gradient in `made`, and add their readings to its sums."""
    for r in range(0, rows, ROWS):
        make(zero, d + apart * (r // ROWS), a, made + size * COLUMNS * r, task[Slot.POSITIONS])
    if task[Slot.WIDTH] == 8:
        if task[Slot.FOLDS]:
            eight_folded(zero, made, v, signs, into, places, rows, sums)
        else:
            eight(zero, made, v, signs, into, places, rows, sums)
    elif task[Slot.FOLDS]:
        one_folded(zero, made, v, signs, into, places, rows, sums)
    else:
        one(zero, made, v, signs, into, places, rows, sums)


@cached_on_disk
@njit(**QUICK)
def share_made(task, zero, size, number, threads):  # type: ignore[no-untyped-def]
    """Read the samples of thread `number` of `threads`. `zero` gives the number format, `size` its bytes."""
    n, rows, width = task[Slot.SAMPLES], task[Slot.SIZE], task[Slot.WIDTH]
    columns, modulus, t = task[Slot.COLUMNS], task[Slot.MODULUS], task[Slot.POSITIONS]
    tall = task[Slot.TALL]
    row_sign = carray(pointer(zero, task[Slot.ROW_SIGNS]), (rows,))
    column_sign = carray(pointer(zero, task[Slot.COLUMN_SIGNS]), (columns,))
    low, high = n * number // threads, n * (number + 1) // threads
    blocks, tall_line = -(-columns // COLUMNS), size * ROWS * t
    wide_line = size * COLUMNS * t
    row_apart, apart = tall_line * (high - low) + BLOCK_GAP, wide_line * (high - low) + BLOCK_GAP
    row_blocks = -(-min(rows, BAND) // ROWS)
    before = low * (tall_line * row_blocks + wide_line * blocks) + number * BLOCK_GAP * (row_blocks + blocks)
    factors = task[Slot.PACKED] + before
    windows = factors + row_apart * row_blocks
    for i in range(high - low):  # blocks of one place beside each other, whatever their sample
        _packed_columns(task, zero, size, low + i, windows + i * wide_line, apart)
    open = np.full((high - low, modulus + COLUMNS if task[Slot.FOLDS] else 0), zero)
    lanes = VECTOR // size
    sums = np.full((high - low, (2 + width) * lanes), zero)
    g, sign = np.full(tall * COLUMNS, zero), np.full(tall * COLUMNS, zero)
    v = np.full(width * tall * COLUMNS, zero)
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
                if task[Slot.FOLDS]:
                    for r in range(high_rows):
                        place[r] = size * (((first + r) * columns + column + task[Slot.START]) % modulus)
                        for j in range(wide):
                            sign[r * COLUMNS + j] = row_sign[first + r] * column_sign[column + j]
                later, beside = first + tall, column
                if later >= last:
                    later, beside = band, column + COLUMNS
                for i in range(high - low):
                    d = factors + (first - band) // ROWS * row_apart + i * tall_line
                    a = windows + block * apart + i * wide_line
                    into, out = opened + size * i * open.shape[1], added + VECTOR * i * (2 + width)
                    _read(task, zero, size, d, a, row_apart, along, signed, into, places, whole, out, made)
                    if i < tall and later + i < rows and beside < columns:
                        _ahead(task, size, later + i, beside)
            _closed(task, sums, low, lanes)
            since += BAND * COLUMNS
            if task[Slot.FOLDS] and (since >= FLUSH_EVERY or (last == rows and block == blocks - 1)):
                since = 0
                for i in range(low, high):
                    flush_buckets(open[i - low], task, i)


def enter_made_32(address):  # type: ignore[no-untyped-def]
    share_made(carray(address, (SLOTS,)), np.float32(0), 4, THREAD(), THREADS())


def enter_made_64(address):  # type: ignore[no-untyped-def]
    share_made(carray(address, (SLOTS,)), np.float64(0), 8, THREAD(), THREADS())


MADE = share_made, {np.float32: enter_made_32, np.float64: enter_made_64}
"""The loop, and the functions that threads of OpenMP enter it by, by number format."""
