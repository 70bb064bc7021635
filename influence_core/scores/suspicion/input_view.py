"""Features of the inputs themselves: a view of the samples that no given label has influenced.

Every layer of a network that has memorised its labels remembers some of them; the inputs remember none.

    tables     taken as they are
    pictures   responses to small patches of the training pictures, whitened, rectified and pooled to 2 x 2 regions: the
               single-layer network of Coates, Ng and Lee 2011 without its k-means, which costs about as much as one
               convolution. What we changed: random patches instead of centroids
    series     (b, c, l), also strips and volumes: their values, and the size of their spectrum along the longest axis,
               each averaged to a few hundred numbers. The values show when something happens; the spectrum shows what
               happens, wherever it is

Token ids and nests of tensors have no such view: then the layers alone are evidence.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from influence_core.engine import batches as loop
from influence_core.engine.rules.factors import wide
from influence_core.scores.views import View

NAME = "the inputs"
FILTERS, PATCHES, PICTURES = 128, 6000, 400
SIDE_AT_MOST = 32
"""Pictures are shrunk to this many pixels a side first: coarse content stays, and the cost is bounded."""
THRESHOLD = 0.8
FLAT = 0.01
"""Added to a patch's variance: a patch of less contrast counts as flat."""
NARROW = 6
"""Pixels a side from which pictures are cut into patches of two pixels or more; narrower ones are read as series."""
HALF = 512
"""Numbers of a series' values, and of its spectrum: together the width of any projected view (views.WIDEST)."""
BATCH = 8
"""Pictures at a time: their responses stay in the cache, which takes a quarter of the time of 100 at a time."""


def input_view(model: nn.Module, train: Dataset, held_out: Dataset | None, *, seed: int = 0) -> View | None:
    """The inputs' own features of n training and m held-out samples; None for anything but one tensor of numbers."""
    first = next(loop.batches(train, min(PICTURES, loop.count(train)), like=model)).inputs
    if not isinstance(first, Tensor) or not first.is_floating_point() or first.ndim < 2:
        return None
    read = series_features if first.ndim != 2 else (lambda rows: rows)
    if first.ndim == 4 and min(first.shape[2:]) >= NARROW:
        read = patch_features(first, seed)
    features = [_read_all(model, samples, read) for samples in (train, held_out) if samples is not None]
    return View(NAME, features[0], features[1] if len(features) > 1 else features[0][:0])


def _read_all(model: nn.Module, samples: Dataset, read: Callable[[Tensor], Tensor]) -> np.ndarray:
    with torch.no_grad():
        parts = [read(batch.inputs).float().cpu() for batch in loop.batches(samples, BATCH, like=model)]
    return torch.cat(parts).numpy()


def series_features(batch: Tensor) -> Tensor:
    """Values and log size of the spectrum: (b, ...) of three axes or more -> (b, at most 2 * HALF)."""
    longest = max(range(1, batch.ndim), key=lambda axis: batch.shape[axis])
    last = batch.float().movedim(longest, -1)
    centred = last - last.mean(-1, keepdim=True)
    return torch.cat([_averaged(last), _averaged(torch.fft.rfft(centred).abs().log1p())], 1)


def _averaged(batch: Tensor) -> Tensor:
    """(b, ..., l) -> (b, at most HALF): the last axis averaged in pieces, then the rest if it is still too long."""
    rows = batch.flatten(1, -2)
    rows = functional.adaptive_avg_pool1d(rows, max(1, min(rows.shape[2], HALF // rows.shape[1]))).flatten(1)
    return functional.adaptive_avg_pool1d(rows, min(HALF, rows.shape[1]))


def patch_features(pictures: Tensor, seed: int) -> Callable[[Tensor], Tensor]:
    """A reader (b, c, h, w) -> (b, 8 * FILTERS) whose filters are drawn from these pictures."""
    rng, shown = np.random.default_rng(seed), _shrunk(pictures)
    side = max(1, min(6, min(shown.shape[2:]) // 3))
    windows = functional.unfold(shown, side).transpose(1, 2).flatten(0, 1)
    drawn = _contrast(windows[torch.from_numpy(rng.permutation(len(windows))[:PATCHES]).to(windows.device)])
    mean = drawn.mean(0)
    centred = drawn - mean
    values, axes = torch.linalg.eigh(centred.T @ centred / max(1, len(drawn) - 1))
    whitening = axes * (values.clamp_min(0) + 0.1 * values.mean() + 1e-4).rsqrt() @ axes.T
    filters = centred[torch.from_numpy(rng.permutation(len(drawn))[:FILTERS]).to(drawn.device)] @ whitening
    filters = whitening @ functional.normalize(filters, dim=1).T

    taps = torch.cat([filters - filters.mean(0), -(mean @ filters)[None]])
    quarters, boxes = _quarters(shown, side), _boxes(shown, side)

    def read(batch: Tensor) -> Tensor:
        response = _patches(_shrunk(batch), side, boxes).transpose(1, 2) @ taps
        # beyond the threshold, with its sign: half of size + signed is the positive side, of size - signed the negative
        beyond = functional.softshrink(response, THRESHOLD)
        signed, size = quarters @ beyond, quarters @ beyond.abs_()
        return torch.cat([size + signed, size - signed], 2).mul_(0.5).transpose(1, 2).flatten(1)

    return read


def _patches(pictures: Tensor, side: int, boxes: tuple[Tensor, Tensor]) -> Tensor:
    """Every patch (b, p + 1, positions), divided by its contrast; the last row is ones, for a constant.

    One product with all filters takes a sixth of a convolution's time. Patches keep their mean: filters that sum to
    zero ignore it.
    """
    down, across = boxes
    moments = torch.stack([pictures.mean(1), pictures.square().mean(1)], 1)
    centre, power = (down @ moments @ across).unbind(1)
    contrast = (power - centre.square()).clamp_min(0).add(FLAT).rsqrt()
    windows = pictures.unfold(2, side, 1).unfold(3, side, 1).permute(0, 1, 4, 5, 2, 3)
    b, size = len(pictures), windows[0, ..., 0, 0].numel()
    patches = pictures.new_empty(b, size + 1, contrast[0].numel())
    torch.mul(windows, contrast[:, None, None, None], out=patches[:, :-1].view(windows.shape))
    patches[:, -1] = 1
    return patches


def _boxes(pictures: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """(height', height) and (width, width'), averaging all windows of `side` pixels in a fifth of pooling's time."""
    down, across = (
        torch.eye(length, dtype=pictures.dtype, device=pictures.device).unfold(0, side, 1).mean(2)
        for length in pictures.shape[2:]
    )
    return down, across.T.contiguous()


def _quarters(pictures: Tensor, side: int) -> Tensor:
    """Matrix (4, positions) that takes the mean of each quarter of a map of positions, like adaptive pooling."""
    height, width = (length - side + 1 for length in pictures.shape[2:])
    cells = torch.eye(height * width, dtype=pictures.dtype, device=pictures.device)
    pooled = functional.adaptive_avg_pool2d(cells.unflatten(1, (1, height, width)), 2)
    return pooled.flatten(1).T.contiguous()


def _contrast(windows: Tensor) -> Tensor:
    """Each patch (..., p) centred and divided by its contrast; a flat patch stays flat."""
    centred = windows - windows.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + FLAT).sqrt()


def _shrunk(pictures: Tensor) -> Tensor:
    pictures = wide(pictures)  # torch decomposes no matrix in half precision
    size = [min(SIDE_AT_MOST, side) for side in pictures.shape[2:]]
    return (
        pictures if list(pictures.shape[2:]) == size else functional.interpolate(pictures, size, mode="area")
    )
