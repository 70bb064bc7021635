"""Charts of results as pure functions: arrays and tables in, plotly figures out. No Streamlit.

All share one look, set in `dressed`: quiet axes, 8 px margins, direct labels, a thin space between thousands. Text and
grid colours follow the app's light or dark theme in the browser; data colours are chosen here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from pages.ui.charts.remembered import remembered
from pages.ui.words import formats

Theme = Literal["light", "dark"]


@dataclass(frozen=True, slots=True)
class Colours:
    """The roles of the look, for one theme; `faint` is the accent at its least, `on_accent` text on it."""

    accent: str
    helpful: str
    harmful: str
    neutral: str
    border: str
    text: str
    faint: str
    on_accent: str


COLOURS: dict[Theme, Colours] = {
    "light": Colours("#3B5BDB", "#0072B2", "#D55E00", "#868E96", "#E9ECEF", "#212529", "#DBE4FF", "#FFFFFF"),
    "dark": Colours("#748FFC", "#56B4E9", "#E69F00", "#909296", "#2C2E33", "#E9ECEF", "#2B3566", "#141517"),
}

# Okabe-Ito without its black, which a dark page would swallow; then twenty more, each as far as possible
# (CIELAB, as seen with normal and with deuteranope eyes) from all before it and from the neutral grey.
CLASS_COLOURS = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#817B31", "#A8243A",
    "#F5A489", "#B689F5", "#72C059", "#42D7D7", "#943894", "#E0C36C", "#704E43", "#A2BC8F", "#396039",
    "#8E420B", "#A82466", "#F47187", "#0F58BD", "#1B7E2B", "#624D80", "#2A5E6F", "#B1A3DC", "#1F9393",
)  # fmt: skip

CONFIG: dict[str, Any] = {"displaylogo": False, "displayModeBar": False, "scrollZoom": False}
"""For `st.plotly_chart(config=...)`: no toolbar over the data, no logo."""


def class_colour(position: int) -> str:
    """The colour of a class, by its place in the model's class order: the same on every page of a run."""
    return CLASS_COLOURS[position % len(CLASS_COLOURS)]


def suspicion_colours(values: np.ndarray) -> list[str]:
    """Cividis from 0 (unsuspicious) to 1 (surely wrong)."""
    return [str(colour) for colour in sample_colorscale("cividis", np.clip(values, 0.0, 1.0).tolist())]


# ---------------------------------------------------------------------------------------------- distributions


@remembered
def distribution(
    values: np.ndarray,
    *,
    cut: float,
    high_is_suspicious: bool,
    title: str,
    cut_label: str,
    theme: Theme,
    suspicion_scale: bool = False,
    height: int = 260,
) -> go.Figure:
    """A histogram of one score; the bars beyond the cut stand out, and the cut has its own label.

    Args:
        values: One score per sample, shape (n,).
        cut: The chosen threshold, in the unit of the score.
        high_is_suspicious: Which side of the cut is in doubt.
        suspicion_scale: Colour the doubtful bars by cividis instead of the accent.
    """
    counts, edges = np.histogram(values, bins=bins(values, suspicion_scale, cut))
    centres = (edges[:-1] + edges[1:]) / 2
    doubtful = centres >= cut if high_is_suspicious else centres <= cut
    colours = COLOURS[theme]
    scale = suspicion_colours(centres) if suspicion_scale else [colours.accent] * len(centres)
    figure = go.Figure(
        go.Bar(
            x=centres,
            y=counts,
            width=np.diff(edges),
            marker={
                "color": [c if d else colours.neutral for c, d in zip(scale, doubtful, strict=True)],
                "line_width": 0,
            },
            customdata=np.column_stack([edges[:-1], edges[1:]]),
            hovertemplate="%{customdata[0]:.3~g} to %{customdata[1]:.3~g}<br>%{y:,} samples<extra></extra>",
        )
    )
    _mark_cut(figure, cut, cut_label, float(edges[0]), float(edges[-1]), colours)
    figure.update_yaxes(
        title_text="samples (log scale)", type="log", dtick=1, tickformat=",", range=_log_range(counts)
    )
    figure.update_xaxes(title_text=title, showgrid=False)
    return styled(figure, height, bargap=0)


def bins(values: np.ndarray, suspicion_scale: bool, cut: float) -> np.ndarray:
    """Edges of forty bins; one of them is the cut itself, so that no bar is half in doubt."""
    low, high = (0.0, 1.0) if suspicion_scale else (float(np.min(values)), float(np.max(values)))
    if high <= low:
        return np.array([low - 0.5, low + 0.5])
    edges = np.linspace(low, high, 41)
    if low < cut < high:
        edges[1 + int(np.argmin(np.abs(edges[1:-1] - cut)))] = cut
    return edges


def _log_range(counts: np.ndarray) -> list[float]:
    return [-0.15, float(np.log10(max(10, counts.max()))) + 0.25]


def _mark_cut(figure: go.Figure, cut: float, label: str, low: float, high: float, colours: Colours) -> None:
    figure.add_vline(x=cut, line={"color": colours.text, "width": 1, "dash": "dot"})
    left = cut > (low + high) / 2
    figure.add_annotation(
        x=cut,
        y=1.0,
        yref="paper",
        text=label,
        showarrow=False,
        xanchor="right" if left else "left",
        yanchor="top",
        xshift=-6 if left else 6,
        font={"size": 13},
    )


