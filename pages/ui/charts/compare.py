"""Charts of the Compare page, on how signals relate: tables in, plotly figures out; no Streamlit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from influence_core.judging.signals import Curve, Yield
from pages.ui.charts.base import COLOURS, Theme, inert, ink, styled
from pages.ui.charts.remembered import remembered
from pages.ui.words import formats

POINTS = 200
"""Points that a precision curve is drawn with: more cannot be distinguished at this size."""


def kinds(shares: Mapping[str, float], *, theme: Theme) -> go.Figure:
    """The share of the whole weight by kind of reader, largest on top."""
    shown, colours = sorted(shares, key=lambda kind: shares[kind]), COLOURS[theme]
    figure = go.Figure(
        go.Bar(
            x=[shares[kind] for kind in shown],
            y=shown,
            orientation="h",
            marker={"color": colours.accent, "line_width": 0},
            text=[formats.percent(shares[kind]) for kind in shown],
            textposition="outside",
            textfont={"color": colours.text},
            hoverinfo="skip",
            cliponaxis=False,
        )
    )
    figure.update_xaxes(visible=False, range=[0, 1.2 * max(shares.values())])
    figure.update_yaxes(showgrid=False, ticks="", type="category", tickfont_color=colours.text)
    return styled(figure, 32 + 28 * len(shown), bargap=0.35)


@remembered
def matrix(table: pd.DataFrame, titles: Mapping[str, str], *, theme: Theme, share: bool) -> go.Figure:
    """Every signal against every other as tiles with their numbers; stronger = more alike.

    Args:
        table: (s, s), index and columns are signals.
        share: The numbers are shares in [0, 1] (overlap), else correlations in [-1, 1] (agreement).
    """
    colours, names = COLOURS[theme], [titles.get(str(name), str(name)) for name in table.index]
    values = table.to_numpy(dtype=float)
    strength = np.clip(np.nan_to_num(values), 0, 1)
    figure = go.Figure(
        go.Heatmap(
            z=strength,
            x=names,
            y=names,
            zmin=0,
            zmax=1,
            colorscale=[[0, colours.faint], [1, colours.accent]],
            showscale=False,
            xgap=2,
            ygap=2,
            customdata=_hover_texts(values, share),
            hovertemplate="%{y}<br>%{x}<br>%{customdata}<extra></extra>",
        )
    )
    figure.add_scatter(  # one trace of text with its own inks: 225 annotations would take 7 s
        x=[name for _ in names for name in names],
        y=[name for name in names for _ in names],
        mode="text",
        text=[_short(value, share) for value in values.ravel()],
        textfont={"size": 11, "color": [ink(colours, float(value)) for value in strength.ravel()]},
        hoverinfo="skip",
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="")
    figure.update_xaxes(tickangle=-45, showgrid=False, ticks="")
    return styled(figure, 150 + 26 * len(names))


def _short(value: float, share: bool) -> str:
    if not np.isfinite(value):
        return "none"
    return formats.count(100 * value) if share else formats.coefficient(value)


def _hover_texts(values: np.ndarray, share: bool) -> list[list[str]]:
    def text(value: float) -> str:
        if not np.isfinite(value):
            return "one of them is constant"
        return f"{formats.percent(value)} in common" if share else f"rank correlation {_short(value, share)}"

    return [[text(value) for value in row] for row in values]


@remembered
def yields(measured: Sequence[Yield], titles: Mapping[str, str], *, theme: Theme) -> go.Figure:
    """Errors that each signal's next samples would add to the queue, with chance as a dotted line."""
    shown, colours = measured[::-1], COLOURS[theme]
    names = [titles.get(y.signal, y.signal) for y in shown]
    figure = go.Figure(
        go.Bar(
            x=[y.errors for y in shown],
            y=names,
            orientation="h",
            marker={
                "color": [colours.accent if y.signal == "suspicion" else colours.neutral for y in shown],
                "line_width": 0,
            },
            text=[formats.count(y.errors) for y in shown],
            textposition="outside",
            textfont={"color": colours.text},
            customdata=[[y.looked, y.judged] for y in shown],
            hovertemplate="%{y}<br>%{x} errors among %{customdata[1]} judged of the next %{customdata[0]}"
            "<extra></extra>",
            cliponaxis=False,
        )
    )
    chance = max(y.by_chance for y in shown)
    figure.add_vline(x=chance, line={"color": colours.text, "width": 1, "dash": "dot"})
    most = max(1.0, chance, *(y.errors for y in shown))
    figure.update_xaxes(title_text="errors added (dotted: at random)", range=[0, 1.15 * most], showgrid=False)
    figure.update_yaxes(showgrid=False, ticks="", type="category")
    return styled(figure, 70 + 24 * len(shown), bargap=0.35)


@remembered
def precision_recall(
    curves: Mapping[str, Curve], titles: Mapping[str, str], chosen: Sequence[str], *, theme: Theme
) -> go.Figure:
    """Precision against recall of suspicion (accent), the chosen signals, and a random order (dotted)."""
    colours, figure = COLOURS[theme], go.Figure()
    styles = {"suspicion": (colours.accent, "solid", 3), "random": (colours.neutral, "dot", 1.5)}
    others = [
        (colours.helpful, "solid"),
        (colours.harmful, "solid"),
        (colours.helpful, "dash"),
        (colours.harmful, "dash"),
    ]
    spare = iter(others)
    for name in dict.fromkeys(["random", *chosen, "suspicion"]):
        if name not in curves:
            continue
        colour, dash, width = styles.get(name) or (*next(spare), 1.5)
        recall, precision = _thinned(curves[name])
        title = titles.get(name, name)
        figure.add_scatter(
            x=100 * recall,
            y=100 * precision,
            mode="lines",
            name=title,
            line={"color": colour, "width": width, "dash": dash},
            hovertemplate=f"{inert(title)}<br>%{{x:.1f}}{formats.THIN}% of the errors found<br>"
            f"%{{y:.1f}}{formats.THIN}% of those looked at are errors<extra></extra>",
        )
    unit = f"{formats.THIN}%"
    figure.update_xaxes(title_text="recall: share of the errors found", range=[0, 101], ticksuffix=unit)
    figure.update_yaxes(title_text="precision: errors among those looked at", range=[0, 103], ticksuffix=unit)
    return styled(figure, 420, showlegend=True, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})


def _thinned(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    places = np.unique(np.linspace(0, len(curve.recall) - 1, POINTS).round().astype(int))
    return curve.recall[places], curve.precision[places]
