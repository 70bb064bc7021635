"""Slow and obvious truths that the fast paths are compared with."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from influence_core.engine import per_sample_gradients
from influence_core.engine.losses import Loss, loss_by_name


def flat_gradients(model: nn.Module, samples: Dataset, loss: str | Loss = "cross_entropy") -> Tensor:
    """Every sample alone through autograd in evaluation mode, all parameters in one row: (n, p)."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        rows = per_sample_gradients(model, samples, loss_by_name(loss))
    finally:
        for module, mode in modes:
            module.training = mode
    return torch.cat([value.flatten(1) for value in rows.values()], 1)


def products(model: nn.Module, train: Dataset, val: Dataset) -> Tensor:
    """<gradient of each training sample, mean gradient of the validation samples>: influence, (n,)."""
    return flat_gradients(model, train) @ flat_gradients(model, val).mean(0)


def random_directions(model: nn.Module, k: int, seed: int = 0) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    return [
        {name: torch.randn(value.shape, generator=generator, dtype=value.dtype) for name, value in named}
        for _ in range(k)
    ]


def flat(direction: Mapping[str, Tensor], model: nn.Module) -> Tensor:
    """A direction as one row, parameters in the model's order."""
    return torch.cat([direction[n].flatten() for n, v in model.named_parameters() if v.requires_grad])


def dataset(
    *shape: int, n: int, classes: int, seed: int = 0, dtype: torch.dtype = torch.float64
) -> TensorDataset:
    """n random inputs of a shape, with random labels."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, *shape, generator=generator, dtype=dtype)
    return TensorDataset(inputs, torch.randint(classes, (n,), generator=generator))


def settled(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every batch norm running statistics that differ from 0 and 1, so that forgetting them shows."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            assert module.running_var is not None
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    return model
