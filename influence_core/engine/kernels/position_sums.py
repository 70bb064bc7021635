"""Which sums over a sample's positions are compiled? Two that torch finds in several looks at new memory.

    scaled       sum_t d_t normal(x_t), the gradient of a LayerNorm's weight: x is normalised row by row while in cache
    depthwise    sum_t d_t x_{t + k}, the gradient of a kernel of one channel a group: torch's grouped convolution of
                 small pictures runs at a tenth of this speed

The first took 0.03 to 0.04 of a training pass of the transformers, the second 0.09 of ConvNeXt's.
"""

# pyright: reportIndexIssue=false, reportGeneralTypeIssues=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportPrivateImportUsage=false
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import carray, njit
from torch import Tensor

from influence_core.engine.kernels.intrinsics import TAPS, correlator, pointer
from influence_core.engine.kernels.openmp import QUICK, THREAD, THREADS, in_threads, kept

correlate_4, correlate_8 = correlator(4), correlator(8)
SCALED, DEPTHWISE = 11, 12
"""Numbers of a task."""


def scaled(d: Tensor, x: Tensor, eps: float) -> Tensor:
    """sum_t d_t (x_t - mean) / deviation, (b, columns), of d and x (b, t, columns)."""
    d, x = (value if value.stride(2) == 1 else value.contiguous() for value in (d, x))
    out = d.new_empty(d.shape[0], d.shape[2])
    steps = *d.stride()[:2], *x.stride()[:2]  # samples may lie on the second axis: no copy for that
    task = np.array([d.data_ptr(), x.data_ptr(), out.data_ptr(), *d.shape, 0, *steps], dtype=np.int64)
    task[6:].view(np.float64)[0] = eps
    if out.numel():
        loop(d.dtype, "scaled")(task, torch.get_num_threads())
    return out


def depthwise(d: Tensor, x: Tensor, edges: tuple[int, int], kernel: tuple[int, int]) -> Tensor:
    """sum_yx d[y, x] x[y + k, x + l], (b, channels, *kernel), stride 1: d and x (b, channels, height, width), x with so
    many rows and columns of zeros before it; what lies past its end is zero too."""
    d, x = d.contiguous(), x.contiguous()
    out = d.new_empty(*d.shape[:2], *kernel)
    pictures = d.shape[0] * d.shape[1]
    task = np.array(
        [d.data_ptr(), x.data_ptr(), out.data_ptr(), pictures, *d.shape[2:], *x.shape[2:], *edges, *kernel],
        dtype=np.int64,
    )
    if out.numel():
        loop(d.dtype, "depthwise")(task, torch.get_num_threads())
    return out


@kept
@njit(**QUICK)
def _share_scaled(task, zero, size, number, threads):  # type: ignore[no-untyped-def]
    n, t, columns, eps = task[3], task[4], task[5], task[6:].view(np.float64)[0]
    sums, cast = np.full(columns, zero), np.full(1, zero)  # a number of the format, not of 64 bits
    for i in range(n * number // threads, n * (number + 1) // threads):
        out = carray(pointer(zero, task[2] + size * i * columns), (columns,))
        sums[:] = 0
        for p in range(t):
            along = carray(pointer(zero, task[0] + size * (i * task[7] + p * task[8])), (columns,))
            row = carray(pointer(zero, task[1] + size * (i * task[9] + p * task[10])), (columns,))
            total = zero
            for c in range(columns):
                total += row[c]
            cast[0], square = total / columns, zero
            mean = cast[0]
            for c in range(columns):
                square += (row[c] - mean) * (row[c] - mean)
            cast[0] = 1 / np.sqrt(square / columns + eps)
            inverse = cast[0]
            for c in range(columns):
                sums[c] += along[c] * ((row[c] - mean) * inverse)
        out[:] = sums


@kept
@njit(**QUICK)
def _share_depthwise(task, zero, size, number, threads):  # type: ignore[no-untyped-def]
    n, height, width, tall, wide, top, left, rows, columns = task[3:]
    pitch = width + TAPS
    room = np.full((height + TAPS, pitch), zero)
    kernel = np.full((TAPS, TAPS), zero)
    high, broad = min(tall, height + TAPS - top), min(wide, pitch - left)
    padded, found, line = room.ctypes.data, kernel.ctypes.data, size * pitch
    for i in range(n * number // threads, n * (number + 1) // threads):
        x = carray(pointer(zero, task[1] + size * i * tall * wide), (tall, wide))
        for y in range(high):
            for z in range(broad):
                room[top + y, left + z] = x[y, z]
        d = task[0] + size * i * height * width
        if rows <= 4:
            correlate_4(zero, d, padded, found, height, width, line)
        else:
            correlate_8(zero, d, padded, found, height, width, line)
        out = carray(pointer(zero, task[2] + size * i * rows * columns), (rows, columns))
        for y in range(rows):
            for z in range(columns):
                out[y, z] = kernel[y, z]


def enter_scaled_32(address):  # type: ignore[no-untyped-def]
    _share_scaled(carray(address, (SCALED,)), np.float32(0), 4, THREAD(), THREADS())


def enter_scaled_64(address):  # type: ignore[no-untyped-def]
    _share_scaled(carray(address, (SCALED,)), np.float64(0), 8, THREAD(), THREADS())


def enter_depthwise_32(address):  # type: ignore[no-untyped-def]
    _share_depthwise(carray(address, (DEPTHWISE,)), np.float32(0), 4, THREAD(), THREADS())


def enter_depthwise_64(address):  # type: ignore[no-untyped-def]
    _share_depthwise(carray(address, (DEPTHWISE,)), np.float64(0), 8, THREAD(), THREADS())


ENTRIES = {
    ("scaled", torch.float32): (enter_scaled_32, lambda task: _share_scaled(task, np.float32(0), 4, 0, 1)),
    ("scaled", torch.float64): (enter_scaled_64, lambda task: _share_scaled(task, np.float64(0), 8, 0, 1)),
    ("depthwise", torch.float32): (
        enter_depthwise_32,
        lambda task: _share_depthwise(task, np.float32(0), 4, 0, 1),
    ),
    ("depthwise", torch.float64): (
        enter_depthwise_64,
        lambda task: _share_depthwise(task, np.float64(0), 8, 0, 1),
    ),
}


@cache
def loop(dtype: torch.dtype, name: str) -> Any:
    """(task, threads) -> None; compiled at its first use, then kept on disk."""
    return in_threads(*ENTRIES[name, dtype])
