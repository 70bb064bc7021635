"""The Review page: a workbench that fills the window, one decision for each label in doubt."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import streamlit as st

from pages.ui.components.gallery import Queue
from pages.ui.samples import selection, writing
from pages.ui.samples.cards import or_none
from pages.ui.samples.grid import deciding
from pages.ui.samples.selection import ToReview
from pages.ui.shell import cached, frame, state
from pages.ui.shell.state import OpenRun
from pages.ui.words import formats, how_to_read
from pages.ui.words import review as words

PAGE_SIZE = 100
LABEL = "Labels in doubt"  # what a screen reader calls the gallery
UNDECIDED, DECIDED, ALL = "Undecided", "Decided", "All"
REFRESH_HELP = (
    "The list stays fixed while you decide, so nothing jumps. This rebuilds it from the decisions so far."
)
_TURNED, _DISPUTED = "_review_turned", "_review_disputed"


def page() -> None:
    frame.fill_window()
    line = st.container(horizontal=True, vertical_alignment="center", gap="small")
    named = html.escape(state.run_name() or "")
    line.html(f"<h1>Review</h1><span>{named}</span>", width="content")
    open_run = state.require_run(chip=False)
    with line:
        show = st.segmented_control(
            "Show",
            (UNDECIDED, DECIDED, ALL),
            default=UNDECIDED,
            required=True,
            key=state.SHOW,
            bind="query-params",
            label_visibility="collapsed",
        )
        queue, wanted = settings(open_run)
        positions = by_id(open_run, wanted) if wanted else shown(open_run, queue.positions, show)
        pages = max(1, -(-len(positions) // PAGE_SIZE))
        number = st.pagination(pages, key=state.QUEUE_PAGE, bind="query-params") if pages > 1 else 1
        st.space("stretch")
        st.button("Export", icon=":material/download:", on_click=frame.redirect, args=("export",))
        st.button(
            "Verify", type="primary", icon=":material/science:", on_click=frame.redirect, args=("verify",)
        )
    if not len(positions):
        nothing_here(open_run, queue.positions, wanted)
        return
    visible = selection.one_page(positions, number, PAGE_SIZE)
    bench(open_run, visible, None if wanted else queue, number, pages)


def settings(open_run: OpenRun) -> tuple[ToReview, str]:
    """The queue above the cut, and the id of a sample to find; rarely changed, so behind a button."""
    with st.popover("Cut and search", icon=":material/tune:", width="content"):
        queue = selection.to_review(open_run.run, state.cut_slider(open_run.cut))
        wanted = st.text_input(
            "Find a sample",
            key=state.SAMPLE,
            bind="query-params",
            placeholder="Sample id; empty shows the queue",
        )
        st.button("Refresh the list", icon=":material/refresh:", on_click=refresh, help=REFRESH_HELP)
        st.markdown(f":gray[{how_to_read.REVIEW.text}]")
        st.latex(how_to_read.REVIEW.formula)
    return queue, wanted


@st.fragment
@frame.framed
def bench(open_run: OpenRun, visible: np.ndarray, queue: ToReview | None, number: int, pages: int) -> None:
    """The cards of one page, in a fragment: a decision is answered with what stands now, and nothing else."""
    if st.session_state.pop(_TURNED, False):
        st.rerun()
    if st.session_state.pop(_DISPUTED, False):
        second_look(open_run)
    deciding(
        open_run,
        visible,
        key="review",
        version=f"{number}:{hash(tuple(visible.tolist()))}",
        view="card",
        label=LABEL,
        fills=True,
        queue=None if queue is None else the_others(open_run, queue, visible, more=number < pages),
        follow=lambda where: follow(where, number),
        conflicts=len(set(open_run.log.conflicts(open_run.run.id)["sample_id"])),
    )


def the_others(open_run: OpenRun, queue: ToReview, visible: np.ndarray, *, more: bool) -> Queue:
    """What was decided about the samples of the queue that are not on screen, and a sentence on all of them."""
    actions, suspicion = actions_of(open_run), cached.columns(open_run.run.id, open_run.run)["suspicion"]
    others = queue.positions[~np.isin(queue.positions, visible)]
    kept, relabelled, removed = words.counted(actions, others)
    return Queue(
        total=len(others),
        keep=kept,
        relabel=relabelled,
        remove=removed,
        more=more,
        sentence=words.sentence(words.tally(suspicion, actions, queue.positions), in_doubt=queue.in_doubt),
    )


def actions_of(open_run: OpenRun) -> list[str | None]:
    """What was decided about each training sample, in the order of the run's table."""
    current = open_run.log.current(open_run.run.id)
    decided = dict(zip(map(str, current.index), map(str, current["action"]), strict=True))
    return [decided.get(sample) for sample in cached.columns(open_run.run.id, open_run.run)["sample_id"]]


