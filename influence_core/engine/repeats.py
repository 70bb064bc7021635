"""Repeats: the same sample read again, and the same batch run again, so that randomness never passes for a score.

A random transform makes another sample of each read, and a score of it belongs to one draw. Dropout that ignores eval()
makes another output of each run. Neither is dependence between samples, and each has another remedy.

    samples   every read is compared with the first one of the same sample. Of a dataset that is new here, up to 64
              samples are read four times at once; all of them once more when reading draws random numbers, or is cheap
    models    three samples are run twice; up to 192 times when running draws random numbers. A draw of odds 0.1 that
              decides for the whole batch is then missed with 0.9^192 = 2e-9, dropout of one unit with less
"""

import random
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass, replace
from time import perf_counter
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from influence_core.data import Samples
from influence_core.engine import batches as loop
from influence_core.engine.given_samples import as_rows, read, source_of
from influence_core.engine.watching.nested import replaced, tensors_in
from influence_core.engine.watching.operations import label
from influence_core.engine.watching.watch import heard_calls, scoring
from influence_core.errors import DataError, LayerError

COMPARED, READS = 64, 4
"""Samples compared at once, spread over the data, and reads of each: odds of 0.05 are missed with 0.95^256 = 2e-6."""
SECONDS = 2.0
"""Time after which the comparison at once ends; and expected time up to which all samples are read once more."""
ROWS = 3
"""Samples on which a model is run twice."""
RUNS, LONGEST = 192, 5.0
"""Runs of a model that draws random numbers, and the seconds after which 16 are enough."""
WITHIN = {torch.float32: 1e-4, torch.float64: 1e-9}
"""Largest difference between two runs that rounding explains, as a share of the largest output."""


@final
class Steady(Dataset):
    """A person's dataset that compares every read of a sample with the first one."""

    reads_compared = True

    def __init__(self, dataset: Any) -> None:
        self.dataset = as_rows(dataset)
        self.reads = np.zeros(len(self.dataset), np.int64)
        self._marks = np.zeros(len(self.dataset), np.uint32)

    def __len__(self) -> int:
        return len(self.reads)

    def __getitem__(self, row: int) -> Any:
        item = self.dataset[row]
        mark = _mark(item)
        if self.reads[row] and self._marks[row] != mark:
            raise DataError(_differs(*source_of(self.dataset, row)))
        self._marks[row] = mark
        self.reads[row] += 1
        return item

    def __getattr__(self, name: str) -> Any:
        """Classes, groups and labels are those of the dataset."""
        if name.startswith("__") or name == "dataset":
            raise AttributeError(name)
        return getattr(self.dataset, name)

    @property
    def compared(self) -> int:
        """Number of samples that were read more than once, and did not differ."""
        return int((self.reads > 1).sum())


def steady(samples: Any) -> Any:
    """The samples as rows whose reads are compared; unchanged if they lie in memory or are compared already.

    Raises:
        DataError: something without rows, or a sample that differs when it is read again.
    """
    samples = as_rows(samples)
    if is_steady(samples):
        return samples
    watched = Steady(samples)
    _compare_some(watched)
    return watched


def is_steady(samples: Any) -> bool:
    """Whether a second read cannot differ unnoticed: our samples, tensors in memory, or reads that are compared."""
    if isinstance(samples, Subset):
        return is_steady(samples.dataset)
    if isinstance(samples, ConcatDataset):
        return all(is_steady(part) for part in samples.datasets)
    fixed = isinstance(samples, Samples | list | tuple) or type(samples) is TensorDataset
    return fixed or getattr(samples, "reads_compared", False)


def compared(samples: Any) -> int:
    """Number of samples whose reads were compared: all of them, but for a dataset that was partly read once."""
    return samples.compared if isinstance(samples, Steady) else len(samples)


