"""Finished row ranges of a sweep on disk, verified before use, so that a killed sweep can continue.

A shard is one safetensors file, written under a temporary name and renamed, so a reader never sees half of one. It
holds the key of its pass and a checksum of its numbers. If either does not match, its rows are recomputed. Anything
that could change one of a sweep's numbers changes the key.
"""

import functools
import hashlib
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, FunctionType
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from influence_core.engine.directions import Direction
from influence_core.engine.losses import Loss

FORM = 4
"""Version of the engine's numbers, increased when they change. Sketches of versions 1 and 2 folded other entries
together; version 3 kept the outputs of sequences."""


def key_of(
    model: nn.Module,
    directions: Sequence[Direction],
    loss: Loss,
    settings: Sequence[object],
    fingerprint: str,
) -> str:
    """Digest of the model's structure, code and weights, directions, loss, settings and the samples' fingerprint."""
    forwards = sorted(_code(kind.forward) for kind in {type(module) for module in model.modules()})
    trained = sorted(name for name, value in model.named_parameters() if value.requires_grad)
    digest = hashlib.sha256(
        f"{FORM}:{list(settings)}:{fingerprint}:{trained}:{_code(loss)}:{forwards}:{model!r}".encode()
    )
    tensors = [*model.named_parameters(), *model.named_buffers()]
    for index, direction in enumerate(directions):
        tensors += [(f"{index}:{name}", value) for name, value in direction.items()]
    for name, value in tensors:
        digest.update(f"{name}:{tuple(value.shape)};".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _code(what: object, within: tuple[object, ...] = ()) -> str:
    """What a function computes, as far as Python exposes it: instructions, constants, defaults and what it closes over.

    A docstring changes nothing. An object that cannot be pickled is never the same again: its rows are recomputed.
    """
    if isinstance(what, type) or any(what is one for one in within):
        return repr(what)  # `super()` closes over its class, a recursive function over itself
    if isinstance(what, functools.partial):
        held, text = [what.func, what.args, sorted(what.keywords.items())], "partial"
    elif isinstance(what, FunctionType):
        held = [cell.cell_contents for cell in what.__closure__ or ()]
        held += [*(what.__defaults__ or ()), *sorted((what.__kwdefaults__ or {}).items())]
        text = _instructions(what.__code__, what.__doc__)
    else:
        try:
            return hashlib.sha256(pickle.dumps(what)).hexdigest()
        except (pickle.PicklingError, AttributeError, TypeError):
            return uuid4().hex
    return f"{text}{[_code(one, (*within, what)) for one in held]}"


def _instructions(code: CodeType, text: str | None = None) -> str:
    """Instructions, names and constants; those of inner functions instead of their addresses."""
    constants = [
        one if not isinstance(one, CodeType) else _instructions(one) for one in code.co_consts if one != text
    ]
    return f"{code.co_code.hex()}:{constants}:{code.co_names}"


def write_shard(folder: Path, start: int, key: str, tensors: dict[str, Tensor]) -> None:
    """Write rows from `start` on, atomically: the file appears only when it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    contiguous = {name: value.contiguous() for name, value in tensors.items()}
    temporary = folder / f".{start:09d}.{os.getpid()}.part"
    save_file(contiguous, temporary, metadata={"key": key, "checksum": _checksum(contiguous)})
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, _place(folder, start))


def read_shard(folder: Path, start: int, key: str) -> dict[str, Tensor] | None:
    """The shard's tensors; None when it is missing, of another pass, truncated or altered."""
    path = _place(folder, start)
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            notes = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError):
        return None  # a damaged file is not an error: these rows are computed again
    valid = notes.get("key") == key and notes.get("checksum") == _checksum(tensors)
    return tensors if valid else None


def _place(folder: Path, start: int) -> Path:
    return folder / f"{start:09d}.safetensors"


def _checksum(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        digest.update(f"{name}:{tuple(tensors[name].shape)}:{tensors[name].dtype};".encode())
        digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
