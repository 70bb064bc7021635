"""Exact influence of the training samples on ONE prediction, found among n samples in a moment.

    influence of training sample i on a prediction f = <g_i, grad f>        (Yang et al., TMLR 2026, arXiv 2405.17490)

f is the sample's own loss, or its margin between two classes, as something to be lowered, so positive = helpful. The
stored sketches of a run estimate all n products with one matrix product. The few that can be among the extremes are
scored again exactly by the engine, and what the shortlist may have missed is part of the answer (shortlist.py). The
same products, the other way round, show which samples a training sample helps and hurts: `affected`.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch

from influence_core.data.samples import to_tensor
from influence_core.data.storage.pictures import decode_picture, picture_values
from influence_core.engine.directions import sketch_of
from influence_core.engine.sweep import Direction
from influence_core.errors import DataError, RunError
from influence_core.inputs import facts as identity
from influence_core.inputs.reopened import Inputs, check_model
from influence_core.objectives import Margin, Objective, objective_gradient
from influence_core.run_files.tables import RunTables
from influence_core.runs.answers import TOP, Explanation
from influence_core.runs.exact_products import exact_products
from influence_core.runs.first_answer import LOSS, samples_of, stored_sketch, stored_sketches
from influence_core.runs.shortlist import Quality, shortlist

WORST = 5.0
"""Sketches are refused from this many times the usual error of sketches of their length."""
SPLITS = ("val", "test", "train")
"""Splits in which an id is searched, in this order."""

Objectives = str | tuple[str, str]
"""\"loss\", or two class names: the margin of the first over the second."""


@dataclass(frozen=True, slots=True)
class _Target:
    """One sample: its model input (no batch axis), its class number, and its place in the run."""

    value: Any
    label: int
    sample_id: str | None
    split: str
    position: int | None


def explain(
    run: RunTables,
    inputs: Inputs,
    sample: str | bytes | tuple[Any, Any],
    *,
    k: int = 10,
    objective: Objectives = "loss",
    split: str | None = None,
    label: str | None = None,
    top: int = TOP,
) -> Explanation:
    """The k training samples that help and the k that hurt one prediction most.

    Args:
        top: samples of each end to make sure of; at least k. Fewer are found sooner.
        inputs: Model and data of the run.
        sample: an id of the validation, test or training split (searched in this order); or a pair (input, label)
            such as dataset.val[0], label a class name or its number, or None for the class the model predicts; or the
            bytes of a PNG, JPEG, WebP or BMP file, for the class the model predicts or another `label`.
        objective: "loss", or ("coat", "shirt") for the margin of coat over shirt.
        split: "val", "test" or "train" when the same id is in several. A training sample is never listed itself.

    Raises:
        RunError: the id is unknown, or model or data are no longer those of the run.
        DataError: the bytes are no supported picture.
    """
    _check(run, inputs, k, top)
    with inputs.lock:
        if isinstance(sample, bytes):
            sample = _picture(inputs, sample), label
        target = _target(run, inputs, sample, split)
        return _explained(run, inputs, target, _margin_or_none(run, objective), "train", k, top)


def affected(run: RunTables, inputs: Inputs, sample_id: str, *, k: int = 10, top: int = TOP) -> Explanation:
    """The k validation samples that a step on a training sample helps, and the k it hurts most, by their loss.

    Test samples are left out on purpose: decisions that used them could no longer be judged on them.
    """
    _check(run, inputs, k, top)
    with inputs.lock:
        target = _target(run, inputs, sample_id, "train")
        return _explained(run, inputs, target, None, "val", k, top)


def _check(run: RunTables, inputs: Inputs, k: int, top: int) -> None:
    if not 1 <= top <= TOP:
        raise RunError(f"top is {top}; expected 1 to {TOP} samples of each kind.")
    if not 1 <= k <= top:
        raise RunError(f"k is {k}; expected 1 to {top} samples of each kind.")
    if inputs.shared:  # its other users may have trained the model since
        check_model(run, inputs.model)


def _target(run: RunTables, inputs: Inputs, sample: str | tuple[Any, Any], split: str | None) -> _Target:
    if not isinstance(sample, str):
        value, label = sample
        return _unnamed_target(run, inputs, value, label)
    for name in SPLITS if split is None else (split,):
        if (position := run.find(sample, name)) is not None:
            value, label = inputs.split(name)[position]
            return _Target(value, int(label), sample, name, position)
    where = "validation, test or training" if split is None else split
    raise RunError(
        f"The run {run.name} has no {where} sample {sample!r}. Its training ids look like {run.samples.index[0]!r}."
    )


def _unnamed_target(run: RunTables, inputs: Inputs, value: Any, label: Any) -> _Target:
    if label is None:
        label = identity.logits_of(inputs.model, _one(value, 0)).argmax()
    if isinstance(label, str):
        label = _class(run, label)
    return _Target(value, int(label), None, "given", None)


