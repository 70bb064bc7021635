"""Losses of single samples: functions (outputs, labels) -> (b,), one number a sample, never averaged.

An average over the batch would make a sample's gradient depend on the batch size, by exactly the factor 1/b.
Labels may be of any whole-number format, of shape (b,), (b, 1) or one-hot (b, c); what cannot be a class is refused.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from influence_core.engine.batches import Batch, numbers_of
from influence_core.engine.given_samples import described
from influence_core.errors import DataError, InfluenceError, ModelError
from influence_core.system import scarce_memory

Loss = Callable[[Any, Tensor], Tensor]

IGNORED = -100
"""Label of a position that cross-entropy ignores: torch's default."""


def _cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Classification, outputs (b, c), labels (b,) of classes; for (b, t, c) and (b, t) the mean over positions.

    Positions are laid end to end: with classes moved to the second axis torch walks memory in strides of c, which took
    three times as long (1,000 words, 64 texts of 64 tokens: 10.4 ms and 3.5 ms).

    Raises:
        InfluenceError: labels of other positions than the outputs: laid end to end they would meet those of others.
        ModelError: outputs that are not one number a class.
    """
    outputs = logits_in(outputs)
    labels = class_numbers(labels, outputs)
    if outputs.ndim == 2:
        return functional.cross_entropy(outputs, labels, reduction="none")
    if labels.shape != outputs.shape[:-1]:
        raise InfluenceError(
            f"Labels of shape {tuple(labels.shape)} do not fit outputs of shape {tuple(outputs.shape)}; expected "
            f"{tuple(outputs.shape[:-1])}, samples first and one class a position. Use a loss of your own for another "
            "order of axes."
        )
    losses = functional.cross_entropy(outputs.flatten(0, -2), labels.flatten(), reduction="none")
    return losses.view(labels.shape).flatten(1).mean(1)


def class_numbers(labels: Tensor, outputs: Tensor) -> Tensor:
    """Labels as cross-entropy takes them: (b, 1) as (b,), whole numbers as int64; a share of each class stays float."""
    if outputs.ndim == 2 and labels.shape == (len(outputs), 1):
        labels = labels.flatten()
    if labels.shape == outputs.shape:
        return labels.to(outputs.dtype)
    return labels.to(torch.int64)


def as_labels(batch: Batch) -> Tensor:
    """Class numbers (b,) int64 of labels of shape (b,), (b, 1) or one-hot (b, c); any others are a DataError."""
    labels = batch.labels
    labels = labels.flatten() if labels.numel() == len(batch) else labels
    if labels.ndim == 2 and bool(((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all()):
        return labels.long().argmax(1)
    if labels.ndim != 1:
        raise DataError(
            f"The labels of {batch.named()} have shape {tuple(labels.shape)}; expected one class number per sample, or "
            "one-hot rows. Return (input, class number) from the dataset."
        )
    if labels.is_floating_point() and len(bad := (labels != labels.round()).nonzero()):
        raise DataError(_fraction(float(labels[bad[0, 0]]), batch.named(int(bad[0, 0]))))
    return labels.to(torch.int64)


def _fraction(label: float, which: str) -> str:
    return (
        f"The label of {which} is {label:g}; expected a class number, whole and from 0 on. Measurements need a loss of "
        'their own, such as sweep(..., loss="squared_error").'
    )


HOOK = "model.register_forward_hook(lambda module, args, output: {})"


def logits_in(outputs: Any) -> Tensor:
    """The outputs, if they are one number a class; else raises ModelError with the line to write."""
    if not isinstance(outputs, Tensor):
        raise ModelError(no_tensor(outputs))
    if not outputs.is_floating_point():
        raise ModelError(
            f"The model returns {described(outputs)}, whole numbers; expected logits (b, c), one number a class. Leave "
            "argmax and rounding out of its forward."
        )
    if outputs.ndim > 3 and outputs.shape[1] > 1 and outputs[0].numel() == outputs.shape[1]:
        raise ModelError(
            f"The model returns shape {tuple(outputs.shape)}; expected logits (b, c), without axes of length 1 behind "
            f"the classes: {HOOK.format('output.flatten(1)')}."
        )
    if outputs.ndim < 2 or outputs.shape[-1] == 1:
        zero_beside = "torch.stack([torch.zeros_like(output), output], 1)"
        if outputs.ndim > 1:
            zero_beside = "torch.cat([torch.zeros_like(output), output], -1)"
        raise ModelError(
            f"The model returns shape {tuple(outputs.shape)}, one number a sample; cross-entropy needs one number per "
            "class, two or more. Of one logit for class 1, a zero for class 0 beside it makes two, with the same "
            f'probabilities and gradients: {HOOK.format(zero_beside)}. For regression, loss="squared_error".'
        )
    return outputs


def no_tensor(outputs: Any) -> str:
    """Error message for a model that returns a tuple, a dictionary or an object instead of one tensor."""
    names = list(outputs) if isinstance(outputs, dict) else getattr(outputs, "_fields", None)
    names = names or list(getattr(outputs, "__dataclass_fields__", ()))
    name = next((word for word in ("logits", "out", "output", *names) if word in names), "")
    part = f"output[{name!r}]" if isinstance(outputs, dict) else f"output.{name}" if name else "output[0]"
    if not names and not isinstance(outputs, tuple | list):
        return (
            f"The model returns {described(outputs)}; expected one tensor of logits (b, c), with its gradients: leave "
            ".detach(), .numpy() and .tolist() out of its forward."
        )
    fields = f" ({', '.join(map(str, names))})" if names and not isinstance(outputs, dict) else ""
    return (
        f"The model returns {described(outputs)}{fields}; expected one tensor of logits (b, c). Name the part that "
        f"holds them: {HOOK.format(part)}, which a loss of your own then reads too."
    )


def _squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Regression: mean squared error over everything but the sample axis."""
    if not isinstance(outputs, Tensor) or outputs.numel() != labels.numel():
        raise InfluenceError(
            f"Labels of shape {tuple(labels.shape)} do not fit {described(outputs)}, the model's outputs; expected as "
            "many numbers. Use a loss of your own, loss=lambda outputs, labels: ..., one number a sample."
        )
    return (outputs - labels.reshape(outputs.shape).to(outputs)).square().reshape(len(outputs), -1).mean(1)


