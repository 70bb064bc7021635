"""Fairness gaps: how much worse a model serves one group than another.

    equal opportunity    gap in mean loss among samples whose label is the positive class
    demographic parity   gap in mean predicted probability of the positive class, over all samples
    equalized odds       gaps in mean probability of the positive class among samples with and without that label,
                         averaged (soft true and false positive rates)

The value is always the SIZE of the gap: largest minus smallest group mean, for two groups |difference|. The released
code uses the signed difference, whose influence pushes a negative gap further away from zero. Two classes: the last one
is positive unless another is named. More: one named class against the rest, or the macro form, the mean of the gaps of
all classes. Sources: Yang, Yue, Chen, Liu, TMLR 2026 (arXiv 2405.17490); Hardt, Price, Srebro, NeurIPS 2016.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from influence_core.errors import ObjectiveError
from influence_core.objectives.groups.membership import FEWEST, Membership, cell_means, indicator, membership
from influence_core.objectives.held_out import HeldOut, HeldOutBatch
from influence_core.objectives.objective import Objective

KINDS = {
    "equal_opportunity": "equal opportunity",
    "demographic_parity": "demographic parity",
    "equalized_odds": "equalized odds",
}


@dataclass(frozen=True)
class Design:
    """The comparisons of held-out samples: one per positive class and condition."""

    membership: Membership
    targets: tuple[int, ...]
    """Positive classes, one reading each (for equal opportunity one reading serves all)."""
    masks: np.ndarray
    """(comparisons, m) bool: the samples that take part."""
    columns: tuple[int, ...]
    """The reading that each comparison uses."""
    allowed: np.ndarray
    """(comparisons, groups) bool: the groups that are large enough in a comparison."""
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
    """The groups with the largest and the smallest mean of each comparison, if fixed; None: by the readings."""
    width: int = 1
    notes: tuple[str, ...] = ()
    gap: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ObjectiveError(
                f"'{self.kind}' is no kind of fairness gap; expected one of {', '.join(KINDS)}."
            )

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        kind = "" if self.kind == "equal_opportunity" else f"_{self.kind}"
        return f"fairness_{self.column}{kind}" + ("" if self.label is None else f"_{self.label}")

    @property
    def title(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        quantity = {
            "equal_opportunity": "loss",
            "demographic_parity": "predicted share",
            "equalized_odds": "true and false positive rates",
        }[self.kind]
        return f"the {self.column} gap in {quantity} {self._class_words()}"

    @property
    def unit(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "loss" if self.kind == "equal_opportunity" else "probability"

    def _class_words(self) -> str:
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
        groups = membership(held, self.column)
        targets = self._targets(held)
        design, notes = _designed(self.kind, groups, held, targets, self.column)
        width = 1 if self.kind == "equal_opportunity" else len(targets)
        return replace(self, design=design, classes=held.classes, width=width, notes=(*groups.notes, *notes))

    def _targets(self, held_out: HeldOut) -> tuple[int, ...]:
        if len(held_out.classes) < 2:
            raise ObjectiveError(
                f"'{self.name}' compares how groups fare on classes, but {len(held_out.classes)} classes are named. "
                "Give the model or the samples `classes`, in the order of the model's outputs."
            )
        if self.label is None:
            return (1,) if len(held_out.classes) == 2 else tuple(range(len(held_out.classes)))
        if self.label not in held_out.classes:
            raise ObjectiveError(
                f"There is no class '{self.label}' for fairness; the classes are {', '.join(held_out.classes[:12])}."
            )
        return (held_out.classes.index(self.label),)

    def readings(self, batch: HeldOutBatch) -> Tensor:
        if self.kind == "equal_opportunity":
            return batch.losses
        return torch.softmax(batch.outputs, dim=1)[:, list(self._bound.targets)]

    def decided(self, batch: HeldOutBatch) -> Tensor:
        predicted = batch.outputs.argmax(1)
        if self.kind == "equal_opportunity":
            return (predicted != batch.classes).to(batch.outputs)
        targets = torch.tensor(self._bound.targets, device=predicted.device)
        return (predicted[:, None] == targets).to(batch.outputs)

    def value(self, readings: Tensor, weights: Tensor) -> Tensor:
        means = self._means(readings, weights)
        if self.pairs is not None:
            rows, (high, low) = torch.arange(means.shape[-2]), torch.tensor(self.pairs).T
            return (means[..., rows, high] - means[..., rows, low]).mean(-1)
        absent = means.isnan()
        largest = means.masked_fill(absent, -torch.inf).amax(-1)
        return (largest - means.masked_fill(absent, torch.inf).amin(-1)).mean(-1)

    def fixed(self, readings: Tensor) -> Self:
        means = self._means(readings, readings.new_ones(len(readings))).detach().cpu().numpy()
        pairs = tuple((int(np.nanargmax(row)), int(np.nanargmin(row))) for row in means)
        return replace(self, pairs=pairs)

    @property
    def strata(self) -> Tensor:
        return torch.from_numpy(np.where(self._bound.membership.codes < 0, -1, self._bound.strata))

    def words(self, readings: Tensor) -> dict[str, Any]:
        """Each group's mean over the comparisons it takes part in, and the groups with the highest and lowest mean."""
        means = self._means(readings, readings.new_ones(len(readings))).cpu().numpy()
        by_group = [column[~np.isnan(column)] for column in means.T]
        groups = {
            name: float(np.mean(values))
            for name, values in zip(self._bound.membership.names, by_group, strict=True)
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
    kind: str, groups: Membership, held_out: HeldOut, targets: tuple[int, ...], column: str
) -> tuple[Design, list[str]]:
    """The comparisons of a gap; groups too small for a comparison are left out of it and listed in the notes."""
    labels, everyone = held_out.labels, np.ones(len(held_out), dtype=bool)
    requested: list[tuple[np.ndarray, int, str]] = []
    for reading, target in enumerate(targets):
        in_class, name = labels == target, held_out.classes[target]
        inside, outside = f"labelled {name}", f"labelled other than {name}"
        requested += {
            "equal_opportunity": [(in_class, 0, inside)],
            "demographic_parity": [(everyone, reading, "")],
            "equalized_odds": [(in_class, reading, inside), (~in_class, reading, outside)],
        }[kind]
    kept, notes = [], []
    for mask, reading, where in requested:
        counts = np.bincount(groups.codes[mask & (groups.codes >= 0)], minlength=len(groups.names))
        allowed = counts >= FEWEST
        if not allowed.all():
            few = ", ".join(f"'{groups.names[g]}' {counts[g]}" for g in np.flatnonzero(~allowed)[:5])
            notes.append(
                f"Too few validation samples {where} in some groups of '{column}' ({few}; {FEWEST} are needed): they "
                "are left out of that comparison."
            )
        if allowed.sum() >= 2:
            kept.append((mask, reading, allowed))
    if not kept:
        raise ObjectiveError(
            " ".join([*notes, "Fewer than two groups remain, so there is no gap to measure."])
        )
    strata = np.zeros(len(held_out), dtype=np.int64) if kind == "demographic_parity" else labels
    masks, columns, allowances = zip(*kept, strict=True)
    return Design(groups, targets, np.stack(masks), tuple(columns), np.stack(allowances), strata), notes
