"""Replay of decision events into current decisions and conflicts, without a database.

    standing   an accepted decision that was not undone; those of a sample form a stack
    current    the newest standing decision of a sample
    revision   the number of accepted events on a sample, undos included
    open       a vote that came too late, was not withdrawn, and has no standing decision after it

Ids grow with the revisions of a sample, because a revision is only claimed after the previous one was read.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, final

import numpy as np
import pandas as pd

COUNTING = ["action", "label_before", "label_after", "reviewer", "time", "revision", "conflict", "event_id"]
SHOWN = ["action", "label_after", "reviewer", "time", "event_id"]  # of each vote of a conflict

_TYPES = {"id": "int64", "expected_revision": "int64", "revision": "Int64", "undoes": "Int64"}
_TYPES |= {"rank": "Int64", "suspicion": "float64", "seconds": "float64"}


class Event(NamedTuple):
    """The fields of an event that a replay uses."""

    id: int
    sample_id: str
    action: str
    label_before: str
    label_after: str | None
    reviewer: str
    time: str
    event_id: str
    revision: int | None
    status: str
    undoes: int | None


@final
class Replay:
    """The state after the events so far; later events may be added, in order."""

    def __init__(self, events: Iterable[Sequence[Any]] = ()) -> None:
        """Begin with these events, each with the fields of Event in order."""
        self.count = self.last = 0  # number of events, id of the newest
        self.tops: dict[str, Sequence[Any]] = {}  # the current decision, by sample
        self.revisions: dict[str, int] = {}
        self._below: dict[int, Sequence[Any]] = {}  # the decision below another, by the id of the upper one
        self._late: dict[int, Sequence[Any]] = {}  # conflicting votes not withdrawn, by id
        self._current: pd.DataFrame | None = None
        self.extend(events)

    def extend(self, events: Iterable[Sequence[Any]]) -> None:
        """Apply later events."""
        for event in events:
            number, sample, revision, status, undoes = event[0], event[1], event[8], event[9], event[10]
            self.count, self.last, self._current = self.count + 1, number, None
            if status == "accepted":
                self.revisions[sample] = revision
                self._stack(sample, number, undoes, event)
            elif undoes is None:
                self._late[number] = event
            elif status == "withdrawal":
                self._late.pop(undoes, None)

    def current(self) -> pd.DataFrame:
        """Return the current decision of each decided sample, index sample_id, the newest last."""
        if self._current is None:
            tops = sorted(self.tops.values(), key=lambda event: event[0])
            columns = dict(zip(Event._fields, _columns(tops, len(Event._fields)), strict=True))
            samples = columns["sample_id"]
            disputed = {late.sample_id for late in self._open()}
            columns["revision"] = [self.revisions[sample] for sample in samples]
            columns["conflict"] = [sample in disputed for sample in samples]
            index = pd.Index(samples, name="sample_id", dtype="str")
            self._current = pd.DataFrame(
                {name: _array(name, columns[name]) for name in COUNTING}, index=index
            )
        return self._current.copy()

    def conflicts(self) -> pd.DataFrame:
        """Return the open conflicts: each late vote beside the current decision."""
        rows = []
        for late in self._open():
            top = self.tops.get(late.sample_id)
            counting = _shown(Event(*top)) if top else (None,) * len(SHOWN)
            sample = (late.sample_id, late.label_before, self.revisions.get(late.sample_id, 0))
            rows.append((*sample, *counting, *_shown(late)))
        return frame(
            ["sample_id", "label_before", "revision", *SHOWN, *(f"other_{name}" for name in SHOWN)], rows
        )

    def _stack(self, sample: str, number: int, undoes: int | None, event: Sequence[Any]) -> None:
        """Put a decision on top of the stack, or remove the top one: only that one can be undone."""
        top = self.tops.pop(sample, None)
        if undoes is None:
            self.tops[sample] = event
            if top is not None:
                self._below[number] = top
        elif undoes in self._below:
            self.tops[sample] = self._below.pop(undoes)

    def _open(self) -> list[Event]:
        """Return the late votes without a standing decision after them."""
        late = [Event(*event) for event in self._late.values()]
        return [vote for vote in late if self.tops.get(vote.sample_id, (0,))[0] < vote.id]


def frame(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """Return rows of the database as a frame whose types do not depend on the values."""
    columns = zip(names, _columns(list(rows), len(names)), strict=True)
    return pd.DataFrame({name: _array(name, values) for name, values in columns})


def _columns(rows: list[Sequence[Any]], width: int) -> list[Sequence[Any]]:
    return [[row[position] for row in rows] for position in range(width)]


def _array(name: str, values: Sequence[Any]) -> Any:
    if name.endswith("time"):
        moments = pd.to_datetime(pd.array(values, dtype="str"), format="ISO8601", utc=True)
        return moments.astype("datetime64[us, UTC]")
    if name == "conflict":
        return np.array(values, dtype=bool)
    if name == "revision" and None not in values:
        return np.array(values, dtype=np.int64)
    return pd.array(values, dtype=_TYPES.get(name, "str"))


def _shown(event: Event) -> tuple[Any, ...]:
    return tuple(getattr(event, name) for name in SHOWN)