LOSSES: dict[str, Loss] = {"cross_entropy": _cross_entropy, "squared_error": _squared_error}


def loss_by_name(loss: str | Loss) -> Loss:
    """The loss of this name; a custom function is returned as it is, and `checked` checks its values at first use."""
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise InfluenceError(
            f"Loss '{loss}' is not known; expected one of {sorted(LOSSES)} or a function "
            "(outputs, labels) -> one loss a sample."
        )
    return LOSSES[loss]


def losses_of(loss: Loss, outputs: Any, batch: Batch) -> Tensor:
    """The loss of each sample of a batch, as the function returns them.

    Raises:
        DataError: a label that is none of the model's classes, with its sample.
        InfluenceError: the function's own code fails.
    """
    if getattr(loss, "__wrapped__", loss) is _cross_entropy:
        with torch._C.DisableTorchFunction():  # a watch of the model need not follow these
            check_classes(logits_in(outputs), batch)
    try:
        return loss(outputs, batch.labels)
    except InfluenceError:
        raise
    except Exception as error:
        if scarce_memory.is_cause(error):
            raise
        raise InfluenceError(
            f"The loss failed on {batch.named()}: {type(error).__name__}: {error}. It was called with outputs "
            f"{described(outputs)} and labels {described(batch.labels)}. Expected one number a sample from them: check "
            "the loss, or the labels that the dataset returns."
        ) from error


def check_classes(outputs: Tensor, batch: Batch) -> None:
    """Raise DataError unless the labels are classes of the outputs; of a training loop, they may be ignored ones too.

    Reads them on the CPU, where the dataset gave them, so that no device is waited for.
    """
    if batch.given is None and batch.labels.device.type != "cpu":
        return
    labels = numbers_of(batch.labels) if batch.given is None else batch.given
    classes = outputs.shape[-1]
    if labels.shape == outputs.shape and outputs.ndim == 2:
        _check_shares(labels, batch)
        return
    if outputs.ndim == 2 and labels.ndim > 1 and labels.shape[1:] != (1,):
        raise DataError(
            f"The labels of {batch.named()} have the shape {tuple(labels.shape[1:])} each; expected one class number, "
            f"or {classes} shares, as the model has {classes} outputs. Return (input, class number) from the dataset."
        )
    right = (labels >= 0) & (labels < classes) & (labels == np.floor(labels))
    if outputs.ndim > 2 or batch.samples is None:
        right |= labels == IGNORED
    if not right.all():
        raise DataError(_no_class(labels, right, classes, batch))


def _no_class(labels: np.ndarray, right: np.ndarray, classes: int, batch: Batch) -> str:
    row, label = int(np.argwhere(~right)[0, 0]), float(labels[~right][0])
    if not label.is_integer():
        return _fraction(label, batch.named(row))
    advice = "Renumber the labels from 0 on, or open the model that was trained on them."
    if label < 0:
        advice = "Leave samples without a label out: torch.utils.data.Subset(dataset, rows)."
    return (
        f"The label of {batch.named(row)} is {label:g}; expected 0 to {classes - 1}, as the model has {classes} "
        f"outputs. {advice}"
    )


def _check_shares(labels: np.ndarray, batch: Batch) -> None:
    """Raise DataError unless each row (b, c) is one-hot or holds the shares of the classes."""
    wrong = np.argwhere((labels < 0).any(1) | (np.abs(labels.astype(np.float64).sum(1) - 1) > 1e-3))
    if len(wrong):
        raise DataError(
            f"The label of {batch.named(int(wrong[0, 0]))} is {labels[wrong[0, 0]].tolist()}; expected one class, as a "
            "number or as a row of shares that sum to 1. Several classes at once need a loss of their own: "
            "loss=lambda outputs, labels: torch.nn.functional.binary_cross_entropy_with_logits("
            'outputs, labels.float(), reduction="none").mean(1).'
        )


def checked_losses(values: Tensor, b: int) -> Tensor:
    """The values, if they are one finite loss a sample; else raises InfluenceError."""
    return finite(shaped(values, b))


def shaped(values: Tensor, b: int) -> Tensor:
    """The values, if they are one loss a sample; else raises InfluenceError. Does not wait for the device.

    A scalar means that the batch was averaged.
    """
    if not isinstance(values, Tensor) or values.shape != (b,):
        raise InfluenceError(
            f"The loss returned {_shape(values)} for a batch of {b}; expected ({b},), one loss a sample. "
            "Use reduction='none' and reduce everything but the sample axis."
        )
    return values


def _shape(values: Any) -> str:
    return f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else described(values)


def finite(values: Tensor) -> Tensor:
    """The losses (n,), if all are finite; else raises InfluenceError. Waits for the device."""
    if not torch.isfinite(values).all():
        count = int((~torch.isfinite(values)).sum())
        raise InfluenceError(
            f"{count} of {len(values)} losses are NaN or infinite. Expected finite losses: check the weights, "
            "the preprocessing (mean and std) and the labels."
        )
    return values