def _picture(inputs: Inputs, data: bytes) -> torch.Tensor:
    """An uploaded picture as the model reads its own, through the same careful decoder."""
    preprocessing = getattr(inputs.model, "preprocessing", None)
    if preprocessing is None or preprocessing.size is None:
        raise DataError(
            "This model reads no pictures. Expected a model opened with a picture size, such as 28 x 28 pixels."
        )
    try:
        picture = decode_picture(data)
    except DataError as error:
        raise DataError(f"The picture cannot be read: {error}.") from error
    return to_tensor(picture_values(picture, preprocessing.channels, preprocessing.size))


def _one(value: Any, label: int) -> Any:
    """A dataset of one sample: a list is one."""
    return [(value, label)]


def _margin_or_none(run: RunTables, objective: Objectives) -> Objective | None:
    """The margin objective; None for the sample's own loss."""
    if objective == "loss":
        return None
    if isinstance(objective, str) or len(objective) != 2 or objective[0] == objective[1]:
        raise RunError(
            f"The objective of one prediction is {objective!r}; expected 'loss', or two different class names such as "
            f"({run.classes[0]!r}, {run.classes[1]!r}) for the margin of the first over the second."
        )
    return Margin(*objective, _class(run, objective[0]), _class(run, objective[1]))


def _class(run: RunTables, name: str) -> int:
    if name not in run.classes:
        raise RunError(f"{name!r} is not a class of the run {run.name}; they are {', '.join(run.classes)}.")
    return run.classes.index(name)


def _explained(
    run: RunTables, inputs: Inputs, target: _Target, objective: Objective | None, among: str, k: int, top: int
) -> Explanation:
    began, single = perf_counter(), _one(target.value, target.label)
    direction = objective_gradient(inputs.model, single, objective or "utility", loss=inputs.loss)
    logits = identity.logits_of(inputs.model, single)[0]
    stored = (
        None if objective or target.position is None else stored_sketch(run, target.split, target.position)
    )
    estimates, lengths = _estimates(run, inputs, direction, among, stored)
    candidates = np.arange(len(estimates))
    if among == target.split and target.position is not None:
        candidates = np.delete(candidates, target.position)  # its influence on itself means nothing
    precision = str(run.description["settings"].get("precision", "float32"))
    selection = shortlist(
        estimates[candidates],
        lengths[candidates],
        lambda rows: exact_products(inputs, among, direction, candidates[rows], precision=precision),
        q=run.sketches.shape[1],
        k=min(top, len(candidates)),
    )
    _check_sketches(run, selection.quality)
    rows = candidates[selection.rows]
    ranked = _table(samples_of(run, among), rows, selection.products, estimates[rows])
    return Explanation(
        sample_id=target.sample_id,
        split=target.split,
        label=run.classes[target.label],
        predicted=run.classes[int(logits.argmax())],
        probabilities=torch.softmax(logits.double(), 0).numpy(),
        title=objective.title if objective else LOSS,
        among=among,
        helpful=ranked.loc[ranked["influence"] > 0].head(k),
        harmful=ranked.loc[ranked["influence"] < 0].iloc[::-1].head(k),
        quality=selection.quality,
        seconds=perf_counter() - began,
    )


def _check_sketches(run: RunTables, quality: Quality) -> None:
    """Raise when the stored sketches do not fit these gradients: from another version, or of other weights."""
    expected = run.sketches.shape[1] ** -0.5
    if quality.scored < quality.n and quality.sketch_error > WORST * expected:
        raise RunError(
            f"The stored sketches of the run {run.name} miss exact products by {quality.sketch_error:.2f} of |g||v|; "
            f"expected about {expected:.2f}. They were made by another version of the engine: analyse again."
        )


def _estimates(
    run: RunTables, inputs: Inputs, direction: Direction, among: str, stored: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Estimated products (n,) from the stored sketches, and their certain bounds |g_i| |v| (n,).

    stored: the direction's own sketch where the sweep has made it; else it is made now, by the sweep's kernels.
    """
    sketches = stored_sketches(run, among)
    if stored is None:
        seed = int(run.description["seed"])
        stored = sketch_of(inputs.model, direction, q=sketches.shape[1], seed=seed).numpy()
    norms = samples_of(run, among)["grad_norm"].to_numpy(float)
    length = float(torch.stack([value.double().square().sum() for value in direction.values()]).sum().sqrt())
    return sketches @ stored, norms * length


def _table(
    facts: pd.DataFrame, rows: np.ndarray, products: np.ndarray, estimates: np.ndarray
) -> pd.DataFrame:
    ranked = facts[["label"]].iloc[rows]
    ranked.insert(0, "position", rows)
    return ranked.assign(influence=products, estimate=estimates)
