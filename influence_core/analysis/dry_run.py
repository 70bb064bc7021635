"""Dry run of an analysis: what it would do and cost, from a preflight of the model with its dataset.

    whole = sweep(train) + sweep(validation) + k gradients of the validation loss + the rest
    rest  = 6 s + 1 ms a training sample: starting, thumbnails, scores, the map; the demo on two cores

Only the sweeps are measured; the rest is a rule of thumb.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from influence_core.analysis.request import SKETCH, checked_inputs
from influence_core.engine.preflight import Preflight, preflight
from influence_core.inputs import facts as identity
from influence_core.inputs.pair import open_pair
from influence_core.objectives import resolved
from influence_core.scores.suspicion.class_mix import class_mix
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
    model_options: Mapping[str, Any] | None = None,
    objectives: Sequence[str] = ("utility",),
    precision: str = "auto",
    batch_size: int | str = "auto",
    dataset_options: Mapping[str, Any] | None = None,
) -> Check:
    """Open model and dataset as an analysis would, and estimate its cost; options as for open_pair.

    Raises:
        InfluenceError: what an analysis would refuse, in the same words.
    """
    network, data = open_pair(model, dataset, model_options=model_options, dataset_options=dataset_options)
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
        held_out=held_out,
    )
    mix = class_mix(train.labels, held_out.labels, len(data.classes)).note(data.classes)
    n, m, a_sample = len(train), len(held_out), cost.seconds_per_sample or 0.0
    sweeps = 2 * (cost.seconds_start or 0.0) + (n + m) * a_sample
    return Check(
        model=network.architecture,
        dataset=data.name,
        train=n,
        held_out=m,
        preflight=cost,
        notes=(*network.notes, *data.notes, *([mix] if mix is not None else []), *cost.doubts),
        seconds_sweeps=sweeps,
        seconds_analysis=sweeps + len(named) * m * a_sample + REST + n * REST_A_SAMPLE,
    )


def report(check: Check) -> str:
    """The check as plain text: the summary first, then a table of layers."""
    facts, left_out, memory = check.preflight, "nothing", "not measured: this system does not report it"
    if more := len(facts.frozen):
        names = ", ".join(facts.frozen[:SHOWN]) + (f" and {more - SHOWN} more" if more > SHOWN else "")
        left_out = f"{facts.frozen_parameters:,} frozen parameters: {names}"
    if facts.memory_expected_mb is not None:
        memory = f"about {facts.memory_expected_mb:,.0f} MB above the loaded process"
    lines = [
        f"Model       {check.model}, {facts.parameters:,} trainable parameters on {facts.device}, {facts.dtype}",
        f"Dataset     {check.dataset}, {check.train:,} training and {check.held_out:,} validation samples",
        f"Gradients   {facts.to_sentence()} {100 * facts.share_covered:.0f} % of the trainable parameters count.",
        f"Left out    {left_out}",
        f"BatchNorm   {facts.batch_norm}",
        f"Batch size  {facts.batch_size}",
        f"Time        about {check.seconds_sweeps:.0f} s to score all samples, "
        f"about {check.seconds_analysis:.0f} s for the whole analysis",
        f"Memory      {memory}",
        *(f"Note        {note}" for note in check.notes),
    ]
    return "\n".join([*lines, "", *_table(facts)])


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
