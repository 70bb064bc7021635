"""What a browser sends is applied: events in order and at least once, polygons exactly."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from influence_core.errors import DecisionError
from pages.ui.components.map import Categories, inside, pack, read_polygon, shade, shade_doubt
from pages.ui.components.outbox import drain, read_event


def event(seq: int, **changes: object) -> dict:
    base = {"event_id": f"event-{seq:04d}", "action": "keep", "seconds": 1.5, "target": None, "seq": seq}
    return base | {"votes": [{"id": f"s{seq}", "revision": 0, "label": None}]} | changes


def fresh() -> dict:
    return {"epoch": None, "seq": 0, "problem": None}


def test_a_queue_that_is_sent_again_is_applied_once():
    ack, seen = fresh(), []
    queue = {"epoch": "a", "events": [event(1), event(2)]}
    for _ in range(2):
        drain(queue, ack, lambda e: seen.append(e["event_id"]))
    assert seen == ["event-0001", "event-0002"] and ack["seq"] == 2


def test_a_new_browser_tab_starts_counting_anew():
    ack, seen = fresh(), []
    drain({"epoch": "a", "events": [event(1), event(2)]}, ack, seen.append)
    drain({"epoch": "b", "events": [event(1, event_id="another-1")]}, ack, seen.append)
    assert len(seen) == 3, "the second tab's first event was taken for the first tab's"


def test_what_cannot_be_written_stays_in_the_queue_and_says_why():
    ack, seen = fresh(), []

    def apply(e):
        if e["event_id"] == "event-0002":
            raise DecisionError("The disk is full. Make room, then try again.")
        seen.append(e["event_id"])

    written = drain({"epoch": "a", "events": [event(1), event(2), event(3)]}, ack, apply)
    assert (seen, written, ack["seq"]) == (["event-0001"], ["event-0001"], 1), "a later event overtook"
    assert ack["problem"].startswith("The disk is full")


@pytest.mark.parametrize(
    "changes",
    [
        {"event_id": 7},
        {"event_id": "../../x"},
        {"action": "drop table"},
        {"votes": []},
        {"votes": None},
        {"votes": [{"id": "s", "revision": -1, "label": None}]},
        {"votes": [{"id": "s", "revision": "0", "label": None}]},
        {"votes": [{"id": None, "revision": 0, "label": None}]},
        {"votes": [{"id": "s", "revision": 0, "label": ["x"]}]},
        {"votes": [{"id": "s", "revision": 0, "label": None, "own": "event-0001"}]},
        {"votes": [{"id": "s", "revision": 0, "label": None, "own": ["' OR 1"]}]},
        {"votes": ["s"]},
    ],
)
def test_an_event_no_browser_of_ours_would_send_is_dropped(changes):
    assert read_event(event(1, **changes)) is None
    ack = fresh()
    drain({"epoch": "a", "events": [event(1, **changes), event(2)]}, ack, lambda e: None)
    assert ack["seq"] == 2, "a malformed event must not block the ones behind it"


@pytest.mark.parametrize("queue", [None, 3, [], {}, {"events": 3}, {"epoch": "a", "events": [3, None, {}]}])
def test_a_malformed_queue_is_nothing(queue):
    assert drain(queue, fresh(), lambda e: pytest.fail("nothing should be applied")) == []


@pytest.mark.parametrize(
    "value",
    [None, {}, {"polygon": [[0, 0], [1, 1]]}, {"polygon": [[0, 0]] * 6000}, {"polygon": [[0, "x"]] * 4},
     {"polygon": [[0, 0], [1], [2, 2]]}, {"polygon": [[0, float("nan")]] * 4}, {"polygon": "abc"}],
)  # fmt: skip
def test_what_is_no_polygon_selects_nothing(value):
    assert read_polygon(value) is None


corner = st.tuples(st.floats(-2, 2), st.floats(-2, 2))


@settings(max_examples=60, deadline=None)
@given(st.lists(corner, min_size=3, max_size=9), st.integers(0, 2**31))
@example([(0.0, 1.0), (0.0, 5e-324), (1.0, 0.0)], 0)  # an edge so short that a slope along it overflows
def test_inside_is_the_even_odd_rule(polygon, seed):
    xy = np.random.default_rng(seed).normal(0, 1, (60, 2)).astype("f4")
    expected = [i for i, (x, y) in enumerate(xy.astype("f8")) if _crossings(polygon, x, y) % 2]
    assert inside(polygon, xy).tolist() == expected


def _crossings(polygon, x, y):
    edges = zip(polygon[-1:] + polygon[:-1], polygon, strict=True)
    return sum(
        (y1 > y) != (y2 > y) and bool(x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
        for (x1, y1), (x2, y2) in edges
    )


def test_a_point_without_coordinates_is_never_selected():
    square = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
    assert inside(square, np.array([[0, 0], [np.nan, 0], [0, np.inf]])).tolist() == [0]


def test_shading_is_monotone_and_says_its_scale():
    index, scale = shade(np.array([0.0, 0.25, 0.5, 1.0, np.nan]), 0, 1)
    assert index.tolist() == [0, 64, 128, 255, 0] and (scale.low, scale.high) == (0, 1)


def test_a_map_of_the_wrong_shape_is_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"xy \(3, 2\) and colour \(2,\) uint8"):
        pack(np.zeros((3, 2)), np.zeros(2, "u1"), ["#000000"], Categories("label", ("a",)))


@pytest.mark.parametrize("cut", [0.0, 0.15, 0.4999, 0.5, 0.999])
def test_a_point_is_grey_exactly_where_it_is_not_marked(cut: float) -> None:
    """256 colours are coarse: a suspicion just below the cut must not share the colour of one just above."""
    suspicion = np.append(np.random.default_rng(0).random(500), [cut, np.nextafter(cut, 0)])
    marked = suspicion >= cut
    index, quiet = shade_doubt(suspicion, marked)
    assert ((index >= quiet) == marked).all()


def test_without_marked_points_all_are_grey() -> None:
    index, quiet = shade_doubt(np.array([0.0, 1.0, np.nan]), np.zeros(3, bool))
    assert (index < quiet).all()
