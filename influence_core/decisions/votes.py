"""Votes: the decision of one reviewer on one sample, checked before it is written."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any, Literal, get_args

from influence_core.errors import DecisionError

Action = Literal["keep", "relabel", "remove"]
ACTIONS: tuple[str, ...] = get_args(Action)


@dataclass(frozen=True)
class Vote:
    """One sample of a decision, with the state that the reviewer saw.

    Args:
        revision: Of the sample as the reviewer saw it; 0 before the first decision.
        label_before: The label given in the dataset.
        label_after: The new label, for "relabel" only.
        suggested_label: The label that was suggested.
        suspicion: The suspicion that was shown, in [0, 1].
        rank: The place in the list that was shown.
        own_events: The reviewer's events on this sample since that revision, written yet or not. An event of any other
            reviewer since then is a conflict.
    """

    sample_id: str
    revision: int
    label_before: str
    label_after: str | None = None
    suggested_label: str | None = None
    suspicion: float | None = None
    rank: int | None = None
    own_events: tuple[str, ...] = ()


LARGEST = 2**31 - 1
"""The largest whole number that PostgreSQL keeps in a column of them."""


def checked_names(event_id: str, run: str, reviewer: str) -> tuple[str, str, str]:
    return (
        checked_id(event_id),
        _text(run, "run id", 200),
        _text(reviewer.strip() if isinstance(reviewer, str) else reviewer, "reviewer's name", 200),
    )


def checked_id(event_id: Any) -> str:
    return _text(event_id, "event id", 100)


def _text(value: Any, field: str, longest: int = 4000) -> str:
    """Return a text that every database can store, or raise DecisionError."""
    if not isinstance(value, str) or not value or len(value) > longest:
        raise DecisionError(f"The {field} is {value!r:.60}; expected a text of 1 to {longest:,} characters.")
    if "\0" in value or (not value.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in value)):
        raise DecisionError(f"The {field} {value!r:.60} holds characters that a database cannot store.")
    return str(value)


def distinct(votes: Sequence[Vote]) -> Sequence[Vote]:
    if not votes:
        raise DecisionError("The decision names no sample; expected at least one. Select samples first.")
    seen: set[str] = set()
    for vote in votes:
        if vote.sample_id in seen:
            raise DecisionError(f"The decision names the sample {vote.sample_id!r} twice; expected it once.")
        seen.add(vote.sample_id)
    return votes


def row_of(vote: Vote, action: str) -> dict[str, Any]:
    """Check a vote and return it as a row of the table."""
    sample = _text(vote.sample_id, "sample id")
    before = _text(vote.label_before, f"label given to {sample!r}")
    if action != "relabel" and vote.label_after is not None:
        raise DecisionError(
            f"{action.capitalize()} of {sample!r} came with the new label {vote.label_after!r}."
        )
    if action == "relabel":
        _text(vote.label_after, f"new label of {sample!r}")
        if vote.label_after == before:
            raise DecisionError(f"{sample!r} already is {before!r}; to confirm a label, decide to keep it.")
    if vote.suggested_label is not None:
        _text(vote.suggested_label, f"label suggested for {sample!r}")
    revision = _whole(vote.revision, f"revision of {sample!r}")
    rank = None if vote.rank is None else _whole(vote.rank, f"rank of {sample!r}")
    if vote.suspicion is not None and not 0 <= vote.suspicion <= 1:
        raise DecisionError(f"The suspicion of {sample!r} is {vote.suspicion}; expected 0 to 1, or none.")
    row = asdict(vote)
    del row["own_events"]  # not part of the decision
    row["suspicion"] = None if vote.suspicion is None else float(vote.suspicion)
    del row["revision"]  # the one that it gets is not the one that was seen
    return row | {"rank": rank, "action": action, "expected_revision": revision}


def _whole(value: Any, field: str) -> int:
    """Return a whole number that every database can store, or raise DecisionError."""
    number: Any = value if isinstance(value, Real) and not isinstance(value, bool) else -1
    if not 0 <= number <= LARGEST or number % 1:
        raise DecisionError(f"The {field} is {value!r:.60}; expected a whole number, 0 or more.")
    return int(number)


def checked_seconds(seconds: float | None) -> float | None:
    if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
        raise DecisionError(f"The time spent is {seconds} seconds; expected 0 or more, or none.")
    return None if seconds is None else float(seconds)
