"""The child of quarantine.py: reads one pickled state dict from standard input and writes it as safetensors.

Run as a script, alone: `python -I unpickle.py TARGET SECONDS < FILE`. It imports nothing of this package,
limits itself before it touches the file, and prints one line of JSON about how it went. This is the only
call of torch.load in the project, and its `weights_only=True` is never to be changed.
"""

import json
import os
import pickle
import resource
import sys

import safetensors.torch
import torch

WRAPPERS = ("state_dict", "model_state_dict", "model")
SPARE_BYTES = 512 * 1024**2


def main(target: str, seconds: int) -> dict[str, str]:
    """Convert standard input to `target` and say how it went."""
    limit_resources(os.fstat(0).st_size, seconds)
    try:
        with os.fdopen(0, "rb") as file:
            loaded = torch.load(file, map_location="cpu", weights_only=True)
        weights, problem = tensors_in(loaded)
        if problem:
            return {"state": "failed", "reason": problem}
        safetensors.torch.save_file(weights, target)
    except pickle.UnpicklingError as error:
        return {"state": "unsafe", "reason": "it is no plain state dict: " + allowed_part(str(error))}
    except MemoryError:
        return {"state": "failed", "reason": "it needs more memory than a file of its size may use"}
    except Exception as error:  # a damaged file can make the parser raise anything
        return {"state": "failed", "reason": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
    return {"state": "converted"}


def limit_resources(size: int, seconds: int) -> None:
    """Allow what a state dict of this size can need: three copies in memory, one file of about the same "
    "size."""
    if sys.platform == "linux":  # elsewhere the limit on memory is not enforced, and its use not told
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        memory = used + 4 * size + SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    for name, limit in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 2 * size + 1024**2),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(name, (limit, limit))


def tensors_in(loaded: object) -> tuple[dict[str, torch.Tensor], str | None]:
    """Find the table of tensors in what was loaded; the second value says what is wrong with it, if "
    "anything."""
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
    """Keep the part of torch's message that names what was found; it goes on to recommend reading it "
    "anyway."""
    found = [line.strip() for line in text.splitlines() if "GLOBAL" in line or "Unsupported" in line]
    return (found or text.splitlines() or ["no reason given"])[0][:200]


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
