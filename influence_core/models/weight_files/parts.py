"""Weights in parts: the index of sharded safetensors files, `model.safetensors.index.json`.

    {"weight_map": {"conv1.weight": "model-00001-of-00002.safetensors", ...}}

The index comes from a stranger: a part is a plain file name in the folder of the index, never a path or a link.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from influence_core.errors import ModelError

INDEX = ".safetensors.index.json"
MAX_BYTES = 4 * 1024**2
MAX_PARTS = 64
EXAMPLE = '{"weight_map": {"conv1.weight": "model-00001-of-00002.safetensors"}}'


def index_of(path: Path) -> Path | None:
    """Return the index that a path is, or that lies beside one part of several; None for a file by itself."""
    if path.name.endswith(INDEX):
        return path
    named = re.fullmatch(r"(.+)-\d{5}-of-(\d{5})\.safetensors", path.name)
    if not named or int(named[2]) < 2:
        return None
    index = path.with_name(f"{named[1]}{INDEX}")
    if not index.is_file():
        raise ModelError(
            f"{path.name} is one of {int(named[2])} parts. Bring all of them and {index.name}, which names them, into "
            "one folder, and open that one."
        )
    return index


def joined(index: Path, read: Callable[[Path], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Read all parts named by an index into one table; raise ModelError where they do not agree."""
    places = weight_map(index)
    parts = {name: read(part(index, name)) for name in sorted(set(places.values()))}
    held = {tensor: name for name, tensors in parts.items() for tensor in tensors}
    if held != places:
        odd = sorted(held.items() ^ places.items())[:3]
        raise ModelError(
            f"{index.name} and its parts hold different tensors, such as {odd}. Expected each tensor in the part that "
            "the index names: download all parts of the same model again."
        )
    return {tensor: parts[name][tensor] for tensor, name in places.items()}


def weight_map(index: Path) -> dict[str, str]:
    """Read the part of each tensor from an index."""
    if not index.is_file():
        raise ModelError(f"There is no index of weights at {index}.")
    if index.stat().st_size > MAX_BYTES:
        raise ModelError(f"{index.name} has {index.stat().st_size:,} bytes; at most {MAX_BYTES:,} are read.")
    try:
        content: Any = json.loads(index.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{index.name} is not valid JSON: {error}.") from error
    places = content.get("weight_map") if isinstance(content, dict) else None
    if (
        not isinstance(places, dict)
        or not places
        or not all(isinstance(name, str) for name in places.values())
    ):
        raise ModelError(f"{index.name} does not say which part holds which tensor; expected {EXAMPLE}.")
    if len(set(places.values())) > MAX_PARTS:
        raise ModelError(
            f"{index.name} names {len(set(places.values())):,} parts; at most {MAX_PARTS} are read."
        )
    return places


def part(index: Path, name: str) -> Path:
    """Return the path of a part; raise ModelError for a name that leads out of the folder or to nothing."""
    path = index.with_name(name) if name == Path(name).name and "\\" not in name and name else None
    if path is None or path.suffix != ".safetensors" or path.is_symlink():
        raise ModelError(
            f"{index.name} names the part {name[:80]!r}; expected the plain name of a .safetensors file beside it."
        )
    if not path.is_file():
        raise ModelError(
            f"{index.name} names the part {name}, which is not beside it. Bring all parts together."
        )
    return path
