"""The frame that every page shares: its first two lines, redirects to other pages, help, and empty states."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.errors import StreamlitAPIException

from influence_core.errors import InfluenceError
from influence_core.runs.run import Run
from pages.ui.charts import base as base_charts
from pages.ui.shell import places
from pages.ui.words import formats
from pages.ui.words.formats import Markdown
from pages.ui.words.how_to_read import Reading

P = ParamSpec("P")
CONTENT_WIDTH = 1400
STYLE, WORKBENCH = (Path(__file__).with_name(name) for name in ("frame.css", "workbench.css"))
_REDIRECT = "_go_to_page"
_PAGE_NOW, _PAGE_BEFORE = "_page_now", "_page_before"
_BROUGHT = "_brought_values"
SPLITS = {"train": "Training", "val": "Validation", "test": "Test"}
"""How the address of the Influence page names a split."""
SHARED = {"sample": "", "of": SPLITS["val"], "against": "its loss"}
"""Address parameters that widgets of several pages own, with the values that are left out of the address. Streamlit
refuses to set a bound parameter, so each travels as the value of its widget, and so does the open run."""


def page_file(name: str) -> Path:
    """The script of a page: 'review' -> .../pages/review.py."""
    return places.APP / "pages" / f"{name}.py"


def redirect(name: str, /, **query: str) -> None:
    """Open another page at the next run of main.py; for `on_click`. The open run stays in the address bar.

    The switch has to wait: a callback runs before st.navigation knows the pages.
    """
    st.session_state[_REDIRECT] = (name, query)


def apply_redirect(page: str) -> None:
    """Switch from the open page to the one that `redirect` named, if any; call it before any widget is drawn.

    Always with a mapping of parameters: `query_params=None` refuses to clear one that a widget owns, as `run` is.
    """
    if (target := st.session_state.pop(_REDIRECT, None)) is not None:
        name, query = target
        brought = {key: query.get(key, usual) for key, usual in SHARED.items()}
        st.session_state.update(brought)
        if name != page:
            st.session_state[_BROUGHT] = name, brought | {"run": st.session_state.get("run")}
            address = {key: value for key, value in query.items() if key not in SHARED}
            st.switch_page(page_file(name), query_params=address)
    _write_brought(page)


def _write_brought(page: str) -> None:
    """Write what `redirect` brought to this page into the address; a reload then shows it again.

    Streamlit 1.67 itself writes a value set by code only for a widget that was drawn before, and refuses us a parameter
    whose widget was: then the value is set again in the next runs, until it stands there or the visitor changed it.
    """
    name, values = st.session_state.pop(_BROUGHT, (page, {}))
    brought = {
        key: value
        for key, value in values.items()
        if value not in (SHARED.get(key), st.query_params.get(key)) and st.session_state.get(key) == value
    }
    if name == page and brought:
        st.session_state.update(brought)
        try:
            st.query_params.update(brought)
        except StreamlitAPIException:  # its widget is drawn already, and writes it
            st.session_state[_BROUGHT] = name, brought


def rerun_if_redirected() -> None:
    """Rerun the app when a fragment's callback called `redirect`: its own rerun never reaches `apply_redirect`."""
    if _REDIRECT in st.session_state:
        st.rerun()


def note_page(page: str) -> None:
    """Remember the open page, for the way back to it."""
    st.session_state[_PAGE_NOW] = page


def explain(sample: str, split: str = "train") -> None:
    """Open the Influence page on a sample, from any page; `back` then returns this page and its address."""
    page = st.session_state.get(_PAGE_NOW, "start")
    if page != "influence":
        query = {name: value for name, value in st.query_params.to_dict().items() if name != "run"}
        st.session_state[_PAGE_BEFORE] = (page, query)
    redirect("influence", sample=sample, of=SPLITS.get(split, SPLITS["train"]))


def back() -> tuple[str, dict[str, str]] | None:
    """The page this browser came from and its address, when it came from one to the Influence page."""
    return st.session_state.get(_PAGE_BEFORE)


def style() -> None:
    """The looks that Streamlit's settings cannot say; once on every page."""
    st.html(STYLE)


def header(title: Markdown, question: Markdown) -> DeltaGenerator:
    """Line 1: the title, the question this page answers, and (returned) the container of its action."""
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    with row.container(width="stretch", gap="xxsmall"):
        st.title(title, anchor=False)
        st.markdown(f":gray[{question}]")
    return row.container(
        horizontal=True, horizontal_alignment="right", vertical_alignment="bottom", width="content"
    )


