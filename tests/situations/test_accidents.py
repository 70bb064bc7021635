"""What befalls a machine: two writers, a kill at any moment, a full disk, half an upload. Nothing is lost."""

import errno
import os
import resource
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import influence_core as ic
from influence_core.cli import main as command
from influence_core.engine.batch_size import halved
from influence_core.errors import InfluenceError, RunError
from influence_core.intake import uploads
from influence_core.run_files.folder import finish_run, start_run, update_run
from influence_core.run_files.listing import list_runs
from influence_core.run_files.writer import only_writer
from influence_core.runs.run import Run, open_run
from influence_core.system import atomic, disk_full, locks, temporary
from influence_core.worker import child
from tests.making.drawn_run import make_small_run
from tests.making.maps import NoMap
from tests.making.processes import is_alive, kill, python, ready, wait


@pytest.fixture(scope="module")
def data(cloud_run: Run) -> Path:
    """A dataset with its model beside it."""
    return Path(cloud_run.description["inputs"]["dataset"]["path"])


HOLDER = (
    "import sys; from pathlib import Path; from influence_core.run_files.writer import only_writer\n"
    "with only_writer(Path(sys.argv[1])): print('holds', flush=True); sys.stdin.read()"
)


# ------------------------------------------------------------------------------------------------ two writers


def test_a_command_on_a_folder_in_which_another_process_works_is_refused(data, tmp_path, capsys):
    holder = python(HOLDER, tmp_path / "run")
    try:
        ready(holder)
        assert command.main(["analyze", str(data), "--out", str(tmp_path / "run")]) == 1
        assert "Another process works in" in capsys.readouterr().err
        assert not (tmp_path / "run" / "run.json").exists(), "the refused one wrote into the other's run"
    finally:
        kill(holder)
    with only_writer(tmp_path / "run"):
        pass  # death freed the lock


