"""Child process of quarantine.py: converts a pickled state dict, or data, from standard input to safetensors.

Run as a script: `python -I unpickle.py NUMBER SECONDS [arrays] < FILE`; NUMBER is the descriptor of the open target. It
imports only jail.py of this package. Before it reads the file it gives up network, rights, new files, processes and
threads, and limits memory, time and bytes written. Then it prints its result as one line of JSON.

This is the only call of torch.load in the project. Never change its `weights_only=True`.
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

# At the end of the path, so that nothing there can replace a library.
sys.path.append(str(Path(__file__).resolve().parents[2] / "system"))
import jail  # pyright: ignore[reportMissingImports]

WRAPPERS = ("state_dict", "model_state_dict", "model")
MOST_WORDS = 10_000
SPARE_BYTES = 512 * 1024**2
COPIES = 6  # as read, as separate tensors, and up to three while safetensors puts them together


def main(number: int, seconds: int, arrays: bool = False) -> dict[str, object]:
    """Convert standard input into the open file; return the result and the limits in force."""
    warm_up()
    walls = wall_in(os.fstat(0).st_size, seconds)
    return {**converted(number, arrays), "walls": walls}


def converted(number: int, arrays: bool) -> dict[str, object]:
    try:
        with os.fdopen(0, "rb") as file:
            loaded = read(file)
        words = words_in(loaded) if arrays else {}
        weights, problem = arrays_in(loaded) if arrays else tensors_in(loaded)
        if problem:
            return {"state": "failed", "reason": problem}
        with os.fdopen(number, "wb") as target:
            target.write(safetensors.torch.save(weights))
    except pickle.UnpicklingError as error:
        return {"state": "unsafe", "reason": "it is not a plain state dict: " + allowed_part(str(error))}
    except MemoryError:
        return {"state": "failed", "reason": "it needs more memory than a file of its size may use"}
    except Exception as error:  # a damaged file can make the parser raise anything
        first = (str(error).splitlines() or ["no reason given"])[0]
        return {"state": "failed", "reason": f"{type(error).__name__}: {first[:200]}"}
    return {"state": "converted", "words": words}


def read(file: BinaryIO) -> object:
    return torch.load(file, map_location="cpu", weights_only=True)


def warm_up() -> None:
    """Use both formats of torch once, so that libraries are opened and imported before the limits apply."""
    torch.set_num_threads(1)
    for modern in (True, False):
        sample = io.BytesIO()
        torch.save({"x": torch.zeros(2)}, sample, _use_new_zipfile_serialization=modern)
        sample.seek(0)
        read(sample)
    safetensors.torch.save({"x": torch.zeros(2)})


def wall_in(size: int, seconds: int) -> list[str]:
    """Limit this process to the needs of a state dict of this size; return the limits in force."""
    walls = ["network"] if jail.without_network() else []
    jail.set_limits(memory=COPIES * size + SPARE_BYTES, seconds=seconds, written=2 * size + 1024**2)
    if jail.without_rights():
        walls.append("rights")
    jail.without_new_processes()
    jail.without_new_files()
    return [*walls, "memory", "time", "processes", "files"]


def tensors_in(loaded: object) -> tuple[dict[str, torch.Tensor], str | None]:
    """Return the table of tensors in a loaded object, and its fault or None."""
    for wrapper in WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict):
        return {}, f"it holds a {type(loaded).__name__}, not a table of tensors"
    invalid = [name for name, value in loaded.items() if not (isinstance(name, str) and is_plain(value))]
    if invalid or not loaded:
        return {}, f"not all of its entries are plain tensors with a name: {invalid[:3]}"
    return {name: value.detach().clone().contiguous() for name, value in loaded.items()}, None


def arrays_in(loaded: object) -> tuple[dict[str, torch.Tensor], str | None]:
    """Return the tensors of data by name: (x, y), a table, or (x, y) for each split; and the fault or None."""
    found = {name: value.detach() for name, value in named_parts(loaded, "") if is_plain(value)}
    if not found:
        return {}, f"it holds no tensors ({type(loaded).__name__}); expected (x, y), or a table of tensors"
    # NumPy has no bfloat16; in float32 it is the same number
    plain = {name: value.float() if value.dtype == torch.bfloat16 else value for name, value in found.items()}
    return {name: value.clone().contiguous() for name, value in plain.items()}, None


def named_parts(loaded: object, name: str) -> list[tuple[str, object]]:
    """Name the parts of nested tables and pairs: train/x; the first of a pair is x, the second y."""
    if isinstance(loaded, dict):
        inside = [(str(key), value) for key, value in loaded.items()]
    elif isinstance(loaded, (tuple, list)) and len(loaded) == 2 and all(map(is_plain, loaded)):
        inside = list(zip("xy", loaded, strict=True))
    elif isinstance(loaded, (tuple, list)) and 1 < len(loaded) <= 3 and not name:
        inside = list(
            zip(("train", "test") if len(loaded) == 2 else ("train", "val", "test"), loaded, strict=True)
        )
    else:
        return [(name, loaded)]
    joined = [(f"{name}/{key}" if name else key, value) for key, value in inside]
    return [part for key, value in joined for part in (named_parts(value, key) if key.count("/") < 2 else [])]


def words_in(loaded: object) -> dict[str, list[str]]:
    """Return the lists of words at the top of a table, such as the names of the classes."""
    if not isinstance(loaded, dict):
        return {}
    lists = {str(name): value for name, value in loaded.items() if isinstance(value, (list, tuple))}
    return {
        name: list(value)
        for name, value in lists.items()
        if 1 < len(value) <= MOST_WORDS and all(isinstance(word, str) and len(word) < 200 for word in value)
    }


def is_plain(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_quantized


def allowed_part(text: str) -> str:
    """Return the part of torch's message that names the content; the rest recommends reading it anyway."""
    naming = [line.strip() for line in text.splitlines() if "GLOBAL" in line or "Unsupported" in line]
    return (naming or text.splitlines() or ["no reason given"])[0][:200]


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), "arrays" in sys.argv[3:])))
