"""What a person does on the pages: filter, decide, undo, find, export; and what the log and the files then hold."""

import io
import itertools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from influence_core.decisions.log import DecisionLog
from influence_core.errors import DecisionError
from influence_core.runs.run import Run
from pages.ui.components import gallery
from pages.ui.components.outbox import Event
from pages.ui.reports import downloads
from pages.ui.samples import cards, selection, writing
from pages.ui.shell.state import OpenRun
from pages.ui.words import scores
from tests.app.conftest import Open, answer, texts
from tests.making.drawn_run import dataset_of, make_small_run

NUMBERS = itertools.count()


def event(action: str, *votes: tuple[str, int, str | None], target: str | None = None) -> Event:
    """What the gallery sends for one key."""
    sent = [
        {"id": sample, "revision": revision, "own": [], "label": label} for sample, revision, label in votes
    ]
    return {
        "event_id": f"event-{next(NUMBERS):08}",
        "action": action,
        "votes": sent,
        "seconds": 1.5,
        "target": target,
    }


def decide(run: Run, log: DecisionLog, action: str, count: int, label: str | None = None) -> list[str]:
    """Decide the first `count` samples nobody has decided yet."""
    free = [sample for sample in run.samples.index if sample not in log.current(run.id).index]
    if label is not None:
        free = [sample for sample in free if run.samples.at[sample, "label"] != label]
    chosen = free[:count]
    writing.apply(event(action, *((sample, 0, label) for sample in chosen)), run=run, log=log, reviewer="Ada")
    return chosen


# ---------------------------------------------------------------------------------------------- filters


def test_filters_of_the_address_are_on_the_page(open_app: Open, run: Run) -> None:
    given, suggested = run.classes[1], run.classes[0]
    app = open_app(
        "outliers", run="small", sort="Loss", given=given, suggested=suggested, share="100", size="120"
    )
    assert app.selectbox(key="sort").value == "Loss"
    assert app.selectbox(key="given").value == given
    table = run.samples
    number = int(((table["label"] == given) & (table["suggested_label"] == suggested)).sum())
    assert f"1 to {number} of {number} images" in texts(app)


def test_an_impossible_filter_is_ignored(open_app: Open, run: Run) -> None:
    app = open_app("outliers", run="small", sort="Nonsense", given="no such class", page="99")
    assert not app.exception
    assert app.selectbox(key="sort").value == "Suspicion"


@pytest.mark.parametrize("order", scores.ORDERS, ids=lambda order: order.column)
def test_every_order_begins_with_the_most_suspicious(run: Run, order: scores.Order) -> None:
    """Planted wrong labels have low margin and negative influence: an order turned around puts them last."""
    planted = run.samples["suspicion"].to_numpy() > 0.5
    first = selection.beyond(run, order, 0.25, selection.Filters())
    last = selection.beyond(run, order, 1.0, selection.Filters())[-50:]
    assert planted[first].mean() > planted[last].mean(), f"{order.title} starts at its harmless end"


def test_filters_keep_the_order(run: Run) -> None:
    order = scores.ORDERS[0]
    shown = selection.beyond(run, order, 1.0, selection.Filters(given=run.classes[2]))
    suspicion = run.samples["suspicion"].to_numpy()[shown]
    assert (run.samples["label"].to_numpy()[shown] == run.classes[2]).all()
    assert (np.diff(suspicion) <= 0).all()


def test_pages_of_the_grid_cover_every_position_once() -> None:
    positions = np.arange(130)
    pages = [selection.one_page(positions, number, 60) for number in (1, 2, 3)]
    assert [len(page) for page in pages] == [60, 60, 10]
    assert np.concatenate(pages).tolist() == positions.tolist()


# ---------------------------------------------------------------------------------------------- decisions


def test_a_decision_is_on_the_next_page_that_opens(open_app: Open, run: Run, log: DecisionLog) -> None:
    queue = selection.queue(run, 0.5)
    worst = str(run.samples.index[queue[0]])
    writing.apply(event("remove", (worst, 0, None)), run=run, log=log, reviewer="Ada")
    app = open_app("review", run="small")
    told = answer(app)
    assert (told["queue"]["remove"], told["queue"]["keep"]) == (1, 0), "the decision is not counted"
    assert told["queue"]["total"] + len(told["standing"].split(" ")) == len(queue), (
        "a sample of the queue is counted twice"
    )
    assert "You changed 100.0" in told["queue"]["sentence"]


def test_a_card_carries_what_was_decided_and_its_revision(run: Run, log: DecisionLog) -> None:
    sample, label = str(run.samples.index[3]), run.classes[0]
    before = cards.cards(run, "small", [3], log)[0]
    assert (before["revision"], before["decision"]) == (0, None)
    given = run.samples.at[sample, "label"]
    label = next(name for name in run.classes if name != given)
    writing.apply(event("relabel", (sample, 0, label)), run=run, log=log, reviewer="Ada")
    after = cards.cards(run, "small", [3], log)[0]
    assert after["revision"] == 1
    assert after["decision"] == {"action": "relabel", "label": label}
    assert after["given"] == given, "the label the score was made of must stay visible"


