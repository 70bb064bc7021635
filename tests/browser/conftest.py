"""A real server, a real Chromium and a fresh run for each browser test."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from influence_core.decisions.log import DecisionLog, decision_log_for
from influence_core.runs.run import Run
from tests.making.drawn_run import make_small_run
from tests.making.real_run import make_explained_run

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
HARNESS = Path(__file__).with_name("harness.py")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

expect.set_options(timeout=30_000)  # a busy machine is slow to start a page; no wait here is a measurement


class Server:
    """The harness or the app under Streamlit's own server, on one port for its whole life, also across kills."""

    def __init__(self, runs: Path, script: Path = HARNESS) -> None:
        self.runs, self._script = runs, script
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._log = runs / "server.log"

    def start(self) -> None:
        command = [sys.executable, "-m", "streamlit", "run", str(self._script)]
        options = ["--server.port", str(self.port), "--client.showErrorDetails", "full"]
        inherited = {name: value for name, value in os.environ.items() if name != "INFLUENCE_DECISIONS"}
        environment = {**inherited, "INFLUENCE_RUNS": str(self.runs), "OMP_NUM_THREADS": "1"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command + options, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self._wait_until_healthy()

    def kill(self) -> None:
        """As a machine that runs out of memory does it: no goodbye to anybody."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)

    def _wait_until_healthy(self) -> None:
        for _ in range(200):
            assert self._process.poll() is None, f"the server ended:\n{self._log.read_text()[-2000:]}"
            try:
                with urllib.request.urlopen(f"{self.address}/_stcore/health", timeout=1) as answer:
                    if answer.read() == b"ok":
                        return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError(f"the server did not answer within 20 s:\n{self._log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def server(runs_folder: Path) -> Iterator[Server]:
    server = Server(runs_folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")  # while it is open, Playwright keeps an event loop on the main thread
def browser() -> Iterator[Browser]:
    assert Path(CHROMIUM).exists(), (
        f"No Chromium at {CHROMIUM}. Install Debian's package `chromium`, or set CHROMIUM to another one."
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab of a new visitor; a script error in it fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(15_000)
    page, faults = context.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()
    assert not faults, f"the page raised {faults}"


_numbers = itertools.count()


@pytest.fixture
def run(runs_folder: Path) -> Run:
    """A run of its own: decisions of one test cannot be seen by another."""
    return make_small_run(runs_folder / f"small-{next(_numbers)}", n=120, classes=10)


@pytest.fixture
def log(runs_folder: Path) -> Iterator[DecisionLog]:
    log = decision_log_for(runs_folder)
    yield log
    log.close()


@pytest.fixture
def visit(page: Page, server: Server, run: Run):
    """Open a page of the harness on this test's run."""

    def go(path: str = "", **query: object) -> Page:
        page.goto(f"{server.address}/{path}?{urlencode({'run': run.path.name, **query})}")
        return page

    return go


@contextmanager
def serving(run: Run) -> Iterator[str]:
    """The real app on the folder of a run; its address."""
    server = Server(run.path.parent, ROOT / "app.py")
    server.start()
    try:
        yield server.address
    finally:
        server.stop()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a real model on a few real files, named real."""
    return make_explained_run(tmp_path_factory.mktemp("real") / "real", objectives=("utility",))


@pytest.fixture(scope="module")
def real_app(real: Run) -> Iterator[str]:
    with serving(real) as address:
        yield address


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real app, started by the command the README names."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("journey")
    environment = {k: v for k, v in os.environ.items() if k not in ("INFLUENCE_DECISIONS", "INFLUENCE_DATA")}
    command = [sys.executable, "-m", "influence_core.cli", "app", "--no-browser", "--port", str(port)]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--runs", str(folder / "runs")],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(150):
            assert process.poll() is None, (folder / "log.txt").read_text()[-2000:]
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        else:
            raise TimeoutError(
                f"the app did not answer within 30 s:\n{(folder / 'log.txt').read_text()[-2000:]}"
            )
        yield address
    finally:
        process.terminate()
        process.wait(20)
        os.killpg(process.pid, 15) if _group_lives(process.pid) else None


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
