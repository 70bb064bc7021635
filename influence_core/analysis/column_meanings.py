"""Meaning of each column of a run: one plain sentence, sign, unit, target and layers, stored with the run."""

from collections.abc import Sequence

from influence_core.errors import DataError
from influence_core.objectives import Objective

CHECKPOINTS = "_checkpoints"
ALL, HEAD, OUTPUTS = "all layers", "last layer", "the model's outputs"
EVIDENCE = "the inputs and several layers"


def meanings(
    columns: Sequence[str], objectives: Sequence[Objective], last_layer: str
) -> dict[str, dict[str, str]]:
    """Title, meaning, sign, unit, target and layers of every column of samples.parquet, by column name.

    Raises:
        KeyError: a column without an entry; an unexplained number must not be shown.
    """
    entries = {**_FIXED, **{f"influence_{o.name}": _influence(o) for o in objectives}}
    entries |= {f"influence_{o.name}{CHECKPOINTS}": _over_checkpoints(o) for o in objectives}
    head = {"layers": f"last layer ({last_layer})"}
    return {name: entries[name] | (head if entries[name]["layers"] == HEAD else {}) for name in columns}


def _entry(title: str, meaning: str, positive: str, unit: str, target: str, layers: str) -> dict[str, str]:
    return {
        "title": title,
        "meaning": meaning,
        "positive_means": positive,
        "unit": unit,
        "target": target,
        "layers": layers,
    }


def _influence(objective: Objective) -> dict[str, str]:
    return _entry(
        f"Influence on {objective.name}",
        f"Negative: a training step on this sample raises {objective.title}; positive: it lowers it.",
        "helpful",
        f"{objective.title} per unit of learning rate",
        objective.title,
        ALL,
    )


def _over_checkpoints(objective: Objective) -> dict[str, str]:
    return _entry(
        f"Influence on {objective.name} over checkpoints",
        f"Negative: steps on this sample raised {objective.title} along the training; positive: they lowered it.",
        "helpful",
        f"{objective.title}, summed over checkpoints by their learning rates",
        objective.title,
        ALL,
    )


def check_free(groups: Sequence[str], objectives: Sequence[Objective]) -> None:
    """Raise DataError if a group column has the name of a score column: one would overwrite the other."""
    taken = sorted(set(groups) & {*_FIXED, *(f"influence_{o.name}" for o in objectives)})
    if taken:
        raise DataError(
            f"The dataset has columns called {', '.join(taken)}, which are names of score columns. Expected other "
            "names for groups: rename these columns."
        )


