"""How much worse does a model serve one group than another, and which samples widen that gap?

    equal opportunity    gap in mean loss among samples whose label is the positive class
    demographic parity   gap in mean predicted probability of the positive class, over all samples
    equalized odds       gaps in mean probability of the positive class among samples with and without that label,
                         averaged (soft true and false positive rates)

The value is always the SIZE of the gap: largest minus smallest group mean, for two groups |difference|. The released
code uses the signed difference, whose influence pushes a negative gap further away from zero. Two classes: the last
one is positive unless another is named. More: one named class against the rest, or the macro form, the mean of the
gaps of all classes. Sources: Yang, Yue, Chen, Liu, TMLR 2026 (arXiv 2405.17490); Hardt, Price, Srebro, NeurIPS 2016.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from influence_core.errors import ObjectiveError
from influence_core.objectives.groups.group_means import cell_means, indicator
from influence_core.objectives.groups.membership import FEWEST, Membership, membership
from influence_core.objectives.held_out import HeldOut
from influence_core.objectives.objective import Objective
from influence_core.objectives.seen import Seen

KINDS = {
    "equal_opportunity": "equal opportunity",
    "demographic_parity": "demographic parity",
    "equalized_odds": "equalized odds",
}


@dataclass(frozen=True)
class Design:
    """Which held-out samples are compared with which: one comparison per positive class and condition."""

    membership: Membership
    targets: tuple[int, ...]
    """Positive classes, one reading each (for equal opportunity one reading serves all)."""
    masks: np.ndarray
    """(comparisons, m) bool: who takes part."""
    columns: tuple[int, ...]
    """Which reading each comparison looks at."""
    allowed: np.ndarray
    """(comparisons, groups) bool: groups large enough there."""
    strata: np.ndarray
    """(m,) samples that may swap groups in a permutation test: those of the same label, or all."""

    @cached_property
    def inside(self) -> Tensor:
        """(m, comparisons * groups): 1 where a sample counts for a group in a comparison."""
        codes, groups = self.membership.codes, len(self.membership.names)
        taking_part = self.masks & (codes >= 0) & self.allowed[:, codes]
        rows = [indicator(torch.from_numpy(np.where(mask, codes, -1)), groups) for mask in taking_part]
        return torch.cat(rows, dim=1)


@dataclass(frozen=True)
class Gap(Objective):
    """The size of a gap between groups; `label` names the positive class, None for the default or the macro form."""

    column: str
    kind: str = "equal_opportunity"
    label: str | None = None
    design: Design | None = None
    classes: tuple[str, ...] = ()
    pairs: tuple[tuple[int, int], ...] | None = None
    """The group with the largest and the smallest mean of each comparison, held fixed; None: whichever they are."""
    width: int = 1
    notes: tuple[str, ...] = ()
    gap: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ObjectiveError(f"'{self.kind}' is no kind of fairness; expected one of {', '.join(KINDS)}.")

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        kind = "" if self.kind == "equal_opportunity" else f"_{self.kind}"
        return f"fairness_{self.column}{kind}" + ("" if self.label is None else f"_{self.label}")

    @property
    def title(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        what = {
            "equal_opportunity": "loss",
            "demographic_parity": "predicted share",
            "equalized_odds": "true and false positive rates",
        }[self.kind]
        return f"the {self.column} gap in {what} {self._of_what()}"

    @property
    def unit(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "loss" if self.kind == "equal_opportunity" else "probability"

    def _of_what(self) -> str:
        """'of class >50K (equal opportunity)', and which form it takes with more than two classes."""
        of = "on class" if self.kind == "equal_opportunity" else "of class"
        if self.design is not None and len(self.design.targets) > 1:
            return f"{of}es, averaged over all {len(self.design.targets)} ({KINDS[self.kind]}, macro form)"
        if self.design is None and self.label is None:
            return f"({KINDS[self.kind]})"
        label = self.label if self.design is None else self.classes[next(iter(self.design.targets))]
        rest = ", one class against the rest" if len(self.classes) > 2 else ""
        return f"{of} {label} ({KINDS[self.kind]}{rest})"

    def bound(self, held: HeldOut) -> Self:
        among = membership(held, self.column)
        targets = self._targets(held)
        design, notes = _designed(self.kind, among, held, targets, self.column)
        width = 1 if self.kind == "equal_opportunity" else len(targets)
        return replace(self, design=design, classes=held.classes, width=width, notes=(*among.notes, *notes))

    def _targets(self, held: HeldOut) -> tuple[int, ...]:
        if len(held.classes) < 2:
            raise ObjectiveError(
                f"'{self.name}' compares how groups fare on classes, but {len(held.classes)} classes are named. "
                "Give the model or the samples `classes`, in the order of the model's outputs."
            )
        if self.label is None:
            return (1,) if len(held.classes) == 2 else tuple(range(len(held.classes)))
        if self.label not in held.classes:
            raise ObjectiveError(
                f"There is no class '{self.label}' for fairness; the classes are {', '.join(held.classes[:12])}."
            )
        return (held.classes.index(self.label),)

    def readings(self, seen: Seen) -> Tensor:
        if self.kind == "equal_opportunity":
            return seen.losses
        return torch.softmax(seen.outputs, dim=1)[:, list(self._bound.targets)]

    def decided(self, seen: Seen) -> Tensor:
        predicted = seen.outputs.argmax(1)
        if self.kind == "equal_opportunity":
            return (predicted != seen.labels).to(seen.outputs)
        targets = torch.tensor(self._bound.targets, device=predicted.device)
        return (predicted[:, None] == targets).to(seen.outputs)

    def value(self, readings: Tensor, weights: Tensor) -> Tensor:
        means = self._means(readings, weights)
        if self.pairs is not None:
            rows, (high, low) = torch.arange(means.shape[-2]), torch.tensor(self.pairs).T
            return (means[..., rows, high] - means[..., rows, low]).mean(-1)
        absent = means.isnan()
        largest = means.masked_fill(absent, -torch.inf).amax(-1)
        return (largest - means.masked_fill(absent, torch.inf).amin(-1)).mean(-1)

    def fixed(self, readings: Tensor) -> Self:
        means = self._means(readings, torch.ones(len(readings)).to(readings)).detach().cpu().numpy()
        pairs = tuple((int(np.nanargmax(row)), int(np.nanargmin(row))) for row in means)
        return replace(self, pairs=pairs)

    @property
    def strata(self) -> Tensor:
        return torch.from_numpy(np.where(self._bound.membership.codes < 0, -1, self._bound.strata))

    def words(self, readings: Tensor) -> dict[str, Any]:
        """Each group's mean over the comparisons it takes part in, and who is at the ends."""
        means = self._means(readings, torch.ones(len(readings)).to(readings)).cpu().numpy()
        ours = [column[~np.isnan(column)] for column in means.T]
        groups = {
            name: float(np.mean(values))
            for name, values in zip(self._bound.membership.names, ours, strict=True)
            if len(values)
        }
        ends = {
            "highest": max(groups, key=lambda g: groups[g]),
            "lowest": min(groups, key=lambda g: groups[g]),
        }
        form = {"positive": [self.classes[target] for target in self._bound.targets], "kind": self.kind}
        return {"column": self.column, "groups": groups, **ends, **form}

    def _means(self, readings: Tensor, weights: Tensor) -> Tensor:
        """Group means (..., comparisons, groups); NaN where a group takes no part."""
        design, groups = self._bound, len(self._bound.membership.names)
        values = readings[:, [column for column in design.columns for _ in range(groups)]]
        means = cell_means(values, design.inside.to(readings.device), weights)
        return means.unflatten(-1, (len(design.columns), groups))

    @property
    def _bound(self) -> Design:
        assert self.design is not None, "bound() comes first"
        return self.design


