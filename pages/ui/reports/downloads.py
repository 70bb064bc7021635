"""The downloads of a run: what each file contains, how many rows it has, and how it is made. No Streamlit.

Every file is made at the moment of the click, from the decisions at that time. The number of rows beside its button is
counted from the same log when the page is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pandas as pd

from influence_core.decisions import corrections as corrected
from influence_core.decisions.log import DecisionLog
from influence_core.exports.annotation_tools import label_issues, label_studio_tasks
from influence_core.exports.image_folder import write_image_folder
from influence_core.runs.run import Run
from influence_core.system.safe_tables import write_csv, write_parquet
from influence_core.verification.results import Verification
from pages.ui.server.routes import thumbnail_base
from pages.ui.shell import cached

PARQUET, ZIP, JSON = "application/vnd.apache.parquet", "application/zip", "application/json"
BINARY = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class File:
    """One format of an offer: the word on its button, its name, and the function that makes its bytes."""

    label: str
    name: str
    media_type: str
    make: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Offer:
    """One download: title, meaning, how many `unit` it has, its files, and the obstacle if it cannot be made."""

    title: str
    meaning: str
    rows: int
    unit: str
    files: tuple[File, ...]
    obstacle: str | None = None


def tables(run: Run, log: DecisionLog, first: int) -> dict[str, tuple[pd.DataFrame, int]]:
    """The tables of the preview, by title: their first rows, and the number of all."""
    decided, labels = corrected.corrections(run, log), corrected.corrected_labels(run, log)
    return {
        "Decisions": (decided.head(first), len(decided)),
        "Corrected labels": (labels.head(first), len(labels)),
        "Decision log": (log.events(run.id, first=first), log.count(run.id)),
    }


def offers(run: Run, name: str, log: DecisionLog, address: str) -> list[Offer]:
    """Every download of this run, the most wanted first.

    Args:
        run: The open run.
        name: Its folder name.
        log: The decision log.
        address: Where this server is reached, ending in '/', for tools that fetch pictures from it.
    """
    counted, events = corrected.counts(run, log), log.count(run.id)
    remaining, decided = counted.total - counted.removed, counted.total - counted.undecided
    return [
        Offer(
            "Corrected labels",
            "One row for every training sample that remains, ready to train on.",
            remaining,
            "rows",
            (
                _csv_file("corrected-labels", lambda: corrected.corrected_labels(run, log)),
                File("Parquet", "corrected-labels.parquet", PARQUET, lambda: _parquet(run, log)),
            ),
        ),
        Offer(
            "Corrected image folder",
            "The original images in one folder per class; validation and test as they came.",
            remaining,
            "training images",
            (File("Zip", "corrected-images.zip", ZIP, lambda: _images(run, log)),),
            _missing_images(run),
        ),
        Offer(
            "Decisions",
            "One row per decided sample: both labels, who and when.",
            decided,
            "rows",
            (_csv_file("decisions", lambda: corrected.corrections(run, log)),),
        ),
        Offer(
            "Decision log",
            "Every decision in order, with undone and conflicting ones.",
            events,
            "entries",
            (_csv_file("decision-log", lambda: log.parts(run.id)),),
        ),
        Offer(
            "Label issues for cleanlab",
            "is_label_issue and label_score (low is suspicious) for every sample.",
            counted.total,
            "rows",
            (_csv_file("label-issues", lambda: label_issues(run, log)),),
        ),
        Offer(
            "Tasks for Label Studio",
            "One task per sample with suggestion and decision; images come from this server.",
            counted.total,
            "tasks",
            (File("JSON", "label-studio.json", JSON, lambda: _tasks(run, name, log, address)),),
        ),
    ]


def repaired(run: Run, verification: Verification) -> bytes:
    """The training data as verified, with validation and test samples, as Parquet."""
    from influence_core.exports.version_file import version_bytes
    from influence_core.inputs.reopened import reopen  # imports torch: only this download needs it
    from influence_core.repair import repairs

    inputs = reopen(run)
    return version_bytes(repairs.repaired(inputs.train, verification.repair()), inputs.val, inputs.test)


def report(run: Run, log: DecisionLog) -> bytes:
    """The report of the run as one HTML file."""
    from pages.ui.reports.html_report import html

    return html(run, log).encode()


def _csv_file(stem: str, table: Callable[[], pd.DataFrame | Iterable[pd.DataFrame]]) -> File:
    return File("CSV", f"{stem}.csv", "text/csv", lambda: _csv(table()))


def _missing_images(run: Run) -> str | None:
    """Why the image folder cannot be made; None when it can."""
    dataset = _dataset_path(run)
    return (
        None
        if dataset.exists()
        else f"The dataset is no longer at {dataset}. Put it back to export its images."
    )


def _dataset_path(run: Run) -> Path:
    return Path(run.description["inputs"]["dataset"].get("path") or "")


def _csv(table: pd.DataFrame | Iterable[pd.DataFrame]) -> bytes:
    target = BytesIO()
    write_csv(table, target)
    return target.getvalue()


def _parquet(run: Run, log: DecisionLog) -> bytes:
    target = BytesIO()
    write_parquet(corrected.corrected_labels(run, log), target)
    return target.getvalue()


def _images(run: Run, log: DecisionLog) -> bytes:
    """The corrected image folder as a zip, from the dataset as the run opened it."""
    from influence_core.inputs.reopened import reopen_dataset  # imports torch: only this download needs it

    target = BytesIO()
    write_image_folder(run, log, reopen_dataset(run), target)
    return target.getvalue()


def _tasks(run: Run, name: str, log: DecisionLog, address: str) -> bytes:
    rows, base = cached.columns(run.id, run)["position"], thumbnail_base(run, name)
    tasks = label_studio_tasks(run, log, lambda sample: f"{address}{base}{rows[sample]}")
    return json.dumps(tasks, indent=1).encode()
