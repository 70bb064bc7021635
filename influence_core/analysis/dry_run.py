"""Dry run of an analysis: what it would do and cost, from a preflight of the model with its dataset.

    whole = sweep(train) + sweep(validation) + k gradients of the validation loss + the rest
    rest  = 6 s + 1 ms a training sample: starting, thumbnails, scores, the map; the demo on two cores

Only the sweeps are measured; the rest is a rule of thumb.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from influence_core.analysis.request import SKETCH, checked_inputs
from influence_core.engine.preflight import Preflight, preflight
from influence_core.inputs import facts as identity
from influence_core.inputs.pair import open_pair
from influence_core.objectives import resolved
from influence_core.scores.suspicion.evidence_layers import evidence_layers

REST, REST_A_SAMPLE = 6.0, 0.001
SHOWN = 3
"""Number of frozen parameters named in the report; the others are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A preflight with its model and dataset, and the expected time of the whole analysis."""

    model: str
    dataset: str
    train: int
    held_out: int
    preflight: Preflight
    notes: tuple[str, ...]
    seconds_sweeps: float
    """Expected for train and validation together."""
    seconds_analysis: float
    """Expected for everything, from the click to the Overview page."""

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists, for another process."""
        return {**asdict(self), "preflight": self.preflight.to_json()}


def dry_run(
    model: str | Path,
    dataset: str | Path,
    *,
    architecture: str | None = None,
    classes: Sequence[str] | None = None,
    objectives: Sequence[str] = ("utility",),
    precision: str = "float32",
    batch_size: int | str = "auto",
    skip_unreadable: bool = False,
    label: str | None = None,
) -> Check:
    """Open model and dataset as an analysis would, and estimate its cost.

    Raises:
        InfluenceError: what an analysis would refuse, in the same words.
    """
    network, data = open_pair(
        model,
        dataset,
        model_options={"architecture": architecture, "classes": classes},
        dataset_options={"skip_unreadable": skip_unreadable, "label": label},
    )
    named = resolved(objectives, data.classes)
    train, held_out, test = (
        identity.in_model_format(split, network) for split in (data.train, data.val, data.test)
    )
    checked_inputs(network, train, held_out, test)
    cost = preflight(
        network,
        train,
        directions=len(named),
        sketch=SKETCH,
        precision=precision,
        batch_size=batch_size,
        features=evidence_layers(network, train),
    )
    sweeps, whole = _seconds(cost, len(train), len(held_out), len(named))
    return Check(
        model=network.architecture,
        dataset=data.name,
        train=len(train),
        held_out=len(held_out),
        preflight=cost,
        notes=tuple(data.notes),
        seconds_sweeps=sweeps,
        seconds_analysis=whole,
    )


def _seconds(facts: Preflight, n: int, m: int, k: int) -> tuple[float, float]:
    """Expected for the two sweeps, and for the whole analysis."""
    start, per_sample = facts.seconds_start or 0.0, facts.seconds_per_sample or 0.0
    sweeps = 2 * start + (n + m) * per_sample
    return sweeps, sweeps + k * m * per_sample + REST + n * REST_A_SAMPLE


def report(check: Check) -> str:
    """The check as plain text: the summary first, then a table of layers."""
    facts = check.preflight
    lines = [
        (
            "Model",
            f"{check.model}, {facts.parameters:,} trainable parameters on {facts.device}, {facts.dtype}",
        ),
        ("Dataset", f"{check.dataset}, {check.train:,} training and {check.held_out:,} validation samples"),
        (
            "Gradients",
            f"{facts.to_sentence()} {100 * facts.share_covered:.0f} % of the trainable parameters count.",
        ),
        ("Left out", left_out(facts)),
        ("BatchNorm", facts.batch_norm),
        ("Batch size", f"{facts.batch_size}"),
        (
            "Time",
            f"about {check.seconds_sweeps:.0f} s to score all samples, "
            f"about {check.seconds_analysis:.0f} s for the whole analysis",
        ),
        ("Memory", memory(facts)),
        *(("Note", note) for note in check.notes),
    ]
    head = [f"{title:<11} {text}" for title, text in lines]
    return "\n".join([*head, "", *_table(facts)])


def left_out(found: Preflight) -> str:
    """'nothing', or the frozen parameters by name."""
    if not found.frozen:
        return "nothing"
    more = len(found.frozen) - SHOWN
    names = ", ".join(found.frozen[:SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{found.frozen_parameters:,} frozen parameters: {names}"


def memory(found: Preflight) -> str:
    """'about 130 MB above the loaded process'."""
    if found.memory_expected_mb is None:
        return "not measured: this system does not report it"
    return f"about {found.memory_expected_mb:,.0f} MB above the loaded process"


def _table(facts: Preflight) -> list[str]:
    rows = [("layer", "type", "operation", "parameters", "gradient")]
    rows += [
        (x.name or "(the model itself)", x.kind, x.operations, f"{x.parameters:,}", x.covered)
        for x in facts.layers
    ]
    wide = [max(len(row[column]) for row in rows) for column in range(5)]
    return [
        "  ".join(
            cell.rjust(w) if column == 3 else cell.ljust(w)
            for column, (cell, w) in enumerate(zip(row, wide, strict=True))
        ).rstrip()
        for row in rows
    ]
