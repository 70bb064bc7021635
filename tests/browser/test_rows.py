"""Rows of a table in the gallery: readable text, unusual cells marked, nothing of it markup; keys work as ever."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from influence_core.decisions.log import decision_log_for
from tests.making.drawn_run import make_small_run
from tests.making.gestures import wait_for

pytestmark = pytest.mark.browser


def test_rows_are_read_marked_and_decided(page: Page, server, runs_folder: Path):
    run = make_small_run(runs_folder / "rows", n=60, gap=True)
    page.goto(f"{server.address}/?run=rows")
    cards = page.locator(".grid").get_by_role("option")
    expect(cards).to_have_count(60)
    expect(cards.first.locator(".cell")).to_have_count(2)
    assert page.locator(".grid img").count() == 0, "a row has no picture to wait for"
    odd = page.locator(".grid .cell.odd .value", has_text="astronaut")
    expect(odd).to_have_text("<i>astronaut</i>")
    assert odd.locator("i").count() == 0, "a cell is text, whatever stands in it"
    size = float(odd.evaluate("node => getComputedStyle(node).fontSize").removesuffix("px"))
    wide = odd.evaluate("node => node.scrollWidth <= node.clientWidth")
    assert size >= 12 and wide, "a cell that cannot be read is no cell"
    page.locator(".grid").focus()
    page.keyboard.press("k")
    log = decision_log_for(runs_folder)
    wait_for(lambda: len(log.current(run.id)) == 1, "the decision on a row was not written")
    log.close()
    page.keyboard.press("Enter")
    expect(page.locator(".stage .picture.big .cell")).to_have_count(2)
