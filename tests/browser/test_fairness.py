"""From Overview to the gap it names, and from the samples that widen it to a what-if; no key decides on the way."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from influence_core.decisions.log import decision_log_for
from influence_core.runs.run import Run
from tests.browser.conftest import serving
from tests.making.drawn_run import make_small_run

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def fair(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a table with a gap between groups, named fair."""
    return make_small_run(tmp_path_factory.mktemp("fair") / "fair", n=120, gap=True, worse="women")


@pytest.fixture(scope="module")
def fair_app(fair: Run) -> Iterator[str]:
    with serving(fair) as address:
        yield address


def test_the_link_opens_the_measure_it_names_and_samples_go_to_verify(page: Page, fair_app: str, fair: Run):
    page.goto(f"{fair_app}/overview?run=fair")
    page.get_by_role("button", name="Who widens it?").click(timeout=60_000)
    expect(page.get_by_role("heading", name=re.compile("31 points less often"))).to_be_visible(timeout=60_000)
    expect(page.get_by_role("combobox", name="Measure")).to_have_value("sex: equal opportunity, class dress")
    assert page.locator("h1").count() == 1, "two first headings"

    card = page.locator(".grid .card").first
    expect(card.locator(".cell").first).to_have_class(re.compile("group-of"), timeout=60_000)
    expect(card.locator(".cell").first).to_contain_text("men")
    expect(page.locator(".grid .card .to")).to_have_count(0)  # nobody suggests another label for them
    page.locator(".grid").focus()
    for key in "lxka":
        page.keyboard.press(key)

    page.get_by_role("button", name="Send to Verify as a what-if").click()
    expect(page.get_by_text("would narrow the gap")).to_be_visible(timeout=60_000)
    expect(page.get_by_text(re.compile("samples removed; the original data"))).to_be_visible()
    log = decision_log_for(Path(fair.path.parent))
    decided = log.current(fair.id)
    log.close()
    assert decided.empty, "keys decided on a page that only shows, or a what-if was written down as decisions"
