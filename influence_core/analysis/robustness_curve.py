"""Robustness curve: accuracy under attacks of growing strength and under natural corruptions.

Every sample is attacked on THIS model at each strength (attacks.py). Attacks on the model before a repair would make
the repaired one look more robust than it is. Accuracies have 95 % Wilson intervals. A few adversarial examples are kept
for display.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from influence_core.analysis.adversarial_examples import Examples
from influence_core.data import Samples
from influence_core.engine import batches as loop
from influence_core.engine.losses import Loss, loss_by_name
from influence_core.engine.watching.watch import scoring
from influence_core.judging.intervals import share
from influence_core.objectives.held_out import HeldOutBatch
from influence_core.objectives.perturbed.attacks import STEPS, attacked
from influence_core.objectives.perturbed.corruptions import corrupted, kinds
from influence_core.objectives.perturbed.input_space import input_space

ROWS = 400
"""Largest number of attacked held-out samples: an accuracy of 0.8 is then known to within 4 points."""
TIMES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Strengths of the curve, as multiples of the usual one."""
EXAMPLES = 12
BATCH = 64


def robustness(
    model: nn.Module,
    samples: Dataset,
    *,
    loss: str | Loss = "cross_entropy",
    rows: int = ROWS,
    seed: int = 0,
    strengths: Sequence[float] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, Any], Examples]:
    """Measure accuracy under attack and corruption on up to `rows` samples, drawn with the seed.

    Returns:
        {"unit", "pictures", "usual", "samples", "clean": {value, low, high}, "attacks": {"fgsm": [{strength, value,
        low, high}], "pgd": ...}, "corruptions": {kind: {value, low, high}}}, values are accuracies; and the Examples.

    Raises:
        ObjectiveError: inputs that are not one tensor of floating numbers.
    """
    function, n = loss_by_name(loss), loop.count(samples)
    positions = np.sort(np.random.default_rng(seed).permutation(n)[:rows])
    space = input_space(model, samples)
    levels = [space.usual * times for times in TIMES] if strengths is None else list(strengths)
    tries = [(kind, level) for kind in STEPS for level in levels]
    total = sum(STEPS[kind] for kind, _ in tries) + len(kinds(space)) + 1
    few = samples.select(positions) if isinstance(samples, Samples) else Subset(samples, positions.tolist())
    done = 0

    def report(steps: int) -> None:
        nonlocal done
        done += steps
        on_progress(done, total)

    with scoring(model):
        index = torch.from_numpy(positions)
        parts = [
            HeldOutBatch(model, batch.inputs, batch.labels, index[batch.start : batch.stop], function)
            for batch in loop.batches(few, BATCH, like=model)
        ]
        labels = torch.cat([part.classes for part in parts]).cpu()
        clean = _predicted(parts, [part.inputs for part in parts])
        report(1)
        attacks: dict[str, list[dict[str, float]]] = {kind: [] for kind in STEPS}
        broken: dict[int, tuple[float, Tensor, int]] = {}
        for kind, level in tries:
            changed = [attacked(part, space, kind, level) for part in parts]
            predicted = _predicted(parts, changed)
            attacks[kind].append({"strength": level, **_share(predicted == labels)})
            if kind == "pgd":
                _keep(broken, torch.cat(changed), predicted, (clean == labels) & (predicted != labels), level)
            report(STEPS[kind])
        natural = {}
        for kind in kinds(space):
            changed = [corrupted(part.inputs, part.rows, space, kind) for part in parts]
            natural[kind] = _share(_predicted(parts, changed) == labels)
            report(1)
    facts = {
        "unit": space.words,
        "pictures": space.pictures,
        "usual": space.usual,
        "samples": len(positions),
        "clean": _share(clean == labels),
        "attacks": attacks,
        "corruptions": natural,
    }
    return facts, _examples(broken, parts, positions, clean)


def _predicted(parts: list[HeldOutBatch], inputs: list[Tensor]) -> Tensor:
    """Predicted classes (n,) of changed inputs, batch by batch."""
    with torch.no_grad():
        classes = [part.with_inputs(x).outputs.argmax(1).cpu() for part, x in zip(parts, inputs, strict=True)]
    return torch.cat(classes)


def _share(right: Tensor) -> dict[str, float]:
    return share(right.numpy()).to_json()


def _keep(
    broken: dict[int, tuple[float, Tensor, int]],
    inputs: Tensor,
    predicted: Tensor,
    fooled: Tensor,
    level: float,
) -> None:
    """Store the weakest attack that fooled the model, by place among the attacked samples."""
    for place in fooled.nonzero()[:, 0].tolist():
        if place not in broken and len(broken) < 8 * EXAMPLES:
            broken[place] = level, inputs[place].cpu(), int(predicted[place])


def _examples(
    broken: dict[int, tuple[float, Tensor, int]],
    parts: list[HeldOutBatch],
    positions: np.ndarray,
    clean: Tensor,
) -> Examples:
    """Up to EXAMPLES of them, spread evenly over the original classes, the weakest attack first."""
    weakest_first = sorted(broken, key=lambda place: (broken[place][0], place))
    seen, turn = Counter[int](), {}
    for place in weakest_first:
        turn[place] = seen[int(clean[place])]
        seen[int(clean[place])] += 1
    chosen = sorted(weakest_first, key=turn.__getitem__)[:EXAMPLES]
    shown = sorted(chosen, key=lambda place: broken[place][0])
    originals = torch.cat([part.inputs for part in parts]).cpu()
    inputs = torch.stack([broken[place][1] for place in shown]) if shown else originals[:0]
    return Examples(
        rows=positions[shown],
        original=originals[shown].numpy().astype(np.float32),
        attacked=inputs.numpy().astype(np.float32),
        before=clean[shown].numpy(),
        after=np.array([broken[place][2] for place in shown], dtype=int),
        strength=np.array([broken[place][0] for place in shown]),
    )
