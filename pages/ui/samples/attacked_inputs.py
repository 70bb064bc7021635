"""Attacked inputs on screen: pictures beside their originals with the amplified change, features as a table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from influence_core.analysis.adversarial_examples import Examples
from influence_core.runs.run import Run

SIDE = 160
"""Pixels that the longer side has at least: small pictures are enlarged without blurring."""


def shown(values: np.ndarray) -> np.ndarray:
    """A picture (c, h, w) of any range as (h, w[, 3]) bytes, enlarged by whole pixels; [0, 1] is black to white."""
    low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
    plain = ((values - low) / (high - low) * 255).round().astype(np.uint8)
    plain = plain[0] if len(plain) == 1 else plain[:3].transpose(1, 2, 0)
    times = max(1, -(-SIDE // max(plain.shape[:2])))
    return plain.repeat(times, 0).repeat(times, 1)


def amplification(original: np.ndarray, attacked: np.ndarray) -> float:
    """The factor that stretches the largest change to half of the range [0, 1]."""
    most = float(np.abs(attacked - original).max())
    return 0.5 / most if most > 0 else 1.0


def change(original: np.ndarray, attacked: np.ndarray, times: float) -> np.ndarray:
    """The change times `times` around grey (0.5), clipped to [0, 1]."""
    return np.clip(0.5 + times * (attacked - original), 0, 1)


def feature_names(run: Run, count: int) -> list[str]:
    """Names of the features of a table's model, in the order the model reads them; numbered where unnamed."""
    from influence_core.models.model_json import read_preprocessing  # imports torch

    preprocessing = read_preprocessing(
        run.description["inputs"]["model"].get("preprocessing"), run.path / "run.json"
    )
    named = (
        list(preprocessing.table.features)
        if preprocessing is not None and preprocessing.table is not None
        else []
    )
    return named if len(named) == count else [f"feature {index}" for index in range(count)]


def moved_features(run: Run, examples: Examples, most: int = 3) -> pd.DataFrame:
    """For inputs that are not pictures: both predictions, and the features that moved most, in their own units."""
    flat = (examples.attacked - examples.original).reshape(len(examples), -1)
    names, classes = feature_names(run, flat.shape[1]), run.classes
    return pd.DataFrame(
        {
            "Row": examples.rows,
            "Predicted": [classes[code] for code in examples.before],
            "After attack": [classes[code] for code in examples.after],
            "Moved most": [
                ", ".join(f"{names[index]}: {row[index]:+.3g}" for index in np.argsort(-np.abs(row))[:most])
                for row in flat
            ],
        }
    )