def follow(where: str, number: int) -> None:
    """What a button of the gallery leads to; for its callback."""
    if where == "page":
        st.session_state[state.QUEUE_PAGE] = number + 1
        st.session_state[_TURNED] = True
    elif where == "verify":
        frame.redirect("verify")
    else:
        st.session_state[_DISPUTED] = True


@st.dialog("A second look", width="medium", position="right", on_dismiss="rerun")
def second_look(open_run: OpenRun) -> None:
    """Two decisions about one sample, the first of which counts until somebody chooses; one sample after the other."""
    disputed = open_run.log.conflicts(open_run.run.id)
    if not len(disputed):
        st.rerun()
    others = len(set(disputed["sample_id"])) - 1
    found = disputed.iloc[-1].to_dict()  # of several late decisions about a sample the newest
    st.markdown("This sample was decided differently. The first decision stands until you choose.")
    picture(open_run, str(found["sample_id"]))
    first, second = st.columns(2)
    with first:
        offered(open_run, found, "", "First decision", "Keep the first")
    with second:
        offered(open_run, found, "other_", "Second decision", "Take the second")
    if others:
        st.caption(f"{formats.plural(others, 'more sample')} after this one.")


def picture(open_run: OpenRun, sample: str) -> None:
    """The sample that was decided twice, as far as the run still shows it."""
    columns = cached.columns(open_run.run.id, open_run.run)
    row = columns["position"].get(sample)
    if row is None:
        return
    if open_run.run.cells is None:
        st.image(open_run.run.thumbnail(row, "train")[0], width=160)
    st.caption(f"{formats.escaped(sample)}, given label {formats.escaped(columns['label'][row])}")


def offered(
    open_run: OpenRun, found: dict[str, Any], prefix: str, title: formats.Markdown, verb: formats.Markdown
) -> None:
    """One of two decisions, with who and when, and the button that makes it count."""
    action = or_none(found[f"{prefix}action"])
    st.markdown(f"**{title}**")
    if action is None:
        st.markdown("Taken back since.")
        return
    label, by, when = (found[f"{prefix}{name}"] for name in ("label_after", "reviewer", "time"))
    st.markdown(formats.escaped(words.decision(action, or_none(label))))
    st.caption(f"{formats.escaped(by)}, {formats.moment(when.isoformat())}")
    st.button(
        verb,
        key=f"_settle_{prefix or 'first'}",
        width="stretch",
        on_click=writing.settle,
        args=(open_run, str(found["sample_id"]), int(found["revision"]), action, or_none(label)),
    )


def by_id(open_run: OpenRun, wanted: str) -> np.ndarray:
    """Row position of the sample with this id; empty when there is none."""
    row = cached.columns(open_run.run.id, open_run.run)["position"].get(wanted.strip())
    return np.array([] if row is None else [row], dtype=int)


def shown(open_run: OpenRun, queue: np.ndarray, show: str) -> np.ndarray:
    """The part of the queue to show, frozen when the list was made: a decision must not make the next image jump.

    "Undecided" therefore means undecided when the list was made; the button rebuilds it.
    """
    about = (open_run.run.id, len(queue), show)
    frozen = st.session_state.get(state.FROZEN)
    if frozen is None or frozen[0] != about:
        actions = actions_of(open_run)
        keep = {UNDECIDED: lambda row: actions[row] is None, DECIDED: lambda row: actions[row] is not None}
        wanted = keep.get(show, lambda row: True)
        frozen = (about, queue[[wanted(row) for row in queue]] if len(queue) else queue)
        st.session_state[state.FROZEN] = frozen
    return frozen[1]


def nothing_here(open_run: OpenRun, queue: np.ndarray, wanted: str) -> None:
    """Why there is nothing to decide, and the one thing to do next."""
    suspicion = cached.columns(open_run.run.id, open_run.run)["suspicion"]
    numbers = words.tally(suspicion, actions_of(open_run), queue)
    if wanted:
        frame.nothing(
            "There is no such training sample", "Clear the id under Cut and search to see the queue."
        )
    elif numbers.decided == len(queue):
        frame.empty(
            f"Done: {words.done(numbers)}",
            formats.escaped(words.sentence(numbers)),
            action="Next: Verify",
            page="verify",
            icon=":material/done_all:",
        )
    else:
        frame.nothing("Nothing is decided yet", "Choose Undecided or All to see the queue.")


def refresh() -> None:
    st.session_state.pop(state.FROZEN, None)


page()