def test_of_two_analyses_at_once_one_wins_and_the_run_is_whole(data, tmp_path):
    for number in range(2):
        folder, ends = tmp_path / f"run-{number}", []
        barrier = threading.Barrier(2)

        def race(folder: Path = folder, ends: list = ends, barrier: threading.Barrier = barrier) -> None:
            dataset, model = ic.open_dataset(data), ic.open_model(data / "model.safetensors")
            barrier.wait()
            try:
                ends.append(analyze(model, dataset, folder))
            except RunError as error:
                ends.append(error)

        threads = [threading.Thread(target=race) for _ in range(2)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        won = [end for end in ends if isinstance(end, Run)]
        lost = [end for end in ends if isinstance(end, RunError)]
        assert len(won) == len(lost) == 1, f"try {number}: {ends}"
        assert "Another process works in" in str(lost[0]) or "already holds the finished" in str(lost[0])
        run = open_run(folder)
        assert [run.file(name) for name in run.description["files"]], "a file of the winner was changed"


def analyze(model, dataset, folder: Path | None) -> Run:
    options: dict[str, Any] = {"source": dataset, "out": folder, "drawing": NoMap()}
    return ic.analyze(model, dataset.train, dataset.val, test=dataset.test, **options)


def test_every_writer_refuses_a_folder_in_which_another_process_works(cloud_run, tmp_path):
    start_run(tmp_path / "run", description={"name": "run"})
    writers = {
        "update": (tmp_path / "run", lambda folder: update_run(folder, notes=["a"])),
        "finish": (tmp_path / "run", finish_run),
        "start": (tmp_path / "run", lambda folder: start_run(folder, description={"name": "run"})),
        "record": (tmp_path / "recording", lambda folder: ic.Recorder(folder, ["a"], ["x"])),
        "verify": (tmp_path / "check", lambda folder: ic.verify(cloud_run, seeds=1, out=folder)),
    }
    for name, (folder, write) in writers.items():
        holder = python(HOLDER, folder)
        try:
            ready(holder)
            with pytest.raises(RunError, match="Another process works in"):
                write(folder)
                pytest.fail(f"{name} wrote into a folder in which another process works")
        finally:
            kill(holder)


def test_a_recorder_keeps_its_folder_until_it_is_closed(tmp_path):
    recorder = ic.Recorder(tmp_path / "mine", ["a", "b"], ["x", "y"])
    recorder.end_epoch()
    again = ic.Recorder(tmp_path / "mine", ["a", "b"], ["x", "y"])  # a cell of a notebook that is run again
    del recorder
    other = python(HOLDER, tmp_path / "mine")
    assert other.communicate()[0] == "", "two processes record into one folder"
    again.close()
    other = python(HOLDER, tmp_path / "mine")
    assert ready(other) == "holds"
    kill(other)


def test_a_lock_is_freed_by_death_though_children_live_on(tmp_path):
    script = (
        "import os, subprocess, sys, time; from pathlib import Path\n"
        "from influence_core.run_files.writer import only_writer\n"
        "with only_writer(Path(sys.argv[1])):\n"
        "    child = os.fork()\n"
        "    if child == 0: time.sleep(60); os._exit(0)\n"
        "    other = subprocess.Popen(['sleep', '60'])\n"
        "    print(child, other.pid, flush=True)\n"
        "    time.sleep(60)"
    )
    parent = python(script, tmp_path)
    children = [int(number) for number in ready(parent).split()]
    try:
        assert locks.is_locked(tmp_path / "lock")
        parent.kill()
        parent.wait()
        wait(lambda: not locks.is_locked(tmp_path / "lock"), 2, "a child keeps the lock of its dead parent")
        assert all(map(is_alive, children))
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
        parent.communicate()


def test_a_child_can_look_at_locks_whatever_its_parent_was_doing():
    script = (
        "import os, sys, threading; from pathlib import Path\n"
        "from influence_core.system import locks\n"
        "locks._one_at_a_time.acquire()  # as another thread does in the middle of a look\n"
        "if os.fork() == 0:\n"
        "    threading.Timer(5, os._exit, [9]).start()\n"
        "    locks.is_locked(Path('lock')); os._exit(0)\n"
        "print(os.wait()[1], flush=True)"
    )
    asked = python(script)
    assert ready(asked) == "0", "a child waits for a thread that it does not have"
    kill(asked)


def test_a_disk_without_locks_is_worked_on_as_before(tmp_path, monkeypatch):
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with only_writer(tmp_path / "run"):
        start_run(tmp_path / "run", description={"name": "run"})
        update_run(tmp_path / "run", notes=["written"])
    recorder = ic.Recorder(tmp_path / "mine", ["a", "b"], ["x", "y"])
    recorder.end_epoch()
    recorder.close()
    assert [line.state for line in list_runs(tmp_path)] == ["interrupted"]


def test_a_folder_that_was_deleted_and_is_recorded_anew_is_kept_too(tmp_path):
    old = ic.Recorder(tmp_path / "mine", ["a", "b"], ["x", "y"])
    shutil.rmtree(tmp_path / "mine")
    new = ic.Recorder(tmp_path / "mine", ["a", "b"], ["x", "y"])
    del old
    assert locks.is_locked(tmp_path / "mine" / "lock"), (
        "the end of a forgotten recorder freed another's folder"
    )
    new.close()
    assert not locks.is_locked(tmp_path / "mine" / "lock")


@pytest.fixture
def open_folder():
    """A folder that other users may enter; those of pytest are closed to them."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_run_of_a_read_only_disk_or_another_user_can_be_looked_at(open_folder):
    folder = open_folder / "run"
    start_run(folder, description={"name": "run"})
    with only_writer(folder):
        script = (
            "import os, sys; from pathlib import Path\n"
            "from influence_core.run_files.state import state_of\n"
            "folder = Path(sys.argv[1]); state_of(folder)\n"
            "if os.getuid() == 0: os.seteuid(65534)\n"
            "print(state_of(folder)[0], flush=True)"
        )
        folder.chmod(0o755)
        (folder / "lock").chmod(0o444)
        looking = python(script, folder)
        assert ready(looking) == "running", "who may only read sees a running run as damaged"
        kill(looking)


def test_what_is_being_written_is_never_sealed(tmp_path):
    start_run(tmp_path, description={"name": "run"})
    pd.DataFrame({"sample_id": ["a"]}).to_parquet(tmp_path / "samples.parquet")
    (tmp_path / "shown").mkdir()
    for name in (".map.npy", ".map.1.0a0b0c0d.tmp", "shown/.part", "shown/table.csv"):
        (tmp_path / name).write_text("")
    assert set(finish_run(tmp_path)["files"]) == {"samples.parquet", "shown/table.csv"}


# ------------------------------------------------------------------------------------------------ killed


def test_a_killed_analysis_is_listed_as_interrupted_at_once(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from influence_core.run_files.folder import start_run\n"
        "from influence_core.run_files.writer import only_writer\n"
        "folder = Path(sys.argv[1])\n"
        "with only_writer(folder):\n"
        "    start_run(folder, description={'name': 'run'}); print('works', flush=True); time.sleep(60)"
    )
    worker = python(script, tmp_path / "run")
    ready(worker)
    assert [line.state for line in list_runs(tmp_path)] == ["running"]
    kill(worker)
    assert [(line.state, bool(line.problem)) for line in list_runs(tmp_path)] == [("interrupted", True)]


def test_the_map_ends_with_the_analysis_it_draws_for(tmp_path):
    script = (
        "import time; from influence_core.scores.gradient_map import MapProcess\n"
        "drawing = MapProcess(); print(drawing.process.pid, flush=True); time.sleep(60)"
    )
    analysis = python(script)
    helper = int(ready(analysis))
    time.sleep(1.0)  # it imports, or compiles
    kill(analysis)
    wait(lambda: not is_alive(helper), 5, "the map goes on without its analysis")


def test_temporary_folders_of_the_killed_are_removed_and_those_in_use_are_not(tmp_path):
    script = (
        "import sys; from pathlib import Path; from influence_core.system.temporary import TemporaryFolder\n"
        "folder = TemporaryFolder(Path(sys.argv[1])); (folder.path / 'file').write_text('x')\n"
        "print(folder.path, flush=True); sys.stdin.read()"
    )
    process = python(script, tmp_path)
    folder, mine = Path(ready(process)), temporary.TemporaryFolder(tmp_path)
    (tmp_path / "influence-explorer").mkdir()
    assert temporary.remove_orphans(tmp_path) == 0 and folder.is_dir() and mine.path.is_dir()
    kill(process)
    assert temporary.remove_orphans(tmp_path) == 1 and not folder.exists() and mine.path.is_dir()
    mine.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["influence-explorer"], "somebody else's folder"


def test_an_analysis_without_a_folder_leaves_nothing(data, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dataset, model = ic.open_dataset(data), ic.open_model(data / "model.safetensors")
    run = analyze(model, dataset, None)
    assert run.path.parent == tmp_path and len(run.samples) == 150
    del run
    assert list(tmp_path.iterdir()) == [], "the folder outlives the run that was made in it"
    with pytest.raises(InfluenceError):
        ic.analyze(model, dataset.train, dataset.val, objectives=["no such objective"])
    assert list(tmp_path.iterdir()) == [], "a refused analysis leaves its folder"


# ------------------------------------------------------------------------------------------------ half an upload


SENDER = (
    "import sys, time; from pathlib import Path; from influence_core.intake import uploads\n"
    "root = Path(sys.argv[1]); upload = uploads.begin(root, 'ada')\n"
    "with uploads.receiving(root, upload, 'dataset', 'a.zip') as file:\n"
    "    file.write(bytes(3_000_000)); file._sink.flush(); print(upload.id, flush=True); time.sleep(60)"
)


def test_half_an_upload_of_a_killed_server_is_removed_and_never_counted(tmp_path):
    arriving, killed = python(SENDER, tmp_path), python(SENDER, tmp_path)
    ready(arriving)
    ready(killed)
    kill(killed)
    assert uploads.used(tmp_path, ["ada"]) < 10_000, "what is not whole was counted against the quota"
    uploads.begin(tmp_path, "ada")
    left = list((tmp_path / uploads.FOLDER).rglob(f"*{atomic.SUFFIX}"))
    assert len(left) == 1, "half a file stays, or one that was still arriving was removed"
    kill(arriving)
    upload = uploads.begin(tmp_path, "eve")
    (upload.folder / "store").mkdir()
    (upload.folder / "store" / "photos.tmp").write_bytes(bytes(20_000))
    assert uploads.used(tmp_path, ["eve"]) > 20_000, "what a zip calls .tmp is stored beyond the quota"
    uploads.remove_interrupted(tmp_path)
    assert (upload.folder / "store" / "photos.tmp").exists(), "a file of an upload was taken for half a file"
    (upload.folder / "store" / "photos.tmp").unlink()
    assert not list((tmp_path / uploads.FOLDER).rglob(f"*{atomic.SUFFIX}"))


# ------------------------------------------------------------------------------------------------ a full disk


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a full disk: no file of this process may become larger. The error has another number (EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [10, 10_000, 100_000])
def test_a_full_disk_is_one_sentence_and_the_same_command_continues(
    data, tmp_path, capsys, monkeypatch, size
):
    monkeypatch.setattr("influence_core.scores.gradient_map.MapProcess", lambda seed: NoMap())
    arguments = ["analyze", str(data), "--out", str(tmp_path / "run")]
    with files_of_at_most(size):
        assert command.main(arguments) == 1
    error = capsys.readouterr().err
    assert "The disk of" in error and "MB are free" in error and "Traceback" not in error, error
    assert not (tmp_path / "run" / "run.json").exists() or not list((tmp_path / "run").rglob("*.tmp"))
    assert command.main(arguments) == 0, capsys.readouterr().err
    assert len(open_run(tmp_path / "run").samples) == 150


def test_every_library_says_a_full_disk_in_its_own_words_and_all_are_known(tmp_path):
    import torch
    from safetensors.torch import save_file

    ways: dict[str, Callable[[Path], object]] = {
        "a file": lambda path: path.write_bytes(bytes(100_000)),
        "numpy": lambda path: np.save(path, np.zeros(100_000)),
        "safetensors": lambda path: save_file({"a": torch.zeros(100_000)}, path),
        "torch": lambda path: torch.save({"a": torch.zeros(100_000)}, path),
        "parquet": lambda path: pd.DataFrame({"a": np.random.rand(100_000)}).to_parquet(path),
        "csv": lambda path: pd.DataFrame({"a": np.random.rand(10_000)}).to_csv(path),
    }
    for name, write in ways.items():
        with files_of_at_most(5_000), pytest.raises(Exception) as full:
            write(tmp_path / name)
        told = disk_full.sentence(full.value, tmp_path)
        assert told is not None, f"{name} on a full disk is not recognised: {full.value!r}"
    assert disk_full.sentence(ValueError("a wrong value"), tmp_path) is None
    wrapped = RunError("The table cannot be written.")
    wrapped.__cause__ = OSError(28, "No space left on device")
    assert disk_full.sentence(wrapped, tmp_path) is not None


def test_a_report_that_cannot_be_written_is_one_sentence(tmp_path, capfd):
    run = make_small_run(tmp_path / "small", n=12)
    assert command.main(["report", str(run.path), "--out", str(tmp_path)]) == 1
    error = capfd.readouterr().err
    assert f"{tmp_path}: Is a directory" in error and "Traceback" not in error, error


def test_memory_that_torch_cannot_have_is_told_as_such(monkeypatch, capsys, tmp_path):
    def used_up(*_: object) -> int:
        torch.empty(10**15)
        return 0

    monkeypatch.setattr("influence_core.cli.export._export", used_up)
    assert command.main(["export", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "not enough memory" in error and "fault of Influence Explorer" not in error, error
    with pytest.raises(RuntimeError) as refused:
        torch.empty(10**15)
    assert "smaller batch size" in child._reason(refused.value, tmp_path)
    halves = halved(lambda low, high: [torch.empty(10**15 if high - low > 1 else 1)], 0, 4)  # pyright: ignore
    assert len(halves) == 4, "a batch that is too large for this CPU is not halved"
    samples = torch.utils.data.TensorDataset(torch.randn(8, 5), torch.arange(8) % 2)
    hungry = Hungry().eval()
    found = ic.sweep(hungry, samples, sketch=0, batch_size=8).grad_norms
    assert torch.allclose(found, ic.sweep(hungry.linear, samples, sketch=0).grad_norms), (
        "memory that ends inside a model's own code is taken for a fault of that code"
    )


class Hungry(torch.nn.Module):
    """A classifier that takes too much memory for more than four samples at once."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + torch.empty(10**15 if len(x) > 4 else 1).numel() * 0


def test_an_error_that_nobody_expected_is_one_sentence_on_the_command_line(tmp_path, capsys, monkeypatch):
    def broken(args: object) -> int:
        raise KeyError("a fault of ours")

    monkeypatch.setattr("influence_core.cli.export._export", broken)
    arguments = ["export", str(tmp_path), "--out", str(tmp_path)]
    assert command.main(arguments) == 1
    error = capsys.readouterr().err
    assert "KeyError" in error and "INFLUENCE_TRACEBACK=1" in error and "Traceback" not in error
    monkeypatch.setenv("INFLUENCE_TRACEBACK", "1")
    with pytest.raises(KeyError):
        command.main(arguments)
