"""A run that was damaged is refused, or shows exactly what it showed before; no other run is harmed by it."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from influence_core.errors import InfluenceError, RunError
from influence_core.intake import uploads
from influence_core.jobs import submission as jobs
from influence_core.run_files.listing import list_runs
from influence_core.run_files.progress import read_progress
from influence_core.runs.run import open_run
from tests.making.drawn_run import make_small_run

VALUES: tuple[Any, ...] = (None, 0, [], "x", {})
FLIPS = 24
"""Bits of run.json that are flipped, one at a time."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    for name in ("small", "other"):
        make_small_run(root / name, n=24)
    (root / "small" / "progress.json").write_text('{"state": "running", "fraction": 0.5}')
    jobs.write_task(root / "small", {"dataset": "d", "model": "m", "name": "small", "upload": "0" * 32})
    return root


def shown(folder: Path) -> dict[str, Any]:
    """What a person sees of a run: its description, its tables, arrays and pictures."""
    run = open_run(folder)
    return {
        "about": {key: value for key, value in run.description.items() if key not in ("seal", "files")},
        "tables": [run.samples.to_csv(), run.layers.to_csv(), run.table("validation").to_csv()],
        "arrays": [array.tobytes() for array in (run.sketches, run.probabilities, run.neighbours)],
        "pictures": [run.thumbnail(row) for row in range(len(run.samples))],
        "words": [run.column(name) for name in run.description["columns"]],
        "list": next(line for line in list_runs(folder.parent) if line.name == folder.name),
    }


