"""The three pictures of the Start page, find, understand and repair, drawn from a real run of the demo.

    python -m pages.ui.reports.story RUN      redraws them from a finished run into pages/ui/reports/story/

They are files, not drawn on each visit: the Start page must look the same before anything was analysed.
"""

from __future__ import annotations

import base64
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from influence_core.runs.run import Run, open_run
from pages.ui.charts.base import COLOURS, class_colour

FOLDER = Path(__file__).with_name("story")
WIDTH, HEIGHT = 320, 150
GREY, ACCENT, MARK = "#868E96", COLOURS["light"].accent, "#E8590C"


@dataclass(frozen=True, slots=True)
class Chapter:
    """One of the three pictures, its title, and the sentence below it."""

    name: str
    title: str
    sentence: str

    @property
    def picture(self) -> str:
        return (FOLDER / f"{self.name}.svg").read_text("utf-8")


CHAPTERS = (
    Chapter(
        "find",
        "Find",
        "Every training sample gets scores: how strongly it pushes your model, and in which direction.",
    ),
    Chapter(
        "understand", "Understand", "See what pushes the same way, why a label is in doubt, and what it does."
    ),
    Chapter("repair", "Repair", "Keep, relabel or remove by keyboard, then export the corrected data."),
)


def draw(run: Run) -> dict[str, str]:
    """The three pictures as SVG, by chapter name."""
    order = np.argsort(-run.samples["suspicion"].to_numpy(dtype=float), kind="stable")
    return {"find": _find(run, order), "understand": _understand(run, order), "repair": _repair(run, order)}


def _find(run: Run, order: np.ndarray) -> str:
    """A wall of images with the three most suspicious ringed."""
    quiet = np.random.default_rng(3).choice(order[len(order) // 2 :], 21, replace=False)
    marked = {2: order[0], 11: order[3], 19: order[6]}
    parts, side, gap = [], 34, 5
    left = (WIDTH - 8 * side - 7 * gap) / 2
    for place in range(24):
        x, y = left + place % 8 * (side + gap), 18 + place // 8 * (side + gap)
        row = marked[place] if place in marked else quiet[place % 21]
        parts.append(_thumbnail(run, int(row), x, y, side, opacity=1.0 if place in marked else 0.45))
        if place in marked:
            parts.append(_ring(x, y, side))
    return _svg(parts)


def _understand(run: Run, order: np.ndarray) -> str:
    """The map of the run, in the colours of its classes, the most suspicious on top in one colour."""
    table = run.samples
    xy = table[["map_x", "map_y"]].to_numpy(dtype=float)
    low, high = xy.min(axis=0), xy.max(axis=0)
    place = (xy - low) / (high - low) * [WIDTH - 40, HEIGHT - 20] + [20, 10]
    place[:, 1] = HEIGHT - place[:, 1]
    codes = {name: code for code, name in enumerate(run.classes)}
    some = np.random.default_rng(0).choice(len(table), min(700, len(table)), replace=False)
    labels = table["label"].to_numpy()
    parts = [_dot(place[row], class_colour(codes[str(labels[row])]), 2.0, 0.8) for row in some]
    return _svg(
        [
            *parts,
            *(_dot(place[row], MARK, 3.2, 1.0, 'stroke="#FFFFFF" stroke-width="0.8"') for row in order[:40]),
        ]
    )


def _repair(run: Run, order: np.ndarray) -> str:
    """Three decisions: the image, the letter of the decision, the label before and after."""
    table, parts = run.samples, []
    for place, (letter, position) in enumerate(zip("LXL", order[[0, 9, 4]], strict=True)):
        x, row = 22 + place * 98, table.iloc[int(position)]
        given, suggested = str(row["label"]), str(row["suggested_label"])
        parts += [
            _thumbnail(run, int(position), x, 14, 80, opacity=0.4 if letter == "X" else 1.0),
            _badge(x + 62, 8, letter),
            _text(x + 40, 112, given, GREY, "line-through"),
            _text(x + 40, 130, "removed" if letter == "X" else suggested, ACCENT if letter == "L" else GREY),
        ]
    return _svg(parts)


def _thumbnail(run: Run, position: int, x: float, y: float, side: float, opacity: float) -> str:
    content, media_type = run.thumbnail(position)
    data = f"data:{media_type};base64,{base64.b64encode(content).decode()}"
    place = f'x="{x:g}" y="{y:g}" width="{side:g}" height="{side:g}"'
    return f'<image href="{data}" {place} opacity="{opacity}" style="image-rendering:pixelated"/>'


def _ring(x: float, y: float, side: float) -> str:
    return (
        f'<rect x="{x - 2:g}" y="{y - 2:g}" width="{side + 4:g}" height="{side + 4:g}" rx="4" '
        f'fill="none" stroke="{MARK}" stroke-width="2.5"/>'
    )


def _dot(place: np.ndarray, colour: str, radius: float, opacity: float, more: str = "") -> str:
    where = f'cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="{radius}"'
    return f'<circle {where} fill="{colour}" opacity="{opacity}" {more}/>'


def _badge(x: float, y: float, letter: str) -> str:
    colour = ACCENT if letter == "L" else MARK
    return (
        f'<rect x="{x:g}" y="{y:g}" width="24" height="24" rx="6" fill="{colour}"/>'
        f'<text x="{x + 12:g}" y="{y + 17:g}" text-anchor="middle" font-size="14" font-weight="700" '
        f'fill="#FFFFFF">{letter}</text>'
    )


def _text(x: float, y: float, text: str, colour: str, decoration: str = "none") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="middle" font-size="13" fill="{colour}" '
        f'text-decoration="{decoration}">{escape(text)}</text>'
    )


def _svg(parts: list[str]) -> str:
    """The SVG document. A picture inside <img> cannot load web fonts, so it names system fonts."""
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    fonts = "font-family=\"Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif\""
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {fonts}>{"".join(parts)}</svg>'


def main(folder: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, picture in draw(open_run(folder)).items():
        (FOLDER / f"{name}.svg").write_text(picture, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
