"""Pages as a screen reader and a keyboard meet them: axe-core, headings, the skip link and the space above."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from influence_core.runs.run import Run
from tests.browser.conftest import ROOT

pytestmark = pytest.mark.browser
PAGES = (
    "overview", "outliers", "map", "compare", "influence", "fairness", "robustness", "dynamics", "review", "verify",
    "export", "own_data", "",
)  # fmt: skip
EXCUSED = (
    # Streamlit 1.67 puts each section of the menu into a div inside its list.
    ("list", "[data-testid='stSidebarNavItems']"),
    ("listitem", "[data-testid='stSidebarNavItems'] *"),
)
"""Rules of axe-core, and the only elements that may break them."""
AXE = """
async ([excused, dark]) => {
  // both themes have the same elements: the second is judged by its colours alone
  const rules = dark ? { runOnly: ['color-contrast'] } : {};
  const found = await axe.run(document, { resultTypes: ['violations'], ...rules });
  const inside = (root, step) => (root.shadowRoot ?? root).querySelector(step);
  const excusable = (rule, target) => excused.some(
    ([known, where]) => rule === known && target.flat().reduce(inside, document).matches(where));
  return found.violations.filter(each => ['serious', 'critical'].includes(each.impact) || each.id === 'heading-order')
    .flatMap(({ id, nodes }) => nodes.filter(node => !excusable(id, node.target))
      .map(node => `${id}: ${node.html.slice(0, 160)} ${(node.any[0] ?? {}).message ?? ''}`));
}
"""
CLIPPED = """
() => [...document.querySelectorAll('[data-testid=stMain] button')].filter(each => {
  const text = each.querySelector('p') ?? each, hides = getComputedStyle(text).overflow !== 'visible';
  const cut = hides && text.scrollWidth > text.clientWidth + 1;
  return each.offsetWidth && (cut || each.getBoundingClientRect().right > innerWidth);
}).map(each => each.innerText)
"""


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, of the version that the Makefile names."""
    version = re.search(r"axe-core-[\d.]+", (ROOT / "Makefile").read_text())
    assert version is not None
    path = ROOT / ".venv" / version[0] / "node_modules" / "axe-core" / "axe.min.js"
    assert path.exists(), f"axe-core is not at {path}. Fetch it with: make .venv/{version[0]}/done"
    return path.read_text("utf-8")


@pytest.fixture(scope="module", params=["light", "dark"])
def tab(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, color_scheme=request.param, bypass_csp=True
    )
    page = context.new_page()
    yield page
    context.close()


def opened(page: Page, address: str, name: str, run: Run) -> None:
    """Open a page of the run and wait until it stands still."""
    page.goto(f"{address}/{name}?run={run.path.name}")
    expect(page.locator("[data-testid=stMain] h1").first).to_be_visible(timeout=60_000)
    expect(page.locator("[data-test-script-state=notRunning]")).to_have_count(1, timeout=60_000)
    expect(page.locator("[data-testid=stSkeleton]")).to_have_count(0, timeout=60_000)
    expect(page.locator("[data-stale=true]")).to_have_count(0, timeout=60_000)
    page.wait_for_timeout(1000)  # what Streamlit fades in is measured when it is there


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious_and_headings_are_in_order(
    tab: Page, real_app: str, real: Run, axe: str, name: str
):
    opened(tab, real_app, name, real)
    tab.evaluate(axe)
    dark = tab.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches")
    found = tab.evaluate(AXE, [EXCUSED, dark])
    assert not found, "\n".join(found)
    titles = tab.locator("[data-testid=stMain] h1").all_inner_texts()
    assert len(titles) == 1, f"a page has one title, not {titles}"


def test_the_skip_link_leads_past_the_menu_and_the_page_begins_at_the_top(
    page: Page, real_app: str, real: Run
):
    opened(page, real_app, "outliers", real)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    inside = page.evaluate("() => !!document.activeElement.closest('[data-testid=stMain]')")
    assert inside, "the first Tab stop must skip the menu: thirteen pages stand before the content"
    box = page.locator("h1").bounding_box()
    assert box is not None and box["y"] < 32, f"{box} leaves an empty band above the title"
    button = page.get_by_role("button", name=re.compile("Review labels in doubt|most suspicious"))
    button.click()  # the header of Streamlit lies over it
    expect(page.get_by_role("heading", name="Review", exact=True)).to_be_visible()


def test_outliers_shows_its_gallery_above_the_fold(page: Page, real_app: str, real: Run):
    page.set_viewport_size({"width": 1280, "height": 800})
    opened(page, real_app, "outliers", real)
    box = page.locator("[role=toolbar]").first.bounding_box()
    assert box is not None and box["y"] <= 270, f"the gallery begins at {box}"


@pytest.mark.parametrize(("width", "height"), [(900, 700), (640, 400)])
def test_a_narrow_window_clips_no_control(page: Page, real_app: str, real: Run, width: int, height: int):
    """900 pixels, and 1280 x 800 at 200 %, where the menu has to fold."""
    page.set_viewport_size({"width": width, "height": height})
    for name in ("map", "outliers", "fairness", "export"):
        opened(page, real_app, name, real)
        clipped = page.evaluate(CLIPPED)
        assert not clipped, f"{name} at {width} pixels clips {clipped}"
        menu = page.locator("[data-testid=stSidebar]").bounding_box()
        assert menu is not None and menu["x"] + menu["width"] <= 210, (
            f"the menu takes {menu} of {width} pixels"
        )
