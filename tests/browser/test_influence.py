"""From a card of the review one key leads to the Influence page, and back to the same place; no decision is lost."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from influence_core.decisions.log import decision_log_for
from influence_core.runs.run import Run

pytestmark = pytest.mark.browser


def shown(page: Page) -> str:
    """The id of the image on the card."""
    return str(page.locator(".stage .id").get_attribute("title"))


def test_one_key_to_the_influence_page_and_back(page: Page, real_app: str, real: Run, tmp_path: Path):
    page.goto(f"{real_app}/review?run=real&cut=0.01&show=All")
    film = page.locator(".film")
    expect(film.locator("[role=option]").first).to_be_visible(timeout=60_000)
    film.focus()
    first = shown(page)
    page.keyboard.press("k")  # goes on to the next
    asked = shown(page)
    page.keyboard.press("x")
    page.keyboard.press("ArrowLeft")
    assert shown(page) == asked, "x went on to the next image; one step back is the one removed"
    page.keyboard.press("i")  # at once: two decisions may still be on their way

    expect(page.get_by_role("heading", name="Influence")).to_be_visible()
    expect(suspects(page)).to_be_visible(timeout=90_000)
    expect(page).to_have_url(re.compile(r"of=Training"))  # the address follows the page
    expect(page).to_have_url(re.compile(r"sample=train"))
    expect(page).to_have_url(re.compile(r"run=real"))
    expect(page.get_by_label("Sample id")).to_have_value(asked)

    page.get_by_role("button", name="Back to Review").click()
    expect(page.locator(".stage .id")).to_be_visible(timeout=60_000)
    assert shown(page) == asked, "the review must stand where it was left"
    assert "cut=0.01" in page.url and "show=All" in page.url, "the filters of the review are gone"
    expect(page.locator(".stage .mark")).to_have_text("X")

    log = decision_log_for(real.path.parent)
    decided = log.current(real.id)["action"]
    log.close()
    assert dict(decided) == {first: "keep", asked: "remove"}, "a decision made just before leaving was lost"


def explain_an_outlier(page: Page, real_app: str) -> None:
    page.goto(f"{real_app}/outliers?run=real&share=100")
    card = page.locator(".grid .card").nth(2)
    expect(card).to_be_visible(timeout=60_000)
    card.hover()
    card.locator(".explain").click()
    expect(suspects(page)).to_be_visible(timeout=90_000)


def suspects(page: Page) -> Locator:
    return page.get_by_role("heading", name="Which of the two labels is wrong?")


def test_a_click_on_the_small_i_of_a_card_explains_it(page: Page, real_app: str):
    explain_an_outlier(page, real_app)
    expect(page.get_by_role("button", name="Back to Outliers")).to_be_visible()
    expect(page.get_by_label("Sample id")).to_have_value(re.compile("^train/"), timeout=30_000)

    expect(exact(page)).to_be_visible(timeout=90_000)  # until then, another may come first
    page.get_by_role("listbox", name="Helpful samples").get_by_role("option").first.click()
    expect(page.get_by_label("Sample id")).to_have_value(re.compile("^val/"), timeout=60_000)
    expect(page).to_have_url(re.compile(r"sample=val"))
    expect(page).to_have_url(re.compile(r"run=real"))
    expect(page).not_to_have_url(re.compile(r"of=Training"))

    page.get_by_role("button", name="Back to Outliers").click()
    expect(page.get_by_role("heading", name="Outliers")).to_be_visible(timeout=60_000)
    expect(page).to_have_url(re.compile(r"/outliers\?.*run=real"))
    expect(page).to_have_url(re.compile(r"share=100"))


def exact(page: Page) -> Locator:
    return page.get_by_text("were checked exactly")


def explained(page: Page, real_app: str, of: str, gesture: str) -> str:
    """One of the most wrong samples of a split, explained by a gesture on its card; its id."""
    page.goto(f"{real_app}/influence?run=real" + ("" if of == "Validation" else f"&of={of}"))
    card = page.locator(".grid .card").nth(1)
    expect(card).to_be_visible(timeout=60_000)
    if gesture == "Enter":
        page.locator(".grid").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
    else:
        getattr(card, gesture)()
    expect(page.get_by_label("Sample id")).to_have_value(re.compile("^(val|test)/"), timeout=60_000)
    return page.get_by_label("Sample id").input_value()


@pytest.mark.parametrize(
    ("of", "gesture"), [("Validation", "click"), ("Test", "dblclick"), ("Validation", "Enter")]
)
def test_a_click_a_double_click_or_enter_explains_and_opens_no_empty_zoom(
    page: Page, real_app: str, of: str, gesture: str
):
    explained(page, real_app, of, gesture)
    expect(page.get_by_text("The model says")).to_be_visible(timeout=60_000)
    expect(page.locator(".stage .verdict")).to_have_count(0)
    expect(exact(page)).to_be_visible(timeout=90_000)
    assert page.locator("h1").count() == 1, "two first headings"


def test_back_and_forward_lead_through_the_explanations(page: Page, real_app: str):
    """The likely bug: the address forgets the sample, so that back leaves the page and a bookmark opens nothing."""
    first = explained(page, real_app, "Validation", "click")
    expect(exact(page)).to_be_visible(timeout=90_000)
    expect(page).to_have_url(re.compile("sample=val"))
    page.go_back()
    expect(page.get_by_label("Sample id")).to_have_value("", timeout=60_000)
    expect(page).to_have_url(re.compile(r"/influence\?run=real$"))
    page.go_forward()
    expect(page.get_by_label("Sample id")).to_have_value(first, timeout=60_000)
    expect(page.get_by_text("The model says")).to_be_visible(timeout=60_000)
    assert "run=real" in page.url


def test_the_way_on_leaves_the_sample_behind(page: Page, real_app: str):
    explain_an_outlier(page, real_app)
    page.get_by_role("link", name="Export").click()
    expect(page.get_by_role("heading", name="Export")).to_be_visible(timeout=60_000)
    expect(page).to_have_url(re.compile(r"/export\?run=real$"))  # `of` and `sample` belong to the page left


def test_the_address_shows_the_sample_again_after_a_reload(page: Page, real_app: str):
    explain_an_outlier(page, real_app)
    expect(page).to_have_url(re.compile(r"of=Training"))
    expect(page).to_have_url(re.compile(r"run=real"))
    expect(page.get_by_label("Sample id")).to_have_value(re.compile("^train/"), timeout=30_000)
    sample = page.get_by_label("Sample id").input_value()
    page.reload()
    expect(suspects(page)).to_be_visible(timeout=60_000)
    expect(page.get_by_label("Sample id")).to_have_value(sample, timeout=30_000)
