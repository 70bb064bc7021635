"""The map: a WebGL scatter of samples that returns the outline of a lasso in data coordinates.

Coordinates, colours and hover values are sent as packed bytes. Each is uploaded to the graphics card only when it
changed, so recolouring keeps selection and zoom. Only the polygon of a lasso comes back; `inside` finds the samples in
it, by the rule with which the browser greys out the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from streamlit.components.v2 import component

from pages.ui.shell import frame

_HERE = Path(__file__).parent
_STOPS = ("00224e", "123570", "3b496c", "575d6d", "707173", "8a8678", "a59c74", "c3b369", "e1cc55", "fee838")
_LARGE = 100_000  # points; above this the coordinates are fetched over HTTP once instead of sent with a rerun

Polygon = list[tuple[float, float]]


@dataclass(frozen=True)
class Categories:
    """A legend of named colours; the palette holds one colour a name, in the same order."""

    title: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Scale:
    """A legend of a colour bar from `low` to `high`; the palette runs from the first to the last colour."""

    title: str
    low: float
    high: float


@dataclass(frozen=True)
class Rings:
    """Which points have a ring and are drawn last, (n,) bool, and what the legend says of them."""

    of: np.ndarray
    title: str


@dataclass(frozen=True)
class Hover:
    """One line of the tooltip, "title: value". With `names`, the values are positions in it."""

    title: str
    values: np.ndarray
    names: tuple[str, ...] | None = None


_mount = component(
    "influence_map",
    html="<div class='root'></div>",
    css=(_HERE / "map.css").read_text("utf-8"),
    js="\n".join((_HERE / name).read_text("utf-8") for name in ("ending.js", "map_points.js", "map.js")),
)


def scatter_map(
    *,
    key: str,
    xy: np.ndarray,
    colour: np.ndarray,
    palette: Sequence[str],
    legend: Categories | Scale,
    hover: Sequence[Hover] = (),
    size: np.ndarray | None = None,
    rings: Rings | None = None,
    quiet: int = 0,
    thumbnails: str | None = None,
    points_url: str | None = None,
    focus: int | None = None,
    height: int = 560,
    label: str = "Map of the training samples",
) -> Polygon | None:
    """Draw the map; return the polygon of the lasso, or None when nothing is selected.

    Args:
        key: must contain the run: the selection belongs to it.
        xy: (n, 2) coordinates; must not change under one key unless another run is meant.
        colour: (n,) uint8, index into `palette`.
        palette: up to 256 colours as "#rrggbb".
        hover: the lines of the tooltip, e.g. given label, predicted label, suspicion.
        size: (n,) uint8, 0 the smallest and 255 the largest dot; None: all the same.
        rings: points that stand out, for example the labels in doubt.
        quiet: how many of the first colours of the palette are drawn in one quiet grey.
        thumbnails: the address to which a position is appended for its picture (`routes.thumbnail_base`).
        points_url: where a browser fetches `xy` of more than 100,000 points (`routes.points_url`).
        focus: position of one sample to mark and to bring into view.
    """
    key = frame.key(key)
    remote = points_url if len(xy) > _LARGE else None
    blob = pack(
        xy,
        colour,
        palette,
        legend,
        hover=hover,
        size=size,
        rings=rings,
        extra={
            "quiet": quiet,
            "thumbnails": thumbnails,
            "url": remote,
            "focus": focus,
            "height": height,
            "label": label,
            "store": f"influence-map:{key}",
        },
    )
    result = _mount(key=key, data=blob, height=height + 2, on_lasso_change=lambda: None)
    return read_polygon(result.lasso)


def read_polygon(value: object) -> Polygon | None:
    """The polygon as the browser sent it, checked; None for no selection or for anything else."""
    points = value.get("polygon") if isinstance(value, dict) else None
    if not isinstance(points, list) or not 3 <= len(points) <= 5000:
        return None
    polygon = np.asarray(points, dtype=object)
    if polygon.shape != (len(points), 2) or not all(isinstance(v, int | float) for v in polygon.flat):
        return None
    numbers = polygon.astype("f8")
    return [(float(x), float(y)) for x, y in numbers] if np.isfinite(numbers).all() else None


def inside(polygon: Sequence[tuple[float, float]], xy: np.ndarray) -> np.ndarray:
    """Positions of the points inside `polygon` (even-odd rule), ascending; `xy` as float32, like the map."""
    corners = np.asarray(polygon, "f8")
    points = np.asarray(xy, "f4").astype("f8")
    low, high = corners.min(0), corners.max(0)
    near = np.flatnonzero(((points >= low) & (points <= high)).all(1))
    x, y = points[near].T
    odd = np.zeros(len(near), bool)
    x1, y1 = corners[-1]
    for x2, y2 in corners:
        crosses = np.flatnonzero((y1 > y) != (y2 > y))  # the others overflow at a very short edge
        odd[crosses] ^= x[crosses] < (x2 - x1) * (y[crosses] - y1) / (y2 - y1) + x1
        x1, y1 = x2, y2
    return near[odd]


def shade(
    values: np.ndarray, low: float | None = None, high: float | None = None, *, title: str = ""
) -> tuple[np.ndarray, Scale]:
    """Scores as palette indices for `CIVIDIS`, and the scale they were put on; NaN is drawn as the lowest.

    Without limits the scale runs from the 1st to the 99th percentile: one extreme would flatten the rest.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        finite = np.zeros(1)
    low = float(np.percentile(finite, 1)) if low is None else low
    high = float(np.percentile(finite, 99)) if high is None else high
    span = (high - low) or 1.0
    index = np.nan_to_num((values - low) / span, nan=0.0).clip(0, 1) * 255
    return index.round().astype("u1"), Scale(title, low, high)


