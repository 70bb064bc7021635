"""Decisions made in the gallery, written into the decision log."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pandas as pd

from influence_core.decisions.log import DecisionLog, Vote
from influence_core.errors import DecisionError
from influence_core.runs.run import Run
from pages.ui.components.gallery import Event, SentVote
from pages.ui.shell import cached, state, visitor


def writer(open_run: state.OpenRun) -> Callable[[Event], object]:
    """The function that writes the gallery's events; it returns when the decision is on disk."""

    def write(event: Event) -> object:
        visitor.require("annotator", "decide")
        return apply(event, run=open_run.run, log=open_run.log, reviewer=state.reviewer())

    return write


def apply(event: Event, *, run: Run, log: DecisionLog, reviewer: str) -> None:
    """Write one event of the gallery into the decision log; when this returns, it is on disk.

    The browser is not trusted: unknown samples and labels are refused before anything is written.
    """
    if event["action"] == "undo":
        log.undo(event_id=event["event_id"], run=run.id, reviewer=reviewer, target=event["target"])
        return
    log.record(
        event_id=event["event_id"],
        run=run.id,
        action=event["action"],
        votes=[_vote(vote, event["action"], run) for vote in event["votes"]],
        reviewer=reviewer,
        seconds=event["seconds"],
    )


def settle(open_run: state.OpenRun, sample: str, revision: int, action: str, label: str | None) -> None:
    """Decide a sample again on which two decisions met: its newest decision counts, and the conflict is closed."""
    visitor.require("annotator", "decide")
    vote = SentVote(id=sample, revision=revision, own=[], label=label)
    open_run.log.record(
        event_id=str(uuid.uuid4()),
        run=open_run.run.id,
        action=action,
        votes=[_vote(vote, action, open_run.run)],
        reviewer=state.reviewer(),
    )


def _vote(vote: SentVote, action: str, run: Run) -> Vote:
    sample, label, columns = vote["id"], vote["label"], cached.columns(run.id, run)
    row = columns["position"].get(sample)
    if row is None:
        raise DecisionError(
            f"There is no training sample '{sample[:80]}' in this run, so nothing can be decided about it. "
            f"Reload the page."
        )
    if action == "relabel" and label not in run.classes:
        raise DecisionError(
            f"'{str(label)[:80]}' is not a class of this run; its classes are {', '.join(run.classes)}. "
            f"Choose one of them."
        )
    suggested = columns["suggested_label"][row]
    return Vote(
        sample_id=sample,
        revision=vote["revision"],
        own_events=tuple(vote["own"]),
        label_before=columns["label"][row],
        label_after=label if action == "relabel" else None,
        suggested_label=None if pd.isna(suggested) else suggested,
        suspicion=float(columns["suspicion"][row]),
        rank=int(columns["rank"][row]),
    )
