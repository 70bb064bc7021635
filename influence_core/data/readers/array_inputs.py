"""Inputs in arrays: their shape, their channels and their scale, the same for all splits."""

from collections.abc import Iterator, Mapping

import numpy as np

from influence_core.data.rows import some
from influence_core.errors import DataError

BRIGHT = 128
"""Numbers that reach it are pixels from 0 to 255; a largest one between 1 and this may be of another scale."""
BLOCK = 1_024
SHAPES = "(n, d), (n, h, w), (n, h, w, c) or (n, c, h, w)"


def as_inputs(array: np.ndarray, name: str) -> np.ndarray:
    """Return inputs as (n, d) or (n, c, h, w), uint8 or float32, after checking their range."""
    return inputs_of({name: array})[0][0]


def inputs_of(arrays: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], list[str]]:
    """Return the inputs of all splits in one format, (n, d) float32 or (n, c, h, w) uint8 or float32, and notes."""
    for name, array in arrays.items():
        check_shape(array, name)
    images = [array if array.ndim == 2 else channels_first(array, name) for name, array in arrays.items()]
    if len({array.shape[1:] for array in images}) > 1:
        shapes = [f"{name} {array.shape}" for name, array in arrays.items()]
        raise DataError(
            f"The splits have different shapes: {some(shapes)}. Only the first number may differ."
        )
    if images[0].ndim == 2:
        return [array.astype(np.float32) for array in images], []
    notes = [
        f"The fourth channel of {name} (transparency) was left out."
        for name, array in arrays.items()
        if array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] == 4
    ]
    pixels, said = same_scale(dict(zip(arrays, images, strict=True)))
    return pixels, notes + said


def check_shape(array: np.ndarray, name: str) -> None:
    if array.ndim not in (2, 3, 4) or not array.size or array.dtype.kind not in "uifb":
        raise DataError(
            f"{name} has shape {array.shape} and type {array.dtype}; expected numbers of shape {SHAPES} with at least "
            "one row."
        )


def channels_first(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 3:
        return array[:, None]
    first, last = array.shape[1] in (1, 3), array.shape[3] in (1, 3, 4)
    if first == last:
        reason = (
            "both the second and the last number could be"
            if first
            else "neither the second nor the last number is"
        )
        raise DataError(f"{name} has shape {array.shape}; {reason} the channels (1 or 3). Use (n, c, h, w).")
    return array if first else array[..., :3].transpose(0, 3, 1, 2)


def same_scale(images: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], list[str]]:
    """Return pixels of all splits as uint8 0..255 or float32 0..1, and notes on what was converted."""
    ranges = {name: value_range(array) for name, array in images.items()}
    highs = {name: high for name, (_, high) in ranges.items() if images[name].dtype != np.uint8}
    for name, (low, high) in ranges.items():
        if images[name].dtype != np.uint8 and low == low:  # all NaN is told row by row
            check_range(low, high, name)
    if max(highs.values(), default=0) > 1 and min(highs.values()) <= 1:
        shown = [f"{name} to {high:g}" for name, high in highs.items()]
        raise DataError(
            f"The splits have different scales: {some(shown)}. Save all of them from 0 to 255, or to 1."
        )
    if all(
        array.dtype == np.uint8 or (highs[name] > 1 and is_whole(array)) for name, array in images.items()
    ):
        notes = [
            note for name, array in images.items() for note in note_on_bytes(name, array, ranges[name][1])
        ]
        return [np.ascontiguousarray(array, dtype=np.uint8) for array in images.values()], notes
    notes = [
        f"{name} runs from {ranges[name][0]:g} to {high:g}: its values were divided by 255."
        for name, high in highs.items()
        if high > 1
    ]
    return [unit(array, highs.get(name, 255.0)) for name, array in images.items()], notes


def value_range(array: np.ndarray) -> tuple[float, float]:
    """The smallest and largest value; NaN does not count."""
    return float(np.fmin.reduce(array, axis=None)), float(np.fmax.reduce(array, axis=None))


def check_range(low: float, high: float, name: str) -> None:
    if low >= 0 and (high <= 1 or BRIGHT <= high <= 255):
        return
    advice = "Undo the normalisation; the model's mean and std belong in its preprocessing."
    if low >= 0 and high < np.inf:
        advice = f"Divide by the largest possible value, perhaps {name} / {high:g}."
    raise DataError(
        f"{name} runs from {low:g} to {high:g}; images are bytes (uint8) 0..255 or floats 0..1, before any "
        f"normalisation. {advice}"
    )


def is_whole(array: np.ndarray) -> bool:
    if array.dtype.kind in "iu":
        return True
    return all(bool((block == np.rint(block)).all()) for block in blocks(array))


def blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rows in blocks: temporary arrays then stay small."""
    for start in range(0, len(array), BLOCK):
        yield array[start : start + BLOCK]


def note_on_bytes(name: str, array: np.ndarray, high: float) -> list[str]:
    if array.dtype != np.uint8:
        return [f"{name} holds whole numbers of type {array.dtype} to {high:g}: read as bytes from 0 to 255."]
    dark = f"{name} holds bytes from 0 to {high:g} only: nearly black. If 1 means white, save {name} * 255."
    return [dark] if high <= 1 else []


def unit(array: np.ndarray, high: float) -> np.ndarray:
    pixels = np.ascontiguousarray(array, dtype=np.float32)
    return pixels / np.float32(255) if high > 1 else pixels
