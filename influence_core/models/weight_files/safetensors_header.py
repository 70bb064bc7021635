"""Check of a safetensors file's header, before the library reads any numbers.

    8 bytes: length of the header | header: JSON, name -> dtype, shape, data_offsets | numbers, one tensor after another

The header is capped before it is parsed (a huge one keeps a processor busy for minutes), names are distinct, and the
tensors fill the rest of the file exactly: no hole to hide something in, no overlap, no shape larger than its bytes.
"""

import json
import math
from typing import Any

import torch

from influence_core.errors import ModelError

MAX_HEADER = 1024**2
MAX_TENSORS = 10_000
MAX_DIMENSIONS = 8
# Bits of the number formats of weights.
BITS = {
    "F64": 64,
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "I64": 64,
    "I32": 32,
    "I16": 16,
    "I8": 8,
    "U8": 8,
    "BOOL": 8,
}
BITS |= {"F8_E4M3": 8, "F8_E5M2": 8, "U16": 16, "U32": 32, "U64": 64}
SAVE_AGAIN = "Save the weights again with safetensors.torch.save_file."


def check_header(data: bytes | memoryview, name: str) -> dict[str, tuple[int, ...]]:
    """Return each tensor's shape by name; raise ModelError unless the header fits `data`, the whole file `name`."""
    header, start = parsed(data, name)
    tensors = {key: entry for key, entry in header.items() if key != "__metadata__"}
    if len(tensors) > MAX_TENSORS:
        raise ModelError(f"{name} holds {len(tensors):,} tensors; at most {MAX_TENSORS:,} are read.")
    if not tensors:
        raise ModelError(f"{name} holds no tensors; expected the weights of a network. {SAVE_AGAIN}")
    spans = [span(key, entry, name) for key, entry in tensors.items()]
    check_spans(sorted(spans), len(data) - start, name)
    return {key: tuple(entry["shape"]) for key, entry in tensors.items()}


def parsed(data: bytes | memoryview, name: str) -> tuple[dict[str, Any], int]:
    """Parse the header; return it as a table, with the position of the first number."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise ModelError(f"{name} is cut off or damaged: its header would be {length:,} bytes long.")
    if length > MAX_HEADER:
        raise ModelError(f"{name} has a header of {length:,} bytes; at most {MAX_HEADER:,} are read.")
    try:
        header = json.loads(bytes(data[8 : 8 + length]), object_pairs_hook=distinct_pairs)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{name} has a damaged header: {error}. {SAVE_AGAIN}") from error
    if not isinstance(header, dict):
        raise ModelError(f"{name} has a damaged header: expected a table of tensors. {SAVE_AGAIN}")
    return header, 8 + length


def distinct_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name occurs twice")
    return dict(pairs)


def span(key: str, entry: Any, name: str) -> tuple[int, int, str]:
    """Return the begin and end of a tensor, after checking that its shape and dtype need exactly these bytes."""
    shown = ascii(key[:80])
    try:
        shape, (begin, end), bits = entry["shape"], entry["data_offsets"], BITS[entry["dtype"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{name}: the tensor {shown} lacks a known dtype, a shape or its place in the file ({error}); expected one "
            f"of {', '.join(BITS)}. {SAVE_AGAIN}"
        ) from error
    if not (
        isinstance(shape, list) and len(shape) <= MAX_DIMENSIONS and all(map(counts, [*shape, begin, end]))
    ):
        raise ModelError(
            f"{name}: the tensor {shown} has shape {str(shape)[:60]} at {str([begin, end])[:60]}; expected up to "
            f"{MAX_DIMENSIONS} whole numbers from 0. {SAVE_AGAIN}"
        )
    needed = math.prod(shape) * bits // 8
    if end - begin != needed:
        raise ModelError(
            f"{name}: the tensor {shown} of shape {shape} needs {needed:,} bytes, but its place in the file has "
            f"{end - begin:,}. The header is wrong or the file is damaged. {SAVE_AGAIN}"
        )
    return begin, end, shown


def counts(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def check_spans(spans: list[tuple[int, int, str]], available: int, name: str) -> None:
    """Raise ModelError unless the tensors fill the file without gap or overlap, to the last byte."""
    position = 0
    for begin, end, shown in spans:
        if begin != position:
            fault = "overlaps the tensor before it" if begin < position else "leaves a hole before it"
            raise ModelError(f"{name}: the tensor {shown} {fault} in the file. {SAVE_AGAIN}")
        position = end
    if position != available:
        raise ModelError(
            f"{name}: its tensors need {position:,} bytes, the file holds {available:,} after the header. It is cut "
            f"off, or something is hidden behind the weights. {SAVE_AGAIN}"
        )


def check_finite(weights: dict[str, torch.Tensor], name: str) -> None:
    """Raise ModelError for NaN or infinity, which would make every score NaN; the text names the tensor."""
    for key, tensor in weights.items():
        if not tensor.is_floating_point():
            continue
        # Eight-bit floats lack most operations.
        finite = torch.isfinite(tensor if tensor.element_size() > 1 else tensor.float())
        if not finite.all():
            bad = int((~finite).sum())
            raise ModelError(
                f"{name}: the tensor {key!r} {tuple(tensor.shape)} holds {bad:,} values that are NaN "
                "or infinite. Training has probably diverged; use an earlier checkpoint."
            )
