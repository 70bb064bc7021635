"""The compiled loops of tiles.py: a gradient's square, L1 norm, products and sketch while it is in the innermost cache.

Two loops: one reads a gradient that is written out; the other makes it of its factors, block by block of 64 x 64
numbers, and reads each block before it is forgotten. A task is a row of 64-bit numbers, addresses among them, because
that is what a thread of OpenMP can be handed:

    0 g  1 n  2 numbers a sample    3 sums  4 width | 5 fold?  6 columns  7 modulus  8 start  9 row signs
    0 d  1 n  2 rows                10 column signs  11 folded | 12-19 directions  20 how many of them
                                    21 a  22 t  23-25 steps of d (sample, row, position)  26-28 of a (also columns)
                                    29 rows of a block

Every thread takes its share of the samples, so no two write to the same place. Additions may be reordered and fused
("reassoc", "contract"), but NaN and infinity keep their meaning: they must reach the person. A block's sums and
a bucket's first 100 numbers are added up in the format of the gradient, and go over into float64.
"""

# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportPrivateImportUsage=false
import numpy as np
from numba import carray, njit

from influence_core.engine.threads import QUICK, THREAD, THREADS, kept
from influence_core.engine.vectors import COLUMNS, ROWS, copy, make, pointer, spread

CHUNK = 512
"""Numbers looked at at once: those of 8 directions fill half of an innermost cache of 32 kB."""
SETTLED = 64 * CHUNK
"""Numbers between two settlements of the sketch: about 100 a bucket are added up in the gradient's own format."""
TASK = 30


@kept
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


@kept
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


@kept
@njit(**QUICK)
def _signs(sign, first, length, row_sign, column_sign):  # type: ignore[no-untyped-def]
    """The signs of numbers first to first + length; none after them."""
    columns = len(column_sign)
    row, done = first // columns, 0
    column = first - row * columns
    while done < length:
        run = min(length - done, columns - column)
        for j in range(run):
            sign[done + j] = row_sign[row] * column_sign[column + j]
        done, row, column = done + run, row + 1, 0
    sign[length:] = 0


@kept
@njit(**QUICK)
def _settled(open, folded):  # type: ignore[no-untyped-def]
    """Add buckets that run on past the last one to where they belong, in float64, and begin anew."""
    first = 0
    while first < len(open):
        for j in range(min(len(folded), len(open) - first)):
            folded[j] += open[first + j]
        first += len(folded)
    open[:] = 0


