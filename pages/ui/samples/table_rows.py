"""Rows of a table as readable faces of cards: the most telling cells, with unusual ones marked.

A cell is unusual when less than RARE of the training rows hold something as rare (influence_core/data/rarity.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from influence_core.data.rarity import RARE
from influence_core.runs.run import Run
from pages.ui.components.gallery import Card, Cell
from pages.ui.shell import cached
from pages.ui.words import formats

SHOWN = 6
DIFFERENT = 4


def with_cells(card: Card, run: Run, position: Mapping[str, int]) -> Card:
    """The card of a table row: its cells, and for each neighbour the cells that differ."""
    row = position[card["id"]]
    near = run.neighbours[row].tolist()
    neighbours = [
        {**neighbour, "cells": _different(run, row, other)}
        for neighbour, other in zip(card.get("neighbours", []), near, strict=True)
    ]
    return Card(**{**card, "cells": telling(run, row), "all": cells(run, row), "neighbours": neighbours})


def telling(run: Run, row: int) -> list[Cell]:
    """At most SHOWN cells, in the order of the columns: the unusual ones, then the first of the others."""
    all_cells = cells(run, row)
    rare = _rarity(run)[row]
    by_rarity = np.argsort(rare, kind="stable")
    odd = [int(place) for place in by_rarity if all_cells[place]["odd"]]
    rest = [place for place in range(len(all_cells)) if place not in odd]
    return [all_cells[place] for place in sorted([*odd, *rest][:SHOWN])]


def cells(run: Run, row: int) -> list[Cell]:
    """Every cell of a row, in the order of the columns."""
    table, rare = run.cells, _rarity(run)[row]
    assert table is not None, "rows are for runs of tables"
    values = table.iloc[row].tolist()
    return [
        Cell(name=str(name), text=shown(value), odd=bool(share < RARE))
        for name, value, share in zip(table.columns, values, rare, strict=True)
    ]


def plain_cells(table: pd.DataFrame, row: int) -> list[Cell]:
    """Every cell of a held-out row; unusual cells are marked for training rows only."""
    return [
        Cell(name=str(name), text=shown(value), odd=False)
        for name, value in zip(table.columns, table.iloc[row].tolist(), strict=True)
    ]


def shown(value: Any) -> str:
    """A cell as text: whole numbers without a point, a missing value as 'missing'."""
    if pd.isna(value):
        return "missing"
    if isinstance(value, bool | np.bool_ | str):
        return str(value)
    return formats.count(value) if float(value).is_integer() else formats.number(float(value))


def group_first(card: Card, name: str, group: str) -> Card:
    """The card with its group as the first cell, marked, whatever else is shown of the row."""
    first = Cell(name=name, text=group, odd=False, group=True)
    rest = [cell for cell in card.get("cells", []) if cell["name"] != name]
    return Card(**{**card, "cells": [first, *rest][:SHOWN]})


def _different(run: Run, row: int, other: int) -> list[Cell]:
    ours, theirs = cells(run, row), cells(run, other)
    return [b for a, b in zip(ours, theirs, strict=True) if a["text"] != b["text"]][:DIFFERENT]


def _rarity(run: Run) -> np.ndarray:
    rarity = cached.rarity(run.id, run)
    assert rarity is not None, "rows are for runs of tables"
    return rarity
