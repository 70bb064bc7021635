"""Words of the Dynamics page: groups of samples, a headline and numbers of a recording; no Streamlit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from influence_core.errors import RunError
from influence_core.runs.run import Run
from influence_core.training.recorder import Recording, open_recording
from pages.ui.words import formats
from pages.ui.words.formats import Markdown
from pages.ui.words.overview import Fact


@dataclass(frozen=True, slots=True)
class Kind:
    """A group of samples worth a look; `choose` takes them, worst first, from the table of training_dynamics."""

    title: str
    sentence: str
    choose: Callable[[pd.DataFrame], np.ndarray]


def _never(table: pd.DataFrame) -> np.ndarray:
    return _sorted(table, table["never"].to_numpy(bool), "aum")


def _forgotten(table: pd.DataFrame) -> np.ndarray:
    often = table["forgotten"].to_numpy()
    order = np.lexsort((table["aum"].to_numpy(), -often))
    return order[often[order] > 0]


def _hardest(table: pd.DataFrame) -> np.ndarray:
    return _sorted(table, table["aum"].notna().to_numpy(), "aum")


def _wavering(table: pd.DataFrame) -> np.ndarray:
    return _sorted(
        table.assign(steady=-table["variability"]), table["variability"].notna().to_numpy(), "steady"
    )


def _hurtful(table: pd.DataFrame) -> np.ndarray:
    return _sorted(table, table["influence"].to_numpy() < 0, "influence")


def _sorted(table: pd.DataFrame, mask: np.ndarray, column: str) -> np.ndarray:
    order = np.argsort(table[column].to_numpy(), kind="stable")
    return order[mask[order]]


KINDS = (
    Kind("Never learned", "The model preferred another class in every epoch.", _never),
    Kind("Forgotten", "Right in one epoch and wrong in a later one, most often first.", _forgotten),
    Kind("Hardest", "All samples, lowest mean margin first: they fit their given label worst.", _hardest),
    Kind(
        "Wavering", "All samples, the least steady first: the model changed its mind about them.", _wavering
    ),
    Kind("Hurting", "Learning from them raised validation loss on average, worst first.", _hurtful),
)


@dataclass(frozen=True, slots=True)
class Curve:
    """One number that is followed over the epochs."""

    title: str
    column: str
    unit: str


CURVES = (
    Curve("Confidence", "loss", "probability of the given label"),
    Curve("Margin", "margin", "logit of the given label minus the best other one"),
    Curve("Influence", "influence", "layer-aware influence on validation loss; above 0 helps"),
    Curve("Kept", "kept", "share of steps that the filter let through"),
)


def values(recording: Recording, curve: Curve) -> np.ndarray:
    """The values of a curve, shape (e, n): epochs, samples. Confidence is exp(-loss)."""
    numbers = recording.column(curve.column)
    return np.exp(-numbers) if curve.column == "loss" else numbers


def readable(folder: Path) -> Recording | None:
    """The recording in a folder; None before it has begun."""
    return open_recording(folder) if (folder / "recording.json").exists() else None


def aligned(run: Run, recording: Recording) -> None:
    """Raise unless the recording is of the run's samples under the labels they had, in the same order."""
    recorded = recording.samples
    samples = run.samples
    if list(recorded["sample_id"]) != list(samples.index) or list(recorded["label"]) != list(
        samples["label"]
    ):
        raise RunError(
            f"The recording in {recording.folder} is of {len(recorded):,} samples with other ids, labels or order than "
            f"the {len(samples):,} of this run, so its curves cannot be shown here. Record a training of this dataset."
        )


def groups(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Row positions of every kind that has samples."""
    by_title = {kind.title: kind.choose(table) for kind in KINDS}
    return {title: rows for title, rows in by_title.items() if len(rows)}


def headline(table: pd.DataFrame, epochs: int) -> Markdown:
    """The answer in one sentence."""
    n, never = formats.count(len(table)), int(table["never"].to_numpy().sum())
    once = int((table["forgotten"].to_numpy() > 0).sum())
    learned = (
        "every sample was learned"
        if never == 0
        else f"{formats.count(never)} of {n} samples were never learned"
    )
    return f"In {formats.plural(epochs, 'epoch')} {learned}, and {formats.count(once)} were forgotten at least once."


def facts(table: pd.DataFrame, epochs: int) -> list[Fact]:
    """Four numbers of the recording."""
    n = len(table)
    learned = table["learned"].to_numpy()
    half = learned[learned > 0]
    numbers = [
        _share("Never learned", table["never"].to_numpy(bool), "The given label did not win in any epoch."),
        _share("Forgotten", table["forgotten"].to_numpy() > 0, "Right in one epoch, wrong in a later one."),
        Fact(
            "Typically learned in",
            f"epoch {int(np.median(half))}" if len(half) else "none",
            f"median, of {formats.plural(epochs, 'epoch')}",
            "The first epoch from which the given label won until the end; median over the learned samples.",
        ),
    ]
    influence = table["influence"].to_numpy()
    if np.isfinite(influence).any():
        numbers.append(_share("Hurting", influence < 0, "Mean influence on validation loss below zero."))
    return numbers if n else []


def _share(title: str, mask: np.ndarray, help: str) -> Fact:
    return Fact(title, formats.count(mask.sum()), f"{formats.percent(mask.mean())} of all samples", help)


FROM_PYTHON = """
recorder = ic.Recorder(ic.recording_folder({folder!r}), run.samples.index, run.samples["label"])
for epoch in range(epochs):
    for rows, inputs, labels in loader:              # rows: positions in the dataset
        outputs = model(inputs)
        ...                                          # loss, backward, step, as usual
        recorder.batch(rows, outputs, labels)
    recorder.end_epoch()
recorder.close()
""".strip()

FILTER = """
`ic.OnlineValuation` can also leave out of every step the samples whose influence is not above zero. **That helps a
network that memorises wrong labels and hurts one that does not**, because right labels are left out as well:
influence at a single moment separates the two poorly. The measurements are in `docs/online.md`.

Watch the values, review the samples they point at, and repair them. Filter only where you have measured that it helps
(`python -m benchmarks.online.filter`).
""".strip()
