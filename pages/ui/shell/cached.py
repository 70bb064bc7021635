"""Bounded caches between reruns, keyed by run id and column name, never by an array.

Streamlit hashes only a sample of a large array, so two runs could be confused. The run id (never reused) stands for the
content, and the run itself travels as `_run`, outside the key. All sessions share these values: readers must not change
them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence_core.decisions.log import DecisionLog, decision_log_for
from influence_core.runs.answers import FirstAnswer
from influence_core.runs.run import Run
from influence_core.training.dynamics import training_dynamics
from influence_core.training.recorder import Recording
from pages.ui.words import overview as overview_words
from pages.ui.words import robustness as robustness_words
from pages.ui.words import scores, why_in_doubt

SHOWN = 10
"""Samples of each kind on the Influence page."""


@st.cache_resource(max_entries=4, show_spinner=False)
def log(root: str) -> DecisionLog:
    """The decision log of this runs root."""
    return decision_log_for(Path(root))


@st.cache_resource(max_entries=8, show_spinner=False)
def columns(run_id: str, _run: Run) -> dict[str, Any]:
    """The sample table as plain sequences, many times faster to read row by row than a DataFrame.

    Adds `sample_id` (list), `rank` (1 = most suspicious) and `position` (sample id -> row).
    """
    table = _run.samples
    ids = [str(sample) for sample in table.index]
    plain = {str(name): _plain(table[str(name)]) for name in table.columns}
    by_suspicion = order(run_id, "suspicion", _run)
    rank = np.empty(len(ids), dtype=np.int64)
    rank[by_suspicion] = np.arange(1, len(ids) + 1)
    return {
        **plain,
        "sample_id": ids,
        "rank": rank,
        "position": {sample: row for row, sample in enumerate(ids)},
    }


def _plain(values: Any) -> Any:
    return values.to_numpy() if pd.api.types.is_numeric_dtype(values) else values.astype(object).tolist()


def witnesses(run_id: str, row: int, run: Run) -> list[why_in_doubt.Witness] | None:
    """Who says what about one sample; None for a run that did not keep it."""
    heard = _heard(run_id, run)
    if heard is None:
        return None
    return [
        why_in_doubt.Witness(group, says[row], float(probability[row]), float(weight[row]))
        for group, (says, probability, weight) in heard.items()
    ]


@st.cache_resource(max_entries=8, show_spinner=False)
def _heard(run_id: str, _run: Run) -> dict[str, tuple[Any, Any, Any]] | None:
    """What each witness of a run says, how surely and with what weight, as plain sequences."""
    table = _run.witnesses
    if table is None:
        return None
    return {
        group: (
            _plain(table[f"{group}_says"]),
            _plain(table[f"{group}_probability"]),
            _plain(table[f"{group}_weight"]),
        )
        for group in _run.description["results"]["witnesses"]
    }


@st.cache_resource(max_entries=8, show_spinner=False)
def coordinates(run_id: str, _run: Run) -> np.ndarray:
    """The map, shape (n, 2), float32."""
    return _run.samples[["map_x", "map_y"]].to_numpy(dtype=np.float32)


@st.cache_resource(max_entries=32, show_spinner=False)
def codes(run_id: str, column: str, _run: Run) -> np.ndarray:
    """A column of class names as positions in the run's class order, shape (n,)."""
    return pd.Categorical(_run.samples[column], categories=list(_run.classes)).codes.astype(np.int64)


@st.cache_resource(max_entries=64, show_spinner=False)
def order(run_id: str, column: str, _run: Run) -> np.ndarray:
    """Row positions, most suspicious first by this score; ties keep the order of the table. Shape (n,)."""
    lowest_first = any(
        score.lowest_first for score in scores.orders(_run.description["columns"]) if score.column == column
    )
    values = _run.samples[column].to_numpy(dtype=float)
    return np.argsort(values if lowest_first else -values, kind="stable")


@st.cache_resource(max_entries=8, show_spinner=False)
def ranks(run_id: str, _run: Run) -> dict[str, np.ndarray]:
    """For each score, the share of samples below each sample: 0.99 = in the top 1 %. Shape (n,) each."""
    present = [score.column for score in scores.orders(_run.description["columns"])]
    return {name: _run.samples[name].rank(pct=True).to_numpy() for name in present}


@st.cache_resource(max_entries=8, show_spinner=False)
def dynamics(folder: str, epochs: int, _recording: Recording) -> pd.DataFrame:
    """How each sample was learned, by training_dynamics; recomputed after each epoch of a growing recording."""
    return training_dynamics(_recording)


@st.cache_resource(max_entries=4, show_spinner=False)
def truth(run_id: str, _run: Run) -> pd.Series | None:
    """True label by sample id where the dataset has them (the demo), else None."""
    return _run.truth()


@st.cache_resource(max_entries=4, show_spinner=False)
def detection(run_id: str, _run: Run) -> pd.DataFrame:
    """How well every signal finds the wrong labels; only for runs with a truth."""
    from influence_core.judging.detection import (
        detection_table,  # imports scikit-learn: only runs with a truth need it
    )

    true_labels = truth(run_id, _run)
    assert true_labels is not None, "detection() is for runs whose truth is known"
    return detection_table(_run.samples, overview_words.wrong(_run, true_labels))


@st.cache_resource(max_entries=256, show_spinner=False)
def first_answer(run_id: str, split: str, sample: str, among: str, _run: Run) -> FirstAnswer | None:
    """What the stored sketches say of a sample at once; None for a test sample."""
    return _run.first_answer(sample, k=SHOWN, split=split, among=among)


@st.cache_resource(max_entries=16, show_spinner=False)
def relation(run_id: str, column: str, _run: Run) -> robustness_words.Relation:
    """Influence on robustness compared with influence on utility."""
    table = _run.samples
    robust, utility = (table[name].to_numpy(dtype=float) for name in (column, "influence_utility"))
    return robustness_words.relation(robust, utility, k=max(1, min(100, len(table) // 10)))


@st.cache_resource(max_entries=32, show_spinner=False)
def group_metrics(run_id: str, split: str, column: str, positive: str, _run: Run) -> pd.DataFrame:
    """How well each group of a column is served, on "validation" or "test" samples."""
    from influence_core.judging.group_rates import (
        group_metrics,  # imports fairlearn: only the Fairness page needs it
    )

    return group_metrics(_run.table(split), column, positive)


@st.cache_resource(max_entries=32, show_spinner=False)
def group_rates(run_id: str, split: str, column: str, positive: str, metric: str, _run: Run) -> pd.DataFrame:
    """One rate of each group with its interval."""
    from influence_core.judging.group_rates import rate_intervals

    return rate_intervals(_run.table(split), column, positive, metric)


@st.cache_resource(max_entries=4, show_spinner=False)
def rarity(run_id: str, _run: Run) -> np.ndarray | None:
    """How unusual each cell of a table is, shape (n, columns); None when the samples are not rows of a table."""
    from influence_core.data.rarity import rarity

    return None if _run.cells is None else rarity(_run.cells)


@st.cache_resource(max_entries=8, show_spinner=False)
def held_out_cells(run_id: str, split: str, _run: Run) -> pd.DataFrame | None:
    """The rows of a held-out split of a table as in the source."""
    return _run.held_out_cells(split)
