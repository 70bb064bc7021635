"""A small but complete run folder, made through the public API, for tests that need something to look at.

Every number is drawn, not computed by the engine, but the pieces agree with each other: planted wrong
labels have high suspicion and negative influence, the suggestion is the true label, neighbours share it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from influence_core.run_files.folder import finish_run, start_run
from influence_core.run_files.thumbnails import pack_thumbnails
from influence_core.runs.run import Run, open_run

NAMES = ("coat", "dress", "sandal", "shirt", "bag", "boot", "pullover", "sneaker", "trouser", "t-shirt")
SHARE = 0.8
"""Of the suspicion, what the suggested label has; the other classes share the rest."""
WITNESSES = {"unseen": 2.0, "neighbours": 1.0}
"""Who says something about each label, and how strongly."""
LAYERS = ("features.0", "features.3", "head")


class DrawnSamples:
    """Pictures of one plain colour per class with some noise; knows just enough for thumbnails and export."""

    def __init__(self, ids: list[str], labels: np.ndarray, classes: tuple[str, ...], seed: int) -> None:
        """Keep what is needed to draw."""
        self.ids, self.labels, self.classes, self._seed = tuple(ids), labels, classes, seed

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.ids)

    def picture(self, position: int) -> Image.Image:
        """A 28 x 28 picture that is the same each time."""
        rng = np.random.default_rng((self._seed, position))
        shade = 40 + 20 * int(self.labels[position])
        return Image.fromarray(np.clip(rng.normal(shade, 12, (28, 28)), 0, 255).astype(np.uint8))


def make_small_run(
    folder: Path | str,
    n: int = 60,
    classes: int = 3,
    seed: int = 0,
    *,
    pictures: bool = False,
    gap: bool | None = None,
    options: dict[str, Any] | None = None,
    column: str = "sex",
    worse: str = "<b>women</b>",
    old: bool = False,
) -> Run:
    """Write a finished run of n samples and open it; with its dataset as a folder of pictures when asked.

    `options` are the keywords with which its dataset is opened.
    With `gap` the samples are rows of a table with a group column, and a fairness objective whose gap is there or not;
    `worse` names the group that is served worse. An `old` run is one of 0.5: it has no bars and no witnesses.
    """
    folder, rng = Path(folder), np.random.default_rng(seed)
    names = tuple(NAMES[i % 10] + ("" if i < 10 else f"-{i}") for i in range(classes))
    truth = np.arange(n) % classes
    wrong = rng.random(n) < 0.1
    wrong[0] = True
    given = np.where(wrong, (truth + 1) % classes, truth)
    ids = [f"train/{names[label]}/{i:05d}.png" for i, label in enumerate(given)]
    order = np.argsort(ids)  # as a folder of pictures would be read
    ids, truth, wrong, given = [ids[i] for i in order], truth[order], wrong[order], given[order]
    probabilities = _probabilities(rng, truth, given, classes)
    samples = _samples(rng, ids, names, given, truth, wrong, probabilities)
    more: dict[str, Any] = {}
    if gap is not None:
        folder.mkdir(parents=True)
        samples, more = _fair(rng, folder, samples, names, gap, column, worse)

    start_run(folder, description=_description(folder, names, n, seed, options))
    samples.to_parquet(folder / "samples.parquet", index=False)
    _layers(samples).to_parquet(folder / "layers.parquet", index=False)
    np.save(folder / "sketches.npy", rng.normal(size=(n, 16)).astype(np.float16))
    np.save(folder / "probabilities.npy", probabilities)
    if not old:
        beliefs = _beliefs(samples, names)
        np.save(folder / "beliefs.npy", beliefs)
        _witnesses(samples, beliefs, names).to_parquet(folder / "witnesses.parquet", index=False)
    np.save(folder / "neighbours.npy", _neighbours(samples))
    for split in ("validation", "test") if gap is None else ():
        held_out = samples[["sample_id", "label", "predicted", "confidence", "loss", "grad_norm"]].iloc[::4]
        held_out.to_parquet(folder / f"{split}.parquet", index=False)
    drawn = DrawnSamples(ids, given, names, seed)
    if gap is None:
        pack_thumbnails(drawn, folder)
    if pictures:
        _write_dataset(dataset_of(folder), drawn, [names[label] for label in truth])
    results = _results(samples, given, probabilities)
    if not old:
        results |= {"neighbours_view": "the inputs", "witnesses": dict.fromkeys(WITNESSES, "the inputs")}
    finish_run(folder, columns=_columns(samples, column), results=results, **more)
    return open_run(folder)


def _fair(
    rng: np.random.Generator,
    folder: Path,
    samples: pd.DataFrame,
    names: tuple[str, ...],
    gap: bool,
    column: str,
    worse: str,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Groups, a fairness objective, held-out tables and the rows as they stand in the source."""
    n = len(samples)
    groups = np.where(np.arange(n) % 2, worse, "men")
    influence = rng.normal(0, 0.1, n) - 0.3 * ((groups == "men") & (samples["label"] == names[0]))
    cells = pd.DataFrame({"job": ["cook"] * (n - 1) + ["<i>astronaut</i>"], "age": rng.integers(20, 60, n)})
    cells.set_axis(samples["sample_id"].tolist(), axis=0).to_parquet(folder / "cells.parquet")
    held = pd.DataFrame(
        {
            "sample_id": [f"v{row}" for row in range(80)],
            "label": [names[row % 2] for row in range(80)],
            "predicted": [names[0 if row % 4 == 3 else row % 2] for row in range(80)],
            "confidence": 0.9,
            "loss": 0.1,
            column: ["men" if row % 4 < 2 else worse for row in range(80)],
        }
    )
    for split in ("validation", "test"):
        held.to_parquet(folder / f"{split}.parquet", index=False)
    interval = {"value": 0.31, "low": 0.2 if gap else -0.1, "high": 0.4, "p_value": 0.004, "present": gap}
    ends = {
        "column": column,
        "groups": {"men": 0.1, worse: 0.41},
        "highest": worse,
        "lowest": "men",
    }
    kind = {"positive": [names[1]], "kind": "equal_opportunity"}
    title = f"the {column} gap in loss on class {names[1]} (equal opportunity)"
    facts = {
        "title": title,
        "unit": "loss",
        "samples": 80,
        **interval,
        **ends,
        **kind,
        "rate": {**interval, **ends},
    }
    notes = ["Group column 'id' has 1,000 different values."]
    table = samples.assign(influence_fairness_sex=influence, **{column: groups})
    return table, {"objectives": {"fairness_sex": {**facts, "notes": []}}, "notes": notes}


