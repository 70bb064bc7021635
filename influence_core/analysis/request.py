"""What is analysed, and how? The inputs of one analysis, checked, and what run.json says of them."""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from influence_core.engine.losses import Loss
from influence_core.engine.preflight import preflight
from influence_core.errors import DataError
from influence_core.inputs import facts as identity
from influence_core.inputs.fingerprints import fingerprint
from influence_core.objectives import Objective
from influence_core.scores.influence.ensembles import Member

SKETCH = 256
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Job:
    """What is analysed: a model, three splits in the form the model reads, and how."""

    model: nn.Module
    train: Any
    val: Any
    test: Any
    objectives: tuple[Objective, ...]
    loss: str | Loss
    precision: str
    batch_size: int | str
    seed: int
    folder: Path
    report: Progress
    classes: tuple[str, ...]
    evidence: tuple[str, ...]
    checkpoints: tuple[Member, ...]


def checked_inputs(model: nn.Module, train: Any, val: Any, test: Any) -> tuple[str, ...]:
    """The class names of splits that are Samples, Described or None.

    Raises:
        DataError, ModelError: there is nothing to score or to measure by, or the labels are not the model's classes.
    """
    # one training sample alone has no neighbour and nothing to stand out from
    for name, split, fewest in (("training", train, 2), ("validation", val, 1)):
        if split is None and name == "validation":
            continue
        if split is None or len(split) < fewest:
            raise DataError(
                f"The {name} split has {len(split) if split is not None else 'no'} samples; expected at least "
                f"{fewest}. Influence needs training samples to score and validation samples to measure them by; "
                "without any, give val=None."
            )
    return identity.checked_classes(
        model, train, *(split for split in (val, test) if split is not None and len(split))
    )


def description(job: Job, source: Any) -> dict[str, Any]:
    name = getattr(source, "name", None) or job.folder.name
    return {
        "name": name,
        "inputs": {
            "dataset": {
                "path": str(Path(source.path).resolve()) if source is not None else None,
                "name": name,
                "fingerprint": fingerprint(job.train, job.val, job.test),
                "classes": list(job.classes),
                "n_train": len(job.train),
                "n_val": len(job.val) if job.val is not None else 0,
                "n_test": len(job.test) if job.test is not None else 0,
                "notes": list(getattr(source, "notes", ())),
                "options": dict(getattr(source, "options", {})),
            },
            "model": identity.model_facts(job.model),
        },
        "settings": {
            "objectives": [o.name for o in job.objectives],
            "loss": job.loss
            if isinstance(job.loss, str)
            else getattr(job.loss, "__qualname__", "own function"),
            "precision": job.precision,
            "batch_size": job.batch_size,
            "sketch": SKETCH,
            "evidence_layers": list(job.evidence),
            **({"checkpoints": [member.mark for member in job.checkpoints]} if job.checkpoints else {}),
        },
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "scikit-learn", "umap-learn", "numpy")},
        },
        "seed": job.seed,
        "preflight": preflight(job.model, precision=job.precision).to_json(),
    }
