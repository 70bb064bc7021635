"""Names of objectives, and the objectives they stand for.

    utility                              mean validation loss
    utility:class                        one objective a class;  utility:class:shirt  that one alone
    fairness:sex                         equal opportunity between the groups of the column `sex`
    fairness:sex:demographic_parity      or equalized_odds, worst_group, equal_opportunity
    fairness:sex:equalized_odds:>50K     with the positive class by name
    robustness                           mean loss under PGD attack; also :fgsm, :pgd (with a strength), :linear
    robustness:corruption                or one of them, robustness:corruption:blur

Another family is another function in FAMILIES. An Objective passes through; a plain function becomes `Own`.
"""

from collections.abc import Callable, Sequence

from influence_core.errors import InfluenceError
from influence_core.objectives.custom import Function, Own
from influence_core.objectives.groups.gaps import KINDS, Gap
from influence_core.objectives.groups.worst_group import WorstGroup
from influence_core.objectives.objective import Objective
from influence_core.objectives.perturbed.corruptions import CORRUPTIONS
from influence_core.objectives.perturbed.robustness import Adversarial, Corrupted, LinearStep
from influence_core.objectives.utility import ClassUtility, Utility

Family = Callable[[list[str], tuple[str, ...]], list[Objective]]
"""(the parts after the first colon, class names) -> objectives; raises ValueError with what it expects."""


def _utility(parts: list[str], classes: tuple[str, ...]) -> list[Objective]:
    if not parts:
        return [Utility()]
    if parts[0] != "class":
        raise ValueError("utility, utility:class or utility:class:NAME")
    if len(parts) > 1:
        return [ClassUtility(":".join(parts[1:]))]
    if not classes:
        raise ValueError(
            "class names; give the model or the samples `classes`, or ask for utility:class:NAME"
        )
    return [ClassUtility(name) for name in classes]


def _fairness(parts: list[str], classes: tuple[str, ...]) -> list[Objective]:
    kinds = (*KINDS, "worst_group")
    if not parts or not parts[0] or (len(parts) > 1 and parts[1] not in kinds):
        raise ValueError(f"fairness:COLUMN or fairness:COLUMN:KIND with KIND one of {', '.join(kinds)}")
    if parts[1:] == ["worst_group"]:
        return [WorstGroup(parts[0])]
    label = ":".join(parts[2:]) or None
    return [Gap(parts[0], *parts[1:2], label=label)]


def _robustness(parts: list[str], classes: tuple[str, ...]) -> list[Objective]:
    match parts:
        case []:
            return [Adversarial()]
        case ["fgsm" | "pgd" as kind, *strength] if len(strength) <= 1:
            return [Adversarial(kind, *map(_strength, strength), name="_".join(["robustness", *parts]))]
        case ["linear"]:
            return [LinearStep()]
        case ["corruption", *kind] if not kind or (len(kind) == 1 and kind[0] in CORRUPTIONS):
            return [Corrupted(*kind, name="_".join(["robustness", *parts]))]
    raise ValueError(
        "robustness, robustness:fgsm, robustness:pgd (both with a strength, as in robustness:pgd:0.05), "
        f"robustness:linear or robustness:corruption:KIND with KIND one of {', '.join(CORRUPTIONS)}"
    )


def _strength(text: str) -> float:
    try:
        strength = float(text)
    except ValueError:
        strength = -1.0
    if not 0 < strength < 100:
        raise ValueError(f"a strength above zero, such as 0.03, not '{text}'")
    return strength


FAMILIES: dict[str, Family] = {"utility": _utility, "fairness": _fairness, "robustness": _robustness}


def resolved(
    objectives: Sequence[str | Objective | Function], classes: Sequence[str] = ()
) -> tuple[Objective, ...]:
    """All requested objectives, in order, each once.

    Raises:
        InfluenceError: an unknown name, or two objectives with the same name.
    """
    all_objectives = [one for request in objectives for one in _objectives_for(request, tuple(classes))]
    names = [objective.name for objective in all_objectives]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InfluenceError(
            f"Two objectives are called {', '.join(twice)}, and one column would overwrite the other. Ask for each "
            "once, or give your own another name."
        )
    return tuple(all_objectives)


def objective_by_name(objective: str | Objective | Function) -> Objective:
    """The single objective of a name.

    Raises:
        InfluenceError: an unknown name, or one that stands for several objectives.
    """
    matches = _objectives_for(objective, ())
    if len(matches) != 1:
        raise InfluenceError(f"'{objective}' stands for {len(matches)} objectives; name one of them.")
    return matches[0]


def _objectives_for(request: str | Objective | Function, classes: tuple[str, ...]) -> list[Objective]:
    if isinstance(request, Objective):
        return [request]
    if callable(request):
        return [Own.of(request)]
    family, *parts = request.split(":")
    if family not in FAMILIES:
        raise InfluenceError(
            f"Objective '{request}' is not known; expected one of {', '.join(FAMILIES)}, an Objective or a function of "
            "(model, inputs, labels)."
        )
    try:
        return FAMILIES[family](parts, classes)
    except ValueError as error:
        raise InfluenceError(f"Objective '{request}' is not known; expected {error}.") from error
