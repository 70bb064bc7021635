"""Charts of the Robustness page: accuracy under attack and under natural changes."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from pages.ui.charts.base import COLOURS, Theme, share_ticks, styled
from pages.ui.charts.remembered import remembered
from pages.ui.words import formats

TITLES = {"pgd": "PGD (10 steps)", "fgsm": "FGSM (1 step)"}


@remembered
def accuracy_curve(facts: dict[str, Any], *, theme: Theme, height: int = 340) -> go.Figure:
    """Accuracy against attack strength, from clean on; bands are 95 % Wilson intervals.

    Args:
        facts: The record of robustness in run.json.
    """
    colours, figure = COLOURS[theme], go.Figure()
    scale = 100 if facts["pictures"] else 1
    for kind, colour in (("fgsm", colours.neutral), ("pgd", colours.harmful)):
        points = [{"strength": 0.0, **facts["clean"]}, *facts["attacks"][kind]]
        x = [scale * point["strength"] for point in points]
        high, low = ([point[end] for point in points] for end in ("high", "low"))
        figure.add_scatter(
            x=[*x, *x[::-1]],
            y=[*high, *low[::-1]],
            fill="toself",
            fillcolor=colour,
            opacity=0.15,
            line={"width": 0},
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=x,
            y=[point["value"] for point in points],
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": 7},
            customdata=[
                f"{formats.percent(point['value'])} {formats.interval(point['low'], point['high'])}"
                for point in points
            ],
            hovertemplate=f"{TITLES[kind]}<br>strength %{{x:.3~g}}<br>accuracy %{{customdata}}<extra></extra>",
        )
        position = len(points) // 2 + (kind == "fgsm")
        _label(figure, x[position], points[position]["value"], TITLES[kind], colour, above=kind == "fgsm")
    unit = "percent of the pixel range" if facts["pictures"] else facts["unit"]
    figure.update_xaxes(title_text=f"attack strength ({unit}; 0 = clean)", showgrid=False, rangemode="tozero")
    figure.update_yaxes(title_text="accuracy", range=[-0.02, 1.02], **share_ticks())
    return styled(figure, height)


def _label(figure: go.Figure, x: float, y: float, text: str, colour: str, *, above: bool) -> None:
    figure.add_annotation(
        x=x,
        y=y,
        text=text,
        showarrow=False,
        xanchor="left" if above else "right",
        yanchor="bottom" if above else "top",
        xshift=6 if above else -6,
        yshift=6 if above else -6,
        font={"size": 13, "color": colour},
    )


@remembered
def corruptions(facts: dict[str, Any], *, theme: Theme) -> go.Figure:
    """Accuracy under each natural corruption as a dot with its interval, the clean accuracy dotted."""
    colours, by_name = COLOURS[theme], facts["corruptions"]
    names = sorted(by_name, key=lambda name: -by_name[name]["value"])[::-1]
    figure = go.Figure(
        go.Scatter(
            x=[by_name[name]["value"] for name in names],
            y=[name if name != "jpeg" else "JPEG" for name in names],
            mode="markers",
            marker={"size": 9, "color": colours.accent},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [by_name[name]["high"] - by_name[name]["value"] for name in names],
                "arrayminus": [by_name[name]["value"] - by_name[name]["low"] for name in names],
                "color": colours.accent,
                "thickness": 1.5,
            },
            customdata=[formats.percent(by_name[name]["value"]) for name in names],
            hovertemplate="%{y}: accuracy %{customdata}<extra></extra>",
        )
    )
    figure.add_vline(x=facts["clean"]["value"], line={"color": colours.neutral, "width": 1, "dash": "dot"})
    figure.add_annotation(
        x=facts["clean"]["value"],
        y=1.0,
        yref="paper",
        yanchor="bottom",
        text="clean",
        showarrow=False,
        font={"size": 13},
    )
    figure.update_xaxes(title_text="accuracy", range=[0, 1.02], showgrid=False, **share_ticks())
    figure.update_yaxes(showgrid=False, ticks="", type="category")
    return styled(figure, 90 + 32 * len(names), margin={"l": 8, "r": 8, "t": 28, "b": 8, "pad": 4})
