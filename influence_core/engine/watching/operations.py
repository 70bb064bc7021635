"""Kinds of torch operations, by their names, for watch.py.

Some only read a tensor's shape, some overwrite their input, and some bring its numbers to Python, so that the model can
branch on them.
"""

import types
from collections.abc import Callable
from typing import Any

import torch

from influence_core.engine.watching.nested import tensors_in

LOOKS = set("shape size dim device dtype numel is_floating_point is_cuda layout requires_grad".split())
"""Attributes and methods of a tensor that do not read its numbers."""


def label(func: Any) -> str:
    """Name of an operation; of a property, the property's name."""
    name = getattr(func, "__name__", type(func).__name__)
    if name in ("__get__", "__set__"):
        name = getattr(getattr(func, "__self__", None), "__name__", name)
    return name


def in_place(func: Any) -> bool:
    """Whether an operation overwrites its first argument."""
    name = label(func)  # that of `x += y` is "add_"
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))


_DECISIONS = {
    *"__bool__ __int__ __float__ __index__ __contains__ __array__ item tolist numpy".split(),
    *"equal allclose is_nonzero nonzero masked_select unique unique_consecutive".split(),
}
"""Operations that bring a tensor's numbers to Python or into a shape: what follows may differ between batches."""


def decides(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether a model can branch on the result of this call."""
    if label(func) == "__getitem__":
        return any(index.dtype == torch.bool for index in tensors_in(args[1:]))
    return label(func) in _DECISIONS


def unguarded(func: Any) -> Callable[..., Any]:
    """The body of a torch function without its check for watchers, which would call it again without end."""
    scope = {**func.__globals__, "has_torch_function": lambda *_: False}
    return types.FunctionType(func.__code__, scope, func.__name__, func.__defaults__, func.__closure__)
