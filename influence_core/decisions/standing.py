"""What stands after the events of a run so far: the current decisions and the late votes, without a database.

    standing   an accepted decision that was not undone; those of a sample form a stack
    current    the newest standing decision of a sample
    revision   the number of accepted events on a sample, undos included
    open       a vote that came too late, was not withdrawn, and has no standing decision after it

Ids grow with the revisions of a sample, because a revision is only claimed after the previous one was read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import numpy as np
import pandas as pd

COUNTING = ["action", "label_before", "label_after", "reviewer", "time", "revision", "conflict", "event_id"]
SHOWN = ["action", "label_after", "reviewer", "time", "event_id"]  # of each vote of a conflict

_TYPES = {"id": "int64", "expected_revision": "int64", "revision": "Int64", "undoes": "Int64"}
_TYPES |= {"rank": "Int64", "suspicion": "float64", "seconds": "float64"}


class Event(NamedTuple):
    """The fields of a decision that are shown."""

    id: int
    sample_id: str
    action: str
    label_before: str
    label_after: str | None
    reviewer: str
    time: str
    event_id: str


@final
@dataclass
class Standing:
    """What stands after an event of the log, that one included. It may be thrown away and read again at any time."""

    newest: tuple[int, str] | None = None
    """Id and event id of that event; None before the first."""
    settled: int = 0
    """An id up to which no event can appear any more. It, and the three below, are for PostgreSQL alone."""
    count: int = 0
    """The number of events after `settled`."""
    noted: int = 0
    """The newest id at some look, the next one to be settled."""
    writers: set[str] | None = None
    """Who was writing at that look and had not ended at the last one."""
    revisions: dict[str, int] = field(default_factory=dict)
    tops: dict[str, Event] = field(default_factory=dict)
    """The current decision, by sample."""
    late: dict[str, list[int]] = field(default_factory=dict)
    """The ids of the open votes, by sample."""
    shown: pd.DataFrame | None = None
    """The table of `current`, until something changes."""

    def open_votes(self) -> list[int]:
        """Return the ids of the open votes, in order."""
        return sorted(vote for votes in self.late.values() for vote in votes)

    def current(self) -> pd.DataFrame:
        """Return the current decision of each decided sample, index sample_id, the newest last."""
        if self.shown is None:
            self.shown = self._current()
        return self.shown.copy()

    def conflicts(self, late: Iterable[Event]) -> pd.DataFrame:
        """Return the open votes, each beside the current decision."""
        rows = []
        for vote in late:
            top = self.tops.get(vote.sample_id)
            counting = _shown(top) if top else (None,) * len(SHOWN)
            sample = (vote.sample_id, vote.label_before, self.revisions.get(vote.sample_id, 0))
            rows.append((*sample, *counting, *_shown(vote)))
        names = ["sample_id", "label_before", "revision", *SHOWN, *(f"other_{name}" for name in SHOWN)]
        return frame(names, rows)

    def _current(self) -> pd.DataFrame:
        tops = sorted(self.tops.values())
        columns = dict(zip(Event._fields, _columns(tops, len(Event._fields)), strict=True))
        samples = columns["sample_id"]
        columns["revision"] = [self.revisions[sample] for sample in samples]
        columns["conflict"] = [sample in self.late for sample in samples]
        index = pd.Index(samples, name="sample_id", dtype="str")
        return pd.DataFrame({name: _array(name, columns[name]) for name in COUNTING}, index=index)


def frame(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """Return rows of the database as a frame whose types do not depend on the values."""
    columns = zip(names, _columns(list(rows), len(names)), strict=True)
    return pd.DataFrame({name: _array(name, values) for name, values in columns})


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[Sequence[Any]]:
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
