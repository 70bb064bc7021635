"""Progress of long work: its stages, the share that is done and the time left. Imports no torch.

One small file, `progress.json`, is replaced a few times a second by the working process and read by many pages. It
holds the state (queued or running) and the speed; how a run ended stands in run.json alone. Only work without a
run.json (a prediction, a verification, a failure before the run began) records its end here too.

The time left is estimated from the work of this launch only. Three things count as progress but not as speed:

    shards that an earlier launch left behind
    the time before a stage's first report, in which libraries are loaded and loops compiled
    a stage that is a small part of the whole: fifteen seconds for opening the files, 2 % of a run, would predict
    twelve minutes for a run that takes one
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from influence_core.errors import DamagedError
from influence_core.system import atomic
from influence_core.system.times import utc_now

FILE = "progress.json"
WAITING = ("queued", "running")
STATES = (*WAITING, "finished", "cancelled", "failed")
INTERVAL = 0.2  # seconds between two writes
SETTLING = 3.0  # seconds of measured work before a time left is shown
TELLING = 0.04  # share of the whole run from which a stage, or the work done, predicts the speed of the rest

Stage = tuple[str, str, float]  # name, title, share of the whole run's time

STAGES: tuple[Stage, ...] = (
    ("thumbnails", "Making thumbnails", 0.05),
    ("validation", "Reading the validation samples", 0.1),
    ("objective", "Measuring the validation gradient", 0.07),
    ("sweep", "Scoring every training sample", 0.45),
    ("scores", "Weighing the evidence", 0.15),
    ("map", "Drawing the map of gradients", 0.15),
    ("check", "Checking that the numbers repeat", 0.03),
)
"""Name, title and share of the time of each stage, in order."""

TRAINING: Stage = ("train", "Training a small model", 0.5)
"""The stage before all others when the user has no model yet."""
RECORDING: tuple[Stage, ...] = (("train", "Training, and writing down every sample", 1.0),)
"""The stages of a recorded training."""


def write_progress(folder: Path | str, progress: Mapping[str, Any]) -> None:
    """Replace progress.json. Not flushed to the disk: it may be lost in a power cut."""
    content = {**_NOTHING, **progress, "updated": utc_now()}
    atomic.write_json(Path(folder) / FILE, content, durable=False)


def read_progress(folder: Path | str) -> dict[str, Any] | None:
    """Return the last progress written, or None when there is none or it cannot be read.

    An entry of another type than ours is left out: the file is not sealed, and a page computes with its numbers.
    """
    try:
        content = atomic.read_json(Path(folder) / FILE)
    except DamagedError:
        return None
    if not isinstance(content, dict):
        return None
    return {**_NOTHING, **{name: value for name, value in content.items() if _fits(name, value)}}


def _fits(name: str, value: Any) -> bool:
    expected = _NOTHING.get(name)
    if name == "state":
        return value in STATES
    if isinstance(expected, int | float) or name in ("rate", "eta"):
        return isinstance(value, int | float) or (value is None and expected is None)
    return isinstance(value, str) or (value is None and expected is None)


@final
class ProgressWriter:
    """Turns calls of on_progress(stage, done, total) into progress.json.

    A stage that continues earlier work first reports the `done` of that work; only steps after this report count as
    speed. Stages that are never reported count as done when a later one begins.
    """

    def __init__(
        self, folder: Path | str, stages: Sequence[Stage], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with no work done. The shares of `stages` may have any unit; `clock` never goes back, in seconds."""
        self._folder, self._clock = Path(folder), clock
        self._names, self._titles, weights = zip(*stages, strict=True)
        self._shares = [weight / sum(weights) for weight in weights]
        self._index = -1  # of the current stage
        self._first_done = self._done = self._total = 0
        self._stage_begun = self._written = self._reported = clock()
        self._measured = self._gained = 0.0  # seconds and share of the run, of earlier predictive stages
        self._fraction = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report that `done` of `total` steps of a stage are finished."""
        if stage not in self._names:
            raise ValueError(f"Unknown stage {stage!r}; expected one of {', '.join(self._names)}.")
        index = self._names.index(stage)
        if entered := index != self._index:
            self._measured, self._gained = self._speed()
            self._index, self._first_done, self._stage_begun = index, done, self._clock()
        self._done, self._total, self._reported = done, total, self._clock()
        self._fraction = max(self._fraction, sum(self._shares[:index]) + self._share(done))
        if entered or done >= total or self._clock() - self._written >= INTERVAL:
            self._write()

    def _speed(self) -> tuple[float, float]:
        """Return seconds and share of the run between the first and last reports, summed over predictive stages."""
        if self._index < 0 or self._shares[self._index] < TELLING:
            return self._measured, self._gained
        gained = self._share(self._done) - self._share(self._first_done)
        return self._measured + self._reported - self._stage_begun, self._gained + gained

    def _share(self, done: int) -> float:
        """Return the share of the whole run that `done` steps of the current stage are."""
        part = min(done / self._total, 1.0) if self._total > 0 else 1.0
        return self._shares[self._index] * part

    def _eta(self) -> float | None:
        seconds, gained = self._speed()
        if seconds < SETTLING or gained < TELLING:
            return None
        return max(0.0, 1.0 - self._fraction) * seconds / gained

    def _rate(self) -> float | None:
        elapsed = self._clock() - self._stage_begun
        return (self._done - self._first_done) / elapsed if elapsed > 0.5 else None

    def _write(self) -> None:
        self._written = self._clock()
        write_progress(
            self._folder,
            {
                "state": "running",
                "stage": self._names[self._index],
                "stage_title": self._titles[self._index],
                "stage_index": self._index,
                "stage_count": len(self._names),
                "done": self._done,
                "total": self._total,
                "fraction": min(self._fraction, 1.0),
                "rate": self._rate(),
                "eta": self._eta(),
            },
        )


_NOTHING: dict[str, Any] = {
    "state": "queued",
    "stage": None,
    "stage_title": "",
    "stage_index": 0,
    "stage_count": 0,
    "done": 0,
    "total": 0,
    "fraction": 0.0,
    "rate": None,
    "eta": None,
    "updated": None,
    "message": None,
}
