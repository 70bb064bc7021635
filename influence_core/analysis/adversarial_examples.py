"""Adversarial examples of a run: a few attacked samples beside their originals."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from influence_core.runs.run import Run

FILE = "robustness.npz"


@dataclass(frozen=True)
class Examples:
    """e held-out samples that the model classifies correctly, but wrongly under attack; weakest attack first.

    `rows` (e,) in the validation split; `original` and `attacked` (e, ...) as the model reads them, float32; `before`
    and `after` (e,) class numbers; `strength` (e,) in the unit of the input space.
    """

    rows: np.ndarray
    original: np.ndarray
    attacked: np.ndarray
    before: np.ndarray
    after: np.ndarray
    strength: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def write_examples(examples: Examples, folder: Path) -> None:
    """Write the examples to a run folder."""
    np.savez_compressed(folder / FILE, **asdict(examples))


def read_examples(run: "Run") -> Examples | None:
    """Read the examples of a run; None if robustness was not measured."""
    if FILE not in run.description["files"]:
        return None
    with np.load(run.file(FILE), allow_pickle=False) as arrays:
        return Examples(**{name: arrays[name] for name in Examples.__match_args__})
