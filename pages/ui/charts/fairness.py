"""Charts of a gap: rates by group with intervals, and the samples that move it; no Streamlit."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from pages.ui.charts.base import COLOURS, Theme, share_ticks, styled
from pages.ui.charts.remembered import remembered
from pages.ui.words import formats


@remembered
def rates(table: pd.DataFrame, title: str, *, theme: Theme) -> go.Figure:
    """One rate by group as a dot with its 95 % interval, and a band from the lowest to the highest: the gap.

    Args:
        table: index = group; columns value, low, high, n (shares of one).
    """
    shown, colours = table.sort_values("value"), COLOURS[theme]
    names = [f"{group} (n = {formats.count(n)})" for group, n in zip(shown.index, shown["n"], strict=True)]
    figure = go.Figure()
    if len(shown) > 1:
        figure.add_vrect(
            x0=shown["value"].iloc[0],
            x1=shown["value"].iloc[-1],
            fillcolor=colours.faint,
            line_width=0,
            layer="below",
        )
    figure.add_scatter(
        x=shown["value"],
        y=names,
        mode="markers+text",
        marker={"size": 11, "color": colours.accent},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": shown["high"] - shown["value"],
            "arrayminus": shown["value"] - shown["low"],
            "color": colours.neutral,
            "thickness": 1.5,
            "width": 4,
        },
        text=[formats.percent(value) for value in shown["value"]],
        textposition="top center",
        textfont={"color": colours.text},
        cliponaxis=False,
        hovertemplate="%{y}<br>%{text}<extra></extra>",
    )
    most = float(shown[["value", "high"]].max(axis=None))
    figure.update_xaxes(title_text=title, rangemode="tozero", **share_ticks(most))
    figure.update_yaxes(showgrid=False, ticks="", type="category", range=[-0.6, len(shown) - 0.3])
    return styled(figure, 90 + 52 * len(shown))


@remembered
def contributions(table: pd.DataFrame, *, theme: Theme) -> go.Figure:
    """Sums of influence on the gap by group and given label, harmful to the left, helpful to the right.

    Args:
        table: as `fairness_words.cells` returns it, at most a dozen rows.
    """
    colours = COLOURS[theme]
    shown = table[::-1]
    names = [
        f"{group} · {label} ({formats.count(n)})"
        for group, label, n in zip(shown["group"], shown["label"], shown["n"], strict=True)
    ]
    figure = go.Figure()
    for column, colour, meaning in (
        ("widens", colours.harmful, "samples that widen the gap"),
        ("narrows", colours.helpful, "samples that narrow it"),
    ):
        figure.add_bar(
            x=shown[column],
            y=names,
            orientation="h",
            name=meaning,
            marker={"color": colour, "line_width": 0},
            customdata=[formats.number(value) for value in shown[column]],
            hovertemplate=f"%{{y}}<br>{meaning}: %{{customdata}}<extra></extra>",
        )
    figure.add_vline(x=0, line={"color": colours.neutral, "width": 1})
    figure.update_xaxes(title_text="widens  |  sum of influence  |  narrows")
    figure.update_yaxes(showgrid=False, ticks="", type="category")
    return styled(figure, 70 + 30 * len(shown), bargap=0.35, barmode="relative")