def _designed(
    kind: str, among: Membership, held: HeldOut, targets: tuple[int, ...], column: str
) -> tuple[Design, list[str]]:
    """Who is compared on what; groups too small for a comparison are left out of it, and said."""
    labels, everyone = held.labels, np.ones(len(held), dtype=bool)
    asked: list[tuple[np.ndarray, int, str]] = []
    for place, target in enumerate(targets):
        own, name = labels == target, held.classes[target]
        if kind == "equal_opportunity":
            asked.append((own, 0, f"labelled {name}"))
        elif kind == "demographic_parity":
            asked.append((everyone, place, ""))
        else:
            asked += [(own, place, f"labelled {name}"), (~own, place, f"labelled other than {name}")]
    kept, notes = [], []
    for mask, place, words in asked:
        counts = np.bincount(among.codes[mask & (among.codes >= 0)], minlength=len(among.names))
        allowed = counts >= FEWEST
        if not allowed.all():
            few = ", ".join(f"'{among.names[g]}' {counts[g]}" for g in np.flatnonzero(~allowed)[:5])
            notes.append(
                f"Too few validation samples {words} in some groups of '{column}' ({few}; {FEWEST} are needed): they "
                "are left out of that comparison."
            )
        if allowed.sum() >= 2:
            kept.append((mask, place, allowed))
    if not kept:
        raise ObjectiveError(
            " ".join([*notes, "Fewer than two groups remain, so there is no gap to measure."])
        )
    strata = np.zeros(len(held), dtype=np.int64) if kind == "demographic_parity" else labels
    masks, columns, allowances = zip(*kept, strict=True)
    return Design(among, targets, np.stack(masks), tuple(columns), np.stack(allowances), strata), notes
