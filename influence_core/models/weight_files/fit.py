"""The fit of weights to a network: every tensor of the network from the file, nothing of the network left over.

Two things are allowed and said: tensors of a loss or of metrics beside the network, and a single output for two classes

    sigmoid(w x + b) = softmax([0, w x + b])[1],

so such a head is read as two rows, [0, w] and [0, b]. The network may lie on "meta": nothing is allocated before it is
known to fit, whatever sizes a stranger's model.json names.
"""

import re
from collections.abc import Collection, Mapping
from typing import TypeVar

import torch

from influence_core.errors import ModelError
from influence_core.models.weight_files.spellings import head_of, respelled

T = TypeVar("T")
Tensors = dict[str, torch.Tensor]
BESIDE = re.compile(
    r"loss|criterion|metric|class_weights?|pos_weight|n_averaged|"
    r"(^|_)(acc|accuracy|auc|auroc|f1|f1_?score|precision|recall|specificity|confmat|confusion|ece|map)\d*(_|$)"
)
"""The first part of names that belong to no network: losses and metrics of a training loop."""


def fitted(weights: Tensors, expected: Mapping[str, torch.Tensor], where: str) -> tuple[Tensors, list[str]]:
    """Return the network's tensors from the file, under the network's names, and what was changed or left out.

    Raises:
        ModelError: tensors are missing, left over or of another shape or type; the text names them.
    """
    found, changes = respelled(weights, expected)
    found, beside = without_bystanders(found, expected)
    found, doubled = with_two_outputs(complete_counters(found, expected), expected)
    missing = [name for name in expected if name not in found]
    surplus = sorted(name for name in found if name not in expected)  # safetensors names them in any order
    misshapen = [
        f"{name}: file {described(found[name])}, network {described(tensor)}"
        for name, tensor in expected.items()
        if name in found and not same_kind(found[name], tensor)
    ]
    if missing or surplus or misshapen:
        raise ModelError(mismatch_text(where, len(expected), missing, surplus, misshapen))
    return found, said(changes, beside, doubled)


def without_bystanders(found: Mapping[str, T], expected: Collection[str]) -> tuple[dict[str, T], list[str]]:
    """Leave out what belongs to losses and metrics; and its names."""
    own = {name.partition(".")[0] for name in expected}
    beside = [
        name
        for name in found
        if name.partition(".")[0] not in own and BESIDE.search(name.partition(".")[0].lower())
    ]
    return {name: tensor for name, tensor in found.items() if name not in beside}, beside


def with_two_outputs(found: Tensors, expected: Mapping[str, torch.Tensor]) -> tuple[Tensors, bool]:
    """Put a row of zeros before the only row of a head with one output, where the network has two."""
    names = [name for name in expected if name.rpartition(".")[0] == head_of(expected)]
    single = all(
        name in found and found[name].shape[:1] == (1,) and found[name].shape[1:] == expected[name].shape[1:]
        for name in names
    )
    if not single or any(expected[name].shape[:1] != (2,) for name in names):
        return found, False
    rows = {name: torch.cat([torch.zeros_like(found[name]), found[name]]) for name in names}
    return found | rows, True


def said(changes: Mapping[str, str], beside: list[str], doubled: bool) -> list[str]:
    notes = []
    if changes:
        pairs = [f"{old} as {new}" for old, new in sorted(changes.items())]
        notes.append(f"{len(changes)} tensors have other names in the file: {first_few(pairs, 2)}.")
    if beside:
        notes.append(f"Left out of the weights, as they belong to a loss or to metrics: {first_few(beside)}.")
    if doubled:
        notes.append(
            "The weights have one output z, read as the two outputs 0 and z: sigmoid(z) is the second class's "
            "probability."
        )
    return notes


def same_kind(weight: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether shapes agree and both are floats or both integers: quantised integers are not weights."""
    return weight.shape == wanted.shape and weight.is_floating_point() == wanted.is_floating_point()


def described(tensor: torch.Tensor) -> str:
    kind = "" if tensor.is_floating_point() else f" {str(tensor.dtype).removeprefix('torch.')}"
    return f"{tuple(tensor.shape)}{kind}"


def complete_counters(
    weights: dict[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Add batch norm's counters of batches, which old files lack; evaluation does not depend on them."""
    counters = {name: tensor for name, tensor in expected.items() if name.endswith("num_batches_tracked")}
    return counters | weights


def mismatch_text(
    where: str, total: int, missing: list[str], surplus: list[str], misshapen: list[str]
) -> str:
    parts = (("are missing", missing), ("are left over", surplus), ("have another shape or type", misshapen))
    faults = [f"{len(names)} {fault} ({first_few(names)})" for fault, names in parts if names]
    return (
        f"{where}: of the network's {total} tensors, {'; '.join(faults)}. The weights belong to another "
        "architecture or another number of classes or channels: choose the one they were trained with."
    )


def first_few(names: list[str], limit: int = 4) -> str:
    more = f", and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
