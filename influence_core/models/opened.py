"""Opening, checking and saving of a model: weights, architecture, classes and preprocessing in one object."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import final

import safetensors.torch
import torch
from torch import nn

from influence_core.data.dataset import Dataset
from influence_core.errors import InfluenceError, ModelError, UnknownModelError
from influence_core.models.architectures import NoMemory, architectures, build_network
from influence_core.models.guess import Guess, guess_architecture
from influence_core.models.hub_config import read_hub_config
from influence_core.models.model_json import (
    EXAMPLE_PREPROCESSING,
    Spec,
    check_classes,
    read_spec,
    write_spec,
)
from influence_core.models.preprocessing import Preprocessing, described
from influence_core.models.weight_files.fit import fitted
from influence_core.models.weight_files.spellings import head_of, respelled
from influence_core.models.weight_files.weights import read_weights

OWN = "A network of your own is analysed from Python: influence_core.analyze(network, train, val)."
WEIGHT_NAMES = ("model.safetensors", "model.pt", "model.pth", "model.safetensors.index.json")


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
        notes: Sequence[str] = (),
        weights_key: str | None = None,
    ):
        super().__init__()
        self.network = network
        self.classes = check_classes(tuple(classes), "The model")
        self.preprocessing = preprocessing
        self.architecture = architecture
        self.path = path
        self.notes = tuple(notes)
        """Sentences on what was chosen, changed or left out while the model was opened."""
        self.weights_key = weights_key
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
    weights_key: str | None = None,
) -> OpenedModel:
    """Open trained weights as a model in evaluation mode.

    Args:
        path: A .safetensors file (preferred), its index.json when it is in parts, a .pt or .pth state dict, or a folder
            with model.safetensors.
        architecture: A name from architectures(). Default: from model.json or config.json beside the weights.
        classes: Class names in the order of the network's outputs. Default: from the same files.
        preprocessing: Channels, size, mean and std. Default: from the same files.
        weights_key: The name of the set to use, where a file holds several, such as raw and averaged weights.

    Raises:
        UnsafeFileError: If the file could run code when opened.
        SeveralSetsError: If the file holds several sets of weights and none was chosen.
        UnknownModelError: If architecture, class order or preprocessing is said nowhere; with a guess.
        ModelError: If weights, architecture and classes do not fit together.
    """
    path = weight_file(Path(path))
    with refusing(path):
        return opened(
            path, Spec(architecture, None if classes is None else tuple(classes), preprocessing), weights_key
        )


def opened(path: Path, wanted: Spec, weights_key: str | None) -> OpenedModel:
    weights = read_weights(
        path, weights_key
    )  # first: a missing or unsafe file matters more than gaps in model.json
    spec, notes = stated(path, wanted)
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.tensors.items()}
    notes += contradictions(wanted, "The choice made here", spec, "the file beside the weights")
    architecture, classes, preprocessing = complete(spec, path, wanted, shapes)
    sizes = {"classes": len(classes), "channels": preprocessing.channels, "size": preprocessing.size}
    with NoMemory():  # sizes of a stranger's model.json: nothing is allocated before the weights fit
        expected = build_network(architecture, **sizes).state_dict()
    check_outputs(expected, shapes, classes, path)
    try:
        tensors, changes = fitted(weights.tensors, expected, f"{path.name} into {architecture}")
    except ModelError as error:
        raise ModelError(f"{error}{other_architecture(shapes, architecture)}") from error
    with torch.random.fork_rng(devices=[]):  # building draws random numbers that are then replaced
        network = build_network(architecture, **sizes)
    network.load_state_dict(tensors)
    return OpenedModel(
        network,
        classes=classes,
        preprocessing=preprocessing,
        architecture=architecture,
        path=path,
        notes=(*weights.notes, *notes, *changes),
        weights_key=weights.key,
    ).eval()


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn whatever a library raises over a damaged or hostile file into a ModelError that names its type."""
    try:
        yield
    except InfluenceError:
        raise
    except MemoryError as error:
        raise ModelError(
            f"{path.name} needs more memory than there is. Open it on a larger machine."
        ) from error
    except Exception as error:
        first = (str(error).splitlines() or [""])[0][:200]
        raise ModelError(
            f"{path.name}, or a JSON file beside it, cannot be read ({type(error).__name__}: {first}). Save the "
            "weights again with safetensors.torch.save_file."
        ) from error


def stated(path: Path, wanted: Spec, spec: Path | None = None) -> tuple[Spec, list[str]]:
    """Return what model.json says about weights, completed from config.json, with sentences about both.

    `spec` is a model.json that does not lie beside the weights; what is `wanted` already is not said.
    """
    own, names = read_spec(spec or path.with_name("model.json")), [field.name for field in fields(Spec)]
    try:
        hub = read_hub_config(path.parent)
    except ModelError as error:
        if any(getattr(own, name) is getattr(wanted, name) is None for name in names):
            raise
        return own, [f"Left out: {error}"]  # all is known without it
    taken = {name: getattr(own, name) or getattr(hub.spec, name) for name in names}
    used = [note for name, note in hub.notes.items() if getattr(own, name) is getattr(wanted, name) is None]
    return Spec(**taken), used + contradictions(own, "model.json", hub.spec, "config.json")


def contradictions(followed: Spec, ours: str, other: Spec, theirs: str) -> list[str]:
    """Return a sentence for each field that two sources state differently."""
    pairs = [
        (field.name, getattr(followed, field.name), getattr(other, field.name))
        for field in fields(Spec)
        if field.name != "preprocessing"  # its numbers are often changed on purpose
    ]
    return [
        f"{ours} says {name} {some_of(one)}, {theirs} says {some_of(two)}: {ours} was followed."
        for name, one, two in pairs
        if None not in (one, two) and one != two
    ]


