"""Factors of a convolution's kernel: d against every kernel-sized window of the padded input.

    G_i[o, c, k] = sum_t d_i[o, t] x_i[c, stride t + dilation k]

Three forms, by shape:

    one channel a group   a compiled loop (position_sums.py); with strides or more than 8 taps a side, one grouped
                          convolution with d as the kernel, 6 times as fast as torch's own weight gradient
    shifts                one group on large pictures (factors.Shifted): no window is copied; 65 GMAC/s on 2 cores, as
                          fast as a plain product
    windows               all else: an overlapping view that is copied when it is multiplied

A transposed convolution is the same with the roles of input and d exchanged.

Windows give the gradient in the parameter's order; shifts give it tap by tap, to be reordered afterwards. So windows
are faster where they are fewer numbers than the gradient: few positions, many channels.
"""

from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from influence_core.engine.kernels import loops
from influence_core.engine.kernels.loops import compiles
from influence_core.engine.kernels.tasks import TAPS
from influence_core.engine.rules.factors import Dense, Factor, Outer, Shifted, Tap

SHIFTED_CHANNELS = 8
"""Fewest channels for shifts: with fewer, the product of one tap is too small to be fast."""
POSITIONS_A_ROW = 2
"""Largest number of positions a row of the kernel for windows: t * columns copied numbers against rows * columns."""


