"""Words of the Compare page: what a run trusted, by its own record, and what other orders add; no Streamlit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from influence_core.judging.signals import Yield
from pages.ui.words import formats
from pages.ui.words.formats import Markdown

LEAST = 0.005
"""Evidence with a smaller share of the weight is left out of the table."""


def headline(results: Mapping[str, Any]) -> Markdown:
    """Whether the model's loss can be trusted, and how many samples have near-copies."""
    text = results.get("regime")
    if not text:
        return "This run was made by an older version, which recorded weights but no reasons."
    copies = int(results.get("near_copies") or 0)
    note = (
        f" {formats.plural(copies, 'sample')} have near-copies in the training split; a copy's label was left out "
        "together with the sample's own."
        if copies
        else ""
    )
    return formats.escaped(str(text)) + note


def rows(results: Mapping[str, Any]) -> pd.DataFrame:
    """Evidence, its share of the whole weight and why, most trusted first; empty for runs without reasons."""
    evidence = sorted(results.get("evidence") or (), key=lambda entry: -entry["share"])
    shown = [entry for entry in evidence if entry["share"] >= LEAST or entry.get("remembers")]
    return pd.DataFrame(
        {
            "Evidence": [str(entry["name"]) for entry in shown],
            "Share": [float(entry["share"]) for entry in shown],
            "Why": [str(entry["why"]) for entry in shown],
        }
    )


def added(yields: Sequence[Yield], titles: Mapping[str, str], queue: int) -> Markdown:
    """One sentence on the best order outside the queue, compared with chance."""
    best = yields[0]
    chance = formats.number(best.by_chance)
    if best.errors == 0:
        return (
            f"Outside the queue of {formats.plural(queue, 'sample')}, the next {formats.count(best.looked)} of no "
            "signal contain an error."
        )
    return (
        f"Outside the queue of {formats.plural(queue, 'sample')}, the next {formats.count(best.looked)} by "
        f"**{formats.escaped(titles.get(best.signal, best.signal))}** add **{formats.plural(best.errors, 'error')}** "
        f"({formats.count(best.judged)} of them judged); as many in random order would add about {chance}."
    )
