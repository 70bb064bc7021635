"""The Fairness page: the gap between groups, and the training samples that cause it."""

from __future__ import annotations

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from influence_core.errors import InfluenceError, RunError
from influence_core.judging.ranks import rank_correlation
from influence_core.repair import repairs
from pages.ui.charts import fairness as fairness_charts
from pages.ui.charts import trade_off as trade_off_charts
from pages.ui.components.gallery import Card, gallery
from pages.ui.repairs import what_if
from pages.ui.samples import cards, explained, selection, table_rows
from pages.ui.shell import cached, frame, more_work, state
from pages.ui.shell.state import OpenRun
from pages.ui.words import fairness as fairness_words
from pages.ui.words import formats, how_to_read
from pages.ui.words.fairness import FairnessObjective

OBJECTIVE, SPLIT, GROUP, LABEL, CORNER = "objective", "split", "group", "class", "corner"
MANY, MOST, A_PAGE = "how_many", 500, 12
WORST = 100
CORNERS = {"All that widen it": (), "Also hurt accuracy": (2,), "But help accuracy": (3,)}
PROBLEM = "_fairness_problem"


def page() -> None:
    action = frame.header(
        "Fairness", "Does the model serve one group worse, and which training samples make it so?"
    )
    open_run = state.require_run()
    if problem := st.session_state.pop(PROBLEM, None):
        frame.problem(problem)
    aims = fairness_words.fairness_objectives(open_run.run)
    if not aims:
        not_measured(open_run)
        return
    titles = {aim.title: aim for aim in aims}
    title = st.selectbox("Measure", list(titles), key=OBJECTIVE, bind="query-params", width=420)
    aim = titles[title]
    answer(open_run, aim)
    evidence(open_run, aim)
    samples(open_run, aim, action)
    trade_off(open_run, aim)
    with st.expander("Measure fairness between other groups", icon=":material/add:"):
        measure(open_run)


# ---------------------------------------------------------------------------------------------- the answer


def answer(open_run: OpenRun, aim: FairnessObjective) -> None:
    """The gap with its interval in large type, then what influence is measured on, and what was left out."""
    frame.large(formats.escaped(fairness_words.headline(aim)))
    st.caption(formats.escaped(fairness_words.explained(aim)))
    if aim.facts["present"] is False:
        st.warning(fairness_words.ABSENT, icon=":material/casino:")
    elif together := fairness_words.share_of_worst(open_run.run, aim, WORST):
        st.markdown(formats.escaped(together))
    for note in fairness_words.notes(open_run.run, aim):
        st.caption(formats.escaped(note))


def evidence(open_run: OpenRun, aim: FairnessObjective) -> None:
    left, right = (column.container(border=True, height="stretch") for column in st.columns(2, gap="medium"))
    with left:
        who_moves_it(open_run, aim)
    with right:
        by_group(open_run, aim)


def by_group(open_run: OpenRun, aim: FairnessObjective) -> None:
    """Rates by group on validation or test samples, as a chart and as fairlearn's table."""
    frame.section("How is each group served?", how_to_read.GROUPS)
    has_test = "test.parquet" in open_run.run.description["files"]
    options = ["validation", "test"] if has_test else ["validation"]
    split, positive = st.columns(2, vertical_alignment="bottom")
    with split:
        which = st.segmented_control(
            "Samples", options, default="validation", required=True, key=SPLIT, bind="query-params"
        )
    classes = list(open_run.run.classes)
    counted = aim.positive or positive.selectbox(
        "Counted class", classes, index=len(classes) - 1, key="fairness_class"
    )
    table = cached.group_metrics(open_run.run.id, which, aim.column, counted, open_run.run)
    metric = fairness_words.METRICS.get(aim.kind or "", "accuracy")
    intervals = cached.group_rates(open_run.run.id, which, aim.column, counted, metric, open_run.run)
    title = fairness_words.AXES[metric] + ("" if metric == "accuracy" else f" of {counted}")
    frame.draw(
        fairness_charts.rates(intervals, title, theme=state.theme()),
        alt=f"{title} of each group of {aim.column}",
        key=f"rates_{aim.name}_{which}",
    )
    shares = {
        text: st.column_config.NumberColumn(text, format=f"%.1f{formats.THIN}%%")
        for name, text in fairness_words.TITLES.items()
        if name != "samples"
    }
    st.dataframe(
        fairness_words.metric_rows(table),
        hide_index=True,
        height="content",
        column_config={"Samples": st.column_config.NumberColumn("Samples", format="%d"), **shares},
    )
    st.caption(
        f"On {formats.escaped(which)} samples. Positive means {formats.escaped(counted)}; each group has its own 95 % "
        "interval."
    )