def convolved(
    d: Tensor, x: Tensor, shape: torch.Size, stride: Any, padding: Any, dilation: Any, groups: int
) -> Factor:
    """Factors of a kernel (out, in / groups, *kernel): d (b, out, *positions), x (b, in, *space)."""
    space = x.ndim - 2
    step, gap = _per_axis(stride, space), _per_axis(dilation, space)
    if padding == "valid":
        padding = 0
    if padding == "same":
        totals = [g * (k - 1) for g, k in zip(gap, shape[2:], strict=True)]
        edges = [(total // 2, total - total // 2) for total in totals]
    else:
        edges = [(p, p) for p in _per_axis(padding, space)]
    return _correlated(d, x, edges, shape, step, gap, groups)


def transposed(
    d: Tensor, x: Tensor, shape: torch.Size, stride: Any, padding: Any, dilation: Any, groups: int
) -> Factor:
    """Factors of a kernel (in, out / groups, *kernel) of a transposed convolution; d (b, out, *positions)."""
    space = x.ndim - 2
    step, gap, pads = _per_axis(stride, space), _per_axis(dilation, space), _per_axis(padding, space)
    # up to the end of the last window: output_padding adds pixels beyond it
    needed = [
        s * (n - 1) + g * (k - 1) + 1 for s, n, g, k in zip(step, x.shape[2:], gap, shape[2:], strict=True)
    ]
    edges = [(p, n - p - size) for p, n, size in zip(pads, needed, d.shape[2:], strict=True)]
    return _correlated(x, d, edges, shape, step, gap, groups)


def _correlated(
    d: Tensor,
    x: Tensor,
    edges: list[tuple[int, int]],
    shape: torch.Size,
    step: tuple[int, ...],
    gap: tuple[int, ...],
    groups: int,
) -> Factor:
    """The kernel's factors from d (b, rows, *positions) and x (b, columns, *space), padded by `edges`."""
    kernel = tuple(shape[2:])
    if prod(d.shape[2:]) == 1 and prod(kernel) > 1:
        return _one_position(d, x, edges, kernel, gap, groups)
    one_channel = groups > 1 and shape[1] == 1 and d.shape[1] == groups and x.ndim == 4 and d.numel() > 0
    if one_channel and max(*step, *gap) == 1 and max(kernel) <= TAPS and compiles(d, x):
        (top, _), (left, _) = edges
        if min(top, left) >= 0:
            return Dense(loops.depthwise(d, x, (top, left), kernel).unsqueeze(2))  # pyright: ignore
    padded = (
        functional.pad(x, [edge for pair in reversed(edges) for edge in pair]) if any(map(any, edges)) else x
    )
    if one_channel:
        return _depthwise(d, padded, kernel, step, gap)
    many_positions = prod(d.shape[2:]) > POSITIONS_A_ROW * d.shape[1]
    if groups == 1 and prod(kernel) > 1 and shape[1] >= SHIFTED_CHANNELS and many_positions:
        return _shifted(d, padded, kernel, step, gap)
    rows = d.reshape(len(d), groups, d.shape[1] // groups, -1)
    return Outer(rows, _windows(padded, d.shape[2:], kernel, step, gap))


def _one_position(
    d: Tensor,
    x: Tensor,
    edges: list[tuple[int, int]],
    kernel: tuple[int, ...],
    gap: tuple[int, ...],
    groups: int,
) -> Outer:
    """Factors of one window. Taps over the padding get no gradient: a 3 x 3 kernel on one pixel is one tap, not 9."""
    cut, taps = [slice(None)] * 2, []
    for (before, _), g, k, size in zip(edges, gap, kernel, x.shape[2:], strict=True):
        low, high = max(0, -(-before // g)), min(k, (before + size - 1) // g + 1)
        number, first = max(0, high - low), low * g - before
        taps.append(range(min(low, k), min(low, k) + number))
        cut.append(slice(first, first + number * g, g))
    a = x[tuple(cut)].reshape(len(x), groups, -1, 1)
    seen = _columns_of_taps(x.shape[1] // groups, kernel, tuple(taps), x.device)
    return Outer(d.reshape(len(d), groups, -1, 1), a, seen)


@lru_cache(maxsize=256)
def _columns_of_taps(
    channels: int, kernel: tuple[int, ...], taps: tuple[range, ...], device: torch.device
) -> torch.Tensor:
    """Columns of these taps in every channel. Cached: `contract.Wanted` recognises the tensor by its identity."""
    indices = torch.arange(prod(kernel), device=device).reshape(kernel)
    for axis, tap in enumerate(taps):
        indices = indices.narrow(axis, tap.start, len(tap))
    starts = torch.arange(channels, device=device) * prod(kernel)
    return (starts[:, None] + indices.flatten()).flatten()


def _depthwise(
    d: Tensor, x: Tensor, kernel: tuple[int, ...], step: tuple[int, ...], gap: tuple[int, ...]
) -> Dense:
    """Pictures, one channel a group: every (sample, channel) is a group of one large convolution whose kernel is d."""
    b, channels = d.shape[:2]
    pictures = x.reshape(1, b * channels, *x.shape[2:])
    kernels = d.reshape(b * channels, 1, *d.shape[2:])
    g = functional.conv2d(pictures, kernels, stride=gap, dilation=step, groups=b * channels)
    return Dense(g[:, :, : kernel[0], : kernel[1]].reshape(b, channels, 1, *kernel))


def _shifted(
    d: Tensor, x: Tensor, kernel: tuple[int, ...], step: tuple[int, ...], gap: tuple[int, ...]
) -> Shifted:
    """Every stride-th pixel of x is a phase. Within a phase a kernel tap is a shift by some rows and columns."""
    space = len(kernel)
    reach = [g * (k - 1) // s for g, k, s in zip(gap, kernel, step, strict=True)]
    extent = [n + r for n, r in zip(d.shape[2:], reach, strict=True)]
    pitch = [prod(extent[axis + 1 :]) for axis in range(space)]
    phases: list[Tensor] = []
    phase_of: dict[tuple[int, ...], int] = {}
    taps: list[Tap] = []
    for index, tap in enumerate(product(*(range(k) for k in kernel))):
        start = tuple(t * g % s for t, g, s in zip(tap, gap, step, strict=True))
        if start not in phase_of:
            phase_of[start] = len(phases)
            phases.append(_phase(x, start, step, extent))
        offset = sum(t * g // s * p for t, g, s, p in zip(tap, gap, step, pitch, strict=True))
        taps.append(Tap(index, phase_of[start], offset))
    length = sum((n - 1) * p for n, p in zip(d.shape[2:], pitch, strict=True)) + 1
    padding = [amount for r in reversed(reach[1:]) for amount in (0, r)] + [0, 0]
    rows = functional.pad(d, padding) if any(padding) else d
    return Shifted(rows.flatten(2)[:, :, :length], tuple(phases), tuple(taps))


def _phase(x: Tensor, start: tuple[int, ...], step: tuple[int, ...], extent: list[int]) -> Tensor:
    """Every step-th pixel from `start` on, exactly `extent` of them, zeros past the end of x: (b, columns, length)."""
    for axis, (low, stride, size) in enumerate(zip(start, step, extent, strict=True), 2):
        x = x[(slice(None),) * axis + (slice(low, low + stride * size, stride),)]
    missing = [size - present for size, present in zip(extent, x.shape[2:], strict=True)]
    if any(missing):
        x = functional.pad(x, [amount for size in reversed(missing) for amount in (0, size)])
    return x.flatten(2)


def _windows(
    x: Tensor, positions: torch.Size, kernel: tuple[int, ...], step: tuple[int, ...], gap: tuple[int, ...]
) -> Tensor:
    """Every kernel-sized window of (b, channels, *space), as an overlapping view (b, channels, *kernel, *positions).

    Copying this view is 1.1 to 8 times as fast as torch's own im2col (measured on one and two threads).
    """
    space = len(kernel)
    for axis in range(space):
        x = x.unfold(2 + axis, gap[axis] * (kernel[axis] - 1) + 1, step[axis])
    offsets = tuple(slice(None, None, g) for g in gap)
    windows = x[(slice(None), slice(None), *(slice(n) for n in positions), *offsets)]
    return windows.permute(0, 1, *range(2 + space, 2 + 2 * space), *range(2, 2 + space))


def _per_axis(value: Any, space: int) -> tuple[int, ...]:
    """One number a spatial axis, from a number or a tuple."""
    values = (value,) * space if isinstance(value, int) else tuple(value)
    return values if len(values) == space else values * space
