"""Online valuation: influence scores for every batch of any PyTorch training loop.

    valuation = ic.OnlineValuation(model, validation, samples=train, out="values")               # 1
    for rows, inputs, labels in loader:
        outputs = model(inputs)
        scores = valuation.score(outputs, labels, rows)                                          # 2
        loss = valuation.kept(cross_entropy(outputs, labels, reduction="none"))  # only to filter
        ...
        valuation.end_epoch()                                                                    # 3, after each epoch
    valuation.close()                                                                            # 4

method="layer_aware" (arXiv 2510.16007, layer_aware.py) reads the forward pass of the training step, so scores cost a
few small products. Every `refresh` steps a validation matrix is computed from `validation_batch` samples and averaged
with the earlier ones. Without validation samples the batch's other samples take their place.
method="last_layer": the same for the last layer called, where it is exact.
method="ghost": the exact product of the gradients of all layers in evaluation mode, by the engine's sweep. The gradient
of all validation samples is recomputed every `refresh` steps. This is the reference for the other two, and takes the
time of several steps.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from influence_core.data import Samples
from influence_core.engine import batches as loop
from influence_core.engine.given_samples import as_rows, described
from influence_core.engine.losses import Loss, loss_by_name
from influence_core.engine.sweep import Direction, sweep
from influence_core.engine.watching.nested import replaced, tensors_in
from influence_core.engine.watching.watch import scoring
from influence_core.errors import DataError, InfluenceError
from influence_core.inputs.described import adapted
from influence_core.inputs.facts import classes_of, in_model_format
from influence_core.objectives import objective_gradient
from influence_core.scores.influence import layer_aware
from influence_core.scores.influence.layer_inputs import LayerInputs
from influence_core.training.recorder import Recorder

Method = Literal["layer_aware", "last_layer", "ghost"]
MEMORY = 0.5
"""Weight of the earlier validation matrices in the current one: averages about two refreshes."""
FOLD = 64
"""Ranks agree with the exact ones to 0.93 to 0.95 on a decoder of 1,000 words (32: 0.88 to 0.92, 256: 0.97 to 0.99)."""


@final
class OnlineValuation:
    """Scores of batches during training, recorded on request; see the module. Use as a context manager, or close it."""

    def __init__(
        self,
        model: nn.Module,
        validation: Dataset | None = None,
        *,
        method: Method = "layer_aware",
        loss: str | Loss = "cross_entropy",
        layers: Sequence[str] | None = None,
        fold: int | None = FOLD,
        refresh: int = 8,
        validation_batch: int = 64,
        seed: int = 0,
        samples: Dataset | None = None,
        out: str | Path | None = None,
    ) -> None:
        """Attach hooks to a model; its weights and mode stay unchanged.

        Args:
            validation: held-out samples that influence is measured on; None for the leave-one-out form in each batch.
            layers: paths of linear and convolution layers; None for all trainable ones.
            fold: numbers that the inputs of all layers at one position of a sequence are folded to
                (layer_aware.folded). Fewer are cheaper, more are closer to exact. None keeps all of them: exact, in
                the time of several steps.
            refresh: steps between two computations of the validation matrix.
            validation_batch: validation samples a computation, in a seeded order, all of them in turn.
            samples, out: the training samples, and the folder that every epoch is recorded in (recorder.py).

        Raises:
            InfluenceError: an unknown method, no validation sample, `out` without `samples`.
        """
        if method not in ("layer_aware", "last_layer", "ghost"):
            raise InfluenceError(
                f"No method is called {method!r}; expected layer_aware, last_layer or ghost."
            )
        validation = None if validation is None else as_rows(validation)
        samples = None if samples is None else as_rows(samples)
        if validation is not None and loop.count(validation) == 0:
            raise DataError(
                "The validation split is empty. Give at least one sample, or None to leave it out."
            )
        if refresh < 1 or validation_batch < 1:
            raise InfluenceError(
                f"refresh={refresh}, validation_batch={validation_batch}; expected 1 or more."
            )
        if fold is not None and fold < 1:
            raise InfluenceError(f"fold={fold}; expected 1 or more numbers, or None to fold nothing.")
        if (out is None) != (samples is None):
            raise InfluenceError("`out` needs `samples`, for their ids and labels, and vice versa.")
        self.model, self.validation, self.method = model, in_model_format(validation, model), method
        self.refresh, self.validation_batch = refresh, validation_batch
        self.fold = fold if method == "layer_aware" else None
        self.steps = 0
        self.scores: Tensor | None = None
        self._loss = loss_by_name(loss)
        self._inputs = LayerInputs(model, layers)
        self._order = np.random.default_rng(seed)
        self._queue = np.zeros(0, np.int64)
        self._sums: list[Tensor] = []
        self._direction: Direction = {}
        self._recorder = None
        if out is not None and samples is not None:
            settings = dict(method=method, refresh=refresh, seed=seed, validation=validation is not None)
            labels = label_texts(model, samples)
            self._recorder = Recorder(out, adapted(samples).ids, labels, settings=settings)

    def score(self, outputs: Tensor, labels: Tensor, rows: Any = None) -> Tensor:
        """Influence of each sample of the batch that the model has just read, (b,); positive = helpful.

        Call it after model(inputs) and before the optimizer's step. outputs: as returned; their graph is not touched.
        rows: (b,) positions of these samples in `samples`; needed to record the scores.

        Raises:
            LayerError: the model was not run since the last call, or its layers' rows are not samples.
        """
        labels = _as_tensor(labels)
        layer_inputs, inputs = self._by_layer(), self._inputs.inputs
        if self.method == "ghost":
            scores = self._ghost(inputs, labels)
        else:
            d = layer_aware.output_gradient(outputs, _batch(labels), self._loss)
            batch = layer_aware.pairs(d, layer_inputs, self.fold)
            scores = (
                self._against_validation(batch)
                if self.validation is not None
                else layer_aware.leave_one_out(batch)
            )
        self.steps += 1
        self.scores = scores
        if self._recorder is not None:
            if rows is None:
                raise InfluenceError("Recording the scores needs the positions of their samples. Give rows=.")
            self._recorder.batch(rows, outputs, labels, values=scores, kept=scores > 0)
        return scores

    def kept(self, losses: Tensor) -> Tensor:
        """The mean loss of the samples whose last score is above zero; zero with a graph when there is none.

        losses: (b,), of the same batch in the same order.
        """
        if self.scores is None or self.scores.shape != losses.shape:
            raise InfluenceError(
                f"Losses of shape {tuple(losses.shape)} do not belong to the scores of the last batch, "
                f"{None if self.scores is None else tuple(self.scores.shape)}. Call score() first; reduction='none'."
            )
        survivors = self.scores.to(losses.device) > 0
        return losses[survivors].mean() if survivors.any() else 0 * losses.sum()

    def end_epoch(self) -> None:
        """Record the epoch; does nothing without `out`."""
        if self._recorder is not None:
            self._recorder.end_epoch()

    def close(self) -> None:
        """Remove every hook and end the recording."""
        self._inputs.close()
        if self._recorder is not None:
            self._recorder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Close; after an error the recording stays unfinished."""
        self._inputs.close()
        if self._recorder is not None and error is None:
            self._recorder.close()

    def _against_validation(self, batch: list[layer_aware.Pair]) -> Tensor:
        if self.steps % self.refresh == 0:
            fresh = self._validation_sums()
            keep = MEMORY if self._sums else 0.0
            self._sums = [
                keep * old + (1 - keep) * new for old, new in zip(self._sums or fresh, fresh, strict=True)
            ]
        return layer_aware.products(batch, self._sums)

    def _validation_sums(self) -> list[Tensor]:
        """Mean over the next validation samples of d a^T, one (c, f) a pair, with the model in evaluation mode."""
        rows = self._next_rows()
        with scoring(self.model), torch.no_grad():
            (batch,) = loop.batches(chosen(self.validation, rows), len(rows), like=self.model)  # pyright: ignore
            outputs = loop.outputs_of(self.model, batch)
            d = layer_aware.output_gradient(outputs, batch, self._loss) / len(rows)
        return layer_aware.summed(layer_aware.pairs(d, self._by_layer(), self.fold))

    def _by_layer(self) -> dict[str, Tensor]:
        layer_inputs = self._inputs.collect()
        return layer_inputs if self.method != "last_layer" else dict([list(layer_inputs.items())[-1]])

    def _next_rows(self) -> np.ndarray:
        assert self.validation is not None
        m = loop.count(self.validation)
        if len(self._queue) < min(self.validation_batch, m):
            self._queue = self._order.permutation(m)
        rows, self._queue = np.split(self._queue, [self.validation_batch])
        return rows

    def _ghost(self, inputs: Any, labels: Tensor) -> Tensor:
        self._inputs.pause(True)
        try:
            batch, b = as_pairs(inputs, labels), len(labels)
            if self.validation is None:
                self._direction = objective_gradient(self.model, batch, loss=self._loss, batch_size=b)
            elif self.steps % self.refresh == 0:
                self._direction = objective_gradient(self.model, self.validation, loss=self._loss)
            swept = sweep(
                self.model,
                batch,
                directions=[self._direction],
                sketch=0,
                loss=self._loss,
                batch_size=b,
                precision="float64" if loop.home(self.model)[1] == torch.float64 else "float32",
            )
            products = swept.products[:, 0]
            if self.validation is None:
                products = (b * products - swept.grad_norms.square()) / (b - 1)
            return products.to(labels.device)
        finally:
            self._inputs.pause(False)


