"""Charts of a verification: dumbbells of before and after, and predictions against measurements. No Streamlit."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from influence_core.verification.results import Verification
from pages.ui.charts.base import COLOURS, Theme, inert, styled
from pages.ui.words import formats
from pages.ui.words import verify as verify_words

MOST_ROWS = 24


def shown_metrics(verification: Verification) -> list[str]:
    """The shares among the metrics: accuracy and robust accuracy first, then classes and groups by their change."""
    effects = verification.arms["repair"]["differences"]
    rest = [
        name for name in effects if name not in ("accuracy", "robust accuracy", "loss") and "gap " not in name
    ]
    rest.sort(key=lambda name: -effects[name]["value"])
    if len(rest) > MOST_ROWS - 2:
        rest = rest[: MOST_ROWS // 2 - 1] + rest[-(MOST_ROWS // 2 - 1) :]
    return [name for name in ("accuracy", "robust accuracy") if name in effects] + rest


def dumbbell(verification: Verification, *, theme: Theme) -> go.Figure:
    """Before (hollow) to after (full), the interval of the difference around it, the random control as a grey tick."""
    colours, names = COLOURS[theme], shown_metrics(verification)[::-1]
    before, after = (verification.arms[arm]["levels"] for arm in ("nothing", "repair"))
    titles = [inert(verify_words.metric_title(name)) for name in names]
    rows = list(range(len(names)))  # places by number: a class called "1" would be taken for the second row
    figure = go.Figure()
    inks = []
    for row, name in zip(rows, names, strict=True):
        effect = verification.difference(name)
        assert effect is not None
        ink = colours.neutral
        if effect.measurable:
            ink = colours.helpful if effect.value > 0 else colours.harmful
        inks.append(ink)
        ends = [100 * (before[name] + effect.low), 100 * (before[name] + effect.high)]
        figure.add_scatter(
            x=ends,
            y=[row] * 2,
            mode="lines",
            line={"color": ink, "width": 7},
            opacity=0.25,
            hoverinfo="skip",
        )
        ends = [100 * before[name], 100 * after[name]]
        figure.add_scatter(
            x=ends, y=[row] * 2, mode="lines", line={"color": ink, "width": 2}, hoverinfo="skip"
        )
    if "random" in verification.arms:
        levels = verification.arms["random"]["levels"]
        figure.add_scatter(
            x=[100 * levels[name] for name in names],
            y=rows,
            mode="markers",
            marker={"symbol": "line-ns", "size": 14, "line": {"width": 2, "color": colours.neutral}},
            text=titles,
            hovertemplate="%{text}: random repair %{x:.1f} %<extra></extra>",
        )
    figure.add_scatter(
        x=[100 * before[name] for name in names],
        y=rows,
        mode="markers",
        marker={"symbol": "circle-open", "size": 11, "line": {"width": 2}, "color": inks},
        text=titles,
        hovertemplate="%{text}: no change %{x:.1f} %<extra></extra>",
    )
    figure.add_scatter(
        x=[100 * after[name] for name in names],
        y=rows,
        mode="markers",
        marker={"size": 11, "color": inks},
        text=titles,
        hovertemplate="%{text}: repair %{x:.1f} %<extra></extra>",
    )
    for row, name, ink in zip(rows, names, inks, strict=True):
        figure.add_annotation(
            x=1, xref="paper", y=row, text=_change(verification, name), showarrow=False, xanchor="left",
            font={"size": 13, "color": ink},
        )  # fmt: skip
    figure.update_xaxes(title_text="accuracy on samples no training has seen, %")
    figure.update_yaxes(
        showgrid=False, ticks="", tickvals=rows, ticktext=titles, range=[-0.6, len(names) - 0.4]
    )
    return styled(figure, max(420, 70 + 26 * len(names)), margin={"l": 8, "r": 48, "t": 8, "b": 8})


def _change(verification: Verification, name: str) -> str:
    effect = verification.difference(name)
    assert effect is not None
    return f" {verify_words.points(effect.value)}"


def fidelity(verification: Verification, *, theme: Theme, height: int = 420) -> go.Figure:
    """Calibrated prediction against measured change of the loss, one point a change, with the line of agreement."""
    colours, rows = COLOURS[theme], verification.content["points"]
    scale = (verification.calibration or {}).get("loss") or 0.0
    predicted = np.array([scale * row["predicted"] for row in rows])
    measured = np.array([row["measured_loss"] for row in rows])
    names = [str(verify_words.ARMS.get(row["name"], row["name"])) for row in rows]
    reach = max(1e-6, float(np.abs(np.concatenate([predicted, measured])).max())) * 1.2
    figure = go.Figure(
        go.Scatter(
            x=[-reach, reach],
            y=[-reach, reach],
            mode="lines",
            line={"color": colours.neutral, "width": 1, "dash": "dot"},
            hoverinfo="skip",
        )
    )
    figure.add_scatter(
        x=predicted,
        y=measured,
        mode="markers",
        marker={
            "size": [8 + min(10, row["size"] ** 0.5 / 2) for row in rows],
            "color": [
                colours.accent if row["name"] in verify_words.ARMS else colours.neutral for row in rows
            ],
        },
        customdata=[[name, formats.count(row["size"])] for name, row in zip(names, rows, strict=True)],
        hovertemplate="%{customdata[0]}, %{customdata[1]} samples<br>predicted %{x:.3f}, measured %{y:.3f} nats"
        "<extra></extra>",
    )
    for position in _labelled(predicted / reach, measured / reach):
        name, x, y = names[position], predicted[position], measured[position]
        side = "right" if x > 0.2 * reach else "left"
        figure.add_annotation(
            x=x, y=y, text=inert(name), showarrow=False, xanchor=side, xshift=10 if side == "left" else -10,
            font={"size": 11, "color": colours.neutral},
        )  # fmt: skip
    title = "change of test loss, nats (negative = better)"
    figure.update_xaxes(title_text=f"predicted {title}", range=[-reach, reach])
    figure.update_yaxes(title_text=f"measured {title}", range=[-reach, reach])
    return styled(figure, height)


def _labelled(x: np.ndarray, y: np.ndarray) -> list[int]:
    """Positions of the points to label: the outermost first, and none whose name would lie on another's."""
    positions: list[int] = []
    for position in np.argsort(-np.hypot(x, y), kind="stable"):
        if all(
            abs(y[position] - y[other]) > 0.07 or abs(x[position] - x[other]) > 0.9 for other in positions
        ):
            positions.append(int(position))
    return positions
