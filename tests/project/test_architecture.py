"""Imports go one way, the core never meets the UI, and the public names are all there."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import influence_core

ROOT = Path(__file__).resolve().parents[2]
CORE = sorted((ROOT / "influence_core").rglob("*.py"))
PAGES = sorted((ROOT / "pages").rglob("*.py"))
UI = {"streamlit", "plotly"}

LEVELS = {
    "errors": 0,
    "data": 1,
    "models": 2,
    "engine": 3,
    "scores": 4,
    "objectives": 4,
    "analysis": 6,
    "training": 4,
    "repair": 5,
    "verification": 6,
    "worker": 7,
    "jobs": 7,
    "cli": 8,
}
"""Rooms that may be imported only by rooms of the same or a higher number."""


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if parts[0] == "influence_core" and len(parts) > 1 else None


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_core_never_imports_the_ui_or_a_page(path):
    heads = {name.split(".")[0] for name in imports(path)}
    assert not heads & (UI | {"pages", "app"}), "the core must stay usable from a notebook"


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if own not in LEVELS:
        return
    for name in imports(path):
        other = room(name)
        if other in LEVELS:
            assert LEVELS[other] <= LEVELS[own], f"{own} imports {other}, which is above it"


def test_only_the_engine_loops_over_batches():
    """One batch loop: a second one would drift in order, mode or device."""
    loaders = [p for p in CORE if "DataLoader" in p.read_text(encoding="utf-8")]
    assert not loaders, f"{loaders} build a DataLoader; use engine.batches.batches"


def test_public_names_are_sorted_complete_and_real():
    assert influence_core.__all__ == sorted(influence_core.__all__)
    for name in influence_core.__all__:
        value = getattr(influence_core, name)
        assert value.__doc__, f"{name} has no docstring"
        assert not isinstance(value, type(sys)), f"ic.{name} is a module, not the thing of that name"
    with pytest.raises(AttributeError, match="offers"):
        influence_core.no_such_name  # noqa: B018


def test_importing_the_package_is_light():
    """A page that only watches a job must not wait for torch."""
    code = "import sys, influence_core.jobs.submission, influence_core.run_files.tables; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert said.stdout.strip() == "False"


@pytest.mark.parametrize("path", CORE + PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), (
        "give the file its question as a docstring"
    )


def test_every_error_is_in_the_family():
    errors = importlib.import_module("influence_core.errors")
    for name, value in vars(errors).items():
        if isinstance(value, type):
            assert issubclass(value, errors.InfluenceError) and name in errors.__doc__, (
                f"{name} is not in the tree"
            )
