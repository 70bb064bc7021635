"""Facts about a model and its splits: classes, groups, fingerprints, outputs."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from influence_core.engine import batches as loop
from influence_core.engine.losses import logits_in
from influence_core.engine.watching.watch import scoring
from influence_core.errors import DataError, ModelError
from influence_core.inputs.fingerprints import weights_fingerprint
from influence_core.models.preprocessing import described, preprocessed

READ_AT_ONCE = 256


def in_model_format(samples: Any, model: nn.Module) -> Any:
    """Return our samples in the input format of our model; other datasets or models change nothing."""
    preprocessing = getattr(model, "preprocessing", None)
    if samples is None or preprocessing is None or not hasattr(samples, "resized"):
        return samples
    return preprocessed(samples, preprocessing)


def classes_of(model: nn.Module, samples: Any) -> tuple[str, ...] | None:
    """Return class names from the model, else from the samples, else None."""
    for owner in (model, samples):
        classes = getattr(owner, "classes", None)
        if classes is not None:
            return tuple(str(name) for name in classes)
    return None


def class_names(model: nn.Module, samples: Any) -> tuple[str, ...]:
    """Return class names, or the numbers of the model's outputs as text where there are no names.

    Raises:
        ModelError: the model does not return one number per class, or not as many as there are names.
    """
    named = classes_of(model, samples)
    outputs = logits_of(model, Subset(samples, [0]))
    if outputs.ndim != 2:
        raise ModelError(
            f"The model returns shape {tuple(outputs.shape)} for one sample; expected (1, c), one number per class. "
            "Analyses are for classifiers; only `sweep` takes any output and a custom loss."
        )
    if named is not None and len(named) != outputs.shape[1]:
        raise ModelError(
            f"The model has {outputs.shape[1]} outputs, but {_few(named)} are the class names. Expected one name per "
            "output: open the model that was trained on these classes."
        )
    return named or tuple(str(number) for number in range(outputs.shape[1]))


def model_facts(model: nn.Module) -> dict[str, Any]:
    """Return the facts about the model for run.json."""
    path = getattr(model, "path", None)
    preprocessing = getattr(model, "preprocessing", None)
    return {
        "path": str(path.resolve()) if path is not None else None,
        "preprocessing": described(preprocessing) if preprocessing is not None else None,
        "architecture": getattr(model, "architecture", type(model).__name__),
        "weights_key": getattr(model, "weights_key", None),
        "fingerprint": getattr(model, "fingerprint", None) or weights_fingerprint(model),
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }


def checked_classes(model: nn.Module, train: Any, *others: Any) -> tuple[str, ...]:
    """Return the class names, after checking that model and data have the same and every label is one of them.

    Raises:
        ModelError: the classes differ, or their number is not that of the outputs.
        DataError: a label is not a class number.
    """
    ours, theirs = getattr(model, "classes", None), getattr(train, "classes", None)
    if ours is not None and theirs is not None and tuple(ours) != tuple(theirs):
        raise ModelError(
            f"The model's classes are {_few(ours)}, the dataset's are {_few(theirs)}. Expected the same names in the "
            "same order: open the dataset with classes=model.classes."
        )
    names = class_names(model, train)
    for split in (train, *others):
        if len(wrong := np.flatnonzero((split.labels < 0) | (split.labels >= len(names)))):
            raise DataError(_no_classes(split, wrong, len(names)))
    return names


def _no_classes(split: Any, wrong: np.ndarray, classes: int) -> str:
    first, advice = wrong[0], "Renumber the labels, or open the model that was trained on them."
    if split.labels.max() < classes:
        advice = "Leave samples without a label out: torch.utils.data.Subset(dataset, rows)."
    return (
        f"Labels run from {split.labels.min()} to {split.labels.max()}; expected 0 to {classes - 1}, as the model has "
        f"{classes} outputs. {len(wrong):,} of {len(split):,} are none of them, first sample {split.ids[first]} with "
        f"{split.labels[first]}. {advice}"
    )


def _few(names: Any) -> str:
    listed = [str(name) for name in names]
    return f"{len(listed)} ({', '.join(listed[:3])}{', ...' if len(listed) > 3 else ''})"


def logits_of(model: nn.Module, samples: Dataset) -> Tensor:
    """Return the outputs (n, c) in evaluation mode; ModelError when they are not one number a class."""
    with scoring(model), torch.no_grad():
        parts = [
            logits_in(loop.outputs_of(model, batch)).cpu()
            for batch in loop.batches(samples, READ_AT_ONCE, like=model)
        ]
    return torch.cat(parts)
