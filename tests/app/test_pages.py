"""Every page opens in every state a server can be in, and says what to do next; none shows a traceback."""

import json
from pathlib import Path

import pytest
import streamlit as st

from influence_core.jobs import submission as jobs
from influence_core.run_files.folder import fail_run, start_run
from influence_core.runs.run import Run
from tests.app.conftest import PAGES, Open, answer, texts
from tests.making.drawn_run import make_small_run

WITH_RUN = tuple(page for page in PAGES if page not in ("start", "own_data"))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_before_there_is_any_run(open_app: Open, page: str) -> None:
    app = open_app(page)
    assert not app.exception, "a page without a run must be an empty state, not a traceback"
    if page in WITH_RUN:
        assert any(button.label == "Go to Start" for button in app.button), "the way on is missing"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_with_a_finished_run(open_app: Open, run: Run, page: str) -> None:
    app = open_app(page, run="small")
    assert not app.exception
    assert not app.error, [error.value for error in app.error]


@pytest.mark.parametrize("page", WITH_RUN)
def test_every_page_says_which_run_it_shows(open_app: Open, run: Run, page: str) -> None:
    shown = texts(open_app(page, run="small"))
    if page != "review":  # its one line holds the run's name alone, which a test in a browser sees
        assert "200 training samples" in shown.replace("\u202f", " "), "the run chip of line 2 is missing"
    assert "small" in shown


@pytest.mark.parametrize("page", WITH_RUN)
def test_a_running_or_dead_job_shows_its_state_instead_of_results(
    open_app: Open, root: Path, page: str
) -> None:
    _half_a_run(root / "half")
    app = open_app(page, run="half")
    assert not app.exception
    assert "interrupted" in texts(app), "nobody holds the lock: the work died, and the page must say so"
    assert any(button.label == "Resume" for button in app.button)


@pytest.mark.parametrize("page", WITH_RUN)
def test_a_failed_run_says_why(open_app: Open, root: Path, page: str) -> None:
    folder = _half_a_run(root / "half")
    fail_run(folder, "The disk is full.")
    app = open_app(page, run="half")
    assert not app.exception
    assert "The disk is full." in texts(app)


@pytest.mark.parametrize("page", WITH_RUN)
def test_a_damaged_run_is_a_sentence(open_app: Open, run: Run, root: Path, page: str) -> None:
    with (root / "small" / "samples.parquet").open("ab") as table:
        table.write(b"one byte more")
    app = open_app(page, run="small")
    assert not app.exception, "a damaged file is an expected error: main.py must turn it into a sentence"
    assert "samples.parquet" in app.error[0].value


@pytest.mark.parametrize("page", WITH_RUN)
def test_an_address_with_an_unknown_run_says_so(open_app: Open, run: Run, page: str) -> None:
    app = open_app(page, run="gone")
    assert not app.exception
    assert "gone" in texts(app), "showing another run than the address names would mislead"


@pytest.mark.parametrize("name", ["../../etc", "", ".", "small/../small"])
def test_a_hostile_run_name_opens_nothing(open_app: Open, run: Run, name: str) -> None:
    app = open_app("overview", run=name)
    assert not app.exception


def test_without_an_address_no_run_is_opened_and_the_page_offers_them(open_app: Open, root: Path) -> None:
    make_small_run(root / "older", n=60)
    make_small_run(root / "newer", n=60)
    _half_a_run(root / "half")
    app = open_app("overview")
    assert app.selectbox(key="run").value is None, "a run was opened that nobody asked for"
    shown = texts(app)
    assert "No run is open" in shown and "No runs yet" not in shown
    app.button(key="offer_newer").click().run()
    assert app.selectbox(key="run").value == "newer"
    assert any("of 60 training labels" in title.value for title in app.header)


def test_pages_that_a_run_leaves_empty_are_marked_in_the_menu(
    open_app: Open, root: Path, run: Run, monkeypatch
) -> None:
    titles: dict[str, str] = {}
    drawn = st.Page
    monkeypatch.setattr(
        st, "Page", lambda path, **more: titles.update({path.stem: more["title"]}) or drawn(path, **more)
    )
    open_app("overview", run="small")
    marked = {name for name, title in titles.items() if "not measured" in title}
    assert marked == {"fairness", "robustness", "dynamics"}
    make_small_run(root / "fair", n=60, classes=2, gap=True)
    open_app("overview", run="fair")
    assert "not measured" not in titles["fairness"], "this run measured fairness"


