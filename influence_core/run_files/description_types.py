"""The types of the parts of run.json, checked whenever it is read.

run.json may have been edited by hand or by another tool. A part of another type would break a page far from the cause.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from influence_core.errors import RunError
from influence_core.system.times import is_time

STATES = ("running", "finished", "cancelled", "failed")
Kinds = tuple[type, ...]
TEXT: Kinds = (str,)
TEXT_OR_NONE: Kinds = (str, type(None))
NUMBER: Kinds = (int, float, type(None))
COUNT: Kinds = (int, type(None))
OBJECT: Kinds = (dict,)
LIST: Kinds = (list,)

TYPES: Mapping[str, Kinds] = {
    "id": TEXT,
    "state": TEXT,
    "created": TEXT,
    "finished": TEXT_OR_NONE,
    "reason": TEXT_OR_NONE,
    "name": TEXT_OR_NONE,
    "inputs": OBJECT,
    "inputs.*": OBJECT,
    "inputs.*.path": TEXT_OR_NONE,
    "inputs.*.name": TEXT_OR_NONE,
    "inputs.*.fingerprint": TEXT_OR_NONE,
    "inputs.dataset.classes": LIST,
    "inputs.dataset.classes.*": TEXT,
    "inputs.dataset.n_train": COUNT,
    "inputs.dataset.n_val": COUNT,
    "inputs.dataset.n_test": COUNT,
    "inputs.dataset.set_aside": COUNT,
    "inputs.dataset.notes": LIST,
    "inputs.dataset.notes.*": TEXT,
    "inputs.dataset.options": (dict, type(None)),
    "inputs.model.architecture": TEXT_OR_NONE,
    "inputs.model.parameters": COUNT,
    "settings": OBJECT,
    "versions": OBJECT,
    "seed": COUNT,
    "preflight": (dict, type(None)),
    "objectives": OBJECT,
    "objectives.*": OBJECT,
    "notes": LIST,
    "notes.*": TEXT,
    "columns": OBJECT,
    "columns.*": OBJECT,
    "results": OBJECT,
    "results.cut": NUMBER,
    "results.flagged": COUNT,
    "results.expected_errors": NUMBER,
    "reproducibility": (dict, type(None)),
    "robustness": (dict, list, type(None)),
    "timings": OBJECT,
    "timings.*": NUMBER,
    "files": OBJECT,
}
"""Types by the part's name; * is every entry. A part may be missing: versions before this one had fewer."""
NEEDED = ("inputs.dataset.classes", "inputs.model", "settings", "columns", "results", "files")
"""Without these a finished run cannot be shown."""


def check_types(path: Path, content: Mapping[str, Any]) -> None:
    """Raise RunError, with the name of the part, unless every part of run.json has its type."""
    for name, kinds in TYPES.items():
        for part, value in _parts(content, name.split(".")):
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise RunError(
                    f'{path}: "{part}" is {_short(value)}, expected {_words(kinds)}. The run is damaged: restore '
                    f"run.json, or analyse again into another folder."
                )
    for part, fits, expected in (
        ("state", content["state"] in STATES, ", ".join(STATES)),
        ("created", is_time(content["created"]), "a time such as 2026-11-22T08:30:00Z"),
    ):
        if not fits:
            raise RunError(
                f'{path}: "{part}" is {_short(content[part])}, expected {expected}. The run is damaged: restore '
                f"run.json, or analyse again into another folder."
            )


def check_complete(path: Path, content: Mapping[str, Any]) -> None:
    """Raise RunError, with the name of the part, when a finished run lacks what is shown of it."""
    missing = [name for name in NEEDED if not any(True for _ in _parts(content, name.split(".")))]
    if missing:
        raise RunError(
            f"{path} lacks {', '.join(missing)}. The run is damaged: restore run.json, or analyse again into another "
            f"folder."
        )


def _parts(content: Any, names: Sequence[str], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every value at a path of names that is there, with its own name."""
    if not names:
        yield before, content
        return
    first, *rest = names
    entries: Any = dict(enumerate(content)) if isinstance(content, list) else content
    if not isinstance(entries, dict):
        return
    for name in entries if first == "*" else [first] if first in entries else ():
        yield from _parts(entries[name], rest, f"{before}.{name}" if before else str(name))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _words(kinds: Kinds) -> str:
    words = {
        str: "text",
        int: "a whole number",
        float: "a number",
        dict: "an object {...}",
        list: "a list [...]",
    }
    return " or ".join(words.get(kind, "null") for kind in kinds)
