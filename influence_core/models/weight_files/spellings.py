"""Spellings: the names under which the same tensor is saved by wrappers, pruning, and other people's code.

    module.conv1.weight, _orig_mod.conv1.weight, model.conv1.weight      -> conv1.weight
    conv1.weight_orig, conv1.weight_mask                                 -> conv1.weight, their product
    layer2.0.shortcut.0.weight                                           -> layer2.0.downsample.0.weight
    fc.1.weight (a dropout before it), linear.weight                     -> fc.weight, the network's last layer

A name is only changed into one that the network has and the file lacks, and never two into one.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from typing import TypeVar

import torch

T = TypeVar("T")
PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
LAST = ("linear", "fc", "classifier", "head", "last_linear")
"""Names that people give to the last layer."""


def unprefixed(named: Mapping[str, T], expected: Collection[str] = ()) -> dict[str, T]:
    """Strip prefixes of wrappers such as DataParallel from all names, unless an expected name has them too."""
    for prefix in PREFIXES:
        ours = any(name.startswith(prefix) for name in expected)
        if named and not ours and all(name.startswith(prefix) for name in named):
            return unprefixed({name.removeprefix(prefix): item for name, item in named.items()}, expected)
    return dict(named)


def unmasked(weights: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], int]:
    """Multiply pruned tensors by their masks, as their layers do before each use; and how many there were."""
    pruned = {
        name.removesuffix("_orig")
        for name, tensor in weights.items()
        if name.endswith("_orig") and getattr(weights.get(f"{name[:-5]}_mask"), "shape", None) == tensor.shape
    }
    parts = {f"{name}{ending}" for name in pruned for ending in ("_orig", "_mask")}
    whole = {
        name: weights[f"{name}_orig"] * weights[f"{name}_mask"].to(weights[f"{name}_orig"].dtype)
        for name in pruned
    }
    return {name: tensor for name, tensor in weights.items() if name not in parts} | whole, len(pruned)


def respelled(named: Mapping[str, T], expected: Collection[str]) -> tuple[dict[str, T], dict[str, str]]:
    """Return the table under the network's names where only the spelling differs, and the names that changed."""
    plain = unprefixed(named, expected)
    head = head_of(expected)
    changes = {
        name: other
        for name in plain
        if name not in expected and (other := network_spelling(name, head)) in expected and other not in plain
    }
    once = Counter(changes.values())
    changes = {name: other for name, other in changes.items() if once[other] == 1}
    return {changes.get(name, name): item for name, item in plain.items()}, changes


def head_of(expected: Collection[str]) -> str:
    """The layer with the last tensor: the classifier of every network that is built here."""
    return list(expected)[-1].rpartition(".")[0] if expected else ""


def network_spelling(name: str, head: str) -> str:
    layer, _, kind = name.rpartition(".")
    if layer in LAST or re.fullmatch(rf"{re.escape(head)}\.\d+", layer):
        return f"{head}.{kind}"
    return name.replace(".shortcut.", ".downsample.")
