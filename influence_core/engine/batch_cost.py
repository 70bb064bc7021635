"""How long does a batch of the sweep take, and how much memory? The real sweep, stopped after its first batches.

    seconds a sample = (time of last report - time of first report) / samples between them
    seconds at start = time of first report - its own samples * seconds a sample

It is the sweep itself that runs, with the same batch size, reader, directions and sketch, so nothing that costs can be
forgotten. At least three batches are timed, then as many as fit in two seconds; on a slow model, one.
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
"""Seconds after which one timed batch must do."""
FEWEST = 4
"""Batches that are reported before the time counts: the first is not timed, it wakes the libraries."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What the first batches cost: `peak_bytes` with what they kept, `kept_bytes` of each of `samples`."""

    batch_size: int
    seconds_start: float
    seconds_per_sample: float
    peak_bytes: int | None
    kept_bytes: int
    samples: int


@dataclass
class _Watch:
    """Listens to a sweep's progress and stops it when enough was seen."""

    began: float
    reports: list[tuple[float, int]] = field(default_factory=list)

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self.reports and done <= self.reports[-1][1]:
            return
        self.reports.append((perf_counter(), done))
        timed, whole = self.reports[-1][0] - self.reports[0][0], self.reports[-1][0] - self.began
        if (timed >= SECONDS and len(self.reports) >= FEWEST) or (whole >= LONGEST and len(self.reports) > 1):
            raise Cancelled("Enough was seen.")


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
    """Begin a sweep over n >= 1 samples and stop it; directions are the parameters themselves, as good as any.

    `memory` began to count before the model was used for the first time: what wakes the libraries counts too.
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
    each = (last - first) / (done - rows) if done > rows else (first - watch.began) / rows
    start = max(0.0, first - watch.began - rows * each)
    return Probe(rows, start, each, memory.peak(), kept, done)


def _kept_bytes(model: nn.Module, samples: Dataset, width: int, features: Sequence[str]) -> int:
    """Numbers kept of one sample: products and sketch (width), outputs, norms, one a layer, features."""
    (batch,) = loop.batches(Subset(samples, [0]), 1, like=model)
    with heard(model, features) as seen, scoring(model), torch.no_grad():
        outputs = loop.forward(model, batch.inputs)
    logits = outputs.numel() if in_rows(outputs, 1) else 0
    layers = len({name.rpartition(".")[0] for name in trainable(model)})
    numbers = width + logits + layers + 5 + sum(value.numel() for value in seen.values())
    return numbers * loop.home(model)[1].itemsize


class Memory:
    """Peak above what is in use now: of the device on CUDA; else of this process, where Linux tells."""

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
        """Bytes since this object was made; None when the system does not tell."""
        if self.before is None:
            return None
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) - self.before
        return max(0, _resident("VmHWM") - self.before)


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
