"""Export of the corrected dataset as a zip of pictures, readable by other tools and open_dataset.

    train/<class>/<name>.png     the original bytes of every picture that was not removed
    val/, test/                  unchanged, so that a model trained on it is judged on the same pictures
    metadata.csv                 file_name, label, split, groups (Hugging Face's image-folder convention)
    corrections.csv              the decisions, for readers
    README.md                    what was changed, and which labels nobody checked

Folder and file names are safe on every system and never collide. The exact label of a picture is the one in
metadata.csv. The same decisions give the same bytes.
"""

import re
import unicodedata
import zipfile
from io import BytesIO
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from influence_core.decisions.corrections import (
    ExportCounts,
    corrected_labels,
    corrections,
    counts,
    not_checked,
)
from influence_core.decisions.log import DecisionLog
from influence_core.errors import ExportError
from influence_core.runs.run import Run
from influence_core.system.report import Report
from influence_core.system.safe_tables import Target, opened, write_csv

if TYPE_CHECKING:
    from influence_core.data import Dataset, Samples

LONGEST = 80  # characters of a name
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # devices on Windows
_WHEN = (1980, 1, 1, 0, 0, 0)  # the same in every zip


def write_image_folder(
    run: Run,
    log: DecisionLog,
    dataset: "Dataset",
    target: Target,
    *,
    splits: tuple[str, ...] = ("train", "val", "test"),
    on_progress: Report | None = None,
) -> int:
    """Write the corrected dataset as a zip, picture by picture; returns its number of training pictures.

    Args:
        splits: Those to write, of train, val and test; only train is changed.
        on_progress: Called with ("export", done, total).

    Raises:
        ExportError: If the dataset is not the one of the run, or holds no pictures.
    """
    labels = corrected_labels(run, log).set_index("sample_id")["label"].to_dict()
    _check_same(run, dataset.train)
    parts = [(name, part) for name in splits if (part := getattr(dataset, name)) is not None]
    kept = {
        name: [position for position, sample in enumerate(part.ids) if name != "train" or sample in labels]
        for name, part in parts
    }
    folders, files = Names(), Names()
    rows: list[dict[str, object]] = []
    total = sum(map(len, kept.values()))
    with opened(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, part in parts:
            # Without columns there are no records.
            groups = part.groups.to_dict("records") or [{}] * len(part)
            for position in kept[name]:
                sample = part.ids[position]
                given = part.classes[int(part.labels[position])]
                label = labels[sample] if name == "train" else given
                content, suffix = part.image_bytes(position)
                folder = f"{name}/{folders.of(label, key=label)}"
                path = files.inside(folder, PurePosixPath(sample).stem, suffix)
                _add(archive, path, content)
                rows.append({**groups[position], "file_name": path, "label": label, "split": name})
                if on_progress is not None:
                    on_progress("export", len(rows), total)
        columns = dict.fromkeys(["file_name", "label", "split", *(name for row in rows for name in row)])
        _add_table(archive, "metadata.csv", pd.DataFrame(rows, columns=list(columns)))
        _add_table(archive, "corrections.csv", corrections(run, log))
        _add(archive, "README.md", _readme(run, counts(run, log)).encode())
    return len(kept.get("train", ()))


class Names:
    """A source of names that are safe on every system and distinct, also without regard to case."""

    def __init__(self) -> None:
        """Begin with all names free."""
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}  # the next number to try, by name
        self._by_key: dict[str, str] = {}

    def of(self, text: str, *, key: str) -> str:
        """Return the name of a key, made from the text at its first use."""
        if key not in self._by_key:
            self._by_key[key] = self.inside("", text, "")
        return self._by_key[key]

    def inside(self, folder: str, text: str, suffix: str) -> str:
        """Return a new name in a folder: the text made safe, with a number when it is taken."""
        stem = f"{folder}/{safe_name(text)}" if folder else safe_name(text)
        path = first = f"{stem}{suffix}"
        number = self._next.get(first.casefold(), 2)
        while path.casefold() in self._taken:
            path, number = f"{stem}-{number}{suffix}", number + 1
        self._taken.add(path.casefold())
        self._next[first.casefold()] = number
        return path


def safe_name(text: str) -> str:
    """Return a name close to the text for every file system: no separators, devices, dots at the ends."""
    name = re.sub(r"[^\w .()+-]+", "_", unicodedata.normalize("NFC", text))
    name = name[:LONGEST].strip(" .") or "_"
    return f"_{name}" if _RESERVED.fullmatch(name) else name


def _check_same(run: Run, train: "Samples") -> None:
    if list(train.ids) != list(run.samples.index):
        raise ExportError(
            f"The dataset has {len(train):,} training samples, and the run {run.name} was made of "
            f"{len(run.samples):,}: they are not the same samples in the same order. Give the dataset that "
            f"the run was made of, opened with the same settings."
        )
    given = [train.classes[int(label)] for label in train.labels]
    changed = int((run.samples["label"].to_numpy() != np.array(given)).sum())
    if changed:
        raise ExportError(
            f"{changed:,} labels of the dataset differ from those the run {run.name} was made of. "
            f"Give the dataset as it was then, or analyse again."
        )


def _add(archive: zipfile.ZipFile, path: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(path, _WHEN)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


def _readme(run: Run, counted: ExportCounts) -> str:
    """What was decided in this run, and what was not checked."""
    return (
        f"# {run.name}, corrected\n\n"
        f"Of {counted.total:,} training samples {counted.kept:,} were kept, {counted.relabelled:,} relabelled and "
        f"{counted.removed:,} removed; {counted.undecided:,} are undecided and keep their labels. metadata.csv holds "
        f"the labels, corrections.csv the decisions.\n\n{not_checked(run)}\n"
    )


def _add_table(archive: zipfile.ZipFile, path: str, frame: pd.DataFrame) -> None:
    content = BytesIO()
    write_csv(frame, content)
    _add(archive, path, content.getvalue())
