"""Fairness: does the model serve one group worse, and which training samples make it so?"""

from __future__ import annotations

import numpy as np
import streamlit as st

from influence_core.errors import InfluenceError, RunError
from pages.ui.charts import fairness as gap_charts
from pages.ui.charts import trade_off as trade_off_chart
from pages.ui.samples.grid import grid
from pages.ui.shell import cached, frame, more_work, state
from pages.ui.shell.state import Chosen
from pages.ui.words import fairness as gaps
from pages.ui.words import formats as words
from pages.ui.words import how_to_read as reading
from pages.ui.words.fairness import Aim

OBJECTIVE, SPLIT, GROUP, LABEL, CORNER = "objective", "split", "group", "class", "corner"
SHOWN = 60
WORST = 100
CORNERS = {"All that widen it": (), "Also hurt accuracy": (2,), "But help accuracy": (3,)}
PROBLEM = "_fairness_problem"


def page() -> None:
    action = frame.header(
        "Fairness", "Does the model serve one group worse, and which training samples make it so?"
    )
    chosen = state.require_run()
    if problem := st.session_state.pop(PROBLEM, None):
        st.error(problem, icon=":material/error:")
    found = gaps.aims(chosen.run)
    if not found:
        without(chosen)
        return
    action.button(
        "Review labels in doubt",
        type="primary",
        icon=":material/checklist:",
        on_click=frame.go,
        args=("review",),
    )
    titles = {aim.title: aim for aim in found}
    title = st.selectbox("Fairness of what", list(titles), key=OBJECTIVE, bind="query-params")
    aim = titles[title]
    answer(chosen, aim)
    evidence(chosen, aim)
    trade_off(chosen, aim)
    samples(chosen, aim)
    with st.expander("Measure fairness between other groups", icon=":material/add:"):
        measure(chosen)


# ---------------------------------------------------------------------------------------------- the answer


def answer(chosen: Chosen, aim: Aim) -> None:
    """The gap with its interval, in large type; then what the influence is about, and what was left out."""
    st.title(words.escaped(gaps.headline(aim)), anchor=False)
    st.markdown(words.escaped(gaps.explained(aim)))
    if aim.facts["present"] is False:
        st.warning(gaps.ABSENT, icon=":material/casino:")
    elif together := gaps.share_of_worst(chosen.run, aim, WORST):
        st.markdown(words.escaped(together))
    for note in gaps.notes(chosen.run, aim):
        st.caption(words.escaped(note))


def evidence(chosen: Chosen, aim: Aim) -> None:
    left, right = (column.container(border=True, height="stretch") for column in st.columns(2, gap="medium"))
    with left:
        by_group(chosen, aim)
    with right:
        who_moves_it(chosen, aim)


def by_group(chosen: Chosen, aim: Aim) -> None:
    """Rates by group on validation or test samples, as a chart and as fairlearn's table."""
    frame.section("How well is each group served?", reading.GROUPS)
    has_test = "test.parquet" in chosen.run.description["files"]
    options = ["validation", "test"] if has_test else ["validation"]
    split, positive = st.columns(2, vertical_alignment="bottom")
    with split:
        which = st.segmented_control(
            "Samples", options, default="validation", required=True, key=SPLIT, bind="query-params"
        )
    classes = list(chosen.run.classes)
    counted = aim.positive or positive.selectbox(
        "Class that is counted", classes, index=len(classes) - 1, key="fairness_class"
    )
    table = cached.group_metrics(chosen.run.id, which, aim.column, counted, chosen.run)
    metric = gaps.METRICS.get(aim.kind or "", "accuracy")
    intervals = cached.group_rates(chosen.run.id, which, aim.column, counted, metric, chosen.run)
    title = gaps.AXES[metric] + ("" if metric == "accuracy" else f" of {counted}")
    frame.draw(
        gap_charts.rates(intervals, title, theme=state.theme()),
        alt=f"{title} of each group of {aim.column}",
        key=f"rates_{aim.name}_{which}",
    )
    shares = {
        text: st.column_config.NumberColumn(text, format="%.1f %%")
        for name, text in gaps.TITLES.items()
        if name != "samples"
    }
    st.dataframe(
        gaps.metric_rows(table),
        hide_index=True,
        height="content",
        column_config={"Samples": st.column_config.NumberColumn("Samples", format="%d"), **shares},
    )
    st.caption(
        f"On {which} samples. Positive means {words.escaped(counted)}; intervals are 95 % for each group alone."
    )


def who_moves_it(chosen: Chosen, aim: Aim) -> None:
    frame.section("Which samples widen or narrow it?", reading.CONTRIBUTIONS)
    table = gaps.cells(chosen.run, aim)
    if table.empty:
        st.caption(
            f"The training samples carry no column '{aim.column}', so they cannot be told apart by group."
        )
        return
    shown = table.head(12)
    frame.draw(
        gap_charts.contributions(shown, theme=state.theme()),
        alt="Sum of influence on the gap by group and given label",
        key=f"cells_{aim.name}",
    )
    more = len(table) - len(shown)
    st.caption(
        f"Orange, to the left: training on these samples widens {words.escaped(str(aim.facts['title']))}. Blue, to the "
        f"right: it narrows it. Unit: {aim.facts['unit']} per unit of learning rate. In brackets: samples."
        + (f" {more} smaller cells are not shown." if more else "")
    )


