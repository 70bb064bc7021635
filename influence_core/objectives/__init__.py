"""Objectives: scalars of the model and held-out samples; the gradient of each is a direction of the ONE sweep.

objective.py            the base class: readings of single samples, and one number computed from all of them
held_out.py             the held-out samples: labels, groups, classes; a batch with the model's outputs and losses
utility.py              mean loss, and mean loss of one class
margin.py               one prediction: the lead of one class over another
custom.py               a user's own function
names.py                "fairness:sex:demographic_parity" -> objectives
gradients.py            the gradient, from ordinary batches
significance.py         bootstrap interval and permutation test: whether a gap exists
groups/gaps.py          fairness: equal opportunity, demographic parity, equalized odds, as the SIZE of a gap
groups/worst_group.py   fairness: the mean loss of the group with the largest loss
groups/membership.py    the group of each held-out sample, means of groups, and faults of a group column
perturbed/robustness.py   loss under attack (attacks.py), corruption (corruptions.py) or a linear head's closed step
perturbed/input_space.py  the range and unit in which an input may be changed
"""

from influence_core.objectives.custom import Own
from influence_core.objectives.gradients import Measured, bind, measured, measured_all, objective_gradient
from influence_core.objectives.groups.gaps import Gap
from influence_core.objectives.groups.worst_group import WorstGroup
from influence_core.objectives.held_out import HeldOut, HeldOutBatch
from influence_core.objectives.margin import Margin
from influence_core.objectives.names import objective_by_name, resolved
from influence_core.objectives.objective import Objective
from influence_core.objectives.perturbed.robustness import ROBUSTNESS, Adversarial, Corrupted, LinearStep
from influence_core.objectives.significance import judged
from influence_core.objectives.utility import ClassUtility, Utility

__all__ = [
    "ROBUSTNESS",
    "Adversarial",
    "ClassUtility",
    "Corrupted",
    "Gap",
    "HeldOut",
    "HeldOutBatch",
    "LinearStep",
    "Margin",
    "Measured",
    "Objective",
    "Own",
    "Utility",
    "WorstGroup",
    "bind",
    "judged",
    "measured",
    "measured_all",
    "objective_by_name",
    "objective_gradient",
    "resolved",
]
