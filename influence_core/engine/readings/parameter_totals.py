"""Book of one batch: adds up each parameter's gradient over its uses during the backward pass.

A parameter that is used once is read as soon as its output gradient arrives, and its gradient is freed. One that is
used several times, or through a derived tensor, waits for all its uses: a norm of a sum is not a sum of norms.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Generic, TypeVar

import torch
from torch import Tensor

from influence_core.engine.rules.dispatch import HOW, Part, parts
from influence_core.engine.rules.factors import Dense, Factor, side_by_side, written_out
from influence_core.engine.watching.watch import Use

CHUNK_NUMBERS = 4_000_000
"""Numbers of written-out gradients of shared parameters that exist at once (16 MB in float32)."""


Result = TypeVar("Result")


@dataclass
class Book(Generic[Result]):
    """Results of one batch of b samples, by parameter name.

    shapes: of all parameters to be scored. read(name, factor, low): the result of a parameter's gradient, for the
    samples from row `low` of the batch on. join: makes one result of those of consecutive ranges of samples. found:
    results. ways: keys of HOW. last: the parameters of the last layer used.
    """

    shapes: Mapping[str, tuple[int, ...]]
    b: int
    read: Callable[[str, Factor, int], Result]
    join: Callable[[list[Result]], Result]
    found: dict[str, Result] = field(default_factory=dict)
    ways: dict[str, str] = field(default_factory=dict)
    last: tuple[str, ...] = ()
    _uses: dict[str, int] = field(default_factory=dict)
    _waiting: dict[str, list[Factor]] = field(default_factory=dict)
    _derived: list[Part] = field(default_factory=list)

    def called(self, use: Use) -> None:
        """Record a use during the forward pass."""
        if not self.last or any(len(self.shapes[name]) > 1 for name in use.key[1]):
            self.last = use.key[1]  # the head; a temperature after it is no layer
        for held in use.held.values():
            for name in held.sources:
                self._uses[name] = self._uses.get(name, 0) + 1

    def receive(self, use: Use, ds: tuple[Tensor, ...]) -> None:
        """Read the gradients of one use during the backward pass."""
        for part in parts(use, ds, self.b):
            for name in part.held.sources:
                self.ways[name] = max(self.ways.get(name, "rule"), part.way, key=list(HOW).index)
            if part.held.name is None:
                self._derived.append(part)
            elif self._uses[part.held.name] == 1:
                self._read(part.held.name, part.factor)
            else:
                self._waiting.setdefault(part.held.name, []).append(part.factor)

    def _read(self, name: str, factor: Factor) -> None:
        with torch.no_grad():
            self.found[name] = self.read(name, factor, 0)

    def close(self, leaves: Mapping[str, Tensor]) -> None:
        """Read the waiting parameters. `leaves`: the parameters behind derived tensors (Watch.leaves)."""
        unread = {name for part in self._derived for name in part.held.sources}
        for name, factors in self._waiting.items():
            if name not in unread:
                with torch.no_grad():
                    factor = side_by_side(factors)
                if factor is None:
                    unread.add(name)
                else:
                    self._read(name, factor)
        if not unread:
            return
        numbers = sum(prod(self.shapes[name]) for name in unread)
        numbers += sum(part.held.value.numel() for part in self._derived)
        step = max(1, CHUNK_NUMBERS // max(1, numbers))
        ranges = [(low, min(low + step, self.b)) for low in range(0, self.b, step)]
        pieces = [self._added(unread, leaves, low, high) for low, high in ranges]
        for name in unread:
            self.found[name] = self.join([piece[name] for piece in pieces])

    def _added(self, names: set[str], leaves: Mapping[str, Tensor], low: int, high: int) -> dict[str, Result]:
        """Results of these parameters, summed over all their uses, for samples low to high."""
        total = pulled_back(
            self._derived, {name: leaves[name] for name in names if name in leaves}, low, high
        )
        with torch.no_grad():
            for name, factors in self._waiting.items():
                for factor in factors if name in names else ():
                    g = written_out(factor, self.shapes[name], low, high)
                    total[name] = total[name] + g if name in total else g
            return {name: self.read(name, Dense(g), low) for name, g in total.items()}


def pulled_back(derived: list[Part], leaves: dict[str, Tensor], low: int, high: int) -> dict[str, Tensor]:
    """Per-sample gradients (high - low, *shape) of the parameters behind derived tensors, for samples low to high."""
    if not derived:
        return {}
    tensors = [part.held.value for part in derived]
    gradients = [written_out(part.factor, tuple(part.held.value.shape), low, high) for part in derived]
    values = list(leaves.values())
    total = {name: value.new_zeros(high - low, *value.shape) for name, value in leaves.items()}

    def once(rows: list[Tensor], batched: bool) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(
            tensors, values, rows, retain_graph=True, allow_unused=True, is_grads_batched=batched
        )

    try:
        pulled = once(gradients, True)
    except RuntimeError:  # an operation without a batching rule: one sample after another
        by_sample = [once([g[i] for g in gradients], False) for i in range(high - low)]
        pulled = tuple(
            None if column[0] is None else torch.stack(column) for column in zip(*by_sample, strict=True)
        )  # pyright: ignore
    for name, gradient in zip(leaves, pulled, strict=True):
        if gradient is not None:
            total[name] += gradient
    return total
