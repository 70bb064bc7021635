"""Reading and writing of model.json: architecture, class order and preprocessing of a network.

{"architecture": "small_cnn",
 "classes": ["cat", "dog"],
 "preprocessing": {"channels": 1, "size": [28, 28], "mean": [0.5], "std": [0.5]}}
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path

from influence_core.data.encoding import encoding_from
from influence_core.errors import ModelError
from influence_core.models.preprocessing import Preprocessing, described

MAX_BYTES = 1024**2
EXAMPLE = '{"channels": 1, "size": [28, 28], "mean": [0.5], "std": [0.5]}'


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
    if path.stat().st_size > MAX_BYTES:
        raise ModelError(f"{path} has {path.stat().st_size:,} bytes; at most {MAX_BYTES:,} are read.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not valid JSON: {error}.") from error
    names = [field.name for field in fields(Spec)]
    if not isinstance(content, dict) or set(content) - set(names):
        shown = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ModelError(f"{path} holds {shown}; expected a table with {', '.join(names)} and nothing else.")
    return Spec(
        architecture=read_architecture(content.get("architecture"), path),
        classes=read_classes(content.get("classes"), path),
        preprocessing=read_preprocessing(content.get("preprocessing"), path),
    )


def write_spec(path: Path, architecture: str, classes: tuple[str, ...], preprocessing: Preprocessing) -> None:
    """Write model.json beside a file of weights."""
    spec = {"architecture": architecture, "classes": list(classes), "preprocessing": described(preprocessing)}
    path.write_text(json.dumps(spec, indent=2) + "\n", encoding="utf-8")


def read_architecture(architecture: object, path: Path) -> str | None:
    if architecture is not None and not isinstance(architecture, str):
        raise ModelError(f"{path}: architecture is {architecture!r}; expected a name such as small_cnn.")
    return architecture


def read_classes(names: object, path: Path) -> tuple[str, ...] | None:
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelError(f"{path}: classes must be a list of names, in the order of the network's outputs.")
    return check_classes(tuple(names), str(path))


def check_classes(classes: tuple[str, ...], where: str) -> tuple[str, ...]:
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise ModelError(
            f"{where} names the classes {list(classes)[:12]}; expected two or more, all different."
        )
    return classes


def read_preprocessing(entry: object, path: Path) -> Preprocessing | None:
    if entry is None:
        return None
    try:
        if not isinstance(entry, dict):
            raise TypeError("not a table")
        size = entry["size"]
        mean, std = (tuple(float(value) for value in entry[name]) for name in ("mean", "std"))
        return Preprocessing(
            channels=int(entry["channels"]),
            size=None if size is None else (int(size[0]), int(size[1])),
            mean=mean,
            std=std,
            table=encoding_from(entry["table"], mean, std) if entry.get("table") else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise ModelError(f"{path}: preprocessing is {entry!r}; expected {EXAMPLE}.") from error
