"""Recordings of a training: every sample's loss, margin and influence, epoch by epoch, from any loop.

    recorder = Recorder(folder, ids, labels)
    recorder.batch(rows, outputs, labels)        once a batch; values=(b,) for an influence
    recorder.end_epoch()                         one file an epoch, complete or absent
    recorder.close()

The folder holds samples.parquet (sample_id, label), recording.json (state, epochs, settings) and epoch-0001.npy and so
on: float32 (columns, n), NaN where a sample was not seen. Only one epoch's numbers are in memory. A sample seen several
times in an epoch is stored with its mean. An unfinished recording of the same samples and settings is continued; its
existing epochs stay unchanged.
"""

import hashlib
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

from influence_core.errors import DamagedError, RunError
from influence_core.run_files import seals
from influence_core.run_files.writer import become_writer, end_writing
from influence_core.system import atomic
from influence_core.system.times import utc_now

FORMAT = 1
COLUMNS = ("loss", "margin", "influence", "kept")
"""loss in nats; margin: logit of the given label minus the best other one; influence: positive = helpful; kept: share
of the sample's steps that a filter let through."""
FOLDER = "recordings"


def recording_folder(run: Path | str, name: str = "training") -> Path:
    """The folder of a recording that the Dynamics page of a run reads; `run` is the run's folder."""
    return Path(run) / FOLDER / name


def recordings_of(run: Path | str) -> list[Path]:
    """Folders of all recordings of a run, the newest first, also those that have not begun."""
    folders = [path for path in (Path(run) / FOLDER).glob("[!.]*") if path.is_dir()]
    return sorted(folders, key=lambda path: path.stat().st_ctime, reverse=True)


