"""Choice of the layers that serve as evidence: a few whose inputs can be read, evenly spaced in depth, up to the last.

A layer that holds parameters need not be called: MultiheadAttention reads the weights of its `out_proj` itself, and a
model may call `functional.linear` with them. A layer that is called may see time first, or windows as a batch. So the
model is run on one and on two samples, and only layers whose input had one row a sample both times are candidates.
"""

import numpy as np
from torch import nn
from torch.utils.data import Dataset, Subset

from influence_core.engine import batches as loop
from influence_core.engine.features import first_axis_counts
from influence_core.errors import LayerError

AT_MOST = 4
WEIGHTY = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def evidence_layers(model: nn.Module, samples: Dataset) -> tuple[str, ...]:
    """Paths of at most four layers, in the order they are called.

    Linear layers and convolutions; otherwise modules with trainable parameters of their own; otherwise any module.

    Raises:
        LayerError: no module receives numbers with one row a sample.
    """
    called = _called(model, samples)
    trained = [path for path in called if _is_trained(model.get_submodule(path))]
    weighty = [path for path in trained if isinstance(model.get_submodule(path), WEIGHTY)]
    paths = weighty or trained or called
    if not paths:
        raise LayerError(
            f"No module of the {type(model).__name__} is called with a tensor of numbers, one row a sample, so there "
            "is no layer whose inputs are evidence for or against a label. Expected at least one, such as nn.Linear. "
            "`sweep` alone needs none."
        )
    deep = paths[1:] or paths  # the first layer sees the raw input: pooled, a picture is a few mean colours
    positions = np.linspace(0, len(deep) - 1, min(AT_MOST, len(deep))).round().astype(int)
    return tuple(deep[position] for position in dict.fromkeys(positions.tolist()))


def _is_trained(module: nn.Module) -> bool:
    """Whether it has trainable parameters; a parametrized layer (weight_norm) keeps them one level deeper."""
    return any(p.requires_grad for p in module.parameters(recurse=isinstance(module, WEIGHTY)))


def _called(model: nn.Module, samples: Dataset) -> list[str]:
    """Modules whose first argument is (b, ...) floating, for one sample and for two, with the same shape after b."""
    few = [Subset(samples, rows) for rows in ([0], [0, loop.count(samples) - 1])]
    one, two = (next(loop.batches(rows, loop.count(rows), like=model)).inputs for rows in few)
    return [path for path, counts in first_axis_counts(model, one, two).items() if counts]
