"""What would an analysis of this model and dataset do, and what would it cost? Asked before the run, shown in place.

The question goes to a process of its own (`influence check --json`): the server never waits, never loads torch for it,
and a model that needs too much memory takes nobody down. What one browser asked is known to that browser only.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from influence_core.jobs import submission as jobs
from pages.ui.bring import child_question as asking
from pages.ui.bring.child_question import Asked
from pages.ui.shell import frame
from pages.ui.words import formats as words

COMMAND = (sys.executable, "-I", jobs.JAIL, sys.executable, "-P", "-m", "influence_core.cli", "check")
LONGEST = 180.0
"""Seconds after which a check is given up: an hour of waiting should not begin with minutes of waiting."""
CHECK = "_check"
ADVICE = (
    "Run `influence check` with the same paths in a terminal to see more; is the machine short of memory?"
)
SKELETON = 300
HEIGHT = 360
TABLE_WIDTH = 760
"""Wider than the column: the table lies above the page while it is read."""
FROZEN_SHOWN = 3


def begin(title: str, model: str, dataset: str, options: Mapping[str, str | bool]) -> None:
    """Start a check, and end the one before it. Options: architecture, classes, skip-unreadable; all may be missing."""
    forget()
    given = [
        f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items() if value
    ]
    st.session_state[CHECK] = asking.ask(title, [*COMMAND, "--json", *given, "--", model, dataset])


def forget() -> None:
    """End a check that is still at work, and clear the panel."""
    asked: Asked | None = st.session_state.pop(CHECK, None)
    if asked is not None:
        asking.end(asked)


def panel() -> None:
    """The check that was asked for, if any; looks twice a second while it is at work."""
    asked: Asked | None = st.session_state.get(CHECK)
    if asked is None:
        return
    live = st.fragment(frame.framed(_live), run_every=0.5 if asked.found is None else None)
    live(asked, asked.found is None)


def _live(asked: Asked, was_at_work: bool) -> None:
    asking.answer(asked, LONGEST, ADVICE)
    if was_at_work and asked.found is not None:
        st.rerun()  # the page, once: that ends the looking
    st.markdown(f"**{words.escaped(asked.title)}** {_badge(asked.found)}")
    if asked.found is None:
        st.caption(f"Trying the first samples on the model: {words.duration(asked.seconds)}")
        st.skeleton(height=SKELETON)
    elif "refused" in asked.found:
        st.error(words.escaped(asked.found["refused"]), icon=":material/block:")
    else:
        _facts(asked.found)


def _badge(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ":blue-badge[:material/autorenew: checking]"
    if "refused" in found:
        return ":orange-badge[:material/block: cannot be analysed]"
    return ":green-badge[:material/check_circle: can be analysed]"


def _facts(found: Mapping[str, Any]) -> None:
    """The answer first: exactness, time, memory; then what it rests on; then every layer."""
    seen = found["preflight"]
    st.markdown(seen["sentence"])
    time_, memory = st.columns(2, gap="small")
    time_.metric(
        "Expected time",
        words.duration(found["seconds_analysis"]),
        f"{words.duration(found['seconds_sweeps'])} to score",
        delta_color="off",
        delta_arrow="off",
        border=True,
        help="Scoring all training and validation samples was measured just now on the first batches. The rest of the "
        "analysis (thumbnails, evidence, map, check) is a rule of thumb.",
    )
    extra = seen["memory_expected_mb"]
    memory.metric(
        "Extra memory",
        "not known" if extra is None else f"{words.number(extra)}{words.THIN}MB",
        f"batches of {words.count(seen['batch_size'])}",
        delta_color="off",
        delta_arrow="off",
        border=True,
        help="Most that scoring takes on top of the loaded program and model, measured on the first batches.",
    )
    st.markdown("\n".join(f"- {line}" for line in _lines(found)))
    layers = pd.DataFrame(seen["layers"])
    with st.popover(f"See {words.plural(len(layers), 'layer')}", icon=":material/layers:", width="stretch"):
        _table(layers)


def _lines(found: Mapping[str, Any]) -> list[str]:
    seen = found["preflight"]
    sizes = f"{words.count(found['train'])} training and {words.count(found['held_out'])} validation samples"
    lines = [
        f"{words.escaped(found['model'])}: {_share(seen['share_covered'])} {words.count(seen['parameters'])} trainable "
        f"parameters count, in {seen['dtype']} on {seen['device']}",
        f"{words.escaped(found['dataset'])}: {sizes}",
    ]
    if seen["batch_norm"] != "none":
        lines.append(f"BatchNorm: {seen['batch_norm']}")
    if seen["frozen"]:
        lines.append(
            f"Left out: {words.plural(seen['frozen_parameters'], 'frozen parameter')} in {_few(seen['frozen'])}"
        )
    return lines + [words.escaped(str(note)) for note in found["notes"]]


def _share(share: float) -> str:
    return "all" if share == 1 else f"{words.percent(share)} of"


def _few(names: list[str]) -> str:
    more = len(names) - FROZEN_SHOWN
    listed = ", ".join(words.escaped(name) for name in names[:FROZEN_SHOWN])
    return listed + (f" and {words.count(more)} more" if more > 0 else "")


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
        alt="Every layer with the operation that uses it and how its gradient is found",
    )
