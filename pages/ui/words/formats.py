"""How does a number or a score read on screen? Plain words and formats; no Streamlit, no plotly.

Numbers: three significant digits, a thin space between thousands, percentages with one decimal, intervals in
brackets. Every score says its sign, unit, target and layers in one line, from the run's own record.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

THIN = "\u202f"
"""A narrow space that does not break: between thousands and before a unit."""
MINUS = "\u2212"


@dataclass(frozen=True, slots=True)
class Order:
    """One way to sort the samples: its column, its title, and which end stands first."""

    column: str
    title: str
    lowest_first: bool = False


ORDERS = (
    Order("suspicion", "Suspicion"),
    Order("grad_norm", "Gradient norm (L2, all layers)"),
    Order("grad_norm_l1", "Gradient norm (L1, all layers)"),
    Order("grad_norm_last", "Gradient norm (last layer)"),
    Order("outlier_forest", "Isolation forest"),
    Order("outlier_l1", "Outlier gradient (L1)"),
    Order("outlier_l2", "Outlier gradient (L2)"),
    Order("loss", "Loss"),
    Order("margin", "Margin", lowest_first=True),
    Order("el2n", "EL2N"),
    Order("confident_learning", "Confident learning (cleanlab)", lowest_first=True),
    Order("knn_shapley", "KNN-Shapley", lowest_first=True),
    Order("aum", "AUM (margin over training)", lowest_first=True),
    Order("self_influence", "Self-influence"),
    Order("influence_utility", "Influence on validation loss", lowest_first=True),
    Order("influence_worst_class", "Influence on the class it hurts most", lowest_first=True),
    Order("layer_aware", "Layer-aware influence", lowest_first=True),
)
"""The orders a run can have whatever it was asked; the most suspicious sample stands first in each of them."""


def orders(columns: Mapping[str, Mapping[str, str]]) -> list[Order]:
    """Every order of one run: those of ORDERS that it has, then its own objectives, such as a fairness gap.

    Args:
        columns: What the run's record says of each column.
    """
    usual = [order for order in ORDERS if order.column in columns]
    known = {order.column for order in ORDERS}
    own = [name for name in columns if name.startswith("influence_") and name not in known]
    return usual + [Order(name, columns[name]["title"], lowest_first=True) for name in own]


def order_named(title: str, columns: Mapping[str, Mapping[str, str]]) -> Order:
    """The run's order with this title (the title is what the address bar carries)."""
    return next(order for order in orders(columns) if order.title == title)


# ---------------------------------------------------------------------------------------------- numbers


def count(value: float) -> str:
    """A whole number: 4000 -> '4 000' with a thin space."""
    return f"{round(value):,}".replace(",", THIN).replace("-", MINUS)


def number(value: float) -> str:
    """Three significant digits: 0.012345 -> '0.0123', 12345.6 -> '12 300', 1.2e-7 -> '1.20e-7'."""
    if not math.isfinite(value):
        return "none"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(float(f"{value:.2e}"))))
    if exponent < -4 or exponent > 8:
        mantissa, power = f"{value:.2e}".split("e")
        return f"{mantissa}e{int(power)}".replace("-", MINUS)
    rounded = round(value, 2 - exponent)
    return f"{rounded:,.{max(0, 2 - exponent)}f}".replace(",", THIN).replace("-", MINUS)


def percent(share: float) -> str:
    """A share of one as a percentage with one decimal: 0.0995 -> '10.0 %'."""
    return f"{100 * share:.1f}{THIN}%".replace("-", MINUS)


def interval(low: float, high: float) -> str:
    """A 95 % interval of a share, in brackets and per cent: '[85.1, 95.0]'."""
    return f"[{100 * low:.1f}, {100 * high:.1f}]".replace("-", MINUS)


def duration(seconds: float) -> str:
    """A time a person can wait by: '8 s', '1 min 20 s', '2 h 5 min'."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}{THIN}s"
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60}{THIN}s"
    return f"{whole // 3600}{THIN}h {whole % 3600 // 60}{THIN}min"


def moment(stamp: str | float | None) -> str:
    """A recorded time as '22 Nov 2026, 08:30 UTC'; an empty text when there is none."""
    if stamp is None or stamp == "":
        return ""
    when = (
        datetime.fromtimestamp(stamp, UTC)
        if isinstance(stamp, int | float)
        else datetime.fromisoformat(stamp)
    )
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return f"{when.day} {when:%b %Y, %H:%M} UTC"


def plural(value: int, noun: str, nouns: str | None = None) -> str:
    """'1 sample', '2 samples'."""
    return f"{count(value)} {noun if value == 1 else nouns or noun + 's'}"


def escaped(text: str) -> str:
    """Text from a dataset, safe inside Streamlit's markdown: shown as it is, never as formatting.

    Invisible marks that turn the direction of writing, or hide, are shown as a replacement character.
    """
    return "".join(f"\\{letter}" if letter in _MARKDOWN else letter for letter in visible(text))


def visible(text: str) -> str:
    """The text with every invisible formatting mark in plain view."""
    return "".join("\ufffd" if unicodedata.category(letter) == "Cf" else letter for letter in text)


_MARKDOWN = set("\\`*_{}[]<>()#+-.!|~$:^=\"'&")


# ---------------------------------------------------------------------------------------------- scores


def title_of(column: str, columns: Mapping[str, Mapping[str, Any]]) -> str:
    """The title of a score: the app's own where it has one, else the run's, else its name."""
    if column == "random":
        return "Random order"
    known = next((order.title for order in ORDERS if order.column == column), None)
    return known or columns.get(column, {}).get("title") or column


def axis_title(order: Order, columns: Mapping[str, Mapping[str, Any]]) -> str:
    """The title of an axis, with its unit when the run names one: 'Loss (nats)'."""
    unit = columns.get(order.column, {}).get("unit")
    return f"{order.title} ({unit})" if unit and unit not in order.title else order.title


def score_sentence(column: str, columns: Mapping[str, Mapping[str, Any]]) -> str:
    """Meaning, sign, unit, target and layers of a score in one line of plain words."""
    record = columns.get(column, {})
    parts = [str(record.get("meaning") or title_of(column, columns)).rstrip(".")]
    if record.get("positive_means"):
        parts.append(f"High means {record['positive_means']}")
    for label, key in (("Unit", "unit"), ("Target", "target"), ("Layers", "layers")):
        if record.get(key):
            parts.append(f"{label}: {_listed(record[key])}")
    return ". ".join(parts) + "."


def _listed(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
