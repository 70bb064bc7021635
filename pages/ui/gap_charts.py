"""How is a gap drawn? Rates by group with intervals, who moves it, and what it would cost; plotly, no Streamlit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from pages.ui import words
from pages.ui.charts import COLOURS, Theme, _dress
from pages.ui.gaps import QUARTERS

DRAWN = 6000
"""Points of the trade-off chart; of larger runs the ends are drawn and a share of the middle."""


def rates(table: pd.DataFrame, title: str, *, theme: Theme) -> go.Figure:
    """One rate by group as a dot with its 95 % interval, and a band from the lowest to the highest: the gap.

    Args:
        table: index = group; columns value, low, high, n (shares of one).
    """
    shown, colours = table.sort_values("value"), COLOURS[theme]
    names = [f"{group} (n = {words.count(n)})" for group, n in zip(shown.index, shown["n"], strict=True)]
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
        text=[words.percent(value) for value in shown["value"]],
        textposition="top center",
        textfont={"color": colours.text},
        cliponaxis=False,
        hovertemplate="%{y}<br>%{text}<extra></extra>",
    )
    figure.update_xaxes(title_text=title, tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(showgrid=False, ticks="", type="category", range=[-0.6, len(shown) - 0.3])
    return _dress(figure, 90 + 52 * len(shown))


def contributions(table: pd.DataFrame, *, theme: Theme) -> go.Figure:
    """Who moves the gap: sums of influence by group and given label, harmful to the left, helpful to the right.

    Args:
        table: as `gaps.cells` gives it, at most a dozen rows.
    """
    colours = COLOURS[theme]
    shown = table[::-1]
    names = [
        f"{group} · {label} ({words.count(n)})"
        for group, label, n in zip(shown["group"], shown["label"], shown["n"], strict=True)
    ]
    figure = go.Figure()
    for column, colour, said in (
        ("widens", colours.harmful, "samples that widen the gap"),
        ("narrows", colours.helpful, "samples that narrow it"),
    ):
        figure.add_bar(
            x=shown[column],
            y=names,
            orientation="h",
            name=said,
            marker={"color": colour, "line_width": 0},
            customdata=[words.number(value) for value in shown[column]],
            hovertemplate=f"%{{y}}<br>{said}: %{{customdata}}<extra></extra>",
        )
    figure.add_vline(x=0, line={"color": colours.neutral, "width": 1})
    figure.update_xaxes(title_text="widens  |  sum of influence  |  narrows")
    figure.update_yaxes(showgrid=False, ticks="", type="category")
    return _dress(figure, 70 + 30 * len(shown), bargap=0.35, barmode="relative")


def trade_off(utility: np.ndarray, fair: np.ndarray, *, theme: Theme, height: int = 420) -> go.Figure:
    """Influence on utility across, on the gap upwards, one point a training sample, in the colour of what it
    does to the gap; each corner says what it means and how many samples are in it.

    Args:
        utility, fair: influence of each sample, shape (n,); positive = helpful.
    """
    colours, chosen = COLOURS[theme], _drawn(utility, fair)
    x, y = utility[chosen], fair[chosen]
    hue = np.where(y >= 0, colours.helpful, colours.harmful)
    figure = go.Figure(
        go.Scattergl(
            x=x,
            y=y,
            mode="markers",
            marker={"size": 5, "color": hue, "opacity": 0.55, "line_width": 0},
            customdata=chosen,
            hovertemplate="influence on validation loss %{x:.3~g}<br>on the gap %{y:.3~g}<extra></extra>",
        )
    )
    across, up = _reach(utility), _reach(fair)
    figure.add_hline(y=0, line={"color": colours.neutral, "width": 1})
    figure.add_vline(x=0, line={"color": colours.neutral, "width": 1})
    corners = (utility >= 0, fair >= 0)
    counts = [
        int((corners[0] & corners[1]).sum()),
        int((~corners[0] & corners[1]).sum()),
        int((~corners[0] & ~corners[1]).sum()),
        int((corners[0] & ~corners[1]).sum()),
    ]
    for (sign_x, sign_y), words_, amount in zip(
        ((1, 1), (-1, 1), (-1, -1), (1, -1)), QUARTERS, counts, strict=True
    ):
        figure.add_annotation(
            x=sign_x * across,
            y=sign_y * up,
            text=f"{words_}: <b>{words.count(amount)}</b>",
            showarrow=False,
            xanchor="right" if sign_x > 0 else "left",
            yanchor="top" if sign_y > 0 else "bottom",
            font={"size": 13},
            bgcolor={"light": "rgba(255,255,255,0.8)", "dark": "rgba(20,21,23,0.8)"}[theme],
        )
    figure.update_xaxes(
        title_text="hurts accuracy  |  influence on validation loss  |  helps", range=[-across, across]
    )
    figure.update_yaxes(title_text="widens  |  influence on the gap  |  narrows", range=[-1.1 * up, 1.1 * up])
    return _dress(figure, height)


def _reach(values: np.ndarray) -> float:
    """Where the axis ends: 99.5 % of the samples lie inside; a few extreme ones would squeeze all others."""
    reach = float(np.quantile(np.abs(values), 0.995)) if len(values) else 1.0
    return reach if reach > 0 else 1.0


def _drawn(utility: np.ndarray, fair: np.ndarray) -> np.ndarray:
    """Row positions to draw: all of a small run, else the ends of both scores and evenly spaced others."""
    if len(utility) <= DRAWN:
        return np.arange(len(utility))
    far = np.argsort(
        -np.maximum(np.abs(utility) / _reach(utility), np.abs(fair) / _reach(fair)), kind="stable"
    )
    rest = np.sort(far[DRAWN // 2 :])
    return np.sort(np.concatenate([far[: DRAWN // 2], rest[:: max(1, len(rest) // (DRAWN // 2))]]))
