"""`RunTables`: the content of a finished run's files, checked when read.

A run folder is the contract between the engine, the pages and other tools; once finished it never changes. Opening one
checks that every file has its full size. The checksum of a small file is checked at once, that of a large one on its
first use. A mismatch is an error that names the file.

Sign: influence above zero means helpful, below zero harmful. Suspicion near 1 means the label is probably wrong.
"""

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from influence_core.errors import RunError
from influence_core.run_files import description_types, seals, thumbnails
from influence_core.run_files.folder import read_description

HELD_OUT = {"val": "validation", "test": "test"}
"""Names of the held-out splits in `table`, by their name in the dataset."""


@dataclass(frozen=True)
class ColumnMeaning:
    """The meaning of one column's numbers, in words for readers."""

    name: str
    title: str
    meaning: str
    positive_means: str = ""
    unit: str = ""
    target: str = ""
    layers: str = ""


class RunTables(ABC):  # noqa: B024 - no abstract method, but only `Run` is instantiated
    """The files of a finished run, read-only. Everything but run.json is read on first use.

    n is the number of training samples, c of classes, q of sketch dimensions. Row i of every array and position i of
    every method is row i of `samples`.
    """

    def __init__(self, path: Path, description: Mapping[str, Any]) -> None:
        """Use `open_run` (runs/run.py), which checks the folder first."""
        self.path = path
        self.description = dict(description)
        self._packs: dict[str, thumbnails.Pack] = {}
        self._tables: dict[str, pd.DataFrame] = {}

    def __repr__(self) -> str:
        """Return the id, the state and the folder of the run, as text."""
        return f"{type(self).__name__}({self.id!r}, {self.state}, {self.path})"

    @property
    def id(self) -> str:
        """Unique, never reused; decisions refer to it."""
        return self.description["id"]

    @property
    def name(self) -> str:
        """The name given to the run, else that of its folder."""
        return self.description.get("name") or self.path.name

    @property
    def state(self) -> str:
        """Always "finished": no other run can be opened."""
        return self.description["state"]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the model's outputs."""
        return tuple(self.description["inputs"]["dataset"]["classes"])

    @property
    def samples(self) -> pd.DataFrame:
        """One row per training sample, index sample_id; a shallow copy, free to be changed."""
        return self._samples.copy(deep=False)

    @property
    def layers(self) -> pd.DataFrame:
        """The contribution of each layer to each sample; read at each use."""
        return pd.read_parquet(self.file("layers.parquet"))

    def table(self, split: str) -> pd.DataFrame:
        """Return the model's outputs for the "validation" or "test" samples, index sample_id; a shallow copy.

        Raises:
            RunError: If the run has no such table: runs of version 0.2, and runs without a test split.
        """
        return self._held_out(split).copy(deep=False)

    @cached_property
    def sketches(self) -> np.ndarray:
        """Projected gradients, shape (n, q), memory-mapped."""
        return self._array("sketches.npy")

    @cached_property
    def validation_sketches(self) -> np.ndarray:
        """Projected gradients of the validation samples, shape (m, q), memory-mapped."""
        return self._array("validation_sketches.npy")

    @cached_property
    def probabilities(self) -> np.ndarray:
        """The model's softmax, shape (n, c), float32, memory-mapped."""
        return self._array("probabilities.npy")

    @cached_property
    def beliefs(self) -> np.ndarray | None:
        """How probable each class is by all trusted evidence, shape (n, c), float32, memory-mapped; rows add up to 1.

        The given label has 1 - suspicion, the suggested one suggested_probability. None: a run of 0.5 or earlier, which
        kept these two alone.
        """
        return self._array("beliefs.npy") if "beliefs.npy" in self.description["files"] else None

    @cached_property
    def witnesses(self) -> pd.DataFrame | None:
        """Who says what about each label: for "unseen", "neighbours" and perhaps "validation" three columns each.

        _says (a class), _probability, and _weight: log odds of the suggestion against the given label that this witness
        adds, above zero = for the suggestion. Made in influence_core/scores/suspicion/witnesses.py; index sample_id.
        None: a run of 0.5 or earlier.
        """
        if "witnesses.parquet" not in self.description["files"]:
            return None
        return pd.read_parquet(self.file("witnesses.parquet")).set_index("sample_id")

    @cached_property
    def neighbours(self) -> np.ndarray:
        """Positions of the nearest training samples, shape (n, 10), int32, nearest first.

        Nearest in results["neighbours_view"], the view that suspicion trusted most; in a run of 0.5 or earlier, which
        does not name it, in the deepest layer.
        """
        return self._array("neighbours.npy")

    def harmful(self, objective: str = "utility", k: int = 50) -> list[str]:
        """Return the ids of at most k samples with influence below zero, worst first."""
        return self._lowest(self._influence(objective), k)

    def helpful(self, objective: str = "utility", k: int = 50) -> list[str]:
        """Return the ids of at most k samples with influence above zero, best first."""
        return self._lowest(-self._influence(objective), k)

    def column(self, name: str) -> ColumnMeaning:
        """Return the meaning, the sign and the unit of a column of `samples`."""
        explained = self.description.get("columns", {})
        if name not in explained:
            raise RunError(f"{self.path} explains no column {name!r}; it explains {', '.join(explained)}.")
        fields = {key: _as_text(value) for key, value in explained[name].items() if value is not None}
        return ColumnMeaning(
            name=name, **{key: fields[key] for key in fields if key in ColumnMeaning.__match_args__}
        )

    def position(self, sample_id: str) -> int:
        """Return the row of a training sample.

        Raises:
            RunError: If the run has no sample of this id.
        """
        if (row := self.find(sample_id)) is None:
            raise RunError(
                f"The run {self.name} has no sample {sample_id!r}; "
                f"its ids look like {self._samples.index[0]!r}."
            )
        return row

    @property
    def has_thumbnails(self) -> bool:
        """Whether the samples can be shown as pictures."""
        return self.description["files"].get(thumbnails.PACK, {}).get("bytes", 0) > 0

    @cached_property
    def cells(self) -> pd.DataFrame | None:
        """The training rows of a table as they are in the source, index sample_id; None for other datasets."""
        return self._cells("cells.parquet")

    def held_out_cells(self, split: str) -> pd.DataFrame | None:
        """Return the rows of "validation" or "test" as they are in the source; None for other datasets."""
        return self._cells(f"{split}_cells.parquet")

    def _cells(self, name: str) -> pd.DataFrame | None:
        return pd.read_parquet(self.file(name)) if name in self.description["files"] else None

    def thumbnail(self, position: int, split: str = "train") -> tuple[bytes, str]:
        """Return a sample's small picture and its media type; `split` is "train", "val" or "test".

        Raises:
            RunError: If there is no such position, or the sample has no picture.
        """
        pack = self._thumbnails(split)
        if not 0 <= position < len(pack):
            raise RunError(f"There is no {split} sample at position {position}: the run has {len(pack):,}.")
        if not (content := pack[position]):
            raise RunError(
                f"The {split} sample at position {position} of the run {self.name} has no picture."
            )
        return content, thumbnails.media_type(content)

    def find(self, sample_id: str, split: str = "train") -> int | None:
        """Return the row of a sample in its split; None when there is no such id."""
        return self._rows.get(split, {}).get(sample_id)

    def truth(self) -> pd.Series | None:
        """Return the true labels of a demonstration dataset by sample_id; None for any other.

        Only for judging results; no analysis may read them.
        """
        dataset = self.description["inputs"]["dataset"].get("path")
        if not dataset or not (path := Path(dataset) / "truth.csv").is_file():
            return None
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if missing := {"sample_id", "label"} - set(table.columns):
            raise RunError(f"{path} lacks the column {' and '.join(sorted(missing))}.")
        labels = dict(zip(table["sample_id"], table["label"], strict=True))
        by_id = {sample_id: labels[sample_id] for sample_id in self._samples.index if sample_id in labels}
        return pd.Series(by_id, name="true_label", dtype="str").rename_axis("sample_id")

    def file(self, name: str) -> Path:
        """Return the path of a file of this run, after checking its checksum."""
        files = self.description["files"]
        if name not in files:
            raise RunError(f"The run {self.name} has no {name}; it has {', '.join(files)}.")
        seals.check_content(self.path, name, files[name])
        return self.path / name

    @cached_property
    def _samples(self) -> pd.DataFrame:
        return pd.read_parquet(self.file("samples.parquet")).set_index("sample_id")

    def _held_out(self, split: str) -> pd.DataFrame:
        if split not in self._tables:
            self._tables[split] = pd.read_parquet(self.file(f"{split}.parquet")).set_index("sample_id")
        return self._tables[split]

    @cached_property
    def _rows(self) -> dict[str, dict[str, int]]:
        tables = {"train": self._samples}
        for split, name in HELD_OUT.items():
            if f"{name}.parquet" in self.description["files"]:
                tables[split] = self._held_out(name)
        return {split: {name: row for row, name in enumerate(table.index)} for split, table in tables.items()}

    def _thumbnails(self, split: str) -> thumbnails.Pack:
        if split not in self._packs:
            pack, index = thumbnails.FILES[split]
            self._packs[split] = thumbnails.Pack(self.file(pack), self.file(index))
        return self._packs[split]

    def _array(self, name: str) -> np.ndarray:
        return np.load(self.file(name), mmap_mode="r", allow_pickle=False)

    def _lowest(self, values: np.ndarray, k: int) -> list[str]:
        """Return the ids of the k lowest values below zero. Equal values keep their order; NaN is left out."""
        order = np.argsort(values, kind="stable")
        return self._samples.index[order[values[order] < 0][:k]].tolist()

    def _influence(self, objective: str) -> np.ndarray:
        objectives = [
            name.removeprefix("influence_") for name in self._samples if name.startswith("influence_")
        ]
        if objective not in objectives:
            raise RunError(
                f"The run {self.name} has no objective {objective!r}; it has {', '.join(objectives)}."
            )
        return self._samples[f"influence_{objective}"].to_numpy(np.float64)


def checked_description(path: Path) -> dict[str, Any]:
    """Return the content of run.json of a finished run, after checking its files: all sizes, small files' content.

    Raises:
        RunError: If it is missing, unfinished or damaged; the message names the file and what to do.
    """
    description = read_description(path)
    if description["state"] != "finished":
        reason = f" ({description['reason']})" if description.get("reason") else ""
        raise RunError(
            f"The run in {path} is {description['state']}{reason}, not finished. "
            f"Wait until it is finished, or resume it."
        )
    description_types.check_complete(path / "run.json", description)
    for name, seal in seals.read(path, description).items():
        seals.check_size(path, name, seal)
        if seal["bytes"] <= seals.SMALL:
            seals.check_content(path, name, seal)
    return description


def _as_text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
