"""Words of the Overview page: findings, facts, next steps and provenance of a run; no Streamlit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from influence_core.judging import signals
from influence_core.judging.expected_errors import TOLD, expected_errors
from influence_core.judging.intervals import Estimate, wilson
from influence_core.runs.run import Run
from pages.ui.words import formats, scores
from pages.ui.words.formats import Markdown


@dataclass(frozen=True, slots=True)
class ClassShare:
    """One class: how many of its samples are in doubt."""

    name: str
    flagged: int
    total: int

    @property
    def share(self) -> float:
        return self.flagged / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Findings:
    """What lies above one cut, and how many labels are wrong in all.

    `confusion` counts the samples in doubt: index = given label, columns = suggested label, in class order. `errors`
    does not depend on the cut; `found` of them are reviewed already. `told`: whether wrong labels can be told from hard
    ones in this run.
    """

    cut: float
    total: int
    flagged: int
    errors: Estimate
    found: int
    told: bool
    by_class: tuple[ClassShare, ...]
    confusion: pd.DataFrame

    @property
    def headline(self) -> str:
        about, most = formats.count(self.errors.value), formats.count(self.errors.high)
        total = formats.count(self.total)
        if not round(self.errors.high):
            return f"None of {total} training labels is probably wrong: nothing here is worth the time of a review."
        if not self.told:
            return (
                f"No single label is clearly wrong. In all about {about} of {total} may be, at most {most}."
            )
        verb = "is" if round(self.errors.value) == 1 else "are"
        found = (
            f"; {formats.count(self.found)} {'is' if self.found == 1 else 'are'} found" if self.found else ""
        )
        low = formats.count(self.errors.low)
        return f"About {about} of {total} training labels {verb} wrong, between {low} and {most}{found}."

    @property
    def worst_class(self) -> ClassShare:
        """The class with the largest share in doubt."""
        return max(self.by_class, key=lambda entry: (entry.share, entry.flagged))

    @property
    def pair(self) -> tuple[str, str, int] | None:
        """The most frequent pair of given and suggested label in doubt, with its count."""
        if not self.flagged:
            return None
        counts = self.confusion.to_numpy()
        row, column = np.unravel_index(int(counts.argmax()), counts.shape)
        return str(self.confusion.index[row]), str(self.confusion.columns[column]), int(counts[row, column])


def find(run: Run, cut: float, decisions: pd.DataFrame) -> Findings:
    """The findings at one cut, after the decisions made so far, as the log's `current` gives them."""
    samples, classes = run.samples, list(run.classes)
    suspicion, given = np.asarray(samples["suspicion"], dtype=float), np.asarray(samples["label"], dtype=str)
    doubtful = suspicion >= cut
    suggested = np.asarray(samples["suggested_label"], dtype=str)[doubtful]
    confusion = pd.crosstab(given[doubtful], suggested)
    support = noise_support(run)
    decided = signals.decided_errors(decisions, samples.index).to_numpy(dtype=float, na_value=np.nan)
    return Findings(
        cut=cut,
        total=len(given),
        flagged=int(doubtful.sum()),
        errors=expected_errors(suspicion, support, decided),
        found=int(np.nansum(decided)),
        told=support >= TOLD,
        by_class=tuple(
            ClassShare(name, int((given[doubtful] == name).sum()), int((given == name).sum()))
            for name in classes
        ),
        confusion=confusion.reindex(index=classes, columns=classes, fill_value=0),
    )


def noise_support(run: Run) -> float:
    """How far wrong labels can be told from hard ones, in [0, 1]; runs of older versions did not estimate it."""
    return float(run.description["results"].get("noise_support", 1.0))


@dataclass(frozen=True, slots=True)
class Fact:
    """One bordered number of the Overview; `detail` is its interval or what it is a share of."""

    title: str
    value: str
    detail: str
    help: str


def facts(results: Mapping[str, Any], findings: Findings) -> list[Fact]:
    """The five numbers: validation accuracy, in doubt, expected errors, worst class, test accuracy."""
    worst = findings.worst_class
    return [
        _accuracy(
            "Validation accuracy",
            results.get("validation_accuracy"),
            "Share of validation samples the model gets right.",
        ),
        Fact(
            "In doubt",
            formats.percent(findings.flagged / findings.total),
            f"{formats.count(findings.flagged)} of {formats.count(findings.total)} labels",
            "Labels to review: their suspicion reaches the cut, so each is more likely wrong than right. Others may be "
            "wrong as well.",
        ),
        Fact(
            "Expected errors",
            formats.count(findings.errors.value),
            f"[{formats.count(findings.errors.low)}, {formats.count(findings.errors.high)}] labels",
            "How many training labels are wrong in all: those found in review, and the sum of the suspicions of the "
            "others. The brackets allow for suspicion being off; on datasets with known errors they held the true "
            "number at least nine times in ten. It does not depend on the cut.",
        ),
        Fact(
            "Worst class",
            worst.name if findings.flagged else "none",
            f"{formats.percent(worst.share)} {_bracket(worst)}"
            if findings.flagged
            else "nothing is in doubt",
            "The given label with the largest share in doubt; that share, and its 95 % interval in brackets.",
        ),
        _accuracy(
            "Test accuracy",
            results.get("test_accuracy"),
            "Share of test samples the model gets right; not used for any score.",
        ),
    ]


HESITATION: Markdown = (
    "Similar classes could explain these doubts just as well, so no label is flagged. The order of suspicion says "
    "where to look first."
)
"""Why few labels are in doubt although some may be wrong."""


