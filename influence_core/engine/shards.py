"""Finished row ranges of a sweep on disk, verified before use, so that a killed sweep can continue.

A shard is one safetensors file, written under a temporary name and renamed, so a reader never sees half of one. It
holds the key of its pass and a checksum of its numbers. If either does not match, its rows are recomputed. The key
changes with weights, samples, settings, and the code of model and loss with what it calls. Python does not show what
compiled code does, nor which attribute of another module (`settings.SCALE`) a function will read.
"""

import hashlib
import io
import os
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any
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
LIBRARIES = {*sys.stdlib_module_names, "numpy", "torch"}
"""Packages whose code counts by name, torch's by its version as well."""
PLAIN = (bool, int, float, str, tuple)
"""Types of settings, as modules and classes keep them."""


def key_of(
    model: nn.Module,
    directions: Sequence[Direction],
    loss: Loss,
    settings: Sequence[object],
    fingerprint: str,
) -> str:
    """Digest of the model's structure, code and weights, directions, loss, settings and the samples' fingerprint."""
    modules = [(name, type(module), _settings(module)) for name, module in model.named_modules()]
    trained = sorted(name for name, value in model.named_parameters() if value.requires_grad)
    facts = (FORM, list(settings), fingerprint, trained, repr(model), torch.__version__)
    digest = hashlib.sha256(f"{facts}:{_code((loss, modules), set())}".encode())
    tensors = [*model.named_parameters(), *model.named_buffers()]
    for index, direction in enumerate(directions):
        tensors += [(f"{index}:{name}", value) for name, value in direction.items()]
    for name, value in tensors:
        digest.update(f"{name}:".encode() + _bytes(value))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    """Type, shape and numbers, the same in every process; what torch pickles is not."""
    numbers = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return f"{tensor.dtype}:{tuple(tensor.shape)};".encode() + numbers


def _code(what: object, seen: set[object]) -> str:
    """Digest of an object and of the code it runs; one that cannot be read is never the same again.

    `seen` holds the functions and classes that are in the digest already.
    """
    sink = io.BytesIO()
    try:
        _CodePickler(sink, seen).dump(what)
    except Exception:  # other packages' objects raise almost anything; the rows are then computed again
        return uuid4().hex
    return hashlib.sha256(sink.getvalue()).hexdigest()


class _CodePickler(pickle.Pickler):
    """Pickles code by content, where pickle has only its name, and tensors and sets the same in every process.

    Of a function: instructions, constants, defaults, what it closes over, and the globals it names, helpers included.
    Of a class: its bases, methods and plain values. Libraries count by name, docstrings not at all.
    """

    def __init__(self, sink: io.BytesIO, seen: set[object]):
        super().__init__(sink, protocol=5)
        self.fast = True  # no references to earlier equal objects: they depend on identity
        self.seen = seen

    def persistent_id(self, what: Any) -> str | bytes | None:
        """Return the text of what pickle would not write by content; None for everything else."""
        if isinstance(what, Tensor):
            return _bytes(what)
        if isinstance(what, (set, frozenset)):
            return str(sorted(_code(one, self.seen) for one in what))
        if isinstance(what, ModuleType):
            return what.__name__
        if isinstance(what, CodeType):
            return _code((what.co_code, what.co_names, what.co_consts), self.seen)
        if isinstance(what, CellType):
            return _code(what.cell_contents, self.seen) if what != CellType() else "empty"
        if not isinstance(what, (FunctionType, type)):
            return None
        name = f"{what.__module__}.{what.__qualname__}"
        if what in self.seen or name.partition(".")[0] in LIBRARIES:
            return name
        self.seen.add(what)
        parts = _parts_of_class(what) if isinstance(what, type) else _parts_of_function(what)
        return name + _code(parts, self.seen)


def _parts_of_function(what: FunctionType) -> list[object]:
    code = what.__code__
    constants = [one for one in code.co_consts if one != what.__doc__]
    used = [what.__globals__[name] for name in sorted(_names(code)) if name in what.__globals__]
    held = [what.__defaults__, what.__kwdefaults__, what.__closure__]
    return [code.co_code, code.co_names, constants, held, used]


def _parts_of_class(what: type) -> list[object]:
    wrapped = {name: getattr(value, "fget", value) for name, value in vars(what).items()}
    methods = {name: getattr(value, "__func__", value) for name, value in wrapped.items()}
    own = sorted((name, value) for name, value in methods.items() if isinstance(value, FunctionType))
    return [what.__bases__, own, _settings(what)]


def _names(code: CodeType) -> set[str]:
    """All names that a function or one inside it looks up."""
    inner = (_names(one) for one in code.co_consts if isinstance(one, CodeType))
    return set(code.co_names).union(*inner)


def _settings(of: object) -> list[tuple[str, object]]:
    """The plain attributes of a class or a module, but for those of Python's own and the mode, which a sweep sets."""
    names = sorted(name for name in vars(of) if not name.startswith("__") and name != "training")
    return [(name, vars(of)[name]) for name in names if isinstance(vars(of)[name], PLAIN)]


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
        digest.update(f"{name}:".encode() + _bytes(tensors[name]))
    return digest.hexdigest()
