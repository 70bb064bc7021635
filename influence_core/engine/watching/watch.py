"""Watch of a forward pass: which operations use trainable parameters, and with which arguments.

Every torch operation is watched, so it does not matter whether a parameter sits in a layer, is added as a position,
tied, sliced or normalised.

An operation on a parameter and the batch is a `Use`. It runs with the parameter as a constant, and its output gradient
reaches a receiver in the backward pass, which therefore runs over activations only (about 2.2 inference passes instead
of 4). An operation on parameters alone (a transpose, weight_norm, a lookup of relative positions) makes a derived
tensor with a small separate graph, through which per-sample gradients are pulled back (parameter_totals.py).
The model is restored exactly, also after an error: mode of every module, requires_grad.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from influence_core.engine.watching.backward_roots import Fan, Root
from influence_core.engine.watching.fast_path import without_fast_path
from influence_core.engine.watching.nested import replaced, tensors_in
from influence_core.engine.watching.operations import LOOKS, decides, in_place, label, unguarded
from influence_core.engine.watching.sample_axes import Key, Layouts, Sighting
from influence_core.errors import LayerError


@dataclass(frozen=True, slots=True)
class ParameterTensor:
    """A tensor made of parameters alone: the parameter `name`, or, if that is None, derived from `sources`."""

    value: Tensor
    name: str | None
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Use:
    """One operation on the batch and parameters, arguments detached. `held`: the parameters among them, by id."""

    key: Key
    operation: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    held: dict[int, ParameterTensor]
    sighting: Sighting
    versions: tuple[int, ...]

    @property
    def path(self) -> str:
        """Layer path of the last of its parameters: the name without its last part."""
        return self.key[1][-1].rpartition(".")[0]

    def check_untouched(self) -> None:
        """Raise LayerError when a later in-place operation has overwritten this operation's input."""
        if _versions((self.args, self.kwargs)) != self.versions:
            raise LayerError(
                f"The input of '{self.path}' ({self.key[0]}) was overwritten in place after it was used, so its "
                "gradient would be wrong. Expected inputs to stay as they were. Replace the in-place operation that "
                "follows (for example `x += y` by `x = x + y`)."
            )


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters to be scored, by canonical name; LayerError when there is none."""
    named = {name: value for name, value in model.named_parameters() if value.requires_grad}
    if not named:
        raise LayerError(
            "The model has no trainable parameter, so no sample has a gradient. Expected at least one parameter with "
            "requires_grad=True. Unfreeze the layers you want to score."
        )
    return named


@contextmanager
def scoring(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and frozen parameters; every mode and flag is restored at the end, also after an error.

    BatchNorm must use its running statistics: in training mode each output depends on the whole batch, and the
    gradient of one sample does not exist. Torch's fast path through encoders is off: a pass with gradients never takes
    it, and one without would round differently, and warn where a batch is padded.
    """
    modes = [(module, module.training) for module in model.modules()]
    flags = [(value, value.requires_grad) for value in model.parameters()]
    try:
        model.eval()
        model.requires_grad_(False)
        with without_fast_path():
            yield
    finally:
        for module, training in modes:
            module.training = training
        for value, flag in flags:
            value.requires_grad_(flag)


@contextmanager
def requiring_gradients(values: Iterable[Tensor]) -> Iterator[None]:
    """Set requires_grad, as in training: without it torch takes its fast path through encoders."""
    values = list(values)
    try:
        for value in values:
            value.requires_grad_(True)
        yield
    finally:
        for value in values:
            value.requires_grad_(False)


@contextmanager
def heard_calls(
    modules: Iterable[tuple[str, nn.Module]],
    before: Callable[[str, tuple[Any, ...]], None] | None = None,
    after: Callable[[str, Any], None] | None = None,
) -> Iterator[None]:
    """Context in which every call of these modules is reported: before(path, arguments), after(path, output)."""
    with ExitStack() as stack:
        for path, module in modules:
            if before:
                hook = partial(lambda path, module, args: before(path, args), path)
                stack.enter_context(module.register_forward_pre_hook(hook))
            if after:
                hook = partial(lambda path, module, args, output: after(path, output), path)
                stack.enter_context(module.register_forward_hook(hook))
        yield


COMPOSITE = {functional.multi_head_attention_forward}
"""Functions that contain several uses: their bodies are watched instead."""


class _Call(NamedTuple):
    """A call of an operation, and the parameter tensors among its arguments."""

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    parameters: list[ParameterTensor]