def _ramp(stops: Sequence[str], n: int = 256) -> tuple[str, ...]:
    """`n` colours interpolated between `stops`."""
    rgb = np.array([[int(stop[i : i + 2], 16) for i in (0, 2, 4)] for stop in stops], float)
    targets, sources = np.linspace(0, 1, n), np.linspace(0, 1, len(stops))
    channels = np.stack([np.interp(targets, sources, rgb[:, c]) for c in range(3)], 1).round().astype(int)
    return tuple(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in channels)


CIVIDIS = _ramp(_STOPS)


def shade_doubt(suspicion: np.ndarray, marked: np.ndarray) -> tuple[np.ndarray, int]:
    """Suspicion as palette indices for `CIVIDIS`, and how many of the first are quiet: all below the marked ones."""
    index = (np.nan_to_num(suspicion, nan=0.0).clip(0, 1) * 255).round().astype(int)
    quiet = int(index[marked].min()) if marked.any() else 256
    return np.where(marked, index, np.minimum(index, quiet - 1)).clip(0, 255).astype("u1"), min(quiet, 256)


def pack(
    xy: np.ndarray,
    colour: np.ndarray,
    palette: Sequence[str],
    legend: Categories | Scale,
    *,
    hover: Sequence[Hover] = (),
    size: np.ndarray | None = None,
    rings: Rings | None = None,
    extra: dict[str, object] | None = None,
) -> bytes:
    """One blob for the browser: length of the JSON header (uint32), header, then the sections.

    The header names each section with its type, its offset from the end of the header, its length and a
    digest of its content; the browser uploads a section only when the digest is new.
    """
    n = len(xy)
    if not (xy.shape == (n, 2) and colour.shape == (n,) and colour.dtype == np.uint8):
        raise ValueError(
            f"The map got xy {xy.shape} and colour {colour.shape} {colour.dtype}; "
            f"expected (n, 2) and (n,) uint8, one row per sample."
        )
    arrays = {"colour": np.ascontiguousarray(colour)}
    if not (extra and extra.get("url")):
        arrays["xy"] = np.ascontiguousarray(xy, "<f4")
    if size is not None:
        arrays["size"] = np.ascontiguousarray(size, "u1")
    if rings is not None:
        arrays["ringed"] = np.where(rings.of, 255, 0).astype("u1")
    arrays |= {f"hover{i}": _compact(line) for i, line in enumerate(hover)}
    sections, body = _sections(arrays)
    header = {
        **(extra or {}),
        "n": n,
        "bounds": _bounds(xy),
        "palette": list(palette),
        "legend": _legend(legend),
        "ring": rings.title if rings is not None else None,
        "hover": [{"title": line.title, "names": line.names} for line in hover],
        "sections": sections,
    }
    text = json.dumps(header).encode()
    return len(text).to_bytes(4, "little") + text + body


def _sections(arrays: dict[str, np.ndarray]) -> tuple[list[dict[str, object]], bytes]:
    """What the header says of each array, and their bytes one after the other."""
    described, body = [], b""
    for name, array in arrays.items():
        raw = array.tobytes()
        described.append(
            {
                "name": name,
                "type": array.dtype.str[1:],
                "offset": len(body),
                "length": array.size,
                "digest": hashlib.blake2b(raw, digest_size=8).hexdigest(),
            }
        )
        body += raw
    return described, body


def _compact(line: Hover) -> np.ndarray:
    """Hover values in the smallest type that holds them: codes as u1 or u2, numbers as float32."""
    if line.names is None:
        return np.ascontiguousarray(line.values, "<f4")
    return np.ascontiguousarray(line.values, "u1" if len(line.names) <= 256 else "<u2")


def _bounds(xy: np.ndarray) -> list[float]:
    """x low, y low, x high, y high of the finite points."""
    finite = xy[np.isfinite(xy).all(1)]
    return [*map(float, finite.min(0)), *map(float, finite.max(0))] if len(finite) else [0.0, 0.0, 1.0, 1.0]


def _legend(legend: Categories | Scale) -> dict[str, object]:
    if isinstance(legend, Categories):
        return {"title": legend.title, "names": list(legend.names)}
    return {"title": legend.title, "low": legend.low, "high": legend.high}
