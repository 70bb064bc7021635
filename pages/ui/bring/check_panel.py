"""The check before a run: what an analysis of this model and dataset would do, and what it would cost.

The question goes to a separate process (`influence check --json`), so the server never waits and never loads torch for
it, and a model that needs too much memory ends only that process. What one browser asks is known to that browser only.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from influence_core.jobs import submission as jobs
from pages.ui.bring import child_question
from pages.ui.bring.child_question import ChildQuestion
from pages.ui.shell import frame, places
from pages.ui.words import formats
from pages.ui.words.formats import Markdown

COMMAND = (sys.executable, "-I", jobs.JAIL, sys.executable, "-P", "-m", "influence_core.cli", "check")
LONGEST = 180.0
"""Seconds after which a check is given up: a long wait should not start with another one."""
CHECK = "_check"
ADVICE = "Run `influence check` with the same paths in a terminal to see more, and check that memory is free."
SKELETON = 300
HEIGHT = 360
TABLE_WIDTH = 760
"""Wider than the column, because the table opens in a popover above the page."""
FROZEN_SHOWN = 3


def begin(title: str, model: str, dataset: str, options: Mapping[str, str | bool]) -> None:
    """Start a check, and end the one before it. Options: architecture, classes, skip-unreadable; each is optional."""
    forget()
    flags = [
        f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items() if value
    ]
    st.session_state[CHECK] = child_question.ask(title, [*COMMAND, "--json", *flags, "--", model, dataset])


def forget() -> None:
    """End a check that is still running, and clear the panel."""
    question: ChildQuestion | None = st.session_state.pop(CHECK, None)
    if question is not None:
        child_question.end(question)


def panel() -> None:
    """The requested check, if any; polls twice a second while it is running."""
    question: ChildQuestion | None = st.session_state.get(CHECK)
    if question is None:
        return
    live = st.fragment(frame.framed(_live), run_every=0.5 if question.found is None else None)
    live(question, question.found is None)


def _live(question: ChildQuestion, was_at_work: bool) -> None:
    child_question.answer(question, LONGEST, ADVICE)
    if was_at_work and question.found is not None:
        st.rerun()  # the whole page, once: this ends the polling
    st.markdown(f"**{formats.escaped(question.title)}** {_badge(question.found)}")
    if question.found is None:
        st.caption(f"Trying the first samples on the model: {formats.duration(question.seconds)}")
        st.skeleton(height=SKELETON)
    elif "refused" in question.found:
        frame.problem(question.found["refused"], ":material/block:")
    else:
        _facts(question.found)


def _badge(answer: Mapping[str, Any] | None) -> Markdown:
    if answer is None:
        return ":blue-badge[:material/autorenew: checking]"
    if "refused" in answer:
        return ":orange-badge[:material/block: cannot be analysed]"
    return ":green-badge[:material/check_circle: can be analysed]"


def _facts(answer: Mapping[str, Any]) -> None:
    """Exactness, time and memory first, then the basis of these numbers, then every layer."""
    preflight = answer["preflight"]
    st.markdown(formats.plain_sentence(preflight["sentence"]))
    time_, memory = st.columns(2, gap="small")
    time_.metric(
        "Expected time",
        formats.duration(answer["seconds_analysis"]),
        f"{formats.duration(answer['seconds_sweeps'])} to score",
        delta_color="off",
        delta_arrow="off",
        border=True,
        help="Scoring of all training and validation samples, measured just now on the first batches. The rest of the "
        "analysis (thumbnails, evidence, map, check) is estimated by a rule of thumb.",
    )
    extra = preflight["memory_expected_mb"]
    memory.metric(
        "Extra memory",
        "not known" if extra is None else formats.size(1e6 * extra),
        f"batches of {formats.count(preflight['batch_size'])}",
        delta_color="off",
        delta_arrow="off",
        border=True,
        help="Peak memory of scoring on top of the loaded program and model, measured on the first batches.",
    )
    st.markdown("\n".join(f"- {line}" for line in _lines(answer)))
    layers = pd.DataFrame(preflight["layers"])
    with st.popover(f"See {formats.plural(len(layers), 'layer')}", icon=":material/layers:", width="stretch"):
        _table(layers)


def _lines(answer: Mapping[str, Any]) -> list[Markdown]:
    preflight = answer["preflight"]
    sizes = f"{formats.count(answer['train'])} training and {formats.count(answer['held_out'])} validation samples"
    lines = [
        f"{formats.escaped(answer['model'])}: {_share(preflight['share_covered'])} "
        f"{formats.count(preflight['parameters'])} trainable parameters are used, "
        f"in {formats.escaped(preflight['dtype'])} on "
        f"{formats.escaped(preflight['device'])}",
        f"{formats.escaped(answer['dataset'])}: {sizes}",
    ]
    if preflight["batch_norm"] != "none":
        lines.append(f"BatchNorm: {formats.escaped(preflight['batch_norm'])}")
    if preflight["frozen"]:
        frozen = formats.plural(preflight["frozen_parameters"], "frozen parameter")
        lines.append(f"Left out: {frozen} in {_few(preflight['frozen'])}")
    return lines + [formats.plain_sentence(places.as_named(str(note))) for note in answer["notes"]]


def _share(share: float) -> Markdown:
    return "all" if share == 1 else f"{formats.percent(share)} of"


def _few(names: list[str]) -> Markdown:
    more = len(names) - FROZEN_SHOWN
    listed = ", ".join(formats.escaped(name) for name in names[:FROZEN_SHOWN])
    return listed + (f" and {formats.count(more)} more" if more > 0 else "")


def _table(layers: pd.DataFrame) -> None:
    shown = pd.DataFrame(
        {
            "Layer": layers["name"].where(layers["name"] != "", "(the model itself)"),
            "Type": layers["kind"],
            "Operation": layers["operations"],
            "Parameters": layers["parameters"],
            "Gradient": layers["covered"],
        }
    )
    st.dataframe(
        shown,
        hide_index=True,
        row_height=28,
        width=TABLE_WIDTH,
        height="content" if len(shown) <= 12 else HEIGHT,
        column_config={"Parameters": st.column_config.NumberColumn("Parameters", format="localized")},
        alt="Every layer with the operation that uses it and how its gradient is computed",
    )
