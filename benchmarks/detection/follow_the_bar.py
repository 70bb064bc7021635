"""Somebody who follows the longest bar of a card and nothing else: how often is that right, on memorised models?

    python -m benchmarks.detection.follow_the_bar [--fashion FOLDER] [--seeds 0 1] [--json FILE]

600 pictures, 8 % of their labels wrong, in training and validation alike; 90 are set aside for validation, as the app
does. A network learns the other 510 until it repeats every label. Of the samples in doubt each follower names a class,
and is right where that is the true class; of a label that is in doubt without being wrong, that is the given one.

    bars         the class with the longest bar of the card: Suspicion.beliefs
    suggestion   always the suggested label
    model        the longest bar of the model's own softmax, as cards showed until 0.5
    neighbours   the commonest label among the ten neighbours on the card
    random       any class: what chance alone reaches
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch

from benchmarks.detection.data import MADE, Data, fashion
from benchmarks.detection.networks import belief, fresh, trained
from benchmarks.detection.noise import plant
from benchmarks.detection.run import interval, markdown
from influence_core.analysis.sample_table import CUT, ScoreTable, sample_table
from influence_core.data import samples_from_arrays
from influence_core.engine.sweep import sweep
from influence_core.scores.suspicion.evidence_layers import evidence_layers
from influence_core.scores.suspicion.input_view import input_view
from influence_core.training.train import Recipe, accuracy

COUNT, HELD_OUT, RATE, MOST_ROUNDS = 600, 90, 0.08, 8
PICTURES = ("fashion", "digits", "textures", "photos", "shapes", "fields")
NETWORKS, KINDS = ("small_cnn", "mlp"), ("uniform", "confusable")
NOT_AVERAGED = ("cell", "repeated", "wrong", "expected", "in doubt")
RECIPES = {
    "small_cnn": Recipe(epochs=22, learning_rate=3e-3, batch_size=40, weight_decay=0.0),
    "mlp": Recipe(epochs=60, batch_size=40, weight_decay=0.0),
}


def some(name: str, folder: Path | None, seed: int) -> Data:
    """COUNT of a thousand pictures, others with each seed."""
    made = fashion(1000, folder) if name == "fashion" and folder else MADE[name](1000)
    rows = np.random.default_rng(500 + seed).permutation(len(made.labels))[:COUNT]
    return Data(name, made.inputs[rows], made.labels[rows], made.strangers)


def measured(data: Data, kind: str, network: str, seed: int) -> dict[str, object]:
    """One row: how many are in doubt, and how often each follower is right about them."""
    needs = kind == "confusable"
    sure = belief(data.inputs, data.labels, data.classes) if needs else np.ones((COUNT, data.classes))
    planted = plant(data, COUNT, kind, RATE, sure, seed=100 + seed)
    n, inputs = COUNT - HELD_OUT, planted.inputs.astype(np.float32)
    model = fresh(network, inputs, data.classes, seed=seed)
    train = samples_from_arrays(inputs[:n], planted.given[:n], classes=model.classes)
    val = samples_from_arrays(inputs[n:], planted.given[n:], classes=model.classes, split="val")
    for turn in range(MOST_ROUNDS):
        trained(model, train, replace(RECIPES[network], seed=10 * seed + turn))
        if (repeated := accuracy(model, train)) == 1:
            break
    scored = scores(model.eval(), train, val)
    doubted = scored.table["suspicion"].to_numpy() > CUT
    truth, wrong = data.labels[:n][doubted], planted.wrong[:n]
    row: dict[str, object] = {
        "cell": f"{data.name}, {kind}, {network}, seed {seed}",
        "repeated": repeated,
        "wrong": int(wrong.sum()),
        "expected": float(scored.table["suspicion"].sum()),
        "in doubt": int(doubted.sum()),
        "of these wrong": share(wrong[doubted]),
    }
    named = followers(scored, planted.given[:n])
    given = planted.given[:n][doubted]
    return row | {
        **{name: share(says[doubted] == truth) for name, says in named.items()},
        "random": 1 / data.classes,
        "given label longest": share(named["bars"][doubted] == given),
        "model repeats": share(named["model"][doubted] == given),
    }


def followers(scored: ScoreTable, given: np.ndarray) -> dict[str, np.ndarray]:
    """The class (n,) that each follower names."""
    others = scored.beliefs.copy()
    others[np.arange(len(given)), given] = -1
    near = given[scored.neighbours]
    counted = np.stack([(near == c).sum(1) for c in range(scored.beliefs.shape[1])], axis=1)
    return {
        "bars": scored.beliefs.argmax(1),
        "suggestion": others.argmax(1),
        "model": scored.probabilities.argmax(1),
        "neighbours": counted.argmax(1),
    }


def scores(model, train, val) -> ScoreTable:
    layers = evidence_layers(model, train)
    swept, held = sweep(model, train, features=layers), sweep(model, val, features=layers, sketch=0)
    return sample_table(
        swept,
        held,
        input_view(model, train, val),
        ids=train.ids,
        labels=train.labels,
        held_out_labels=val.labels,
        classes=model.classes,
        objectives=[],
        seed=0,
        on_progress=lambda stage, done, total: None,
    )


def share(hits: np.ndarray) -> float:
    return float(hits.mean()) if len(hits) else float("nan")


def summary(rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """Means over cells with 95 % bootstrap intervals: of each kind of noise, of each data, and of all."""
    names = [name for name in rows[0] if name not in NOT_AVERAGED]
    groups: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        data, kind, *_ = str(row["cell"]).split(", ")
        for group in (kind, data, "all"):
            groups.setdefault(group, []).append(row)
    return [
        {"cells": f"{group} ({len(part)})"} | {name: mean(part, name) for name in names}
        for group, part in groups.items()
    ]


def mean(rows: Sequence[dict[str, object]], name: str) -> str:
    values = np.array([row[name] for row in rows], dtype=float)
    return interval(values[np.isfinite(values)], np.mean)


def main() -> None:
    parser = argparse.ArgumentParser(description="How right somebody is who follows the longest bar")
    parser.add_argument("--fashion", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--json", type=Path, help="every number is kept here, and a cell found here is not run again"
    )
    asked = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(asked.json.read_text()) if asked.json and asked.json.exists() else []
    rows = {row["cell"]: row for row in kept}
    names = [name for name in PICTURES if name != "fashion" or asked.fashion]
    for seed, kind, name, network in product(asked.seeds, KINDS, names, NETWORKS):
        if (cell := f"{name}, {kind}, {network}, seed {seed}") in rows:
            continue
        rows[cell] = measured(some(name, asked.fashion, seed), kind, network, seed)
        if asked.json:
            asked.json.write_text(json.dumps(list(rows.values()), indent=1))
    print(markdown(list(rows.values()), list(next(iter(rows.values())))))
    print()
    total = summary(list(rows.values()))
    print(markdown(total, list(total[0])))


if __name__ == "__main__":
    main()
