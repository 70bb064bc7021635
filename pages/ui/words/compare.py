"""Words of the Compare page: what a run trusted, by its own record, and what other orders add; no Streamlit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from influence_core.judging.signals import Yield
from pages.ui.words import formats
from pages.ui.words.formats import Markdown
from pages.ui.words.why_in_doubt import ITSELF, THE_INPUTS, memorised

LEAST = 0.005
"""Evidence with a smaller share of the weight is left out of the table."""
TAUGHT, LAYERS, MODEL = (
    "Readers taught by validation labels",
    "Readers of the network's layers",
    "The model's own answers",
)


def pixels(noun: str) -> str:
    """What a sample consists of: 'pixels' of an image, 'columns' of a row, 'inputs' of any other."""
    return {"image": "pixels", "row": "columns"}.get(noun, "inputs")


def kinds(results: Mapping[str, Any], noun: str) -> dict[str, float]:
    """The share of the whole weight by kind of reader, always the same five; empty for runs without reasons."""
    evidence = results.get("evidence") or ()
    shares = dict.fromkeys([_inputs(noun), LAYERS, _similar(noun), TAUGHT, MODEL], 0.0) if evidence else {}
    for entry in evidence:
        kind = _kind(str(entry["name"]), noun)
        shares[kind] = shares.get(kind, 0.0) + float(entry["share"])
    return shares


def _inputs(noun: str) -> str:
    return f"Readers of the {pixels(noun)}"


def _similar(noun: str) -> str:
    return f"Most similar {noun}s"


def _kind(name: str, noun: str) -> str:
    """The kind of one piece of evidence, by the name that the run recorded, such as 'probe on the inputs'."""
    reader, _, layer = name.partition(" on ")
    if reader in ("probe", "kernel"):
        return _inputs(noun) if layer == THE_INPUTS else LAYERS
    return {"neighbours": _similar(noun), "validation labels": TAUGHT, ITSELF: MODEL}.get(reader, name)


def headline(results: Mapping[str, Any], noun: str) -> Markdown:
    """What was trusted most, and whether the model has memorised its labels."""
    shares = kinds(results, noun)
    if not shares:
        return "This run was made by an older version, which recorded weights but no reasons."
    first, second = sorted(shares, key=lambda kind: -shares[kind])[:2]
    most = " and ".join(
        f"{formats.escaped(kind[0].lower() + kind[1:])} ({formats.percent(shares[kind])})"
        for kind in (first, second)
    )
    own = formats.percent(shares[MODEL])
    told = {
        True: f" The model has memorised its labels, so its own answers count for {own}.",
        False: " The model has not memorised its labels.",
        None: "",
    }
    return f"Trusted most: {most}.{told[memorised(results)]}"


def reasons(results: Mapping[str, Any]) -> Markdown:
    """Whether the model's loss can be trusted, in the words of the run, and how many samples have near-copies."""
    copies = int(results.get("near_copies") or 0)
    note = (
        f" {formats.plural(copies, 'sample')} have near-copies in the training split; a copy's label was left out "
        "together with the sample's own."
        if copies
        else ""
    )
    return formats.escaped(formats.restyled(str(results.get("regime") or ""))) + note


def rows(results: Mapping[str, Any], noun: str) -> pd.DataFrame:
    """Evidence, its percentage of the whole weight and why, most trusted first; empty for runs without reasons."""
    evidence = sorted(results.get("evidence") or (), key=lambda entry: -entry["share"])
    shown = [entry for entry in evidence if entry["share"] >= LEAST or entry.get("remembers")]
    return pd.DataFrame(
        {
            "Evidence": [_title(str(entry["name"]), noun) for entry in shown],
            "Weight": [100 * float(entry["share"]) for entry in shown],
            "Why": [formats.restyled(str(entry["why"])) for entry in shown],
        }
    )


def _title(name: str, noun: str) -> str:
    """'probe on the inputs' -> 'Linear reader of the pixels'."""
    reader, _, layer = name.partition(" on ")
    place = f"the {pixels(noun)}" if layer == THE_INPUTS else layer
    titles = {
        "probe": f"Linear reader of {place}",
        "kernel": f"Curved reader of {place}",
        "neighbours": f"Most similar {noun}s by {place}",
        "validation labels": f"Taught by validation labels, from {place}",
        ITSELF: MODEL,
    }
    return titles.get(reader, name)


def added(yields: Sequence[Yield], titles: Mapping[str, str], queue: int) -> Markdown:
    """One sentence on the best order outside the queue, compared with chance."""
    best = yields[0]
    chance = formats.number(best.by_chance)
    outside = f"Outside the queue of {formats.plural(queue, 'sample')}"
    if best.errors == 0:
        return f"{outside} no signal finds a further error among its next {formats.count(best.looked)}."
    return (
        f"{outside}, the next {formats.count(best.looked)} by "
        f"**{formats.escaped(titles.get(best.signal, best.signal))}** add **{formats.plural(best.errors, 'error')}** "
        f"({formats.count(best.judged)} of them judged); as many in random order would add about {chance}."
    )
