"""Which operations of a model touch its trainable parameters, and with what? Every torch operation of a forward pass
is watched, so it does not matter whether a parameter sits in a layer, is added as a position, tied, sliced or
normalised.

An operation that meets a parameter and the batch is a `Use`: it is run with the parameter as a constant, and its output
gradient reaches a receiver in the backward pass, which therefore runs over activations only (about 2.2 inference passes
instead of 4). An operation on parameters alone (a transpose, weight_norm, relative positions looked up) makes a derived
tensor with a small graph of its own, through which per-sample gradients are pulled back (parameter_totals.py).
The model comes back exactly as it was, also after an error: mode of every module, requires_grad.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from influence_core.engine.watching.backward_roots import Fan, Root
from influence_core.engine.watching.nested import replaced, tensors_in
from influence_core.engine.watching.operations import LOOKS, decides, in_place, label, unguarded
from influence_core.engine.watching.sample_axes import Key, Layouts, Sighting
from influence_core.errors import LayerError


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor made of parameters alone: the parameter `name` itself, or derived from several (`name` is None)."""

    value: Tensor
    name: str | None
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Use:
    """One operation on the batch and on parameters: arguments detached; `held` says which of them are parameters."""

    key: Key
    operation: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    held: dict[int, Held]
    sighting: Sighting
    versions: tuple[int, ...]

    @property
    def path(self) -> str:
        """Where the parameter defined last lives: its name without the last part."""
        return self.key[1][-1].rpartition(".")[0]

    def check_untouched(self) -> None:
        """Raise when a later in-place operation has overwritten what this operation saw."""
        now = _versions(tensors_in((self.args, self.kwargs)))
        if now != self.versions:
            raise LayerError(
                f"The input of '{self.path}' ({self.key[0]}) was overwritten in place after it was used, so its "
                "gradient would be wrong. Expected inputs to stay as they were. Replace the in-place operation that "
                "follows (for example `x += y` by `x = x + y`)."
            )


Receiver = Callable[[Use, tuple[Tensor, ...]], None]


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters to be scored, by canonical name."""
    named = {name: value for name, value in model.named_parameters() if value.requires_grad}
    if not named:
        raise LayerError(
            "The model has no trainable parameter, so no sample has a gradient. Expected at least one parameter with "
            "requires_grad=True. Unfreeze the layers you want to score."
        )
    return named


@contextmanager
def scoring(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and frozen parameters; every mode and flag is put back at the end, also after an error.

    BatchNorm must use its running statistics: in training mode each output depends on the whole batch, and the
    gradient of one sample does not exist.
    """
    modes = [(module, module.training) for module in model.modules()]
    flags = [(value, value.requires_grad) for value in model.parameters()]
    try:
        model.eval()
        for value, _ in flags:
            value.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for value, flag in flags:
            value.requires_grad_(flag)


COMPOSITE = {functional.multi_head_attention_forward}
"""Functions that hide several uses: their bodies are watched instead."""


