"""Work has one door: nothing else in the pages starts or stops a job, and the door opens for owners only."""

import ast
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from influence_core.errors import AccessError
from influence_core.jobs import process, repair_jobs, status, submission
from influence_core.run_files.progress import write_progress
from influence_core.system import locks
from pages.ui.bring import (
    check_step,
    child_question,
    data_step,
    model_step,
    plan,
    questions,
    trial_panel,
)
from pages.ui.shell import more_work
from tests.app.brought import bring
from tests.app.conftest import MAIN, PAGES, Open, SignIn, texts
from tests.making.drawn_run import make_small_run

SOURCES = sorted([*MAIN.parents[1].rglob("*.py"), *MAIN.parents[2].glob("app.py")])
DOOR = Path(more_work.__file__)
ROOMS = tuple(module.__name__ for module in (submission, process, status, repair_jobs))
READING = {
    "JAIL", "JobSpec", "JobStatus", "active", "kind_of", "limit", "read_job", "status", "title_of",
}  # fmt: skip
"""What anybody may use of the rooms that hold jobs: it reads. Everything else starts or stops work."""
PROCESSES = ("subprocess.", "multiprocessing.", "os.fork", "os.spawn", "os.system", "os.exec", "os.kill")


def named(path: Path) -> list[tuple[int, str]]:
    """Every dotted name of a file with its line, imports resolved."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: dict[str, str] = {}
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            given = {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            names |= given
            found += [(node.lineno, name) for name in given.values()]
        elif isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            head, _, rest = ast.unparse(node).partition(".")
            found.append((node.lineno, f"{names.get(head, head)}.{rest}"))
    return found


def of_jobs(name: str) -> bool:
    """Whether a name belongs to a room of jobs, or to the package they lie in."""
    room = name.rpartition(".")[0]
    return room != "influence_core" and any(f"{own}.".startswith(f"{room}.") for own in ROOMS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_only_the_door_starts_or_stops_work(path: Path) -> None:
    for line, name in named(path):
        last = name.rpartition(".")[2]
        if path != DOOR and of_jobs(name) and name not in ROOMS:
            assert last in READING, f"{path.name}:{line} uses {name}: a role check would be forgotten here"
        if path != Path(child_question.__file__):
            assert not name.startswith(PROCESSES), (
                f"{path.name}:{line} uses {name}; only child_question.py may"
            )


def test_the_law_sees_what_it_forbids() -> None:
    names = {name for _, name in named(DOOR) if of_jobs(name)} - set(ROOMS)
    assert {name.rpartition(".")[2] for name in names} - READING == {
        "submit", "launch", "cancel", "kill", "submit_prediction", "submit_verification",
    }  # fmt: skip
    assert any(name.startswith(PROCESSES) for _, name in named(Path(child_question.__file__)))


# ---------------------------------------------------------------------------------------------- on the pages


@pytest.fixture
def server(root: Path) -> Path:
    """A finished run, one with groups, one that stopped early, and a recording that did; nothing at work."""
    run = make_small_run(root / "small", n=60, classes=3)
    make_small_run(root / "fair", n=120, gap=True)
    for folder in (root / "stopped", run.path / "recordings" / "1"):
        folder.mkdir(parents=True)
        job = {"format": 1, "dataset": "data", "model": "model", "name": folder.name}
        (folder / "job.json").write_text(json.dumps(job))
        write_progress(folder, {"state": "cancelled", "done": 3, "total": 9})
    return root


def work(root: Path) -> dict[str, int]:
    """The files that only work makes, and when they were written."""
    names = ("job.json", "progress.json", "cancel", "pid", "log.txt")
    return {str(path): path.stat().st_mtime_ns for path in root.rglob("*") if path.name in names}


@pytest.mark.parametrize(
    ("page", "run", "label"),
    [
        ("start", "small", "Explore the demo"),
        ("start", "small", "Explore the fairness demo"),
        ("start", "small", "Resume stopped"),
        ("overview", "stopped", "Resume"),
        ("fairness", "fair", "Measure fairness"),
        ("robustness", "small", "Measure robustness"),
        ("dynamics", "small", "Record again"),
        ("dynamics", "small", "Resume"),
        ("verify", "small", "Retrain and verify"),
        ("verify", "small", "Predict what it does"),
    ],
)
@pytest.mark.parametrize("email", ["eve@lab.org", "bob@lab.org"])
def test_who_is_no_owner_is_refused_on_every_page_that_starts_work(
    open_app: Open, server: Path, sign_in: SignIn, page: str, run: str, label: str, email: str
) -> None:
    """The button is drawn disabled; a click on one that was drawn for an owner is refused."""
    before = work(server)
    sign_in("ada@lab.org")
    app = open_app(page, run=run)
    button = next(button for button in app.button if button.label == label)
    sign_in(email)
    drawn = next(button for button in open_app(page, run=run).button if button.label == label)
    assert drawn.disabled and "Only owners" in drawn.help, f"'{label}' on {page} looks as if it could be used"
    button.click().run()
    assert not app.exception
    assert "takes the role owner" in texts(app), f"'{label}' on {page} forgot to check the role"
    assert work(server) == before, f"'{label}' on {page} started something all the same"


@pytest.mark.parametrize("page", PAGES)
def test_no_button_of_any_page_lets_a_viewer_start_or_stop_work(
    open_app: Open, server: Path, sign_in: SignIn, page: str
) -> None:
    """Whatever button is added later: a click by a viewer leaves no trace of work."""
    sign_in("eve@lab.org")
    before = work(server)
    for run in ("fair", "stopped"):
        for place in range(len(open_app(page, run=run).button)):
            app = open_app(page, run=run)
            if not (button := app.button[place]).disabled:
                button.click().run()
            assert not app.exception, f"'{button.label}' on {page}"
            assert work(server) == before, f"'{button.label}' on {page} started or stopped work"


def test_a_viewer_cannot_stop_work_either(open_app: Open, server: Path, sign_in: SignIn) -> None:
    folder = server / "stopped"
    descriptor = locks.acquire(folder / "lock")  # a process that works on it
    write_progress(folder, {"state": "running", "done": 3, "total": 9, "stage_index": 0, "stage_count": 5})
    sign_in("ada@lab.org")
    try:
        app = open_app("overview", run="stopped")
        sign_in("eve@lab.org")
        next(button for button in app.button if button.label == "Cancel").click().run()
        assert "takes the role owner" in texts(app) and not (folder / "cancel").exists()
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda run: more_work.resume(run),
        lambda run: more_work.cancel(run),
        lambda run: more_work.stop_at_once(run),
        lambda run: child_question.ask("a check", ["true"]),
    ],
)
def test_the_door_itself_refuses(server: Path, sign_in: SignIn, attempt: Callable[[Path], object]) -> None:
    sign_in("bob@lab.org")
    before = work(server)
    with pytest.raises(AccessError, match="takes the role owner"):
        attempt(server / "stopped")
    assert work(server) == before


def test_what_was_brought_is_changed_by_owners_only(root: Path, sign_in: SignIn) -> None:
    """A click may arrive after the role was taken away, from a page that was drawn for an owner."""
    upload = bring(root)
    before = {path: path.read_bytes() for path in upload.folder.rglob("*") if path.is_file()}
    sign_in("eve@lab.org")
    attempts = {
        "share": lambda: data_step.share(upload.id),
        "agree": lambda: data_step.agree(upload.id),
        "delete": lambda: data_step.delete(upload.id),
        "a dataset's path": data_step.take_path,
        "a model's path": model_step.take_path,
        "train one": lambda: model_step.train_one(upload.id),
        "forget the model": lambda: model_step.forget(upload.id),
        "the named model": lambda: model_step.take_named(upload.id, "model"),
        "the label": lambda: questions.set_label_column(upload.id, ["label"]),
        "try the model": lambda: trial_panel.begin(upload.id, {}),
        "another reading": lambda: trial_panel.use(upload.id, {}),
        "check": lambda: check_step.check(upload),
        "analyse": lambda: check_step.analyse(upload),
    }
    for name, attempt in attempts.items():
        with pytest.MonkeyPatch.context() as patch:
            said: dict[str, str] = {}
            patch.setattr(plan.st, "session_state", said)
            attempt()
        assert "takes the role owner" in said.get(plan.PROBLEM, ""), f"{name} forgot to check the role"
    after = {path: path.read_bytes() for path in upload.folder.rglob("*") if path.is_file()}
    assert after == before


def test_a_run_without_a_job_is_done_again_with_the_options_it_was_made_with(root: Path) -> None:
    """`influence analyze --label colour` writes no job.json."""
    run = make_small_run(root / "small")
    run.description["inputs"]["dataset"]["options"] = {"label": "colour", "skip_unreadable": True}
    specs = (more_work.record_spec(run), more_work.spec_with_robustness(run), more_work.spec_with(run, "x"))
    for spec in specs:
        assert spec is not None and spec.dataset_options == {"label": "colour", "skip_unreadable": True}
