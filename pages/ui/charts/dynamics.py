"""Charts of how samples are learned over a training: pure functions, in the look of base.py."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go

from pages.ui.charts.base import COLOURS, Theme, styled
from pages.ui.charts.remembered import remembered

SHOWN = 20_000
"""Most points of each kind on the map, for speed; of larger runs a random part of the rest is drawn."""


@remembered
def cartography(
    variability: np.ndarray,
    confidence: np.ndarray,
    ids: Sequence[str],
    chosen: np.ndarray,
    *,
    name: str,
    theme: Theme,
    height: int = 420,
) -> go.Figure:
    """Every sample as a point: the mean probability of its given label, and how much that changed.

    Args:
        variability, confidence: (n,). chosen: row positions that stand out, called `name`.
    """
    colours, n = COLOURS[theme], len(confidence)
    rest = np.setdiff1d(np.arange(n), chosen)
    if len(rest) > SHOWN:
        rest = np.sort(np.random.default_rng(0).choice(rest, SHOWN, replace=False))
    figure = go.Figure()
    for rows, colour, size, opacity in (
        (rest, colours.neutral, 4, 0.45),
        (chosen[:SHOWN], colours.harmful, 6, 0.85),
    ):
        figure.add_scattergl(
            x=variability[rows],
            y=confidence[rows],
            mode="markers",
            marker={"size": size, "color": colour, "opacity": opacity, "line_width": 0},
            customdata=[[int(row), escape(str(ids[row]))] for row in rows],
            hovertemplate="%{customdata[1]}<br>confidence %{y:.3~g}, variability %{x:.3~g}<extra></extra>",
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": opacity}},
        )
    widest = min(0.55, 1.25 * float(np.nanmax(variability, initial=0.2)))
    for x, y, text, anchor in (
        (0, 1.04, "easy", "left"),
        (0, -0.05, "hard", "left"),
        (widest, 0.5, "wavering", "right"),
    ):
        figure.add_annotation(
            x=x, y=y, text=text, showarrow=False, xanchor=anchor, font={"size": 12, "color": colours.neutral}
        )
    figure.add_annotation(
        x=1, y=1, xref="paper", yref="paper", text=name, showarrow=False, xanchor="right", yanchor="top",
        font={"size": 13, "color": colours.harmful},
    )  # fmt: skip
    figure.update_xaxes(
        title_text="variability (standard deviation over epochs)", range=[-0.02, widest], showgrid=False
    )
    figure.update_yaxes(title_text="confidence (mean probability of the given label)", range=[-0.08, 1.08])
    return styled(figure, height)


@remembered
def trajectories(
    values: np.ndarray,
    chosen: np.ndarray,
    ids: Sequence[str],
    *,
    unit: str,
    name: str,
    theme: Theme,
    height: int = 420,
) -> go.Figure:
    """A number over the epochs: the middle of all samples as a grey band, some samples as lines.

    Args:
        values: (e, n), NaN where a sample was not seen. chosen: row positions to draw, called `name`.
    """
    colours, epochs = COLOURS[theme], np.arange(1, len(values) + 1)
    low, middle, high = np.nanquantile(values, [0.1, 0.5, 0.9], axis=1)
    figure = go.Figure()
    figure.add_scatter(x=epochs, y=low, mode="lines", line={"width": 0}, hoverinfo="skip")
    figure.add_scatter(
        x=epochs, y=high, mode="lines", line={"width": 0}, fill="tonexty", fillcolor="rgba(134,142,150,0.22)",
        hoverinfo="skip",
    )  # fmt: skip
    figure.add_scatter(
        x=epochs, y=middle, mode="lines", line={"color": colours.neutral, "width": 2, "dash": "dot"},
        hovertemplate="median of all: %{y:.3~g}<extra></extra>",
    )  # fmt: skip
    for row in chosen:
        figure.add_scatter(
            x=epochs, y=values[:, row], mode="lines+markers", line={"color": colours.harmful, "width": 1.5},
            marker={"size": 5}, opacity=0.8 if len(chosen) > 1 else 1.0,
            hovertemplate=f"{escape(str(ids[row]))}<br>epoch %{{x}}: %{{y:.3~g}}<extra></extra>",
        )  # fmt: skip
    for shift, text, colour in (
        (32, name, colours.harmful),
        (14, "all: median, 10 to 90 %", colours.neutral),
    ):
        figure.add_annotation(
            x=0, y=1, xref="paper", yref="paper", yshift=shift, text=escape(text), showarrow=False, xanchor="left",
            yanchor="middle", font={"size": 13, "color": colour},
        )  # fmt: skip
    drawn = np.concatenate([values[:, chosen].ravel(), low, high])
    least, most = float(np.nanmin(drawn)), float(np.nanmax(drawn))
    room = 0.04 * (most - least or 1)
    if least < 0 < most:
        figure.add_hline(y=0, line={"color": colours.neutral, "width": 1})
    figure.update_yaxes(title_text=unit, range=[least - room, most + room])
    figure.update_xaxes(title_text="epoch", showgrid=False, tickformat="d", range=[0.8, len(values) + 0.2])
    return styled(figure, height, margin={"l": 8, "r": 8, "t": 44, "b": 8, "pad": 4})