def dataset_of(folder: Path) -> Path:
    """Where the dataset of a small run lies, if it was written: beside the run, not listed as one."""
    return folder.parent / f".{folder.name}-dataset"


def _write_dataset(root: Path, drawn: DrawnSamples, truth: list[str]) -> None:
    """train/ as in the run, val/ and test/ of a quarter each, truth.csv."""
    for position, sample in enumerate(drawn.ids):
        parts = ("train", "val", "test") if position % 4 == 0 else ("train",)
        for part in parts:
            path = root / sample.replace("train/", f"{part}/", 1)
            path.parent.mkdir(parents=True, exist_ok=True)
            drawn.picture(position).save(path)
    table = pd.DataFrame({"sample_id": drawn.ids, "label": truth})
    table.to_csv(root / "truth.csv", index=False)


def _probabilities(rng: np.random.Generator, truth: np.ndarray, given: np.ndarray, c: int) -> np.ndarray:
    logits = rng.normal(0, 0.7, (len(truth), c))
    logits[np.arange(len(truth)), truth] += 3
    logits[np.arange(len(truth)), given] += 1
    raised = np.exp(logits)
    return (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)


def _samples(rng, ids, names, given, truth, wrong, probabilities) -> pd.DataFrame:
    n, rows = len(given), np.arange(len(given))
    of_given = probabilities[rows, given]
    others = probabilities.copy()
    others[rows, given] = 0
    error = np.linalg.norm(probabilities - np.eye(len(names))[given], axis=1)
    norm = error * rng.lognormal(1, 0.2, n)
    label, suggestion = np.array(names)[given], np.where(wrong, truth, others.argmax(axis=1))
    suspicion = np.clip(np.where(wrong, rng.beta(12, 2, n), rng.beta(1, 12, n)), 0, 1)
    return pd.DataFrame(
        {
            "sample_id": ids,
            "label": label,
            "predicted": np.array(names)[probabilities.argmax(axis=1)],
            "confidence": probabilities.max(axis=1),
            "loss": -np.log(of_given),
            "margin": of_given - others.max(axis=1),
            "el2n": error,
            "grad_norm": norm,
            "grad_norm_l1": norm * 8,
            "grad_norm_last": norm * 0.6,
            "outlier_forest": rng.normal(0, 1, n) + 2 * wrong,
            "outlier_l1": norm * 8,
            "outlier_l2": norm,
            "influence_utility": rng.normal(0.02, 0.01, n) - 0.1 * wrong,
            "suspicion": suspicion,
            "suspicion_influence": np.clip(suspicion + rng.normal(0, 0.05, n), 0, 1),
            "suspicion_probe": np.clip(suspicion + rng.normal(0, 0.05, n), 0, 1),
            "suspicion_neighbours": np.clip(suspicion + rng.normal(0, 0.1, n), 0, 1),
            "suggested_label": np.array(names)[suggestion],
            "suggested_probability": suspicion * (SHARE if len(names) > 2 else 1.0),
            "map_x": np.cos(2 * np.pi * truth / len(names)) * 5 + rng.normal(0, 0.8, n),
            "map_y": np.sin(2 * np.pi * truth / len(names)) * 5 + rng.normal(0, 0.8, n),
            "self_influence": norm**2,
            "influence_worst_class": rng.normal(0, 0.01, n) - 0.1 * wrong,
            "knn_shapley": rng.normal(0, 0.01, n) - 0.05 * wrong,
            "confident_learning": 1 - suspicion,
            "layer_aware": rng.normal(0.02, 0.01, n) - 0.1 * wrong,
            "aum": rng.normal(4, 1, n) - 6 * wrong,
        }
    )