def _accuracy(title: str, record: Mapping[str, float] | None, help: str) -> Fact:
    if record is None:
        return Fact(title, "none", "no such split", help)
    bracket = formats.interval(record["low"], record["high"])
    return Fact(
        title, formats.percent(record["value"]), bracket, f"{help} The brackets hold its 95 % interval."
    )


def _bracket(worst: ClassShare) -> str:
    estimate = wilson(worst.flagged, worst.total)
    return formats.interval(estimate.low, estimate.high)


def next_steps(findings: Findings) -> list[Markdown]:
    """The next steps as sentences; the first is the page's primary action."""
    if findings.pair is None:
        return (
            ["Look at the most suspicious labels: some of them may be wrong."]
            if round(findings.errors.high)
            else ["Nothing needs a review. The most suspicious labels can be looked at anyway."]
        )
    given, suggested, number = findings.pair
    minutes = max(1, round(findings.flagged * 3 / 60))
    return [
        f"1. **Review** the {formats.plural(findings.flagged, 'label')} in doubt, most suspicious first: "
        f"about {formats.count(minutes)} min at three seconds each.",
        f"2. {formats.plural(number, 'sample')} labelled **{formats.escaped(given)}** look like "
        f"**{formats.escaped(suggested)}**, the most frequent mix-up: click that cell to see them.",
        "3. **Export** the corrected labels, or the corrected image folder, and train again.",
    ]


# ---------------------------------------------------------------------------------------------- judging


def wrong(run: Run, truth: pd.Series) -> pd.Series:
    """Whether each given label is wrong, by sample id; None where the truth is unknown. For judging only."""
    samples = run.samples
    true_labels = truth.reindex(samples.index)
    differs = np.asarray(samples["label"], dtype=str) != np.asarray(true_labels, dtype=str)
    return pd.Series(np.where(true_labels.isna(), None, differs), index=samples.index)


def verdict(table: pd.DataFrame, errors: int, total: int) -> Markdown:
    """One sentence on how well suspicion found the planted errors, beside the best other signal."""
    others = table.drop(
        index=[name for name in table.index if str(name).startswith("suspicion")] + ["random"],
        errors="ignore",
    )
    best = others["auroc"].idxmax()
    suspicion = table.loc["suspicion"]
    return (
        f"{formats.count(errors)} of the {formats.count(total)} labels really are wrong. Suspicion puts a wrong "
        f"label before a right one in **{formats.percent(suspicion['auroc'])}** of all pairs (best single signal, "
        f"{formats.escaped(scores.title_of(str(best), {}))}: {formats.percent(others.at[best, 'auroc'])}), and "
        f"**{formats.percent(suspicion['precision_at_5'])}** of its first 5{formats.THIN}% are real errors."
    )


def detection_rows(table: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """The table as shown: plain titles, shares unchanged."""
    return pd.DataFrame(
        {
            "Signal": [titles.get(str(name), str(name)) for name in table.index],
            "AP": table["average_precision"].to_numpy(),
            "First 5 %": table["precision_at_5"].to_numpy(),
            "First 10 %": table["precision_at_10"].to_numpy(),
        }
    )


# ---------------------------------------------------------------------------------------------- provenance


def reproducibility_sentence(run: Run) -> str:
    """The result of computing a small sample a second time, in a sentence."""
    record = run.description.get("reproducibility") or {}
    return str(
        record.get("sentence") or record.get("message") or "No second computation was made for this run."
    )


def provenance(run: Run) -> list[Markdown]:
    """Where the numbers come from: model, split sizes, versions, time; one line of markdown each."""
    description = run.description
    dataset, model = description["inputs"]["dataset"], description["inputs"]["model"]
    splits = (("n_train", "training"), ("n_val", "validation"), ("n_test", "test"))
    split_sizes = [(dataset[key], title) for key, title in splits if dataset.get(key)]
    sizes = ", ".join(f"{formats.count(size)} {formats.escaped(title)}" for size, title in split_sizes)
    lines = [
        f"**Model** {formats.escaped(str(model['architecture']))}, "
        f"{formats.count(model.get('parameters') or 0)} parameters, "
        f"fingerprint {formats.escaped(str(model['fingerprint'])[:12])}",
        f"**Dataset** {formats.escaped(str(dataset['name']))}: {sizes} samples, "
        f"fingerprint {formats.escaped(str(dataset['fingerprint'])[:12])}",
    ]
    if sentence := exactness_sentence(description.get("preflight") or {}):
        lines.append(sentence)
    if description.get("timings"):
        lines.append(f"**Time** {formats.duration(sum(description['timings'].values()))} in all")
    notes = [*(dataset.get("notes") or ()), *(description.get("notes") or ())]
    return lines + [formats.escaped(str(note)) for note in notes]


def exactness_sentence(preflight: Mapping[str, Any]) -> Markdown:
    """How the gradients were computed, and what was left out; older runs record only which layers are exact."""
    layers = preflight.get("layers") or ()
    exact = sum(str(layer.get("covered", "")).startswith("exact") for layer in layers)
    older = f"{formats.count(exact)} of {formats.plural(len(layers), 'layer')} exact." if layers else ""
    sentence = preflight.get("sentence") or older
    if not sentence:
        return ""
    frozen = preflight.get("frozen") or ()
    left_out = f" {formats.plural(len(frozen), 'frozen tensor')} left out." if frozen else ""
    batch_norm = preflight.get("batch_norm") or "none"
    norm = "" if batch_norm == "none" else f" BatchNorm: {formats.escaped(str(batch_norm))}."
    return f"**Gradients** {formats.escaped(str(sentence))}{left_out}{norm}"