def _compare_some(samples: Steady) -> None:
    n, began, states = len(samples), perf_counter(), _random_states()
    rows = [row * n // min(n, COMPARED) for row in range(min(n, COMPARED))]
    for done, row in enumerate(rows):
        read(samples, row)
        if done >= 2 and perf_counter() - began > SECONDS / READS:
            rows = rows[: done + 1]
            break
    for _ in range(READS - 1):
        for row in rows:
            read(samples, row)
    a_read = (perf_counter() - began) / max(1, READS * len(rows))
    if not _same(states, _random_states()) or n * a_read <= SECONDS:
        for row in np.flatnonzero(samples.reads == 0).tolist():
            read(samples, row)


def _mark(value: Any, mark: int = 0) -> int:
    """CRC-32 of the numbers in an item; what holds none is no part of it."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    if isinstance(value, np.ndarray | np.generic):
        array = np.ascontiguousarray(value)
        return mark if array.dtype.hasobject else zlib.crc32(array.view(np.uint8).data, mark)
    if isinstance(value, str | int | float | bool | bytes):
        return zlib.crc32(repr(value).encode("utf-8", "surrogatepass"), mark)
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            mark = _mark(part, mark)
    return mark


def _differs(dataset: Any, row: int) -> str:
    places = getattr(dataset, "transform", None), getattr(dataset, "transforms", None)
    found = re.findall(r"\b(?:Random|Auto|Color|Gauss|Elastic|Trivial|Aug)\w*", " ".join(map(repr, places)))
    named = f" ({', '.join(dict.fromkeys(found))})" if found else ""
    return (
        f"Sample {row} differs when it is read twice, so a score would belong to one random version of it. Expected "
        f"the same sample each time: switch the random transform{named} off, for example by dataset.transform = the "
        "one that is used for validation."
    )


def repeating(model: nn.Module, samples: Any) -> Any:
    """The samples as rows whose reads are compared, after checking that the model repeats on the first three.

    Raises:
        DataError: something without rows, or a sample that differs when it is read again.
        LayerError: the model gives another output for the same batch.
    """
    samples = steady(samples)
    for batch in loop.batches(samples, ROWS, like=model, stop=min(ROWS, len(samples))):
        check_repeats(model, batch)
    return samples


def check_repeats(model: nn.Module, batch: loop.Batch, *, thorough: bool = False) -> None:
    """Raise LayerError when the model gives another output for the same batch; it is restored afterwards.

    thorough: run it as often as if it had drawn random numbers; for generators of its own.
    """
    loop.check_weights(model)
    device, dtype = loop.home(model)
    within = WITHIN.get(dtype, 1e-2)

    def run() -> list[Tensor]:
        return [value.detach().clone() for value in _tensors(loop.outputs_of(model, _copied(batch)))]

    with scoring(model), torch.no_grad(), loop.buffers_kept(model):
        states, first, began = _random_states(device), run(), perf_counter()
        drawn = not _same(states, _random_states(device))
        for done in range(RUNS if drawn or thorough else 1):
            if not _equal(first, run(), within):
                raise LayerError(_random_message(model, batch, within))
            if done >= 16 and perf_counter() - began > LONGEST:
                break


def _copied(batch: loop.Batch) -> loop.Batch:
    """The same batch for a model that may change its inputs in place."""
    return replace(batch, inputs=replaced(batch.inputs, {id(x): x.clone() for x in tensors_in(batch.inputs)}))


def _tensors(output: Any) -> list[Tensor]:
    """All tensors of an output, also of a dataclass."""
    fields = is_dataclass(output) and not isinstance(output, dict)
    return tensors_in(vars(output) if fields else output)


def _equal(first: Sequence[Tensor], again: Sequence[Tensor], within: float) -> bool:
    if [value.shape for value in first] != [value.shape for value in again]:
        return False
    return all(
        torch.allclose(one, two, rtol=0.0, atol=within * _largest(one), equal_nan=True)
        for one, two in zip(first, again, strict=True)
        if one.is_floating_point() and one.numel()
    )


def _largest(values: Tensor) -> float:
    return float(values.nan_to_num(0.0, 0.0, 0.0).abs().amax())


def _random_message(model: nn.Module, batch: loop.Batch, within: float) -> str:
    """Error message for a model that draws random numbers in evaluation mode, with the place and the operation."""
    first, place = _module_outputs(model, batch), ""
    for _ in range(RUNS):
        again = _module_outputs(model, batch)
        off = (path for path, values in first.items() if not _equal(values, again.get(path, []), within))
        if place := next(off, ""):
            break
    with scoring(model), torch.no_grad(), _Draws() as draws:
        loop.outputs_of(model, _copied(batch))
    where = f"at '{place}'" if place else "after its last layer"
    what = f", by {draws.operation}" if draws.operation else ""
    return (
        f"The model gives another output when the same batch is run twice (first seen {where}{what}), so no score "
        "would repeat. Expected the same output in evaluation mode. Dropout called as a function ignores eval(): use "
        "nn.Dropout, or functional.dropout(x, p, training=self.training); draw other random numbers only if "
        "self.training."
    )


def _module_outputs(model: nn.Module, batch: loop.Batch) -> dict[str, list[Tensor]]:
    """Tensors that each module returned, by path, in the order in which modules finish."""
    outputs: dict[str, list[Tensor]] = {}

    def keep(path: str, output: Any) -> None:
        outputs.setdefault(path, []).extend(value.detach().clone() for value in _tensors(output))

    parts = [(path, module) for path, module in model.named_modules() if path]
    with heard_calls(parts, after=keep), scoring(model), torch.no_grad():
        loop.outputs_of(model, _copied(batch))
    return outputs


class _Draws(TorchFunctionMode):
    """Context that names the first operation that draws random numbers."""

    operation = ""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        before = torch.get_rng_state()
        out = func(*args, **(kwargs or {}))
        if not self.operation and not torch.equal(before, torch.get_rng_state()):
            self.operation = label(func).strip("_")
        return out


def _random_states(device: torch.device | None = None) -> list[Any]:
    """The states of the generators that a dataset or a model may draw from."""
    states: list[Any] = [torch.get_rng_state().numpy().tobytes(), random.getstate()]
    states.append(
        [part.tobytes() if isinstance(part, np.ndarray) else part for part in np.random.get_state()]
    )
    if device is not None and device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device).numpy().tobytes())
    return states


def _same(before: list[Any], after: list[Any]) -> bool:
    return before == after