def _beliefs(samples: pd.DataFrame, names: tuple[str, ...]) -> np.ndarray:
    """Bars that agree with suspicion and suggestion, (n, c)."""
    rows, place = np.arange(len(samples)), {name: k for k, name in enumerate(names)}
    given, suggested = (samples[column].map(place).to_numpy() for column in ("label", "suggested_label"))
    rest = samples["suspicion"] - samples["suggested_probability"]
    beliefs = np.repeat((rest / max(1, len(names) - 2)).to_numpy()[:, None], len(names), axis=1)
    beliefs[rows, given] = 1 - samples["suspicion"]
    beliefs[rows, suggested] = samples["suggested_probability"]
    return beliefs.astype(np.float32)


def _witnesses(samples: pd.DataFrame, beliefs: np.ndarray, names: tuple[str, ...]) -> pd.DataFrame:
    """Two witnesses that agree with the bars."""
    columns: dict[str, Any] = {"sample_id": samples["sample_id"]}
    for group, strength in WITNESSES.items():
        columns[f"{group}_says"] = pd.Categorical.from_codes(beliefs.argmax(1), categories=list(names))
        columns[f"{group}_probability"] = beliefs.max(1)
        columns[f"{group}_weight"] = (strength * (samples["suspicion"] - 0.5)).astype(np.float32)
    return pd.DataFrame(columns)


def _layers(samples: pd.DataFrame) -> pd.DataFrame:
    shares = {layer: 0.5**index for index, layer in enumerate(LAYERS)}
    parts = [
        pd.DataFrame(
            {
                "sample_id": samples["sample_id"],
                "layer": layer,
                "norm": samples["grad_norm"] * share,
                "influence_utility": samples["influence_utility"] * share,
            }
        )
        for layer, share in shares.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _neighbours(samples: pd.DataFrame) -> np.ndarray:
    xy = samples[["map_x", "map_y"]].to_numpy()
    distance = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1)[:, :10].astype(np.int32)


def _description(
    folder: Path, names: tuple[str, ...], n: int, seed: int, options: dict[str, Any] | None
) -> dict[str, Any]:
    dataset = {
        "path": str(dataset_of(folder)),
        "name": "small",
        "fingerprint": f"{seed:064x}",
        "classes": names,
    }
    if options is not None:
        dataset["options"] = options
    counts = {
        "n_train": n,
        "n_val": n // 4,
        "n_test": n // 4,
        "notes": ["Validation: 15 % of train, seed 0."],
    }
    model = {"path": "model.safetensors", "architecture": "small_cnn", "fingerprint": "f" * 64}
    return {
        "name": folder.name,
        "inputs": {"dataset": dataset | counts, "model": model | {"parameters": 10_234}},
        "settings": {"objectives": ["utility"], "precision": "float32"},
        "versions": {"influence_core": "0.1.0"},
        "seed": seed,
        "preflight": {
            "layers": [{"name": layer, "kind": "Linear", "covered": "exact"} for layer in LAYERS],
            "share_covered": 1.0,
            "seconds": 3.2,
            "bytes": 2_000_000,
        },
    }


def _columns(samples: pd.DataFrame, column: str) -> dict[str, dict[str, Any]]:
    known = {
        "influence_utility": {
            "title": "Influence on utility",
            "meaning": "Negative: a training step on this image raises validation loss.",
            "positive_means": "helpful",
            "unit": "validation loss per unit of learning rate",
            "target": "mean validation loss",
            "layers": "all layers",
        },
        "suspicion": {
            "title": "Suspicion",
            "meaning": "Estimated probability that the given label is wrong.",
            "positive_means": "probably wrong",
            "unit": "probability",
            "target": "the given label",
            "layers": "last hidden layer",
        },
    }
    plain = {"positive_means": "", "unit": "", "target": "", "layers": "all layers"}
    rest = {name: {"title": name.replace("_", " ").capitalize(), "meaning": f"{name}."} for name in samples}
    return {name: plain | rest[name] | known.get(name, {}) for name in samples if name != column}


def _results(samples: pd.DataFrame, given: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    return {
        "validation_accuracy": {"value": 0.9, "low": 0.84, "high": 0.94},
        "test_accuracy": {"value": 0.89, "low": 0.83, "high": 0.93},
        "train_accuracy": float((probabilities.argmax(axis=1) == given).mean()),
        "expected_errors": float(samples["suspicion"].sum()),
        "flagged": int((samples["suspicion"] > 0.5).sum()),
        "cut": 0.5,
        "map_explained": 0.71,
    }
