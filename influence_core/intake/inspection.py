"""Inspection of files before anything runs, in a separate process that is the only one to open them.

    python -m influence_core.intake.inspection preview '{"dataset": ..., "pixels": ...}'   content of a dataset
    python -m influence_core.intake.inspection weights '{"weights": ..., "target": ...}'   convert to safetensors, guess
    python -m influence_core.intake.inspection trial   '{"model": ..., "dataset": ...}'    accuracy, and alternatives

With "store", preview unpacks a zip there permanently. The last line of the output is the answer in JSON, or {"refused":
sentence}; lines before it report progress. The process has a share of the free memory and limits on its time and on
what it writes, and no network if the system permits that. One reads at a time: several could take all memory together.
A process that dies without an answer counts as a refusal too.
"""

import fcntl
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from influence_core.errors import InfluenceError, SeveralSetsError
from influence_core.system import jail, memory

SECONDS = 1_800
WRITTEN = 9 * 1024**3  # bytes of one file; archives are counted again while they are unpacked
WAITING = "Waiting until other files are read"
EVERY = 0.3
"""Fewest seconds between two reports of progress."""


def command(question: str, options: Mapping[str, Any]) -> list[str]:
    """The command that answers a question, in a jail without a network."""
    inside = [sys.executable, "-P", "-m", "influence_core.intake.inspection", question, json.dumps(options)]
    return [sys.executable, "-I", str(Path(jail.__file__)), *inside]


class Progress:
    """Progress on standard output, at most every EVERY seconds: {"progress": [stage, done, total]}."""

    def __init__(self):
        self._last = -EVERY

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= EVERY:
            self._last = now
            print(json.dumps({"progress": [stage, done, total]}), flush=True)


def preview(options: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a dataset; `dataset` of the answer is the path to open from now on, unpacked if it was a zip."""
    from influence_core.data.readers.archive import unpack_into
    from influence_core.intake.preview import preview as look

    source, progress = Path(options["dataset"]), Progress()
    opened = source
    if options.get("store") and source.suffix.lower() == ".zip":
        opened = unpack_into(Path(options["store"]), source, limit=int(options["limit"]), report=progress)
    try:
        description = look(opened, Path(options["pixels"]), label=options.get("label"), report=progress)
    except BaseException:
        if opened != source:
            shutil.rmtree(opened.parent)
        raise
    return {**description, "dataset": str(opened)}


def weights(options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert weights to safetensors, so that the original is never opened again; guess their architecture.

    Of several sets of weights without a `key` the answer is a question: `sets`, their names.
    """
    import safetensors.torch

    from influence_core.models.guess import guess_architecture
    from influence_core.models.model_json import Spec
    from influence_core.models.opened import refusing, stated
    from influence_core.models.preprocessing import described
    from influence_core.models.weight_files.weights import read_weights

    source, target = Path(options["weights"]), Path(options["target"])
    with refusing(source):
        try:
            found = read_weights(source, options.get("key"))
        except SeveralSetsError as error:
            return {"sets": list(error.keys)}
        spec, notes = stated(source, Spec(), Path(options["spec"]) if options.get("spec") else None)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(safetensors.torch.save(found.tensors))
    shapes = {name: tuple(tensor.shape) for name, tensor in found.tensors.items()}
    preprocessing = spec.preprocessing
    return {
        "tensors": len(found.tensors),
        "parameters": sum(tensor.numel() for tensor in found.tensors.values()),
        "guesses": [asdict(guess) for guess in guess_architecture(shapes)],
        "architecture": spec.architecture,
        "classes": None if spec.classes is None else list(spec.classes),
        "preprocessing": None if preprocessing is None else described(preprocessing),
        "notes": [*found.notes, *notes],
    }


def trial(options: Mapping[str, Any]) -> dict[str, Any]:
    """Try a model on a dataset; see trial.py."""
    from influence_core.intake.trial import trial as tried

    keywords = {name: options[name] for name in ("skip_unreadable", "label") if options.get(name)}
    return tried(Path(options["model"]), Path(options["dataset"]), report=Progress(), **keywords)


QUESTIONS = {question.__name__: question for question in (preview, weights, trial)}
LIBRARIES = {
    "preview": "influence_core.intake.preview",
    "weights": "influence_core.models.weight_files.weights",
    "trial": "influence_core.intake.trial",
}
"""What a question imports, before the limit on memory: the libraries alone take 3.5 GB of addresses."""


def wait_in_turn() -> None:
    """Wait until no other inspection of this user reads. The system frees the turn, however this process ends."""
    turn = Path(tempfile.gettempdir()) / f"inspection-of-influence-{os.getuid()}.lock"
    with suppress(OSError):  # a file of someone else: better together than never
        opened = os.open(turn, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            Progress()(WAITING, 0, 0)
            fcntl.flock(opened, fcntl.LOCK_EX)
            Progress()("Reading", 0, 0)


def main(question: str, options: str) -> int:
    """Answer one question on standard output; returns the exit code."""
    import_module(LIBRARIES[question])
    wait_in_turn()
    most = int(memory.SHARE * memory.spare())
    jail.set_limits(memory=most, seconds=SECONDS, written=WRITTEN)
    try:
        answer = QUESTIONS[question](json.loads(options))
    except InfluenceError as error:
        answer = {"refused": str(error)}
    except MemoryError:
        answer = {
            "refused": f"This needs more than the {most / 1e9:,.1f} GB of memory that reading files may use."
        }
    print(json.dumps(answer))
    return int("refused" in answer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
