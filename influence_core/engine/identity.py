"""When are two sweeps the same? Anything that could change one of their numbers changes the key.

A shard on disk is trusted only under the key of the pass that reads it (shards.py).
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import nn

from influence_core.engine.directions import Direction
from influence_core.engine.losses import Loss

FORM = 4
"""Raised when the engine's numbers change: the sketches of versions 1 and 2 folded other entries together, version 3
kept outputs of sequences."""


def key_of(
    model: nn.Module,
    directions: Sequence[Direction],
    loss: Loss,
    settings: Sequence[object],
    fingerprint: str,
) -> str:
    """A digest of the model's form and weights, the directions, the loss, the settings and the samples' identity."""
    trained = sorted(name for name, value in model.named_parameters() if value.requires_grad)
    digest = hashlib.sha256(
        f"{FORM}:{list(settings)}:{fingerprint}:{trained}:{_code(loss)}:{model!r}".encode()
    )
    tensors = [*model.named_parameters(), *model.named_buffers()]
    for index, direction in enumerate(directions):
        tensors += [(f"{index}:{name}", value) for name, value in direction.items()]
    for name, value in tensors:
        digest.update(f"{name}:{tuple(value.shape)};".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _code(loss: Loss) -> str:
    """What a loss computes, as far as Python shows it: its instructions and constants, not only its name."""
    code = getattr(loss, "__code__", None)
    return repr(type(loss)) if code is None else f"{code.co_code.hex()}:{code.co_consts}:{code.co_names}"
