"""Gestures of the browser tests, and waiting for what they bring about."""

import math
import time
from collections.abc import Callable

from playwright.sync_api import Page


def lasso(page: Page, x: float, y: float, radius: float, corners: int = 24) -> None:
    page.mouse.move(x + radius, y)
    page.mouse.down()
    for i in range(1, corners + 1):
        angle = 2 * math.pi * i / corners
        page.mouse.move(x + radius * math.cos(angle), y + radius * math.sin(angle))
    page.mouse.up()


def wait_for(what: Callable[[], bool], message: str | Callable[[], str], seconds: float = 60) -> None:
    """The law is that nothing is lost, not how fast a busy disk confirms fifty flushed writes."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, message if isinstance(message, str) else message()
        time.sleep(0.05)
