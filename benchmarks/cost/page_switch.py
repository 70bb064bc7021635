"""Time from a click in the menu until the page stands still, in a real Chromium.

    python -m benchmarks.cost.page_switch ADDRESS RUN [--rounds 5] [--chromium /usr/bin/chromium]

ADDRESS is a running app, RUN a finished run of it. A page is settled when its heading is there, the script has ended,
nothing in the document has changed for 0.4 s and every picture in view is drawn; the time ends at the last change, not
at the end of that wait. Each page is visited once before, as a person has who switches between pages.
"""

import argparse
import statistics
from dataclasses import dataclass

from playwright.sync_api import Page, sync_playwright

PAGES = ("Overview", "Outliers", "Map", "Review", "Compare", "Influence", "Export")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WATCH = """
() => {
  const seen = window.__seen = { last: 0 };
  const note = () => { seen.last = performance.now(); };
  const watched = new WeakSet();
  const watch = root => {
    if (watched.has(root)) return;
    watched.add(root);
    new MutationObserver(note).observe(root, { childList: true, subtree: true, characterData: true });
    root.addEventListener('load', note, true);
  };
  watch(document);
  seen.roots = () => document.querySelectorAll('*').forEach(each => each.shadowRoot && watch(each.shadowRoot));
}
"""
SWITCH = """
async ([label, quiet, longest]) => {
  const links = [...document.querySelectorAll('[data-testid=stSidebarNavLink]')];
  const link = links.find(each => each.innerText.trim().split('\\n').includes(label));
  const seen = window.__seen, begun = performance.now();
  const before = location.pathname;
  let heading = null;
  seen.last = begun;
  link.click();
  for (;;) {
    await new Promise(done => setTimeout(done, 16));
    seen.roots();
    const now = performance.now();
    const idle = document.querySelector('[data-test-script-state=notRunning]');
    const title = document.querySelector('[data-testid=stMain] h1');
    if (heading === null && location.pathname !== before && title && title.isConnected) heading = now - begun;
    const drawn = [...document.querySelectorAll('img')].every(image => image.complete);
    if (heading !== null && idle && drawn && now - seen.last > quiet) return [heading, seen.last - begun];
    if (now - begun > longest) return [heading ?? longest, longest];
  }
}
"""


@dataclass(frozen=True)
class Switch:
    """One change of page, in milliseconds after the click."""

    heading: float
    settled: float


def visit(page: Page, label: str) -> Switch:
    """Click a page in the menu and wait until it stands still."""
    return Switch(*page.evaluate(SWITCH, [label, 400, 20_000]))


def measure(page: Page, rounds: int) -> dict[str, list[Switch]]:
    """Every page in turn, `rounds` times, after one round that is not counted."""
    page.evaluate(WATCH)
    times: dict[str, list[Switch]] = {label: [] for label in PAGES}
    for turn in range(rounds + 1):
        for label in PAGES:
            found = visit(page, label)
            if turn:
                times[label].append(found)
    return times


def show(times: dict[str, list[Switch]]) -> None:
    """The medians as a table in Markdown."""
    print("| page | heading, ms | settled, ms: median | lowest | highest |\n|---|---|---|---|---|")
    together = [one for found in times.values() for one in found]
    for label, found in [*times.items(), ("all", together)]:
        settled = [one.settled for one in found]
        heading = statistics.median(one.heading for one in found)
        print(
            f"| {label} | {heading:.0f} | {statistics.median(settled):.0f} | {min(settled):.0f} | {max(settled):.0f} |"
        )


def main() -> None:
    """Open the run and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("address")
    parser.add_argument("run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    args = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=args.chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{args.address.rstrip('/')}/export?run={args.run}")
        page.get_by_role("heading", level=1).first.wait_for(timeout=60_000)
        page.wait_for_timeout(2000)
        show(measure(page, args.rounds))
        browser.close()


if __name__ == "__main__":
    main()
