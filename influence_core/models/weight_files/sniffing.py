"""Detection of a weight file's kind from its bytes, without running or unpickling anything."""

import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from influence_core.data.readers.archive import DAMAGES

RECIPE = (
    "Convert it where you trust it, and bring the result:\n"
    "    import torch; from safetensors.torch import save_file\n"
    "    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, "
    '"model.safetensors")'
)
MAX_PICKLE = 2 * 1024**2  # of instructions; the largest real state dicts have a few hundred kB
# The only callables that a plain state dict names. Any other could run arbitrary code.
ALLOWED_PREFIXES = (
    "torch._utils _rebuild_",
    "torch ",
    "torch.storage ",
    "collections OrderedDict",
    "_codecs encode",
)


@dataclass(frozen=True)
class FileKind:
    """The kind of a file, with text that completes the sentence "it is ..."."""

    kind: Literal["safetensors", "state dict", "refused"]
    text: str


def file_kind(path: Path) -> FileKind:
    """Return the kind of a file, from its first bytes; for zip archives, from the names of their members."""
    with path.open("rb") as file:
        start = file.read(MAX_PICKLE)
    head = start[:16]
    if head[:4] == b"PK\x03\x04":
        return zip_kind(path)
    # Before pickles: a header of 640 bytes begins as a pickle does. A file mistaken for safetensors is only ever
    # parsed as safetensors, so this order lets no pickle through.
    if head[8:9] == b"{":
        return FileKind("safetensors", "a safetensors file")
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return pickle_kind(start, "a pickle")
    if path.suffix.lower() == ".onnx":
        return FileKind(
            "refused", "an ONNX model, which has no gradients and may name other files to be read"
        )
    if head[:8] == b"\x89HDF\r\n\x1a\n":
        return FileKind("refused", "an HDF5 file (Keras), which may hold code")
    if path.suffix.lower() == ".safetensors":
        return FileKind("safetensors", "a damaged safetensors file")
    return FileKind(
        "refused", f"none of the known weight formats (it begins with {head[:8].hex(' ') or 'nothing'})"
    )


def zip_kind(path: Path) -> FileKind:
    """Distinguish TorchScript, torch.export archives and pickled modules from a state dict."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            inner = [name.split("/", 1)[-1] for name in names]
            if any(name == "constants.pkl" or name.startswith("code/") for name in inner):
                return FileKind("refused", "a TorchScript program, which is code")
            if (
                path.suffix.lower() == ".pt2"
                or "archive_format" in inner
                or any("models/" in name for name in inner)
            ):
                return FileKind("refused", "a torch.export archive (.pt2), which may hold pickled code")
            pickles = [name for name in names if name.split("/")[-1] == "data.pkl"]
            if len(pickles) != 1:
                return FileKind("refused", "a zip archive that holds no PyTorch weights")
            with archive.open(pickles[0]) as file:
                return pickle_kind(file.read(MAX_PICKLE), "a PyTorch file")
    except DAMAGES as error:
        return FileKind("refused", f"a damaged zip archive ({error})")


def pickle_kind(data: bytes, what: str) -> FileKind:
    """Return the kind of a pickle, from the callables its instructions name; none is executed."""
    try:
        named = named_callables(data)
    except Exception as error:  # a damaged pickle can trip the disassembler anywhere
        return FileKind("refused", f"{what} that cannot be disassembled ({error})")
    forbidden = sorted({name.replace(" ", ".") for name in named if not name.startswith(ALLOWED_PREFIXES)})
    if forbidden:
        return FileKind(
            "refused", f"{what} that would run code when opened: it calls {', '.join(forbidden[:3])}"
        )
    return FileKind("state dict", f"{what} with a state dict")


def named_callables(data: bytes) -> list[str]:
    """Return "module name" of each global that the instructions mention, in both spellings of the format.

    PyTorch's old format is four pickles in a row (magic number, version, system, content), then raw numbers.
    """
    named: list[str] = []
    position = 0
    for _ in range(4):
        callables, length = callables_of_one(data[position:])
        named += callables
        position += length
        if data[position : position + 1] != b"\x80":
            break
    return named


def callables_of_one(data: bytes) -> tuple[list[str], int]:
    """Return the globals of the first pickle in data, and its length in bytes."""
    named: list[str] = []
    texts: list[str] = []  # texts pushed so far; STACK_GLOBAL takes the last two
    memo: dict[int, str] = {}
    last, end = "", 0
    for operation, argument, start in pickletools.genops(data):
        end = (start or 0) + 1
        if operation.name in ("GLOBAL", "INST"):
            named.append(str(argument))
        elif operation.name == "STACK_GLOBAL":
            named.append(" ".join(texts[-2:]) if len(texts) > 1 else "unknown unknown")
        elif operation.name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if operation.name == "MEMOIZE" else int(str(argument))] = last
        elif operation.name in ("BINGET", "LONG_BINGET"):
            texts.append(memo.get(int(str(argument)), ""))
        last = argument if isinstance(argument, str) and "UNICODE" in operation.name else ""
        texts += [last] if last else []
    return named, end
