"""Exact explanations, computed by one thread of the server while a page shows what the stored sketches say.

One thread: passes of a model wait for each other anyway (inputs/reopened.py), and two would share the same cores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import streamlit as st

from influence_core.runs.run import Run
from pages.ui.shell import cached, frame

if TYPE_CHECKING:
    from influence_core.runs.answers import Explanation

PATIENCE, SLICE, EVERY = 3.0, 0.1, 2.0
"""Seconds that a page waits for an answer after all is drawn, how often it lets a click interrupt that, and how often
it looks afterwards: rarely, because Streamlit collects garbage after each look, 0.1 s of the processor that an answer
needs (34 s for one answer on a busy machine, with a look every 0.4 s)."""


def _on_one_core() -> None:
    """Torch on one core: a pass over 64 small samples gains little from a second one, and loses its time where others
    work. On two cores with a load of 18, an exact answer of the demo took 4.8 s with one thread, minutes with two.
    """
    import torch

    torch.set_num_threads(1)


_POOL = ThreadPoolExecutor(max_workers=1, thread_name_prefix="explaining", initializer=_on_one_core)

Asked = Future["Explanation"]


def prepare(run: Run) -> None:
    """Open model and data in the background, so that the first exact answer need not wait for it."""
    _ask(run.id, ("inputs",), run.inputs)


def explanation(run: Run, split: str, sample: str, objective: str | tuple[str, str] = "loss") -> Asked:
    """The training samples behind one prediction; the model stays open in the run."""
    work = partial(run.explain, sample, k=cached.SHOWN, objective=objective, split=split)
    return _ask(run.id, ("explain", split, sample, objective), work)


def explanation_of_picture(run: Run, digest: str, label: str | None, content: bytes) -> Asked:
    """The training samples behind the prediction for an uploaded picture; its digest stands for its content."""
    return _ask(
        run.id, ("picture", digest, label), partial(run.explain, content, k=cached.SHOWN, label=label)
    )


def opponent(run: Run, suspect: str) -> Asked:
    """The training sample that works hardest against another one: a third of the time of a whole explanation."""
    work = partial(run.explain, suspect, k=1, top=1, split="train")
    return _ask(run.id, ("opponent", suspect), work)


def affected(run: Run, sample: str) -> Asked:
    """The validation samples that a training sample helps and hurts."""
    return _ask(run.id, ("affected", sample), partial(run.affected, sample, k=cached.SHOWN))


def hurt_most(run: Run, suspect: str) -> Asked:
    """The validation sample that a training sample hurts most."""
    return _ask(run.id, ("hurt most", suspect), partial(run.affected, suspect, k=1, top=1))


def result(asked: Asked) -> Explanation | None:
    """The exact answer, or None while it is being computed; raises what stopped the computation."""
    return asked.result() if asked.done() else None


def watch(asked: Sequence[Asked]) -> None:
    """Draw the page again as soon as one of these is ready; the last thing a page does."""
    waiting, spot, until = [one for one in asked if not one.done()], st.empty(), monotonic() + PATIENCE
    if not waiting:
        return
    while monotonic() < until:
        if wait(waiting, timeout=SLICE, return_when=FIRST_COMPLETED).done:
            st.rerun()
        spot.empty()  # Streamlit stops a script for a click where it draws
    st.fragment(frame.framed(_rerun_when_ready), run_every=EVERY)(waiting)


def _rerun_when_ready(waiting: Sequence[Asked]) -> None:
    if any(one.done() for one in waiting):
        st.rerun()


def _ask(run_id: str, question: tuple[Any, ...], work: Callable[[], Any]) -> Asked:
    """The computation of one question, begun when it is asked first, and again after it failed."""
    asked = _begun(run_id, question, work)
    if asked.done() and asked.exception() is not None:
        _begun.clear(run_id, question, work)
    return asked


@st.cache_resource(max_entries=256, show_spinner=False)
def _begun(run_id: str, question: tuple[Any, ...], _work: Callable[[], Any]) -> Future[Any]:
    return _POOL.submit(_work)
