"""Every kind of work starts on an idle server; deleting an upload ends all of it, and nothing comes back."""

import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from influence_core.errors import JobError, UploadError
from influence_core.intake import uploads
from influence_core.jobs import places, repair_jobs
from influence_core.jobs import submission as jobs
from influence_core.jobs.status import queue
from influence_core.repair import repairs
from influence_core.run_files.folder import fail_run, start_run
from influence_core.run_files.listing import list_runs
from influence_core.run_files.writer import only_writer
from influence_core.runs.run import open_run
from influence_core.system import atomic, locks
from pages.ui.shell import more_work
from tests.making.drawn_run import make_small_run
from tests.making.processes import is_alive, wait

HERE = Path(__file__).resolve()
SLOW = (sys.executable, "-P", str(HERE.parents[1] / "core" / "jobs" / "slow_worker.py"))

STARTS = re.compile(r"(?<!started by )\b(jobs|submission)\.(submit|launch)\b")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A root of runs in which nothing is left running."""
    yield tmp_path
    for folder in places.all_jobs(tmp_path):
        jobs.kill(folder)


# ------------------------------------------------------------------------------------------------ waiting


def test_every_kind_of_work_starts_through_the_real_worker_on_an_idle_server(cloud_run, root, monkeypatch):
    monkeypatch.setenv("INFLUENCE_JOBS", "9")  # all at once: this test waits for their beginning only
    monkeypatch.setenv("INFLUENCE_RUNS", str(root))
    run = open_run(Path(shutil.copytree(cloud_run.path, root / "clouds")))
    spec, with_class = more_work.spec_of(run), more_work.spec_with(run, "worst_class")
    robust = more_work.spec_with_robustness(run)
    assert spec is not None and with_class is not None and robust is not None
    started = {
        "record": lambda: more_work.record(run),
        "predict": lambda: more_work.predict(run),
        "verify": lambda: more_work.verify(run, repairs.suggested(run), seeds=1, groups=0),
        "analyse": lambda: more_work.analyse(replace(spec, name="again")),
        "fairness": lambda: more_work.analyse(replace(with_class, name="worst")),
        "robustness": lambda: more_work.analyse(robust),
    }
    for start in started.values():
        start()
    folders = [folder for folder in places.all_jobs(root) if folder != run.path]
    assert len(folders) == len(started), "a job was started where the walk does not find it"
    for folder in folders:
        wait(
            lambda folder=folder: jobs.status(folder).state != "queued",
            60,
            f"{folder.relative_to(root)} waits for ever",
        )
        assert jobs.status(folder).state in ("running", "finished"), jobs.status(folder)


def test_no_work_is_started_anywhere_else():
    """A new caller of submit or launch must be added to the test above."""
    known = {
        "pages/ui/shell/more_work.py",
        "influence_core/jobs/repair_jobs.py",
        "influence_core/jobs/submission.py",
    }
    top = HERE.parents[2]
    files = [*top.glob("pages/**/*.py"), *top.glob("influence_core/**/*.py")]
    found = {file.relative_to(top).as_posix() for file in files if STARTS.search(file.read_text("utf-8"))}
    assert found <= known, f"{found - known} start work: add it to the test of all kinds of work"


@pytest.mark.parametrize("place", ["new", "run/advice", "run/verifications/7", "run/a/b/c"])
def test_work_waits_in_one_queue_wherever_its_folder_lies(root, place):
    (root / "run").mkdir()
    (root / "run" / "run.json").write_text("{}")
    folder = root / place
    folder.mkdir(parents=True)
    (folder / "job.json").write_text("{}")
    (folder / "progress.json").write_text('{"state": "queued", "queued": "1"}')
    lock = locks.acquire(folder / "lock")
    assert lock is not None
    try:
        assert queue(root) == [place] and places.runs_root_of(folder) == root
    finally:
        os.close(lock)


def test_a_job_that_is_not_in_its_own_queue_fails_in_words(root):
    folder = root / "run" / ".hidden" / "job"  # no walk looks into a folder with a dot
    folder.mkdir(parents=True)
    (root / "run" / "run.json").write_text("{}")
    jobs.write_task(
        folder, {"dataset": str(root), "model": str(root), "name": "job", "settings": {"steps": 1}}
    )
    jobs.launch(folder, command=SLOW)
    wait(lambda: jobs.status(folder).state == "failed", 60, "a job outside its queue waits for ever")
    assert "not in the queue" in (jobs.status(folder).message or "")


def test_a_job_whose_task_is_damaged_fails_in_words(root):
    folder = root / "run"
    folder.mkdir()
    jobs.write_task(folder, {"dataset": "d", "model": "m", "name": "n"})
    content = (folder / "job.json").read_text()
    (folder / "job.json").write_text(content.replace('"d"', '"e"'))
    with pytest.raises(JobError, match="does not fit its seal"):
        jobs.read_job(folder)
    jobs.launch(folder)
    wait(lambda: jobs.status(folder).state == "failed", 60, "a job without a task did not end")
    assert "does not fit its seal" in (jobs.status(folder).message or "")
    wait(lambda: not jobs.is_running(folder), 20, "a job that failed does not end")
    start_run(folder, description={"name": "n"})  # one that was interrupted, and is resumed
    jobs.launch(folder)
    wait(
        lambda: jobs.status(folder).state not in ("queued", "running"), 60, "a job without a task did not end"
    )
    assert jobs.status(folder).state == "failed", "lack of memory is blamed for a damaged task"
    assert "does not fit its seal" in (jobs.status(folder).message or "")


def test_a_job_that_a_command_continues_is_running_and_in_no_queue(root):
    folder = root / "run"
    folder.mkdir()
    jobs.write_task(folder, {"dataset": "d", "model": "m", "name": "n"})
    start_run(folder, description={"name": "n"})
    fail_run(folder, "no memory")
    with only_writer(folder):
        start_run(folder, description={"name": "n"})
        assert jobs.status(folder).state == "running", "work without a queue is said to wait in it"
        assert [line.state for line in list_runs(root)] == ["running"]


def test_a_job_that_the_system_killed_is_listed_as_interrupted(root):
    spec = jobs.JobSpec(str(root), str(root), "count", {"steps": 100, "seconds": 0.05})
    folder = root / jobs.submit(root, spec, command=SLOW)
    wait(lambda: jobs.status(folder).state == "running", 60, "the job did not start")
    assert [line.state for line in list_runs(root)] == ["running"]
    os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
    wait(lambda: not jobs.is_running(folder), 5, "the killed process keeps its lock")
    assert [line.state for line in list_runs(root)] == ["interrupted"]
    assert jobs.status(folder).state == "interrupted", "the list and the job say two things"


# ------------------------------------------------------------------------------------------------ deletion at work


def upload_with_work(root: Path, *inside: str) -> tuple[uploads.Upload, Path, list[Path]]:
    """An upload, a finished run made from it, and slow jobs at these places inside the run, all of them running."""
    upload = uploads.begin(root, "ada")
    run = make_small_run(root / "mine", n=12).path
    jobs.write_task(run, {"dataset": "d", "model": "m", "name": "mine", "upload": upload.id})
    folders = [run / place for place in inside]
    for folder in folders:
        folder.mkdir(parents=True)
        spec = {"dataset": str(root), "model": str(root), "name": "slow"}
        jobs.write_task(folder, {**spec, "settings": {"steps": 10_000, "seconds": 0.01}})
        jobs.launch(folder, command=SLOW)
    for folder in folders:
        wait(lambda folder=folder: (folder / "shards").exists(), 60, "the job did not start")
    return upload, run, folders


def test_deleting_an_upload_ends_all_work_in_its_runs_and_nothing_comes_back(root, monkeypatch):
    monkeypatch.setenv("INFLUENCE_JOBS", "3")
    places_of_work = ("advice", "verifications/1", "recordings/training")
    upload, run, folders = upload_with_work(root, *places_of_work)
    numbers = [int((folder / "pid").read_text()) for folder in folders]
    gone = uploads.delete(root, upload)
    assert gone.runs == ("mine",) and not run.exists() and not upload.folder.exists()
    time.sleep(1.0)  # as long as twenty shards
    assert not run.exists(), "a process made the deleted folder anew"
    for folder, number in zip(folders, numbers, strict=True):
        assert not is_alive(number), f"the work in {folder.name} outlives its data"


def test_what_work_inside_a_run_still_uses_does_not_expire(root):
    upload, run, (folder,) = upload_with_work(root, "recordings/training")
    about = atomic.read_json(upload.folder / "about.json")
    long_ago = (datetime.now(UTC) - timedelta(days=31)).isoformat()
    atomic.write_json(upload.folder / "about.json", {**about, "used": long_ago})
    assert uploads.expire(root) == [] and run.exists(), "work in progress was deleted"
    jobs.kill(folder)
    wait(lambda: not jobs.is_running(folder), 5, "the killed process keeps its lock")
    assert [gone.runs for gone in uploads.expire(root)] == [("mine",)] and not run.exists()


def test_what_cannot_be_deleted_is_said_and_expiry_goes_on(root):
    stuck, other = uploads.begin(root, "ada"), uploads.begin(root, "ada")
    for upload in (stuck, other):
        about = atomic.read_json(upload.folder / "about.json")
        atomic.write_json(upload.folder / "about.json", {**about, "used": "2020-01-01T00:00:00+00:00"})
    stop = threading.Event()

    def write_on() -> None:
        while not stop.wait(0.001):
            with suppress(FileNotFoundError):  # the parent goes while this is made
                (stuck.folder / "store").mkdir(parents=True, exist_ok=True)

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        with pytest.raises(UploadError, match="could not be deleted as a whole"):
            uploads.delete(root, stuck)
        assert len(uploads.expire(root)) == 1 and not other.folder.exists()
    finally:
        stop.set()
        writer.join()


def test_an_upload_whose_description_is_damaged_is_nobodys_and_expires(root):
    upload = uploads.begin(root, "ada")
    for damaged in ("", "[" * 100_000, '{"owner": 3}', '{"used": "x"}'):
        (upload.folder / "about.json").write_text(damaged)
        with pytest.raises(UploadError):
            uploads.open_upload(root, upload.id, ["ada"])
        assert uploads.uploads_of(root, ["ada"]) == [] and uploads.expire(root) == []
    long_ago = time.time() - 31 * 86_400
    os.utime(upload.folder, (long_ago, long_ago))
    assert len(uploads.expire(root)) == 1 and not upload.folder.exists()


def test_the_title_of_any_work_is_known(root):
    for task, title in (
        ({"work": "record"}, "Recording a training"),
        ({"kind": "predict"}, "Trying every candidate label"),
        ({"kind": "verify", "repair": {"name": "mine"}}, "Verifying mine"),
    ):
        (root / "job.json").unlink(missing_ok=True)
        jobs.write_task(root, task)
        assert repair_jobs.title_of(root) == title
    (root / "job.json").write_text("[")
    assert repair_jobs.title_of(root) == "Work on this run"
