"""Tasks of compiled loops: rows of 64-bit numbers, addresses among them, made only after every size is checked.

A loop trusts its task, since it cannot see where an array ends. So only this file takes addresses of tensors, and only
of tensors on the CPU with the shape, format and strides that the loop expects:

    written    a gradient that is written out
    made       a gradient that is made from its factors d and a while it is read
    rows       rows of a table, at ids
    depthwise  a kernel of one channel a group, slid over a picture

The slots are named once, for the writer and for the loop. Numba caches a loop on disk by the file that defines it: to
move a slot, change the files of the loops too.
"""

from collections.abc import Sequence
from enum import IntEnum, auto
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from influence_core.errors import InfluenceError

KINDS = {torch.float32: np.float32, torch.float64: np.float64}
"""Number formats that have compiled loops, by torch dtype."""
ROWS, COLUMNS = 6, 64
"""Rows and columns of one block that a loop makes. 6 rows of 2 vectors are 12 sums: 2 multipliers of 4 cycles need 8,
and 12 take 8 loads for 12 products where 8 take 6 for 8."""
BAND = 48
"""Rows after which the loop goes on to the next columns."""
BLOCK_GAP = 64
"""Bytes between packed blocks, so that they do not all fall into one set of the cache."""
TAPS = 8
"""Rows and columns of the largest kernel that is slid over a picture."""
WIDTHS = 1, 8
"""Numbers of directions that a loop can read at once."""


class Slot(IntEnum):
    """Index of each number of a "written", "made" or "rows" task."""

    VALUES = 0  # g, or the factor d
    SAMPLES = auto()
    SIZE = auto()  # numbers a sample ("written"), rows of the gradient, or rows of the table
    SUMS = auto()
    WIDTH = auto()
    FOLDS = auto()  # whether there is a sketch; the six that follow belong to it
    COLUMNS = auto()
    MODULUS = auto()
    START = auto()
    ROW_SIGNS = auto()
    COLUMN_SIGNS = auto()
    FOLDED = auto()
    DIRECTIONS = auto()  # eight addresses
    COUNT = DIRECTIONS + 8  # how many of them are read
    OTHER = auto()  # the factor a, or ids
    POSITIONS = auto()
    D_SAMPLE = auto()  # steps of d and a along their axes, in numbers
    D_ROW = auto()
    D_POSITION = auto()
    A_SAMPLE = auto()
    A_COLUMN = auto()
    A_POSITION = auto()
    TALL = auto()  # rows of a block
    PACKED = auto()  # room for packed factors


SLOTS = Slot.PACKED + 1


class Picture(IntEnum):
    """Index of each number of a "depthwise" task."""

    D = 0
    X = auto()
    OUT = auto()
    PICTURES = auto()
    HEIGHT = auto()  # of d
    WIDTH = auto()
    TALL = auto()  # of x
    WIDE = auto()
    TOP = auto()  # rows and columns of zeros before x
    LEFT = auto()
    ROWS = auto()  # of the kernel
    COLUMNS = auto()


PICTURE_SLOTS = Picture.COLUMNS + 1


class Task(NamedTuple):
    """One call of a loop: its name, the format of its numbers, the numbers, and how many threads share it."""

    loop: str
    dtype: torch.dtype
    numbers: np.ndarray
    threads: int


class Fold(NamedTuple):
    """Sketch of some rows: signs of these rows and of all columns; `folded` (n, modulus) float64 is added to."""

    columns: int
    modulus: int
    start: int
    row_signs: Tensor
    column_signs: Tensor
    folded: Tensor


