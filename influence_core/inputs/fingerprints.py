"""Fingerprints: SHA-256 over a model's weights and over the splits of a dataset."""

import hashlib
from typing import Any

import torch
from torch import Tensor, nn


def fingerprint(*splits: Any) -> str:
    """Return SHA-256 over ALL content of the splits (Samples, Described or None): every input and label in order."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(b"split" if split is not None else b"none")
        if split is not None:
            digest.update(split.fingerprint.encode())
    return digest.hexdigest()


def weights_fingerprint(model: nn.Module) -> str:
    """Return SHA-256 over every name and tensor of the state dict."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        absorb(digest, value)
    return digest.hexdigest()


def absorb(digest: Any, value: Any) -> None:
    """Add a value to a hashlib digest: tensors by shape, dtype and bytes, dictionaries by sorted key."""
    if isinstance(value, Tensor):
        digest.update(f"{tuple(value.shape)}:{value.dtype};".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    elif isinstance(value, dict):
        for key in sorted(value):
            digest.update(str(key).encode())
            absorb(digest, value[key])
    elif isinstance(value, list | tuple):
        for part in value:
            absorb(digest, part)
    else:
        digest.update(repr(value).encode())
