"""What a sweep gives: norms, products and sketches of n samples."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Per-sample quantities of n samples, rows in dataset order, float32 unless the sweep ran in float64.

    Norms are not signed and positive means unusual. A product is positive when a gradient step on the sample moves
    the parameters against the direction: with an objective's gradient as direction, positive = helpful.
    """

    losses: Tensor
    """(n,) each sample's own loss."""
    logits: Tensor
    """(n, c) the model's outputs, in evaluation mode; (n,) of a single number, (n, 0) of sequences and nests."""
    grad_norms: Tensor
    """(n,) L2 norm of the gradient over all trainable parameters."""
    grad_norms_l1: Tensor
    """(n,) L1 norm of the same."""
    layer_norms: dict[str, Tensor]
    """L2 norm by layer path, each (n,)."""
    last_layer: str
    """Path of the layer used last: the head of a classifier."""
    last_norm_l1: Tensor
    """(n,) L1 norm over the last layer alone."""
    products: Tensor
    """(n, k) inner product with each direction."""
    sketches: Tensor
    """(n, q) folded gradients: inner products of rows estimate those of the gradients, without bias."""
    features: dict[str, Tensor]
    """Inputs of the layers asked for, pooled to at most 2 x 2 positions, each (n, f)."""
    ways: dict[str, str]
    """How each parameter's gradient was found: a key of `engine.uses.HOW`."""