def test_overview_says_the_number_in_doubt(open_app: Open, run: Run) -> None:
    suspicion = run.samples["suspicion"]
    app = open_app("overview", run="small")
    about = f"About {round(suspicion.sum())} of 200 training labels are wrong, between "
    assert any(title.value.startswith(about) for title in app.header), (
        "the headline has another number of errors"
    )
    assert f"{int((suspicion >= 0.5).sum())} of 200" in app.metric[1].delta
    assert len(app.metric) == 5


def test_the_cut_of_the_address_decides_what_is_in_doubt(open_app: Open, run: Run) -> None:
    flagged = int((run.samples["suspicion"] >= 0.9).sum())
    app = open_app("overview", run="small", cut="0.9")
    assert app.slider(key="cut").value == 0.9
    assert f"{flagged} of 200" in app.metric[1].delta, "the numbers were drawn before the slider was read"


def test_without_a_known_truth_nothing_is_judged(open_app: Open, run: Run) -> None:
    assert "How well did it do?" not in texts(open_app("overview", run="small"))


def test_where_the_truth_is_known_every_signal_is_judged(open_app: Open, run: Run) -> None:
    dataset = Path(run.description["inputs"]["dataset"]["path"])
    dataset.mkdir(parents=True)
    truth = run.samples["suggested_label"].where(run.samples["suspicion"] > 0.5, run.samples["label"])
    truth.rename("label").rename_axis("sample_id").to_csv(dataset / "truth.csv")
    app = open_app("overview", run="small")
    shown = texts(app)
    assert "How well did it do?" in shown
    assert "labels really are wrong" in shown
    assert "Random order" in set(app.dataframe[0].value["Signal"]), "chance must stand beside every signal"


def _half_a_run(folder: Path) -> Path:
    """A job that was begun and whose process is gone."""
    spec = jobs.JobSpec(dataset=str(folder), model=str(folder), name="half")
    start_run(folder, description={"name": "half", "inputs": {"dataset": {"name": "half", "n_train": 10}}})
    (folder / "job.json").write_text(json.dumps({"format": 1, **vars(spec)}))
    (folder / "progress.json").write_text(json.dumps({"state": "running", "fraction": 0.4}))
    return folder


# ---------------------------------------------------------------------------------------------- the way


def test_the_button_of_an_empty_page_leads_to_start(open_app: Open) -> None:
    app = open_app("review")
    next(button for button in app.button if button.label == "Go to Start").click().run()
    assert not app.exception, (
        "switching pages with a parameter that a widget owns is refused: see frame.redirect"
    )
    assert any("Influence Explorer" in title.value for title in app.title)


def test_an_earlier_run_opens_from_start(open_app: Open, root: Path, run: Run) -> None:
    make_small_run(root / "newer", n=60)
    app = open_app("start")
    app.button(key="run_small").click().run()
    assert not app.exception
    assert app.selectbox(key="run").value == "small"
    assert any("of 200 training labels" in title.value for title in app.header)


def test_the_primary_action_leads_on(open_app: Open, run: Run) -> None:
    app = open_app("overview", run="small")
    next(button for button in app.button if button.label.startswith("Review")).click().run()
    assert not app.exception
    assert answer(app)["queue"], "the queue of Review is not on the page"
    next(button for button in app.button if button.label == "Export").click().run()
    assert not app.exception
    assert app.title[0].value == "Export"


def test_the_demo_starts_a_job_and_a_second_click_opens_the_same(open_app: Open, root: Path) -> None:
    app = open_app("start")
    next(button for button in app.button if button.label == "Explore the demo").click().run()
    try:
        assert not app.exception
        assert app.selectbox(key="run").value == "fashion"
        assert jobs.status(root / "fashion").active
        again = open_app("start")
        next(button for button in again.button if button.label == "Explore the demo").click().run()
        assert not again.exception
        assert len(list(root.glob("*/job.json"))) == 1, "two demos were started"
    finally:
        jobs.kill(root / "fashion")


def test_two_names_are_two_reviewers(open_app: Open, run: Run) -> None:
    app = open_app("review", run="small")
    app.session_state["reviewer"] = "Ada"
    assert answer(app.run())["reviewer"]["name"] == "Ada"
