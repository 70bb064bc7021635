"""Are the model and the data of a run still the ones it was made from? Only then may more be computed for it.

A run keeps where its inputs came from and their fingerprints (sha256 over all content). They are opened again by the
same safe readers, with the options of that time, and compared; whatever differs is an error, never a mixture of old
scores with new weights.
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
from influence_core.system import atomic

if TYPE_CHECKING:
    from influence_core.data.dataset import Dataset
    from influence_core.run_files.tables import RunTables


@dataclass(frozen=True, slots=True)
class Inputs:
    """The model and the splits of a run, in the form the model reads. Use `lock` around every pass: a pass puts hooks
    on the model, so two at once would see each other's."""

    model: nn.Module
    train: Any
    val: Any
    test: Any
    loss: str | Loss
    shared: bool = False
    """Others hold the same model and may change it; one that was opened from its file is ours alone."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    studies: dict[tuple[str, tuple[str, ...]], Study] = field(default_factory=dict)
    """What was found about the model, by precision and trainable parameters: filled at first use, under the lock."""

    def split(self, name: str) -> Any:
        """Samples of "train", "val" or "test"; None when there are none."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]


def reopen(run: "RunTables") -> Inputs:
    """Open model and data of a run again from where they were.

    Raises:
        RunError: their place is not known, or what lies there now has another fingerprint.
        InfluenceError: a file cannot be read.
    """
    from influence_core.models import open_model
    from influence_core.models.model_json import read_preprocessing

    facts = run.description["inputs"]
    model = open_model(
        _place(run, "model"),
        architecture=facts["model"].get("architecture"),
        classes=run.classes,
        preprocessing=read_preprocessing(facts["model"].get("preprocessing"), run.path / "run.json"),
    )
    check_model(run, model)
    dataset = reopen_dataset(run)
    return adopt(run, model, dataset.train, dataset.val, dataset.test, loss=_loss(run), shared=False)


def reopen_dataset(run: "RunTables") -> "Dataset":
    """Open the dataset of a run again from where it was: with the options and the class order of that time."""
    from influence_core.data import open_dataset
    from influence_core.inputs.pair import in_order

    dataset = open_dataset(_place(run, "dataset"), **_options(run))
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
    """Take a model and splits that are open already, after comparing their fingerprints with the run's."""
    check_model(run, model)
    train, val, test = (adapted(identity.fitted(split, model)) for split in (train, val, test))
    _compare(run, "dataset", fingerprint(train, val, test))
    return Inputs(model, train, val, test, loss, shared)


def check_model(run: "RunTables", model: nn.Module) -> None:
    """Raise RunError unless these are the weights, the architecture and the preprocessing the run was made with."""
    _compare(run, "model", identity.model_facts(model)["fingerprint"])


def _compare(run: "RunTables", what: str, found: str) -> None:
    facts = run.description["inputs"][what]
    if found != facts["fingerprint"]:
        raise RunError(
            f"The {what} of the run {run.name} has changed: its fingerprint is {found[:12]}, expected "
            f"{facts['fingerprint'][:12]} ({facts.get('path') or 'given from Python'}). Scores of one cannot be "
            f"explained with another: put the {what} back as it was, or analyse again."
        )


def _place(run: "RunTables", what: str) -> Path:
    place = run.description["inputs"][what].get("path")
    if not place:
        raise RunError(
            f"The run {run.name} does not know where its {what} lies, because it was made from objects in Python. "
            "Expected a path in run.json: call run.adopt(model, train, val, test) with the same objects first."
        )
    if not Path(place).exists():
        raise RunError(
            f"The {what} of the run {run.name} is no longer at {place}. Put it back, or call "
            "run.adopt(model, train, val, test) with the same ones."
        )
    return Path(place)


def _options(run: "RunTables") -> dict[str, Any]:
    """How the dataset was opened: written by newer analyses into run.json, else into the job."""
    written = run.description["inputs"]["dataset"].get("options")
    if written is None and (run.path / "job.json").exists():
        written = atomic.read_json(run.path / "job.json").get("dataset_options")
    return dict(written or {})


def _loss(run: "RunTables") -> str:
    name = run.description["settings"].get("loss", "cross_entropy")
    if name not in LOSSES:
        raise RunError(
            f"The run {run.name} was made with the loss '{name}', a function of its author that no file holds. "
            "Call run.adopt(model, train, val, test, loss=...) with it first."
        )
    return name