@contextmanager
def changed(path: Path, content: bytes | None) -> Iterator[None]:
    """The file with another content, or missing, and then as it was."""
    before = path.read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def damages(folder: Path) -> Iterator[tuple[str, Path, bytes | None]]:
    """Every way in which a small run can be damaged by one accident, by one file or one part at a time."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock"):
        content, name = path.read_bytes(), path.relative_to(folder).as_posix()
        yield f"{name} removed", path, None
        yield f"{name} emptied", path, b""
        yield f"{name} cut", path, content[: len(content) // 2]
        yield f"{name} longer", path, content + b"x"
        for place in (0, len(content) // 2, len(content) - 1):
            yield f"{name} flipped at {place}", path, flipped(content, place)
    path = folder / "run.json"
    text = path.read_bytes()
    for number in range(FLIPS):
        place = len(text) * number // FLIPS
        yield f"run.json flipped at {place}", path, flipped(text, place)
    for part, content in parts(json.loads(text)):
        yield f"run.json with {part}", path, json.dumps(content).encode()
    for name in ("run.json", "progress.json", "job.json"):
        yield f"{name} nested", folder / name, b"[" * 100_000
        yield f"{name} huge", folder / name, b'"' + b"x" * (17 * 1024**2) + b'"'
        yield f"{name} no text", folder / name, b"\xff\xfe\x00"


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def parts(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """run.json with each part replaced by each value, or without it, two levels deep in what is read most."""
    inner = [(name, part) for name in ("inputs", "results", "columns") for part in list(content[name])[:3]]
    for path in [*((name,) for name in content), *inner]:
        for value in (*VALUES, KeyError):
            copy = json.loads(json.dumps(content))
            place = copy[path[0]] if len(path) == 2 else copy
            if value is KeyError:
                del place[path[-1]]
            elif place[path[-1]] == value:
                continue
            else:
                place[path[-1]] = value
            yield f"{'.'.join(path)} = {'nothing' if value is KeyError else json.dumps(value)}", copy


def test_no_damaged_run_is_used_as_if_it_were_right(root):
    folder = root / "small"
    before, used, crashed, count = shown(folder), [], [], 0
    for name, path, content in damages(folder):
        count += 1
        with changed(path, content):
            try:
                if shown(folder) != before:
                    used.append(name)
            except InfluenceError:
                pass
            except Exception as error:
                crashed.append(f"{name}: {type(error).__name__}: {error}")
    assert count >= 161 and shown(folder) == before
    assert (used, crashed) == ([], []), (
        f"of {count} damaged runs {len(used)} were used, {len(crashed)} crashed"
    )


@pytest.mark.parametrize(
    "part", ["id", "state", "created", "format", "inputs", "inputs.dataset", "columns", "results", "files"]
)
def test_a_part_of_another_type_is_refused_by_name_in_runs_of_older_versions_too(root, part):
    content = json.loads((root / "small" / "run.json").read_text())
    del content["seal"]  # as written by 0.5
    with changed(root / "small" / "run.json", json.dumps(content).encode()):
        assert open_run(root / "small").classes, "a run of an older version is no longer read"
    *outer, last = part.split(".")
    for value in VALUES:
        copy = json.loads(json.dumps(content))
        place = copy[outer[0]] if outer else copy
        if type(place[last]) is type(value):
            continue
        place[last] = value
        with changed(root / "small" / "run.json", json.dumps(copy).encode()):
            with pytest.raises(RunError) as refused:
                open_run(root / "small")
            assert last in str(refused.value), f"{part} = {value!r}: the sentence does not name the part"


def test_a_time_that_is_none_is_refused_in_runs_of_older_versions_too(root):
    content = json.loads((root / "small" / "run.json").read_text())
    del content["seal"]
    for created in ("", "yesterday", "2026-13-01T00:00:00Z"):
        damaged = json.dumps({**content, "created": created}).encode()
        with changed(root / "small" / "run.json", damaged):
            line = next(run for run in list_runs(root) if run.name == "small")
            assert line.state == "damaged" and '"created"' in (line.problem or ""), (
                "the list of all runs shows when each was made, and ends at this one"
            )


def test_one_folder_full_of_nonsense_never_hides_the_others(root, tmp_path):
    place = Path(shutil.copytree(root, tmp_path / "runs"))
    nested = "[" * 100_000
    for name in ("run", "job", "progress"):
        (place / name).mkdir()
        (place / name / f"{name}.json").write_text(nested)
    (place / "progress" / "job.json").write_text(nested)
    (place / "folder" / "run.json").mkdir(parents=True)
    (place / "pipe").mkdir()
    os.mkfifo(place / "pipe" / "run.json")
    (place / "loop").symlink_to(place / "loop")
    (place / "other" / "advice").mkdir()
    (place / "other" / "advice" / "job.json").write_text(nested)
    states = {line.name: line.state for line in list_runs(place)}
    assert (states["other"], states["small"]) == ("finished", "finished")
    assert all(states[name] == "damaged" for name in ("run", "folder", "pipe"))
    assert all(line.problem for line in list_runs(place) if line.state == "damaged")
    assert jobs.status(place / "other").state == "finished"


def test_progress_of_another_type_is_left_out(tmp_path):
    (tmp_path / "progress.json").write_text(
        '{"state": ["running"], "fraction": "half", "stage": 3, "done": {}, "eta": "soon", "total": 7}'
    )
    found = read_progress(tmp_path)
    assert found is not None and found["total"] == 7
    assert (found["state"], found["fraction"], found["stage"], found["eta"]) == ("queued", 0.0, None, None)


def test_a_run_whose_task_is_damaged_is_shown_to_nobody_where_there_are_uploads(root, tmp_path):
    place = Path(shutil.copytree(root, tmp_path / "runs"))
    content = (place / "small" / "job.json").read_bytes()
    assert uploads.may_see(place, place / "other", ["a browser"])
    for damaged in (b"", b"[" * 100_000, content.replace(b'"0000', b'"1000'), b"{}"):
        (place / "small" / "job.json").write_bytes(damaged)
        uploads.begin(place, "somebody")
        assert not uploads.may_see(place, place / "small", ["a browser"]), "it may be another user's upload"