@kept
@njit(**QUICK)
def share(task, zero, size, number, threads):  # type: ignore[no-untyped-def]
    """The samples of thread `number` of so many. `zero` names the format, `size` its bytes."""
    n, e, width, columns, modulus = task[1], task[2], task[4], task[6], task[7]
    row_sign = carray(pointer(zero, task[9]), (e // columns,))
    column_sign = carray(pointer(zero, task[10]), (columns,))
    low, high = n * number // threads, n * (number + 1) // threads
    past = min(CHUNK, -(-e // COLUMNS) * COLUMNS)
    open = np.full((high - low, modulus + past if task[5] else 0), zero)
    sign, tail = np.full(CHUNK, zero), np.full(CHUNK, zero)
    opened, signed = (
        open.ctypes.data,
        sign.ctypes.data,
    )  # asked for once: each view of an array costs 20 cycles
    for first in range(0, e, CHUNK):
        length, skip = (min(CHUNK, e - first),), size * first
        v0 = carray(pointer(zero, task[12] + skip), length)
        if width == 8:
            v1 = carray(pointer(zero, task[13] + skip), length)
            v2 = carray(pointer(zero, task[14] + skip), length)
            v3 = carray(pointer(zero, task[15] + skip), length)
            v4 = carray(pointer(zero, task[16] + skip), length)
            v5 = carray(pointer(zero, task[17] + skip), length)
            v6 = carray(pointer(zero, task[18] + skip), length)
            v7 = carray(pointer(zero, task[19] + skip), length)
        if task[5]:
            _signs(sign, first, length[0], row_sign, column_sign)
        place = (first + task[8]) % modulus
        for i in range(low, high):
            here = task[0] + size * i * e + skip
            g = carray(pointer(zero, here), length)
            out = carray(pointer(np.float64(0), task[3] + 8 * i * (2 + width)), (2 + width,))
            if width == 8:
                _eight(g, v0, v1, v2, v3, v4, v5, v6, v7, out, zero)
            else:
                _one(g, v0, out, zero)
            if task[5]:
                if length[0] < CHUNK:
                    tail[: length[0]] = g
                    here = tail.ctypes.data
                into = opened + size * ((i - low) * open.shape[1] + place)
                for at in range(0, size * length[0], size * COLUMNS):
                    spread(zero, into + at, signed + at, here + at)
        if task[5] and ((first + CHUNK) % SETTLED == 0 or first + CHUNK >= e):
            for i in range(low, high):
                _settled(
                    open[i - low], carray(pointer(np.float64(0), task[11] + 8 * i * modulus), (modulus,))
                )


@kept
@njit(**QUICK)
def _packed_rows(task, zero, size, low, high):  # type: ignore[no-untyped-def]
    """d as (samples, blocks, positions, 4): the factors of 4 rows beside each other, rows padded by zeros."""
    rows, t, step, along = task[2], task[22], task[24], task[25]
    packed = np.full((high - low, -(-rows // ROWS), t, ROWS), zero)
    for i in range(high - low):
        d = carray(
            pointer(zero, task[0] + size * (low + i) * task[23]), ((rows - 1) * step + (t - 1) * along + 1,)
        )
        if along == 1:
            for r in range(rows):
                for p in range(t):
                    packed[i, r // ROWS, p, r % ROWS] = d[r * step + p]
        else:
            for p in range(t):
                for block in range(rows // ROWS):
                    for r in range(ROWS):
                        packed[i, block, p, r] = d[(block * ROWS + r) * step + p * along]
                for r in range(rows // ROWS * ROWS, rows):
                    packed[i, r // ROWS, p, r % ROWS] = d[r * step + p * along]
    return packed


@kept
@njit(**QUICK)
def _packed_columns(task, zero, size, low, high):  # type: ignore[no-untyped-def]
    """a as (samples, blocks, positions, 64), columns padded by zeros to whole blocks."""
    columns, t, step, along = task[6], task[22], task[27], task[28]
    packed = np.full((high - low, -(-columns // COLUMNS), t, COLUMNS), zero)
    into = packed.ctypes.data
    for i in range(high - low):
        begin = task[21] + size * (low + i) * task[26]
        a = carray(pointer(zero, begin), ((columns - 1) * step + (t - 1) * along + 1,))
        for block in range(packed.shape[1]):
            first, wide = block * COLUMNS, min(COLUMNS, columns - block * COLUMNS)
            if step == 1 and wide == COLUMNS:
                for p in range(t):
                    copy(zero, into + size * COLUMNS * p, begin + size * (first + p * along))
            elif step == 1:
                for p in range(t):
                    for c in range(wide):
                        packed[i, block, p, c] = a[first + c + p * along]
            else:
                for c in range(wide):
                    for p in range(t):
                        packed[i, block, p, c] = a[(first + c) * step + p * along]
            into += size * COLUMNS * t
    return packed


@kept
@njit(**QUICK)
def share_made(task, zero, size, number, threads):  # type: ignore[no-untyped-def]
    """As share, for gradients that are made here."""
    n, rows, width, columns, modulus = task[1], task[2], task[4], task[6], task[7]
    t, tall = task[22], task[29]
    row_sign = carray(pointer(zero, task[9]), (rows,))
    column_sign = carray(pointer(zero, task[10]), (columns,))
    low, high = n * number // threads, n * (number + 1) // threads
    d, a = _packed_rows(task, zero, size, low, high), _packed_columns(task, zero, size, low, high)
    open = np.full((high - low, modulus + COLUMNS if task[5] else 0), zero)
    g, sign, v = (
        np.full(tall * COLUMNS, zero),
        np.full(tall * COLUMNS, zero),
        np.full((width, tall * COLUMNS), zero),
    )
    factors, windows = d.ctypes.data, a.ctypes.data
    along, made, signed, opened, line = (
        v.ctypes.data,
        g.ctypes.data,
        sign.ctypes.data,
        open.ctypes.data,
        size * COLUMNS,
    )
    place = np.zeros(tall, dtype=np.int64)
    since = 0
    for first in range(0, rows, tall):
        high_rows = min(tall, rows - first)
        whole = -(-high_rows // ROWS) * ROWS * COLUMNS
        for block in range(a.shape[1]):
            column = block * COLUMNS
            wide = min(COLUMNS, columns - column)
            if wide < COLUMNS or high_rows < tall:
                v[:], sign[:] = 0, 0
            for look in range(task[20]):
                begin, into = task[12 + look] + size * (first * columns + column), along + line * tall * look
                if wide == COLUMNS:
                    for r in range(high_rows):
                        copy(zero, into + line * r, begin + size * r * columns)
                else:
                    direction = carray(pointer(zero, task[12 + look]), (rows, columns))
                    for r in range(high_rows):
                        for j in range(wide):
                            v[look, r * COLUMNS + j] = direction[first + r, column + j]
            if task[5]:
                for r in range(high_rows):
                    place[r] = ((first + r) * columns + column + task[8]) % modulus
                    for j in range(wide):
                        sign[r * COLUMNS + j] = row_sign[first + r] * column_sign[column + j]
            for i in range(low, high):
                left = factors + size * t * ((i - low) * d.shape[1] * ROWS + first)
                right = windows + line * t * ((i - low) * a.shape[1] + block)
                for r in range(0, high_rows, ROWS):
                    make(zero, left + size * t * r, right, made + line * r, t)
                out = carray(pointer(np.float64(0), task[3] + 8 * i * (2 + width)), (2 + width,))
                if width == 8:
                    read = (v[0, :whole], v[1, :whole], v[2, :whole], v[3, :whole])
                    more = (v[4, :whole], v[5, :whole], v[6, :whole], v[7, :whole])
                    _eight(g[:whole], *read, *more, out, zero)
                else:
                    _one(g[:whole], v[0, :whole], out, zero)
                if task[5]:
                    into = opened + size * (i - low) * open.shape[1]
                    for r in range(high_rows):
                        spread(zero, into + size * place[r], signed + line * r, made + line * r)
            since += whole
            if task[5] and (since >= SETTLED or (first + tall >= rows and block == a.shape[1] - 1)):
                since = 0
                for i in range(low, high):
                    kept = carray(pointer(np.float64(0), task[11] + 8 * i * modulus), (modulus,))
                    _settled(open[i - low], kept)


def enter_32(address):  # type: ignore[no-untyped-def]
    share(carray(address, (TASK,)), np.float32(0), 4, THREAD(), THREADS())


def enter_64(address):  # type: ignore[no-untyped-def]
    share(carray(address, (TASK,)), np.float64(0), 8, THREAD(), THREADS())


def enter_made_32(address):  # type: ignore[no-untyped-def]
    share_made(carray(address, (TASK,)), np.float32(0), 4, THREAD(), THREADS())


def enter_made_64(address):  # type: ignore[no-untyped-def]
    share_made(carray(address, (TASK,)), np.float64(0), 8, THREAD(), THREADS())


LOOPS = {
    (np.float32, False): (enter_32, lambda task: share(task, np.float32(0), 4, 0, 1)),
    (np.float64, False): (enter_64, lambda task: share(task, np.float64(0), 8, 0, 1)),
    (np.float32, True): (enter_made_32, lambda task: share_made(task, np.float32(0), 4, 0, 1)),
    (np.float64, True): (enter_made_64, lambda task: share_made(task, np.float64(0), 8, 0, 1)),
}
"""By number format, and whether the gradient is made: for a thread of OpenMP, and for the calling thread alone."""
