"""What happens to pictures without anybody meaning harm? Noise, blur, brightness, contrast, JPEG; one severity each.

After Hendrycks and Dietterich (ICLR 2019), middle severities. Each is a function of the sample and its row alone, so a
corruption is the same whatever the batch. Inputs are brought to [0, 1] by the bounds of the input space and back.
Features of tables know no blur: they only get noise, in standard deviations.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from influence_core.objectives.perturbed.input_space import InputSpace

NOISE = 0.1
"""Standard deviation, in units of the input space."""
BRIGHTER, FLATTER, BLUR = 0.2, 0.4, 1.0
"""Added brightness (share of the range); contrast that is left; standard deviation of the blur in pixels."""
BLOCK = 8
LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""The quantisation table of the JPEG standard (ITU T.81, table K.1)."""
COARSER = 2.0
"""Times the table: quality 25."""


def noise(inputs: Tensor, rows: Tensor) -> Tensor:
    """Independent normal noise, the same for a row each time."""
    return inputs + NOISE * torch.stack([_normal(int(row), inputs[0]) for row in rows])


def _normal(row: int, like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(row)
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)


def blur(inputs: Tensor, rows: Tensor) -> Tensor:
    """A Gaussian of 5 x 5 pixels, edges repeated."""
    place = torch.arange(-2.0, 3.0).to(inputs)
    line = torch.exp(-(place**2) / (2 * BLUR**2))
    kernel = torch.outer(line, line) / line.sum() ** 2
    padded = functional.pad(inputs, (2, 2, 2, 2), mode="replicate")
    return functional.conv2d(padded, kernel.expand(inputs.shape[1], 1, 5, 5), groups=inputs.shape[1])


def brightness(inputs: Tensor, rows: Tensor) -> Tensor:
    """Every pixel brighter by a fifth of the range."""
    return inputs + BRIGHTER


def contrast(inputs: Tensor, rows: Tensor) -> Tensor:
    """Every pixel nearer to the mean of its picture."""
    mean = inputs.mean((1, 2, 3), keepdim=True)
    return mean + FLATTER * (inputs - mean)


def jpeg(inputs: Tensor, rows: Tensor) -> Tensor:
    """Blocks of 8 x 8 pixels, their cosine coefficients rounded as JPEG of quality 25 rounds them; no colour model."""
    b, c, h, w = inputs.shape
    padded = functional.pad(inputs, (0, -w % BLOCK, 0, -h % BLOCK), mode="replicate")
    basis = _cosines().to(inputs)
    blocks = padded.unfold(2, BLOCK, BLOCK).unfold(3, BLOCK, BLOCK)
    step = torch.tensor(LUMINANCE).to(inputs).view(BLOCK, BLOCK) * COARSER / 255
    kept = torch.round(basis @ blocks @ basis.T / step) * step
    back = (basis.T @ kept @ basis).permute(0, 1, 2, 4, 3, 5)
    return back.reshape(b, c, padded.shape[2], padded.shape[3])[:, :, :h, :w]


def _cosines() -> Tensor:
    """The orthonormal discrete cosine transform, (8, 8)."""
    place = torch.arange(BLOCK).double()
    basis = torch.cos((2 * place + 1) * place[:, None] * math.pi / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    basis[0] /= math.sqrt(2)
    return basis


CORRUPTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "noise": noise,
    "blur": blur,
    "brightness": brightness,
    "contrast": contrast,
    "jpeg": jpeg,
}


def corrupted(inputs: Tensor, rows: Tensor, space: InputSpace, kind: str) -> Tensor:
    """Inputs (b, ...) of the samples at `rows` after one corruption, within the bounds of the space, detached."""
    low = 0.0 if space.low is None else space.low
    plain = (inputs.detach() - low) / space.unit.clamp_min(1e-12)
    return space.inside(CORRUPTIONS[kind](plain, rows) * space.unit + low)


def kinds(space: InputSpace) -> tuple[str, ...]:
    """Which corruptions these inputs know."""
    return tuple(CORRUPTIONS) if space.pictures else ("noise",)
