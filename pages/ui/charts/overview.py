"""Figures of the Overview page: labels given against labels suggested, and how well each signal finds wrong ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from pages.ui.charts.base import COLOURS, Colours, Theme, ink, styled
from pages.ui.charts.remembered import remembered
from pages.ui.words import formats

ALL = "\u200aall"
"""The column of sums: the hair space before it tells it from a class of that name."""
FIRST = 5
"""Signals beside suspicion and a random order that are enough to see at once: most lie close together."""


@remembered
def confusion(table: pd.DataFrame, *, theme: Theme, height: int = 400) -> go.Figure:
    """Given against suggested labels of the samples in doubt; a click on a cell selects it.

    Args:
        table: Counts, index = given label, columns = suggested label, both in class order, shape (c, c).

    A plotly heat map cannot be selected, so an invisible marker on each cell takes the click.
    """
    counts, colours = table.to_numpy(), COLOURS[theme]
    most = max(1, int(counts.max()))
    empty = _tiles(table, np.zeros(counts.shape), (colours.border, colours.border), 1, opacity=0.4)
    filled = _tiles(table, np.where(counts > 0, counts, np.nan), (colours.faint, colours.accent), most)
    figure = go.Figure([empty, filled, _clicks(table, most, colours), _sums(table, colours)])
    names = {"showgrid": False, "type": "category", "ticks": "", "tickfont_color": colours.text}
    figure.update_yaxes(
        title_text="given label", autorange="reversed", categoryarray=list(table.index), **names
    )
    figure.update_xaxes(
        title_text="suggested label",
        side="top",  # a heat map is taller than a window: its columns are named where reading begins
        tickangle=-45 if len(table) > 6 else 0,
        categoryarray=[*table.columns, ALL],
        **names,
    )
    return styled(figure, height)


def _tiles(
    table: pd.DataFrame, z: np.ndarray, colours: tuple[str, str], most: int, **more: Any
) -> go.Heatmap:
    scale = [[0, colours[0]], [1, colours[1]]]
    places = {"x": list(table.columns), "y": list(table.index), "xgap": 2, "ygap": 2}
    return go.Heatmap(
        z=z, zmin=0, zmax=most, colorscale=scale, showscale=False, hoverinfo="skip", **places, **more
    )


def _sums(table: pd.DataFrame, colours: Colours) -> go.Scatter:
    """How many of each row there are in all, as a last column that no click selects."""
    return go.Scatter(
        x=[ALL] * len(table),
        y=list(table.index),
        mode="text",
        text=[formats.count(value) for value in table.sum(axis=1)],
        textfont={"size": 12, "color": colours.text},
        hoverinfo="skip",
    )


def _clicks(table: pd.DataFrame, most: int, colours: Colours) -> go.Scatter:
    """The counts, and on each an invisible square that carries both labels."""
    counts = table.to_numpy()
    cells = np.argwhere(counts > 0)
    given, suggested = table.index.to_numpy()[cells[:, 0]], table.columns.to_numpy()[cells[:, 1]]
    amounts = counts[cells[:, 0], cells[:, 1]]
    inks = [ink(colours, amount / most) for amount in amounts]
    return go.Scatter(
        x=suggested,
        y=given,
        mode="markers+text",
        text=[formats.count(amount) for amount in amounts],
        textfont={"size": 12, "color": inks},
        marker={"size": 26, "symbol": "square", "opacity": 0},
        customdata=np.column_stack([given, suggested]),
        hovertemplate="given %{y}<br>suggested %{x}<br>%{text} samples<extra></extra>",
        unselected={"textfont": {"color": colours.neutral}},
    )


def leading(table: pd.DataFrame, first: int = FIRST) -> pd.DataFrame:
    """The best signals by AUROC, always with suspicion, and a random order."""
    best = table.drop(index="random", errors="ignore").sort_values("auroc", ascending=False).index[:first]
    return table.loc[[name for name in table.index if name in best or name in ("suspicion", "random")]]


@remembered
def detection(
    table: pd.DataFrame, titles: dict[str, str], *, theme: Theme, height: int | None = None
) -> go.Figure:
    """AUROC of every signal as a dot on a common axis, best on top; suspicion in the accent, chance dotted.

    Args:
        table: Index = signal, with columns auroc and average_precision, as `detection_table` gives it.
        titles: Plain title of each signal.
    """
    shown = table.sort_values("auroc")
    colours = COLOURS[theme]
    accented = [name == "suspicion" for name in shown.index]
    names = [titles.get(str(name), str(name)) for name in shown.index]
    figure = go.Figure()
    for name, value, is_accented in zip(names, shown["auroc"], accented, strict=True):
        colour = colours.accent if is_accented else colours.neutral
        figure.add_scatter(
            x=[0.5, value], y=[name, name], mode="lines", line={"color": colour, "width": 2}, hoverinfo="skip"
        )
    figure.add_scatter(
        x=shown["auroc"],
        y=names,
        mode="markers+text",
        marker={
            "size": 9,
            "color": [colours.accent if is_accented else colours.neutral for is_accented in accented],
        },
        text=[formats.number(value) for value in shown["auroc"]],
        textposition=["middle right" if value >= 0.5 else "middle left" for value in shown["auroc"]],
        hovertemplate="%{y}: AUROC %{x:.3f}<extra></extra>",
        cliponaxis=False,
    )
    figure.add_vline(x=0.5, line={"color": colours.neutral, "width": 1, "dash": "dot"})
    low = min(0.45, float(np.min(shown["auroc"].to_numpy())) - 0.06)
    figure.update_xaxes(title_text="AUROC (0.5 = chance)", range=[low, 1.06], showgrid=False)
    figure.update_yaxes(showgrid=False, ticks="", type="category")
    return styled(figure, height or 60 + 24 * len(shown))
