"""A job survives what its starter does not, runs once however often it is started, and stops when asked."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from influence_core.data import open_dataset
from influence_core.errors import JobError, RunError
from influence_core.jobs import submission as jobs
from influence_core.jobs.status import JobStatus, queue
from influence_core.models import OpenedModel, Preprocessing, build_network, save_model
from influence_core.run_files.folder import finish_run, read_description, run_path, start_run
from influence_core.runs.run import open_run
from tests.making.drawn_run import dataset_of, make_small_run

COMMAND = (sys.executable, "-P", str(Path(__file__).parent / "slow_worker.py"))
PATIENCE = 180.0  # seconds; the machine of a test may be busy


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A root of runs in which nothing is left running."""
    yield tmp_path
    for folder in tmp_path.glob("*/job.json"):
        jobs.kill(folder.parent)
    wait(lambda: not any(jobs.is_running(folder.parent) for folder in tmp_path.glob("*/job.json")))


def submit(root: Path, name: str = "count", **settings) -> Path:
    """Start the counting job."""
    spec = jobs.JobSpec(str(root), str(root), name, {"steps": 3, "seconds": 0.05, **settings})
    return root / jobs.submit(root, spec, command=COMMAND)


def wait(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def wait_for(folder: Path, *states: str) -> JobStatus:
    """Wait until a job is in one of these states."""
    wait(lambda: jobs.status(folder).state in states)
    return jobs.status(folder)


def shards(folder: Path) -> dict[str, str]:
    """Which process made which shard."""
    return {path.name: path.read_text() for path in (folder / "shards").glob("*")}


def test_a_job_runs_to_its_end_and_says_so(root):
    folder = submit(root)
    status = wait_for(folder, "finished")
    assert status.fraction == 1.0 and not status.active and not status.resumable
    assert (status.stage, status.done, status.total) == ("count", 3, 3)
    assert len(shards(folder)) == 3


def test_cancel_stops_within_two_seconds_and_resume_goes_on_from_the_last_shard(root):
    folder = submit(root, steps=40, seconds=0.05)
    wait(lambda: len(shards(folder)) >= 5)
    before = time.monotonic()
    jobs.cancel(folder)
    status = wait_for(folder, "cancelled")
    assert time.monotonic() - before < 2.0 and status.resumable
    kept = shards(folder)
    assert jobs.launch(folder, command=COMMAND)
    wait_for(folder, "finished")
    after = shards(folder)
    again = [name for name in kept if after[name] != kept[name]]
    assert len(after) == 40 and not again, f"shards {again} were computed twice: resume does not skip"


def test_cancel_ends_even_work_that_never_listens(root):
    folder = submit(root, seconds=60, deaf=True)
    wait_for(folder, "running")
    before = time.monotonic()
    jobs.cancel(folder)
    wait(lambda: not jobs.is_running(folder))
    assert time.monotonic() - before < 2.0, "the watchdog waited for the work"
    assert jobs.status(folder).state == "cancelled"


def test_a_job_killed_by_the_system_says_so_with_its_last_words_and_resumes(root):
    folder = submit(root, die=1)
    status = wait_for(folder, "interrupted")
    assert "about to be killed by the system" in status.log and "memory" in (status.message or "")
    assert status.eta is None
    first = shards(folder)
    assert jobs.launch(folder, command=COMMAND)
    wait_for(folder, "finished")
    assert shards(folder).items() >= first.items() and len(shards(folder)) == 3


def test_an_error_is_a_failure_with_its_reason_and_the_end_of_the_log(root):
    folder = submit(root, error=1)
    status = wait_for(folder, "failed")
    assert status.message == "ValueError: step went wrong"
    assert any("Traceback" in line for line in status.log)


def test_eight_threads_start_exactly_one_process(root):
    folder = submit(root, steps=1000)
    wait_for(folder, "running")
    jobs.cancel(folder)
    wait_for(folder, "cancelled")
    wait(lambda: not jobs.is_running(folder))
    started, barrier = [], threading.Barrier(8)

    def race() -> None:
        barrier.wait()
        started.append(jobs.launch(folder, command=COMMAND))

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(started) == [False] * 7 + [True]
    assert jobs.launch(folder, command=COMMAND) is False


def test_probing_without_pause_does_not_keep_a_job_from_starting(root):
    folder = submit(root)
    wait_for(folder, "finished")
    stop = threading.Event()

    def probe() -> None:
        while not stop.is_set():
            jobs.is_running(folder)

    threads = [threading.Thread(target=probe) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert jobs.launch(folder, command=COMMAND), "a probe was taken for a running job"
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    wait_for(folder, "finished")


def test_one_runs_while_the_others_wait_in_order(root):
    first = submit(root, "first", steps=1000)
    wait_for(first, "running")
    second, third = submit(root, "second"), submit(root, "third")
    assert [jobs.status(folder).ahead for folder in (first, second, third)] == [None, 1, 2]
    assert queue(root) == ["second", "third"]
    wait(
        lambda: "waits for its turn" in (second / "log.txt").read_text()
    )  # a busy machine starts Python slowly
    before = time.monotonic()
    jobs.cancel(second)
    wait_for(second, "cancelled")
    assert time.monotonic() - before < 2.0, "a waiting job could not be cancelled in time"
    assert jobs.status(third).ahead == 1
    jobs.kill(first)
    wait_for(third, "finished")
    assert jobs.status(first).state == "cancelled"  # a person ended it: no accident


def test_two_may_run_at_once_when_the_limit_says_so(root, monkeypatch):
    monkeypatch.setenv("INFLUENCE_JOBS", "2")
    folders = [submit(root, f"job-{number}", steps=1000) for number in range(2)]
    for folder in folders:
        wait_for(folder, "running")
    assert all(jobs.status(folder).state == "running" for folder in folders)


def test_a_job_outlives_the_process_that_started_it(root):
    script = (
        "from influence_core.jobs import submission as jobs\n"
        f"spec = jobs.JobSpec({str(root)!r}, {str(root)!r}, 'orphan', {{'steps': 30, 'seconds': 0.05}})\n"
        f"jobs.submit({str(root)!r}, spec, command={COMMAND!r})\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    wait(lambda: (root / "orphan/progress.json").exists() and jobs.status(root / "orphan").state == "running")
    if starter.poll() is None:
        os.killpg(starter.pid, signal.SIGKILL)
    starter.wait()
    wait_for(root / "orphan", "finished")


@pytest.mark.parametrize("name", ["../../etc", "", "..", ".slots", "a/b", "a" * 101, "a\nb"])
def test_names_that_lead_elsewhere_are_refused(root, name):
    with pytest.raises(RunError):
        run_path(root, name)


def test_a_folder_name_is_made_from_any_title_and_is_never_used_twice(root):
    names = [submit(root, "Mode & Schuhe / 2026", steps=0).name for _ in range(2)]
    assert names == ["Mode-Schuhe-2026", "Mode-Schuhe-2026-2"]


def test_what_cannot_work_is_refused_before_anything_starts(root):
    with pytest.raises(JobError, match="does not exist"):
        jobs.submit(root, jobs.JobSpec(str(root / "nothing"), str(root), "name"), command=COMMAND)
    with pytest.raises(JobError, match="no name"):
        jobs.submit(root, jobs.JobSpec(str(root), str(root), " "), command=COMMAND)
    (root / "stranger").mkdir()
    for steer in (jobs.launch, jobs.cancel, jobs.kill):
        with pytest.raises(JobError, match=r"job\.json"):
            steer(root / "stranger")
    assert not list(root.glob("*/lock"))


def test_a_run_made_without_a_job_can_be_watched_but_not_steered(root):
    finished = make_small_run(root / "notebook", n=12)
    status = jobs.status(finished.path)
    assert (status.state, status.fraction, status.steerable, status.resumable) == (
        "finished",
        1.0,
        False,
        False,
    )
    start_run(root / "going", description={"name": "going"})
    assert jobs.status(root / "going").state == "running"
    long_ago = time.time() - 1000
    os.utime(root / "going/run.json", (long_ago, long_ago))
    assert jobs.status(root / "going").state == "interrupted"


def test_a_finished_job_is_not_started_again(root):
    folder = submit(root)
    wait_for(folder, "finished")
    wait(lambda: not jobs.is_running(folder))
    start_run(folder, description={"name": "count"})
    pd.DataFrame({"sample_id": ["a"]}).to_parquet(folder / "samples.parquet")
    finish_run(folder)
    with pytest.raises(JobError, match="already finished"):
        jobs.launch(folder, command=COMMAND)
    assert not jobs.is_running(folder), "the refused launch kept the lock"


def test_a_real_analysis_runs_as_a_job_and_keeps_its_id_over_a_stop(root):
    """The whole way: dataset and model from disk, analyse in the child, cancelled once, resumed, opened."""
    torch.manual_seed(0)
    dataset = dataset_of(make_small_run(root / "pattern", pictures=True).path)
    classes = open_dataset(dataset).classes
    network = build_network("small_cnn", classes=3, channels=1, size=(28, 28))
    preprocessing = Preprocessing(1, (28, 28), (0.5,), (0.5,))
    model = OpenedModel(network, classes=classes[::-1], preprocessing=preprocessing, architecture="small_cnn")
    save_model(model, root / "model.safetensors")
    spec = jobs.JobSpec(str(dataset), str(root / "model.safetensors"), "real", {"seed": 3})
    folder = root / jobs.submit(root, spec)
    wait(lambda: (folder / "run.json").exists())
    first = read_description(folder)["id"]
    jobs.cancel(folder)
    status = wait_for(folder, "cancelled", "finished", "failed")
    if status.state == "cancelled":
        assert read_description(folder)["state"] == "cancelled"
        wait(lambda: not jobs.is_running(folder))
        assert jobs.launch(folder)
    status = wait_for(folder, "finished", "failed", "interrupted")
    assert status.state == "finished", (status.message, status.log)
    run = open_run(folder)
    assert run.id == first and len(run.samples) == 60 and run.classes == classes[::-1]


def test_jobs_know_neither_streamlit_nor_torch():
    modules = "influence_core.worker.child, influence_core.worker.work"
    script = f"import sys, {modules}; print({{'torch', 'streamlit'}} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()", "a slow import would delay the watchdog: cancel takes > 2 s"
