"""The scores of a run in words: the orders they give, their titles, and what each means.

Every score says its sign, unit, target and layers in one line, from the run's own record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pages.ui.words import formats
from pages.ui.words.formats import Markdown


@dataclass(frozen=True, slots=True)
class Order:
    """One way to sort the samples: its column, its title, and which end comes first."""

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
"""The orders that any run can have; the most suspicious sample comes first in each of them."""


def orders(columns: Mapping[str, Mapping[str, str]]) -> list[Order]:
    """Every order of one run: those of ORDERS that it has, then its own objectives, such as a fairness gap.

    Args:
        columns: The run's record of each column.
    """
    usual = [order for order in ORDERS if order.column in columns]
    usual_columns = {order.column for order in ORDERS}
    objectives = [name for name in columns if name.startswith("influence_") and name not in usual_columns]
    return usual + [Order(name, columns[name]["title"], lowest_first=True) for name in objectives]


def order_named(title: str, columns: Mapping[str, Mapping[str, str]]) -> Order:
    """The run's order with this title (the title is what the address bar carries)."""
    return next(order for order in orders(columns) if order.title == title)


def title_of(column: str, columns: Mapping[str, Mapping[str, Any]]) -> str:
    """The title of a score: the app's own where it has one, else the run's, else its name."""
    if column == "random":
        return "Random order"
    title = next((order.title for order in ORDERS if order.column == column), None)
    return title or columns.get(column, {}).get("title") or column


def axis_title(order: Order, columns: Mapping[str, Mapping[str, Any]]) -> str:
    """The title of an axis, with its unit when the run names one: 'Loss (nats)'."""
    unit = columns.get(order.column, {}).get("unit")
    return f"{order.title} ({unit})" if unit and unit not in order.title else order.title


def score_sentence(column: str, columns: Mapping[str, Mapping[str, Any]]) -> Markdown:
    """Meaning, sign, unit, target and layers of a score in one line of plain words, which name columns of data."""
    record = columns.get(column, {})
    parts = [str(record.get("meaning") or title_of(column, columns)).rstrip(".")]
    if record.get("positive_means"):
        parts.append(f"High means {record['positive_means']}")
    for label, key in (("Unit", "unit"), ("Target", "target"), ("Layers", "layers")):
        if record.get(key):
            parts.append(f"{label}: {_listed(record[key])}")
    return formats.plain_sentence(". ".join(parts) + ".")


def _listed(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
