"""Exact products <g_i, v> of a few samples with one direction, requested round after round.

Forward mode (one_direction/ways.py) computes them in about two thirds of the time of a sweep, since no gradient is
formed. It is used where four of the rows agree with autograd within 1e-4, the tolerance of the sweep's own study.
Otherwise, and for a model that decides by its batch, the sweep scores them: the same numbers, slower. The study of the
model is made once and stored with the opened model, whose weights a run compares again before it uses them.
"""

import numpy as np
import torch
from torch.utils.data import Dataset, Subset

from influence_core.engine.directions import Direction
from influence_core.engine.losses import loss_by_name
from influence_core.engine.one_direction.directional import measured_directional
from influence_core.engine.precision import exact_name, in_precision
from influence_core.engine.study import WITHIN, Study, study_model
from influence_core.engine.sweep import sweep
from influence_core.engine.watching.watch import trainable
from influence_core.errors import LayerError
from influence_core.inputs.reopened import Inputs

ROWS = 64
"""Samples per pass."""
PROBE = 4
"""Rows of every call that are compared with one-sample autograd: 0.03 s of processor time for the demo's network."""


def exact_products(
    inputs: Inputs, among: str, direction: Direction, rows: np.ndarray, *, precision: str = "float32"
) -> np.ndarray:
    """Products (r,) float64 of the samples at `rows` (r,) of a split with a direction; positive = helpful.

    Raises:
        LayerError: samples of a batch influence each other.
        InfluenceError: a direction that does not fit, or numbers that are not finite.
    """
    samples = inputs.split(among)
    study = _study(inputs, samples, precision)
    few = samples.select(rows) if hasattr(samples, "select") else Subset(samples, rows.tolist())
    products = None if study.decided else _forward(inputs, few, direction, precision)
    if products is None:
        products = sweep(
            inputs.model,
            few,
            directions=[direction],
            sketch=0,
            loss=inputs.loss,
            precision=precision,
            batch_size=ROWS,
            study=study,
        ).products[:, 0]
    return products.double().numpy()


def _study(inputs: Inputs, samples: Dataset, precision: str) -> Study:
    """The study of the opened model, made once for each precision and set of trainable parameters."""
    scored = in_precision(inputs.model, exact_name(precision))
    key = precision, tuple(trainable(scored))  # a fingerprint of weights does not show which are frozen
    if key not in inputs.studies:
        inputs.studies[key] = study_model(scored, samples, loss_by_name(inputs.loss))
    return inputs.studies[key]


def _forward(inputs: Inputs, few: Dataset, direction: Direction, precision: str) -> torch.Tensor | None:
    """Products (r,) by forward mode, or None where it is not offered or not exact enough for this model."""
    try:
        result = measured_directional(
            inputs.model,
            few,
            direction,
            loss=inputs.loss,
            method="forward",
            batch_size=ROWS,
            precision=exact_name(precision),
            probe=PROBE,
        )
    except LayerError:  # no forward derivative, or a wrong one; the sweep reports the fault
        return None
    return result.values if result.relative_error <= WITHIN[torch.float32] else None