# ---------------------------------------------------------------------------------------------- the trade-off


def trade_off(chosen: Chosen, aim: Aim) -> None:
    if "influence_utility" not in chosen.run.samples:
        return
    with st.container(border=True):
        frame.section("Fairness and accuracy: where do they part?", reading.TRADE_OFF)
        utility = chosen.run.samples["influence_utility"].to_numpy(dtype=float)
        fair = chosen.run.samples[aim.influence].to_numpy(dtype=float)
        frame.draw(
            trade_off_chart.trade_off(
                utility,
                fair,
                quarters=gaps.QUARTERS,
                axis="widens  |  influence on the gap  |  narrows",
                name="the gap",
                theme=state.theme(),
            ),
            alt="Influence of each training sample on validation loss and on the gap",
            key=f"trade_{aim.name}",
        )
        rho = words.number(float(np.corrcoef(_ranks(utility), _ranks(fair))[0, 1]))
        st.caption(
            f"Each point is a training sample. Rank correlation of the two influences: {rho} (1: what helps accuracy "
            "narrows the gap as well, -1: it widens it). The axes end where 99.5 % of the samples lie."
        )


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable")


# ---------------------------------------------------------------------------------------------- the samples


def samples(chosen: Chosen, aim: Aim) -> None:
    frame.section("The samples that widen it most")
    corner, group, label = st.columns([2, 1, 1], vertical_alignment="bottom")
    with corner:
        quarter = st.segmented_control(
            "Influence on accuracy", list(CORNERS), default=next(iter(CORNERS)), required=True, key=CORNER
        )
    has_groups = aim.column in chosen.run.samples
    values = sorted(chosen.run.samples[aim.column].dropna().astype(str).unique()) if has_groups else []
    wanted = group.selectbox(aim.column, values, None, key=f"{GROUP}_{aim.column}", placeholder="All")
    given = label.selectbox("Given label", list(chosen.run.classes), None, key=LABEL, placeholder="All")
    positions = gaps.widening(chosen.run, aim, wanted, given, CORNERS[quarter])
    if not len(positions):
        frame.nothing("No sample passes these filters", "Choose another group, class or corner.")
        return
    st.caption(
        f"{words.count(min(SHOWN, len(positions)))} of {words.count(len(positions))} samples that widen the gap, the "
        "one that widens it most first. To widen a gap is not to be wrong: look before you decide."
    )
    grid(
        chosen,
        positions[:SHOWN],
        key="fairness",
        version=f"{aim.name}:{quarter}:{wanted}:{given}",
        label="Training samples that widen the gap",
    )
    explain(chosen, positions)


def explain(chosen: Chosen, positions: np.ndarray) -> None:
    """One click to the page that explains a single sample, where there is one."""
    if not frame.page_file("influence").exists():
        return
    ids = [str(chosen.run.samples.index[at]) for at in positions[:SHOWN]]
    pick, button = st.columns([3, 1], vertical_alignment="bottom")
    sample = pick.selectbox("Explain a sample", ids, key="fairness_sample")
    button.button("Open in Influence", on_click=frame.go, args=("influence",), kwargs={state.SAMPLE: sample})


# ---------------------------------------------------------------------------------------------- nothing measured


def without(chosen: Chosen) -> None:
    """The run measured no gap: say what that needs, and offer it where the dataset carries groups."""
    for note in chosen.run.description.get("notes", []):
        st.caption(words.escaped(note))
    frame.nothing(
        "This run measured no fairness",
        "Fairness needs a column that says which group a sample is in, and an objective such as fairness:sex.",
    )
    with st.container(border=True):
        measure(chosen)


def measure(chosen: Chosen) -> None:
    """A new run of the same files with a fairness objective; the present run stays as it is."""
    columns = [
        str(name) for name in chosen.run.samples.columns if name not in chosen.run.description["columns"]
    ]
    if not columns:
        st.markdown(
            "The training samples carry no group columns. Add them to **metadata.csv** (images) or to the table, and "
            "analyse again."
        )
        return
    what, kind, button = st.columns([2, 2, 1], vertical_alignment="bottom")
    column = what.selectbox("Groups by", columns, key="measure_column")
    names = {text: name for name, text in gaps.KINDS.items()}
    chosen_kind = kind.selectbox("Kind", [*names, "Loss of the worst group"], key="measure_kind")
    objective = f"fairness:{column}:{names.get(chosen_kind, 'worst_group')}"
    button.button(
        "Measure it", icon=":material/play_arrow:", on_click=submit, args=(chosen, objective), width="stretch"
    )
    st.caption(
        f"A new run of the same dataset and model; on the command line: --objectives utility {objective}"
    )


def submit(chosen: Chosen, objective: str) -> None:
    try:
        if (spec := more_work.spec_with(chosen.run, objective)) is None:
            raise RunError(
                "This run was made in Python and does not say where its files are. Analyse again with "
                f'objectives=["utility", "{objective}"].'
            )
        name = more_work.analyse(spec)
    except InfluenceError as error:
        st.session_state[PROBLEM] = str(error)
        return
    state.open_run_named(name)
    frame.go("overview")


page()