@dataclass(eq=False)
class Watch(TorchFunctionMode):
    """Watches one forward pass. Leave the context before the backward pass.

    named: the parameters to be scored. inputs: the batch. layouts: which axis of which use counts samples, None
    while that is being found out. called: told each use in order. receive: told each use's output gradients.
    spread: while finding out, operations known to repeat a parameter for each sample. where: the module at work, as
    far as somebody keeps it. decided: how the model turned the batch into a decision, if it did.
    """

    named: dict[str, nn.Parameter]
    inputs: Any
    layouts: Layouts | None
    called: Callable[[Use], None]
    receive: Receiver
    spread: frozenset[Key] = frozenset()
    where: str = ""
    decided: str = ""
    leaves: dict[str, Tensor] = field(default_factory=dict)
    sightings: list[Sighting] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._token = object()
        self._held = {id(value): Held(value, name, (name,)) for name, value in self.named.items()}
        self._order = {name: place for place, name in enumerate(self.named)}
        self._met: dict[tuple[str, tuple[str, ...]], int] = {}
        self._anchors: dict[torch.device, Tensor] = {}
        self._mark(self.inputs)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        found = tensors_in((args, kwargs))
        ours = any(getattr(value, "_influence_batch", None) is self._token for value in found)
        held = [self._held[id(value)] for value in found if id(value) in self._held]
        if ours:
            self._check_statistics(func, args, kwargs, held)
            if decides(func, args):
                self.decided = label(func)
        if held and torch.is_grad_enabled():
            if ours and func in COMPOSITE:
                with self:
                    return unguarded(func)(*args, **kwargs)
            return self._met_parameter(func, args, kwargs, held, ours)
        out = func(*args, **kwargs)
        if ours:
            self._mark(args[:1] if out is None else out)
        return out

    def _met_parameter(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], held: list[Held], ours: bool
    ) -> Any:
        """Either the batch meets parameters (a use), or parameters meet constants (a derived tensor)."""
        name = label(func)
        if name in LOOKS:
            return func(*args, **kwargs)
        met = {name for item in held for name in item.sources}
        sources = tuple(sorted(met, key=self._order.__getitem__))
        place = self._met[name, sources] = self._met.get((name, sources), -1) + 1
        key = (name, sources, place)
        if self.layouts is None:
            used = ours or key in self.spread
            inputs = tuple(value.detach() for value in tensors_in((args, kwargs)))
            out = (self._use if used else self._derive)(key, func, args, kwargs, held, None)
            self.sightings.append(Sighting(key, used, inputs, tuple(x.detach() for x in tensors_in(out))))
            return out
        sighting = self.layouts.of(key)
        if sighting.by_sample:
            return self._use(key, func, args, kwargs, held, sighting)
        return self._derive(key, func, args, kwargs, held, sighting)

    def _derive(
        self,
        key: Key,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        held: list[Held],
        sighting: Sighting | None,
    ) -> Any:
        """Run with parameters as leaves of a graph of their own, and remember what comes out."""
        swapped = {id(item.value): self._leaf(item) for item in held}
        args, kwargs = replaced((args, kwargs), swapped)
        out = func(*args, **kwargs)
        for value in tensors_in(out):
            if value.requires_grad:
                self._held[id(value)] = Held(value, None, key[1])
        return out

    def _leaf(self, item: Held) -> Tensor:
        if item.name is None:
            return item.value
        if item.name not in self.leaves:
            self.leaves[item.name] = item.value.detach().requires_grad_()
        return self.leaves[item.name]

    def _use(
        self,
        key: Key,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        held: list[Held],
        sighting: Sighting | None,
    ) -> Any:
        """Run with parameters as constants, note the use, and listen for its output gradients."""
        constant = {id(item.value): item.value.detach() for item in held}
        args, kwargs = replaced((args, kwargs), constant)
        if func is functional.linear and args and args[0].ndim > 2:
            # else torch takes one small product a sample: weights are frozen
            args = (args[0].contiguous(), *args[1:])
        before = (args, kwargs)
        if in_place(func):  # the gradient of a parameter may need what the operation is about to overwrite
            before = ((args[0].clone(), *args[1:]), kwargs)
        out = func(*args, **kwargs)
        floating = [value for value in tensors_in(out) if value.is_floating_point()]
        if floating and sighting is not None:
            parameters = {id(constant[id(item.value)]): item for item in held}
            seen = replaced(
                before, {id(x): x.detach() for x in tensors_in(before) if id(x) not in parameters}
            )
            inputs = _versions(tensors_in(seen))
            use = Use(key, func, seen[0], seen[1], parameters, sighting, inputs)
            self.called(use)
            out = self._listened(use, out)
        self._mark(out)
        return out

    def _check_statistics(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], held: list[Held]
    ) -> None:
        """Refuse a normalisation by the statistics of the batch, before it runs: it would also change the model."""
        if func is not functional.batch_norm:
            return
        given = inspect.signature(func).bind(*args, **kwargs)
        given.apply_defaults()
        if given.arguments["training"] or given.arguments["running_mean"] is None:
            place = self.where or (held[0].sources[0].rpartition(".")[0] if held else "batch_norm")
            raise LayerError(
                f"Layer '{place}' normalises with the statistics of the batch: each sample's output depends on the "
                "rest of its batch, so the gradient of one sample does not exist. Expected running statistics. Train "
                "it with track_running_stats=True and do not force training mode, or use GroupNorm."
            )

    def _listened(self, use: Use, out: Any) -> Any:
        once = [use]  # let go of when it is received: the graph lives on to the end of the backward pass

        def receive(ds: tuple[Tensor, ...]) -> None:
            self.receive(once.pop(), ds)

        if isinstance(out, Tensor):
            rooted = out if out.requires_grad else self._rooted(out)
            rooted.register_hook(lambda d: receive((d,)))
            return rooted
        values = tensors_in(out)
        fanned = Fan.apply(receive, self._anchor(values[0]), *values)
        return replaced(out, {id(old): new for old, new in zip(values, fanned, strict=True)})  # pyright: ignore

    def _rooted(self, out: Tensor) -> Tensor:
        if (
            out._is_view()
        ):  # of itself alone (linear layers of sequences), but torch would not let it be written into
            out = out.new_empty(0).set_(out.detach())  # pyright: ignore[reportArgumentType]
        return Root.apply(out, self._anchor(out))  # pyright: ignore[reportReturnType]

    def _anchor(self, like: Tensor) -> Tensor:
        if like.device not in self._anchors:
            self._anchors[like.device] = torch.zeros((), device=like.device, requires_grad=True)
        return self._anchors[like.device]

    def _mark(self, values: Any) -> None:
        for value in tensors_in(values):
            value._influence_batch = self._token  # pyright: ignore[reportAttributeAccessIssue]


def _versions(values: list[Tensor]) -> tuple[int, ...]:
    return tuple(value._version for value in values)
