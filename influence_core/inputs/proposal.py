"""A proposal for what weights do not say: the command that tries it and writes model.json.

Architecture and channels come from the tensors; the class order, size, mean and std from the dataset and from what is
usual. It is for a person to correct: nothing of it is used before that person runs it.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from influence_core.data import Dataset, open_dataset
from influence_core.data.appearance import appearance
from influence_core.models.guess import Guess

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
LARGE, USUAL = 160, 224
"""Larger pictures are usually brought to 224 pixels a side for torchvision's networks."""


def proposal(
    weights: str,
    data: str,
    guesses: Sequence[Guess],
    given: Mapping[str, str | None],
    options: Mapping[str, Any],
) -> str:
    """Return the command with likely values for what was not given, after a sentence; empty without a guess."""
    if not guesses:
        return ""
    guess = guesses[0]
    dataset = open_dataset(data, **options)
    likely = {
        "architecture": guess.architecture,
        "classes": class_list(dataset, guess),
        "preprocessing": json.dumps(likely_preprocessing(dataset, guess)),
    }
    words = [f"--{name} {shlex.quote(given.get(name) or likely[name])}" for name in likely]
    words += [f"--weights-key {shlex.quote(key)}"] if (key := given.get("weights-key")) else []
    words += [f"--label {shlex.quote(options['label'])}"] if options.get("label") else []
    words += ["--skip-unreadable"] if options.get("skip_unreadable") else []
    return (
        "\nThis tries the likely values (the classes in the dataset's order, a usual mean and std) and keeps them in "
        "model.json; correct what was otherwise in training:\n"
        f"    influence check {shlex.quote(weights)} {shlex.quote(data)} {' '.join(words)} --write"
    )


def class_list(dataset: Dataset, guess: Guess) -> str:
    names = list(dataset.classes)
    if len(names) != guess.classes:
        return f"{guess.classes}-NAMES-IN-THE-ORDER-OF-THE-OUTPUTS"
    return (
        json.dumps(names) if any("," in name or name != name.strip() for name in names) else ",".join(names)
    )


def likely_preprocessing(dataset: Dataset, guess: Guess) -> dict[str, Any]:
    """Channels and size as the network needs them, the mean and std that are usual for it."""
    facts = appearance(dataset.train)
    if dataset.train.kind == "array":
        found = {"channels": facts["features"], "size": None, "mean": facts["mean"], "std": facts["std"]}
        return found | ({"table": facts["table"]} if "table" in facts else {})
    side = list(guess.size or ([USUAL, USUAL] if max(facts["size"]) > LARGE else facts["size"]))
    flat = guess.architecture in ("mlp", "logistic")  # whose inputs are all pixels together
    channels = facts["channels"] if flat else guess.channels
    mean, std = IMAGENET if channels == 3 and not flat else (facts["mean"], facts["std"])
    if len(mean) not in (1, channels):
        mean, std = [0.5], [0.5]
    return {"channels": channels, "size": side, "mean": mean, "std": std}
