"""Explanations of the charts: two sentences and a formula each, for "How to read this"."""

from __future__ import annotations

from dataclasses import dataclass

from pages.ui.words.formats import Markdown


@dataclass(frozen=True, slots=True)
class Reading:
    """Two sentences of plain words, and the formula as LaTeX."""

    text: Markdown
    formula: str


SUSPICION = Reading(
    "Suspicion is the estimated probability that the given label is wrong: 0 looks right, 1 is surely wrong. "
    "Everything right of the cut is in doubt and in the review queue.",
    r"\text{in doubt} = \{\, i : \text{suspicion}_i \ge \text{cut} \,\}, \qquad "
    r"\text{expected errors} = \sum_i \text{suspicion}_i",
)

CONFUSION = Reading(
    "A row is the given label, a column the suggested label of the samples in doubt; stronger means more. "
    "A strong cell is a pair of classes that was mixed up: click it to see its samples.",
    r"C_{ab} = \left|\{\, i \text{ in doubt} : y_i = a,\ \hat y_i = b \,\}\right|",
)

DETECTION = Reading(
    "AUROC is the chance that a wrongly labelled sample is ranked before a correctly labelled one: 0.5 is a coin "
    "toss, 1 is perfect. Precision at 5 % is the share of real errors among the first 5 % of the list.",
    r"\text{AUROC} = P\left(s_{\text{wrong}} > s_{\text{right}}\right), \qquad "
    r"\text{precision}@k = \frac{\text{errors among the first } k}{k}",
)

SCORE = Reading(
    "Each bar counts the samples with that score; the bars beyond the dotted line are the ones shown below. "
    "The gradient norm is how strongly one sample would change the model: large for wrong labels and odd samples.",
    r"g_i = \nabla_\theta\, \ell\left(f_\theta(x_i),\, y_i\right), \qquad "
    r"\text{gradient norm} = \lVert g_i \rVert",
)

MAP = Reading(
    "Every point is one training sample; samples that push the model in the same direction lie close together. "
    "Distances inside a cluster mean more than those between clusters: it is a flat view of many dimensions.",
    r"(x_i, y_i) = \text{UMAP}\left(S\, g_i\right), \qquad S \text{ a random sketch of the gradient } g_i",
)

REVIEW = Reading(
    "A flag is confirmed when you relabel or remove the sample, and rejected when you keep it. "
    "The interval is where the true share lies with 95 % confidence, given what was decided so far.",
    r"\text{precision} = \frac{\text{relabelled} + \text{removed}}{\text{decided}}, \qquad "
    r"\text{errors left} = \sum_{i \text{ undecided}} \text{suspicion}_i",
)

EXPLANATION = Reading(
    "Influence is what one training step on a sample does to the loss of the chosen prediction: blue lowers it, so it "
    "helps; orange raises it, so it hurts. A card shows its share of all help or harm, for one small step; training "
    "without the sample is another question.",
    r"\text{influence}_i = \left\langle g_i,\ \nabla_\theta f \right\rangle, \qquad g_i = \nabla_\theta\, "
    r"\ell\left(f_\theta(x_i), y_i\right)",
)

ATTACK = Reading(
    "Each point is the share of validation samples still recognised after an attack of that strength: FGSM takes one "
    "step uphill, PGD ten small ones. Each model gets its own attack, so the curves of two models can be compared.",
    r"x' = x + \epsilon\,\operatorname{sign}\left(\nabla_x\, \ell(f_\theta(x), y)\right), \qquad "
    r"\lVert x' - x \rVert_\infty \le \epsilon",
)

FRAGILE = Reading(
    "Influence on robustness is what one training step on a sample does to the loss on attacked validation samples: "
    "negative raises it. A sample can help accuracy and make the model fragile at once.",
    r"\left\langle g_i,\ \nabla_\theta \tfrac1m \textstyle\sum_j \ell\left(f_\theta(x'_j), y_j\right) \right\rangle",
)

GROUPS = Reading(
    "Each dot is the rate of one group of held-out people or pictures, with its 95 % interval; the shaded band is the "
    "gap. True positive rate: of those with the label, the share the model finds.",
    r"\text{gap} = \max_g r_g - \min_g r_g, \qquad r_g = P\left(\hat y = c \mid y = c,\ \text{group} = g\right)",
)

CONTRIBUTIONS = Reading(
    "A bar adds up the influence on the gap of all training samples of one group and given label: to the left they "
    "widen it, to the right they narrow it. Many samples that each do little can make a long bar.",
    r"\text{influence}_i = \left\langle g_i,\ \nabla_\theta\, \text{gap} \right\rangle, \qquad "
    r"\text{negative: a training step on } i \text{ widens the gap}",
)

TRADE_OFF = Reading(
    "Right: training on the sample lowers validation loss; up: it narrows the gap. The lower right corner needs a "
    "choice: these samples help accuracy and widen the gap.",
    r"\left( \langle g_i, \nabla \text{validation loss} \rangle,\ \langle g_i, \nabla \text{gap} \rangle \right)",
)

CARTOGRAPHY = Reading(
    "Up: the model was sure of the given label in most epochs; right: it changed its mind. "
    "Wrong labels gather at the bottom left, never learned and steady; rare but correct ones lie further to the right.",
    r"\text{confidence}_i = \frac1E \sum_{e} p_e(y_i \mid x_i), \qquad "
    r"\text{variability}_i = \text{std}_e\; p_e(y_i \mid x_i)",
)

TRAJECTORIES = Reading(
    "Each line is one sample; the band holds the middle 80 % of all samples. "
    "A line that stays low was never learned, one that falls was forgotten; influence below zero means that a step on "
    "it raised validation loss.",
    r"\text{margin}_i = z_{y_i} - \max_{k \ne y_i} z_k, \qquad "
    r"\text{influence}_i = \tfrac1m \textstyle\sum_v \langle d_i, d_v\rangle \sum_l \langle a^l_i, a^l_v\rangle",
)

TRUST = Reading(
    "Suspicion asks many readers which class a sample is; a bar is the share that one kind of reader has in "
    "that vote. A reader counts more the better it predicts validation labels, and less the more it repeats "
    "labels that it has memorised.",
    r"\log p(c \mid x) \propto \sum_r w_r \log p_r(c \mid x), \qquad \textstyle\sum_r w_r = 1",
)

YIELD = Reading(
    "The queue holds the samples that suspicion puts in doubt; a bar counts the errors among the next samples of "
    "another order that are outside the queue. An order that repeats the queue adds nothing, however good it is.",
    r"\text{added}_s(k) = \left|\{\, i \text{ wrong} : "
    r"i \in \text{first } k \text{ of } s \text{ outside the queue} \,\}\right|",
)

AGREEMENT = Reading(
    "1 means that two signals rank all samples alike, 0 that they are unrelated, below 0 that they disagree. "
    "Overlap looks only at the first samples: the share of one list that is also in the other.",
    r"\rho_{st} = \mathrm{corr}\left(\text{rank}_s, \text{rank}_t\right), \qquad "
    r"\text{overlap}_{st}(k) = \frac{|\text{first } k \text{ of } s \,\cap\, \text{first } k \text{ of } t|}{k}",
)

PRECISION_RECALL = Reading(
    "Walking down each list from its most suspicious sample: how many of those seen so far are errors, and what share "
    "of all errors they are. Higher is better; a random order stays at the share of errors.",
    r"\text{precision} = \frac{\text{errors seen}}{\text{seen}}, \qquad "
    r"\text{recall} = \frac{\text{errors seen}}{\text{all errors}}",
)
