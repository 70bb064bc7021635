"""Reader of weight files, the only one in the main process.

safetensors files are numbers and a JSON header: they cannot contain code. They are read into memory once, checked by
their header, and parsed from that memory, so that the file cannot change between check and use. Pickled state dicts
are converted by `quarantine.py` first; every other format is refused.
"""

from dataclasses import replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from influence_core.errors import ModelError, UnsafeFileError
from influence_core.models.weight_files.parts import index_of, joined
from influence_core.models.weight_files.quarantine import convert_state_dict
from influence_core.models.weight_files.safetensors_header import check_finite, check_header
from influence_core.models.weight_files.sets import Weights, chosen
from influence_core.models.weight_files.sniffing import RECIPE, file_kind
from influence_core.models.weight_files.spellings import unmasked
from influence_core.system.missed_files import in_place_of

MAX_FILE = 8 * 1024**3
PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".tar", ".th")


def read_weights(path: Path, key: str | None = None) -> Weights:
    """Read the tensors of one network from a weight file, by name, pruned ones multiplied by their masks.

    Args:
        path: A file, or the index of a file in parts.
        key: The set of weights to read, where a file holds several.

    Raises:
        UnsafeFileError: If the file could run code when opened, whatever its name says.
        SeveralSetsError: If it holds several different sets, and no key was given.
        ModelError: If it cannot be read as weights.
    """
    found = chosen(read_tables(path), key, path.name)
    check_finite(found.tensors, path.name)
    tensors, pruned = unmasked(found.tensors)
    notes = list(found.notes)
    if pruned:
        notes.append(f"{pruned} tensors of {path.name} were pruned: their masks were applied.")
    if wide := sum(tensor.dtype == torch.float64 for tensor in tensors.values()):
        notes.append(f"{wide} tensors of {path.name} are float64; they are read as float32, to seven digits.")
    return replace(found, tensors=tensors, notes=tuple(notes))


def read_tables(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Read every set of weights of a file, by the keys that lead to it."""
    if (index := index_of(path)) is not None:
        return {"": joined(index, read_safetensors)}
    check_file(path)
    content = file_kind(path)
    if content.kind == "safetensors":
        return {"": read_safetensors(path)}
    if content.kind == "state dict" and path.suffix.lower() in PICKLED:
        data, sets = convert_state_dict(path)
        return by_set(parse_safetensors(data, path), sets)
    if content.kind == "state dict":
        raise UnsafeFileError(
            f"{path.name} was refused: its name ends in {path.suffix!r}, but it is {content.text}. {RECIPE}"
        )
    raise UnsafeFileError(f"{path.name} was refused: it is {content.text}. {RECIPE}")


def by_set(tensors: dict[str, torch.Tensor], sets: list[str]) -> dict[str, dict[str, torch.Tensor]]:
    if len(sets) == 1:
        return {sets[0]: tensors}
    return {
        name: {
            key.partition("/")[2]: tensor for key, tensor in tensors.items() if key.startswith(f"{number}/")
        }
        for number, name in enumerate(sets)
    }


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    check_file(path)
    return parse_safetensors(path.read_bytes(), path)


def check_file(path: Path) -> None:
    if not path.is_file():
        raise ModelError(
            f"There is no weight file at {path}. Expected model.safetensors (preferred) or a .pt state dict."
        )
    size = path.stat().st_size
    if size > MAX_FILE:
        raise ModelError(f"{path.name} has {size:,} bytes; at most {MAX_FILE:,} are read.")
    if came := in_place_of(path):
        raise ModelError(f"{path.name} is {came}.")


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
