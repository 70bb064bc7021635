"""Influence on what? Scalars of the model and held-out samples; each gradient is a direction of the ONE sweep.

objective.py   what every objective is: readings of single samples, and one number made of all of them
held_out.py    what an objective may look at before it is measured: labels, groups, classes
utility.py     mean loss, and mean loss of one class
gaps.py        fairness: equal opportunity, demographic parity, equalized odds, as the SIZE of a gap between groups
objectives/groups/worst_group.py fairness: the mean loss of the group that fares worst
robustness.py  loss under attack (attacks.py), corruption (corruptions.py) or the closed step of a linear head
objectives/perturbed/input_space.py the range and unit in which an input may be changed
objectives/groups/membership.py  which group is each held-out sample in, and what is wrong with the column
margin.py      one prediction: the lead of one class over another
custom.py         a function of one's own
names.py       "fairness:sex:demographic_parity" -> objectives
gradients.py   the gradient, from ordinary batches
significance.py      bootstrap interval and permutation test: is the gap there at all?
"""

from influence_core.objectives.custom import Own
from influence_core.objectives.gradients import Measured, bind, measured, measured_all, objective_gradient
from influence_core.objectives.groups.gaps import Gap
from influence_core.objectives.groups.worst_group import WorstGroup
from influence_core.objectives.held_out import HeldOut
from influence_core.objectives.margin import Margin
from influence_core.objectives.names import objective_by_name, resolved
from influence_core.objectives.objective import Objective
from influence_core.objectives.perturbed.robustness import ROBUSTNESS, Adversarial, Corrupted, LinearStep
from influence_core.objectives.seen import Seen
from influence_core.objectives.significance import judged
from influence_core.objectives.utility import ClassUtility, Utility

__all__ = [
    "ROBUSTNESS",
    "Adversarial",
    "ClassUtility",
    "Corrupted",
    "Gap",
    "HeldOut",
    "LinearStep",
    "Margin",
    "Measured",
    "Objective",
    "Own",
    "Seen",
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
