"""What compiled loops are handed: rows of 64-bit numbers, addresses among them, every size checked before one is made.

A loop trusts its task, since it cannot see where an array ends. So an address leaves Python in this file alone, and
only of a tensor on the CPU whose shape, format and strides are those that the loop walks by:

    written    a gradient that is written out
    made       a gradient that is made of its factors d and a while it is read
    rows       rows of a table, at ids
    depthwise  a kernel of one channel a group, slid over a picture

The slots are named here once, for the writer and for the loop. Numba keeps a loop on disk by the file that it stands
in: whoever moves a slot must touch the files of the loops too.
"""

from collections.abc import Sequence
from enum import IntEnum, auto
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from influence_core.engine.kernels.availability import KINDS
from influence_core.errors import InfluenceError

ROWS, COLUMNS = 6, 64
"""Of one block that a loop makes. 6 rows of 2 vectors are 12 sums: 2 multipliers of 4 cycles need 8, and 12 take 8
loads for 12 products where 8 take 6 for 8."""
BAND = 48
"""Rows after which the next columns are taken."""
APART = 64
"""Bytes between blocks, so that they do not all fall into one set of the cache."""
TAPS = 8
"""Rows and columns of the largest kernel that is slid over a picture."""
WIDTHS = 1, 8
"""Directions that a loop reads at once."""


class Slot(IntEnum):
    """Where each number of a "written", "made" or "rows" task lies."""

    VALUES = 0  # g, or the factor d
    SAMPLES = auto()
    SIZE = auto()  # numbers a sample ("written"), rows of the gradient, or rows of the table
    SUMS = auto()
    WIDTH = auto()
    FOLDS = auto()  # whether there is a sketch; the six that follow are its own
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
    """Where each number of a "depthwise" task lies."""

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
    """Where the sketch of some rows goes: signs of these rows and of all columns, folded (n, modulus) float64."""

    columns: int
    modulus: int
    start: int
    row_signs: Tensor
    column_signs: Tensor
    folded: Tensor


def packed_size(n: int, rows: int, columns: int, t: int, threads: int) -> int:
    """Numbers that the packed factors take, with the gaps between their blocks in float32."""
    blocks, wide = -(-min(rows, BAND) // ROWS), -(-columns // COLUMNS)
    return n * t * (blocks * ROWS + wide * COLUMNS) + APART // 4 * threads * (blocks + wide)


def written(g: Tensor, directions: Sequence[Tensor], fold: Fold | None, sums: Tensor) -> Task:
    """Read g (n, e): sums (n, 2 + width) float64 are added to; as many numbers as e in each direction."""
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
    """Make and read sum_t d_t a_t^T, d (n, rows, t) and a (n, columns, t) with any strides, in blocks `tall` high.

    packed: room for at least `packed_size` numbers, overwritten.
    """
    n, rows, t = _axes("made", "d", d, 3)
    _, columns, _ = _axes("made", "a", a, 3)
    if min(n, rows, t, columns) < 1:
        raise _refusal("made", "d", f"shape {tuple(d.shape)}, a {tuple(a.shape)}", "at least one number")
    if tall < ROWS or tall % ROWS:
        raise _refusal("made", "tall", f"{tall} rows a block", f"a multiple of {ROWS}")
    address, threads = (
        _address("made", "d", d, (n, rows, t), d.dtype, laid_out=False),
        torch.get_num_threads(),
    )
    task = _common("made", address, d.dtype, n, rows, columns, directions, fold, sums)
    task[Slot.OTHER] = _address("made", "a", a, (n, columns, t), d.dtype, laid_out=False)
    task[Slot.POSITIONS], task[Slot.TALL] = t, tall
    task[Slot.D_SAMPLE : Slot.D_POSITION + 1] = d.stride()
    task[Slot.A_SAMPLE : Slot.A_POSITION + 1] = a.stride()
    least = packed_size(n, rows, columns, t, threads)
    task[Slot.PACKED] = _room("made", "packed", packed, least, d.dtype)
    return Task("made", d.dtype, task, threads)


def rows(
    ids: Tensor, g: Tensor, v: int, directions: Sequence[Tensor], fold: Fold | None, sums: Tensor
) -> Task:
    """Read rows g (n, t, columns) of a table of v rows, at ids (n, t) int64, all of them from 0 to v - 1."""
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
    """Slide d (b, c, height, width) over x (b, c, tall, wide) with zeros before it: out (b, c, rows, columns)."""
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
    """What the three readers share, for a gradient of `size` rows."""
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
    some = [_room(loop, "directions", v, size * columns, dtype, exactly=True) for v in directions]
    spare = some[-1] if some else values  # may be read, and is not used
    task[Slot.DIRECTIONS : Slot.COUNT] = some + [spare] * (WIDTHS[-1] - len(some))
    return task


def _write_fold(
    task: np.ndarray, loop: str, dtype: torch.dtype, n: int, size: int, columns: int, fold: Fold
) -> None:
    if fold.columns != columns or fold.modulus < 1 or not 0 <= fold.start < fold.modulus:
        found = f"{fold.columns} columns, start {fold.start} of {fold.modulus}"
        raise _refusal(loop, "fold", found, f"{columns} columns, a start from 0 on below the modulus")
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
    if value.ndim != axes or value.dtype not in KINDS:
        found = f"{value.dtype} of shape {tuple(value.shape)}"
        raise _refusal(loop, name, found, f"float32 or float64 with {axes} axes")
    return value.shape


def _address(
    loop: str,
    name: str,
    value: Tensor,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    laid_out: bool = True,
) -> int:
    """The address of a tensor on the CPU of exactly this shape and format, in order unless its strides are told."""
    right = value.shape == shape and value.dtype is dtype and value.is_cpu
    if not right or (laid_out and not value.is_contiguous()):
        raise _refusal(loop, name, _described(value), f"{dtype} of shape {tuple(shape)} in order, on the CPU")
    return value.data_ptr()


def _room(
    loop: str, name: str, value: Tensor, numbers: int, dtype: torch.dtype, exactly: bool = False
) -> int:
    """The address of so many numbers in order, whatever their shape."""
    enough = value.numel() == numbers if exactly else value.numel() >= numbers
    if not (enough and value.dtype is dtype and value.is_cpu and value.is_contiguous()):
        many = "exactly" if exactly else "at least"
        raise _refusal(loop, name, _described(value), f"{many} {numbers:,} of {dtype} in order, on the CPU")
    return value.data_ptr()


def _described(value: Tensor) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}, strides {value.stride()}, on {value.device}"


def _refusal(loop: str, name: str, found: str, expected: str) -> InfluenceError:
    return InfluenceError(
        f"The compiled loop '{loop}' was handed {name} = {found}; expected {expected}. It would have read outside its "
        "arrays and was not started. This is a fault of the engine: please report it. Meanwhile "
        "`with uncompiled():` (engine/kernels/availability.py) reads by torch operations."
    )
