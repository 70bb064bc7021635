"""Charts show the numbers they were given, in one look; the same class has the same colour everywhere."""

import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from pages.ui.charts import base as base_charts
from pages.ui.charts import overview as overview_charts

CLASSES = ("coat", "dress", "sandal")
COUNTS = pd.DataFrame([[0, 7, 1], [0, 0, 0], [3, 0, 0]], index=CLASSES, columns=CLASSES)
TABLE = pd.DataFrame(
    {"auroc": [0.97, 0.9, 0.5], "average_precision": [0.9, 0.7, 0.1]}, index=["suspicion", "loss", "random"]
)


def distribution(values: np.ndarray, cut: float, high: bool = True, **options: object) -> go.Figure:
    return base_charts.distribution(
        values, cut=cut, high_is_suspicious=high, title="loss", cut_label="here", theme="light", **options
    )


def every_chart(theme: base_charts.Theme) -> list[go.Figure]:
    values = np.linspace(0, 1, 500)
    return [
        base_charts.distribution(
            values, cut=0.5, high_is_suspicious=True, title="loss", cut_label="here", theme=theme
        ),
        overview_charts.confusion(COUNTS, theme=theme),
        base_charts.class_mix(np.array([0, 0, 2]), CLASSES, theme=theme),
        overview_charts.detection(TABLE, {"loss": "Loss"}, theme=theme),
    ]


def test_a_class_keeps_its_colour_whatever_is_selected() -> None:
    everything = base_charts.class_mix(np.array([0, 1, 1, 2]), CLASSES, theme="light")
    selection = base_charts.class_mix(np.array([2, 2, 2]), CLASSES, theme="dark")
    colour = dict(zip(everything.data[0].y, everything.data[0].marker.color, strict=True))
    assert selection.data[0].marker.color[0] == colour["sandal"] == base_charts.class_colour(2)


def test_class_colours_are_distinct_and_begin_with_okabe_ito() -> None:
    assert len(set(base_charts.CLASS_COLOURS)) == len(base_charts.CLASS_COLOURS) == 27
    assert base_charts.CLASS_COLOURS[:3] == ("#E69F00", "#56B4E9", "#009E73")
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in base_charts.CLASS_COLOURS)
    assert base_charts.class_colour(27) == base_charts.class_colour(0), (
        "more classes than colours start again"
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_charts_share_one_look(theme: base_charts.Theme) -> None:
    for figure in every_chart(theme):
        layout = figure.layout
        assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0,0,0,0)", (
            "a box in the other theme's colour"
        )
        assert (layout.margin.l, layout.margin.r, layout.margin.t, layout.margin.b) == (8, 8, 8, 8)
        assert layout.height is not None, "without a height the page jumps when the chart arrives"
        assert layout.showlegend is False
        assert layout.separators == ".\u202f"


def test_charts_have_no_logo() -> None:
    assert base_charts.CONFIG["displaylogo"] is False


@pytest.mark.parametrize("cut", [-1.0, 0.0, 0.123, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("scale", [True, False])
def test_a_distribution_counts_every_sample_once(cut: float, scale: bool) -> None:
    values = np.random.default_rng(0).random(1000)
    figure = distribution(values, cut, suspicion_scale=scale)
    assert sum(figure.data[0].y) == 1000


def test_no_bar_lies_on_both_sides_of_the_cut() -> None:
    values = np.random.default_rng(0).random(1000)
    figure = distribution(values, 0.3333, suspicion_scale=True)
    edges = figure.data[0].customdata
    assert not any(low < 0.3333 < high for low, high in edges)
    doubtful = [y for (low, _), y in zip(edges, figure.data[0].y, strict=True) if low >= 0.3333]
    assert sum(doubtful) == (values >= 0.3333).sum()


def test_the_doubtful_side_of_a_low_is_suspicious_score_is_the_left_one() -> None:
    figure = distribution(np.linspace(-1, 1, 100), 0.0, high=False)
    colours = figure.data[0].marker.color
    assert (colours[0], colours[-1]) == (
        base_charts.COLOURS["light"].accent,
        base_charts.COLOURS["light"].neutral,
    )


def test_a_constant_score_is_one_bar() -> None:
    assert sum(distribution(np.full(50, 3.0), 3.0).data[0].y) == 50


def test_a_click_on_the_confusion_names_both_labels() -> None:
    clicks = overview_charts.confusion(COUNTS, theme="light").data[-2]
    assert clicks.customdata.tolist() == [["coat", "dress"], ["coat", "sandal"], ["sandal", "coat"]]
    assert list(clicks.text) == ["7", "1", "3"]


def test_each_row_of_the_confusion_has_its_sum_and_no_click_on_it() -> None:
    figure = overview_charts.confusion(COUNTS, theme="light")
    sums = figure.data[-1]
    assert list(sums.text) == ["8", "0", "3"] and sums.hoverinfo == "skip", "a click on a sum names no pair"
    assert list(figure.layout.xaxis.categoryarray) == [*CLASSES, overview_charts.ALL]


def test_the_first_signals_are_shown_with_suspicion_and_chance() -> None:
    names = ["suspicion", *(f"s{rank}" for rank in range(9)), "random"]
    table = pd.DataFrame({"auroc": [0.5, *(0.9 - 0.01 * rank for rank in range(9)), 0.5]}, index=names)
    shown = overview_charts.leading(table)
    assert list(shown.index) == ["suspicion", "s0", "s1", "s2", "s3", "s4", "random"]


def test_an_empty_confusion_draws() -> None:
    overview_charts.confusion(COUNTS * 0, theme="dark")


def test_suspicion_stands_out_among_the_signals() -> None:
    dots = overview_charts.detection(TABLE, {}, theme="light").data[-1]
    assert list(dots.y) == ["random", "loss", "suspicion"], "best on top"
    accent = [name for name, colour in zip(dots.y, dots.marker.color, strict=True) if colour == "#3B5BDB"]
    assert accent == ["suspicion"]


def test_a_figure_is_kept_for_its_own_numbers_and_no_others() -> None:
    """A hash of a sample of the array, as Streamlit's, would give one run the picture of another."""

    def drawn(values: np.ndarray, theme: base_charts.Theme = "light"):
        return base_charts.probabilities(values, ("coat", "dress"), theme=theme)

    first = drawn(np.array([0.3, 0.7]))
    assert drawn(np.array([0.3, 0.7])) is first, "the same page was drawn twice"
    assert drawn(np.array([0.3, 0.7 + 1e-12])) is not first
    assert drawn(np.array([0.3, 0.7]), "dark") is not first
