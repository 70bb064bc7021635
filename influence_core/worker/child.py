"""What does the child process of a job do? Wait for its turn, analyse, and say how it ended.

    python -m influence_core.worker.child FOLDER LOCK       (started by jobs.launch, which hands over the lock)

A watchdog looks for the cancel flag ten times a second. It gives the work one second to stop by itself,
at its next report of progress, and then ends the process: whatever the work is doing, nobody waits
longer than two seconds. That is safe at any moment because files take their names only when complete.
"""

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from influence_core.errors import Cancelled, InfluenceError, RunError
from influence_core.jobs import submission as jobs
from influence_core.jobs.status import run_state, runs_root_of
from influence_core.run_files.folder import cancel_run, fail_run, utc_now
from influence_core.run_files.progress import (
    RECORDING,
    STAGES,
    TRAINING,
    ProgressWriter,
    Stage,
    read_progress,
    write_progress,
)
from influence_core.scores.gradient_map import MapProcess
from influence_core.system import atomic
from influence_core.system import locks as job_lock

LOOK = 0.1  # seconds between two looks for the cancel flag
GRACE = 1.0  # seconds the work has to stop by itself
TURN = 0.2  # seconds between two looks whether it is our turn
NICENESS = 5
STOPPED = "Stopped by a person. Finished work is kept: resume to go on from there."
OPENING: Stage = ("open", "Opening dataset and model", 0.02)

OnProgress = Callable[[str, int, int], None]
Work = Callable[[Path, OnProgress], None]


def run_child(folder: Path, lock: int, work: Work, stages: tuple[Stage, ...]) -> int:
    """Do the work of a job from its turn in the queue to its last word.

    Args:
        folder: The run folder.
        lock: Descriptor of the folder's lock; kept open, and not handed on to other programs.
        work: Called with the folder and on_progress, which raises Cancelled when it is time to stop.
        stages: Every stage in order, with its title and share of the time.

    Returns:
        The exit code: 0 when finished or cancelled, 1 when failed.
    """
    os.set_inheritable(lock, False)
    os.nice(NICENESS)
    stop = threading.Event()
    ended = threading.Lock()  # whoever holds it says the last word
    threading.Thread(target=_watch, args=(folder, stop, ended), daemon=True).start()
    atomic.remove_unfinished(folder)
    print(f"--- {utc_now()} process {os.getpid()} waits for its turn", flush=True)
    try:
        slot = _wait_for_turn(folder, stop)  # ours for as long as we live
        print(f"--- {utc_now()} begins, holding slot {slot}", flush=True)
        writer = ProgressWriter(folder, stages)
        work(folder, _stoppable(writer, stop))
        return _end(folder, ended, "finished", None)
    except Cancelled:
        return _end(folder, ended, "cancelled", STOPPED)
    except BaseException as error:  # also a KeyboardInterrupt or MemoryError is a failure with a reason
        traceback.print_exc()
        return _end(folder, ended, "failed", _reason(error))


def analyse(folder: Path, on_progress: OnProgress) -> None:
    """The work of every real job."""
    spec = jobs.read_job(folder)
    with closing(MapProcess(seed=spec.settings.get("seed", 0))) as drawing:  # compiles while we import torch
        from influence_core.analysis.analyze import analyze

        model, dataset = _opened(spec, on_progress, folder)
        analyze(
            model,
            dataset.train,
            dataset.val,
            test=dataset.test,
            source=dataset,
            drawing=drawing,
            out=folder,
            on_progress=on_progress,
            **spec.settings,
        )


def stages_of(folder: Path) -> tuple[Stage, ...]:
    """Every stage of a job; training a model first is one of them where that was asked for."""
    return (OPENING, *([] if jobs.read_job(folder).recipe is None else [TRAINING]), *STAGES)


def record(folder: Path, on_progress: OnProgress) -> None:
    """Train again from the beginning and write down what happens to every sample."""
    from influence_core.training.recipe import recipe_from
    from influence_core.training.recorded_training import record_training

    spec = jobs.read_job(folder)
    model, dataset = _opened(spec, on_progress, folder)
    record_training(
        model, dataset.train, dataset.val, folder, recipe=recipe_from(spec.settings), on_progress=on_progress
    )


