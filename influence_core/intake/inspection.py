"""What is in these files, before anything runs? Asked of a process of its own, which alone opens them.

    python -m influence_core.intake.inspection preview '{"dataset": ..., "pixels": ...}'    what is in the dataset
    python -m influence_core.intake.inspection weights '{"weights": ..., "target": ...}'    as safetensors, and a guess
    python -m influence_core.intake.inspection trial  '{"model": ..., "dataset": ...}'  accuracy at once, and why not

With "store", preview unpacks a zip there for good. The last line of what is said is the answer, in JSON, or {"refused":
sentence}; lines before it say how far the work is. The process has no network where the system permits that, a share of
the memory, and limits on time and on what it writes; its death is an answer too.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from influence_core.errors import InfluenceError
from influence_core.system import jail

SECONDS = 1_800
WRITTEN = 9 * 1024**3  # a file; archives are counted again while they are unpacked
EVERY = 0.3
"""Seconds between two words on progress."""
SHARE = 0.6
"""Of the machine's memory."""


def command(question: str, options: Mapping[str, Any]) -> list[str]:
    """What to start: the question inside an empty network."""
    inside = [sys.executable, "-P", "-m", "influence_core.intake.inspection", question, json.dumps(options)]
    return [sys.executable, "-I", str(Path(jail.__file__)), *inside]


class Progress:
    """Says how far the work is, at most a few times a second: {"progress": [what, done, total]}."""

    def __init__(self):
        self._last = -EVERY

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= EVERY:
            self._last = now
            print(json.dumps({"progress": [what, done, total]}), flush=True)


def preview(options: Mapping[str, Any]) -> dict[str, Any]:
    """What is there; `dataset` of the answer is what to open from now on, for a zip that was unpacked the store."""
    from influence_core.data.readers.archive import unpack_into
    from influence_core.intake.preview import preview as look

    source, progress = Path(options["dataset"]), Progress()
    opened = source
    if options.get("store") and source.suffix.lower() == ".zip":
        opened = unpack_into(Path(options["store"]), source, limit=int(options["limit"]), report=progress)
    try:
        found = look(opened, Path(options["pixels"]), label=options.get("label"), report=progress)
    except BaseException:
        if opened != source:
            shutil.rmtree(opened.parent)
        raise
    return {**found, "dataset": str(opened)}


def weights(options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert to safetensors once, so that nobody ever opens the original again; say what it may be."""
    import safetensors.torch

    from influence_core.models.guess import guess_architecture
    from influence_core.models.model_json import read_spec
    from influence_core.models.preprocessing import described
    from influence_core.models.weight_files.weights import read_weights

    source, target = Path(options["weights"]), Path(options["target"])
    tensors = read_weights(source)
    spec = read_spec(Path(options["spec"]) if options.get("spec") else source.with_name("model.json"))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(safetensors.torch.save(tensors))
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    how = spec.preprocessing
    return {
        "tensors": len(tensors),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "guesses": [
            {"architecture": guess.architecture, "classes": guess.classes, "channels": guess.channels,
             "size": guess.size, "fitting": guess.fitting, "total": guess.total}
            for guess in guess_architecture(shapes)
        ],
        "architecture": spec.architecture,
        "classes": None if spec.classes is None else list(spec.classes),
        "preprocessing": None if how is None else described(how),
    }  # fmt: skip


def trial(options: Mapping[str, Any]) -> dict[str, Any]:
    from influence_core.intake.trial import trial as tried

    given = {name: options[name] for name in ("skip_unreadable", "label") if options.get(name)}
    return tried(Path(options["model"]), Path(options["dataset"]), report=Progress(), **given)


QUESTIONS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "preview": preview,
    "weights": weights,
    "trial": trial,
}


def main(question: str, options: str) -> int:
    """Answer one question on standard output."""
    import psutil

    memory = int(SHARE * psutil.virtual_memory().total)
    jail.limited(memory=memory, seconds=SECONDS, written=WRITTEN)
    try:
        answer, code = QUESTIONS[question](json.loads(options)), 0
    except InfluenceError as error:
        answer, code = {"refused": str(error)}, 1
    except MemoryError:
        size = f"{memory / 1e9:,.0f} GB"
        answer, code = (
            {"refused": f"This needs more than the {size} of memory that looking at files may take."},
            1,
        )
    print(json.dumps(answer))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
