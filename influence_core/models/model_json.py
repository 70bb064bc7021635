"""Reading and writing of model.json: architecture, class order and preprocessing of a network.

{"architecture": "small_cnn",
 "classes": ["cat", "dog"],
 "preprocessing": {"channels": 1, "size": [28, 28], "mean": [0.5], "std": [0.5]}}
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from influence_core.data.encoding import encoding_from
from influence_core.errors import ModelError
from influence_core.models.preprocessing import Preprocessing, described

MAX_BYTES = 1024**2
EXAMPLE_PREPROCESSING = '{"channels": 1, "size": [28, 28], "mean": [0.5], "std": [0.5]}'
EXAMPLE = (
    f'{{"architecture": "small_cnn", "classes": ["cat", "dog"], "preprocessing": {EXAMPLE_PREPROCESSING}}}'
)


@dataclass(frozen=True)
class Spec:
    """Facts about a network that its weights do not contain; None for a missing one."""

    architecture: str | None = None
    classes: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None


def read_spec(path: Path) -> Spec:
    """Read model.json; a missing file is an empty Spec."""
    if not path.is_file():
        return Spec()
    content = read_table(path)
    names = [field.name for field in fields(Spec)]
    if set(content) - set(names):
        raise ModelError(
            f"{path.name} holds {sorted(content)[:12]}; expected a table with {', '.join(names)} and nothing else."
        )
    return Spec(
        architecture=read_architecture(content.get("architecture"), path.name),
        classes=read_classes(content.get("classes"), path.name),
        preprocessing=read_preprocessing(content.get("preprocessing"), path.name),
    )


def read_table(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file of a stranger."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ModelError(f"{path.name} has {size:,} bytes; at most {MAX_BYTES:,} are read.")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        json.dumps(content, ensure_ascii=False).encode()  # half a surrogate pair could not be shown
    except RecursionError as error:
        raise ModelError(f"{path.name} is nested too deeply to be read; expected {EXAMPLE}.") from error
    except ValueError as error:
        raise ModelError(f"{path.name} is not valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path.name} holds a {type(content).__name__}; expected a table such as {EXAMPLE}.")
    return content


def write_spec(path: Path, architecture: str, classes: tuple[str, ...], preprocessing: Preprocessing) -> None:
    """Write model.json beside a file of weights."""
    spec = {"architecture": architecture, "classes": list(classes), "preprocessing": described(preprocessing)}
    path.write_text(json.dumps(spec, indent=2) + "\n", encoding="utf-8")


def read_architecture(architecture: object, where: str) -> str | None:
    if architecture is not None and not isinstance(architecture, str):
        raise ModelError(
            f"{where}: architecture is {shown(architecture)}; expected a name such as small_cnn."
        )
    return architecture


def read_classes(names: object, where: str) -> tuple[str, ...] | None:
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelError(f"{where}: classes must be a list of names, in the order of the network's outputs.")
    return check_classes(tuple(names), where)


def check_classes(classes: tuple[str, ...], where: str) -> tuple[str, ...]:
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise ModelError(
            f"{where} names the classes {list(classes)[:12]}; expected two or more, all different."
        )
    return classes


def read_preprocessing(entry: object, where: str | Path) -> Preprocessing | None:
    """Read the entry `preprocessing` of model.json, of run.json or of the command line."""
    if entry is None:
        return None
    try:
        if not isinstance(entry, dict):
            raise TypeError("not a table")
        size = entry["size"]
        mean, std = numbers(entry["mean"]), numbers(entry["std"])
        return Preprocessing(
            channels=whole(entry["channels"]),
            size=None if size is None else side_pair(size),
            mean=mean,
            std=std,
            table=encoding_from(entry["table"], mean, std) if entry.get("table") else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise ModelError(
            f"{where}: preprocessing is {shown(entry)}; expected {EXAMPLE_PREPROCESSING}."
        ) from error


def numbers(entry: Any) -> tuple[float, ...]:
    """One number for all channels, or one per channel; words are not read as numbers."""
    values = entry if isinstance(entry, list | tuple) else [entry]
    if not all(type(value) in (int, float) for value in values):
        raise TypeError("not numbers")
    return tuple(float(value) for value in values)


def whole(value: Any) -> int:
    if type(value) not in (int, float) or value != int(value):
        raise TypeError("not a whole number")
    return int(value)


def side_pair(size: Any) -> tuple[int, int]:
    height, width = (whole(side) for side in size)
    return height, width


def shown(entry: object) -> str:
    text = repr(entry)
    return text if len(text) < 200 else f"{text[:200]}..."
