"""Trainings of a verification: side by side, stoppable, and never repeated.

The key of a training covers everything that decides its weights (recipe with seed, labels, weights of samples, start)
and what is measured. Its result is `trainings/<key>.npz` of the run. So a resumed verification repeats no finished
training, and repairs of the same run share the arms they have in common. A stopped training continues after its last
whole epoch. Every training uses one thread: its bits do not depend on how many run side by side.

Each trained model is attacked itself, by one step of FGSM (objectives/perturbed/attacks.py) in its own input range:
adversarial samples of one model are no attack on another.
"""

import hashlib
import json
import multiprocessing
import os
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from influence_core.data.samples import Samples
from influence_core.engine.batches import batches
from influence_core.engine.losses import loss_by_name
from influence_core.engine.watching.watch import scoring
from influence_core.errors import Cancelled
from influence_core.inputs.reopened import Inputs, reopen
from influence_core.models.opened import OpenedModel, save_model
from influence_core.models.preprocessing import preprocessed
from influence_core.objectives.held_out import HeldOutBatch
from influence_core.objectives.perturbed import attacks
from influence_core.objectives.perturbed.input_space import input_space
from influence_core.runs.run import open_run
from influence_core.system import atomic
from influence_core.system.report import Report
from influence_core.training.recipe import Recipe, starting_model
from influence_core.training.train import predict, train

FOLDER = "trainings"
LOOK = 0.25  # seconds between two looks at the progress of the workers
EPSILON = 8 / 255
"""Share of the pixel range, as is customary; of a standard deviation for the features of a table."""


