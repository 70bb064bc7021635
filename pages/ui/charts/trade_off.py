"""The trade-off of two influences of each training sample, on accuracy and on something else; no Streamlit."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from pages.ui.charts.base import COLOURS, Theme, styled
from pages.ui.charts.remembered import remembered
from pages.ui.words import formats

DRAWN = 6000
"""Points of the chart, roughly; of larger runs the extremes and an even share of the rest are drawn."""
CORNERS = ((1, 1), (-1, 1), (-1, -1), (1, -1))
"""Signs of the two influences, in the order in which the quarters are named."""


@remembered
def trade_off(
    utility: np.ndarray,
    other: np.ndarray,
    *,
    quarters: tuple[str, str, str, str],
    axis: str,
    name: str,
    theme: Theme,
    height: int = 420,
) -> go.Figure:
    """Influence on validation loss across, another influence upwards, one point a training sample.

    Points have the colour of what they do upwards; each corner says what it means and how many samples are in it.

    Args:
        utility, other: influence of each sample, shape (n,); positive = helpful.
        quarters: names for a sample that helps both, hurts accuracy only, hurts both, helps accuracy only.
        axis: title of the upward axis, from what is below to what is above.
        name: what the other influence is on, as the hover says it.
    """
    colours, drawn = COLOURS[theme], _drawn(utility, other)
    x, y = utility[drawn], other[drawn]
    hue = np.where(y >= 0, colours.helpful, colours.harmful)
    figure = go.Figure(
        go.Scattergl(
            x=x,
            y=y,
            mode="markers",
            marker={"size": 5, "color": hue, "opacity": 0.55, "line_width": 0},
            customdata=drawn,
            hovertemplate=f"influence on validation loss %{{x:.3~g}}<br>on {name} %{{y:.3~g}}<extra></extra>",
        )
    )
    across, up = _reach(utility), _reach(other)
    figure.add_hline(y=0, line={"color": colours.neutral, "width": 1})
    figure.add_vline(x=0, line={"color": colours.neutral, "width": 1})
    for (sign_x, sign_y), meaning in zip(CORNERS, quarters, strict=True):
        inside = ((utility >= 0) == (sign_x > 0)) & ((other >= 0) == (sign_y > 0))
        figure.add_annotation(
            x=sign_x * across,
            y=sign_y * up,
            text=f"{meaning}: <b>{formats.count(int(inside.sum()))}</b>",
            showarrow=False,
            xanchor="right" if sign_x > 0 else "left",
            yanchor="top" if sign_y > 0 else "bottom",
            font={"size": 13},
            bgcolor={"light": "rgba(255,255,255,0.8)", "dark": "rgba(20,21,23,0.8)"}[theme],
        )
    figure.update_xaxes(
        title_text="hurts accuracy  |  influence on validation loss  |  helps", range=[-across, across]
    )
    figure.update_yaxes(title_text=axis, range=[-1.1 * up, 1.1 * up])
    return styled(figure, height)


def _reach(values: np.ndarray) -> float:
    """The end of an axis: 99.5 % of the samples lie inside; a few extreme ones would squeeze all others."""
    reach = float(np.quantile(np.abs(values), 0.995)) if len(values) else 1.0
    return reach if reach > 0 else 1.0


def _drawn(utility: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Row positions to draw: all of a small run, else the ends of both scores and evenly spaced others."""
    if len(utility) <= DRAWN:
        return np.arange(len(utility))
    far = np.argsort(
        -np.maximum(np.abs(utility) / _reach(utility), np.abs(other) / _reach(other)), kind="stable"
    )
    rest = np.sort(far[DRAWN // 2 :])
    return np.sort(np.concatenate([far[: DRAWN // 2], rest[:: max(1, len(rest) // (DRAWN // 2))]]))