_GIVEN = "the given label"
_FIXED = {
    "sample_id": _entry("Sample", "The sample's id.", "", "", "", ""),
    "label": _entry("Given label", "The label in the dataset.", "", "", "", ""),
    "predicted": _entry("Predicted label", "The class the model finds most probable.", "", "", "", OUTPUTS),
    "confidence": _entry(
        "Confidence", "Probability of the predicted class.", "sure", "probability", "the prediction", OUTPUTS
    ),
    "loss": _entry(
        "Loss", "How badly the model predicts the given label.", "unusual", "nats", _GIVEN, OUTPUTS
    ),
    "margin": _entry(
        "Margin",
        "Probability of the given label minus that of the best other one; negative: the model prefers another.",
        "agrees with the given label",
        "probability",
        _GIVEN,
        OUTPUTS,
    ),
    "el2n": _entry(
        "EL2N",
        "Length of the difference between predicted probabilities and the given label.",
        "unusual",
        "0 to 1.41",
        _GIVEN,
        OUTPUTS,
    ),
    "grad_norm": _entry(
        "Gradient norm",
        "How strongly this sample pulls on the model (L2).",
        "unusual",
        "loss per parameter step",
        _GIVEN,
        ALL,
    ),
    "grad_norm_l1": _entry(
        "Gradient norm (L1)",
        "The same pull, as a sum of absolute values.",
        "unusual",
        "loss per parameter step",
        _GIVEN,
        ALL,
    ),
    "grad_norm_last": _entry(
        "Gradient norm (last layer)",
        "How strongly this sample pulls on the last layer (L2).",
        "unusual",
        "loss per parameter step",
        _GIVEN,
        HEAD,
    ),
    "self_influence": _entry(
        "Self-influence",
        "How much one training step on this sample lowers its own loss: the squared gradient norm.",
        "unusual",
        "loss per unit of learning rate",
        _GIVEN,
        ALL,
    ),
    "influence_worst_class": _entry(
        "Influence on the class it hurts most",
        "The lowest influence on the validation loss of any one class; negative: a training step raises that loss.",
        "hurts no class",
        "validation loss of a class per unit of learning rate",
        "the class hurt most",
        ALL,
    ),
    "layer_aware": _entry(
        "Layer-aware influence",
        "Influence on validation loss, estimated from a forward pass; negative: learning from it raises that loss.",
        "helpful",
        "validation loss per unit of learning rate, estimated",
        "validation loss",
        "linear and convolution layers",
    ),
    "knn_shapley": _entry(
        "KNN-Shapley",
        "What the sample is worth to a nearest-neighbour classifier of the validation samples; negative: it misleads.",
        "helpful",
        "share of validation accuracy",
        "validation accuracy of nearest neighbours",
        "the deepest layer read",
    ),
    "confident_learning": _entry(
        "Confident learning (cleanlab)",
        "cleanlab's quality of the given label, from probabilities that never saw it; low: probably wrong.",
        "label probably right",
        "probability",
        _GIVEN,
        "the deepest layer read",
    ),
    "aum": _entry(
        "AUM",
        "Mean margin of the given label over training; low: learned late or never.",
        "learned early",
        "logits",
        _GIVEN,
        OUTPUTS,
    ),
    "outlier_forest": _entry(
        "Outlier: isolation forest",
        "How few random cuts separate this sample's gradient from all others.",
        "unusual",
        "score from 0 to 1",
        "the other gradients",
        ALL,
    ),
    "outlier_l1": _entry(
        "Outlier: L1 norm",
        "Share of samples with a smaller gradient (L1).",
        "unusual",
        "share",
        "the other gradients",
        HEAD,
    ),
    "outlier_l2": _entry(
        "Outlier: L2 norm",
        "Share of samples with a smaller gradient (L2).",
        "unusual",
        "share",
        "the other gradients",
        HEAD,
    ),
    "suspicion": _entry(
        "Suspicion",
        "Estimated probability that the given label is wrong, from all evidence this run trusts.",
        "probably wrong",
        "probability",
        _GIVEN,
        EVIDENCE,
    ),
    "suspicion_probe": _entry(
        "Suspicion: probe",
        "Evidence against the given label by simple classifiers that were fitted without it.",
        "probably wrong",
        "probability",
        _GIVEN,
        EVIDENCE,
    ),
    "suspicion_kernel": _entry(
        "Suspicion: curved probe",
        "The same with curved borders between classes (a Gaussian kernel).",
        "probably wrong",
        "probability",
        _GIVEN,
        EVIDENCE,
    ),
    "suspicion_neighbours": _entry(
        "Suspicion: neighbours",
        "Evidence against the given label by the labels of the 15 most similar samples, compared in several ways.",
        "probably wrong",
        "probability",
        _GIVEN,
        EVIDENCE,
    ),
    "suspicion_validation": _entry(
        "Suspicion: validation labels",
        "Evidence against the given label by a classifier fitted to the validation labels alone.",
        "probably wrong",
        "probability",
        _GIVEN,
        EVIDENCE,
    ),
    "suspicion_outputs": _entry(
        "Suspicion: the model itself",
        "Evidence against the given label by the model's outputs; little where the model has memorised its labels.",
        "probably wrong",
        "probability",
        _GIVEN,
        OUTPUTS,
    ),
    "suggested_label": _entry(
        "Suggested label",
        "The most probable label other than the given one.",
        "",
        "",
        _GIVEN,
        EVIDENCE,
    ),
    "suggested_probability": _entry(
        "Probability of the suggestion",
        "Estimated probability that the suggested label is the right one.",
        "suggestion probably right",
        "probability",
        "the suggested label",
        EVIDENCE,
    ),
    "map_x": _entry(
        "Map, across", "Place on the map of gradients; only nearness means something.", "", "", "", ALL
    ),
    "map_y": _entry(
        "Map, up", "Place on the map of gradients; only nearness means something.", "", "", "", ALL
    ),
}
