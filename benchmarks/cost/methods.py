"""Methods that are compared: the two units of time, plain torch, and ours; peers.py has other libraries.

A method is a function of a task: `prepare` loads and wraps, untimed. Its result is a function that is timed and returns
the products (n,) of every training sample with the gradient of the held-out sample, which is computed in that time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call, grad, jvp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, Dataset, Subset

from benchmarks.cost.models import Task, sample_losses

Run = Callable[[], Tensor | None]
Named = dict[str, Tensor]


@dataclass(frozen=True)
class Method:
    """A name for the table, the package it needs, how to prepare it, and a note for the reader."""

    name: str
    package: str
    prepare: Callable[[Task], Run]
    note: str = ""


def loader(samples: Dataset, batch: int) -> DataLoader:
    """Batches in order, in this process: for every method but ours, which has its own loop."""
    return DataLoader(samples, batch_size=batch)


def training_pass(task: Task) -> Run:
    """Forward and backward of the mean loss to every parameter; no optimizer step, evaluation mode."""

    def run() -> None:
        for inputs, labels in loader(task.train, task.batch):
            task.model.zero_grad(set_to_none=True)
            sample_losses(task.model(inputs), labels).mean().backward()
        task.model.zero_grad(set_to_none=True)

    return run


def inference_pass(task: Task) -> Run:
    """Forward alone, without a graph."""

    @torch.inference_mode()
    def run() -> None:
        for inputs, _ in loader(task.train, task.batch):
            task.model(inputs)

    return run


def own_gradient(task: Task, row: int = 0) -> Named:
    """Gradient of one held-out sample's loss, by plain autograd."""
    named = dict(task.model.named_parameters())
    inputs, labels = task.held_out[row]
    loss = sample_losses(task.model(inputs[None]), labels[None]).sum()
    return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


def sample_loop(task: Task) -> Run:
    """Every sample alone through autograd: the truth, and the straightforward implementation."""

    def run() -> Tensor:
        direction, named = own_gradient(task), list(task.model.parameters())
        return torch.stack(
            [
                _dot(torch.autograd.grad(sample_losses(task.model(x), y).sum(), named), direction.values())
                for x, y in loader(task.train, 1)
            ]
        )

    return run


def vmap_grad(task: Task) -> Run:
    """torch.func: per-sample gradients of a whole batch, then products."""

    def run() -> Tensor:
        named = {name: value.detach() for name, value in task.model.named_parameters()}
        direction = own_gradient(task)

        def one_loss(parameters: Named, x: Tensor, y: Tensor) -> Tensor:
            return sample_losses(functional_call(task.model, parameters, (x[None],)), y[None]).sum()

        per_sample = vmap(grad(one_loss), (None, 0, 0))
        parts = []
        for inputs, labels in loader(task.train, task.batch):
            found = per_sample(named, inputs, labels)
            parts.append(sum(found[name].flatten(1) @ direction[name].flatten() for name in named))
        return torch.cat(parts)

    return run


def forward_mode(task: Task) -> Run:
    """torch.func.jvp: the losses' derivative along the direction, no backward pass and no per-sample gradient.

    Attention runs in its plain form: the fused kernel of the CPU has no forward mode.
    """

    @torch.no_grad()
    def run() -> Tensor:
        named = {name: value.detach() for name, value in task.model.named_parameters()}
        with torch.enable_grad():
            direction = own_gradient(task)
        return torch.cat([_along(task, named, direction, *batch) for batch in loader(task.train, task.batch)])

    return run


def _along(task: Task, named: Named, direction: Named, inputs: Tensor, labels: Tensor) -> Tensor:
    def losses(parameters: Named) -> Tensor:
        return sample_losses(functional_call(task.model, parameters, (inputs,)), labels)

    with sdpa_kernel(SDPBackend.MATH):
        return jvp(losses, (named,), (direction,))[1]


def _dot(gradients: Iterator[Tensor] | tuple[Tensor, ...], direction) -> Tensor:
    return sum(
        (g.flatten() @ v.flatten() for g, v in zip(gradients, direction, strict=True)), torch.zeros(())
    )


def sweep_everything(task: Task) -> Run:
    """Ours: norms of all layers, 8 directions (7 given, the first computed in the run) and a 256-number sketch."""
    import influence_core as ic

    more = [own_gradient(task, row) for row in range(1, len(task.held_out))]

    def run() -> Tensor:
        directions = [_ours(task), *more]
        return ic.sweep(
            task.model, task.train, directions=directions, sketch=256, batch_size=task.batch
        ).products[:, 0]

    return run


def looked_at(task: Task) -> Run:
    """Ours: the fixed cost of every sweep: find the sample axes, compare three samples with autograd."""
    from influence_core.engine.losses import loss_by_name
    from influence_core.engine.study import study_model

    return lambda: study_model(task.model, task.train, loss_by_name("cross_entropy")) and None


def sweep_one(task: Task) -> Run:
    """Ours: norms of all layers and one direction."""
    import influence_core as ic

    def run() -> Tensor:
        directions = [_ours(task)]
        return ic.sweep(
            task.model, task.train, directions=directions, sketch=0, batch_size=task.batch
        ).products[:, 0]

    return run


def directional(task: Task) -> Run:
    """Ours: one direction, without norms."""
    import influence_core as ic

    return lambda: ic.directional(task.model, task.train, _ours(task), batch_size=task.batch)


def _ours(task: Task) -> Named:
    from influence_core import objective_gradient

    return objective_gradient(task.model, Subset(task.held_out, [0]))


METHODS = [
    Method("training pass", "torch", training_pass, "the unit; its own noise"),
    Method("inference pass", "torch", inference_pass, "gives no products"),
    Method(
        "ours: sweep, everything",
        "influence_core.engine",
        sweep_everything,
        "all norms, 8 directions, sketch 256",
    ),
    Method(
        "ours: looking at the model", "influence_core.engine", looked_at, "part of each sweep, once, any n"
    ),
    Method("ours: sweep, one direction", "influence_core.engine", sweep_one, "all norms, 1 direction"),
    Method("ours: directional", "influence_core.engine", directional, "one direction, no norms"),
    Method("loop over samples", "torch", sample_loop),
    Method("torch.func vmap(grad)", "torch", vmap_grad),
    Method("torch.func jvp", "torch", forward_mode, "one direction, no norms"),
]