def who_moves_it(open_run: OpenRun, aim: FairnessObjective) -> None:
    frame.section("Who widens it, who narrows it?", how_to_read.CONTRIBUTIONS)
    table = fairness_words.cells(open_run.run, aim)
    if table.empty:
        st.caption(
            f"The training samples have no column '{formats.escaped(aim.column)}', so they cannot be split by group."
        )
        return
    shown = table.head(12)
    frame.draw(
        fairness_charts.contributions(shown, theme=state.theme()),
        alt="Sum of influence on the gap by group and given label",
        key=f"cells_{aim.name}",
    )
    more = len(table) - len(shown)
    st.caption(
        f"Orange, to the left: training on these samples widens {formats.escaped(str(aim.facts['title']))}. Blue, to "
        f"the right: training on them narrows it. Unit: {formats.escaped(aim.facts['unit'])} per unit of "
        "learning rate. "
        "In brackets: number of samples."
        + (f" {formats.count(more)} smaller cells are not shown." if more else "")
    )


# ---------------------------------------------------------------------------------------------- the trade-off


def trade_off(open_run: OpenRun, aim: FairnessObjective) -> None:
    if "influence_utility" not in open_run.run.samples:
        return
    with st.container(border=True):
        frame.section("Where do fairness and accuracy conflict?", how_to_read.TRADE_OFF)
        utility = open_run.run.samples["influence_utility"].to_numpy(dtype=float)
        fair = open_run.run.samples[aim.influence].to_numpy(dtype=float)
        frame.draw(
            trade_off_charts.trade_off(
                utility,
                fair,
                quarters=fairness_words.QUARTERS,
                axis="widens  |  influence on the gap  |  narrows",
                name="the gap",
                theme=state.theme(),
            ),
            alt="Influence of each training sample on validation loss and on the gap",
            key=f"trade_{aim.name}",
        )
        rho = formats.number(rank_correlation(utility, fair))
        st.caption(
            f"Each point is a training sample. Rank correlation of the two influences: {rho} (1: what helps accuracy "
            "also narrows the gap, -1: it widens it). The axes cover 99.5 % of the samples."
        )


# ---------------------------------------------------------------------------------------------- the samples


def samples(open_run: OpenRun, aim: FairnessObjective, action: DeltaGenerator) -> None:
    """The samples that widen the gap, to look at, and the way to Verify for them: nothing is decided here."""
    frame.section("The samples that widen it most")
    corner, group, label, many = st.columns([3, 1, 1, 1], vertical_alignment="bottom")
    with corner:
        quarter = st.segmented_control(
            "Influence on accuracy", list(CORNERS), default=next(iter(CORNERS)), required=True, key=CORNER
        )
    has_groups = aim.column in open_run.run.samples
    values = sorted(open_run.run.samples[aim.column].dropna().astype(str).unique()) if has_groups else []
    group_name = group.selectbox(
        formats.escaped(aim.column), values, None, key=f"{GROUP}_{aim.column}", placeholder="All"
    )
    given = label.selectbox("Given label", list(open_run.run.classes), None, key=LABEL, placeholder="All")
    positions = fairness_words.widening(open_run.run, aim, group_name, given, CORNERS[quarter])
    if not len(positions):
        frame.nothing("No samples match these filters", "Choose another group, class or corner.")
        return
    most = min(MOST, len(positions))
    count = int(many.number_input("How many", 1, most, min(60, most), key=MANY))
    what_if_without(open_run, aim, positions[:count], action)
    look(open_run, aim, positions[:count], f"{aim.name}:{quarter}:{group_name}:{given}:{count}")


def what_if_without(
    open_run: OpenRun, aim: FairnessObjective, positions: np.ndarray, action: DeltaGenerator
) -> None:
    """What leaving these samples out is predicted to do, and the button that takes them to Verify."""
    ids = open_run.run.samples.index[positions].tolist()
    name = f"the {len(ids):,} samples chosen on the Fairness page, which widen the {aim.column} gap most"
    repair = repairs.leaving_out(open_run.run, ids, name=name, aim=aim.name)
    st.markdown(formats.escaped(what_if.effect_on_gap(open_run, repair)))
    st.caption(
        "To widen a gap is not to be wrong: nothing is decided here. Verify retrains without them and measures it."
    )
    action.button(
        "Send to Verify as a what-if",
        type="primary",
        icon=":material/science:",
        on_click=what_if.send,
        args=(repair,),
        disabled=aim.facts["present"] is False,
    )


