"""Natural corruptions of pictures: noise, blur, brightness, contrast, JPEG, each of one severity.

After Hendrycks and Dietterich (ICLR 2019), middle severities. Each is a function of the sample and its row alone, so a
corruption is the same in every batch. Inputs are mapped to [0, 1] by the bounds of the input space and back. Features
of tables only get noise, in standard deviations.
"""

import io
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from influence_core.data.storage.pictures import decode_picture, to_picture
from influence_core.objectives.perturbed.input_space import InputSpace

NOISE = 0.1
"""Standard deviation, in units of the input space."""
BRIGHTER, FLATTER, BLUR = 0.2, 0.4, 1.0
"""Added brightness (share of the range); remaining contrast; standard deviation of the blur in pixels."""
QUALITY = 25
"""JPEG quality from 1 to 100: 25 makes its quantisation steps twice as coarse as the standard's."""


def noise(inputs: Tensor, rows: Tensor) -> Tensor:
    """Independent normal noise, the same for a row each time."""
    return inputs + NOISE * torch.stack([_normal(int(row), inputs[0]) for row in rows])


def _normal(row: int, like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(row)
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)


def blur(inputs: Tensor, rows: Tensor) -> Tensor:
    """A Gaussian of 5 x 5 pixels, edges repeated."""
    offset = torch.arange(-2.0, 3.0).to(inputs)
    line = torch.exp(-(offset**2) / (2 * BLUR**2))
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
    """Each channel encoded and decoded as a grey picture of 8 bits: any number of channels, no colour model."""
    grey = (inputs.clamp(0, 1) * 255).round().to("cpu", torch.uint8)
    decoded = np.stack([_encoded_and_decoded(channel) for channel in grey.flatten(0, 1).numpy()])
    return (torch.from_numpy(decoded).to(inputs) / 255).reshape(inputs.shape)


def _encoded_and_decoded(grey: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    to_picture(grey[None]).save(buffer, format="JPEG", quality=QUALITY)
    return np.asarray(decode_picture(buffer.getvalue()))


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
    """Names of the corruptions that apply to these inputs."""
    return tuple(CORRUPTIONS) if space.pictures else ("noise",)