def packed_size(n: int, rows: int, columns: int, t: int, threads: int) -> int:
    """Size of the packed factors in numbers, with the gaps between their blocks as in float32."""
    blocks, wide = -(-min(rows, BAND) // ROWS), -(-columns // COLUMNS)
    return n * t * (blocks * ROWS + wide * COLUMNS) + BLOCK_GAP // 4 * threads * (blocks + wide)


def written(g: Tensor, directions: Sequence[Tensor], fold: Fold | None, sums: Tensor) -> Task:
    """Task: read g (n, e) and add to sums (n, 2 + width) float64. Each direction has e numbers."""
    n, e = _axes("written", "g", g, 2)
    columns = fold.columns if fold else 1
    if columns < 1 or e % columns:
        raise _refusal("written", "g", f"rows of {e} numbers", f"whole rows of {columns} columns")
    address = _address("written", "g", g, (n, e), g.dtype)
    task = _common("written", address, g.dtype, n, e // columns, columns, directions, fold, sums)
    task[Slot.SIZE] = e
    return Task("written", g.dtype, task, torch.get_num_threads())


def made(
    d: Tensor,
    a: Tensor,
    directions: Sequence[Tensor],
    fold: Fold | None,
    sums: Tensor,
    packed: Tensor,
    tall: int,
) -> Task:
    """Task: make and read sum_t d_t a_t^T, d (n, rows, t) and a (n, columns, t) of any strides, in blocks `tall` high.

    packed: at least `packed_size` numbers, which are overwritten.
    """
    n, rows, t = _axes("made", "d", d, 3)
    _, columns, _ = _axes("made", "a", a, 3)
    if min(n, rows, t, columns) < 1:
        raise _refusal("made", "d", f"shape {tuple(d.shape)}, a {tuple(a.shape)}", "at least one number")
    if tall < ROWS or tall % ROWS:
        raise _refusal("made", "tall", f"{tall} rows a block", f"a multiple of {ROWS}")
    address = _address("made", "d", d, (n, rows, t), d.dtype, laid_out=False)
    threads = torch.get_num_threads()
    task = _common("made", address, d.dtype, n, rows, columns, directions, fold, sums)
    task[Slot.OTHER] = _address("made", "a", a, (n, columns, t), d.dtype, laid_out=False)
    task[Slot.POSITIONS], task[Slot.TALL] = t, tall
    task[Slot.D_SAMPLE : Slot.D_POSITION + 1] = d.stride()
    task[Slot.A_SAMPLE : Slot.A_POSITION + 1] = a.stride()
    least = packed_size(n, rows, columns, t, threads)
    task[Slot.PACKED] = _flat_address("made", "packed", packed, least, d.dtype)
    return Task("made", d.dtype, task, threads)


def rows(
    ids: Tensor, g: Tensor, v: int, directions: Sequence[Tensor], fold: Fold | None, sums: Tensor
) -> Task:
    """Task: read rows g (n, t, columns) of a table of v rows, at ids (n, t) int64 from 0 to v - 1."""
    n, t, columns = _axes("rows", "g", g, 3)
    address = _address("rows", "g", g, (n, t, columns), g.dtype)
    task = _common("rows", address, g.dtype, n, v, columns, directions, fold, sums)
    task[Slot.OTHER] = _address("rows", "ids", ids, (n, t), torch.int64)
    task[Slot.POSITIONS] = t
    if ids.numel():
        low, high = (int(end) for end in torch.aminmax(ids))
        if low < 0 or high >= v:
            raise _refusal("rows", "ids", f"ids from {low} to {high}", f"0 to {v - 1}, rows of the table")
    return Task("rows", g.dtype, task, torch.get_num_threads())


def depthwise(d: Tensor, x: Tensor, out: Tensor, edges: tuple[int, int]) -> Task:
    """Task: slide d (b, c, height, width) over x (b, c, tall, wide) behind `edges` zeros: out (b, c, rows, columns)."""
    b, channels, *size = _axes("depthwise", "d", d, 4)
    picture, kernel = _axes("depthwise", "x", x, 4)[2:], _axes("depthwise", "out", out, 4)[2:]
    if min(edges) < 0:
        raise _refusal("depthwise", "edges", f"{tuple(edges)} rows and columns before x", "0 or more")
    if not (min(kernel) >= 1 and max(kernel) <= TAPS):
        raise _refusal("depthwise", "out", f"a kernel of {tuple(kernel)}", f"1 to {TAPS} rows and columns")
    addresses = [
        _address("depthwise", name, value, (b, channels, *shape), d.dtype)
        for name, value, shape in (("d", d, size), ("x", x, picture), ("out", out, kernel))
    ]
    task = np.array([*addresses, b * channels, *size, *picture, *edges, *kernel], dtype=np.int64)
    return Task("depthwise", d.dtype, task, torch.get_num_threads())


def _common(
    loop: str,
    values: int,
    dtype: torch.dtype,
    n: int,
    size: int,
    columns: int,
    directions: Sequence[Tensor],
    fold: Fold | None,
    sums: Tensor,
) -> np.ndarray:
    """The slots that the three readers share, for a gradient of `size` rows."""
    width = _axes(loop, "sums", sums, 2)[1] - 2
    if width not in WIDTHS:
        raise _refusal(loop, "sums", f"sums of {width} products", f"those of {WIDTHS[0]} or {WIDTHS[1]}")
    if len(directions) > width:
        raise _refusal(loop, "directions", f"{len(directions)} for {width} sums", "at most as many")
    task = np.zeros(SLOTS, dtype=np.int64)
    task[Slot.VALUES], task[Slot.SAMPLES], task[Slot.SIZE] = values, n, size
    task[Slot.WIDTH], task[Slot.COUNT] = width, len(directions)
    task[Slot.SUMS] = _address(loop, "sums", sums, (n, 2 + width), torch.float64)
    task[Slot.COLUMNS], task[Slot.MODULUS] = columns, 1
    if fold is not None:
        _write_fold(task, loop, dtype, n, size, columns, fold)
    addresses = [
        _flat_address(loop, "directions", v, size * columns, dtype, exactly=True) for v in directions
    ]
    spare = addresses[-1] if addresses else values  # may be read, but its products are not used
    task[Slot.DIRECTIONS : Slot.COUNT] = addresses + [spare] * (WIDTHS[-1] - len(addresses))
    return task


def _write_fold(
    task: np.ndarray, loop: str, dtype: torch.dtype, n: int, size: int, columns: int, fold: Fold
) -> None:
    if fold.columns != columns or fold.modulus < 1 or not 0 <= fold.start < fold.modulus:
        actual = f"{fold.columns} columns, start {fold.start} of {fold.modulus}"
        raise _refusal(loop, "fold", actual, f"{columns} columns, a start from 0 on below the modulus")
    task[Slot.FOLDS : Slot.FOLDED + 1] = (
        1,
        columns,
        fold.modulus,
        fold.start,
        _address(loop, "row_signs", fold.row_signs, (size,), dtype),
        _address(loop, "column_signs", fold.column_signs, (columns,), dtype),
        _address(loop, "folded", fold.folded, (n, fold.modulus), torch.float64),
    )


def _axes(loop: str, name: str, value: Tensor, axes: int) -> torch.Size:
    """Shape of a float32 or float64 tensor with so many axes; else InfluenceError."""
    if value.ndim != axes or value.dtype not in KINDS:
        actual = f"{value.dtype} of shape {tuple(value.shape)}"
        raise _refusal(loop, name, actual, f"float32 or float64 with {axes} axes")
    return value.shape


def _address(
    loop: str, name: str, value: Tensor, shape: tuple[int, ...], dtype: torch.dtype, laid_out: bool = True
) -> int:
    """Address of a CPU tensor of exactly this shape and format; contiguous, unless the task holds its strides."""
    fits = value.shape == shape and value.dtype is dtype and value.is_cpu
    if not fits or (laid_out and not value.is_contiguous()):
        raise _refusal(loop, name, _described(value), f"{dtype} of shape {tuple(shape)} in order, on the CPU")
    return value.data_ptr()


def _flat_address(
    loop: str, name: str, value: Tensor, numbers: int, dtype: torch.dtype, exactly: bool = False
) -> int:
    """Address of a contiguous CPU tensor of any shape with `numbers` numbers: exactly, or at least."""
    enough = value.numel() == numbers if exactly else value.numel() >= numbers
    if not (enough and value.dtype is dtype and value.is_cpu and value.is_contiguous()):
        bound = "exactly" if exactly else "at least"
        raise _refusal(loop, name, _described(value), f"{bound} {numbers:,} of {dtype} in order, on the CPU")
    return value.data_ptr()


def _described(value: Tensor) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}, strides {value.stride()}, on {value.device}"


def _refusal(loop: str, name: str, actual: str, expected: str) -> InfluenceError:
    return InfluenceError(
        f"The compiled loop '{loop}' was handed {name} = {actual}; expected {expected}. It would have read outside its "
        "arrays and was not started. This is a bug of the engine: please report it. Until then "
        "`with uncompiled():` (engine/kernels/loops.py) reads by torch operations."
    )
