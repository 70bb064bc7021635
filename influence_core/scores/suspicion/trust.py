"""How far each piece of evidence is trusted in this run, and why.

Three facts about a reader's predictions, none of which needs a true label:

    gain      how much better they agree with what the anchor predicts than the given labels do. The anchor is the
              kernel reader of the inputs, which no training has touched: a reader that repeats wrong labels gains
              nothing
    held-out  the share of validation labels they predict (where there are any)
    memory    (agreement with given labels / held-out agreement), divided by the same of the anchor: 1 = they know
              the training labels no better than others; 1.2 = a fifth of what they predict is memorised

Weight = exp(GAIN * gain + HELD_OUT * held-out - MEMORY * max(memory - 1, 0)), times OUTPUTS for the model's own
outputs. Without validation labels memory cannot be measured; the outputs then fade as their record of the given labels
nears perfect.

Readers taught by validation labels alone share no error with the training labels: their weight is multiplied by TAUGHT,
and by more where shared errors show. When on the anchor's view they know less of the training labels than the anchor
does, by more than two standard errors, the anchor has learnt errors that training labels have in common: times
exp(SYSTEMATIC * the rest of the gap).

Little depends on the constants. Measured: docs/detection.md, "The constants of trust".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from influence_core.scores.suspicion.evidence import VALIDATION_READER, Evidence

OUTPUTS_READER = "outputs"
GAIN, HELD_OUT, MEMORY, OUTPUTS = 10.0, 4.0, 3.0, 6.0
TAUGHT, SYSTEMATIC = 2.0, 15.0
PERFECT = 0.15
"""Without validation labels: outputs that miss fewer given labels than this share count less, down to nothing."""
ANCHOR_GAIN = 0.08
"""Assumed gain of the inputs' own readers: they cannot be measured against themselves."""
REMEMBERS = 1.1


@dataclass(frozen=True, slots=True)
class Trust:
    """Facts about one piece of evidence, and its share of the whole weight, in [0, 1].

    agrees: share of given training labels it predicts; held_out: of validation labels, NaN without any.
    memory: 1 = remembers nothing, NaN where it cannot be measured. gain: see above.
    """

    evidence: str
    reader: str
    share: float
    agrees: float
    held_out: float
    memory: float
    gain: float

    @property
    def remembers(self) -> bool:
        """Whether it memorised training labels: by validation labels, or, without any, by a perfect record."""
        if np.isfinite(self.memory):
            return self.memory > REMEMBERS
        return self.agrees > 0.97 and self.gain < ANCHOR_GAIN / 4 and self.reader == OUTPUTS_READER

    def why(self) -> str:
        """The reason in one plain sentence."""
        unseen = "" if self.reader == OUTPUTS_READER else ", unseen"
        validation = f"; {self.held_out:.0%} of the validation labels" if np.isfinite(self.held_out) else ""
        predicted = f"{self.agrees:.0%} of the given labels{unseen}{validation}."
        return f"Remembers labels: predicts {predicted}" if self.remembers else f"Predicts {predicted}"


def trusted(
    evidence: Sequence[Evidence], labels: np.ndarray, held_out_labels: np.ndarray, anchor: int
) -> list[Trust]:
    """One Trust for each piece of evidence; `anchor` is the position of the reader that remembers nothing."""
    guesses = [e.train.argmax(1) for e in evidence]
    anchor_guess = guesses[anchor]
    base = float((anchor_guess == labels).mean())
    validated = len(held_out_labels) > 0
    records = []
    for e, guess in zip(evidence, guesses, strict=True):
        agrees = float((guess == labels).mean())
        held_agreement = float((e.held_out.argmax(1) == held_out_labels).mean()) if validated else np.nan
        same = e.layer == evidence[anchor].layer
        records.append(
            (e, agrees, held_agreement, ANCHOR_GAIN if same else float((guess == anchor_guess).mean()) - base)
        )
    floor = 1 / max(2, evidence[anchor].train.shape[1])
    ratio = base / max(records[anchor][2], floor) if validated else np.nan
    memory = [
        agrees / max(held_agreement, floor) / max(ratio, 1e-9) for _, agrees, held_agreement, _ in records
    ]
    weights = np.array(
        [
            _weight(e, a, held_agreement, gain, m)
            for (e, a, held_agreement, gain), m in zip(records, memory, strict=True)
        ]
    )
    weights[[e.reader == VALIDATION_READER for e in evidence]] *= TAUGHT * np.exp(
        SYSTEMATIC * _common_errors(records, memory, evidence[anchor].layer, len(held_out_labels))
    )
    shares = weights / weights.sum()
    return [
        Trust(_name(e), e.reader, float(s), agrees, held_agreement, float(m), gain)
        for (e, agrees, held_agreement, gain), m, s in zip(records, memory, shares, strict=True)
    ]


def _common_errors(records: list, memory: Sequence[float], layer: str, m: int) -> float:
    """Share of training labels that the anchor learnt wrongly, by the reader taught by m validation labels."""
    for (e, _, held_agreement, _), remembered in zip(records, memory, strict=True):
        if e.reader == VALIDATION_READER and e.layer == layer:
            error = np.sqrt((1 - held_agreement) / max(held_agreement, 1e-9) / m)
            return float(np.clip(1 - remembered - 2 * error, 0.0, 1.0))
    return 0.0


def _name(e: Evidence) -> str:
    named = {VALIDATION_READER: f"validation labels on {e.layer}", OUTPUTS_READER: "the model's own outputs"}
    return named.get(e.reader, f"{e.reader} on {e.layer}")


def _weight(e: Evidence, agrees: float, held_out: float, gain: float, memory: float) -> float:
    validated = np.isfinite(memory)
    memory_term = HELD_OUT * held_out - MEMORY * max(memory - 1, 0.0) if validated else 0.0
    weight = float(np.exp(GAIN * gain + memory_term))
    if e.reader != OUTPUTS_READER:
        return weight
    return weight * OUTPUTS * (1.0 if validated else min(1.0, (1 - agrees) / PERFECT))


def regime(trust: Sequence[Trust]) -> str:
    """Whether the model's own loss, margin and gradient norms can be believed in this run, in plain words."""
    outputs = next((t for t in trust if t.reader == OUTPUTS_READER), None)
    if outputs is None:
        return "The model's own outputs were not among the evidence."
    validation = (
        f" but {outputs.held_out:.0%} of the validation labels" if np.isfinite(outputs.held_out) else ""
    )
    if outputs.remembers:
        return (
            f"This model has memorised its labels: it reproduces {outputs.agrees:.0%} of the training labels"
            f"{validation}. Its loss is not informative, nor are margin and gradient norms; the readers that left "
            "each label out decide."
        )
    return (
        f"This model has not memorised its labels: it predicts {outputs.agrees:.0%} of the training labels"
        f"{validation.replace(' but ', ' and ')}. Its own outputs are informative and count beside the others."
    )
