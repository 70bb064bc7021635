"""In a real browser: hostile names load nothing from elsewhere, and an owner finds what is theirs after a reload."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from influence_core.intake import uploads
from tests.app.brought import KEY, bring
from tests.app.conftest import PAGES
from tests.browser.conftest import serving
from tests.making.drawn_run import make_small_run
from tests.making.hostile_run import FAR, make_hostile_run

pytestmark = pytest.mark.browser
MARKUP = f"img[src*='{FAR}'], a[href*='{FAR}'], a[href^='mailto:'], svg a, [src*='{FAR}']"


def settled(page: Page) -> None:
    """Wait until the script of the page has run to its end."""
    expect(page.locator("[data-testid=stMain] h1").first).to_be_visible()
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0)


def test_no_request_leaves_a_page_whose_names_are_hostile(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_hostile_run(tmp_path / "runs" / "a__b", monkeypatch)
    asked: list[str] = []
    refused: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on(
        "console", lambda line: refused.append(line.text) if "Content Security Policy" in line.text else None
    )
    with serving(run) as address:
        for name in PAGES:
            page.goto(f"{address}/{'' if name == 'start' else name}?run=a__b")
            settled(page)
            assert page.locator(MARKUP).count() == 0, f"{name} made a link or a picture of a name"
            assert page.get_by_test_id("stException").count() == 0, f"{name} ended in an exception"
    away = [
        url for url in asked if not url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))
    ]
    assert away == [], "a page told somebody else who looks at it"
    assert refused == [], "the content policy stops what the app itself needs"


def test_the_owner_of_an_upload_finds_run_and_upload_after_a_reload(browser: Browser, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    upload = bring(root)
    run = make_small_run(root / "mine", n=24)
    job = {"format": 1, "dataset": "d", "model": "m", "name": "mine", "upload": upload.id}
    (root / "mine" / "job.json").write_text(json.dumps(job))
    with serving(run) as address:
        for key, mine in ((KEY, True), ("f" * 32, False)):
            context = browser.new_context()
            context.set_default_timeout(20_000)
            context.add_init_script(f"localStorage.setItem('influence-browser', '{key}')")
            tab = context.new_page()
            for name in ("overview", "outliers"):
                tab.goto(f"{address}/{name}?run=mine")
                shown = (
                    tab.get_by_text("24 training samples")
                    if mine
                    else tab.get_by_text("This run is not visible in this browser")
                )
                expect(shown).to_be_visible()
                assert not mine or tab.url.endswith("run=mine"), (
                    "the address forgot the run: a reload opens another"
                )
            tab.goto(
                f"{address}/influence?run=mine&of=Training&sample={run.samples.index[3].replace('/', '%2F')}"
            )
            expect(
                tab.get_by_text("24 training samples" if mine else "This run is not visible in this browser")
            ).to_be_visible()
            if mine:
                expect(tab.get_by_label("Sample id")).to_have_value(str(run.samples.index[3]))
            tab.goto(f"{address}/own_data?upload={upload.id}")
            expect(tab.get_by_text("Choose other data" if mine else "Not your upload")).to_be_visible()
            context.close()
    assert uploads.may_see(root, root / "mine", (f"browser {KEY}",))
