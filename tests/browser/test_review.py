"""The Review page as a workbench: everything in view, the keys safe, little on the wire, one question once."""

import re
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Page, WebSocket, expect

from influence_core.decisions.log import DecisionLog, Vote, decision_log_for
from influence_core.runs.run import Run
from tests.browser.conftest import serving
from tests.making.drawn_run import make_small_run
from tests.making.gestures import wait_for

pytestmark = pytest.mark.browser
PARTS = (".picture.big", ".verdict", ".why", ".chip >> nth=-1", ".neighbours", ".film")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Run, DecisionLog]]:
    """The app with one run; each test decides about others of its labels, by its own cut or sample."""
    run = make_small_run(tmp_path_factory.mktemp("review") / "drawn", n=300, classes=10)
    log = decision_log_for(run.path.parent)
    with serving(run) as address:
        yield address, run, log
    log.close()


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Run, DecisionLog]]:
    """The app with a run of its own, whose queue is short."""
    run = make_small_run(tmp_path_factory.mktemp("short") / "drawn", n=40, classes=4)
    log = decision_log_for(run.path.parent)
    with serving(run) as address:
        yield address, run, log
    log.close()


def opened(page: Page, address: str, query: str = "") -> Page:
    page.goto(f"{address}/review?run=drawn{query}")
    expect(page.locator(".film").get_by_role("option").first).to_be_visible(timeout=90_000)
    return page


def skip_the_name(page: Page) -> None:
    page.get_by_role("button", name="Skip").click()


def queue_of(run: Run, cut: float) -> list[str]:
    suspicion = run.samples["suspicion"].to_numpy()
    order = np.argsort(-suspicion, kind="stable")
    return [str(run.samples.index[at]) for at in order if suspicion[at] >= cut]


@pytest.mark.parametrize("size", [(1280, 800), (1600, 900)])
def test_all_that_is_needed_to_decide_is_in_view(page, served, size):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    opened(page, served[0], "&cut=0.05")
    page.wait_for_timeout(1_000)
    for part in PARTS:
        box = page.locator(part).first.bounding_box()
        assert box and box["y"] >= 0 and box["y"] + box["height"] <= size[1], (
            f"{part} lies at {box} of {size}"
        )
    below = page.locator("[data-testid=stMain]").evaluate("main => main.scrollHeight - main.clientHeight")
    assert below <= 0, f"the page scrolls by {below} px"
    line = page.locator("h1").bounding_box()
    assert line and line["y"] + line["height"] < 48, "the title takes more than the first line"
    assert page.get_by_role("heading", level=1).count() == 1


def test_the_line_in_the_header_can_be_pressed(page, served):
    opened(page, served[0], "&cut=0.05")
    page.get_by_role("radio", name="All").click()
    expect(page).to_have_url(re.compile("show=All"))
    page.get_by_role("button", name="Verify").click()  # Streamlit's header lies over it
    expect(page.get_by_role("heading", name="Verify", level=1)).to_be_visible()


def test_at_200_percent_the_first_key_is_in_view(page, served):
    page.set_viewport_size({"width": 640, "height": 400})
    opened(page, served[0], "&cut=0.05")
    box = page.get_by_role("button", name="Keep").bounding_box()
    assert box and box["y"] + box["height"] <= 400, f"the first key lies at {box}"