def fill_window() -> None:
    """Leave the window to the page, for a workbench: its first line stands in Streamlit's header."""
    st.html(WORKBENCH)


def run_chip(run: Run) -> None:
    """Line 2: dataset, model, size, date, and whether the scores could be reproduced."""
    inputs = run.description["inputs"]
    facts = [
        _chip(":material/database:", run.description["name"]),
        _chip(":material/network_node:", inputs["model"]["architecture"]),
        _chip(":material/photo_library:", f"{formats.count(inputs['dataset']['n_train'])} training samples"),
        _chip(":material/event:", formats.moment(run.description.get("created"))),
        reproducibility_badge(run),
    ]
    st.markdown(" ".join(facts))


def _chip(icon: Markdown, text: object) -> Markdown:
    return f":gray-badge[{icon} {formats.escaped(text)}]"


def reproducibility_badge(run: Run) -> Markdown:
    """A badge in markdown: whether a second computation of a small sample gave the same scores."""
    record = run.description.get("reproducibility") or {}
    looks = {
        "agreed": ("green", "verified", "scores reproduced"),
        "rounding": ("green", "verified", "scores reproduced up to rounding"),
        "differed": ("orange", "warning", "scores not reproduced"),
    }
    colour, icon, text = looks.get(record.get("state", ""), ("gray", "help", "reproducibility not checked"))
    return f":{colour}-badge[:material/{icon}: {text}]"


def large(sentence: Markdown) -> None:
    """The answer of the page in its largest type; once on a page, which has its title above."""
    with st.container(key="answer"):
        st.header(sentence, anchor=False)


def section(title: Markdown, reading: Reading | None = None) -> None:
    """A heading of the page, with its "How to read this" at the right when there is a chart below."""
    row = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    row.header(title, anchor=False, width="content")
    if reading is not None:
        with row:
            how_to_read(reading)


def toned(title: str, tone: str, theme: base_charts.Theme) -> None:
    """A heading in the colour of help or harm; `title` must be a constant, never text from data."""
    colour = getattr(base_charts.COLOURS[theme], tone)
    st.html(f'<h2 style="color:{colour};margin:0;padding:0;font-size:1.25rem;font-weight:600">{title}</h2>')


def how_to_read(reading: Reading) -> None:
    """Two sentences and the formula, behind a small button."""
    with st.popover("How to read this", icon=":material/help:", type="tertiary", width="content"):
        st.markdown(reading.text)
        st.latex(reading.formula)


def key(*parts: str) -> str:
    """The key of a component from names such as a run's folder; different parts of a page need different first parts.

    Streamlit refuses a component whose key has two underscores in a row, and a folder may be called a__b. No folder has
    a tilde in its name, so no two names become one key.
    """
    return re.sub("_(?=_)", "_~", "_".join(parts))


def draw(figure: Any, *, alt: str, **options: Any) -> Any:
    """A plotly figure in the one look of this app."""
    return st.plotly_chart(figure, config=base_charts.CONFIG, alt=alt, **options)


def empty(title: Markdown, sentence: Markdown, *, action: Markdown, page: str, icon: Markdown) -> None:
    """An empty state: what is missing, and one button to get it."""
    with st.container(border=True, horizontal_alignment="center", gap="small"):
        st.space("medium")
        st.markdown(icon, text_alignment="center", width="content")
        st.header(title, anchor=False, text_alignment="center")
        st.markdown(f":gray[{sentence}]", text_alignment="center")
        st.button(action, type="primary", key=f"empty_{page}", on_click=redirect, args=(page,))
        st.space("medium")


def nothing(title: Markdown, sentence: Markdown) -> None:
    """An empty state without a button, for example when no samples match the filters."""
    with st.container(border=True, horizontal_alignment="center"):
        st.space("small")
        st.markdown(f"**{title}**", text_alignment="center")
        st.markdown(f":gray[{sentence}]", text_alignment="center")
        st.space("small")


def framed(body: Callable[P, None]) -> Callable[P, None]:
    """Show an expected error of a fragment as a sentence: its reruns do not pass main.py, which does it for pages."""

    @wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            body(*args, **kwargs)
        except InfluenceError as error:
            problem(error)

    return run


def problem(what: object, icon: str = ":material/error:") -> None:
    """An error in words: as plain text, for it may name what stands in somebody's file, and without server paths."""
    st.error(formats.plain_sentence(places.as_named(str(what))), icon=icon)
