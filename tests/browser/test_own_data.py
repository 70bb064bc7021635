"""A person with only pictures: from a zip to an analysis, with nothing read before; and what a stranger sees."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.making.pictures import encoded, pixels, write_split_folder, zip_folder

pytestmark = pytest.mark.browser


def click(page: Page, name: str | re.Pattern[str], clicks: Iterator[int]) -> None:
    """Click a button of this name, counted."""
    page.get_by_role("button", name=name).first.click()
    next(clicks)


def test_a_zip_becomes_an_analysis_and_stays_its_owners(
    page: Page, browser: Browser, app: str, tmp_path: Path
):
    folder = write_split_folder(tmp_path / "toys", per_class=30)
    for number in range(3):  # wrong labels, for something to decide
        (folder / "train" / "dark" / f"{number}.png").write_bytes(encoded(pixels("bright", 900 + number)))
    path = zip_folder(folder, tmp_path / "my toys.zip")
    page.set_default_timeout(60_000)  # no wait here is a measurement
    page.goto(app)
    clicks = itertools.count(2)  # the first opens the dialog in which the file is chosen
    click(page, "Use my own data", clicks)
    expect(page.get_by_role("heading", name="Your dataset")).to_be_visible()
    page.locator("input[type=file]").first.set_input_files(path)
    expect(page.get_by_text(re.compile(r"60 training, 60 validation, 60 test samples"))).to_be_visible(
        timeout=90_000
    )
    expect(page.locator(".sheet figure")).to_have_count(24)

    page.reload()  # the place is in the address, the file on disk, the key in the browser
    expect(page.locator(".sheet figure")).to_have_count(24, timeout=60_000)
    address = page.url

    click(page, "Next: model", clicks)
    click(page, "Train a small one for me", clicks)
    click(page, "Analyse", clicks)
    expect(page.get_by_text("Validation accuracy", exact=True)).to_be_visible(timeout=240_000)
    overview = page.url

    click(page, re.compile("^(checklist )?(Review labels|Look at)"), clicks)
    film = page.locator(".film [role=option]")
    expect(film.first).to_be_visible()
    page.keyboard.press("k")  # no click: the keys work from the first second
    expect(page.locator(".film [data-state=keep]").or_(page.get_by_text("1 of ")).first).to_be_visible()
    made = next(clicks) - 1
    assert made <= 6, f"from a zip to the first decision it takes {made} clicks"

    stranger = browser.new_context()
    other = stranger.new_page()
    other.goto(address)
    expect(other.get_by_text("Not your upload")).to_be_visible(timeout=60_000)
    other.goto(overview)
    expect(other.get_by_text("This run is not visible in this browser")).to_be_visible(timeout=60_000)
    stranger.close()
