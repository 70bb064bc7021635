"""The child of quarantine.py: reads one pickled state dict from standard input and writes it as safetensors.

Run as a script, alone: `python -I unpickle.py NUMBER SECONDS < FILE`, where NUMBER is the open file to write to. Of
this package it uses jail.py only, which it puts around itself before it touches the file: no network, no rights, no
new file, process or thread, and limits on memory, time and bytes written. Then it prints one line of JSON about how
it went. This is the only call of torch.load in the project, and its `weights_only=True` is never to be changed.
"""

import io
import json
import os
import pickle
import sys
from pathlib import Path
from typing import BinaryIO

import safetensors.torch
import torch

# At the end of the path: nothing there can pass for a library.
sys.path.append(str(Path(__file__).resolve().parents[2] / "system"))
import jail  # pyright: ignore[reportMissingImports]

WRAPPERS = ("state_dict", "model_state_dict", "model")
SPARE_BYTES = 512 * 1024**2
COPIES = 6  # as read, as separate tensors, and up to three while safetensors puts them together


def main(number: int, seconds: int) -> dict[str, object]:
    """Convert standard input to the open file and say how it went, and which walls stood."""
    warm_up()
    walls = wall_in(os.fstat(0).st_size, seconds)
    return {**converted(number), "walls": walls}


def converted(number: int) -> dict[str, str]:
    try:
        with os.fdopen(0, "rb") as file:
            loaded = read(file)
        weights, problem = tensors_in(loaded)
        if problem:
            return {"state": "failed", "reason": problem}
        with os.fdopen(number, "wb") as target:
            target.write(safetensors.torch.save(weights))
    except pickle.UnpicklingError as error:
        return {"state": "unsafe", "reason": "it is no plain state dict: " + allowed_part(str(error))}
    except MemoryError:
        return {"state": "failed", "reason": "it needs more memory than a file of its size may use"}
    except Exception as error:  # a damaged file can make the parser raise anything
        first = (str(error).splitlines() or ["no reason given"])[0]
        return {"state": "failed", "reason": f"{type(error).__name__}: {first[:200]}"}
    return {"state": "converted"}


def read(file: BinaryIO) -> object:
    return torch.load(file, map_location="cpu", weights_only=True)


def warm_up() -> None:
    """Let the libraries open and import what they need while that is still possible; both formats of torch."""
    torch.set_num_threads(1)
    for modern in (True, False):
        sample = io.BytesIO()
        torch.save({"x": torch.zeros(2)}, sample, _use_new_zipfile_serialization=modern)
        sample.seek(0)
        read(sample)
    safetensors.torch.save({"x": torch.zeros(2)})


def wall_in(size: int, seconds: int) -> list[str]:
    """Allow what a state dict of this size can need, and nothing else; returns the walls that stand."""
    walls = ["network"] if jail.without_network() else []
    jail.limited(memory=COPIES * size + SPARE_BYTES, seconds=seconds, written=2 * size + 1024**2)
    if jail.without_rights():
        walls.append("rights")
    jail.without_new_processes()
    jail.without_new_files()
    return [*walls, "memory", "time", "processes", "files"]


def tensors_in(loaded: object) -> tuple[dict[str, torch.Tensor], str | None]:
    """Find the table of tensors in what was loaded; the second value says what is wrong with it, if anything."""
    for wrapper in WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict):
        return {}, f"it holds a {type(loaded).__name__}, not a table of tensors"
    strange = [name for name, value in loaded.items() if not (isinstance(name, str) and is_plain(value))]
    if strange or not loaded:
        return {}, f"not all of its entries are plain tensors with a name: {strange[:3]}"
    return {name: value.detach().clone().contiguous() for name, value in loaded.items()}, None


def is_plain(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_quantized


def allowed_part(text: str) -> str:
    """Keep the part of torch's message that names what was found; it goes on to recommend reading it anyway."""
    found = [line.strip() for line in text.splitlines() if "GLOBAL" in line or "Unsupported" in line]
    return (found or text.splitlines() or ["no reason given"])[0][:200]


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
