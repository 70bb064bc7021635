"""Whether validation labels mix the classes as the training labels do; where not, no reader is taught by them.

A reader taught by validation labels alone accuses nearly every training sample of a class that they lack, and finds a
class everywhere that they hold too often: of 300 training samples, 22 of them wrong, 113 were flagged without
validation samples of one class, and 22 with them. It speaks only where no class is

    absent     expected once or more by its share of the training labels, and not found
    far off    found less than a third or more than FAR times as often as expected, beyond chance (Poisson, UNLIKELY)

Measured on three kinds of clouds, 3 to 6 classes: found 0.38 times as often as expected the reader does no harm (0.13
times: 104 flags where 48 labels are wrong). Errors that make one class larger move shares as well, seldom by that much:
it falls silent in none of the 112 cells of benchmarks/detection that have validation labels. What else reads them
compares readers on the same labels, and stays as good: without this reader alone, flags were as right as with a full
validation set.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import poisson

from influence_core.data.rows import some

UNLIKELY = 0.01
FAR = 3.0


@dataclass(frozen=True, slots=True)
class ClassMix:
    """How often each of c classes is found among the m validation labels, and expected from the n training labels."""

    found: np.ndarray
    expected: np.ndarray

    @property
    def unlike(self) -> np.ndarray:
        """Positions of the classes that are absent or far off; none means that the two mixes can be compared."""
        found, expected = self.found, self.expected
        chance = np.minimum(poisson.cdf(found, expected), poisson.sf(found - 1, expected))
        far = (found * FAR < expected) | (found > expected * FAR)
        return np.flatnonzero((far & (chance < UNLIKELY)) | ((found == 0) & (expected >= 1)))

    def note(self, classes: tuple[str, ...]) -> str | None:
        """What is not known because of it, in plain words; None where nothing is."""
        rows = self.unlike
        if not len(rows) or not self.found.sum():
            return None
        named = [f"{classes[k]} {self.found[k]:,} times (expected {self.expected[k]:,.0f})" for k in rows]
        return (
            f"The validation labels hold {some(named, 6)}; expected is by the share among the training labels. So "
            "suspicion does without its reader of validation labels, and influence and kNN-Shapley see little of what "
            "samples of a class do that validation hardly holds. Better: a validation set with the classes as in train."
        )


def class_mix(labels: np.ndarray, held_out_labels: np.ndarray, classes: int) -> ClassMix:
    """The mix of validation labels (m,) beside that of training labels (n,), n >= 1; m may be 0."""
    given = np.bincount(labels, minlength=classes)
    return ClassMix(
        np.bincount(held_out_labels, minlength=classes), given * (len(held_out_labels) / len(labels))
    )
