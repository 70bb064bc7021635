"""Bursts of keys of one person in one tab: every key is one event, and there is nobody to be in conflict with."""

import random

import pytest
from playwright.sync_api import Page, expect

from influence_core.decisions.log import DecisionLog
from influence_core.runs.run import Run
from tests.making.gestures import wait_for

pytestmark = pytest.mark.browser
KEYS = 60


def burst(page: Page, run: Run, log: DecisionLog, *, seed: int, reruns: bool = False) -> None:
    """Type 60 decisions at 4 to 9 a second, as a hand does, and judge what the log holds then."""
    chance = random.Random(seed)
    pace = chance.uniform(4, 9)
    page.locator(".film").focus()
    for number in range(KEYS):
        page.keyboard.press(chance.choice("klx"))
        if reruns and number % 20 == 10:
            page.keyboard.press("r")  # Streamlit's own key: the whole page runs again
        page.wait_for_timeout(1000 / pace * chance.uniform(0.7, 1.3))
    wait_for(lambda: len(log.events(run.id)) >= KEYS, lambda: f"{len(log.events(run.id))} of {KEYS} arrived")
    expect(page.get_by_text("All saved")).to_be_visible()
    events, conflicts = len(log.events(run.id)), len(log.conflicts(run.id))
    assert (events, conflicts) == (KEYS, 0), (
        f"{events} events, {conflicts} conflicts at {pace:.1f} keys a second"
    )


@pytest.fixture
def cards(visit) -> Page:
    page = visit(view="card")
    expect(page.locator(".film").get_by_role("option")).to_have_count(KEYS)
    return page


@pytest.mark.parametrize("reruns", [False, True])
def test_a_burst_is_sixty_events_and_no_conflict(cards, run, log, reruns):
    burst(cards, run, log, seed=reruns, reruns=reruns)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_fifty_bursts_hold_no_conflict(cards, run, log, seed):
    burst(cards, run, log, seed=100 + seed)
