"""Sample axes: which axis of a tensor counts samples, from the shapes of passes over two and over three samples.

Rows may be samples (b, ...), samples may lie on another axis (t, b, ...), or an axis may count several rows a sample:
sample by sample (b * windows, ...), or position by position (t * b, ...) as in torch's attention. A tensor whose shape
does not grow with the batch belongs to no sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from influence_core.errors import LayerError

Key = tuple[str, tuple[str, ...], int]
"""Identity of an operation in every batch: its name, its parameters, how often it was applied to them before."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Axis `at` counts samples. `inner`: rows of one position lie together (t * b), not rows of one sample."""

    at: int
    inner: bool = False


@dataclass(frozen=True, slots=True)
class Sighting:
    """One operation on parameters: its tensors and, after two passes are compared, their sample axes (None: no sample).

    used: whether the batch takes part, or only parameters and constants.
    """

    key: Key
    used: bool
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    input_axes: tuple[Axis | None, ...] = ()
    output_axes: tuple[Axis | None, ...] = ()

    @property
    def by_sample(self) -> bool:
        """Whether an output has a sample axis."""
        return any(axis is not None for axis in self.output_axes)


@dataclass(frozen=True, slots=True)
class Layouts:
    """Sample axes of every operation on parameters, by key."""

    known: dict[Key, Sighting]

    def spread(self) -> frozenset[Key]:
        """Operations that repeat parameters for each sample although the batch takes no part (a class token)."""
        return frozenset(
            key for key, sighting in self.known.items() if sighting.by_sample and not sighting.used
        )

    def of(self, key: Key) -> Sighting:
        """The operation's sighting; LayerError when the passes over two and three samples did not show it."""
        if key not in self.known:
            names = "', '".join(key[1])
            raise LayerError(
                f"The model applied {key[0]} to '{names}' in this batch, but not (or not as often) in the passes over "
                "two and three samples before: its operations depend on the data, so rows have no known sample. "
                "Expected the same operations for every batch. Rewrite the branch with torch.where."
            )
        return self.known[key]


def compared(two: Sequence[Sighting], three: Sequence[Sighting]) -> Layouts:
    """Sample axes from the same pass over two and over three samples, of which two are the same."""
    others = {sighting.key: sighting for sighting in three}
    by_key = {}
    for small in two:
        large = others.get(small.key)
        if (
            large is None
            or len(large.inputs) != len(small.inputs)
            or len(large.outputs) != len(small.outputs)
        ):
            continue
        inputs = tuple(_axis(*pair) for pair in zip(small.inputs, large.inputs, strict=True))
        outputs = tuple(_axis(*pair) for pair in zip(small.outputs, large.outputs, strict=True))
        by_key[small.key] = Sighting(small.key, small.used, input_axes=inputs, output_axes=outputs)
    return Layouts(by_key)


def _axis(two: Tensor, three: Tensor) -> Axis | None:
    """The one axis that grows in proportion to the batch; of several rows a sample also the order, by their values."""
    if two.ndim != three.ndim:
        return None
    grown = [
        axis
        for axis, (a, b) in enumerate(zip(two.shape, three.shape, strict=True))
        if a != b and 3 * a == 2 * b
    ]
    if len(grown) != 1:
        return None
    rows = two.shape[grown[0]] // 2
    if rows == 1:
        return Axis(grown[0])
    differences = {inner: _difference(two, three, Axis(grown[0], inner)) for inner in (False, True)}
    return Axis(grown[0], differences[True] < differences[False])


def _difference(two: Tensor, three: Tensor, axis: Axis) -> float:
    """Difference of the first sample's rows between the two passes, if rows lie as `axis` states."""
    in_two, in_three = by_rows(two, axis, 2)[0].double(), by_rows(three, axis, 3)[0].double()
    return float((in_two - in_three).abs().nan_to_num().sum())


def by_rows(value: Tensor, axis: Axis | None, b: int, where: str = "") -> Tensor:
    """The tensor as (b, f, ...): samples on axis 0, then the f rows of each (1 unless the axis counts several)."""
    if axis is None or value.shape[axis.at] % b:
        raise LayerError(
            f"At '{where}', a tensor of shape {tuple(value.shape)} has no axis that counts {b} samples. Expected "
            "operations whose rows belong to one sample each."
        )
    rows, f = value.movedim(axis.at, 0), value.shape[axis.at] // b
    return rows.unflatten(0, (f, b)).transpose(0, 1) if axis.inner else rows.unflatten(0, (b, f))
