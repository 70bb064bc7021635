"""One's own run survives: reload, bookmark, a new tab, back and Escape; and no page opens a run nobody asked for."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from influence_core.intake import uploads
from tests.browser.conftest import serving
from tests.making.drawn_run import make_small_run

pytestmark = pytest.mark.browser


@dataclass(frozen=True)
class House:
    """A running app and the folder of its runs."""

    address: str
    runs: Path

    def bring(self, page: Page) -> str:
        """Make the run `mine` from data that the browser of this page brought; the address of its Review page."""
        page.goto(self.address)
        page.wait_for_function("() => localStorage.getItem('influence-browser')")
        key = page.evaluate("() => localStorage.getItem('influence-browser')")
        upload = uploads.begin(self.runs, f"browser {key}")
        run = make_small_run(self.runs / f"mine-{upload.id}", n=60)
        inputs = run.description["inputs"]
        job = {
            "format": 1,
            "dataset": inputs["dataset"]["path"],
            "model": "",
            "name": "mine",
            "upload": upload.id,
        }
        (run.path / "job.json").write_text(json.dumps(job))
        return f"{self.address}/review?run={run.path.name}"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    runs = tmp_path_factory.mktemp("survives")
    public = make_small_run(runs / "public", n=60)
    with serving(public) as address:
        yield House(address, runs)


def shows(page: Page, address: str) -> None:
    """The page of this address shows its own run, and never the sentence that it is not here."""
    name = address.rpartition("=")[2]
    expect(page.get_by_role("combobox", name="Run")).to_have_value(name)
    expect(page.locator(".film")).to_be_visible()
    assert f"run={name}" in page.url, f"the address lost the run: {page.url}"
    expect(page.get_by_text("not visible in this browser")).to_have_count(0)


def test_ones_own_run_survives_reload_bookmark_new_tab_and_back(page: Page, house: House):
    address = house.bring(page)
    page.goto(address)
    shows(page, address)
    page.reload()
    shows(page, address)
    other = page.context.new_page()  # a bookmark in a new tab of the same browser
    other.goto(address)
    shows(other, address)
    other.close()
    page.get_by_test_id("stExpandSidebarButton").click()  # Review folds the menu
    page.get_by_role("link", name="Export").click()
    expect(page.get_by_role("heading", name="Export", exact=True)).to_be_visible()
    assert address.rpartition("?")[2] in page.url, f"the menu lost the run: {page.url}"
    page.go_back()
    shows(page, address)
    page.go_forward()
    expect(page.get_by_role("heading", name="Export", exact=True)).to_be_visible()
    expect(page.get_by_role("combobox", name="Run")).to_have_value(address.rpartition("=")[2])


def test_a_private_run_is_never_denied_before_the_browser_has_answered(page: Page, house: House):
    address = house.bring(page)
    page.add_init_script(
        """new MutationObserver(() => { if (document.body && document.body.innerText.includes('not visible in this'))
           window.__denied = true; }).observe(document, { childList: true, subtree: true });"""
    )
    page.goto(address)
    shows(page, address)
    assert not page.evaluate("() => window.__denied"), (
        "the owner was told for a moment that the run is not theirs"
    )


def test_escape_in_the_open_menu_keeps_the_run_open(page: Page, house: House):
    address = house.bring(page)
    page.goto(address)
    shows(page, address)
    page.get_by_test_id("stExpandSidebarButton").click()
    page.get_by_role("combobox", name="Run").click()
    expect(page.get_by_role("option", name="public")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.get_by_role("heading").first.click()
    page.wait_for_timeout(1500)  # a cleared run would come back from the server by now
    shows(page, address)


def test_without_a_run_in_the_address_none_is_opened(page: Page, house: House):
    house.bring(page)
    page.goto(f"{house.address}/review")
    expect(page.get_by_role("heading", name="No run is open")).to_be_visible()
    expect(page.locator(".film")).to_have_count(0)
    expect(page.get_by_text("No runs yet")).to_have_count(0)
    page.get_by_role("button", name="Open public").click()
    shows(page, f"{house.address}/review?run=public")


def test_a_stranger_learns_neither_runs_nor_their_names(page: Page, browser: Browser, house: House):
    address = house.bring(page)
    stranger = browser.new_context().new_page()
    stranger.goto(address)
    expect(stranger.get_by_text("This run is not visible in this browser")).to_be_visible()
    expect(stranger.get_by_role("button", name="Open public")).to_be_visible()
    assert stranger.get_by_role("button", name="Open mine").count() == 0
    stranger.context.close()
