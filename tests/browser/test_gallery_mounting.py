"""A gallery ends when its component does, and only then: no key is heard twice, however often it was mounted."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from pages.ui.components import gallery

pytestmark = pytest.mark.browser

MOUNT = """async () => {
    const { default: run } = await import('/gallery.js');
    const host = document.body.appendChild(document.createElement('div'));
    host.innerHTML = "<div class='root'></div>";
    const cards = ['a', 'b', 'c', 'd'].map(id => ({ id, src: 'data:,', given: 'coat', suggested: 'shirt' }));
    const data = { cards, version: '1', classes: ['coat', 'shirt'], view: 'grid', label: 'Images', columns: null,
        readOnly: false, explains: false, autofocus: true, outbox: 'influence-outbox:test' };
    window.influenceAnswers = new Map([[data.outbox, { version: '1', standing: '', queue: null, reviewer: null,
        ack: { epoch: null, seq: 0, problem: null } }]]);
    window.sent = new Map();
    const setStateValue = (_, queue) => queue.events.forEach(event => window.sent.set(event.event_id, event));
    window.host = host;
    window.mount = () => run({ data: structuredClone(data), parentElement: host, setStateValue, setTriggerValue() {} });
}"""


@pytest.fixture
def mounted(page: Page) -> Page:
    """A page without a server, and the gallery's script in it, to be mounted as Streamlit mounts it."""
    folder = Path(gallery.__file__).parent
    script = "\n".join((folder / name).read_text("utf-8") for name in gallery.SCRIPTS)
    page.route("http://gallery.test/", lambda route: route.fulfill(content_type="text/html", body=""))
    page.route("**/gallery.js", lambda route: route.fulfill(content_type="text/javascript", body=script))
    page.goto("http://gallery.test/")
    page.evaluate(MOUNT)
    return page


def keys_sent(page: Page) -> int:
    """Press K three times and count the events that go to Python."""
    page.locator(".grid").focus()
    before = page.evaluate("window.sent.size")
    for _ in range(3):
        page.keyboard.press("k")
    page.wait_for_timeout(400)
    return page.evaluate("window.sent.size") - before


def test_a_gallery_that_is_told_to_end_while_it_stays_goes_on(mounted):
    """What Streamlit does when new data comes while the module of the data before is still being imported."""
    mounted.evaluate("() => { const end = window.mount(); window.mount(); end(); window.mount(); }")
    assert keys_sent(mounted) == 3, "a second gallery listens on the same root"


def test_a_gallery_that_ended_and_is_mounted_again_hears_each_key_once(mounted):
    mounted.evaluate(
        """() => {
            for (let i = 0; i < 3; i++) {
                const end = window.mount();
                window.host.remove();
                end();
                document.body.append(window.host);
            }
            window.mount();
        }"""
    )
    assert keys_sent(mounted) == 3, "a listener outlived its gallery"


def test_a_gallery_that_ended_hears_nothing(mounted):
    mounted.evaluate(
        """() => {
            const end = window.mount();
            window.host.querySelector('.grid').focus();
            window.host.remove();
            end();
            document.body.append(window.host);
        }"""
    )
    assert keys_sent(mounted) == 0, "a listener outlived its gallery"
