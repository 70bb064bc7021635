"""A sheet of small pictures with labels, as the file holds them or as a model sees them.

Pixels come raw from the child that opened the files. Labels and ids are escaped, so a class called <script> is harmless
text. Small pictures are shown without smoothing, as a model sees them.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from influence_core.data.storage.pictures import encode_png, picture_values, to_picture
from pages.ui.words import formats

STYLE = """
<style>
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 8px; }
.sheet figure { margin: 0; border: 1px solid #8884; border-radius: 8px; padding: 8px; min-width: 0; }
.sheet .frame { height: 88px; display: flex; align-items: center; justify-content: center; }
.sheet img { max-width: 100%; max-height: 88px; min-height: 56px; object-fit: contain; image-rendering: pixelated; }
.sheet figcaption { font-size: 0.8rem; margin-top: 4px; white-space: nowrap; overflow: hidden; }
.sheet figcaption { text-overflow: ellipsis; text-align: center; }
</style>
"""
ROWS_SHOWN = 24


def pictures(samples: Sequence[Mapping[str, Any]], pixels: Sequence[bytes]) -> None:
    """The samples as the file holds them; `pixels` (c, h, w) uint8 in their order."""
    _sheet([(fact, encode_png(raw(fact, data))) for fact, data in zip(samples, pixels, strict=True)])


def as_seen(
    samples: Sequence[Mapping[str, Any]], pixels: Sequence[bytes], channels: int, size: tuple[int, int] | None
) -> None:
    """The samples as the model sees them: channels and size of the preprocessing."""
    _sheet([(fact, encode_png(converted(fact, data, channels, size)))
            for fact, data in zip(samples, pixels, strict=True)])  # fmt: skip


def converted(
    fact: Mapping[str, Any], data: bytes, channels: int, size: tuple[int, int] | None
) -> np.ndarray:
    """Pixels (channels, h, w) uint8 after the same conversion as in an analysis."""
    return picture_values(to_picture(raw(fact, data)), channels, size)


def raw(fact: Mapping[str, Any], data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8).reshape(fact["shape"])


def _sheet(drawn: Sequence[tuple[Mapping[str, Any], bytes]]) -> None:
    figures = "".join(figure(fact, png) for fact, png in drawn)
    st.html(f'{STYLE}<div class="sheet">{figures}</div>')


def figure(fact: Mapping[str, Any], png: bytes) -> str:
    """One sample as HTML; its id and label are always text."""
    name, label = (html.escape(formats.visible(str(fact[key]))) for key in ("id", "label"))
    source = base64.b64encode(png).decode()
    return (
        f'<figure title="{name}"><div class="frame"><img alt="{label}" src="data:image/png;base64,{source}"></div>'
        f"<figcaption>{label}</figcaption></figure>"
    )


def rows(samples: Sequence[Mapping[str, Any]]) -> None:
    """Samples that are rows of a table, or of an array of numbers, with their label first."""
    table = [{"label": formats.visible(str(fact["label"])), **cells(fact)} for fact in samples[:ROWS_SHOWN]]
    st.dataframe(
        table, hide_index=True, height=420, alt="Some of the training samples, one a row, label first"
    )


def cells(fact: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of one row by the names of their columns; an array's columns are numbered."""
    if "cells" in fact:
        return {formats.visible(name): formats.visible(cell) for name, cell in fact["cells"].items()}
    return {f"x{position}": value for position, value in enumerate(fact["values"])}
