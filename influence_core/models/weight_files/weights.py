"""Reader of weight files, the only one in the main process.

safetensors files are numbers and a JSON header: they cannot contain code. They are read into memory once, checked by
their header, and parsed from that memory, so that the file cannot change between check and use. Pickled state dicts
are converted by `quarantine.py` first; every other format is refused.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeVar

import safetensors
import safetensors.torch
import torch

from influence_core.errors import ModelError, UnsafeFileError
from influence_core.models.weight_files.quarantine import convert_state_dict
from influence_core.models.weight_files.safetensors_header import check_finite, check_header
from influence_core.models.weight_files.sniffing import RECIPE, file_kind

MAX_FILE = 8 * 1024**3
T = TypeVar("T")
PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a weight file by name.

    Raises:
        UnsafeFileError: If the file could run code when opened, whatever its name says.
        ModelError: If it cannot be read as weights.
    """
    check_file(path)
    content = file_kind(path)
    if content.kind == "safetensors":
        return parse_safetensors(path.read_bytes(), path)
    if content.kind == "state dict" and path.suffix.lower() in (".pt", ".pth", ".bin", ".ckpt"):
        return parse_safetensors(convert_state_dict(path), path)
    if content.kind == "state dict":
        raise UnsafeFileError(
            f"{path.name} was refused: its name ends in {path.suffix!r}, but it is {content.text}. {RECIPE}"
        )
    raise UnsafeFileError(f"{path.name} was refused: it is {content.text}. {RECIPE}")


def check_file(path: Path) -> None:
    if not path.is_file():
        raise ModelError(
            f"There is no weight file at {path}. Expected model.safetensors (preferred) or a .pt state dict."
        )
    size = path.stat().st_size
    if size > MAX_FILE:
        raise ModelError(f"{path.name} has {size:,} bytes; at most {MAX_FILE:,} are read.")


def parse_safetensors(data: bytes, path: Path) -> dict[str, torch.Tensor]:
    """Check the header, then parse the tensors of a network from memory; all must be finite."""
    weights = parse_tensors(data, path)
    check_finite(weights, path.name)
    return weights


def parse_tensors(data: bytes, path: Path) -> dict[str, torch.Tensor]:
    """Check the header, then parse the tensors from memory."""
    check_header(data, path.name)
    try:
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path.name} is not a valid safetensors file: {error}. Save the weights again."
        ) from error


def load_into(network: torch.nn.Module, weights: dict[str, torch.Tensor], where: str) -> None:
    """Copy the weights into the network.

    Raises:
        ModelError: tensors are missing, left over or of another shape or type; the text names them.
    """
    expected = network.state_dict()
    weights = complete_counters(unprefixed(weights, expected), expected)
    missing = [name for name in expected if name not in weights]
    surplus = sorted(name for name in weights if name not in expected)  # safetensors names them in any order
    misshapen = [
        f"{name}: file {described(weights[name])}, network {described(tensor)}"
        for name, tensor in expected.items()
        if name in weights and not same_kind(weights[name], tensor)
    ]
    if missing or surplus or misshapen:
        raise ModelError(mismatch_text(where, len(expected), missing, surplus, misshapen))
    network.load_state_dict(weights)


def same_kind(weight: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether shapes agree and both are floats or both integers: quantised integers are not weights."""
    return weight.shape == wanted.shape and weight.is_floating_point() == wanted.is_floating_point()


def described(tensor: torch.Tensor) -> str:
    kind = "" if tensor.is_floating_point() else f" {str(tensor.dtype).removeprefix('torch.')}"
    return f"{tuple(tensor.shape)}{kind}"


def unprefixed(named: Mapping[str, T], expected: Collection[str] = ()) -> dict[str, T]:
    """Strip prefixes of wrappers such as DataParallel from all names, unless an expected name has them too."""
    for prefix in PREFIXES:
        ours = any(name.startswith(prefix) for name in expected)
        if named and not ours and all(name.startswith(prefix) for name in named):
            return unprefixed({name.removeprefix(prefix): item for name, item in named.items()}, expected)
    return dict(named)


def complete_counters(weights: dict[str, torch.Tensor], expected: dict) -> dict[str, torch.Tensor]:
    """Add batch norm's counters of batches, which old files lack; evaluation does not depend on them."""
    counters = {name: tensor for name, tensor in expected.items() if name.endswith("num_batches_tracked")}
    return counters | weights


def mismatch_text(
    where: str, total: int, missing: list[str], surplus: list[str], misshapen: list[str]
) -> str:
    parts = (("are missing", missing), ("are left over", surplus), ("have another shape or type", misshapen))
    faults = [f"{len(names)} {fault} ({first_few(names)})" for fault, names in parts if names]
    return (
        f"{where}: of the network's {total} tensors, {'; '.join(faults)}. The weights belong to another "
        "architecture or another number of classes or channels: choose the one they were trained with."
    )


def first_few(names: list[str], limit: int = 4) -> str:
    more = f", and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
