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

MOST_WORDS = 10_000
NOT_WEIGHTS = ("optim", "sched", "loss", "criterion", "metric")  # in a key: never a set of weights
DEEPEST = 4
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
        tables, problem = arrays_in(loaded) if arrays else tables_in(loaded)
        if problem:
            return {"state": "failed", "reason": problem}
        with os.fdopen(number, "wb") as target:
            target.write(safetensors.torch.save(joined(tables)))
    except pickle.UnpicklingError as error:
        return {"state": "unsafe", "reason": "it is not a plain state dict: " + allowed_part(str(error))}
    except MemoryError:
        return {"state": "failed", "reason": "it needs more memory than a file of its size may use"}
    except Exception as error:  # a damaged file can make the parser raise anything
        first = (str(error).splitlines() or ["no reason given"])[0]
        return {"state": "failed", "reason": f"{type(error).__name__}: {first[:200]}"}
    return {"state": "converted", "sets": list(tables), "words": words}


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


def tables_in(loaded: object) -> tuple[dict[str, dict[str, torch.Tensor]], str | None]:
    """Return every table of weights in a loaded object by the keys that lead to it, and the fault or None."""
    if not isinstance(loaded, dict):
        return {}, f"it holds a {type(loaded).__name__}, not a table of tensors"
    tables = tables_below(loaded, "")
    with_layers = {path: table for path, table in tables.items() if any(map(is_layer, table.values()))}
    for path, table in (with_layers or tables).items():
        invalid = [name for name, value in table.items() if not (isinstance(name, str) and is_plain(value))]
        if invalid:
            where = f" under {path!r}" if path else ""
            return {}, f"not all of its entries{where} are plain tensors with a name: {invalid[:3]}"
    if not tables:
        return {}, f"not all of its entries are plain tensors with a name: {list(loaded)[:3]}"
    return with_layers or tables, None


def tables_below(table: dict, path: str, depth: int = 0) -> dict[str, dict]:
    """Return the innermost tables that hold tensors, by path; a list of tensors is a table of numbers."""
    found: dict[str, dict] = {}
    for key, value in table.items() if depth < DEEPEST else ():
        if not isinstance(key, str) or any(word in key.lower() for word in NOT_WEIGHTS):
            continue
        place = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            found |= tables_below(value, place, depth + 1)
        elif isinstance(value, list) and value and all(map(is_plain, value)):
            found[place] = {str(number): tensor for number, tensor in enumerate(value)}
    if not found and any(isinstance(value, torch.Tensor) for value in table.values()):
        return {path: {n: v for n, v in table.items() if not isinstance(v, int | float | None)}}
    return found


def joined(tables: dict[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return all tensors in one table; of several sets, each name begins with the number of its set."""
    several = len(tables) > 1
    return {
        f"{number}/{name}" if several else name: value.detach().clone().contiguous()
        for number, table in enumerate(tables.values())
        for name, value in table.items()
    }


def is_layer(value: object) -> bool:
    """Whether it is the matrix of a layer; statistics and class weights have one dimension, counts are integers."""
    return isinstance(value, torch.Tensor) and value.dim() > 1 and value.is_floating_point()


def arrays_in(loaded: object) -> tuple[dict[str, dict[str, torch.Tensor]], str | None]:
    """Return the tensors of data, (x, y) or tables of them, as one table, and the fault or None."""
    found = {
        name: value.detach()
        for name, value in named_parts(loaded, "")
        if isinstance(value, torch.Tensor) and is_plain(value)
    }
    if not found:
        return {}, f"it holds no tensors ({type(loaded).__name__}); expected (x, y), or a table of tensors"
    # NumPy has no bfloat16; in float32 it is the same number
    plain = {name: value.float() if value.dtype == torch.bfloat16 else value for name, value in found.items()}
    return {"": plain}, None


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
