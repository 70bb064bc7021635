"""The folders of runs, datasets and demos on this server, and the check of a typed path. No Streamlit.

INFLUENCE_RUNS   folder of the run folders; default ./runs
INFLUENCE_DATA   folders from which datasets and models may be opened, separated like PATH; default: the folder
                 the server was started in
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from influence_core.errors import DataError

APP = Path(__file__).resolve().parents[3]
"""Holds app.py, pages/ and sample_data/: the project folder, or influence_core/_app in an installed wheel."""

DEMO = APP / "sample_data" / "fashion"
FAIRNESS_DEMO = APP / "sample_data" / "adult"


def runs_root() -> Path:
    """The folder of all run folders; it need not exist yet. Set but empty counts as not set."""
    return Path(os.environ.get("INFLUENCE_RUNS") or "runs").resolve()


def data_roots() -> tuple[Path, ...]:
    """The folders from which datasets and models may be opened. The bundled samples are always among them."""
    named = os.environ.get("INFLUENCE_DATA")
    roots = [Path(part) for part in named.split(os.pathsep) if part] if named else [Path.cwd()]
    return (*(root.resolve() for root in roots), APP / "sample_data")


def permitted(text: str, what: str) -> Path:
    """A typed path, resolved, if it exists inside one of the data roots.

    Links are followed before the check, so that a link inside a root cannot lead outside.

    Raises:
        DataError: nothing is typed, or the path lies outside the data roots or does not exist.
    """
    if not text.strip():  # joined to a root it would be the root itself, and all of it would be read
        raise DataError(f"No path is typed. Type where the {what} lies on this server.")
    typed = Path(text.strip()).expanduser()
    bases = [typed] if typed.is_absolute() else [root / typed for root in data_roots()]
    inside = [path for path in (base.resolve() for base in bases) if _is_inside(path)]
    if not inside:
        raise DataError(
            f"The {what} '{text}' lies outside the folders this server may read. Copy it into the folder in which the "
            "server was started, or start the server with INFLUENCE_DATA set to its folder."
        )
    existing = next((path for path in inside if path.exists()), None)
    if existing is None:
        raise DataError(
            f"There is no {what} at '{text}' in the folders this server may read: those of INFLUENCE_DATA, or else the "
            "one it was started in. Check the spelling; the path is one on the server, not on your own computer."
        )
    return existing


def _is_inside(path: Path) -> bool:
    """Whether a path is in a data root and not among the runs, which have owners, like the uploads beneath them."""
    return any(path.is_relative_to(root) for root in data_roots()) and not path.is_relative_to(runs_root())


def as_named(message: str) -> str:
    """A message without the folders of this server: a file is called as the person who brought it calls it.

    What lies in an upload is named from there, other files from the folder of runs or of data in which they lie.
    """
    root = re.escape(str(runs_root()))
    within = rf"{root}/\.uploads/[0-9a-f]+/(?:store/)?"
    folders = "|".join([within, *(re.escape(f"{folder}/") for folder in (runs_root(), *data_roots()))])
    return re.sub(rf"(?<![\w/.-])(?:{folders})(?=[^\s'\"])", "", message)
