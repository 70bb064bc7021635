"""Repeatability check: some samples scored again under another batch size and order, and in double precision.

A score belongs to one sample. If it changes with the other samples of a batch, it is noise or the model mixes samples.
Float64 tells the two apart: rounding shrinks there by nine digits, mixing does not. Rounding is large in float32 where
a unit stands at the kink of a ReLU: another order of additions turns the unit on or off, and its part of the gradient
with it.

    largest difference = max over samples and columns of |again - first| / max over the run of |first|
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from influence_core.engine import batches as loop
from influence_core.engine.agreement import rank_correlation
from influence_core.engine.directions import Direction
from influence_core.engine.kernels.loops import uncompiled
from influence_core.engine.losses import Loss
from influence_core.engine.result import Sweep
from influence_core.engine.sweep import sweep

CHECKED = 64
OTHER_BATCH = 7
WITHIN = {"float32": 1e-4, "float64": 1e-9, "bfloat16": 5e-2}
"""Largest difference that rounding explains, as a share of the largest score."""
DOUBLE_ROWS = 16
CHEAP = 2.0
"""Expected seconds up to which the check in float64 is made."""
SLOWER = 3.0
"""Time of float64 over that of float32: twice the bytes, and half as many numbers in a vector register."""


Scores = Callable[[np.ndarray, str, int], Tensor]
"""Rows of a run, a precision and a batch size -> gradient norms and products (r, 1 + k), in the order of the rows."""


def repeatability(
    model: nn.Module,
    samples: Dataset,
    swept: Sweep,
    *,
    directions: Sequence[Direction],
    loss: str | Loss,
    precision: str,
    seed: int,
) -> dict[str, Any]:
    """Score 64 samples again, in reverse order and batches of 7, and 16 of them in float64 if that is cheap.

    Returns:
        Facts and a sentence: "state" is "agreed", "rounding" (float32 differs, float64 does not) or "differed";
        "float64" holds the result of double precision, or the reason why it was not computed.
    """
    n = loop.count(samples)
    rows = np.sort(np.random.default_rng(seed).choice(n, min(CHECKED, n), replace=False))[::-1].copy()
    first = _columns(swept)

    def scores(rows: np.ndarray, precision: str, batch_size: int) -> Tensor:
        subset, options = Subset(samples, rows.tolist()), {"precision": precision, "batch_size": batch_size}
        return _columns(sweep(model, subset, directions=directions, sketch=0, loss=loss, **options))

    began = perf_counter()
    again = scores(rows, precision, OTHER_BATCH)
    seconds_per_row = (perf_counter() - began) / max(1, len(rows))
    differences = _differences(again, first[rows], first)
    off = float(np.max(differences, initial=0.0))  # max() would drop a NaN
    state = "agreed" if off <= WITHIN[precision] else "differed"  # NaN differs
    double: dict[str, Any] = {"state": "not needed: the run itself is in float64"}
    if precision == "bfloat16":
        double = {"state": "not checked: the run was compared with float32 before it began"}
    elif precision == "float32" and loop.home(model)[0].type == "mps":
        double = {"state": "not checked: this device has no float64"}
    elif precision == "float32":
        worst = rows[np.argsort(-differences, kind="stable")[:DOUBLE_ROWS]]
        double = _in_double(scores, worst, first, seconds_per_row, decide=state == "differed")
        state = "rounding" if state == "differed" and double.get("repeats") else state
    facts = {
        "state": state,
        "samples": len(rows),
        "largest_difference": off,
        "tolerance": WITHIN[precision],
        "float64": double,
    }
    return {**facts, "sentence": _sentence(facts)}


def _in_double(
    scores: Scores, rows: np.ndarray, first: Tensor, seconds_per_row: float, *, decide: bool
) -> dict[str, Any]:
    """Score the rows again in float64; with `decide` in two batch sizes and orders.

    Without the compiled loops: compiling them for float64 takes 15 s if no sweep has done so yet, and the result would
    share their mistakes.
    """
    expected = SLOWER * seconds_per_row * len(rows) * (2 if decide else 1)
    if expected > CHEAP:
        return {"state": f"not checked: it would take about {expected:.0f} s"}
    with uncompiled():
        truth = scores(rows, "float64", DOUBLE_ROWS)
    near = first[rows].double()
    facts = {
        "state": "checked",
        "samples": len(rows),
        "largest_difference": float(_differences(near, truth, first).max()),
        "rank_agreement": float(min(rank_correlation(*pair) for pair in zip(near.T, truth.T, strict=True))),
    }
    if decide:
        with uncompiled():
            turned = scores(rows[::-1], "float64", OTHER_BATCH).flip(0)
        facts["repeats"] = bool(_differences(turned, truth, first).max() <= WITHIN["float64"])
    return facts


def _columns(swept: Sweep) -> Tensor:
    return torch.cat([swept.grad_norms[:, None], swept.products], 1)


def _differences(again: Tensor, first: Tensor, whole: Tensor) -> np.ndarray:
    """Largest |difference| of each row, (r, columns) -> (r,), as a share of the column's largest |value| in `whole`."""
    reach = whole.abs().amax(0).clamp_min(1e-30)
    return ((again - first).abs() / reach).amax(1).numpy()


def _sentence(facts: dict[str, Any]) -> str:
    """The check and its outcome in plain words."""
    off, most = facts["largest_difference"], facts["tolerance"]
    measured = f"(largest difference {off:.1g} of the largest score; at most {most:g} is expected)"
    ends = {
        "agreed": f"agreed {measured}.",
        "rounding": f"differed {measured}. In float64 they repeat to nine digits, so samples do not mix: rounding "
        "switched units that stand at the kink of a ReLU. Analyse with precision float64 if single samples matter.",
        "differed": f"differed {measured}.",
    }
    head = (
        f"{facts['samples']} samples were scored again in another order and batch size: norms and influences "
    )
    return head + ends[facts["state"]] + _double_sentence(facts["float64"])


def _double_sentence(double: dict[str, Any]) -> str:
    if double["state"] != "checked":
        return ""
    if double.get("repeats") is False:
        return " They differ in float64 too: a score depends on the rest of its batch, so do not trust single scores."
    return (
        f" In float64, {double['samples']} of them differ by at most {double['largest_difference']:.1g}, with a rank "
        f"agreement of {double['rank_agreement']:.3f}."
    )
