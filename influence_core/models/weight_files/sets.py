"""Sets of weights in one file, such as raw and averaged ones: one is chosen by name, never silently.

{"model": ..., "model_ema": ...}                sets of a pickled file, by the keys that lead to them
model.conv1.weight, model_ema.conv1.weight      sets of one table, by what stands before the names of a network
"""

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import torch

from influence_core.errors import ModelError, SeveralSetsError
from influence_core.models.guess import MARKS
from influence_core.models.weight_files.spellings import unprefixed

Tensors = dict[str, torch.Tensor]
MOST_SHOWN = 8
PLAIN = "plain"
"""The key of a set whose names stand in the file without a prefix."""
AVERAGED = re.compile("ema|swa|avg|average|teacher|shadow")
ALIKE = 0.9
"""Share of a network's names that a second set has too."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of one network by name, what was said about the choice, and its key where there was one."""

    tensors: Tensors
    notes: tuple[str, ...] = ()
    key: str | None = None


def chosen(tables: Mapping[str, Tensors], key: str | None, file: str) -> Weights:
    """Return the set called `key`; without a key the only one, or any of several that hold equal numbers.

    Raises:
        SeveralSetsError: there are several different ones and no key.
        ModelError: no set has this key.
    """
    found = [(name, one) for path, table in tables.items() for name, one in networks(path, table).items()]
    nameless = [name for name, one in found if all(tensor.isdecimal() for tensor in one)]
    named = [(name or PLAIN, one) for name, one in found if name not in nameless]
    if not named:
        raise ModelError(
            f"{file} holds tensors without names under {', '.join(nameless)}; expected a state dict."
        )
    sets = dict(sorted(named, key=lambda item: AVERAGED.search(item[0]) is not None))
    left = tuple(
        f"{file} also holds tensors without names under {name}, perhaps averages; left out."
        for name in nameless
    )
    weights = only(sets, key, file)
    return replace(weights, notes=(*weights.notes, *left))


def only(sets: Mapping[str, Tensors], key: str | None, file: str) -> Weights:
    """Return the set called `key`, else the only one."""
    if key is not None and key not in sets:
        raise ModelError(f"{file} has no weights under {key!r}. It holds {listed(sets)}.")
    if key is not None and len(sets) > 1:
        left = ", ".join(name for name in sets if name != key)
        return Weights(
            sets[key], (f"Of the sets of weights in {file}, {key} was read; left out: {left}.",), key
        )
    first = next(iter(sets.values()))
    if len(sets) == 1:
        return Weights(first)
    if all(equal(first, other) for other in sets.values()):
        return Weights(first, (f"{file} holds the same weights {len(sets)} times: {listed(sets)}.",))
    last = list(sets)[-1]
    raise SeveralSetsError(
        f"{file} holds {len(sets)} different sets of weights: {listed(sets)}. They give different scores, and averaged "
        f"ones (ema, swa) are usually the ones to use. Choose one: --weights-key {shlex.quote(last)} on the command "
        f"line, open_model(path, weights_key={last!r}) in Python.",
        tuple(sets),
    )


def networks(path: str, table: Tensors) -> dict[str, Tensors]:
    """Return the networks in one table by name: more than one where several prefixes hold the same family's mark."""
    places = places_of_marks(table)
    if not places:
        return {path: table}
    others = {
        place: tuple(other for other in places if other.startswith(place) and other != place)
        for place in places
    }
    rest = {name: value for name, value in table.items() if not name.startswith(tuple(places))}
    return {
        (path if len(places) == 1 else ".".join(filter(None, (path, place.rstrip("."))))): {
            name.removeprefix(place): value
            for name, value in table.items()
            if name.startswith(place) and not name.startswith(others[place])
        }
        | rest
        for place in places
    }


def places_of_marks(names: Collection[str]) -> list[str]:
    """Return what stands before the mark of the first family found: "" for a network by itself."""
    for mark, _ in MARKS:
        places = [name.removesuffix(mark) for name in names if name == mark or name.endswith(f".{mark}")]
        if places:
            return places if "" not in places else ["", *copies(names, [place for place in places if place])]
    return []


def copies(names: Collection[str], places: list[str]) -> list[str]:
    """Return the places where nearly all names of the network are found again; others are parts of one network."""
    plain = {name for name in names if not name.startswith(tuple(places))} if places else set()
    return [
        place for place in places if sum(f"{place}{name}" in names for name in plain) > ALIKE * len(plain)
    ]


def equal(one: Tensors, other: Tensors) -> bool:
    one, other = unprefixed(one), unprefixed(other)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def listed(sets: Mapping[str, Tensors]) -> str:
    named = [f"{name} ({len(table):,} tensors)" for name, table in sets.items()]
    more = f" and {len(named) - MOST_SHOWN} more" if len(named) > MOST_SHOWN else ""
    return ", ".join(named[:MOST_SHOWN]) + more
