"""Explanations on screen: cards of helpful and harmful samples, and sentences about their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import pandas as pd
from PIL import Image

from influence_core.data.storage.pictures import decode_picture
from influence_core.judging.intervals import Estimate
from influence_core.run_files.tables import HELD_OUT
from influence_core.runs.answers import TOP, Explanation, FirstAnswer
from influence_core.runs.run import Run
from pages.ui.components.gallery import Bar, Card
from pages.ui.samples import cards, table_rows
from pages.ui.server.routes import thumbnail_base
from pages.ui.shell import cached
from pages.ui.words import formats
from pages.ui.words.formats import Markdown

noun = cards.noun
KINDS = {"train": "training", "val": "validation", "test": "test", "given": "uploaded"}
SIDE, CRISP = 176, 96
"""Pixels: the longer side of an enlarged picture, and the size below which its pixels stay crisp."""


def signed(value: float) -> Markdown:
    """Three significant digits with a sign: '+0.0123'."""
    return f"+{formats.number(value)}" if value > 0 else formats.number(value)


def influences(table: pd.DataFrame) -> list[float]:
    """The numbers of one end: exact ones, or the estimates of a first answer."""
    return table["influence" if "influence" in table else "estimate"].tolist()


def with_scores(
    shown: Sequence[Card], table: pd.DataFrame, notes: Sequence[str], strongest: float
) -> list[Card]:
    """Cards with their influence as a bar in its colour (full = the strongest on the page), and a note each.

    The number itself, in its unit, is read by pointing at the bar.
    """
    return [
        Card(
            **{
                **card,
                "suggested": None,
                "note": note,
                "tone": tone(value),
                "bars": [
                    Bar(
                        name="Influence",
                        value=share(value, strongest),
                        text=f"{signed(value)} per unit of learning rate",
                        tone=tone(value),
                    )
                ],
            }
        )
        for card, value, note in zip(shown, influences(table), notes, strict=True)
    ]


def shares(values: Sequence[float], total: float) -> list[str]:
    """'0.9 %' for each influence; `total` is the sum of all of that sign, without its sign."""
    if not total > 0:
        return [f"number {rank}" for rank in range(1, len(values) + 1)]
    return [formats.small_percent(abs(value) / total) for value in values]


def doubted(cards: Sequence[Card], cut: float) -> list[Card]:
    """The cards, with a mark on those whose own label is in doubt."""
    marked = (
        {**card, "doubt": "in doubt"} if float(card.get("suspicion") or 0) >= cut else {**card}
        for card in cards
    )
    return [Card(**card) for card in marked]


def doubts(cards: Sequence[Card]) -> Markdown:
    """How many of the cards carry a label that is itself in doubt."""
    marked = sum("doubt" in card for card in cards)
    if not marked:
        return f"The {formats.plural(len(cards), 'strongest', 'strongest')}."
    carry = "carries a label that is itself" if marked == 1 else "carry labels that are themselves"
    return f"{formats.count(marked)} of the {formats.count(len(cards))} strongest {carry} in doubt."


def tone(value: float) -> str:
    """The colour of an influence: positive = helpful."""
    return "helpful" if value > 0 else "harmful"


def share(value: float, strongest: float) -> float:
    return min(1.0, abs(value) / strongest) if strongest > 0 else 0.0


def held_out_cards(run: Run, name: str, split: str, positions: Sequence[int]) -> list[Card]:
    """Cards of validation or test samples, without suggestion and decision: they cannot be decided."""
    table, base = run.table(HELD_OUT[split]), thumbnail_base(run, name, split)
    cells = cached.held_out_cells(run.id, HELD_OUT[split], run)
    plain = [
        Card(
            id=str(table.index[row]),
            src=f"{base}{row}",
            given=str(table["label"].iloc[row]),
            note=verdict(str(table["predicted"].iloc[row]), float(table["confidence"].iloc[row])),
            split=split,
        )
        for row in map(int, positions)
    ]
    if cells is None:
        return plain
    faces = [table_rows.plain_cells(cells, int(row)) for row in positions]
    return [
        Card(**{**card, "cells": face[: table_rows.SHOWN], "all": face})
        for card, face in zip(plain, faces, strict=True)
    ]


def verdict(predicted: str, confidence: float) -> str:
    """'→ Coat 97.5 %'."""
    return f"→ {predicted} {formats.percent(confidence)}"


def headline(found: Explanation | FirstAnswer) -> Markdown:
    """The model's prediction for this sample and its label, in one sentence."""
    says = f"The model says **{formats.escaped(found.predicted)}** ({formats.percent(found.confidence)})"
    if found.sample_id is None and found.label == found.predicted:
        return f"{says}."
    agrees = "and so does the label" if found.predicted == found.label else "the label says"
    named = "" if found.predicted == found.label else f" **{formats.escaped(found.label)}**"
    return f"{says}, {agrees}{named}."


