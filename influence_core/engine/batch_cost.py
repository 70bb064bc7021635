"""Time and memory of a sweep's batches, measured on the real sweep, which is stopped after its first batches.

    seconds a sample = (time of last report - time of first report) / samples between them
    seconds at start = time of first report - its own samples * seconds a sample

The sweep itself runs, with the same batch size, reader, number of directions and sketch, so no cost is left out.
At least three batches are timed, then as many as fit in two seconds; on a slow model, one.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import torch
from torch import nn
from torch.utils.data import Dataset, Subset

from influence_core.engine import batches as loop
from influence_core.engine.features import heard
from influence_core.engine.losses import Loss
from influence_core.engine.one_batch import in_rows
from influence_core.engine.sweep import sweep
from influence_core.engine.watching.watch import scoring, trainable
from influence_core.errors import Cancelled

SECONDS = 2.0
LONGEST = 10.0
"""Seconds after which one timed batch is enough."""
FEWEST = 4
"""Batches reported before the two seconds may end the measurement. The first is not timed: libraries start up in it."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Cost of the first batches.

    `peak_bytes` includes what was kept of the samples done: `kept_bytes` for each of `samples`. None: not measurable.
    """

    batch_size: int
    seconds_start: float
    seconds_per_sample: float
    peak_bytes: int | None
    kept_bytes: int
    samples: int


@dataclass
class _Watch:
    """Progress callback that times a sweep's batches and stops it after enough of them."""

    began: float
    reports: list[tuple[float, int]] = field(default_factory=list)

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self.reports and done <= self.reports[-1][1]:
            return
        self.reports.append((perf_counter(), done))
        timed, elapsed = self.reports[-1][0] - self.reports[0][0], self.reports[-1][0] - self.began
        if (timed >= SECONDS and len(self.reports) >= FEWEST) or (
            elapsed >= LONGEST and len(self.reports) > 1
        ):
            raise Cancelled("Enough batches were timed.")


def probe(
    model: nn.Module,
    samples: Dataset,
    *,
    k: int,
    sketch: int,
    loss: Loss,
    precision: str,
    batch_size: int | str,
    features: Sequence[str],
    memory: "Memory",
) -> Probe:
    """Start a sweep over n >= 1 samples, and stop it after its first batches.

    Directions are the parameters themselves: their values do not change the cost. `memory` must have been made before
    the model was first used, so that the start of the libraries counts too.
    """
    directions = [{name: value.detach() for name, value in trainable(model).items()}] * k
    kept = _kept_bytes(model, samples, k + sketch, features)
    watch = _Watch(perf_counter())
    with suppress(Cancelled):
        sweep(
            model,
            samples,
            directions=directions,
            sketch=sketch,
            loss=loss,
            precision=precision,
            batch_size=batch_size,
            features=features,
            on_progress=watch,
        )
    (first, rows), (last, done) = watch.reports[0], watch.reports[-1]
    per_sample = (last - first) / (done - rows) if done > rows else (first - watch.began) / rows
    start = max(0.0, first - watch.began - rows * per_sample)
    return Probe(rows, start, per_sample, memory.peak(), kept, done)


def _kept_bytes(model: nn.Module, samples: Dataset, width: int, features: Sequence[str]) -> int:
    """Bytes kept of one sample: products and sketch (`width` numbers), outputs, norms, one norm a layer, features."""
    (batch,) = loop.batches(Subset(samples, [0]), 1, like=model)
    with heard(model, features) as pooled, scoring(model), torch.no_grad():
        outputs = loop.forward(model, batch.inputs)
    logits = outputs.numel() if in_rows(outputs, 1) else 0
    layers = len({name.rpartition(".")[0] for name in trainable(model)})
    numbers = width + logits + layers + 5 + sum(value.numel() for value in pooled.values())
    return numbers * loop.home(model)[1].itemsize


class Memory:
    """Peak memory above what is in use now: of the device on CUDA, else of this process (Linux only)."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before: int | None = torch.cuda.memory_allocated(device)
            return
        try:
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is resident now
            self.before = _resident("VmRSS")
        except OSError:  # not Linux, or a locked-down container
            self.before = None

    def peak(self) -> int | None:
        """Peak in bytes since this object was made; None when the system does not report it."""
        if self.before is None:
            return None
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) - self.before
        return max(0, _resident("VmHWM") - self.before)


def _resident(field: str) -> int:
    """A memory field of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
