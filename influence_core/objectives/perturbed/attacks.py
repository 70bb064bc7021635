"""FGSM and PGD: attacks that raise the loss by the strongest steps inside a small box around each input.

    FGSM   x' = x + strength * sign(grad_x loss)                       (Goodfellow, Shlens, Szegedy, ICLR 2015)
    PGD    the same in STEPS small steps of 2.5 strength / STEPS, each cut back into the box   (Madry et al., ICLR 2018)

The loss is that of the given label. What we changed: PGD starts at the input itself, not at a random point, so that an
attack depends on the sample alone and a run can be repeated; all steps stay inside the model's own input range.
"""

import torch
from torch import Tensor

from influence_core.objectives.held_out import HeldOutBatch
from influence_core.objectives.perturbed.input_space import InputSpace

STEPS = {"fgsm": 1, "pgd": 10}
OVERSHOOT = 2.5
"""All steps of PGD together reach 2.5 times as far as the box, so that its edge is reached from any point."""


def attacked(batch: HeldOutBatch, space: InputSpace, kind: str, strength: float) -> Tensor:
    """The inputs (b, ...) after an attack of "fgsm" or "pgd" on the current weights, detached."""
    steps = STEPS[kind]
    length = strength * space.unit * (1.0 if steps == 1 else OVERSHOOT / steps)
    start = batch.inputs.detach()
    inputs = start
    for _ in range(steps):
        inputs = space.near(inputs + length * uphill(batch.with_inputs(inputs)).sign(), start, strength)
    return inputs.detach()


def uphill(batch: HeldOutBatch) -> Tensor:
    """Gradient of each sample's own loss by its own input, (b, ...); samples are independent in evaluation mode."""
    inputs = batch.inputs.detach().requires_grad_(True)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(batch.with_inputs(inputs).losses.sum(), inputs)
    return gradient
