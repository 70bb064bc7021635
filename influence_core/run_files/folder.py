"""Creation of run folders and changes of their state in run.json.

    start_run --> running --> finish_run --> finished   (sealed: every file has a checksum, for good)
                     |------> cancel_run --> cancelled  \\  start_run with the same inputs
                     '------> fail_run   --> failed     /   continues the same run

`run.json` alone holds the state. It is replaced atomically, and a state change reads and writes it under one lock of
this process, because the watchdog of a job may cancel while the work finishes. Other processes are kept out by the
folder's lock (writer.py).
"""

import re
import secrets
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet

from influence_core.errors import DamagedError, RunError
from influence_core.run_files import description_types, seals
from influence_core.run_files.writer import refuse_others
from influence_core.system import atomic
from influence_core.system.times import utc_now

FORMAT = 1
FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SHARDS = "shards"

_changing = threading.RLock()


def run_path(root: Path | str, name: str) -> Path:
    """Return the folder of a run, from a name that may come from a web address.

    Raises:
        RunError: If the name could lead out of the root, or there is no such folder.
    """
    if not isinstance(name, str) or not FOLDER_NAME.fullmatch(name):
        raise RunError(
            f"{name!r} cannot be the folder name of a run: expected up to 100 letters, digits, dots, "
            f"dashes and underscores, beginning with a letter or digit. Choose a run from the list."
        )
    if not (folder := Path(root) / name).is_dir():
        raise RunError(f"There is no run called {name!r} in {root}. Choose a run from the list.")
    return folder


def start_run(folder: Path | str, *, description: Mapping[str, Any]) -> dict[str, Any]:
    """Create the folder and its run.json, or continue an unfinished run of the same inputs under its id.

    `description` holds what is known so far: name, inputs, settings, versions, seed, preflight. Returns run.json.

    Raises:
        RunError: If the folder already holds a finished run, or an unfinished run of other inputs, or another process
            works there.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    refuse_others(folder)
    with _changing:
        content = dict(atomic.plain(description))
        if (folder / "run.json").exists():
            earlier = read_description(folder)
            _refuse_to_mix(folder, earlier, content)
            content |= {key: earlier[key] for key in ("id", "created")}
        else:
            now = utc_now()
            content |= {"id": new_id(str(content.get("name", folder.name)), now), "created": now}
        content |= {"format": FORMAT, "state": "running", "finished": None, "reason": None}
        seals.write_json(folder / "run.json", content)
    return content


def finish_run(folder: Path | str, **updates: Any) -> dict[str, Any]:
    """Finish and seal a run: add the last facts, delete the shards, compute every checksum, set "finished".

    Raises:
        RunError: If the files do not describe the same number of samples, or the run is not running.
    """
    folder = Path(folder)
    with _changing:
        _in_state(folder, {"running"})
        refuse_others(folder)
        _check_rows(folder)
        shutil.rmtree(folder / SHARDS, ignore_errors=True)
        end = {"state": "finished", "finished": utc_now(), "files": seals.seal_all(folder)}
        return _change(folder, {"running"}, updates | end)


def update_run(folder: Path | str, **updates: Any) -> dict[str, Any]:
    """Add facts to a run that is still running, such as its preflight."""
    refuse_others(Path(folder))
    return _change(Path(folder), {"running"}, updates)


def cancel_run(folder: Path | str, reason: str = "Stopped by the user.") -> dict[str, Any]:
    """Mark a run as stopped by a user. Its shards stay, so that it can be continued."""
    refuse_others(Path(folder))
    return _change(Path(folder), {"running", "cancelled"}, {"state": "cancelled", "reason": reason})


def fail_run(folder: Path | str, reason: str) -> dict[str, Any]:
    """Mark a run as stopped by an error. Its shards stay, so that it can be continued."""
    refuse_others(Path(folder))
    return _change(Path(folder), {"running", "failed"}, {"state": "failed", "reason": reason})


def continue_run(folder: Path | str) -> dict[str, Any]:
    """Mark an unfinished run as running again and forget how the last attempt ended. The caller holds its lock."""
    return _change(Path(folder), {"running", "cancelled", "failed"}, {"state": "running", "reason": None})


def read_description(folder: Path) -> dict[str, Any]:
    """Return the content of run.json.

    Raises:
        RunError: If it is missing, unreadable, or of a format this version cannot read.
    """
    path = Path(folder) / "run.json"
    if not path.exists():
        raise RunError(
            f"No run in {folder}: it has no run.json. Expected a folder written by analyze(..., out=...)."
        )
    try:
        content = seals.read_object(path)
    except DamagedError as error:
        raise _damaged(error) from error
    if missing := {"format", "id", "state", "created"} - set(content):
        raise RunError(
            f"{path} lacks {', '.join(sorted(missing))}. The run is damaged: analyse again into another folder."
        )
    if content["format"] != FORMAT:
        raise RunError(
            f"{path} has format {content['format']}, but this version reads format {FORMAT}. "
            f"Open it with the version that wrote it, or analyse again."
        )
    description_types.check_types(path, content)
    if content["state"] == "finished":
        seals.read(path.parent, content)
    try:
        seals.check_own(path, content)  # last: what is wrong with a part says more
    except DamagedError as error:
        raise _damaged(error) from error
    return content


def _damaged(error: DamagedError) -> RunError:
    return RunError(f"{error} The run is damaged: analyse again into another folder.")


def new_id(name: str, created: str) -> str:
    """Return an id that is never used twice: name, second of creation, six random digits."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "run"
    stamp = re.sub(r"[-:]|\..*", "", created).replace("T", "-")
    return f"{slug}-{stamp}-{secrets.token_hex(3)}"