def test_a_card_draws_the_evidence_that_made_the_doubt_not_the_models_own_answer(
    run: Run, log: DecisionLog
) -> None:
    table, columns = run.samples, {name: k for k, name in enumerate(run.classes)}
    for row, card in enumerate(cards.cards(run, "small", range(len(table)), log)):
        bars, about = dict(card["top"]), table.iloc[row]
        assert sum(bars.values()) == pytest.approx(1, abs=1e-5)
        assert bars[columns[about["label"]]] == pytest.approx(1 - about["suspicion"], abs=1e-6)
        assert bars[columns[about["suggested_label"]]] == pytest.approx(
            about["suggested_probability"], abs=1e-6
        )
        assert card["flagged"] == (about["suspicion"] >= 0.5)
        if about["suspicion"] > 0.6:
            assert card["top"][0][0] == columns[about["suggested_label"]], (
                "the card argues against its own verdict"
            )
            assert about["suggested_label"] in card["why"], card["why"]
        assert card["model"].startswith("The model itself"), (
            "what the model says is told apart from the evidence"
        )
        assert [bar["name"] for bar in card["bars"]] == [
            "Pull on the model",
            "Effect on validation",
            "Suspicion",
        ]


def test_a_run_that_kept_no_evidence_still_opens_and_says_so(root: Path, log: DecisionLog) -> None:
    old = make_small_run(root / "old", n=60, classes=12, old=True)
    worst = int(old.samples["suspicion"].to_numpy().argmax())
    (card,) = cards.cards(old, "old", [worst], log)
    known = {old.classes[index]: share for index, share in card["top"] if share is not None}
    about = old.samples.iloc[worst]
    assert known == pytest.approx(
        {about["label"]: 1 - about["suspicion"], about["suggested_label"]: about["suggested_probability"]}
    ), "numbers that the run does not hold were drawn"
    assert len(card["top"]) == 10, "each of ten keys needs a class"
    assert "analyse again" in card["why"]


def test_the_same_event_twice_is_written_once(run: Run, log: DecisionLog) -> None:
    sent = event("keep", (str(run.samples.index[0]), 0, None))
    for _ in range(2):
        writing.apply(sent, run=run, log=log, reviewer="Ada")
    assert len(log.events(run.id)) == 1


def test_undo_takes_back_the_named_event(run: Run, log: DecisionLog) -> None:
    first = event("keep", (str(run.samples.index[0]), 0, None))
    second = event("keep", (str(run.samples.index[1]), 0, None))
    for sent in (first, second):
        writing.apply(sent, run=run, log=log, reviewer="Ada")
    writing.apply(event("undo", target=first["event_id"]), run=run, log=log, reviewer="Ada")
    assert list(log.current(run.id).index) == [run.samples.index[1]]


@pytest.mark.parametrize(
    ("action", "sample", "label", "named"),
    [
        ("keep", "no/such/sample.png", None, "no/such/sample.png"),
        ("relabel", None, "no such class", "no such class"),
    ],
)
def test_what_the_browser_invents_is_refused(
    run: Run, log: DecisionLog, action: str, sample: str | None, label: str | None, named: str
) -> None:
    votes = (sample or str(run.samples.index[0]), 0, label)
    with pytest.raises(DecisionError, match=named):
        writing.apply(event(action, votes), run=run, log=log, reviewer="Ada")
    assert log.events(run.id).empty, "a refused event must leave nothing behind"


def test_two_reviewers_on_one_image_become_a_visible_conflict(
    open_app: Open, run: Run, log: DecisionLog
) -> None:
    sample = str(run.samples.index[0])
    writing.apply(event("keep", (sample, 0, None)), run=run, log=log, reviewer="Ada")
    writing.apply(event("remove", (sample, 0, None)), run=run, log=log, reviewer="Bob")
    app = open_app("review", run="small")
    assert not app.exception
    assert answer(app)["conflicts"] == 1


def test_who_settles_a_conflict_decides_the_sample_again(run: Run, log: DecisionLog) -> None:
    sample = str(run.samples.index[0])
    writing.apply(event("keep", (sample, 0, None)), run=run, log=log, reviewer="Ada")
    writing.apply(event("remove", (sample, 0, None)), run=run, log=log, reviewer="Bob")
    writing.settle(OpenRun("small", run, log), sample, 1, "remove", None)
    assert log.conflicts(run.id).empty
    assert log.current(run.id).loc[sample, "action"] == "remove"


def test_a_finished_queue_says_so_and_leads_to_verify(open_app: Open, run: Run, log: DecisionLog) -> None:
    for row in selection.queue(run, 0.5):
        writing.apply(event("keep", (str(run.samples.index[row]), 0, None)), run=run, log=log, reviewer="Ada")
    app = open_app("review", run="small")
    assert f"Done: 0 relabelled, {len(selection.queue(run, 0.5))} kept, 0 removed" in texts(app)
    next(button for button in app.button if button.label == "Next: Verify").click().run()
    assert app.title[0].value == "Verify"


