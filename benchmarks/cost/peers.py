"""The same products by other libraries: one function a library, as its documentation says.

Each gets the model in evaluation mode and the same batches. Anything else that a library needs (wrapping, factor files)
is prepared outside the measured time, and every departure from its defaults is in favour of the library.
"""

import logging
import tempfile
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import Subset

from benchmarks.cost.methods import METHODS, Method, Run, loader
from benchmarks.cost.models import Task, sample_losses


class PerSampleLoss(nn.Module):
    """A loss with the attribute `reduction`, which captum reads."""

    def __init__(self, reduction: str) -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        losses = sample_losses(outputs, labels)
        return losses if self.reduction == "none" else losses.sum()


def _test_batch(task: Task) -> tuple[Tensor, Tensor]:
    inputs, labels = task.held_out[:1]
    return inputs, labels


def captum_tracincp(task: Task) -> Run:
    """captum's exact TracInCP by default: one checkpoint of learning rate 1, a backward pass for every sample."""
    return _tracincp(task, "none")


def captum_sample_wise(task: Task) -> Run:
    """captum's TracInCP with sample_wise_grads_per_batch: hooks on Linear and Conv2d."""
    return _tracincp(task, "sum")


def _tracincp(task: Task, reduction: str) -> Run:
    from captum.influence import TracInCP

    tracin = TracInCP(
        task.model,
        loader(task.train, task.batch),
        checkpoints=["as it is"],
        checkpoints_load_func=lambda model, checkpoint: 1.0,
        loss_fn=PerSampleLoss(reduction),
        batch_size=None,
        sample_wise_grads_per_batch=reduction == "sum",
    )
    return lambda: tracin.influence(_test_batch(task))[0]


def captum_fast(task: Task) -> Run:
    """captum's TracInCPFast: the last linear layer alone."""
    from captum.influence import TracInCPFast

    tracin = TracInCPFast(
        task.model,
        task.model.get_submodule(task.head),
        loader(task.train, task.batch),
        checkpoints=["as it is"],
        checkpoints_load_func=lambda model, checkpoint: 1.0,
        loss_fn=PerSampleLoss("sum"),
        batch_size=None,
    )
    return lambda: tracin.influence(_test_batch(task))[0]


def opacus_grad_sample(task: Task) -> Run:
    """opacus GradSampleModule. It records in training mode only, so modules with direct parameters are in that mode."""
    from opacus import GradSampleModule

    model = task.model
    wrapped = GradSampleModule(model, loss_reduction="sum", strict=True)
    for module in model.modules():
        module.training = any(True for _ in module.parameters(recurse=False))

    def gradients(inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        wrapped.zero_grad(set_to_none=True)
        sample_losses(wrapped(inputs), labels).sum().backward()
        return {name: _grad_sample(name, value, len(inputs)) for name, value in model.named_parameters()}

    def run() -> Tensor:
        direction = {name: value[0] for name, value in gradients(*_test_batch(task)).items()}
        parts = []
        for batch in loader(task.train, task.batch):
            found = gradients(*batch)
            parts.append(sum(found[name].flatten(1) @ v.flatten() for name, v in direction.items()))
        wrapped.zero_grad(set_to_none=True)
        return torch.cat(parts)

    return run


def _grad_sample(name: str, value: Any, b: int) -> Tensor:
    found = getattr(value, "grad_sample", None)
    if found is None:
        raise NotImplementedError(f"opacus left no per-sample gradient for the parameter '{name}'")
    if len(found) != b:
        raise NotImplementedError(f"opacus gave {len(found)} rows for '{name}' and a batch of {b}")
    return found


def dattri_exact(task: Task) -> Run:
    """dattri's TracIn without the random projection, which its constructor cannot switch off."""
    attributor = _dattri(task)
    attributor.projector_kwargs = None
    return _dattri_run(task, attributor)


def dattri_projected(task: Task) -> Run:
    """dattri's TracIn by default: gradients projected to 512 numbers."""
    return _dattri_run(task, _dattri(task))


def _dattri(task: Task) -> Any:
    from dattri.algorithm.tracin import TracInAttributor
    from dattri.task import AttributionTask

    def loss(parameters: dict[str, Tensor], sample: Sequence[Tensor]) -> Tensor:
        outputs = functional_call(task.model, parameters, (sample[0].unsqueeze(0),))
        return sample_losses(outputs, sample[1].unsqueeze(0)).sum()

    described = AttributionTask(loss_func=loss, model=task.model, checkpoints=task.model.state_dict())
    return TracInAttributor(described, weight_list=torch.ones(1), normalized_grad=False, device="cpu")


def _dattri_run(task: Task, attributor: Any) -> Run:
    def run() -> Tensor:
        test = loader(Subset(task.held_out, [0]), 1)
        return attributor.attribute(loader(task.train, task.batch), test)[:, 0].detach()

    return run


def kronfluence_identity(task: Task) -> Run:
    """kronfluence's pairwise scores with identity factors, which it fits and stores beforehand."""
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments

    described = _kronfluence_task()
    model = prepare_model(task.model, described)
    folder = tempfile.TemporaryDirectory()
    analyzer = Analyzer(
        "bench",
        model,
        described,
        cpu=True,
        disable_tqdm=True,
        output_dir=folder.name,
        log_level=logging.ERROR,
    )
    fit = {"factor_args": FactorArguments(strategy="identity"), "per_device_batch_size": task.batch}
    analyzer.fit_all_factors("identity", dataset=task.train, **fit)

    def run() -> Tensor:
        analyzer.compute_pairwise_scores(
            "scores",
            factors_name="identity",
            query_dataset=Subset(task.held_out, [0]),
            train_dataset=task.train,
            per_device_query_batch_size=1,
            per_device_train_batch_size=task.batch,
            overwrite_output_dir=True,
        )
        assert folder  # the folder lives as long as this function
        return analyzer.load_pairwise_scores("scores")["all_modules"][0].float()

    return run


def _kronfluence_task() -> Any:
    from kronfluence.task import Task as Described

    class Products(Described):
        def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
            return sample_losses(model(batch[0]), batch[1]).sum()

        def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
            return self.compute_train_loss(batch, model)

    return Products()


PEERS = [
    Method("captum TracInCP", "captum.influence", captum_tracincp),
    Method("captum TracInCP, sample-wise", "captum.influence", captum_sample_wise, "Linear and Conv2d only"),
    Method("captum TracInCPFast", "captum.influence", captum_fast, "last layer only"),
    Method("opacus GradSampleModule", "opacus", opacus_grad_sample),
    Method("dattri TracIn", "dattri.algorithm.tracin", dattri_exact, "projection switched off from outside"),
    Method("dattri TracIn, default", "dattri.algorithm.tracin", dattri_projected, "random projection to 512"),
    Method("kronfluence identity", "kronfluence", kronfluence_identity, "Linear and Conv2d only"),
]

ALL = {method.name: method for method in [*METHODS, *PEERS]}


def quiet() -> None:
    """Silence the warnings and progress of the libraries, which are not part of the table."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