# ---------------------------------------------------------------------------------------------- labels


def ink(colours: Colours, share: float) -> str:
    """The text colour with more contrast (WCAG luminance) on a tile that is `share` of the way from faint to accent."""

    def light(colour: str) -> np.ndarray:
        return np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255

    def luminance(channels: np.ndarray) -> float:
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    tile = luminance((1 - share) * light(colours.faint) + share * light(colours.accent))

    def contrast(colour: str) -> float:
        low, high = sorted((tile, luminance(light(colour))))
        return (high + 0.05) / (low + 0.05)

    return max((colours.text, colours.on_accent), key=contrast)


@remembered
def class_mix(codes: np.ndarray, classes: Sequence[str], *, theme: Theme) -> go.Figure:
    """How many of the selected samples have each given label, most on top, in the colours of the classes.

    Args:
        codes: Class positions of the selected samples.
        classes: All class names, in the run's order.
    """
    counts = np.bincount(codes, minlength=len(classes))
    shown = [int(code) for code in np.argsort(counts, kind="stable") if counts[code] > 0]
    figure = go.Figure(
        go.Bar(
            x=[int(counts[code]) for code in shown],
            y=[classes[code] for code in shown],
            orientation="h",
            marker={"color": [class_colour(code) for code in shown], "line_width": 0},
            text=[formats.count(counts[code]) for code in shown],
            textposition="outside",
            textfont={"color": COLOURS[theme].text},
            cliponaxis=False,
            hoverinfo="skip",
        )
    )
    figure.update_xaxes(visible=False, range=[0, 1.15 * int(counts.max())])
    figure.update_yaxes(showgrid=False, ticks="", type="category")
    return styled(figure, 32 + 22 * len(shown), bargap=0.35)


@remembered
def probabilities(values: np.ndarray, classes: Sequence[str], *, theme: Theme, most: int = 5) -> go.Figure:
    """The likeliest classes of one prediction, best on top, in the colours of the classes.

    Args:
        values: Softmax of the model, shape (c,).
    """
    shown = [int(code) for code in np.argsort(-values, kind="stable")[:most]][::-1]
    figure = go.Figure(
        go.Bar(
            x=[float(values[code]) for code in shown],
            y=[classes[code] for code in shown],
            orientation="h",
            marker={"color": [class_colour(code) for code in shown], "line_width": 0},
            text=[formats.percent(float(values[code])) for code in shown],
            textposition="outside",
            textfont={"color": COLOURS[theme].text},
            cliponaxis=False,
            hoverinfo="skip",
        )
    )
    figure.update_xaxes(visible=False, range=[0, 1.2])
    figure.update_yaxes(showgrid=False, ticks="", type="category")
    return styled(figure, probabilities_height(classes, most), bargap=0.35)


def probabilities_height(classes: Sequence[str], most: int = 5) -> int:
    """Pixels that `probabilities` will take, for what stands in its place until it is known."""
    return 32 + 24 * min(most, len(classes))


# ---------------------------------------------------------------------------------------------- the look


def styled(figure: go.Figure, height: int, **layout: Any) -> go.Figure:
    """Give a figure the one look of all charts: on the figure, because the browser overlays templates."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8, "pad": 4},
        showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        separators=f".{formats.THIN}",
        hoverlabel={"align": "left"},
        dragmode=False,
        font={"size": 13},
    )
    figure.update_xaxes(
        automargin=True, zeroline=False, fixedrange=True, title_font_size=13, tickfont_size=12
    )
    figure.update_yaxes(
        automargin=True, zeroline=False, fixedrange=True, title_font_size=13, tickfont_size=12
    )
    figure.update_layout(**layout)
    _make_inert(figure)
    return figure


def share_ticks(most: float = 1.0) -> dict[str, Any]:
    """Ticks of an axis of shares from 0 to `most`, in whole percent: plotly's own have no space before the sign."""
    step = next((step for step in (0.01, 0.02, 0.05, 0.1) if most / step <= 6), 0.2)
    values = np.arange(0, most + step / 2, step)
    texts = [f"{round(100 * value)}{formats.THIN}%" for value in values]
    return {"tickvals": values.tolist(), "ticktext": texts}


def inert(text: str) -> str:
    """The text without tags: plotly reads a few of them, links among them, and a name from data must not become one.

    Each of its tags begins with a letter, so that a class called "<=50K" stays as it is.
    """
    return re.sub(r"<(?=/?[a-z])", "\u2039", text, flags=re.IGNORECASE)


def _make_inert(figure: go.Figure) -> None:
    """No place, label or title of a figure holds a tag; templates and annotations, which may, are ours alone."""
    traces: tuple[Any, ...] = tuple(figure.data)
    for trace in traces:
        for name in ("x", "y", "text", "name"):
            if (value := getattr(trace, name, None)) is not None:
                trace.update({name: _inert_all(value)})
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        axis.title.text = _inert_all(axis.title.text)
        for name in ("categoryarray", "ticktext"):
            if axis[name] is not None:
                axis[name] = _inert_all(axis[name])


def _inert_all(value: Any) -> Any:
    if isinstance(value, str):
        return inert(value)
    if value is None or not any(isinstance(part, str) for part in value):
        return value
    return [inert(part) if isinstance(part, str) else part for part in value]
