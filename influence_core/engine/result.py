"""Result of a sweep: norms, products and sketches of n samples."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Per-sample quantities of n samples, rows in dataset order, float32 unless the sweep ran in float64.

    Norms have no sign; a large one means an unusual sample. A product is positive when a gradient step on the sample
    moves the parameters against the direction: with an objective's gradient as direction, positive = helpful.
    """

    losses: Tensor
    """(n,) loss of each sample."""
    logits: Tensor
    """(n, c) the model's outputs, in evaluation mode; (n,) of a single number, (n, 0) of sequences and nests."""
    grad_norms: Tensor
    """(n,) L2 norm of the gradient over all trainable parameters."""
    grad_norms_l1: Tensor
    """(n,) L1 norm of the same."""
    layer_norms: dict[str, Tensor]
    """L2 norm by layer path, each (n,)."""
    last_layer: str
    """Path of the last layer used: the head of a classifier."""
    last_norm_l1: Tensor
    """(n,) L1 norm over the last layer alone."""
    products: Tensor
    """(n, k) inner product with each direction."""
    sketches: Tensor
    """(n, q) folded gradients: inner products of rows are unbiased estimates of those of the gradients."""
    features: dict[str, Tensor]
    """Inputs of the requested layers by path, pooled to at most 2 x 2 positions, each (n, f)."""
    ways: dict[str, str]
    """The way to each parameter's gradient: a key of `rules.dispatch.HOW`."""
    compared: int
    """Samples that lie in memory or were read more than once without a difference; the other n - compared were read
    once, so that a rare random transform would not have been noticed in them."""
