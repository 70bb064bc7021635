"""What do we know about somebody's model and dataset? Ids, labels, classes and fingerprints of ours and of any other.

Our own Samples and OpenedModel carry all of it. Any other map-style dataset gets its row numbers as ids and is read
once for its labels; any other module is known by its weights.
"""

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from influence_core.data import Samples
from influence_core.engine import batches as loop
from influence_core.engine.watching.watch import scoring
from influence_core.errors import DataError, ModelError
from influence_core.models.preprocessing import described
from influence_core.models.preprocessing import fitted as as_trained

READ_AT_ONCE = 256


def fitted(samples: Any, model: nn.Module) -> Any:
    """Our samples in the channels and size our model expects; anything else as it is."""
    preprocessing = getattr(model, "preprocessing", None)
    if samples is None or preprocessing is None or not hasattr(samples, "fitted"):
        return samples
    return as_trained(samples, preprocessing)


def ids_of(samples: Any) -> tuple[str, ...]:
    """The samples' own ids, or their row numbers as text."""
    return samples.ids if isinstance(samples, Samples) else tuple(str(row) for row in range(len(samples)))


def labels_of(samples: Any) -> np.ndarray:
    """Given labels (n,) int64, from the items: another dataset's `labels` may stand before its target transform."""
    if isinstance(samples, Samples):
        return samples.labels
    labels = [int(samples[row][1]) for row in range(loop.count(samples))]
    return np.asarray(labels, dtype=np.int64)


def classes_of(model: nn.Module, samples: Any) -> tuple[str, ...] | None:
    """Class names from the model, else from the samples, else None: the numbers then speak for themselves."""
    for owner in (model, samples):
        found = getattr(owner, "classes", None)
        if found is not None:
            return tuple(str(name) for name in found)
    return None


def class_names(model: nn.Module, samples: Any) -> tuple[str, ...]:
    """Class names, or the numbers of the model's outputs as text where nobody has named them."""
    named = classes_of(model, samples)
    outputs = logits_of(model, Subset(samples, [0]))
    if outputs.ndim != 2:
        raise ModelError(
            f"The model returns shape {tuple(outputs.shape)} for one sample; expected (1, c), one number a class. "
            "Analyses are for classifiers; `sweep` alone takes any output and a loss of your own."
        )
    if named is not None and len(named) != outputs.shape[1]:
        raise ModelError(
            f"The model has {outputs.shape[1]} outputs, but {_few(named)} are the class names. Expected one name an "
            "output: open the model that was trained on these classes."
        )
    return named or tuple(str(number) for number in range(outputs.shape[1]))


def groups_of(samples: Any) -> pd.DataFrame | None:
    """Group columns, one row a sample; None where there are none."""
    groups = getattr(samples, "groups", None)
    return groups if groups is not None and len(groups.columns) else None


def group_names(samples: Any) -> tuple[str, ...]:
    """Names of the group columns."""
    groups = groups_of(samples)
    return tuple(groups.columns) if groups is not None else ()


def fingerprint(*splits: Any) -> str:
    """SHA-256 over ALL content of the splits: every input, every label, in order."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(b"split" if split is not None else b"none")
        if split is not None:
            digest.update((getattr(split, "fingerprint", None) or _content(split)).encode())
    return digest.hexdigest()


def _content(samples: Dataset) -> str:
    digest = hashlib.sha256()
    for batch in loop.batches(samples, READ_AT_ONCE, like=nn.Identity()):
        _absorb(digest, batch.inputs)
        _absorb(digest, batch.labels)
    return digest.hexdigest()


def _absorb(digest: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        digest.update(f"{tuple(value.shape)}:{value.dtype};".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    elif isinstance(value, dict):
        for key in sorted(value):
            digest.update(str(key).encode())
            _absorb(digest, value[key])
    elif isinstance(value, list | tuple):
        for part in value:
            _absorb(digest, part)
    else:
        digest.update(repr(value).encode())


def model_facts(model: nn.Module) -> dict[str, Any]:
    """What run.json says of the model."""
    path = getattr(model, "path", None)
    preprocessing = getattr(model, "preprocessing", None)
    return {
        "path": str(path.resolve()) if path is not None else None,
        "preprocessing": described(preprocessing) if preprocessing is not None else None,
        "architecture": getattr(model, "architecture", type(model).__name__),
        "fingerprint": getattr(model, "fingerprint", None) or _weights(model),
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }


def _weights(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        _absorb(digest, value)
    return digest.hexdigest()


def check_labels(model: nn.Module, train: Any, *others: Any) -> None:
    """Raise unless model and data speak of the same classes and every label is one of them."""
    ours, theirs = getattr(model, "classes", None), getattr(train, "classes", None)
    if ours is not None and theirs is not None and tuple(ours) != tuple(theirs):
        raise ModelError(
            f"The model's classes are {_few(ours)}, the dataset's are {_few(theirs)}. Expected the same names in the "
            "same order: open the dataset with classes=model.classes."
        )
    names = class_names(model, train)
    for split in (train, *others):
        labels = labels_of(split)
        if labels.min() < 0 or labels.max() >= len(names):
            raise DataError(
                f"Labels run from {labels.min()} to {labels.max()}; expected 0 to {len(names) - 1}, because the model "
                f"has {len(names)} outputs. Renumber the labels, or open the model that was trained on them."
            )


def _few(names: Any) -> str:
    listed = [str(name) for name in names]
    return f"{len(listed)} ({', '.join(listed[:3])}{', ...' if len(listed) > 3 else ''})"


def logits_of(model: nn.Module, samples: Dataset) -> Tensor:
    """Outputs (n, c) in evaluation mode, by plain inference."""
    with scoring(model), torch.no_grad():
        parts = [
            loop.forward(model, batch.inputs).cpu()
            for batch in loop.batches(samples, READ_AT_ONCE, like=model)
        ]
    return torch.cat(parts)
