"""The Review page: one decision for each label in doubt, with progress and the precision of the flags."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages.ui.samples import selection
from pages.ui.samples.grid import deciding
from pages.ui.shell import cached, frame, state
from pages.ui.shell.state import OpenRun
from pages.ui.words import formats, how_to_read
from pages.ui.words.formats import Markdown
from pages.ui.words.review import Tally, tally

PAGE_SIZE = 100
LABEL = "Labels in doubt"  # what a screen reader calls the gallery
UNDECIDED, DECIDED, ALL = "Undecided", "Decided", "All"
REFRESH_HELP = (
    "The list stays fixed while you decide, so nothing jumps. This rebuilds it from the decisions so far."
)


def page() -> None:
    action = frame.header(
        "Review", "Which labels in doubt are really wrong? Decide one sample after another."
    )
    open_run = state.require_run()
    action.button(
        "Export", type="primary", icon=":material/download:", on_click=frame.redirect, args=("export",)
    )
    desk(open_run)


@st.fragment
@frame.framed
def desk(open_run: OpenRun) -> None:
    """Counts, controls and images in one fragment: a decision updates the numbers at once, and nothing else."""
    counts = st.container(border=True)
    row = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    with row:
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
    columns = cached.columns(open_run.run.id, open_run.run)
    current = open_run.log.current(open_run.run.id)
    decided = dict(zip(map(str, current.index), map(str, current["action"]), strict=True))
    with counts:
        progress(tally(columns["suspicion"], [decided.get(sample) for sample in columns["sample_id"]], queue))
    positions = by_id(open_run, wanted) if wanted else shown(open_run, queue, show, set(decided))
    with row:
        number = turn_page(positions)
    conflicts(open_run)
    images(positions, number, open_run)


def settings(open_run: OpenRun) -> tuple[np.ndarray, str]:
    """The queue above the cut, and the id of a sample to find; rarely changed, so behind a button."""
    with st.popover("Cut and search", icon=":material/tune:", width="content"):
        queue = selection.queue(open_run.run, state.cut_slider(open_run.cut))
        wanted = st.text_input(
            "Find a sample",
            key=state.SAMPLE,
            bind="query-params",
            placeholder="Sample id; empty shows the queue",
        )
        st.button("Rebuild the list", icon=":material/refresh:", on_click=refresh, help=REFRESH_HELP)
    return queue, wanted


def turn_page(positions: np.ndarray) -> int:
    """The number of the page on screen, with its pagination."""
    pages = max(1, -(-len(positions) // PAGE_SIZE))
    number = st.pagination(pages, key=state.QUEUE_PAGE, bind="query-params")
    if len(positions):
        st.caption(selection.span(number, PAGE_SIZE, len(positions)), width="content")
    return number


def progress(numbers: Tally) -> None:
    """One line over a bar: how many are decided, how precise the flags were, how many errors are left."""
    if not numbers.queue:
        st.markdown("No label reaches the cut. Lower it to look at the most suspicious ones anyway.")
        return
    bar, help_ = st.columns([5, 1], vertical_alignment="center")
    bar.progress(numbers.share_decided, text=review_sentence(numbers))
    with help_.container(horizontal_alignment="right"):
        frame.how_to_read(how_to_read.REVIEW)


def review_sentence(numbers: Tally) -> Markdown:
    """'132 of 412 decided; 91.0 % of them were real errors [85.1, 95.0]; about 9 errors left ...'."""
    decided = f"**{formats.count(numbers.decided)} of {formats.count(numbers.queue)}** decided"
    left = (
        f"about **{formats.count(numbers.expected_left_in_queue)}** errors left in this queue, "
        f"{formats.count(numbers.expected_left)} in all"
    )
    if numbers.precision is None:
        return f"{decided}; {left}, expected from suspicion"
    bracket = formats.escaped(formats.interval(*numbers.precision_interval))
    return f"{decided}; **{formats.percent(numbers.precision)}** of them were real errors {bracket}; {left}"


def conflicts(open_run: OpenRun) -> None:
    """Samples with two conflicting decisions; deciding one again settles it."""
    open_ones = open_run.log.conflicts(open_run.run.id)
    if open_ones.empty:
        return
    samples = list(dict.fromkeys(map(str, open_ones["sample_id"])))
    with st.expander(
        f"{formats.plural(len(samples), 'sample')} decided twice", icon=":material/call_split:", expanded=True
    ):
        st.markdown(
            "Two decisions about the same sample conflict. The first one counts until someone decides again here."
        )
        st.dataframe(
            open_ones[
                [
                    "sample_id",
                    "action",
                    "label_after",
                    "reviewer",
                    "other_action",
                    "other_label_after",
                    "other_reviewer",
                ]
            ],
            hide_index=True,
            column_config={
                "sample_id": "Sample",
                "action": "Counts",
                "label_after": "Label",
                "reviewer": "By",
                "other_action": "Later decision",
                "other_label_after": "Later label",
                "other_reviewer": "Later by",
            },
        )
        rows = cached.columns(open_run.run.id, open_run.run)["position"]
        positions = np.array([rows[sample] for sample in samples if sample in rows], dtype=int)
        deciding(
            open_run, positions, key="conflicts", version=str(positions.tolist()), view="grid", label=LABEL
        )


def by_id(open_run: OpenRun, wanted: str) -> np.ndarray:
    """Row position of the sample with this id; empty when there is none."""
    row = cached.columns(open_run.run.id, open_run.run)["position"].get(wanted.strip())
    return np.array([] if row is None else [row], dtype=int)


def shown(open_run: OpenRun, queue: np.ndarray, show: str, decided: set[str]) -> np.ndarray:
    """The part of the queue to show, frozen when the list was made: a decision must not make the next image jump.

    "Undecided" therefore means undecided when the list was made; the button rebuilds it.
    """
    ids = cached.columns(open_run.run.id, open_run.run)["sample_id"]
    about = (open_run.run.id, len(queue), show)
    frozen = st.session_state.get(state.FROZEN)
    if frozen is None or frozen[0] != about:
        keep = {
            UNDECIDED: lambda sample: sample not in decided,
            DECIDED: lambda sample: sample in decided,
        }.get(show)
        frozen = (about, queue if keep is None else queue[[keep(ids[row]) for row in queue]])
        st.session_state[state.FROZEN] = frozen
    return frozen[1]


def images(positions: np.ndarray, number: int, open_run: OpenRun) -> None:
    if not len(positions):
        frame.nothing(
            "Nothing to show here", "Select All to see the whole queue, or lower the cut to see more."
        )
        return
    visible = selection.one_page(positions, number, PAGE_SIZE)
    version = f"{number}:{hash(tuple(visible.tolist()))}"
    deciding(open_run, visible, key="review", version=version, view="card", label=LABEL)


def refresh() -> None:
    st.session_state.pop(state.FROZEN, None)


page()
