"""The request for an analysis: its inputs, checked, and their description for run.json."""

import platform
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
from influence_core.system.report import Report

SKETCH = 256


@dataclass(frozen=True, slots=True)
class Request:
    """The inputs of one analysis: a model, three splits in the form the model reads, and the settings."""

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
    report: Report
    classes: tuple[str, ...]
    evidence: tuple[str, ...]
    checkpoints: tuple[Member, ...]
    notes: tuple[str, ...]
    """What was said while the model was opened, and what its outputs say against it."""


def checked_inputs(model: nn.Module, train: Any, val: Any, test: Any) -> tuple[str, ...]:
    """Check the splits, each Samples, Described or None, and return the class names.

    Raises:
        DataError, ModelError: too few samples to score or to measure by, or labels that are not the model's classes.
    """
    # a single training sample has no neighbour and nothing to stand out from
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


def description(request: Request, source: Any) -> dict[str, Any]:
    """What run.json holds about a new run: inputs, settings, versions, seed and preflight."""
    name = getattr(source, "name", None) or request.folder.name
    return {
        "name": name,
        "inputs": {
            "dataset": {
                "path": str(Path(source.path).resolve()) if source is not None else None,
                "name": name,
                "fingerprint": fingerprint(request.train, request.val, request.test),
                "classes": list(request.classes),
                "n_train": len(request.train),
                "n_val": len(request.val) if request.val is not None else 0,
                "n_test": len(request.test) if request.test is not None else 0,
                "set_aside": getattr(source, "set_aside", 0),
                "notes": list(getattr(source, "notes", ())),
                "options": dict(getattr(source, "options", {})),
            },
            "model": identity.model_facts(request.model),
        },
        "settings": {
            "objectives": [o.name for o in request.objectives],
            "loss": request.loss
            if isinstance(request.loss, str)
            else getattr(request.loss, "__qualname__", "own function"),
            "precision": request.precision,
            "batch_size": request.batch_size,
            "sketch": SKETCH,
            "evidence_layers": list(request.evidence),
            **({"checkpoints": [one.mark for one in request.checkpoints]} if request.checkpoints else {}),
        },
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "scikit-learn", "umap-learn", "numpy")},
        },
        "seed": request.seed,
        "preflight": preflight(request.model, precision=request.precision).to_json(),
    }
