"""Directions: one tensor a parameter, such as an objective's gradient; missing parameters count as zero."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from influence_core.errors import InfluenceError

Direction = Mapping[str, Tensor]


def check_directions(directions: Sequence[Direction], named: Mapping[str, Tensor]) -> None:
    """Raise InfluenceError unless every direction names trainable parameters and has their shapes."""
    for index, direction in enumerate(directions):
        for name, tensor in direction.items():
            if name not in named:
                raise InfluenceError(
                    f"Direction {index} names the parameter '{name}', which is not a trainable parameter of the model "
                    f"({len(named)} are). Take names from dict(model.named_parameters())."
                )
            if tensor.shape != named[name].shape:
                raise InfluenceError(
                    f"Direction {index} has shape {tuple(tensor.shape)} for '{name}'; expected "
                    f"{tuple(named[name].shape)}, the parameter's own shape."
                )
