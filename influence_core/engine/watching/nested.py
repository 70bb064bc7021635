"""Tensors in nested tuples, lists and dictionaries, as models take and return them."""

from typing import Any

from torch import Tensor

_LISTS = list, tuple
"""Built once: it is needed several times for every argument of every operation."""


def tensors_in(tree: Any) -> list[Tensor]:
    """All tensors of nested tuples, lists and dictionaries, in order."""
    tensors: list[Tensor] = []
    _gather(tree, tensors)
    return tensors


def _gather(tree: Any, into: list[Tensor]) -> None:
    if isinstance(tree, Tensor):
        into.append(tree)
    elif isinstance(tree, _LISTS):
        for value in tree:
            _gather(value, into)
    elif isinstance(tree, dict):
        for value in tree.values():
            _gather(value, into)


def replaced(tree: Any, by: dict[int, Tensor]) -> Any:
    """The same tree with tensors replaced by identity: `by` maps id(tensor) to its replacement."""
    if isinstance(tree, Tensor):
        return by.get(id(tree), tree)
    if isinstance(tree, dict):
        return {key: replaced(value, by) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(replaced(value, by) for value in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(replaced(value, by) for value in tree)
    return tree
