"""No compiled loop is handed an address that Python has not checked: a wrong task is refused by name, before a loop."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from influence_core.engine.kernels import loops, tasks
from influence_core.engine.kernels.tasks import Fold, Slot, packed_size
from influence_core.engine.readings.sketch import folding_map
from influence_core.engine.readings.tiles import read_made, read_rows, read_tile, totals
from influence_core.errors import InfluenceError

N, R, C, T, M = 3, 7, 5, 4, 8
"""Samples, rows, columns, positions, and buckets of a sketch."""


def fold(rows: int = R) -> Fold:
    return Fold(C, M, 3, torch.ones(rows), torch.ones(C), torch.zeros(N, M, dtype=torch.float64))


def sums() -> Tensor:
    return torch.zeros(N, 10, dtype=torch.float64)


def directions(rows: int = R) -> list[Tensor]:
    return [torch.ones(rows, C) for _ in range(8)]


def written() -> dict:
    return dict(g=torch.ones(N, R * C), directions=directions(), fold=fold(), sums=sums())


def made() -> dict:
    packed = torch.zeros(packed_size(N, R, C, T, torch.get_num_threads()))
    factors = dict(d=torch.ones(N, R, T), a=torch.ones(N, C, T))
    return dict(**factors, directions=directions(), fold=fold(), sums=sums(), packed=packed, tall=6)


def rows() -> dict:
    ids = torch.tensor([[0, 3, 6, 1]] * N)
    return dict(ids=ids, g=torch.ones(N, T, C), v=R, directions=directions(), fold=fold(), sums=sums())


def depthwise() -> dict:
    return dict(d=torch.ones(N, 2, 4, 4), x=torch.ones(N, 2, 6, 6), out=torch.ones(N, 2, 3, 3), edges=(0, 0))


KINDS = {"written": written, "made": made, "rows": rows, "depthwise": depthwise}
MAIN = {"written": "g", "made": "d", "rows": "g", "depthwise": "d"}
"""The array whose axes say what the others have to be."""
FREE = {("made", "d"), ("made", "a")}
"""Tensors that a loop walks by their own strides."""


def tensors_of(kind: str) -> list[str]:
    task = KINDS[kind]()
    names = [name for name, value in task.items() if isinstance(value, Tensor)]
    if "fold" in task:
        names += ["row_signs", "column_signs", "folded", "directions"]
    return names


def changed(task: dict, name: str, change) -> dict:
    """The same arguments with one tensor changed: also one within the fold, or the fourth direction."""
    if name in Fold._fields:
        return task | {"fold": task["fold"]._replace(**{name: change(getattr(task["fold"], name))})}
    if name == "directions":
        return task | {name: [change(v) if place == 3 else v for place, v in enumerate(task[name])]}
    return task | {name: change(task[name])}


def shorter(axis: int):
    return lambda x: x.narrow(axis, 0, x.shape[axis] - 1).contiguous()


def with_gaps(x: Tensor) -> Tensor:
    return torch.stack([x, x], -1)[..., 0]


def backwards(x: Tensor) -> Tensor:
    return x.transpose(0, -1).contiguous().transpose(0, -1)


WRONG = {
    "one number short": shorter(-1),
    "one sample or row short": shorter(0),
    "another format": lambda x: x.int() if x.is_floating_point() else x.double(),
    "half a format": lambda x: x.half(),
    "numbers with gaps": with_gaps,
    "axes in another order": backwards,
    "nowhere on this machine": lambda x: x.to("meta"),
}
CASES = [(kind, name, wrong) for kind in KINDS for name in tensors_of(kind) for wrong in WRONG]


def changes_nothing(kind: str, name: str, value: Tensor, wrong: str) -> bool:
    """Strides that a loop is told; one axis, or a kernel or an image, of which a smaller one is right as well."""
    strides = wrong in ("numbers with gaps", "axes in another order")
    if strides and ((kind, name) in FREE or (wrong == "axes in another order" and value.ndim == 1)):
        return True
    return kind == "depthwise" and wrong == "one number short"


@pytest.fixture
def no_loop_is_reached(monkeypatch):
    monkeypatch.setattr(loops, "loop", lambda *_: pytest.fail("a compiled loop was reached"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_task_is_made(kind):
    task = getattr(tasks, kind)(**KINDS[kind]())
    assert (task.loop, task.dtype) == (kind, torch.float32) and task.numbers.dtype == "int64"


@pytest.mark.parametrize(("kind", "name", "wrong"), CASES)
def test_a_wrong_array_is_refused_by_name(kind, name, wrong):
    task = KINDS[kind]()
    value = directions()[3] if name == "directions" else task.get(name, getattr(task.get("fold"), name, None))
    if changes_nothing(kind, name, value, wrong):
        pytest.skip("a right task as well")
    named = (
        r"\w+" if name == MAIN[kind] else name
    )  # the others have its axes, so one of them is the wrong one
    with pytest.raises(InfluenceError, match=rf"loop '{kind}' was handed {named} = .*expected .*uncompiled"):
        getattr(tasks, kind)(**changed(task, name, WRONG[wrong]))


NUMBERS = [
    ("written", dict(directions=[*directions(), torch.ones(R, C)]), "directions = 9 for 8 sums"),
    (
        "written",
        dict(sums=torch.zeros(N, 5, dtype=torch.float64)),
        "sums of 3 products; expected those of 1 or 8",
    ),
    ("written", dict(fold=fold()._replace(start=M)), "fold = .*start 8 of 8"),
    ("written", dict(fold=fold()._replace(start=-1)), "fold = .*start -1"),
    ("written", dict(fold=fold()._replace(columns=4)), "g = rows of 35 numbers"),
    ("made", dict(fold=fold()._replace(columns=4)), "fold = 4 columns.*expected 5 columns"),
    ("made", dict(tall=0), "tall = 0 rows a block; expected a multiple of 6"),
    ("made", dict(tall=8), "tall = 8"),
    ("made", dict(d=torch.ones(N, R, 0), a=torch.ones(N, C, 0)), "expected at least one number"),
    ("rows", dict(ids=torch.tensor([[0, 1, 2, R]] * N)), "ids = ids from 0 to 7; expected 0 to 6"),
    ("rows", dict(ids=torch.tensor([[0, 1, -1, 2]] * N)), "ids = ids from -1"),
    ("rows", dict(v=R - 1), "loop 'rows'"),
    ("depthwise", dict(edges=(0, -1)), "edges"),
    ("depthwise", dict(out=torch.ones(N, 2, 9, 3)), "out = a kernel of"),
    ("depthwise", dict(out=torch.ones(N, 2, 3, 0)), "out = a kernel of"),
]


@pytest.mark.parametrize(("kind", "change", "says"), NUMBERS)
def test_a_number_that_leads_outside_is_refused(kind, change, says):
    with pytest.raises(InfluenceError, match=says):
        getattr(tasks, kind)(**(KINDS[kind]() | change))


@pytest.mark.usefixtures("no_loop_is_reached")
@pytest.mark.parametrize("read", [read_tile, read_rows, read_made])
def test_the_readers_meet_the_check_before_a_loop(read):
    short, folding = [torch.ones(R - 1, C)], folding_map("w", (R, C), M, 0, torch.ones(1))
    into = totals(torch.ones(1), N, 1, folding)
    arguments = {
        read_tile: (torch.ones(N, R * C), 0, short, folding, into),
        read_rows: (rows()["ids"], torch.ones(N, T, C), R, short, folding, into),
        read_made: (
            torch.ones(N, R, T),
            torch.ones(N, C, T),
            0,
            short,
            folding,
            into,
            lambda s, x: x.new_empty(s),
        ),
    }
    with pytest.raises(InfluenceError, match="handed directions"):
        read(*arguments[read])


@pytest.mark.usefixtures("no_loop_is_reached")
@pytest.mark.parametrize("row", [-1, 1])
def test_rows_past_the_end_of_their_signs_are_refused(row):
    folding = folding_map("w", (R, C), M, 0, torch.ones(1))
    into = totals(torch.ones(1), N, 1, folding)
    with pytest.raises(InfluenceError, match="handed row_signs"):
        read_tile(torch.ones(N, R * C), row, [], folding, into)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 3),
    high=st.integers(1, 60),
    columns=st.integers(1, 140),
    t=st.integers(1, 9),
    axis=st.integers(0, 2),
    k=st.integers(0, 9),
)
def test_factors_with_any_strides_fill_their_room_and_nothing_beside_it(n, high, columns, t, axis, k):
    """Beside every array that is written to stands a guard; one that moves shows a loop outside its arrays."""
    generator = torch.Generator().manual_seed(high)
    d = torch.randn(n, high, t, generator=generator).transpose(axis, 0).contiguous().transpose(axis, 0)
    a = torch.randn(n, columns, t, generator=generator).transpose(axis, 0).contiguous().transpose(axis, 0)
    along = [torch.randn(high, columns, generator=generator) for _ in range(k)]
    folding = folding_map("w", (high, columns), M, 0, d)
    guard = torch.full((2,), 7.0)
    size = packed_size(n, high, columns, t, torch.get_num_threads())
    room = torch.cat([guard, torch.zeros(size), guard])
    into = totals(d, n, k, folding)
    read_made(d, a, 0, along, folding, into, lambda shape, like: room[2 : 2 + shape[0]])
    g = d @ a.transpose(1, 2)
    assert torch.equal(room[:2], guard) and torch.equal(room[2 + size :], guard), "packed beside its room"
    assert torch.allclose(into.sums[0, :, 0], g.double().square().sum((1, 2)), rtol=1e-4)
    expected = torch.stack([(g * v).sum((1, 2)).double() for v in along], 1) if k else torch.zeros(n, 0)
    assert torch.allclose(into.products(k), expected.double(), rtol=1e-3, atol=1e-3)


def test_every_slot_has_a_name_and_they_do_not_overlap():
    eight = set(range(Slot.DIRECTIONS, Slot.DIRECTIONS + 8))
    assert set(Slot) | eight == set(range(tasks.SLOTS)), "a slot without a name, or one named twice"
    assert [*tasks.Picture] == list(range(tasks.PICTURE_SLOTS))
