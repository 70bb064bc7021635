"""Preflight: what the engine will do with a model, and at what cost, before a run starts.

    exactness   three samples are studied as before every sweep (engine/study.py): which operation uses each parameter,
                and which way leads to its gradient; a model that cannot be scored is refused, with layer and reason
    time        start + n * (seconds a sample), both read off the first batches of the real sweep (batch_cost.py)
    memory      peak above the loaded process in those batches, plus what is kept of n samples

Without samples only the structure is reported. Ways are also a by-product of every sweep: see `with_ways`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from influence_core.engine import batches as loop
from influence_core.engine.batch_cost import Memory, Probe, probe
from influence_core.engine.losses import Loss, loss_by_name
from influence_core.engine.plausibility import doubts
from influence_core.engine.precision import exact_name, in_precision, own_precision
from influence_core.engine.repeats import steady
from influence_core.engine.rules.dispatch import HOW
from influence_core.engine.study import Study, study_model
from influence_core.engine.watching.watch import trainable

UNUSED = "exact, not used: its gradient is zero"
UNKNOWN = "not looked at yet"


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """One layer: path, type, operations that use its parameters, way to its gradient in words, number of parameters."""

    name: str
    kind: str
    operations: str
    covered: str
    parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """Facts before a run. None where nothing was measured: no samples, or a system that does not report memory."""

    layers: tuple[LayerFacts, ...]
    share_covered: float
    """Share of the trainable parameters whose gradient is exact: always 1.0, since other models are refused."""
    parameters: int
    """Number of trainable parameters, p."""
    frozen: tuple[str, ...]
    """Names of the parameters that are not trainable, and so not scored."""
    frozen_parameters: int
    batch_norm: str
    dtype: str
    device: str
    ways: dict[str, int]
    """Number of layers by way in words, as in `rules.dispatch.HOW`."""
    samples: int | None = None
    batch_size: int | None = None
    seconds_start: float | None = None
    """Before the first batch: the study of the model and the choice of a batch size."""
    seconds_per_sample: float | None = None
    seconds_expected: float | None = None
    """One sweep over these samples."""
    doubts: tuple[str, ...] = ()
    """Sentences on what the outputs on held-out samples say against the model; see plausibility.py."""
    memory_expected_mb: float | None = None
    """Largest extra memory of the sweep above the loaded process (on CUDA: of the device), in 10^6 bytes."""

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists, and the sentence, as stored under "preflight" in run.json."""
        return {**asdict(self), "sentence": self.to_sentence()}

    def to_sentence(self) -> str:
        """A sentence: '61 of 62 layers are exact by closed form, 1 by vmap (slower).'"""
        total = sum(self.ways.values())
        listed = [(number, _way(words)) for words, number in sorted(self.ways.items(), key=_slowness)]
        if len(listed) == 1:
            subject = "The only layer is" if total == 1 else f"All {total:,} layers are"
            return f"{subject} {listed[0][1]}."
        (number, first), *others = listed
        rest = ", ".join(f"{count:,} {way.removeprefix('exact ')}" for count, way in others)
        return f"{number:,} of {total:,} layers {'is' if number == 1 else 'are'} {first}, {rest}."


def preflight(
    model: nn.Module,
    samples: Dataset | None = None,
    *,
    loss: str | Loss = "cross_entropy",
    directions: int = 1,
    sketch: int = 256,
    precision: str = "auto",
    batch_size: int | str = "auto",
    features: Sequence[str] = (),
    held_out: Dataset | None = None,
) -> Preflight:
    """Describe a model and, with samples, measure the first batches of the sweep that would follow.

    Args:
        model: any module that `sweep` takes; restored afterwards.
        samples: the n samples to be scored; None for the structure alone, at once.
        loss, sketch, precision, batch_size, features: as for `sweep`. directions: k, their number.
        held_out: samples on which the model is doubted, instead of `samples`: those it learned say nothing.

    Raises:
        LayerError: the model cannot be scored, with the layer's name and the way out.
        ModelError: it returns probabilities, for the cross-entropy of logits.
    """
    precision = own_precision(model, precision)
    facts = _structure(model, precision)
    samples = None if samples is None else steady(samples)
    if samples is None or not loop.count(samples):
        return facts
    scored, function = in_precision(model, precision), loss_by_name(loss)
    memory = Memory(loop.home(scored)[0])
    study = study_model(in_precision(model, exact_name(precision)), samples, function)
    settings = {"loss": function, "sketch": sketch, "precision": precision, "features": tuple(features)}
    costs = probe(scored, samples, k=directions, batch_size=batch_size, memory=memory, **settings)
    judged = samples if held_out is None else held_out
    facts = replace(facts, doubts=doubts(model, judged) if loss == "cross_entropy" else ())
    return _with_costs(with_ways(facts, study.ways, _operations(study)), costs, loop.count(samples))


