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
    entries = dict(_FIXED)
    for objective in objectives:
        entries |= _influences(objective)
    head = {"layers": f"last layer ({last_layer})"}
    return {name: entries[name] | (head if entries[name]["layers"] == HEAD else {}) for name in columns}


def _entry(
    title: str, meaning: str, positive: str = "", unit: str = "", target: str = "", layers: str = ""
) -> dict[str, str]:
    return dict(
        title=title, meaning=meaning, positive_means=positive, unit=unit, target=target, layers=layers
    )


def _pull(title: str, meaning: str, layers: str) -> dict[str, str]:
    return _entry(title, meaning, "unusual", "loss per parameter step", _GIVEN, layers)


def _outlier(title: str, meaning: str, unit: str, layers: str) -> dict[str, str]:
    return _entry(title, meaning, "unusual", unit, "the other gradients", layers)


def _doubt(title: str, meaning: str, layers: str = EVIDENCE) -> dict[str, str]:
    return _entry(title, meaning, "probably wrong", "probability", _GIVEN, layers)


def _influences(objective: Objective) -> dict[str, dict[str, str]]:
    """The entries of one objective: influence on the trained model, and over its checkpoints."""
    name, target = objective.name, objective.title
    return {
        f"influence_{name}": _entry(
            f"Influence on {name}",
            f"Negative: a training step on this sample raises {target}; positive: it lowers it.",
            "helpful",
            f"{target} per unit of learning rate",
            target,
            ALL,
        ),
        f"influence_{name}{CHECKPOINTS}": _entry(
            f"Influence on {name} over checkpoints",
            f"Negative: steps on this sample raised {target} along the training; positive: they lowered it.",
            "helpful",
            f"{target}, summed over checkpoints by their learning rates",
            target,
            ALL,
        ),
    }


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
    "sample_id": _entry("Sample", "The sample's id."),
    "label": _entry("Given label", "The label in the dataset."),
    "predicted": _entry("Predicted label", "The class the model finds most probable.", layers=OUTPUTS),
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
    "grad_norm": _pull("Gradient norm", "How strongly this sample pulls on the model (L2).", ALL),
    "grad_norm_l1": _pull("Gradient norm (L1)", "The same pull, as a sum of absolute values.", ALL),
    "grad_norm_last": _pull(
        "Gradient norm (last layer)", "How strongly this sample pulls on the last layer (L2).", HEAD
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
    "outlier_forest": _outlier(
        "Outlier: isolation forest",
        "How few random cuts separate this sample's gradient from all others.",
        "score from 0 to 1",
        ALL,
    ),
    "outlier_l1": _outlier(
        "Outlier: L1 norm", "Share of samples with a smaller gradient (L1).", "share", HEAD
    ),
    "outlier_l2": _outlier(
        "Outlier: L2 norm", "Share of samples with a smaller gradient (L2).", "share", HEAD
    ),
    "suspicion": _doubt(
        "Suspicion", "Estimated probability that the given label is wrong, from all evidence this run trusts."
    ),
    "suspicion_probe": _doubt(
        "Suspicion: probe",
        "Evidence against the given label by simple classifiers that were fitted without it.",
    ),
    "suspicion_kernel": _doubt(
        "Suspicion: curved probe", "The same with curved borders between classes (a Gaussian kernel)."
    ),
    "suspicion_neighbours": _doubt(
        "Suspicion: neighbours",
        "Evidence against the given label by the labels of the 15 most similar samples, compared in several ways.",
    ),
    "suspicion_validation": _doubt(
        "Suspicion: validation labels",
        "Evidence against the given label by a classifier fitted to the validation labels alone.",
    ),
    "suspicion_outputs": _doubt(
        "Suspicion: the model itself",
        "Evidence against the given label by the model's outputs; little where the model has memorised its labels.",
        OUTPUTS,
    ),
    "suggested_label": _entry(
        "Suggested label", "The most probable label other than the given one.", target=_GIVEN, layers=EVIDENCE
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
        "Map, across", "Place on the map of gradients; only nearness means something.", layers=ALL
    ),
    "map_y": _entry("Map, up", "Place on the map of gradients; only nearness means something.", layers=ALL),
}