def _opened(spec: jobs.JobSpec, on_progress: OnProgress, folder: Path) -> tuple[Any, Any]:
    """Model and dataset of a job; without a model, one is trained on the data first."""
    from influence_core.data import open_dataset
    from influence_core.models import check_fits, open_model

    on_progress(OPENING[0], 0, 2)
    dataset = open_dataset(spec.dataset, **spec.dataset_options)
    on_progress(OPENING[0], 1, 2)
    if spec.recipe is None:
        model = open_model(spec.model, **_model_options(spec.model_options))
    else:
        from influence_core.training.first_model import trained_model

        model = trained_model(dataset, spec.recipe, folder / "model", on_progress)
    if set(dataset.classes) == set(model.classes):
        dataset = dataset.with_classes(model.classes)  # the order of the model's outputs decides
    check_fits(model, dataset)
    on_progress(OPENING[0], 2, 2)
    return model, dataset


def _model_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no Preprocessing, only its fields."""
    from influence_core.models import Preprocessing

    if not isinstance(given := options.get("preprocessing"), Mapping):
        return dict(options)
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    return {**options, "preprocessing": Preprocessing(**fields)}


def _stoppable(writer: ProgressWriter, stop: threading.Event) -> OnProgress:
    def on_progress(stage: str, done: int, total: int) -> None:
        if stop.is_set():
            raise Cancelled(STOPPED)
        writer(stage, done, total)

    return on_progress


def _watch(folder: Path, stop: threading.Event, ended: threading.Lock) -> None:
    while not (folder / "cancel").exists():
        time.sleep(LOOK)
    stop.set()
    time.sleep(GRACE)
    _end(folder, ended, "cancelled", STOPPED)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # with the processes that the work started
    os._exit(0)


def _wait_for_turn(folder: Path, stop: threading.Event) -> int:
    """Wait until we are first in the queue and a slot is free; the slot is ours while we live."""
    root = runs_root_of(folder)
    slots = root / ".slots"
    slots.mkdir(exist_ok=True)
    while not stop.wait(TURN):
        if jobs.queue(root)[:1] != [folder.relative_to(root).as_posix()]:
            continue
        for number in range(jobs.limit()):
            if (slot := job_lock.take(slots / str(number), patience=0)) is not None:
                write_progress(folder, {**(read_progress(folder) or {}), "state": "running"})
                return slot
    raise Cancelled(STOPPED)


def _end(folder: Path, ended: threading.Lock, state: str, message: str | None) -> int:
    """Say the last word, once: the watchdog and the work may both want to."""
    if not ended.acquire(blocking=False):
        time.sleep(3 * GRACE)  # the other one is about to end the process
        return 0
    if state != "finished" and not _mark_run(folder, state, message or ""):
        state, message = "finished", None
    changes = {"state": state, "message": message, "eta": None, "rate": None}
    whole = {"fraction": 1.0} if state == "finished" else {}
    write_progress(folder, {**(read_progress(folder) or {}), **changes, **whole})
    print(f"--- {utc_now()} {state}{f': {message}' if message else ''}", flush=True)
    return 1 if state == "failed" else 0


def _mark_run(folder: Path, state: str, message: str) -> bool:
    """Say it in run.json too, once there is one. False if the run was sealed in the meantime."""
    if run_state(folder) is None:
        return True
    mark = cancel_run if state == "cancelled" else fail_run
    try:
        mark(folder, message)
    except RunError as error:
        print(error, flush=True)
    return run_state(folder) != "finished"


def _reason(error: BaseException) -> str:
    if isinstance(error, InfluenceError):
        return str(error)
    if isinstance(error, MemoryError):
        return "There was not enough memory. Resume with a smaller batch size; finished shards are kept."
    return f"{type(error).__name__}: {error}"


def work_of(folder: Path) -> tuple[Work, tuple[Stage, ...]]:
    """What this job does, and in which stages."""
    from influence_core.jobs import repair_jobs

    kind = repair_jobs.kind_of(folder)
    if kind == repair_jobs.PREDICT:
        return repair_jobs.predict, repair_jobs.PREDICT_STAGES
    if kind == repair_jobs.VERIFY:
        from influence_core.verification.verify import STAGES as VERIFY_STAGES

        return repair_jobs.verify, VERIFY_STAGES
    if kind == "record":
        return record, (OPENING, *RECORDING)
    return analyse, stages_of(folder)