def test_where_no_label_is_in_doubt_review_shows_the_most_suspicious(open_app: Open, run: Run) -> None:
    assert run.samples["suspicion"].max() < 0.99, "the test needs a cut that no label reaches"
    told = answer(open_app("review", run="small", cut="0.99"))
    assert len(told["standing"].split(" ")) == 40, "Review is empty, though the button leads to it"
    assert told["queue"]["sentence"] == "No label is in doubt: these are the 40 most suspicious."


def test_a_name_of_the_browser_is_taken_once(open_app: Open, run: Run) -> None:
    told = answer(open_app("review", run="small"))
    assert told["reviewer"] == {"name": None, "ask": True, "fixed": False}


@pytest.mark.parametrize(
    ("card", "standing"),
    [
        ({"decision": None, "revision": 0}, ""),
        ({"decision": None, "revision": 4}, "-4"),
        ({"decision": {"action": "keep", "label": None}, "revision": 1}, "k1"),
        ({"decision": {"action": "relabel", "label": "b"}, "revision": 12, "conflict": True}, "l12.1!"),
        ({"decision": {"action": "relabel", "label": "not! a.class"}, "revision": 1}, "l1.~not%21%20a.class"),
    ],
)
def test_what_stands_about_a_card_takes_a_few_letters(card: Any, standing: str) -> None:
    assert gallery._standing(card, {"a": 0, "b": 1}) == standing


def test_the_queue_does_not_move_when_something_is_decided(run: Run, log: DecisionLog) -> None:
    before = selection.queue(run, 0.3)
    decide(run, log, "remove", 5)
    assert selection.queue(run, 0.3).tolist() == before.tolist()


def test_a_sample_of_the_address_is_found(open_app: Open, run: Run) -> None:
    sample = str(run.samples.index[7])
    for page in ("map", "review"):
        app = open_app(page, run="small", sample=sample)
        assert not app.exception
        assert app.text_input(key="sample").value == sample
        assert len(app.get("bidi_component")) >= 2, "the map or queue, and the image that was asked for"


def test_an_unknown_sample_is_a_sentence(open_app: Open, run: Run) -> None:
    assert "No training sample is called" in texts(open_app("map", run="small", sample="nobody"))


# ---------------------------------------------------------------------------------------------- export


@pytest.mark.parametrize("count", [1, 2, 7, 200])
def test_as_many_as_were_decided_are_exported(open_app: Open, run: Run, log: DecisionLog, count: int) -> None:
    decide(run, log, "remove", count)
    offers = {offer.title: offer for offer in downloads.offers(run, "small", log, "http://here/")}
    table = pd.read_csv(io.BytesIO(offers["Decisions"].files[0].make()))
    remaining = pd.read_parquet(io.BytesIO(offers["Corrected labels"].files[1].make()))
    assert len(table) == offers["Decisions"].rows == count
    assert len(remaining) == offers["Corrected labels"].rows == 200 - count
    app = open_app("export", run="small")
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown == {"Kept": "0", "Relabelled": "0", "Removed": str(count), "Undecided": str(200 - count)}


def test_every_download_holds_the_rows_beside_its_button(run: Run, log: DecisionLog) -> None:
    decide(run, log, "keep", 3)
    decide(run, log, "relabel", 4, label=run.classes[0])
    for offer in downloads.offers(run, "small", log, "http://here/"):
        for file in offer.files:
            if file.label == "CSV":
                assert len(pd.read_csv(io.BytesIO(file.make()))) == offer.rows, offer.title
            if file.label == "Parquet":
                assert len(pd.read_parquet(io.BytesIO(file.make()))) == offer.rows, offer.title
            if file.label == "JSON":
                assert len(pd.read_json(io.BytesIO(file.make()))) == offer.rows, offer.title


def test_a_file_is_made_from_what_is_decided_at_the_click(run: Run, log: DecisionLog) -> None:
    offers = {offer.title: offer for offer in downloads.offers(run, "small", log, "http://here/")}
    decide(run, log, "keep", 2)
    assert len(pd.read_csv(io.BytesIO(offers["Decisions"].files[0].make()))) == 2, (
        "the bytes are older than the click"
    )


def test_images_that_are_gone_say_so(run: Run, log: DecisionLog) -> None:
    offers = {offer.title: offer for offer in downloads.offers(run, "small", log, "http://here/")}
    assert "no longer at" in (offers["Corrected image folder"].obstacle or "")


def test_images_of_a_run_without_a_job_are_opened_with_its_own_options(root: Path, log: DecisionLog) -> None:
    run = make_small_run(root / "cli", n=40, pictures=True, options={"skip_unreadable": True})
    (dataset_of(run.path) / "train" / run.classes[0] / "zzz.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    offers = {offer.title: offer for offer in downloads.offers(run, "cli", log, "http://here/")}
    content = offers["Corrected image folder"].files[0].make()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert sum(name.startswith("train/") and name.endswith(".png") for name in archive.namelist()) == 40
