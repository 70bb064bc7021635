"""The loop closed by a person: choose a repair, retrain, read what it did beside what was predicted, take it along."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from influence_core.runs.run import Run
from influence_core.verification.results import list_verifications
from pages.ui.words import formats
from tests.browser.conftest import serving
from tests.making.clouds import make_run

pytestmark = pytest.mark.browser
PATIENCE = 240_000  # milliseconds; no wait here is a measurement


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("clouds"))


@pytest.fixture(scope="module")
def app(clouds: Run) -> Iterator[str]:
    with serving(clouds) as address:
        yield address


def test_from_a_choice_to_a_verified_model(page: Page, app: str, clouds: Run, tmp_path: Path):
    page.set_default_timeout(60_000)
    page.goto(f"{app}/verify?run=clouds")
    expect(page.get_by_text("Nothing has been verified yet.")).to_be_visible(timeout=60_000)
    page.get_by_text("Training recipe").click()
    for label, value in (("Seeds", "2"), ("Groups to remove", "4"), ("Epochs", "4")):
        box = page.get_by_role("spinbutton", name=label)
        box.fill(value)
        box.press("Enter")
    page.get_by_role("button", name="Retrain and verify").click()
    expect(page.get_by_text(re.compile("^Verifying everything from suspicion"))).to_be_visible()

    page.reload()  # the work goes on without this page
    answer = page.get_by_role("heading", name=re.compile(r"test accuracy .*points \["))
    expect(answer).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text(re.compile("Rank correlation of predicted and measured loss"))).to_be_visible(
        timeout=PATIENCE
    )
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    (found,) = list_verifications(clouds)
    assert found.finished and found.content["seeds"] == 2 and found.content["recipe"]["epochs"] == 4
    assert answer.inner_text() == formats.restyled(found.sentence())

    for button, name in (("Verified model", "model.safetensors"), ("Report", "report.html")):
        with page.expect_download(timeout=PATIENCE) as download:
            page.get_by_role("button", name=re.compile(button)).click()
        download.value.save_as(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    weights = (found.model_folder() / "model.safetensors").read_bytes()
    assert (tmp_path / "model.safetensors").read_bytes() == weights
    said = formats.restyled(found.sentence()).split(",")[0].split(" (")[0]
    assert said in (tmp_path / "report.html").read_text()
