"""A person with only pictures: from a zip to an analysis, with nothing read before; and what a stranger sees."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.making.pictures import write_split_folder, zip_folder

pytestmark = pytest.mark.browser


def test_a_zip_becomes_an_analysis_and_stays_its_owners(
    page: Page, browser: Browser, app: str, tmp_path: Path
):
    path = zip_folder(write_split_folder(tmp_path / "toys", per_class=30), tmp_path / "my toys.zip")
    page.set_default_timeout(60_000)  # no wait here is a measurement
    page.goto(app)
    page.get_by_role("button", name="Use my own data").click()
    expect(page.get_by_role("heading", name="Your dataset")).to_be_visible()
    page.locator("input[type=file]").first.set_input_files(path)
    expect(page.get_by_text(re.compile(r"60 training, 60 validation, 60 test samples"))).to_be_visible(
        timeout=90_000
    )
    expect(page.locator(".sheet figure")).to_have_count(24)

    page.reload()  # the place is in the address, the file on disk, the key in the browser
    expect(page.locator(".sheet figure")).to_have_count(24, timeout=60_000)
    address = page.url

    page.get_by_role("button", name="Next: model").click()
    page.get_by_role("button", name="Train a small one for me").click()
    page.get_by_role("button", name="Analyse").click()
    expect(page.get_by_text("Validation accuracy", exact=True)).to_be_visible(timeout=240_000)

    stranger = browser.new_context()
    other = stranger.new_page()
    other.goto(address)
    expect(other.get_by_text("Not your upload")).to_be_visible(timeout=60_000)
    other.goto(page.url)
    expect(other.get_by_text("This run is not here")).to_be_visible(timeout=60_000)
    stranger.close()