@dataclass(eq=False)
class Watch(TorchFunctionMode):
    """Context that watches one forward pass. Leave it before the backward pass.

    named: the parameters to be scored. inputs: the batch. layouts: which axis of which use counts samples; None while
    that is still unknown. called: receives each use in order. receive: receives each use with its output gradients.
    spread: with unknown layouts, operations that repeat a parameter for each sample. where: the running module, if the
    caller keeps it up to date. decided: the operation by which the model branched on its batch, or empty. leaves: the
    parameters behind derived tensors, by name. sightings: with unknown layouts, all operations on parameters.
    """

    named: dict[str, nn.Parameter]
    inputs: Any
    layouts: Layouts | None
    called: Callable[[Use], None]
    receive: Callable[[Use, tuple[Tensor, ...]], None]
    spread: frozenset[Key] = frozenset()
    where: str = ""
    decided: str = ""
    leaves: dict[str, Tensor] = field(default_factory=dict)
    sightings: list[Sighting] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._token = object()
        self._parameters = {
            id(value): ParameterTensor(value, name, (name,)) for name, value in self.named.items()
        }
        self._order = {name: place for place, name in enumerate(self.named)}
        self._occurrences: dict[tuple[str, tuple[str, ...]], int] = {}
        self._anchors: dict[torch.device, Tensor] = {}
        self._mark(self.inputs)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = tensors_in((args, kwargs))
        from_batch = any(getattr(value, "_influence_batch", None) is self._token for value in tensors)
        parameters = [self._parameters[id(value)] for value in tensors if id(value) in self._parameters]
        if from_batch:
            self._check_statistics(func, args, kwargs, parameters)
            if decides(func, args):
                self.decided = label(func)
        if parameters and torch.is_grad_enabled():
            if from_batch and func in COMPOSITE:
                with self:
                    return unguarded(func)(*args, **kwargs)
            return self._run_on_parameters(_Call(func, args, kwargs, parameters), from_batch)
        out = func(*args, **kwargs)
        if from_batch:
            self._mark(args[:1] if out is None else out)
        return out

    def _run_on_parameters(self, call: _Call, from_batch: bool) -> Any:
        """Run an operation on parameters: with the batch it is a use, with constants it makes a derived tensor."""
        name = label(call.func)
        if name in LOOKS:
            return call.func(*call.args, **call.kwargs)
        names = {source for item in call.parameters for source in item.sources}
        sources = tuple(sorted(names, key=self._order.__getitem__))
        occurrence = self._occurrences[name, sources] = self._occurrences.get((name, sources), -1) + 1
        key = (name, sources, occurrence)
        if self.layouts is None:
            used = from_batch or key in self.spread
            inputs = tuple(value.detach() for value in tensors_in((call.args, call.kwargs)))
            out = self._use(key, call, None) if used else self._derive(key, call)
            self.sightings.append(Sighting(key, used, inputs, tuple(x.detach() for x in tensors_in(out))))
            return out
        sighting = self.layouts.of(key)
        return self._use(key, call, sighting) if sighting.by_sample else self._derive(key, call)

    def _derive(self, key: Key, call: _Call) -> Any:
        """Run with parameters as leaves of a separate graph, and record the outputs as parameter tensors."""
        swapped = {id(item.value): self._leaf(item) for item in call.parameters}
        args, kwargs = replaced((call.args, call.kwargs), swapped)
        out = call.func(*args, **kwargs)
        for value in tensors_in(out):
            if value.requires_grad:
                self._parameters[id(value)] = ParameterTensor(value, None, key[1])
        return out

    def _leaf(self, item: ParameterTensor) -> Tensor:
        """A derived tensor itself; of a parameter, the leaf that stands for it in the graph of derived tensors."""
        if item.name is None:
            return item.value
        if item.name not in self.leaves:
            self.leaves[item.name] = item.value.detach().requires_grad_()
        return self.leaves[item.name]

    def _use(self, key: Key, call: _Call, sighting: Sighting | None) -> Any:
        """Run with parameters as constants, record the use, and subscribe to its output gradients."""
        func, constant = call.func, {id(item.value): item.value.detach() for item in call.parameters}
        args, kwargs = replaced((call.args, call.kwargs), constant)
        if func is functional.linear and args and args[0].ndim > 2:
            # else torch computes one small product a sample, since weights are frozen
            args = (args[0].contiguous(), *args[1:])
        arguments = (args, kwargs)
        if in_place(func):  # the gradient of a parameter may need what the operation is about to overwrite
            arguments = ((args[0].clone(), *args[1:]), kwargs)
        out = func(*args, **kwargs)
        floating = [value for value in tensors_in(out) if value.is_floating_point()]
        if floating and sighting is not None:
            by_id = {id(constant[id(item.value)]): item for item in call.parameters}
            detached = replaced(
                arguments, {id(x): x.detach() for x in tensors_in(arguments) if id(x) not in by_id}
            )
            use = Use(key, func, detached[0], detached[1], by_id, sighting, _versions(detached))
            self.called(use)
            out = self._listened(use, out)
        self._mark(out)
        return out

    def _check_statistics(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], parameters: list[ParameterTensor]
    ) -> None:
        """Raise LayerError before a normalisation by batch statistics runs: it would also change the model."""
        if func is not functional.batch_norm:
            return
        bound = inspect.signature(func).bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.arguments["training"] or bound.arguments["running_mean"] is None:
            path = self.where or (parameters[0].sources[0].rpartition(".")[0] if parameters else "batch_norm")
            raise LayerError(
                f"Layer '{path}' normalises with the statistics of the batch: each sample's output depends on the "
                "rest of its batch, so the gradient of one sample does not exist. Expected running statistics. Train "
                "it with track_running_stats=True and do not force training mode, or use GroupNorm."
            )

    def _listened(self, use: Use, out: Any) -> Any:
        """The output as part of the graph; its gradients go to `receive`."""
        once = [use]  # freed when received: the graph lives to the end of the backward pass

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
        if out._is_view():  # of itself alone (linear layers of sequences); torch forbids writing into it
            out = out.new_empty(0).set_(out.detach())  # pyright: ignore[reportArgumentType]
        return Root.apply(out, self._anchor(out))  # pyright: ignore[reportReturnType]

    def _anchor(self, like: Tensor) -> Tensor:
        """A scalar that requires a gradient, on the device of `like`: what it touches joins the graph."""
        if like.device not in self._anchors:
            self._anchors[like.device] = torch.zeros((), device=like.device, requires_grad=True)
        return self._anchors[like.device]

    def _mark(self, values: Any) -> None:
        """Mark tensors as part of this batch."""
        for value in tensors_in(values):
            value._influence_batch = self._token  # pyright: ignore[reportAttributeAccessIssue]


def _versions(tree: Any) -> tuple[int, ...]:
    return tuple(value._version for value in tensors_in(tree))
