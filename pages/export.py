"""The Export page: decisions in numbers, downloads, and a preview of the tables."""

from __future__ import annotations

import streamlit as st

from influence_core.decisions.corrections import ExportCounts, counts, not_checked
from pages.ui.reports import downloads
from pages.ui.reports.downloads import File, Offer
from pages.ui.shell import frame, state
from pages.ui.shell.state import OpenRun
from pages.ui.words import export as export_words
from pages.ui.words import formats

PREVIEWED = 200
COLUMNS = 3


def page() -> None:
    action = frame.header("Export", "Your decisions, and files to download.")
    open_run = state.require_run()
    offers = downloads.offers(open_run.run, open_run.name, open_run.log, state.address())
    with action:
        button(offers[0], offers[0].files[0], open_run, label="Corrected labels", primary=True)
    counted = counts(open_run.run, open_run.log)
    summary(counted)
    if said := not_checked(open_run.run):
        st.info(formats.plain_sentence(formats.restyled(said)), icon=":material/visibility_off:")
    frame.section("Downloads")
    cards(offers, open_run)
    preview(open_run)


def summary(counted: ExportCounts) -> None:
    """One sentence, then the numbers that add up to the whole training set."""
    decided = counted.total - counted.undecided
    if decided:
        frame.large(
            f"{formats.count(decided)} of {formats.count(counted.total)} labels decided, "
            f"{formats.count(counted.total - counted.removed)} samples remain for training."
        )
    else:
        frame.large("No decisions yet: the corrected labels are the given labels.")
    facts = (
        ("Kept", counted.kept, "Confirmed as they are."),
        ("Relabelled", counted.relabelled, "Have a new label."),
        ("Removed", counted.removed, "Left out of the corrected data."),
        ("Undecided", counted.undecided, "Still have their given label."),
    )
    for column, (title, value, help) in zip(st.columns(4, gap="small"), facts, strict=True):
        column.metric(
            formats.escaped(title),
            formats.count(value),
            formats.small_percent(value / counted.total),
            delta_color="off",
            delta_arrow="off",
            border=True,
            help=formats.escaped(help),
        )


def cards(offers: list[Offer], open_run: OpenRun) -> None:
    """One card per offer: what it is, how many rows it has, and a button for each file."""
    for first in range(0, len(offers), COLUMNS):
        row = st.columns(COLUMNS, gap="small")
        for column, offer in zip(row, offers[first : first + COLUMNS], strict=False):
            with column.container(border=True, height="stretch"):
                card(offer, open_run)


def card(offer: Offer, open_run: OpenRun) -> None:
    st.markdown(f"**{formats.escaped(offer.title)}**  \n:gray[{formats.plain_sentence(offer.meaning)}]")
    st.space("stretch")
    row = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    row.markdown(f"**{formats.count(offer.rows)}** {formats.escaped(offer.unit)}", width="content")
    with row.container(horizontal=True, horizontal_alignment="right", gap="xsmall", width="content"):
        for file in offer.files:
            button(offer, file, open_run, label=file.label)


def button(offer: Offer, file: File, open_run: OpenRun, *, label: str, primary: bool = False) -> None:
    """A download button; its file is made when it is pressed, not when the page is drawn."""
    st.download_button(
        formats.escaped(label),
        data=file.make,
        file_name=f"{open_run.name}-{file.name}",
        mime=file.media_type,
        key=f"download_{file.name}{'_primary' if primary else ''}",
        type="primary" if primary else "secondary",
        icon=":material/download:" if primary else None,
        on_click="ignore",
        disabled=offer.obstacle is not None,
        help=None if offer.obstacle is None else formats.plain_sentence(offer.obstacle),
    )


def preview(open_run: OpenRun) -> None:
    tables = downloads.tables(open_run.run, open_run.log, PREVIEWED)
    row = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    row.header("Preview", anchor=False, width="content")
    with row:
        which = st.segmented_control(
            "Preview of",
            list(tables),
            default=next(iter(tables)),
            required=True,
            key=state.PREVIEW,
            format_func=formats.escaped,
            bind="query-params",
            label_visibility="collapsed",
        )
    table, rows = tables[which]
    if table.empty:
        frame.nothing("No rows yet", "They appear with the first decision on the Review page.")
        return
    st.dataframe(
        export_words.readable(table),
        hide_index=True,
        height=320,
        column_config={"suspicion": st.column_config.NumberColumn("suspicion", format="%.3f")},
    )
    if rows > len(table):
        st.caption(f"The first {PREVIEWED} of {formats.count(rows)} rows; the downloads contain all rows.")


page()