def look(open_run: OpenRun, aim: FairnessObjective, positions: np.ndarray, version: str) -> None:
    """A page of cards, each with its group; a click shows what the sample helps and hurts."""
    about, pages = st.columns([3, 2], vertical_alignment="bottom")
    with pages.container(horizontal_alignment="right"):
        number = st.pagination(max(1, -(-len(positions) // A_PAGE)), key=f"{state.PAGE}_fairness")
    about.caption(
        f"{selection.span(number, A_PAGE, len(positions))}, strongest first. Percent: share of all widening. "
        "Click a card to see what it helps and hurts."
    )
    rows = selection.one_page(positions, number, A_PAGE)
    plain = cards.cards(open_run.run, open_run.name, rows, open_run.log)
    gallery(
        with_groups(open_run, aim, plain, rows),
        key=f"fairness_{open_run.name}",
        version=f"{open_run.run.id}:{version}:{number}",
        classes=open_run.run.classes,
        apply=lambda event: None,
        label="Training samples that widen the gap",
        read_only=True,
        autofocus=False,
    )


def with_groups(open_run: OpenRun, aim: FairnessObjective, plain: list[Card], rows: np.ndarray) -> list[Card]:
    """Cards with the group first, their share of all widening, and a mark where a label is in doubt."""
    table = open_run.run.samples
    values, groups = table[aim.influence].to_numpy(dtype=float), table[aim.column].astype(str).tolist()
    notes = explained.shares(values[rows].tolist(), -float(values[values < 0].sum()))
    strongest = float(np.abs(values).max())
    scored = explained.with_scores(plain, table.iloc[rows].assign(influence=values[rows]), notes, strongest)
    return [
        table_rows.group_first(card, aim.column, groups[row])
        if card.get("cells")
        else Card(**{**card, "note": f"{groups[row]} · {card.get('note')}"})
        for card, row in zip(explained.doubted(scored, open_run.cut), rows.tolist(), strict=True)
    ]


# ---------------------------------------------------------------------------------------------- nothing measured


def not_measured(open_run: OpenRun) -> None:
    """Say what measuring a gap needs, and offer it where the dataset has groups."""
    for note in open_run.run.description.get("notes", []):
        st.caption(formats.escaped(note))
    frame.nothing(
        "Fairness was not measured in this run",
        "It needs a group to compare, for example sex: a column that names each sample's group.",
    )
    with st.container(border=True):
        measure(open_run)


def measure(open_run: OpenRun) -> None:
    """Offer a new run of the same files with a fairness objective; the current run is kept."""
    columns = [
        str(name) for name in open_run.run.samples.columns if name not in open_run.run.description["columns"]
    ]
    if not columns:
        st.markdown(
            "The training samples have no group columns. Add them to **metadata.csv** (images) or to the table, and "
            "analyse again."
        )
        return
    groups, kind, button = st.columns([2, 2, 1], vertical_alignment="bottom")
    column = groups.selectbox("Groups by", columns, key="measure_column")
    names = {text: name for name, text in fairness_words.KINDS.items()}
    kind_title = kind.selectbox("Kind", [*names, "Loss of the worst group"], key="measure_kind")
    objective = f"fairness:{column}:{names.get(kind_title, 'worst_group')}"
    button.button(
        "Measure fairness",
        icon=":material/play_arrow:",
        on_click=submit,
        args=(open_run, objective),
        width="stretch",
        **more_work.for_owners(),
    )
    st.caption(
        f"A new run of the same dataset and model; on the command line: "
        f"--objectives utility {formats.escaped(objective)}"
    )


def submit(open_run: OpenRun, objective: str) -> None:
    try:
        if (spec := more_work.spec_with(open_run.run, objective)) is None:
            raise RunError(
                "This run was made in Python and does not record where its files are. Analyse again with "
                f'objectives=["utility", "{objective}"].'
            )
        name = more_work.analyse(spec)
    except InfluenceError as error:
        st.session_state[PROBLEM] = str(error)
        return
    state.open_run_named(name)
    frame.redirect("overview")


page()
