"""The form for what the model expects of a picture, by name or by number, with a preview of what it sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from influence_core.intake.uploads import Upload
from pages.ui.bring import plan, sheet
from pages.ui.shell import frame
from pages.ui.words import formats

SCALE, MEAN, STD, WIDTH, HEIGHT, CHANNELS = (
    "own_scale", "own_mean", "own_std", "own_width", "own_height", "own_channels",
)  # fmt: skip
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
GREY_IMAGENET = ([0.449], [0.226])
FROM_FILE, FROM_DATA, OWN = (
    "As given with the model, or tried before",
    "From my training samples",
    "Other numbers",
)
SEEN = 12
LARGEST = 1024


def choose(
    upload: Upload, preview: dict[str, Any], seen: dict[str, Any], architecture: str | None
) -> dict[str, Any]:
    """Channels, size, mean and std as chosen, and for a table its columns."""
    tried = (upload.plan.get("spec") or {}).get("preprocessing")
    stated = tried or seen["preprocessing"]
    guess = next((guess for guess in seen["guesses"] if guess["architecture"] == architecture), None)
    if preview["kind"] != "image":
        return features(preview, stated)
    channels = channel_count(preview, stated, guess)
    size = picture_size(preview, stated, guess, architecture)
    mean, std = scale(preview, stated, channels)
    return {"channels": channels, "size": size, "mean": mean, "std": std}


def show(how: dict[str, Any]) -> None:
    """Set the form to this preprocessing, which was just tried; for callbacks.

    Every widget gets its value: one whose state is only deleted keeps the old value in the browser.
    """
    st.session_state[SCALE] = FROM_FILE
    st.session_state[CHANNELS] = how["channels"]
    if how["size"]:
        st.session_state[HEIGHT], st.session_state[WIDTH] = how["size"]


def features(preview: dict[str, Any], stated: dict[str, Any] | None) -> dict[str, Any]:
    scales = {"As they are": ([0.0], [1.0]), FROM_DATA: (preview["mean"], preview["std"])}
    if stated is not None:
        scales = {FROM_FILE: (stated["mean"], stated["std"]), **scales}
    scale = st.selectbox("Scale of the numbers", list(scales), key=SCALE)
    mean, std = scales[scale]
    preprocessing = {"channels": preview["features"], "size": None, "mean": mean, "std": std}
    source = stated if scale == FROM_FILE and stated is not None else preview
    if source.get("table"):  # the scale also fixes which number is which column
        preprocessing |= {"table": source["table"], "channels": source.get("channels", preview["features"])}
    return preprocessing


def channel_count(
    preview: dict[str, Any], stated: dict[str, Any] | None, guess: dict[str, Any] | None
) -> int:
    """Channels from model.json or the last trial, else from the first layer of the guess, else from the pictures."""
    read = stated["channels"] if stated else guess["channels"] if guess else None
    read = read if read in (1, 3) else None
    names = {1: "Grey", 3: "Colour"}
    st.session_state.setdefault(CHANNELS, read or preview["channels"])
    choice = st.segmented_control(
        "Channels",
        [1, 3],
        format_func=names.__getitem__,
        key=CHANNELS,
        required=True,
    )
    return int(choice or read or preview["channels"])


def picture_size(
    preview: dict[str, Any],
    stated: dict[str, Any] | None,
    guess: dict[str, Any] | None,
    architecture: str | None,
) -> list[int]:
    """Height and width; where nothing fixes them, those of the pictures, or 224 for large ones, as is usual."""
    height, width = preview["size"]
    if max(height, width) > 160 and architecture not in ("small_cnn", "mlp", "logistic"):
        height = width = 224
    if guess and guess["size"]:
        height, width = guess["size"]
    if stated and stated["size"]:
        height, width = stated["size"]
    left, right = st.columns(2, gap="small")
    st.session_state.setdefault(WIDTH, min(LARGEST, width))
    st.session_state.setdefault(HEIGHT, min(LARGEST, height))
    w = left.number_input("Width, pixels", 1, LARGEST, key=WIDTH)
    h = right.number_input("Height, pixels", 1, LARGEST, key=HEIGHT)
    return [int(h), int(w)]


def scale(
    preview: dict[str, Any], stated: dict[str, Any] | None, channels: int
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation, chosen by the name of the scale."""
    from_data = (preview["mean"], preview["std"])
    if len(from_data[0]) != channels:
        from_data = ([float(np.mean(from_data[0]))], [float(np.mean(from_data[1]))])
    scales = {
        "Pixels from 0 to 1": ([0.0], [1.0]),
        "ImageNet mean and std": IMAGENET if channels == 3 else GREY_IMAGENET,
        "Pixels from -1 to 1": ([0.5], [0.5]),
        FROM_DATA: from_data,
        "Pixels from 0 to 255": ([0.0], [1 / 255]),
    }
    if stated is not None and len(stated["mean"]) in (1, channels):
        scales = {FROM_FILE: (stated["mean"], stated["std"]), **scales}
    name = st.selectbox("Scale of the pixels", [*scales, OWN], key=SCALE)
    return typed(channels) if name == OWN else scales[name]


def typed(channels: int) -> tuple[list[float], list[float]]:
    left, right = st.columns(2, gap="small")
    mean = left.text_input("Mean, one number or one per channel", "0.5", key=MEAN)
    std = right.text_input("Standard deviation", "0.5", key=STD)
    try:
        numbers = [[float(part) for part in text.replace(",", " ").split()] for text in (mean, std)]
    except ValueError:
        numbers = [[], []]
    if all(len(part) in (1, channels) for part in numbers) and min(numbers[1], default=0) > 0:
        return numbers[0], numbers[1]
    st.warning(
        f"Expected 1 or {formats.count(channels)} numbers, standard deviations above 0. Until then 0.5 is used."
    )
    return [0.5], [0.5]


def preview(upload: Upload, facts: dict[str, Any], spec: dict[str, Any]) -> None:
    """Some samples after channels and size, and the range of the numbers after the scale."""
    how = spec["preprocessing"]
    if facts["kind"] != "image" or how is None:
        return
    samples = facts["samples"][:SEEN]
    pixels = plan.pixels(upload, samples)
    size = (how["size"][0], how["size"][1])
    with st.container(border=True):
        frame.section("What the model will see")
        sheet.as_seen(samples, pixels, how["channels"], size)
        seen = [sheet.converted(fact, data, how["channels"], size) / 255
                for fact, data in zip(samples, pixels, strict=True)]  # fmt: skip
        mean, std = (np.array(how[name]).reshape(-1, 1, 1) for name in ("mean", "std"))
        scaled = [(values - mean) / std for values in seen]
        low, high = min(float(v.min()) for v in scaled), max(float(v.max()) for v in scaled)
        st.caption(
            f"{formats.count(how['channels'])} x {formats.count(size[0])} x {formats.count(size[1])} numbers "
            f"per picture, here from {formats.number(low)} to "
            f"{formats.number(high)}, on average {formats.number(float(np.mean([v.mean() for v in scaled])))}."
        )
