"""Reopening of a run's model and data, to compute more for the run.

A run keeps the paths of its inputs and their fingerprints (SHA-256 over all content). The inputs are opened by the same
safe readers with the original options, and compared. Any difference is an error: old scores are never mixed with new
weights.
"""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from influence_core.engine.losses import LOSSES, Loss
from influence_core.engine.study import Study
from influence_core.errors import RunError
from influence_core.inputs import facts as identity
from influence_core.inputs.described import adapted
from influence_core.inputs.fingerprints import fingerprint
from influence_core.run_files import seals

if TYPE_CHECKING:
    from influence_core.data.dataset import Dataset
    from influence_core.run_files.tables import RunTables


@dataclass(frozen=True, slots=True)
class Inputs:
    """The model and the splits of a run, in the model's input format.

    Hold `lock` during every pass: a pass puts hooks on the model, and two at once would see each other's hooks.
    """

    model: nn.Module
    train: Any
    val: Any
    test: Any
    loss: str | Loss
    shared: bool = False
    """Whether other code holds the same model and may change it; false for a model opened from its file."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    studies: dict[tuple[str, tuple[str, ...]], Study] = field(default_factory=dict)
    """Studies of the model by precision and trainable parameters, filled on first use under the lock."""

    def split(self, name: str) -> Any:
        """Return the samples of "train", "val" or "test"; None when there are none."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]


def reopen(run: "RunTables") -> Inputs:
    """Open the model and the data of a run from their recorded paths.

    Raises:
        RunError: a path is not recorded or does not exist, or its content has another fingerprint.
        InfluenceError: a file cannot be read.
    """
    from influence_core.models import open_model
    from influence_core.models.model_json import read_preprocessing

    facts = run.description["inputs"]
    model = open_model(
        _input_path(run, "model"),
        architecture=facts["model"].get("architecture"),
        classes=run.classes,
        preprocessing=read_preprocessing(facts["model"].get("preprocessing"), "run.json"),
        weights_key=facts["model"].get("weights_key"),
    )
    check_model(run, model)
    dataset = reopen_dataset(run)
    return adopt(run, model, dataset.train, dataset.val, dataset.test, loss=_loss(run), shared=False)


def reopen_dataset(run: "RunTables") -> "Dataset":
    """Open the dataset of a run from its recorded path, with the recorded options and class order."""
    from influence_core.data import open_dataset
    from influence_core.inputs.pair import in_order

    dataset = open_dataset(_input_path(run, "dataset"), **_options(run))
    return in_order(dataset, run.classes)


def adopt(
    run: "RunTables",
    model: nn.Module,
    train: Any,
    val: Any,
    test: Any,
    *,
    loss: str | Loss = "cross_entropy",
    shared: bool = True,
) -> Inputs:
    """Return open models and splits as the run's inputs, after comparing their fingerprints with the run's.

    Raises:
        RunError: a fingerprint differs.
    """
    check_model(run, model)
    train, val, test = (
        adapted(identity.in_model_format(adapted(split), model)) for split in (train, val, test)
    )
    _compare(run, "dataset", fingerprint(train, val, test))
    return Inputs(model, train, val, test, loss, shared)


def check_model(run: "RunTables", model: nn.Module) -> None:
    """Raise RunError unless weights, architecture and preprocessing are those of the run."""
    _compare(run, "model", identity.model_facts(model)["fingerprint"])


def _compare(run: "RunTables", part: str, current: str) -> None:
    facts = run.description["inputs"][part]
    if current != facts["fingerprint"]:
        raise RunError(
            f"The {part} of the run {run.name} has changed: its fingerprint is {current[:12]}, expected "
            f"{facts['fingerprint'][:12]} ({facts.get('path') or 'given from Python'}). Scores of one cannot be "
            f"explained with another: restore the original {part}, or analyse again."
        )


def _input_path(run: "RunTables", part: str) -> Path:
    path = run.description["inputs"][part].get("path")
    if not path:
        raise RunError(
            f"The run {run.name} has no path of its {part}, because it was made from objects in Python. "
            "Expected a path in run.json: call run.adopt(model, train, val, test) with the same objects first."
        )
    if not Path(path).exists():
        raise RunError(
            f"The {part} of the run {run.name} is no longer at {path}. Put it back, or call "
            "run.adopt(model, train, val, test) with the same ones."
        )
    return Path(path)


def _options(run: "RunTables") -> dict[str, Any]:
    """Return the options of open_dataset: from run.json, or for older analyses from job.json."""
    options = run.description["inputs"]["dataset"].get("options")
    if options is None and (run.path / "job.json").exists():
        options = seals.read_json(run.path / "job.json").get("dataset_options")
    return dict(options or {})


def _loss(run: "RunTables") -> str:
    name = run.description["settings"].get("loss", "cross_entropy")
    if name not in LOSSES:
        raise RunError(
            f"The run {run.name} was made with the loss '{name}', a custom function that is stored in no file. "
            "Call run.adopt(model, train, val, test, loss=...) with it first."
        )
    return name
