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
from dataclasses import dataclass, replace

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
    agrees = [float((guess == labels).mean()) for guess in guesses]
    validated, layer = len(held_out_labels) > 0, evidence[anchor].layer
    held_out = [
        float((e.held_out.argmax(1) == held_out_labels).mean()) if validated else np.nan for e in evidence
    ]
    floor = 1 / max(2, evidence[anchor].train.shape[1])
    ratio = agrees[anchor] / max(held_out[anchor], floor) if validated else np.nan
    facts: list[Trust] = []
    for e, guess, given, unseen in zip(evidence, guesses, agrees, held_out, strict=True):
        gain = ANCHOR_GAIN if e.layer == layer else float((guess == guesses[anchor]).mean()) - agrees[anchor]
        memory = given / max(unseen, floor) / max(ratio, 1e-9)
        facts.append(Trust(_name(e), e.reader, np.nan, given, unseen, memory, gain))
    weights = np.array([_weight(fact) for fact in facts])
    taught = [
        t for e, t in zip(evidence, facts, strict=True) if (e.reader, e.layer) == (VALIDATION_READER, layer)
    ]
    shared = _common_errors(taught[0], len(held_out_labels)) if taught else 0.0
    weights[[fact.reader == VALIDATION_READER for fact in facts]] *= TAUGHT * np.exp(SYSTEMATIC * shared)
    return [replace(t, share=float(s)) for t, s in zip(facts, weights / weights.sum(), strict=True)]


def _common_errors(taught: Trust, m: int) -> float:
    """Share of training labels that the anchor learnt wrongly, by who was taught by m validation labels on its view."""
    error = np.sqrt((1 - taught.held_out) / max(taught.held_out, 1e-9) / m)
    return float(np.clip(1 - taught.memory - 2 * error, 0.0, 1.0))


def _name(e: Evidence) -> str:
    named = {VALIDATION_READER: f"validation labels on {e.layer}", OUTPUTS_READER: "the model's own outputs"}
    return named.get(e.reader, f"{e.reader} on {e.layer}")


def _weight(fact: Trust) -> float:
    validated = np.isfinite(fact.memory)
    memory_term = HELD_OUT * fact.held_out - MEMORY * max(fact.memory - 1, 0.0) if validated else 0.0
    weight = float(np.exp(GAIN * fact.gain + memory_term))
    if fact.reader != OUTPUTS_READER:
        return weight
    return weight * OUTPUTS * (1.0 if validated else min(1.0, (1 - fact.agrees) / PERFECT))


def regime(trust: Sequence[Trust]) -> str:
    """Whether the model's own loss, margin and gradient norms can be believed in this run, in plain words."""
    outputs = next((t for t in trust if t.reader == OUTPUTS_READER), None)
    if outputs is None:
        return "The model's own outputs were not among the evidence."
    joined = "but" if outputs.remembers else "and"
    validated = np.isfinite(outputs.held_out)
    validation = f" {joined} {outputs.held_out:.0%} of the validation labels" if validated else ""
    if outputs.remembers:
        return (
            f"This model has memorised its labels: it reproduces {outputs.agrees:.0%} of the training labels"
            f"{validation}. Its loss is not informative, nor are margin and gradient norms; the readers that left "
            "each label out decide."
        )
    return (
        f"This model has not memorised its labels: it predicts {outputs.agrees:.0%} of the training labels"
        f"{validation}. Its own outputs are informative and count beside the others."
    )
