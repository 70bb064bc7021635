"""Explanations on screen: cards of helpful and harmful samples, and sentences about their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO

import pandas as pd
from PIL import Image

from influence_core.data.storage.pictures import decode_picture
from influence_core.judging.intervals import Estimate
from influence_core.run_files.tables import HELD_OUT
from influence_core.runs.explanations import TOP, Explanation
from influence_core.runs.run import Run
from influence_core.runs.shortlist import Quality
from pages.ui.components.gallery import Bar, Card
from pages.ui.samples import cards, table_rows
from pages.ui.server.routes import thumbnail_base
from pages.ui.shell import cached
from pages.ui.words import formats
from pages.ui.words.formats import Markdown

noun = cards.noun
KINDS = {"train": "training", "val": "validation", "test": "test", "given": "uploaded"}
SIDE, CRISP = 240, 96
"""Pixels: the longer side of an enlarged picture, and the size below which its pixels stay crisp."""


def signed(value: float) -> Markdown:
    """Three significant digits with a sign: '+0.0123'."""
    return f"+{formats.number(value)}" if value > 0 else formats.number(value)


def with_scores(shown: Iterable[Card], table: pd.DataFrame, strongest: float) -> list[Card]:
    """Cards with their influence in its colour, as a number and as a bar (full = the strongest on the page)."""
    return [
        Card(
            **{
                **card,
                "suggested": None,
                "note": signed(value),
                "tone": tone(value),
                "bars": [
                    Bar(name="Influence", value=share(value, strongest), text=signed(value), tone=tone(value))
                ],
            }
        )
        for card, value in zip(shown, table["influence"].tolist(), strict=True)
    ]


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


def headline(explanation: Explanation) -> Markdown:
    """The model's prediction for this sample and its label, in one sentence."""
    sure = formats.percent(float(explanation.probabilities.max()))
    says = f"The model says **{formats.escaped(explanation.predicted)}** ({sure})"
    if explanation.sample_id is None and explanation.label == explanation.predicted:
        return f"{says}."
    agrees = "and so does the label" if explanation.predicted == explanation.label else "the label says"
    named = "" if explanation.predicted == explanation.label else f" **{formats.escaped(explanation.label)}**"
    return f"{says}, {agrees}{named}."


def what_counts(explanation: Explanation) -> Markdown:
    """The sign, the unit and the target of the scores in one line of plain words."""
    if explanation.among == "val":
        return (
            "Exact. Positive: one training step on this sample lowers the loss of that validation sample, by this much "
            "per unit of learning rate; negative: it raises it."
        )
    if explanation.title.startswith("lead of "):
        lead = formats.escaped(explanation.title)
        return (
            f"Exact. Positive: one training step on the sample raises the {lead} (difference of the two outputs), by "
            "this much per unit of learning rate; negative: it lowers it."
        )
    return (
        "Exact. Positive: one training step on the sample lowers the loss of this prediction, by this much (nats) per "
        "unit of learning rate; negative: it raises it."
    )


def how_found(explanation: Explanation) -> Markdown:
    """How many samples were scored exactly, and what the shortlist may have missed."""
    quality = explanation.quality
    kind, seconds = KINDS[explanation.among], formats.number(explanation.seconds)
    if quality.scored == quality.n:
        return f"All {formats.count(quality.n)} {kind} samples were scored exactly, in {seconds} s."
    missed = max(quality.missed_helpful, quality.missed_harmful)
    return (
        f"{formats.count(quality.scored)} of {formats.count(quality.n)} {kind} samples were scored exactly in "
        f"{seconds} s, preselected by their sketches. Expected to be missing from either top {TOP}: "
        f"{formats.number(missed) if missed >= 0.01 else 'fewer than 0.01'}. On a random control the sketches and the "
        f"exact scores agree with a rank correlation of {agreement(quality)}."
    )


def agreement(quality: Quality) -> Markdown:
    return formats.number(quality.rank_agreement)


def carried(explanation: Explanation) -> Markdown:
    """The concentration of influence: the sum of the top 50 as a share of the total."""
    helps, hurts = of_total(explanation.quality.top_helpful), of_total(explanation.quality.top_harmful)
    top = min(TOP, explanation.quality.n)
    return (
        f"The {formats.count(top)} most helpful carry {helps} of all help, "
        f"the {formats.count(top)} most harmful {hurts} of all harm."
    )


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