def label_texts(model: nn.Module, samples: Dataset) -> list[str]:
    """Labels as a run stores them, which the Dynamics page matches samples by; a sequence of labels in one string."""
    names = classes_of(model, samples)
    labels = (batch.labels for batch in loop.batches(samples, 1, like=nn.Identity()))
    labels = (
        samples.labels[:, None]
        if isinstance(samples, Samples)
        else (label.long().flatten() for label in labels)
    )
    places = (label.tolist() for label in labels)
    return [
        " ".join(names[p] if names and 0 <= p < len(names) else str(p) for p in label) for label in places
    ]


def _as_tensor(labels: Any) -> Tensor:
    try:
        return torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"The labels are {described(labels)}; expected class numbers. Number the names in the order of the model's "
            "outputs: names.index(label)."
        ) from error


def _batch(labels: Tensor) -> loop.Batch:
    return loop.Batch(0, len(labels), None, labels)


def as_pairs(inputs: Any, labels: Tensor) -> Any:
    """A batch as a dataset of its samples."""
    tensors = tensors_in(inputs)
    return [(replaced(inputs, {id(x): x[row] for x in tensors}), labels[row]) for row in range(len(labels))]


def chosen(samples: Dataset, rows: np.ndarray) -> Dataset:
    """The samples at these positions, in this order; `Samples` are read in whole batches."""
    return samples.select(rows) if isinstance(samples, Samples) else Subset(samples, rows.tolist())
