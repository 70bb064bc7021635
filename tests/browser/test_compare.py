"""Decisions made by another order than the queue's show, on Compare, what that order adds; nobody knows it before."""

import pytest
from playwright.sync_api import Page, expect

from influence_core.decisions.log import decision_log_for
from influence_core.runs.run import Run

pytestmark = pytest.mark.browser
KEYS = ("x", "k", "x", "k")


def test_what_an_order_adds_is_known_once_somebody_decided_by_it(page: Page, real_app: str, real: Run):
    page.set_default_timeout(60_000)
    page.goto(f"{real_app}/compare?run=real")
    expect(page.get_by_text("No sample outside the queue is reviewed yet")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("No error is known yet")).to_be_visible()
    expect(page.locator(".js-plotly-plot")).to_have_count(2)  # trust and agreement need no decision

    page.goto(f"{real_app}/outliers?run=real&share=100&sort=Loss")
    cards = page.locator(".grid")
    expect(cards.get_by_role("option")).to_have_count(len(real.samples))
    cards.focus()
    for key in KEYS:
        page.keyboard.press(key)

    page.get_by_role("link", name="Compare").click()  # at once: decisions may still be on their way
    judged = f"by the {len(KEYS)} decisions made so far"
    expect(page.get_by_text(f"Judged {judged}.")).to_be_visible()
    expect(page.get_by_text(f"Over {len(KEYS)} judged samples, {judged}")).to_be_visible()
    expect(page.locator(".js-plotly-plot")).to_have_count(4)

    log = decision_log_for(real.path.parent)
    decided = log.current(real.id)["action"]
    log.close()
    by_loss = real.samples.sort_values("loss", ascending=False).index[: len(KEYS)]
    actions = {"x": "remove", "k": "keep"}
    assert dict(decided) == dict(zip(by_loss, map(actions.get, KEYS), strict=True)), (
        "the page counts decisions that are not in the log"
    )