def some_of(value: object) -> str:
    return ", ".join(value[:12]) if isinstance(value, tuple) else str(value)


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
    if set(theirs) < set(ours):
        raise ModelError(
            f"The dataset lacks {sorted(set(ours) - set(theirs))[:6]} of the model's {len(ours)} classes. Open it with "
            "open_dataset(path, classes=model.classes): a class may have no sample."
        )
    if len(ours) != len(theirs):
        raise ModelError(
            f"The model has {len(ours)} outputs, the dataset {len(theirs)} classes: model {list(ours)[:12]}, "
            f"dataset {list(theirs)[:12]}. Choose the dataset the model was trained on, or name the dataset's classes "
            "in the order of the outputs: classes=[...] in Python, --classes A,B,... on the command line."
        )
    only = (sorted(set(ours) - set(theirs))[:6], sorted(set(theirs) - set(ours))[:6])
    raise ModelError(
        f"The model and the dataset name their {len(ours)} classes differently: only the model has "
        f"{only[0]}, only the dataset {only[1]}. Name the dataset's classes in the order of the network's "
        "outputs: open_model(path, classes=[...]) in Python, --classes A,B,... on the command line."
    )


def weight_file(path: Path) -> Path:
    """Return the file of weights at a path: the path itself, or the first of WEIGHT_NAMES in a folder."""
    if not path.is_dir():
        return path
    if (carried := carried_weights(path)) is None:
        raise ModelError(
            f"{path} holds no weights. Expected a file called {' or '.join(WEIGHT_NAMES)} in it."
        )
    return carried


def carried_weights(folder: Path) -> Path | None:
    """Return the weights in a folder, such as a dataset's; None where there are none."""
    return next((folder / name for name in WEIGHT_NAMES if (folder / name).is_file()), None)


def complete(
    spec: Spec, path: Path, wanted: Spec, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[str, tuple[str, ...], Preprocessing]:
    """Complete what was given by what model.json states; raise UnknownModelError for what neither says."""
    architecture = wanted.architecture or spec.architecture
    classes = wanted.classes if wanted.classes is not None else spec.classes
    preprocessing = wanted.preprocessing or spec.preprocessing
    if architecture is None or classes is None or preprocessing is None:
        found = Spec(architecture, classes, preprocessing)
        guesses = guess_architecture(shapes)
        raise UnknownModelError(missing_text(path, found, guesses), tuple(guesses))
    return architecture, check_classes(classes, "The model"), preprocessing


def missing_text(path: Path, found: Spec, guesses: list[Guess]) -> str:
    """What is not known about weights, what their tensors tell of it, and how to say it."""
    hints = {
        "architecture": (
            "architecture",
            f"{architecture_hint(guesses)} Give architecture=NAME or --architecture NAME.",
        ),
        "classes": (
            "class order",
            f"Name {f'the {guesses[0].classes}' if guesses else 'the'} classes in the order of the network's outputs: "
            "classes=dataset.classes if that is the order, or --classes A,B,...",
        ),
        "preprocessing": (
            "preprocessing",
            f"Give preprocessing=Preprocessing(...) or --preprocessing '{EXAMPLE_PREPROCESSING}', with the numbers of "
            "its training.",
        ),
    }
    missing = [hints[name] for name in hints if getattr(found, name) is None]
    names = [name for name, _ in missing]
    lacking = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return (
        f"For {path.name} the {lacking} {'is' if len(missing) == 1 else 'are'} not known: no model.json or config.json "
        f"beside it says so. {' '.join(hint for _, hint in missing)}"
    )


def architecture_hint(guesses: list[Guess]) -> str:
    """The architectures whose tensors the file has, as a sentence."""
    if not guesses:
        return f"Its tensors are of none of {', '.join(architectures()[:5])}, ... (torchvision's classifiers). {OWN}"
    best = [guess for guess in guesses if guess.share == guesses[0].share]
    inputs = "features" if best[0].architecture in ("mlp", "logistic") else "channels"
    few = f"{best[0].fitting} of {best[0].total} tensors, {best[0].channels} {inputs}, {best[0].classes} classes"
    return f"Its tensors look like {' or '.join(guess.architecture for guess in best)} ({few})" + (
        "; max pooling leaves no trace in them, so only you know which." if len(best) > 1 else "."
    )


def other_architecture(shapes: Mapping[str, tuple[int, ...]], wanted: str) -> str:
    """A sentence that names architectures which the tensors fit in full; empty where there is no other."""
    fitting = [
        guess for guess in guess_architecture(shapes) if guess.share == 1 and guess.architecture != wanted
    ]
    return f" {architecture_hint(fitting)}" if fitting else ""


def check_outputs(
    expected: Mapping[str, torch.Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    classes: Sequence[str],
    path: Path,
) -> None:
    """Raise ModelError when the weights were trained for another number of classes, with both numbers."""
    found, _ = respelled(shapes, expected)
    head = found.get(f"{head_of(expected)}.bias") or found.get(f"{head_of(expected)}.weight")
    outputs = max(2, head[0]) if head else len(classes)  # a single output stands for two classes
    if outputs != len(classes):
        raise ModelError(
            f"{path.name} was trained for {outputs} classes, but {len(classes)} are named: {list(classes)[:12]}. "
            f"Name the {outputs} classes in the order of the network's outputs, in model.json, as classes= or as "
            "--classes."
        )
