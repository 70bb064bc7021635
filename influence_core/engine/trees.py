"""Which tensors stand in a nest of arguments? Tuples, lists and dictionaries, as models take and return them."""

from typing import Any

from torch import Tensor


def tensors_in(tree: Any) -> list[Tensor]:
    """All tensors of nested tuples, lists and dictionaries, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        return [x for value in tree.values() for x in tensors_in(value)]
    if isinstance(tree, list | tuple):
        return [x for value in tree for x in tensors_in(value)]
    return []


def replaced(tree: Any, by: dict[int, Tensor]) -> Any:
    """The same tree with tensors exchanged by identity."""
    if isinstance(tree, Tensor):
        return by.get(id(tree), tree)
    if isinstance(tree, dict):
        return {key: replaced(value, by) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(replaced(value, by) for value in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(replaced(value, by) for value in tree)
    return tree
