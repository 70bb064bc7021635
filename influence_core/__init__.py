"""Public API of Influence Explorer: the training samples that hurt a model, the reasons, and the effect of repairs.

    import influence_core as ic
    dataset = ic.open_dataset("sample_data/fashion")
    model = ic.open_model("sample_data/fashion/model.safetensors")
    run = ic.analyze(model, dataset.train, dataset.val, out="runs/fashion")

Letters in all docstrings: n training samples, m validation samples, p trainable parameters, c classes, l layers,
k objectives, t positions inside one sample, q sketch dimensions, b samples of one batch.
Axis order: training samples first: (n,), (n, k), (n, q).
Sign: positive = helpful, one gradient step on the sample lowers the objective. Norms and outlier scores are not
signed: large = unusual. suspicion is in [0, 1], 1 = the given label is certainly wrong.

Names are imported on first use: a process that only watches a job never waits for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from influence_core.analysis.analyze import analyze
    from influence_core.data import Dataset, Samples, open_dataset
    from influence_core.engine import (
        Directional,
        Sweep,
        directional,
        measured_directional,
        per_sample_gradients,
        sweep,
    )
    from influence_core.judging.detection import detection_table
    from influence_core.models import OpenedModel, Preprocessing, open_model
    from influence_core.objectives import Objective, objective_gradient
    from influence_core.repair.repairs import Repair, repaired
    from influence_core.run_files.listing import list_runs
    from influence_core.runs.run import Run, open_run
    from influence_core.scores.influence.layer_aware import layer_aware_influence
    from influence_core.training.dynamics import training_dynamics
    from influence_core.training.online_valuation import OnlineValuation
    from influence_core.training.recipe import Recipe
    from influence_core.training.recorder import Recorder, Recording, open_recording, recording_folder
    from influence_core.verification.results import Verification, list_verifications, open_verification
    from influence_core.verification.verify import verify

_HOMES = {
    "Dataset": "data",
    "Directional": "engine",
    "Objective": "objectives",
    "OnlineValuation": "training.online_valuation",
    "OpenedModel": "models",
    "Preprocessing": "models",
    "Recipe": "training.recipe",
    "Recorder": "training.recorder",
    "Recording": "training.recorder",
    "Repair": "repair.repairs",
    "Run": "runs.run",
    "Samples": "data",
    "Sweep": "engine",
    "Verification": "verification.results",
    "analyze": "analysis.analyze",
    "detection_table": "judging.detection",
    "directional": "engine",
    "layer_aware_influence": "scores.influence.layer_aware",
    "list_runs": "run_files.listing",
    "list_verifications": "verification.results",
    "measured_directional": "engine",
    "objective_gradient": "objectives",
    "open_dataset": "data",
    "open_model": "models",
    "open_recording": "training.recorder",
    "open_run": "runs.run",
    "open_verification": "verification.results",
    "per_sample_gradients": "engine",
    "recording_folder": "training.recorder",
    "repaired": "repair.repairs",
    "sweep": "engine",
    "training_dynamics": "training.dynamics",
    "verify": "verification.verify",
}

__all__ = [
    "Dataset",
    "Directional",
    "Objective",
    "OnlineValuation",
    "OpenedModel",
    "Preprocessing",
    "Recipe",
    "Recorder",
    "Recording",
    "Repair",
    "Run",
    "Samples",
    "Sweep",
    "Verification",
    "analyze",
    "detection_table",
    "directional",
    "layer_aware_influence",
    "list_runs",
    "list_verifications",
    "measured_directional",
    "objective_gradient",
    "open_dataset",
    "open_model",
    "open_recording",
    "open_run",
    "open_verification",
    "per_sample_gradients",
    "recording_folder",
    "repaired",
    "sweep",
    "training_dynamics",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(
            f"module 'influence_core' has no attribute '{name}'; it offers {', '.join(__all__)}"
        )
    # `ic.sweep` is the function: once engine.sweep is imported, the attribute must not become the submodule
    value = getattr(import_module(f"influence_core.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
