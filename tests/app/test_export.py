"""The Export page says what was decided, and what nobody checked."""

import pandas as pd

from influence_core.decisions.log import DecisionLog, Vote
from influence_core.runs.run import Run
from pages.ui.words import export as export_words
from tests.app.conftest import Open, texts


def test_samples_that_no_review_reaches_are_counted(open_app: Open, run: Run) -> None:
    said = "\n".join(element.value for element in open_app("export", run="small").info)
    assert "50 validation samples and 50 test samples were not checked" in said


def test_no_table_shows_none(open_app: Open, run: Run, log: DecisionLog) -> None:
    vote = Vote(str(run.samples.index[0]), 0, str(run.samples["label"].iloc[0]))
    log.record(event_id="1", run=run.id, action="remove", votes=[vote], reviewer="ann")
    for preview in ("Decisions", "Decision log"):
        app = open_app("export", run="small", preview=preview)
        assert not app.exception and "1 of 200 labels decided" in texts(app)
        shown = app.dataframe[0].value
        words = shown.select_dtypes(exclude="number")
        assert not words.isna().any().any(), f"{preview}: a cell without a value reads None"


def test_times_are_in_words_and_numbers_stay_numbers() -> None:
    table = pd.DataFrame({"time": ["2026-11-22T08:30:00Z"], "label": [None], "suspicion": [0.5]})
    shown = export_words.readable(table)
    assert shown.iloc[0].tolist() == ["22 Nov 2026, 08:30 UTC", "", 0.5]
