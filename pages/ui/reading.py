"""What does a chart say, and how was it computed? Two sentences and a formula, for "How to read this"."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """Two sentences of plain words, and the formula as LaTeX."""

    text: str
    formula: str


SUSPICION = Reading(
    "Suspicion is the estimated probability that the given label is wrong: 0 looks right, 1 is surely wrong. "
    "Everything right of the cut is in doubt and stands in the review queue.",
    r"\text{in doubt} = \{\, i : \text{suspicion}_i \ge \text{cut} \,\}, \qquad "
    r"\text{expected errors} = \sum_i \text{suspicion}_i",
)

CONFUSION = Reading(
    "A row is the given label, a column the suggested label of the samples in doubt; stronger means more. "
    "A strong cell is a pair of classes that was mixed up: click it to see its images.",
    r"C_{ab} = \left|\{\, i \text{ in doubt} : y_i = a,\ \hat y_i = b \,\}\right|",
)

DETECTION = Reading(
    "AUROC is the chance that a wrongly labelled sample stands before a rightly labelled one: 0.5 is a coin "
    "toss, 1 is perfect. Precision at 5 % is the share of real errors among the first 5 % of the list.",
    r"\text{AUROC} = P\left(s_{\text{wrong}} > s_{\text{right}}\right), \qquad "
    r"\text{precision}@k = \frac{\text{errors among the first } k}{k}",
)

SCORE = Reading(
    "Each bar counts the samples with that score; the bars beyond the dotted line are the ones shown below. "
    "The gradient norm says how strongly one image would change the model: wrong labels and odd images do.",
    r"g_i = \nabla_\theta\, \ell\left(f_\theta(x_i),\, y_i\right), \qquad "
    r"\text{gradient norm} = \lVert g_i \rVert",
)

MAP = Reading(
    "Every point is one training image; images that push the model in the same direction lie close together. "
    "Distances inside a cluster mean more than those between clusters: it is a flat view of many dimensions.",
    r"(x_i, y_i) = \text{UMAP}\left(S\, g_i\right), \qquad S \text{ a random sketch of the gradient } g_i",
)

REVIEW = Reading(
    "A flag is confirmed when you relabel or remove the image, and rejected when you keep it. "
    "The interval is where the true share lies with 95 % confidence, given what was decided so far.",
    r"\text{precision} = \frac{\text{relabelled} + \text{removed}}{\text{decided}}, \qquad "
    r"\text{errors left} = \sum_{i \text{ undecided}} \text{suspicion}_i",
)

YIELD = Reading(
    "The queue holds the samples that suspicion puts in doubt; a bar counts the errors among the next samples of "
    "another order that the queue does not hold. An order that repeats the queue adds nothing, however good it is.",
    r"\text{added}_s(k) = \left|\{\, i \text{ wrong} : "
    r"i \in \text{first } k \text{ of } s \text{ outside the queue} \,\}\right|",
)

AGREEMENT = Reading(
    "1 means that two signals rank all samples alike, 0 that they have nothing to do with each other, below 0 that "
    "they disagree. Overlap looks at the first samples alone: the share of one list that stands in the other too.",
    r"\rho_{st} = \mathrm{corr}\left(\text{rank}_s, \text{rank}_t\right), \qquad "
    r"\text{overlap}_{st}(k) = \frac{|\text{first } k \text{ of } s \,\cap\, \text{first } k \text{ of } t|}{k}",
)

PRECISION_RECALL = Reading(
    "Walking down each list from its most suspicious sample: how many of those seen so far are errors, and which share "
    "of all errors that is. Higher is better; a random order stays at the share of errors.",
    r"\text{precision} = \frac{\text{errors seen}}{\text{seen}}, \qquad "
    r"\text{recall} = \frac{\text{errors seen}}{\text{all errors}}",
)