def test_a_decision_takes_five_kilobytes_at_most(page, served):
    address, run, log = served
    received: list[bytes] = []
    sent: list[int] = []

    def listen(socket: WebSocket) -> None:
        socket.on(
            "framereceived", lambda data: received.append(data if isinstance(data, bytes) else data.encode())
        )
        socket.on("framesent", lambda data: sent.append(len(data)))

    page.on("websocket", listen)
    opened(page, address, "&cut=0.01")
    shown = page.locator(".film").get_by_role("option").count()
    assert shown == 100, "the page of a long queue"
    page.locator(".film").focus()
    page.keyboard.press("k")
    skip_the_name(page)
    for _ in range(60):
        page.keyboard.press("l")
        page.wait_for_timeout(30)
    expect(page.get_by_text("All saved")).to_be_visible()
    page.wait_for_timeout(1_500)
    heaviest = 0
    for key in "klx":
        before = len(log.events(run.id))
        received.clear()
        sent.clear()
        page.keyboard.press(key)
        wait_for(lambda before=before: len(log.events(run.id)) > before, "the decision was not written")
        expect(page.get_by_text("All saved")).to_be_visible()
        page.wait_for_timeout(1_500)
        # A busy machine is asked again after 5 s, and answers again.
        answers = sum(b"influence_answer" in frame for frame in received)
        heaviest = max(heaviest, sum(map(len, received)) // answers + sum(sent) // len(sent))
    print(f"a decision on a page of {shown} cards, {len(log.current(run.id))} decided: {heaviest} bytes")
    assert heaviest <= 5_000, f"{heaviest} bytes for one decision"
    assert page.locator(".film").get_by_role("option").count() == shown


def test_the_name_is_asked_once_and_stands_on_the_decision_that_raised_the_question(page, fresh):
    address, run, log = fresh
    opened(page, address, "&cut=0.01")
    page.keyboard.press("k")
    expect(page.get_by_role("dialog", name="Your name")).to_be_visible()
    expect(page.get_by_role("textbox", name="Your name")).to_be_focused()
    page.keyboard.type("Leila Kx")
    page.keyboard.press("Enter")
    expect(page.locator(".film")).to_be_focused()
    page.keyboard.press("l")
    wait_for(
        lambda: len(log.events(run.id)) == 2, lambda: f"{len(log.events(run.id))} of 2 decisions are written"
    )
    events = log.events(run.id)
    assert events["reviewer"].tolist() == ["Leila Kx"] * 2, (
        "the first decision lost its name, or a key went into it"
    )
    assert sorted(events["action"]) == ["keep", "relabel"]
    expect(page.get_by_role("button", name="Leila Kx")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Leila Kx")).to_be_visible()
    page.keyboard.press("x")
    wait_for(lambda: len(log.events(run.id)) == 3, "the third decision is not written")
    expect(page.get_by_role("dialog", name="Your name")).to_be_hidden()
    assert set(log.events(run.id)["reviewer"]) == {"Leila Kx"}


def test_who_skips_the_name_is_not_asked_again_and_a_burst_is_no_name(page, fresh):
    address, run, log = fresh
    opened(page, address, "&cut=0.01")
    for _ in range(6):
        page.keyboard.press("k")
        page.wait_for_timeout(120)
    expect(page.get_by_role("textbox", name="Your name")).to_be_focused()
    assert page.get_by_role("textbox", name="Your name").input_value() == "", "the burst went into the name"
    assert log.events(run.id).empty, "written before the question is answered"
    page.keyboard.press("Escape")
    wait_for(lambda: len(log.events(run.id)) == 6, lambda: f"{len(log.events(run.id))} of 6 are written")
    page.keyboard.press("x")
    wait_for(lambda: len(log.events(run.id)) == 7, "the next decision is not written")
    expect(page.get_by_role("dialog", name="Your name")).to_be_hidden()
    assert set(log.events(run.id)["reviewer"]) == {"anonymous"}


def test_the_end_says_what_was_done_and_leads_to_verify(page, fresh):
    address, run, log = fresh
    opened(page, address, "&cut=0.3")
    number = page.locator(".film").get_by_role("option").count()
    page.keyboard.press("x")
    skip_the_name(page)
    for _ in range(number + 3):  # three more than there are
        page.keyboard.press("k")
        page.wait_for_timeout(60)
    expect(
        page.get_by_text(re.compile(rf"^Done: 0 relabelled, {number - 1} kept, 1 removed"))
    ).to_be_visible()
    expect(page.get_by_text(f"{number} of {number} reviewed")).to_be_visible()
    wait_for(
        lambda: len(log.events(run.id)) == number,
        lambda: f"{len(log.events(run.id))} events for {number} cards",
    )
    page.keyboard.press("ArrowLeft")  # back to the last one, to change it
    page.keyboard.press("l")
    wait_for(lambda: len(log.events(run.id)) == number + 1, "the last one cannot be changed any more")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/verify"))
    opened_again = f"{address}/review?run=drawn&cut=0.3"
    page.goto(opened_again)
    expect(page.get_by_role("button", name="Next: Verify")).to_be_visible()


def test_a_conflict_is_one_line_that_opens_a_drawer_with_two_buttons(page, fresh):
    address, run, log = fresh
    sample = queue_of(run, 0.3)[0]
    label = str(run.samples.loc[sample, "label"])
    for who, action in (("Ada", "keep"), ("Bob", "remove")):
        log.record(
            event_id=f"by-{who}", run=run.id, action=action, votes=[Vote(sample, 0, label)], reviewer=who
        )
    opened(page, address, "&cut=0.3&show=All")
    page.get_by_role("button", name="1 sample needs a second look").click()
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_text(re.compile("^Ada, "))).to_be_visible()
    expect(drawer.get_by_text(re.compile("^Bob, "))).to_be_visible()
    expect(drawer.get_by_text("None")).to_have_count(0)
    drawer.get_by_role("button", name="Take the second").click()
    wait_for(lambda: log.conflicts(run.id).empty, "the conflict is still open")
    assert log.current(run.id).loc[sample, "action"] == "remove"
    expect(drawer).to_be_hidden()
    expect(page.get_by_role("button", name="1 sample needs a second look")).to_have_count(0)


def test_nothing_fades_while_a_decision_is_saved(visit, run, log):
    page = visit(view="card", delay=1.5)
    expect(page.locator(".film").get_by_role("option")).to_have_count(60, timeout=90_000)
    page.keyboard.press("k")
    page.wait_for_timeout(900)  # Streamlit fades what waits for its answer
    opacity = """() => [...document.querySelectorAll('[data-testid=stElementContainer]')]
        .filter(place => place.querySelector('[data-testid=stBidiComponentIsolated]')
            ?.shadowRoot.querySelector('.stage'))
        .map(place => getComputedStyle(place).opacity)"""
    assert set(page.evaluate(opacity)) == {"1"}, f"opacities {page.evaluate(opacity)}"
    assert len(page.evaluate(opacity)) > 0


def test_two_lines_of_evidence_keep_the_keys_where_they_are(page, served):
    opened(page, served[0], "&cut=0.05")
    places = set()
    for _ in range(8):
        box = page.locator(".chip").first.bounding_box()
        places.add(box and round(box["y"]))
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(100)
    assert len(places) == 1, f"the first key jumps between {sorted(map(str, places))}"
