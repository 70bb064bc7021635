"""Training recipes: every choice that decides the weights, stored beside the result.

`suggested` gives a recipe for a model and a number of samples. Its 320 steps at a high learning rate were chosen by
validation accuracy on datasets of different kinds: docs/detection.md, "The recipe of our own trainings".
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from influence_core.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

    from influence_core.models.opened import OpenedModel
    from influence_core.models.preprocessing import Preprocessing

STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 320, 5, 30
RATE = 4e-3
SMALL = 1_000_000  # parameters a network can have to learn in minutes from scratch on a CPU
BATCH = 64
CHOICES = {
    "optimizer": ("adamw", "sgd"),
    "start": ("scratch", "given"),
    "precision": ("float32", "bfloat16"),
}


@dataclass(frozen=True)
class Recipe:
    """Settings of a training. learning_rate is the highest one; the cosine schedule ends at zero.

    start: "scratch" = new weights drawn by the seed; "given" = fine-tune the existing weights.
    patience: epochs without a lower validation loss after which training stops; 0 = never.
    precision: "bfloat16" computes layers in half the width on processors that support it. On one without support it
        was 8 times slower (AMD EPYC, small_cnn), so float32 is the default everywhere.
    """

    epochs: int = 10
    batch_size: int = BATCH
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    optimizer: Literal["adamw", "sgd"] = "adamw"
    seed: int = 0
    augment: bool = False
    start: Literal["scratch", "given"] = "scratch"
    patience: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self):
        if self.epochs < 1 or self.batch_size < 1 or self.learning_rate <= 0 or self.weight_decay < 0:
            raise ModelError(
                f"{self} is not valid: expected epochs, batch_size and learning_rate above 0, weight_decay 0 or more."
            )
        if self.patience < 0:
            raise ModelError(f"patience is {self.patience}; expected 0 (never stop early) or more epochs.")
        for name, allowed in CHOICES.items():
            if (value := getattr(self, name)) not in allowed:
                raise ModelError(f"No {name} is called {value!r}; expected {' or '.join(allowed)}.")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def recipe_from(content: Mapping[str, Any]) -> Recipe:
    """A recipe from its fields, stored or edited.

    Raises:
        ModelError: an unknown field, or a value outside its range.
    """
    names = {field.name for field in fields(Recipe)}
    if strange := sorted(set(content) - names):
        raise ModelError(f"A recipe has no {', '.join(strange)}; it has {', '.join(sorted(names))}.")
    try:
        return Recipe(**content)
    except TypeError as error:
        raise ModelError(f"The recipe {dict(content)} holds a value of the wrong kind: {error}.") from error


def suggested(parameters: int, n: int) -> Recipe:
    """A recipe for n samples: small networks train from scratch, large ones are fine-tuned."""
    steps_per_epoch = max(1, -(-n // BATCH))
    epochs = min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(STEPS / steps_per_epoch)))
    if parameters < SMALL:
        return Recipe(epochs=epochs, learning_rate=RATE, weight_decay=1e-2)
    return Recipe(epochs=FEWEST_EPOCHS, learning_rate=3e-4, weight_decay=1e-2, start="given")


def starting_model(model: "nn.Module", recipe: Recipe) -> "nn.Module":
    """A new model to train, with the starting weights that the recipe names; `model` stays unchanged.

    Raises:
        ModelError: "scratch" for a custom network, which cannot be rebuilt.
    """
    from influence_core.models.opened import OpenedModel

    if recipe.start == "given":
        return deepcopy(model)
    if not isinstance(model, OpenedModel):
        raise ModelError(
            f"{type(model).__name__} cannot be started from scratch: only networks with a name in architectures() can "
            "be rebuilt. Give a recipe with start='given' to fine-tune the weights it has."
        )
    return new_model(model.architecture, model.classes, model.preprocessing, seed=recipe.seed)


def new_model(
    architecture: str, classes: Sequence[str], preprocessing: "Preprocessing", *, seed: int
) -> "OpenedModel":
    """A network of a named architecture with new weights, drawn by the seed; torch's random state stays as it is."""
    import torch  # imported late: a page that only shows a recipe need not wait for it

    from influence_core.models.architectures import build_network
    from influence_core.models.opened import OpenedModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(
            architecture, classes=len(classes), channels=preprocessing.channels, size=preprocessing.size
        )
    return OpenedModel(network, classes=classes, preprocessing=preprocessing, architecture=architecture)
