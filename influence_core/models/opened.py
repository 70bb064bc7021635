"""Opening, checking and saving of a model: weights, architecture, classes and preprocessing in one object."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import final

import safetensors.torch
import torch
from torch import nn

from influence_core.data.dataset import Dataset
from influence_core.errors import ModelError
from influence_core.models.architectures import architectures, build_network
from influence_core.models.model_json import EXAMPLE, Spec, check_classes, read_spec, write_spec
from influence_core.models.preprocessing import Preprocessing, described
from influence_core.models.weight_files.weights import load_into, read_weights

WEIGHT_NAMES = ("model.safetensors", "model.pt", "model.pth")


@final
class OpenedModel(nn.Module):
    """A network with its classes and preprocessing: forward takes unnormalised inputs and returns logits.

    forward: (b, c, h, w) float in [0, 1], or (b, d) features -> logits (b, classes).
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        classes: Sequence[str],
        preprocessing: Preprocessing,
        architecture: str,
        path: Path | None = None,
    ):
        super().__init__()
        self.network = network
        self.classes = check_classes(tuple(classes), "The model")
        self.preprocessing = preprocessing
        self.architecture = architecture
        self.path = path
        # Not persistent: stored in model.json, not with the weights.
        self.register_buffer("mean", torch.tensor(preprocessing.mean), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = (1, -1, *[1] * (x.dim() - 2))
        return self.network((x - self.mean.view(shape)) / self.std.view(shape))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the current weights, the architecture, class order and preprocessing."""
        facts = [self.architecture, self.classes, described(self.preprocessing)]
        digest = hashlib.sha256(json.dumps(facts).encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def open_model(
    path: str | Path,
    *,
    architecture: str | None = None,
    classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
) -> OpenedModel:
    """Open trained weights as a model in evaluation mode.

    Args:
        path: A .safetensors file (preferred), a .pt or .pth state dict, or a folder with model.safetensors.
        architecture: A name from architectures(). Default: from model.json beside the weights.
        classes: Class names in the order of the network's outputs. Default: from model.json.
        preprocessing: Channels, size, mean and std. Default: from model.json.

    Raises:
        UnsafeFileError: If the file could run code when opened.
        ModelError: If weights, architecture and classes do not fit together.
    """
    path = weight_file(Path(path))
    weights = read_weights(path)  # first: a missing or unsafe file matters more than gaps in model.json
    spec = read_spec(path.with_name("model.json"))
    architecture, classes, preprocessing = complete(spec, path, architecture, classes, preprocessing)
    with torch.random.fork_rng(devices=[]):  # building draws random numbers that are then replaced
        network = build_network(
            architecture, classes=len(classes), channels=preprocessing.channels, size=preprocessing.size
        )
    check_outputs(network, weights, classes, path)
    load_into(network, weights, f"{path.name} into {architecture}")
    model = OpenedModel(
        network, classes=classes, preprocessing=preprocessing, architecture=architecture, path=path
    )
    return model.eval()


def save_model(model: OpenedModel, path: str | Path) -> None:
    """Write the weights as safetensors, and model.json beside them."""
    path = Path(path)
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()
    }
    # save_file would make the file unreadable for other users
    path.write_bytes(safetensors.torch.save(weights))
    write_spec(path.with_name("model.json"), model.architecture, model.classes, model.preprocessing)


def check_fits(model: OpenedModel, dataset: Dataset) -> None:
    """Raise ModelError unless the model's outputs are the dataset's classes, in the same order."""
    ours, theirs = model.classes, dataset.classes
    if ours == theirs:
        return
    if sorted(ours) == sorted(theirs):
        raise ModelError(
            f"The model's outputs and the dataset's classes are the same {len(ours)} names in another order: "
            f"model {list(ours)[:12]}, dataset {list(theirs)[:12]}. If the model's order is right, open the "
            "dataset with open_dataset(path, classes=model.classes); if not, open_model(path, "
            "classes=[...]) in the order of the network's outputs."
        )
    if len(ours) != len(theirs):
        raise ModelError(
            f"The model has {len(ours)} outputs, the dataset {len(theirs)} classes: model {list(ours)[:12]}, "
            f"dataset {list(theirs)[:12]}. Choose the dataset the model was trained on."
        )
    only = (sorted(set(ours) - set(theirs))[:6], sorted(set(theirs) - set(ours))[:6])
    raise ModelError(
        f"The model and the dataset name their {len(ours)} classes differently: only the model has "
        f"{only[0]}, only the dataset {only[1]}. Open the model with open_model(path, classes=[...]): the "
        "dataset's names in the order of the network's outputs."
    )


def weight_file(path: Path) -> Path:
    """Return the file of weights at a path: the path itself, or the first of WEIGHT_NAMES in a folder."""
    if not path.is_dir():
        return path
    files = [path / name for name in WEIGHT_NAMES if (path / name).is_file()]
    if not files:
        raise ModelError(
            f"{path} holds no weights. Expected a file called {' or '.join(WEIGHT_NAMES)} in it."
        )
    return files[0]


def complete(
    spec: Spec,
    path: Path,
    architecture: str | None,
    classes: Sequence[str] | None,
    preprocessing: Preprocessing | None,
) -> tuple[str, tuple[str, ...], Preprocessing]:
    """Complete missing values from model.json; raise ModelError for one that neither provides."""
    architecture = architecture or spec.architecture
    classes = tuple(classes) if classes is not None else spec.classes
    preprocessing = preprocessing or spec.preprocessing

    def missing(fact: str, keyword: str, hint: str) -> ModelError:
        lacking = f"model.json beside it lacks it, and no {keyword}= was given"
        return ModelError(f"For {path.name} the {fact} is not known: {lacking}. {hint}")

    if architecture is None:
        raise missing("architecture", "architecture", f"Give one of {', '.join(architectures()[:8])}, ...")
    if classes is None:
        raise missing("class order", "classes", "Give classes=dataset.classes if that is the order.")
    if preprocessing is None:
        raise missing("preprocessing", "preprocessing", f"Give it as in model.json: {EXAMPLE}")
    return architecture, check_classes(classes, "The model"), preprocessing


def check_outputs(
    network: nn.Module, weights: dict[str, torch.Tensor], classes: Sequence[str], path: Path
) -> None:
    """Raise ModelError when the weights were trained for another number of classes, with both numbers."""
    last = [name for name, _ in network.named_parameters()][-1]
    head = next((tensor for name, tensor in weights.items() if name.endswith(last) and tensor.dim()), None)
    if head is not None and len(head) != len(classes):
        raise ModelError(
            f"{path.name} was trained for {len(head)} classes, but {len(classes)} are named: "
            f"{list(classes)[:12]}. Name the {len(head)} classes in the order of the network's outputs, in "
            "model.json or as classes=."
        )