@final
class Recorder:
    """A recording being written; see the module."""

    def __init__(
        self,
        folder: Path | str,
        ids: Sequence[str],
        labels: Sequence[Any] | np.ndarray,
        *,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin a recording, or continue an unfinished one.

        Args:
            folder: Created when missing. ids, labels: of the n samples, in the order that `rows` refer to.
            settings: How the model is trained; a recording is continued under the same settings only.

        Raises:
            RunError: the folder holds a finished recording, or one of other samples or settings, or another process
                records there.
        """
        self.folder, self.n = Path(folder), len(ids)
        become_writer(self.folder)
        self._leave = weakref.finalize(self, end_writing, self.folder)
        table = pd.DataFrame({"sample_id": [str(i) for i in ids], "label": [str(label) for label in labels]})
        digest = hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()
        facts = {"format": FORMAT, "columns": list(COLUMNS), "n": self.n, "samples": digest}
        self._facts = {**facts, "settings": atomic.plain(dict(settings or {}))}
        if (self.folder / "recording.json").exists():
            try:
                self.epochs = self._continued()
            except RunError:
                self._leave()
                raise
        else:
            self.epochs = 0
            with atomic.writing(self.folder / "samples.parquet") as file:
                table.to_parquet(file, index=False)
            self._write("running")
        self._clear()

    def batch(self, rows: Any, outputs: Any, labels: Any, *, values: Any = None, kept: Any = None) -> None:
        """Add one batch: rows (b,) in the order of ids, outputs (b, c) logits, labels (b,).

        For sequences outputs (b, t, c) and labels (b, t): the mean over positions, without those of a label below 0
        (padding). values: influence (b,); kept: bool (b,). Tensors or arrays; they are read at once.
        """
        logits, given = _numbers(outputs, "outputs"), _numbers(labels, "labels")
        if given.ndim == logits.ndim and given.shape[-1] == 1:
            given = given[..., 0]
        if logits.ndim not in (2, 3) or given.shape != logits.shape[:-1]:
            raise RunError(
                f"Outputs of shape {logits.shape} with labels of shape {given.shape} cannot be recorded; expected "
                "logits (b, c) with labels (b,), or (b, t, c) with (b, t). Use numbers(...) to record a loss and a "
                "margin of your own."
            )
        if len(wrong := given[(given >= logits.shape[-1]) | (given != np.round(given))]):
            raise RunError(
                f"The label {wrong[0]:g} was given with outputs of {logits.shape[-1]} classes; expected a whole number "
                f"from 0 to {logits.shape[-1] - 1}."
            )
        given = given.astype(np.int64)
        column = np.maximum(given, 0)[..., None]
        label_logit, others = np.take_along_axis(logits, column, -1)[..., 0], logits.copy()
        np.put_along_axis(others, column, -np.inf, -1)
        loss = np.logaddexp.reduce(logits, axis=-1) - label_logit
        loss, margin = (
            _over_positions(numbers, given >= 0) for numbers in (loss, label_logit - others.max(-1))
        )
        self.numbers(rows, loss=loss, margin=margin, influence=values, kept=kept)

    def numbers(self, rows: Any, **columns: Any) -> None:
        """Add one batch of precomputed numbers, each (b,), by a name of COLUMNS; None is left out."""
        where = np.atleast_1d(_numbers(rows, "rows")).astype(np.int64)
        if len(wrong := where[(where < 0) | (where >= self.n)]):
            raise RunError(f"Row {wrong[0]} was recorded, but the recording is of {self.n:,} samples.")
        for name, values in columns.items():
            if name not in COLUMNS:
                raise RunError(f"No column is called '{name}'; expected one of {', '.join(COLUMNS)}.")
            if values is not None:
                place, numbers = COLUMNS.index(name), np.atleast_1d(_numbers(values, name))
                if numbers.shape != where.shape:
                    raise RunError(
                        f"'{name}' has shape {numbers.shape} for {len(where)} rows; expected one number a row."
                    )
                np.add.at(self._sums[place], where, numbers)
                np.add.at(self._counts[place], where, 1)

    def end_epoch(self) -> None:
        """Write the batches since the last call as one epoch."""
        mean = np.full(self._sums.shape, np.nan, np.float32)
        np.divide(self._sums, self._counts, out=mean, where=self._counts > 0, casting="unsafe")
        with atomic.writing(_epoch_file(self.folder, self.epochs + 1)) as file:
            np.save(file, mean, allow_pickle=False)
        self.epochs += 1
        self._write("running")
        self._clear()

    def close(self) -> None:
        """Mark the recording as finished; other processes may write into its folder again."""
        self._write("finished")
        self._leave()

    def _clear(self) -> None:
        self._sums = np.zeros((len(COLUMNS), self.n))
        self._counts = np.zeros((len(COLUMNS), self.n), np.int32)

    def _write(self, state: str) -> None:
        facts = {**self._facts, "state": state, "epochs": self.epochs, "updated": utc_now()}
        seals.write_json(self.folder / "recording.json", facts)

    def _continued(self) -> int:
        earlier = _described(self.folder)
        different = [name for name, value in self._facts.items() if earlier.get(name) != value]
        if earlier["state"] == "finished" or different:
            content = (
                f"a recording with another {' and '.join(different)}" if different else "a finished recording"
            )
            raise RunError(f"{self.folder} holds {content}. Choose another folder, or delete this one first.")
        return int(earlier["epochs"])


@final
@dataclass(frozen=True)
class Recording:
    """A recording, read only: e epochs so far, n samples; epochs are the first axis of every array."""

    folder: Path
    facts: Mapping[str, Any]

    @property
    def finished(self) -> bool:
        return self.facts["state"] == "finished"

    @property
    def epochs(self) -> int:
        return int(self.facts["epochs"])

    @cached_property
    def samples(self) -> pd.DataFrame:
        """sample_id and label, one row a sample."""
        return pd.read_parquet(self.folder / "samples.parquet")

    def epoch(self, number: int) -> np.ndarray:
        """One epoch, (columns, n) float32, memory-mapped; numbers start at 1."""
        path = _epoch_file(self.folder, number)
        try:
            columns = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise RunError(
                f"{path} cannot be read ({error}). The recording is damaged: record again."
            ) from error
        if columns.shape != (len(COLUMNS), self.facts["n"]):
            raise RunError(
                f"{path} holds {columns.shape} numbers; expected {(len(COLUMNS), self.facts['n'])}. The recording is "
                "damaged: record again."
            )
        return columns

    def column(self, name: str) -> np.ndarray:
        """One column over all epochs, (e, n) float32."""
        place = COLUMNS.index(name)
        rows = [self.epoch(number)[place] for number in range(1, self.epochs + 1)]
        return np.stack(rows) if rows else np.zeros((0, self.facts["n"]), np.float32)


def open_recording(folder: Path | str) -> Recording:
    """Open a recording, finished or still growing.

    Raises:
        RunError: no recording in this folder, or a damaged one.
    """
    return Recording(Path(folder), _described(Path(folder)))


def _described(folder: Path) -> dict[str, Any]:
    path = folder / "recording.json"
    if not path.exists():
        raise RunError(f"No recording in {folder}: it has no recording.json. Record a training first.")
    try:
        content = seals.read_json(path)
    except DamagedError as error:
        raise RunError(f"{error} The recording is damaged: record again.") from error
    missing = {"format", "columns", "n", "state", "epochs"} - set(content)
    if missing or content["format"] != FORMAT or content["columns"] != list(COLUMNS):
        raise RunError(
            f"{path} is not of format {FORMAT}. Read it with the version that wrote it, or record again."
        )
    return content


def _epoch_file(folder: Path, number: int) -> Path:
    return folder / f"epoch-{number:04d}.npy"


def _over_positions(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """(b,) unchanged, or (b, t) -> the mean (b,) over the counted positions, NaN where there is none."""
    if values.ndim == 1:
        return values
    total, count = np.where(counted, values, 0).sum(1), counted.sum(1)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def _numbers(values: Any, what: str) -> np.ndarray:
    """Tensors, arrays or lists as float64."""
    try:
        return np.asarray(values.detach().cpu().double() if hasattr(values, "detach") else values, np.float64)
    except (TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"The {what} are a {type(values).__name__} that holds no numbers ({error}); expected a tensor or an array, "
            "such as outputs.logits, and class numbers for labels."
        ) from error
