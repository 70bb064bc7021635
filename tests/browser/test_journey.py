"""The main job, as a person does it: from the first click on the demo to a file that holds exactly what was decided."""

import csv
import io
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.making.gestures import lasso

pytestmark = pytest.mark.browser


def downloaded(page: Page, name: str) -> bytes:
    with page.expect_download() as waiting:
        page.locator(f"[class*='st-key-download_{name}'] button").first.click()
    return Path(waiting.value.path()).read_bytes()


def test_from_one_click_to_a_corrected_dataset(page: Page, app: str):
    page.goto(app)
    page.get_by_role("button", name="Explore the demo").click()
    expect(page.get_by_text("Validation accuracy", exact=True)).to_be_visible(timeout=420_000)
    expect(
        page.get_by_role("heading", name=re.compile(r"of 4.000 training labels are wrong, between"))
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
    page.get_by_role("button", name="Skip").click()  # the name, asked once
    reviewed = page.get_by_text(re.compile(r"^4 of \d+ reviewed"))
    expect(reviewed).to_be_visible()

    page.reload()  # what was decided is in the log, not in the tab
    expect(reviewed).to_be_visible()
    expect(film.locator("[role=option]").first).to_be_visible()
    film.focus()
    page.keyboard.press("k")

    page.get_by_role(
        "button", name="Export"
    ).click()  # at once: what the key decided follows to the next page
    expect(page.get_by_role("heading", name=re.compile(r"^5 of 4.000 labels decided"))).to_be_visible()
    rows = list(csv.DictReader(io.StringIO(downloaded(page, "decisions-csv").decode())))
    assert len(rows) == 5, f"five decisions are counted on screen, but the file holds {len(rows)}"
    assert sorted(row["action"] for row in rows) == ["keep", "keep", "relabel", "relabel", "remove"]
    labels = list(csv.DictReader(io.StringIO(downloaded(page, "corrected-labels-csv").decode())))
    assert len(labels) == 3999, "4,000 samples less the one removed"
    changed = [row for row in labels if row["label"] != row["original_label"]]
    assert len(changed) == 2, "two were relabelled"
