"""config.json and preprocessor_config.json beside weights, by timm and Hugging Face: class order, mean, std, size.

    timm           architecture, num_classes, label_names, pretrained_cfg: mean, std, input_size (c, h, w)
    Hugging Face   id2label, label2id, num_channels, image_size; image_mean, image_std, size, do_normalize

They are read where model.json says nothing. What was taken is said, and what they contradict.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from influence_core.errors import ModelError
from influence_core.models.architectures import architectures
from influence_core.models.model_json import Spec, numbers, read_classes, read_table, shown, whole
from influence_core.models.preprocessing import Preprocessing

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
MARKS = (
    "architecture",
    "architectures",
    "model_type",
    "num_classes",
    "label_names",
    "id2label",
    "pretrained_cfg",
)
"""Keys of which a config.json of a model has at least one; another program's file of that name is passed over."""


@dataclass(frozen=True, slots=True)
class HubConfig:
    """What the files say, and for each field of it a sentence for when it is used."""

    spec: Spec
    notes: Mapping[str, str]


def read_hub_config(folder: Path) -> HubConfig:
    """Read the two files in a folder; nothing where there are none."""
    config, processor = (read_if_there(folder / name) for name in (CONFIG, PREPROCESSOR))
    if not any(key in config for key in MARKS):
        config = {}
    timm = table_of(config, "pretrained_cfg")
    try:
        classes = read_classes(label_names(config), CONFIG)
        check_count(config, classes)
        how = preprocessing_of(config | timm, processor)
    except (TypeError, ValueError, OverflowError, KeyError, IndexError, AttributeError) as error:
        raise ModelError(
            f"{CONFIG} or {PREPROCESSOR} beside the weights cannot be understood ({type(error).__name__}: "
            f"{shown(str(error))}). Write model.json beside the weights, and take these files away."
        ) from error
    architecture = config.get("architecture")
    known = isinstance(architecture, str) and architecture in architectures()
    return HubConfig(
        Spec(str(architecture) if known else None, classes, how), said(config, processor, classes, how)
    )


def read_if_there(path: Path) -> dict[str, Any]:
    return read_table(path) if path.is_file() else {}


def table_of(config: dict[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def label_names(config: dict[str, Any]) -> list[str] | None:
    """The names of the outputs in their order; None where there are none, or only placeholders (LABEL_0)."""
    names = config.get("label_names")
    if isinstance(names, list):
        return names
    by_number = {whole(float(number)): name for number, name in table_of(config, "id2label").items()}
    if not by_number:
        by_number = {whole(float(number)): name for name, number in table_of(config, "label2id").items()}
    if sorted(by_number) != list(range(len(by_number))):
        raise ValueError(f"the labels have the numbers {sorted(by_number)[:12]}")
    ordered = [by_number[number] for number in range(len(by_number))]
    return None if not ordered or all(name == f"LABEL_{row}" for row, name in enumerate(ordered)) else ordered


def check_count(config: dict[str, Any], classes: tuple[str, ...] | None) -> None:
    outputs = config.get("num_classes")
    if classes is not None and isinstance(outputs, int) and outputs != len(classes):
        raise ModelError(
            f"{CONFIG} says num_classes {outputs} and names {len(classes)} classes: {list(classes)[:12]}. Correct the "
            "one that is wrong."
        )


def preprocessing_of(config: dict[str, Any], processor: dict[str, Any]) -> Preprocessing | None:
    """Mean, std and size together; None where one of them is said nowhere."""
    mean = processor.get("image_mean", config.get("mean"))
    std = processor.get("image_std", config.get("std"))
    if processor.get("do_normalize") is False:
        mean, std = 0.0, 1.0
    shape = config.get("input_size")
    size = size_of(processor) or (
        shape[1:] if isinstance(shape, list) else size_of({"size": config.get("image_size")})
    )
    if mean is None or std is None or size is None:
        return None
    mean, std = numbers(mean), numbers(std)
    channels = shape[0] if isinstance(shape, list) else config.get("num_channels", len(mean))
    height, width = (whole(side) for side in size)
    return Preprocessing(whole(channels), (height, width), mean, std)


def size_of(processor: dict[str, Any]) -> list[Any] | None:
    """Height and width that the network receives: after a crop, where there is one."""
    size = processor.get("size")
    if processor.get("do_center_crop") and processor.get("crop_size") is not None:
        size = processor["crop_size"]
    if isinstance(size, dict):
        side = size.get("shortest_edge")
        size = [size.get("height", side), size.get("width", side)]
    if size is None:
        return None
    return list(size) if isinstance(size, list) else [size, size]


def said(
    config: dict[str, Any],
    processor: dict[str, Any],
    classes: tuple[str, ...] | None,
    how: Preprocessing | None,
) -> dict[str, str]:
    notes = {}
    if classes is not None:
        notes["classes"] = f"The order of the classes was read from {CONFIG}: {few(classes)}."
    if how is not None:
        where = PREPROCESSOR if processor else CONFIG
        notes["preprocessing"] = (
            f"Mean {list(how.mean)}, std {list(how.std)} and size {list(how.size or ())} were read from {where}."
        )
        crop = processor.get("do_center_crop") or "shortest_edge" in table_of(processor, "size")
        if crop or (crop_share(config) or 1) < 1:
            notes["preprocessing"] += " Its pictures were cropped there; here whole ones are resized."
    return notes


def crop_share(config: dict[str, Any]) -> float | None:
    share = table_of(config, "pretrained_cfg").get("crop_pct")
    return share if isinstance(share, int | float) else None


def few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