def _change(folder: Path, allowed: set[str], updates: dict[str, Any]) -> dict[str, Any]:
    with _changing:
        content = _in_state(folder, allowed) | atomic.plain(updates)
        seals.write_json(folder / "run.json", content)
    return content


def _in_state(folder: Path, allowed: set[str]) -> dict[str, Any]:
    """Return run.json of a run that is in one of these states, else raise RunError."""
    content = read_description(folder)
    if content["state"] not in allowed:
        raise RunError(
            f"The run in {folder} is {content['state']}, expected {' or '.join(sorted(allowed))}: it was left as it is."
        )
    return content


def _refuse_to_mix(folder: Path, earlier: dict[str, Any], requested: dict[str, Any]) -> None:
    if earlier["state"] == "finished":
        raise RunError(
            f"{folder} already holds the finished run {earlier['id']}. "
            f"Choose another folder, or delete this one first."
        )
    old, new = _identity(earlier), _identity(requested)
    different = [name for name in old if old[name] != new[name]]
    if different:
        raise RunError(
            f"{folder} holds an unfinished run of another {' and '.join(different)}. Its shards must not be "
            f"mixed with this one: choose another folder, or delete this one first."
        )


def _identity(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that must agree for two launches to be one run. Paths may differ: the content counts.

    The batch size may differ too: it changes no score, and a smaller one helps when memory is short.
    """
    inputs, settings = content.get("inputs", {}), dict(content.get("settings") or {})
    settings.pop("batch_size", None)
    fingerprints = {name: inputs.get(name, {}).get("fingerprint") for name in ("dataset", "model")}
    return {**fingerprints, "settings": settings, "seed": content.get("seed")}


def _check_rows(folder: Path) -> None:
    samples = folder / "samples.parquet"
    if not samples.is_file():
        raise RunError(f"{folder} has no samples.parquet, so there is nothing to finish. Analyse again.")
    rows = parquet.read_metadata(samples).num_rows
    names = ("sketches.npy", "probabilities.npy", "beliefs.npy", "neighbours.npy", "witnesses.parquet")
    for name in (*names, "thumbnails/index.npy"):
        if not (folder / name).exists():
            continue
        described = _rows_of(folder / name) - (name == "thumbnails/index.npy")
        if described != rows:
            raise RunError(
                f"{name} describes {described:,} samples, but samples.parquet {rows:,} in {folder}: "
                f"the files belong to different runs. Delete the folder and analyse again."
            )


def _rows_of(path: Path) -> int:
    if path.suffix == ".parquet":
        return parquet.read_metadata(path).num_rows
    return len(np.load(path, mmap_mode="r", allow_pickle=False))
