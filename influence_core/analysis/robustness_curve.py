"""How does accuracy fall as inputs are changed more and more? Measured by attacking the model at hand, always anew.

For each strength every chosen sample is attacked on THIS model (attacks.py), so a repaired model is never judged by the
attacks on its predecessor, which would flatter it. Accuracies carry 95 % Wilson intervals; beside the attacks stand the
natural corruptions. A few adversarial examples are kept to be looked at.
"""

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
from influence_core.objectives.perturbed.attacks import STEPS, attacked
from influence_core.objectives.perturbed.corruptions import corrupted, kinds
from influence_core.objectives.perturbed.input_space import input_space
from influence_core.objectives.seen import Seen

ROWS = 400
"""Held-out samples that are attacked at most: an accuracy of 0.8 is then known to within 4 points."""
TIMES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Strengths of the curve, in units of the usual one."""
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
    """Accuracy under attack and corruption on up to `rows` samples, drawn with the seed, and examples.

    Returns:
        {"unit", "pictures", "usual", "samples", "clean": {value, low, high}, "attacks": {"fgsm": [{strength, value,
        low, high}], "pgd": ...}, "corruptions": {kind: {value, low, high}}}, values are accuracies; and the Examples.

    Raises:
        ObjectiveError: inputs that cannot be changed by a little.
    """
    function, n = loss_by_name(loss), loop.count(samples)
    chosen = np.sort(np.random.default_rng(seed).permutation(n)[:rows])
    space = input_space(model, samples)
    levels = [space.usual * times for times in TIMES] if strengths is None else list(strengths)
    tries = [(kind, level) for kind in STEPS for level in levels]
    total = sum(STEPS[kind] for kind, _ in tries) + len(kinds(space)) + 1
    few = samples.select(chosen) if isinstance(samples, Samples) else Subset(samples, chosen.tolist())
    done = 0

    def report(steps: int) -> None:
        nonlocal done
        done += steps
        on_progress(done, total)

    with scoring(model):
        seen = list(_all(model, few, chosen, function))
        labels = torch.cat([part.labels for part in seen]).cpu()
        clean = _predicted(seen, lambda part: part.inputs)
        report(1)
        attacks: dict[str, list[dict[str, float]]] = {kind: [] for kind in STEPS}
        broken: dict[int, tuple[float, Tensor, int]] = {}
        for kind, level in tries:
            changed = [attacked(part, space, kind, level) for part in seen]
            said = _predicted_of(seen, changed)
            attacks[kind].append({"strength": level, **_share(said == labels)})
            if kind == "pgd":
                _keep(broken, torch.cat(changed), said, (clean == labels) & (said != labels), level)
            report(STEPS[kind])
        natural = {}
        for kind in kinds(space):
            said = _predicted(seen, lambda part, kind=kind: corrupted(part.inputs, part.rows, space, kind))
            natural[kind] = _share(said == labels)
            report(1)
    facts = {
        "unit": space.words,
        "pictures": space.pictures,
        "usual": space.usual,
        "samples": len(chosen),
        "clean": _share(clean == labels),
        "attacks": attacks,
        "corruptions": natural,
    }
    return facts, _examples(broken, seen, chosen, clean)


def _all(model: nn.Module, few: Dataset, chosen: np.ndarray, loss: Loss) -> list[Seen]:
    positions = torch.from_numpy(chosen)
    return [
        Seen(model, batch.inputs, batch.labels, positions[batch.start : batch.stop], loss)
        for batch in loop.batches(few, BATCH, like=model)
    ]


def _predicted(seen: list[Seen], change: Callable[[Seen], Tensor]) -> Tensor:
    """Classes (n,) after a change of the inputs."""
    return _predicted_of(seen, [change(part) for part in seen])


def _predicted_of(seen: list[Seen], inputs: list[Tensor]) -> Tensor:
    with torch.no_grad():
        parts = [part.with_inputs(x).outputs.argmax(1).cpu() for part, x in zip(seen, inputs, strict=True)]
    return torch.cat(parts)


def _share(right: Tensor) -> dict[str, float]:
    return share(right.numpy()).to_json()


def _keep(
    broken: dict[int, tuple[float, Tensor, int]], inputs: Tensor, said: Tensor, fooled: Tensor, level: float
) -> None:
    """The weakest attack that fooled the model, for each place among the chosen samples."""
    for at in fooled.nonzero()[:, 0].tolist():
        if at not in broken and len(broken) < 8 * EXAMPLES:
            broken[at] = level, inputs[at].cpu(), int(said[at])


def _examples(
    broken: dict[int, tuple[float, Tensor, int]], seen: list[Seen], chosen: np.ndarray, clean: Tensor
) -> Examples:
    """Evenly spread over the original classes, the weakest attack first."""
    by_class: dict[int, int] = {}
    turn = {}
    for at in sorted(broken, key=lambda at: (broken[at][0], at)):
        number = int(clean[at])
        turn[at] = by_class[number] = by_class.get(number, -1) + 1
    kept = sorted(
        sorted(broken, key=lambda at: (turn[at], broken[at][0], at))[:EXAMPLES], key=lambda at: broken[at][0]
    )
    originals = torch.cat([part.inputs for part in seen]).cpu()
    nothing = originals[:0]
    return Examples(
        rows=chosen[kept],
        original=(originals[kept] if kept else nothing).numpy().astype(np.float32),
        attacked=(torch.stack([broken[at][1] for at in kept]) if kept else nothing)
        .numpy()
        .astype(np.float32),
        before=clean[kept].numpy() if kept else np.zeros(0, int),
        after=np.array([broken[at][2] for at in kept], dtype=int),
        strength=np.array([broken[at][0] for at in kept]),
    )
