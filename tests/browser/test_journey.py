"""The main job, as a person does it: from the first click on the demo to a file that holds exactly what was decided."""

import csv
import io
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import ROOT
from tests.browser.test_map import lasso

pytestmark = pytest.mark.browser


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


def downloaded(page: Page, name: str) -> bytes:
    with page.expect_download() as waiting:
        page.locator(f"[class*='st-key-download_{name}'] button").first.click()
    return Path(waiting.value.path()).read_bytes()


def test_from_one_click_to_a_corrected_dataset(page: Page, app: str):
    page.goto(app)
    page.get_by_role("button", name="Explore the demo").click()
    expect(page.get_by_text("Validation accuracy")).to_be_visible(timeout=180_000)
    expect(
        page.get_by_role("heading", name=re.compile(r"of 4.000 training labels are probably wrong"))
    ).to_be_visible()

    page.get_by_role("link", name="Map").click()
    expect(page.locator("[data-ready]")).to_have_count(1, timeout=30_000)
    box = page.locator(".overlay").bounding_box()
    assert box is not None
    lasso(page, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, radius=box["height"] / 3)
    expect(page.get_by_role("heading", name=re.compile(r"images? selected"))).to_be_visible()

    page.get_by_role("link", name="Review").click()
    film = page.locator(".film")
    expect(film.locator("[role=option]").first).to_be_visible(timeout=30_000)
    film.focus()
    for key in ("k", "l", "x", "l", "k"):
        page.keyboard.press(key)
    page.keyboard.press("u")
    expect(page.get_by_text(re.compile(r"^4 of "))).to_be_visible()

    page.reload()  # what was decided is in the log, not in the tab
    expect(page.get_by_text(re.compile(r"^4 of "))).to_be_visible(timeout=30_000)

    page.get_by_role("link", name="Export").click()
    expect(page.get_by_text("Decisions").first).to_be_visible()
    rows = list(csv.DictReader(io.StringIO(downloaded(page, "decisions-csv").decode())))
    assert len(rows) == 4, f"four decisions stand after one undo, but the file holds {len(rows)}"
    assert sorted(row["action"] for row in rows) == ["keep", "relabel", "relabel", "remove"]
    labels = list(csv.DictReader(io.StringIO(downloaded(page, "corrected-labels-csv").decode())))
    assert len(labels) == 3999, "4,000 samples less the one removed"
    changed = [row for row in labels if row["label"] != row["original_label"]]
    assert len(changed) == 2, "two were relabelled"