def with_ways(
    facts: Preflight, ways: Mapping[str, str], operations: Mapping[str, str] | None = None
) -> Preflight:
    """The same facts with the way to each parameter's gradient, from a study or from `Sweep.ways`.

    Args:
        ways: parameter name -> key of HOW. A trainable parameter that is missing was not used: its gradient is zero.
        operations: layer path -> the operations that use it.
    """
    order, by_layer = list(HOW), {}
    for name, way in ways.items():
        path = name.rpartition(".")[0]
        by_layer[path] = max(by_layer.get(path, way), way, key=order.index)
    layers = tuple(
        replace(
            layer,
            covered=HOW[by_layer[layer.name]] if layer.name in by_layer else UNUSED,
            operations=(operations or {}).get(layer.name, ""),
        )
        for layer in facts.layers
    )
    return replace(facts, layers=layers, ways=dict(Counter(layer.covered for layer in layers)))


def _way(words: str) -> str:
    """A way as part of a sentence: 'exact, by vmap (slower)' -> 'exact by vmap (slower)'."""
    if words == UNUSED:
        return "exact because unused"
    if words == HOW["alone"]:
        return words.replace(",", " by", 1)
    return "exact by closed form" if words == HOW["rule"] else words.replace(",", "", 1)


def _slowness(item: tuple[str, int]) -> int:
    """Sort key of (way in words, number of layers): the fastest way first."""
    order = list(HOW.values())
    return order.index(item[0]) if item[0] in order else len(order)


def _structure(model: nn.Module, precision: str) -> Preflight:
    """What a model shows without samples; its ways are not known yet."""
    named = trainable(model)
    size_of: dict[str, int] = {}
    for name, value in named.items():
        path = name.rpartition(".")[0]
        size_of[path] = size_of.get(path, 0) + value.numel()
    layers = [
        LayerFacts(p, type(model.get_submodule(p)).__name__, "", UNKNOWN, size) for p, size in size_of.items()
    ]
    frozen = {name: value for name, value in model.named_parameters() if not value.requires_grad}
    norms = sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    return Preflight(
        layers=tuple(layers),
        share_covered=1.0,
        parameters=sum(size_of.values()),
        frozen=tuple(frozen),
        frozen_parameters=sum(value.numel() for value in frozen.values()),
        batch_norm=f"{norms} layer{'s' * (norms > 1)}, with running statistics" if norms else "none",
        dtype=precision,
        device=str(loop.home(model)[0]),
        ways={UNKNOWN: len(layers)},
    )


def _operations(study: Study) -> dict[str, str]:
    """Names of the operations that use each layer's parameters, by layer path: 'conv2d', 'linear, add'."""
    by_layer: dict[str, dict[str, None]] = {}
    for operation, sources, _ in study.layouts.known:
        for name in sources:
            by_layer.setdefault(name.rpartition(".")[0], {})[operation.strip("_")] = None
    return {path: ", ".join(names) for path, names in by_layer.items()}


def _with_costs(facts: Preflight, measured: Probe, n: int) -> Preflight:
    memory = None
    if measured.peak_bytes is not None:
        batch_bytes = max(0, measured.peak_bytes - measured.samples * measured.kept_bytes)
        memory = (batch_bytes + n * measured.kept_bytes) / 1e6
    return replace(
        facts,
        samples=n,
        batch_size=measured.batch_size,
        seconds_start=measured.seconds_start,
        seconds_per_sample=measured.seconds_per_sample,
        seconds_expected=measured.seconds_start + n * measured.seconds_per_sample,
        memory_expected_mb=memory,
    )