def what_counts(found: Explanation | FirstAnswer) -> Markdown:
    """What helps and what hurts, in one line of plain words."""
    if found.among == "val":
        return "Helps: one training step on this sample lowers the loss of that validation sample. Hurts: it raises it."
    if found.title.startswith("lead of "):
        lead = formats.escaped(found.title)
        return f"Helps: one training step on the sample raises the {lead}. Hurts: it lowers it."
    return "Helps: one training step on the sample lowers the loss of this prediction. Hurts: it raises it."


def how_found(found: Explanation | FirstAnswer) -> Markdown:
    """What is exact, and what may be missing from the top."""
    if isinstance(found, FirstAnswer):
        return "A fast estimate from stored sketches of the gradients. Exact numbers follow in a moment."
    quality, kind = found.quality, KINDS[found.among]
    if quality.scored == quality.n:
        return f"All {formats.count(quality.n)} {kind} samples were checked exactly."
    return (
        f"Fast estimate of all {formats.count(quality.n)} first, then {formats.count(quality.scored)} checked exactly; "
        f"{missing(max(quality.missed_helpful, quality.missed_harmful))}"
    )


def missing(expected: float) -> Markdown:
    """How many of the top 50 of a side may be others."""
    if expected < 1:
        return f"fewer than one of the top {TOP} should be missing."
    return f"about {round(expected)} of the top {TOP} may be others."


def measured(found: Explanation) -> Markdown:
    """The agreement of sketches and exact numbers, and the time, for those who ask."""
    quality = found.quality
    if quality.scored == quality.n:
        return f"Computed in {formats.number(found.seconds)} s."
    return (
        f"On a random control, the sketches and the exact numbers agree with a rank correlation of "
        f"{formats.number(quality.rank_agreement)}; expected to be missing from a top {TOP}: "
        f"{formats.number(max(quality.missed_helpful, quality.missed_harmful))}. "
        f"Computed in {formats.number(found.seconds)} s."
    )


def carried(explanation: Explanation) -> Markdown:
    """The concentration of influence: the sum of the top 50 as a share of the total."""
    helps, hurts = of_total(explanation.quality.top_helpful), of_total(explanation.quality.top_harmful)
    top = min(TOP, explanation.quality.n)
    return f"The top {formats.count(top)} of each side carry {helps} of all help and {hurts} of all harm."


def of_total(portion: Estimate) -> Markdown:
    if portion.low == portion.high:
        return formats.percent(portion.value)
    return f"{formats.percent(portion.value)} {formats.escaped(formats.interval(portion.low, portion.high))}"


def enlarged(content: bytes) -> bytes:
    """A picture resized for viewing, as PNG: small ones keep their pixels crisp."""
    picture, target = decode_picture(content), BytesIO()
    times = SIDE / max(picture.size)
    size = (max(1, round(picture.width * times)), max(1, round(picture.height * times)))
    resampling = Image.Resampling.NEAREST if max(picture.size) < CRISP else Image.Resampling.LANCZOS
    picture.resize(size, resampling).save(target, "PNG")
    return target.getvalue()
