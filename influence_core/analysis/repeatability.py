"""Do the numbers repeat? A sample of a run scored again under another batch size and order, and in double precision.

A score belongs to one sample; if it moves with its companions in a batch, it is noise or the model mixes samples. To
tell these apart, float64 decides: rounding shrinks there by nine digits, mixing does not. Rounding can show in float32
when a unit stands on the kink of a ReLU: another order of additions turns it on or off, and with it a part of the
gradient that is large beside all other rounding.

    largest difference = max over samples and columns of |again - first| / max over the run of |first|
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from influence_core.engine import batches as loop
from influence_core.engine.directions import Direction
from influence_core.engine.kernels.availability import uncompiled
from influence_core.engine.losses import Loss
from influence_core.engine.result import Sweep
from influence_core.engine.sweep import sweep

CHECKED = 64
OTHER_BATCH = 7
WITHIN = {"float32": 1e-4, "float64": 1e-9, "bfloat16": 5e-2}
"""Largest difference that rounding explains, as a share of the largest score."""
DOUBLE_ROWS = 16
CHEAP = 2.0
"""Seconds that the check in float64 may be expected to take."""
SLOWER = 3.0
"""Times that float64 takes as long as float32: twice the bytes, and half the numbers a vector register holds."""


@dataclass(frozen=True, slots=True)
class _Scorer:
    """Scores chosen rows of a run again."""

    model: nn.Module
    samples: Dataset
    directions: Sequence[Direction]
    loss: str | Loss

    def scores(self, rows: np.ndarray, precision: str, batch_size: int) -> Tensor:
        """Norms and products (r, 1 + k) of these rows, in this order."""
        chosen = Subset(self.samples, rows.tolist())
        return _columns(
            sweep(
                self.model,
                chosen,
                directions=self.directions,
                sketch=0,
                loss=self.loss,
                precision=precision,
                batch_size=batch_size,
            )
        )


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
    """Score 64 samples again, in reverse order and batches of 7, and 16 of them in float64 where that is cheap.

    Returns:
        Facts and a sentence: "state" is "agreed", "rounding" (float32 differs, float64 does not) or "differed";
        "float64" holds what double precision said, or why it was not asked.
    """
    n = loop.count(samples)
    rows = np.random.default_rng(seed).choice(n, min(CHECKED, n), replace=False)
    rows = np.sort(rows)[::-1].copy()
    scorer = _Scorer(model, samples, directions, loss)
    first = _columns(swept)
    began = perf_counter()
    again = scorer.scores(rows, precision, OTHER_BATCH)
    each = (perf_counter() - began) / max(1, len(rows))
    differences = _differences(again, first[rows], first)
    off = float(np.max(differences, initial=0.0))  # max() would drop a NaN
    state = "agreed" if off <= WITHIN[precision] else "differed"  # NaN differs
    double: dict[str, Any] = {"state": "not needed: the run itself is in float64"}
    if precision == "bfloat16":
        double = {"state": "not checked: the run was compared with float32 before it began"}
    if precision == "float32":
        double = _in_double(scorer, rows, differences, first, each, decide=state == "differed")
        state = "rounding" if state == "differed" and double.get("repeats") else state
    found = {
        "state": state,
        "samples": len(rows),
        "largest_difference": off,
        "tolerance": WITHIN[precision],
        "float64": double,
    }
    return {**found, "sentence": _sentence(found)}


def _in_double(
    scorer: _Scorer, rows: np.ndarray, differences: np.ndarray, first: Tensor, each: float, *, decide: bool
) -> dict[str, Any]:
    """Rows that differed most, scored in float64; to decide what a difference is, in two batch sizes and orders.

    Without the compiled loops: to compile them for float64 takes 15 s where no sweep has needed it yet, and the
    answer would share their mistakes.
    """
    if loop.home(scorer.model)[0].type == "mps":
        return {"state": "not checked: this device has no float64"}
    order = np.argsort(-differences, kind="stable")[:DOUBLE_ROWS]
    expected = SLOWER * each * len(order) * (2 if decide else 1)
    if expected > CHEAP:
        return {"state": f"not checked: it would take about {expected:.0f} s"}
    with uncompiled():
        truth = scorer.scores(rows[order], "float64", DOUBLE_ROWS)
    near = first[rows[order]].double()
    found = {
        "state": "checked",
        "samples": len(order),
        "largest_difference": float(_differences(near, truth, first).max()),
        "rank_agreement": float(min(_rank_agreement(*pair) for pair in zip(near.T, truth.T, strict=True))),
    }
    if decide:
        with uncompiled():
            turned = scorer.scores(rows[order][::-1], "float64", OTHER_BATCH).flip(0)
        found["repeats"] = bool(_differences(turned, truth, first).max() <= WITHIN["float64"])
    return found


def _columns(swept: Sweep) -> Tensor:
    return torch.cat([swept.grad_norms[:, None], swept.products], 1)


def _differences(again: Tensor, first: Tensor, whole: Tensor) -> np.ndarray:
    """Largest |difference| of each row (r, columns), as a share of the largest |value| of that column in `whole`."""
    reach = whole.abs().amax(0).clamp_min(1e-30)
    return ((again - first).abs() / reach).amax(1).numpy()


def _rank_agreement(some: Tensor, others: Tensor) -> float:
    """Spearman's correlation; 1 for fewer than two rows, or where all are the same."""
    ranks = [values.argsort().argsort().double() for values in (some, others)]
    if len(some) < 2 or torch.equal(*ranks):
        return 1.0
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def _sentence(found: dict[str, Any]) -> str:
    """What was repeated and what came out, in words a person can judge."""
    off, most = found["largest_difference"], found["tolerance"]
    measured = f"(largest difference {off:.1g} of the largest score; at most {most:g} is expected)"
    head = (
        f"{found['samples']} samples were scored again in another order and batch size: norms and influences "
    )
    ends = {
        "agreed": f"agreed {measured}.",
        "rounding": f"differed {measured}. In float64 they repeat to nine digits, so samples do not mix: rounding "
        "turned over units that stand at the kink of a ReLU. Analyse with precision float64 if single samples matter.",
        "differed": f"differed {measured}.",
    }
    return head + ends[found["state"]] + _double_sentence(found["float64"])


def _double_sentence(double: dict[str, Any]) -> str:
    if double["state"] != "checked":
        return ""
    if double.get("repeats") is False:
        return " They differ in float64 too: a sample's score depends on its companions, so do not trust single scores."
    return (
        f" In float64, {double['samples']} of them differ by at most {double['largest_difference']:.1g}, with a rank "
        f"agreement of {double['rank_agreement']:.3f}."
    )
