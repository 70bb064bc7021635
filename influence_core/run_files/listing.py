"""The list of runs, newest first.

Only run.json is read, and the names and sizes of the files it lists, so that a list of hundreds stays fast. A damaged
folder does not stop the list: it is shown as damaged, with its problem.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from influence_core.run_files import seals
from influence_core.run_files.folder import FOLDER_NAME, read_description
from influence_core.run_files.state import state_of
from influence_core.system.times import utc_text


@dataclass(frozen=True)
class RunSummary:
    """One line of the list of runs.

    `name` is the folder; `state` is one of queued, running, finished, cancelled, failed, interrupted, damaged.
    """

    name: str
    state: str
    created: str
    id: str | None = None
    title: str = ""
    dataset: str = ""
    model: str = ""
    n: int | None = None
    classes: int | None = None
    flagged: int | None = None
    problem: str | None = None


def list_runs(root: Path | str) -> list[RunSummary]:
    """Return all runs of a root, newest first. A damaged one is listed as damaged, with its problem."""
    root = Path(root)
    if not root.is_dir():
        return []
    folders = [folder for folder in root.iterdir() if FOLDER_NAME.fullmatch(folder.name) and folder.is_dir()]
    summaries = [summary for folder in folders if (summary := _summary(folder)) is not None]
    return sorted(summaries, key=lambda summary: (summary.created, summary.name), reverse=True)


def _summary(folder: Path) -> RunSummary | None:
    """Summarise a run or a waiting job; None for a folder that is neither.

    Any error at all makes this one folder damaged: what a stranger put there must not hide the other runs.
    """
    try:
        if not (folder / "run.json").exists():
            return _waiting(folder) if (folder / "job.json").exists() else None
        return _described(folder, read_description(folder))
    except Exception as error:
        return RunSummary(folder.name, "damaged", _changed(folder), problem=str(error) or repr(error))


def _described(folder: Path, description: dict[str, Any]) -> RunSummary:
    if description["state"] == "finished":
        for name, seal in seals.read(folder, description).items():
            seals.check_size(folder, name, seal)
    dataset, model = (description.get("inputs", {}).get(name, {}) for name in ("dataset", "model"))
    state, reason = str(description["state"]), description.get("reason")
    if state == "running":
        state, reason = state_of(folder)
    return RunSummary(
        name=folder.name,
        state=state,
        created=str(description["created"]),
        id=description["id"],
        title=description.get("name") or folder.name,
        dataset=dataset.get("name") or "",
        model=model.get("architecture") or "",
        n=dataset.get("n_train"),
        classes=len(dataset.get("classes") or ()) or None,
        flagged=description.get("results", {}).get("flagged"),
        problem=reason,
    )


def _waiting(folder: Path) -> RunSummary:
    state, reason = state_of(folder)
    return RunSummary(folder.name, state, _changed(folder), title=folder.name, problem=reason)


def _changed(folder: Path) -> str:
    """When the folder was changed; the oldest time for one that is gone by now."""
    try:
        return utc_text(datetime.fromtimestamp(folder.stat().st_mtime, UTC))
    except OSError:
        return ""
