"""Every file has a room, imports go to lower floors, the core never meets the UI, and public names are all there."""

import ast
import importlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import influence_core

ROOT = Path(__file__).resolve().parents[2]
CORE = sorted((ROOT / "influence_core").rglob("*.py"))
PAGES = sorted((ROOT / "pages").rglob("*.py"))
UI = {"streamlit", "plotly"}

FLOORS = (
    ("errors",),
    ("system",),
    ("data",),
    ("models", "engine", "run_files"),
    ("objectives", "inputs", "judging", "decisions"),
    ("scores", "runs", "repair"),
    ("training", "analysis", "exports"),
    ("verification",),
    ("jobs", "cli"),
    ("intake", "worker"),
)
"""The rooms of influence_core, lowest floor first. A room imports rooms of lower floors only."""

PAGE_FLOORS = (
    ("words",),
    ("charts",),
    ("shell",),
    ("server", "components"),
    ("samples", "bring", "repairs", "reports"),
    ("main",),
)
"""The rooms of pages/ui, lowest floor first."""

MOST_ROOMS = 21
NO_ROOMS = {"__init__", *influence_core.__all__}


def imports(path: Path) -> set[str]:
    """Every dotted name that a file imports, at its top, within a function or for types alone."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@dataclass(frozen=True)
class House:
    """A house of rooms: the package they lie in, and their floors."""

    package: str
    floors: tuple[tuple[str, ...], ...]

    @property
    def files(self) -> list[Path]:
        return sorted((ROOT / self.package.replace(".", "/")).rglob("*.py"))

    @property
    def floor(self) -> dict[str, int]:
        return {room: number for number, rooms in enumerate(self.floors) for room in rooms}

    def room_of(self, dotted: str) -> str | None:
        """The room a dotted name lies in; none outside the package, for itself and for its public names."""
        head, inside = f"{self.package}.", dotted.removeprefix(f"{self.package}.").split(".")[0]
        return inside if dotted.startswith(head) and inside not in NO_ROOMS else None

    def own_room(self, path: Path) -> str | None:
        return self.room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))


HOUSES = (House("influence_core", FLOORS), House("pages.ui", PAGE_FLOORS))
EVERY_ROOMED_FILE = [(house, path) for house in HOUSES for path in house.files]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def upward_imports(house: House) -> dict[tuple[str, str], list[str]]:
    """The pairs of rooms (from, to) whose import does not go down, each with the files that make it."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for path in house.files:
        own = house.own_room(path)
        others = {house.room_of(name) for name in imports(path)} - {own, None} if own else set()
        for other in others:
            if house.floor[other] >= house.floor[own]:
                pairs.setdefault((own, other), []).append(relative(path))
    return pairs


@pytest.mark.parametrize("path", CORE, ids=relative)
def test_the_core_never_imports_the_ui_or_a_page(path):
    heads = {name.split(".")[0] for name in imports(path)}
    assert not heads & (UI | {"pages", "app"}), "the core must stay usable from a notebook"


@pytest.mark.parametrize(
    ("house", "path"),
    EVERY_ROOMED_FILE,
    ids=lambda value: relative(value) if isinstance(value, Path) else value.package,
)
def test_every_file_has_a_room(house, path):
    own = house.own_room(path)
    assert own is None or own in house.floor, (
        f"{relative(path)} lies in no room of the plan: move it into one"
    )


@pytest.mark.parametrize("house", HOUSES, ids=lambda house: house.package)
def test_the_rooms_are_those_on_disk_and_few(house):
    """A room that lost its last file must leave the plan too."""
    assert {house.own_room(path) for path in house.files} - {None} == set(house.floor)
    assert len(house.floor) <= MOST_ROOMS


@pytest.mark.parametrize("house", HOUSES, ids=lambda house: house.package)
def test_imports_go_to_lower_floors(house):
    assert not (pairs := upward_imports(house)), f"imports that go up or sideways, by pair of rooms: {pairs}"


def module_of(path: Path) -> str:
    """The dotted name of a file; a package goes by its folder."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The groups of files that import each other on a round trip."""

    def reached(start: str) -> set[str]:
        seen, waiting = set(), [start]
        while waiting:
            for other in graph.get(waiting.pop(), set()) - seen:
                seen.add(other)
                waiting.append(other)
        return seen

    reach = {name: reached(name) for name in graph}
    groups = {frozenset(other for other in reach[name] if name in reach[other]) for name in graph}
    return [set(group) for group in groups if group]


def test_a_circle_is_found_wherever_it_begins():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]


def test_no_file_leads_back_to_itself():
    """Imports within functions and for types alone count: they hide a circle, they do not open it."""
    modules = {module_of(path): path for path in CORE + PAGES}
    graph = {}
    for name, path in modules.items():
        named = imports(path)
        inner = {
            one.rpartition(".")[0] for one in named if one in modules
        }  # `from package import file` names both
        graph[name] = {one for one in named if one in modules and one not in inner - {name}} - {name}
    hidden = "influence_core.runs.explanations"
    assert hidden in graph["influence_core.runs.run"], "an import within a function was not seen"
    assert not circles(graph)


def test_no_file_takes_a_private_name_of_another():
    taken = []
    for path in CORE + PAGES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in (
                "influence_core",
                "pages",
            ):
                taken += [f"{relative(path)}: {a.name}" for a in node.names if a.name.startswith("_")]
    assert not taken, "a name that others need is no private one: drop its underscore"


@pytest.mark.parametrize("room", ["words", "charts"])
def test_sentences_and_charts_know_neither_streamlit_nor_jobs(room):
    """They are drawn in tests and reports too, where no browser waits and nothing may be started."""
    for path in sorted((ROOT / "pages" / "ui" / room).glob("*.py")):
        heads = {".".join(name.split(".")[:2]) for name in imports(path)}
        assert not heads & {"streamlit", "influence_core.jobs"}, f"{relative(path)} imports one of them"


def test_only_the_engine_loops_over_batches():
    """One batch loop: a second one would drift in order, mode or device."""
    loaders = [p for p in CORE if "DataLoader(" in p.read_text(encoding="utf-8")]
    assert not loaders, f"{loaders} build a DataLoader; use engine.batches.batches"


def test_public_names_are_sorted_complete_and_real():
    assert influence_core.__all__ == sorted(influence_core.__all__)
    for name in influence_core.__all__:
        value = getattr(influence_core, name)
        assert value.__doc__, f"{name} has no docstring"
        assert not isinstance(value, type(sys)), f"ic.{name} is a module, not the thing of that name"
    with pytest.raises(AttributeError, match="offers"):
        influence_core.no_such_name  # noqa: B018


def test_importing_what_shows_a_run_is_light():
    """A page that shows a run or watches a job must not wait for torch."""
    code = (
        "import sys, influence_core.jobs.submission, influence_core.runs.run, "
        "influence_core.decisions.log; print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert said.stdout.strip() == "False"


@pytest.mark.parametrize("path", CORE + PAGES, ids=relative)
def test_every_file_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "state in a docstring what it is"


def test_every_error_is_in_the_family():
    errors = importlib.import_module("influence_core.errors")
    for name, value in vars(errors).items():
        if isinstance(value, type):
            assert issubclass(value, errors.InfluenceError) and name in errors.__doc__, (
                f"{name} is not in the tree"
            )