@dataclass(frozen=True)
class Task:
    """One training with these labels (n,) and weights (n,) by this recipe, measured on the test samples."""

    arm: str
    labels: np.ndarray
    weights: np.ndarray
    recipe: Recipe
    epsilon: float
    keep_model: bool = False

    def key(self, inputs: Inputs) -> str:
        """Hash of everything the result depends on, 40 hex digits."""
        start = inputs.model.fingerprint if self.recipe.start == "given" else inputs.model.architecture
        facts = [1, self.recipe.to_json(), start, self.epsilon, self.keep_model, inputs.train.fingerprint]
        facts += [evaluation(inputs).fingerprint, torch.__version__]
        digest = hashlib.sha256(json.dumps(facts).encode())
        digest.update(self.labels.astype("<i8").tobytes() + self.weights.astype("<f4").tobytes())
        return digest.hexdigest()[:40]

    def steps(self) -> int:
        return -(-int((self.weights > 0).sum()) // self.recipe.batch_size) * self.recipe.epochs


@dataclass(frozen=True)
class Outcome:
    """Probabilities of a trained model on the test samples and on attacked ones, each (m, c) float32."""

    probabilities: np.ndarray
    attacked: np.ndarray


def evaluation(inputs: Inputs) -> Any:
    """The samples that judge a repair: test, or validation without a test split."""
    return inputs.test if inputs.test is not None and len(inputs.test) else inputs.val


def run_all(
    inputs: Inputs,
    tasks: Sequence[Task],
    folder: Path,
    *,
    run_folder: Path | None,
    workers: int,
    stage: str,
    on_progress: Report,
) -> list[Outcome]:
    """The outcome of every task, in order; finished tasks are read, the others trained.

    Args:
        folder: Folder of the results.
        run_folder: The run that other processes reopen the inputs from; None: everything in this process.
        workers: Trainings at a time; 0 or 1: one after the other in this process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    keys = [task.key(inputs) for task in tasks]
    todo = {key: task for key, task in zip(keys, tasks, strict=True) if not _is_whole(folder, key)}
    finished = sum(task.steps() for key, task in zip(keys, tasks, strict=True) if key not in todo)
    total = sum(task.steps() for task in tasks)
    on_progress(stage, finished, total)
    if workers > 1 and run_folder is not None and len(todo) > 1:
        _side_by_side(
            todo, folder, run_folder, workers, lambda done: on_progress(stage, finished + done, total)
        )
    else:
        done = finished
        for key, task in todo.items():
            report = lambda steps, before=done: on_progress(stage, before + steps, total)  # noqa: E731
            train_one(inputs, task, folder, key, report)
            done += task.steps()
    on_progress(stage, total, total)
    return [read(folder, key) for key in keys]


def _is_whole(folder: Path, key: str) -> bool:
    """Whether a training has a result that can be read; a damaged one is trained again."""
    try:
        read(folder, key)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return False
    return True


def read(folder: Path, key: str) -> Outcome:
    with np.load(_file(folder, key), allow_pickle=False) as arrays:
        return Outcome(arrays["probabilities"], arrays["attacked"])


def train_one(inputs: Inputs, task: Task, folder: Path, key: str, report: Callable[[int], None]) -> None:
    """Train, measure once, and write the result; after a stop the next call continues the training."""
    with _one_thread():
        model: Any = starting_model(inputs.model, task.recipe)
        samples = inputs.train.relabelled(task.labels)
        train(
            model,
            samples,
            task.recipe,
            weights=task.weights,
            validation=inputs.val if task.recipe.patience else None,
            checkpoint=folder / f"{key}.state",
            on_progress=lambda _, done, total: report(done),
        )
        judged = evaluation(inputs)
        plain = predict(model, judged).numpy()
        hostile = attacked(model, judged, task.epsilon)
    if task.keep_model:
        (folder / key).mkdir(exist_ok=True)
        save_model(model, folder / key / "model.safetensors")
    with atomic.writing(_file(folder, key)) as file:
        np.savez(file, probabilities=plain, attacked=hostile)


def _file(folder: Path, key: str) -> Path:
    return folder / f"{key}.npz"


@contextmanager
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _side_by_side(
    todo: dict[str, Task], folder: Path, run_folder: Path, workers: int, report: Callable[[int], None]
) -> None:
    """Run the tasks in a pool of new processes; each opens the run's inputs once, and stops when the flag is set."""
    context = multiprocessing.get_context("spawn")
    steps, stop = context.Array("q", len(todo), lock=False), context.Event()
    pool = ProcessPoolExecutor(
        min(workers, len(todo)), context, initializer=_begin, initargs=(str(run_folder), steps, stop)
    )
    with pool:
        with _without_main():
            waiting = {pool.submit(_work, i, t, str(folder), k) for i, (k, t) in enumerate(todo.items())}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=LOOK, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                report(sum(steps))
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def _without_main():
    """Hide the main script from new processes, which would run it again.

    A page would draw itself there, and a script without `if __name__ == "__main__"` would start trainings forever.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


_shared: dict[str, Any] = {}


def _begin(run_folder: str, steps: Any, stop: Any) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _shared.update(inputs=reopen(open_run(run_folder)), steps=steps, stop=stop)


def _end_with_parent() -> None:
    """End this process when its parent is gone, killed or not: it would wait for its next training for ever."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _work(index: int, task: Task, folder: str, key: str) -> None:
    def report(done: int) -> None:
        _shared["steps"][index] = done
        parent = multiprocessing.parent_process()
        if _shared["stop"].is_set() or (parent is not None and not parent.is_alive()):
            raise Cancelled("Stopped from outside; the last whole epoch is kept.")

    train_one(_shared["inputs"], task, Path(folder), key, report)


def attacked(model: OpenedModel, samples: Samples, epsilon: float = EPSILON) -> np.ndarray:
    """Class probabilities (m, c) float32 on samples attacked by one step of epsilon in every coordinate."""
    samples = preprocessed(samples, model.preprocessing)
    space, loss, parts = input_space(model, samples), loss_by_name("cross_entropy"), []
    with scoring(model):
        for batch in batches(samples, 256, like=model):
            rows = torch.arange(batch.start, batch.stop)
            part = HeldOutBatch(model, batch.inputs, batch.labels, rows, loss)
            moved = attacks.attacked(part, space, "fgsm", epsilon)
            with torch.no_grad():
                parts.append(model(moved).softmax(1).cpu())
    return torch.cat(parts).numpy()
