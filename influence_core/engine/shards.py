"""How does a sweep survive a kill? Finished row ranges lie on disk as small files that are proven before they are used.

A shard is one safetensors file, written beside its place and renamed, so a reader never sees half of one. It carries
the key of the pass (model, data, settings) and a checksum of its numbers; any doubt means: compute it again.
"""

import hashlib
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


def write_shard(folder: Path, start: int, key: str, tensors: dict[str, Tensor]) -> None:
    """Write rows from `start` on, atomically; the file exists only when it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {name: value.contiguous() for name, value in tensors.items()}
    temporary = folder / f".{start:09d}.{os.getpid()}.part"
    save_file(whole, temporary, metadata={"key": key, "checksum": _checksum(whole)})
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, _place(folder, start))


def read_shard(folder: Path, start: int, key: str) -> dict[str, Tensor] | None:
    """The shard's tensors, or None when it is missing, of another pass, cut short or altered."""
    path = _place(folder, start)
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            notes = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError):
        return None  # a damaged file is not an error: these rows are computed again
    sound = notes.get("key") == key and notes.get("checksum") == _checksum(tensors)
    return tensors if sound else None


def _place(folder: Path, start: int) -> Path:
    return folder / f"{start:09d}.safetensors"


def _checksum(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        digest.update(f"{name}:{tuple(tensors[name].shape)}:{tensors[name].dtype};".encode())
        digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
