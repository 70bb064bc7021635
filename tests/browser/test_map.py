"""A lasso hands back exactly the points someone drew around, and survives a change of colour."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.making.gestures import lasso

pytestmark = pytest.mark.browser


def opened(page: Page):
    expect(page.locator("[data-ready]")).to_have_count(1)
    return page.locator(".overlay")


def centre_of(page: Page, *, x: float, y: float) -> tuple[float, float]:
    """Where a data point is on the screen."""
    view = page.locator("[data-view]").get_attribute("data-view") or ""
    at_x, at_y, scale = map(float, view.split())
    box = page.locator(".overlay").bounding_box()
    assert box is not None
    return (
        box["x"] + box["width"] / 2 + (x - at_x) * scale,
        box["y"] + box["height"] / 2 - (y - at_y) * scale,
    )


def answer(page: Page) -> dict:
    """What Python got: the polygon, and the positions it found in it."""
    return json.loads(page.get_by_test_id("stCode").inner_text())


def slowly_inside(polygon: list[list[float]], x: float, y: float) -> bool:
    """Even-odd rule by its definition: how often does a ray to the right cross the outline?"""
    crossings = 0
    for (x1, y1), (x2, y2) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            crossings += 1
    return crossings % 2 == 1


def test_a_lasso_selects_the_points_inside_it(visit, run):
    page = visit("map")
    opened(page)
    points = run.samples[["map_x", "map_y"]].to_numpy()
    lasso(page, *centre_of(page, x=points[0, 0], y=points[0, 1]), radius=90)
    expect(page.get_by_text("corners=25")).to_be_visible()
    found = answer(page)
    singles = points.astype("f4").astype("f8")
    expected = [i for i, (x, y) in enumerate(singles) if slowly_inside(found["polygon"], x, y)]
    assert 0 in expected and len(expected) < len(points), (
        "the lasso of this test should hold some points only"
    )
    assert found["positions"] == expected, "Python's `inside` and the definition disagree"
    expect(page.get_by_text(f"{len(expected)} selected", exact=True)).to_be_visible()


def test_a_new_colour_keeps_selection_and_zoom(visit, run):
    page = visit("map")
    overlay = opened(page)
    x, y = run.samples[["map_x", "map_y"]].to_numpy()[0]
    overlay.hover()
    page.mouse.wheel(0, -240)
    page.wait_for_timeout(100)
    lasso(page, *centre_of(page, x=x, y=y), radius=60)
    expect(page.get_by_text("corners=25 colour=label")).to_be_visible()
    before = answer(page), page.locator("[data-view]").get_attribute("data-view")
    page.get_by_text("suspicion", exact=True).click()
    expect(page.get_by_text("corners=25 colour=suspicion")).to_be_visible()
    expect(page.locator(".ramp")).to_be_visible()
    assert (answer(page), page.locator("[data-view]").get_attribute("data-view")) == before
    expect(page.get_by_text(f"{len(before[0]['positions'])} selected", exact=True)).to_be_visible()
    page.locator(".stage").focus()
    page.keyboard.press("Escape")
    expect(page.get_by_text("selected=0")).to_be_visible()


def test_hover_shows_the_picture_and_the_labels_of_the_point(visit, run):
    page = visit("map")
    opened(page)
    points = run.samples[["map_x", "map_y"]].to_numpy()
    far = int(np.argmax(np.linalg.norm(points - points.mean(0), axis=1)))  # no other point close by
    page.mouse.move(*centre_of(page, x=points[far, 0], y=points[far, 1]))
    expect(page.locator(".tip")).to_contain_text(run.samples["label"].iloc[far])
    expect(page.locator(".tip")).to_contain_text(run.samples["predicted"].iloc[far])
    picture = page.locator(".tip img")
    expect(picture).to_have_js_property("naturalWidth", 28)
    assert (picture.get_attribute("src") or "").endswith(f"/{far}"), "the picture of another sample is shown"


def test_shift_drag_moves_alt_drag_boxes_and_double_click_shows_all(visit, run):
    page = visit("map")
    overlay = opened(page)
    begin = page.locator("[data-view]").get_attribute("data-view")
    overlay.hover()
    page.keyboard.down("Shift")
    page.mouse.down()
    page.mouse.move(300, 300, steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    page.wait_for_timeout(100)
    assert page.locator("[data-view]").get_attribute("data-view") != begin
    expect(page.get_by_text("selected=0 corners=0")).to_be_visible()
    overlay.dblclick()
    page.wait_for_timeout(100)
    assert page.locator("[data-view]").get_attribute("data-view") == begin
    overlay.hover()
    page.keyboard.down("Alt")
    page.mouse.down()
    page.mouse.move(700, 300, steps=4)
    page.mouse.up()
    page.keyboard.up("Alt")
    expect(page.get_by_text("corners=4")).to_be_visible()


def darkest(page: Page, x: float, y: float) -> int:
    """The darkest pixel within 8 pixels of a place on the screen, as the sum of its three channels."""
    content = page.screenshot(clip={"x": x - 8, "y": y - 8, "width": 17, "height": 17})
    return int(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int).sum(2).min())


def test_doubtful_points_have_a_ring_of_ink_in_every_colouring(visit, run):
    """Pale yellow on white is hardly seen; the ring is, and the quiet points are grey beside it."""
    page = visit("map")
    opened(page)
    points, doubtful = run.samples[["map_x", "map_y"]].to_numpy(), run.samples["suspicion"].to_numpy() >= 0.5
    apart = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(len(points))
    lonely = apart.min(1)
    ringed, plain = (int(np.argmax(np.where(which, lonely, -1))) for which in (doubtful, ~doubtful))
    expect(page.locator(".legend .ringed")).to_have_text("in doubt")
    for colouring in ("label", "suspicion"):
        if colouring == "suspicion":
            page.get_by_text(colouring, exact=True).click()
        expect(page.get_by_text(f"colour={colouring}")).to_be_visible()
        expect(page.locator("[data-stale=true]")).to_have_count(0)  # what waits for a rerun is drawn faded
        page.wait_for_timeout(300)
        ink, grey = (darkest(page, *centre_of(page, x=x, y=y)) for x, y in points[[ringed, plain]])
        assert ink < 200, (
            f"{colouring}: the darkest pixel of a doubtful point is {ink}; no ring of ink around it"
        )
        assert grey > 200, (
            f"{colouring}: the darkest pixel of another point is {grey}; it looks doubtful as well"
        )
