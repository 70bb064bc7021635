"""Why a label is in doubt, in plain words: its two strongest witnesses, and what the model itself says; no Streamlit.

Who counts as a witness and how strong each is was decided by influence_core/scores/suspicion/witnesses.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pages.ui.words import formats

ITSELF, THE_INPUTS = "the model's own outputs", "the inputs"
"""What a run calls the model's own answer among its evidence, and the view that no network has touched."""


@dataclass(frozen=True, slots=True)
class Witness:
    """What one group of readers says about one sample: a class, its probability, and how far it moves the verdict.

    weight: the higher, the more it adds to the odds of the suggested label against the given one.
    """

    group: str
    says: str
    probability: float
    weight: float


@dataclass(frozen=True, slots=True)
class Case:
    """One sample with its labels, as far as sentences need it.

    suspicion and suggested_probability: of the run; cut: from which suspicion a label is in doubt.
    noun: what a sample is called in this run, "image", "row" or "sample".
    """

    given: str
    suggested: str | None
    suspicion: float
    suggested_probability: float
    cut: float
    noun: str

    @property
    def doubted(self) -> bool:
        return self.suspicion >= self.cut and self.suggested is not None


def sentence(
    case: Case, heard: Sequence[Witness] | None, neighbours: Sequence[str], results: Mapping[str, Any]
) -> str:
    """The two strongest witnesses for the verdict, and what they say.

    Args:
        case: the sample.
        heard: its witnesses; None for a run that did not keep them.
        neighbours: given labels of the most similar samples.
        results: of the run: which views its witnesses read.
    """
    if heard is None:
        near = _neighbours(case, neighbours, None)
        return f"{_capital(near)}. This run kept no other evidence: analyse again to see it."
    side = 1 if case.doubted else -1
    of_this_side = (w for w in heard if (w.says == case.given) != case.doubted)
    strongest = sorted(of_this_side, key=lambda w: -side * w.weight)[:2]
    said = [_said(witness, case, neighbours, results) for witness in strongest]
    if not said:
        other = "names another label, but together they doubt" if case.doubted else "is sure of"
        return f"No single reader {other} this one."
    shared = case.doubted and 1 - case.suspicion > case.suggested_probability
    end = f" Other labels share the doubt: none alone is likelier than {case.given}." if shared else ""
    return f"{_capital('; '.join(said))}.{end}"


def of_the_model(case: Case, predicted: str, confidence: float, *, memorised: bool | None) -> str:
    """The model's own answer, and whether it counts: a model that has memorised a label only repeats it."""
    says = f"The model itself says {predicted} {_percent(confidence)}"
    if predicted == case.given:
        if not memorised:
            return f"{says}, as the label does."
        return f"{says}, but it has memorised {'this label' if case.doubted else 'its labels'}."
    if case.doubted and predicted == case.suggested:
        return f"The model itself agrees: {predicted} {_percent(confidence)}."
    return f"{says}."


def memorised(results: Mapping[str, Any]) -> bool | None:
    """Whether the model of a run remembers its labels, so that its own answer is no evidence; None: unsaid."""
    own = [entry for entry in results.get("evidence") or () if entry["name"] == ITSELF]
    return bool(own[0].get("remembers")) if own else None


def _said(witness: Witness, case: Case, neighbours: Sequence[str], results: Mapping[str, Any]) -> str:
    if witness.group == "neighbours":
        return _neighbours(case, neighbours, results["neighbours_view"])
    says = f"say {witness.says}, {_percent(witness.probability)}"
    if witness.group == "validation":
        return f"readers taught by validation labels alone {says}"
    if results["witnesses"][witness.group] == THE_INPUTS:
        return f"readers that never saw this label {says}"
    return f"readers of what the model has learned, without this label, {says}"


def _neighbours(case: Case, neighbours: Sequence[str], view: str | None) -> str:
    """How many of the neighbours carry the likelier label; where none does, how many carry the given one.

    view: where they are near; None for the deepest layer of an old run.
    """
    likelier = case.suggested if case.doubted and case.suggested in neighbours else case.given
    shown, nouns = (
        f"{sum(label == likelier for label in neighbours)} of the {len(neighbours)}",
        f"{case.noun}s",
    )
    alike = f"most similar {nouns}" if view == THE_INPUTS else f"{nouns} that the model finds most similar"
    return f"{shown} {alike} are labelled {likelier}"


def _percent(share: float) -> str:
    """Whole per cent between 1 and 99: nothing here is certain."""
    return f"{min(99, max(1, round(100 * share)))}{formats.THIN}%"


def _capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"
