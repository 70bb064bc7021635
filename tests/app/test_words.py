"""Numbers and sentences read as the look says; numbers of a review follow from its decisions."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from influence_core.errors import DataError
from influence_core.jobs.status import JobStatus
from influence_core.judging.intervals import Estimate, wilson
from influence_core.runs.run import Run
from influence_core.scores.suspicion import input_view
from influence_core.scores.suspicion.evidence import Evidence
from influence_core.scores.suspicion.trust import OUTPUTS_READER, trusted
from pages.ui.shell import job_panel, places
from pages.ui.words import formats, how_to_read, scores, why_in_doubt
from pages.ui.words import overview as overview_words
from pages.ui.words.review import tally

THIN = "\u202f"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.012345, "0.0123"),
        (-0.5, "\u22120.500"),
        (1.0, "1.00"),
        (12.345, "12.3"),
        (999.6, f"1{THIN}000"),
        (12345.6, f"12{THIN}300"),
        (1.2e-7, "1.20e\u22127"),
        (float("nan"), "none"),
    ],
)
def test_a_number_has_three_significant_digits(value: float, shown: str) -> None:
    assert formats.number(value) == shown


def test_counts_percentages_and_intervals() -> None:
    assert formats.count(4000) == f"4{THIN}000"
    assert formats.percent(0.0995) == f"10.0{THIN}%"
    assert formats.interval(0.851, 0.95) == "[85.1, 95.0]"
    assert formats.plural(1, "sample") == "1 sample"
    assert formats.plural(2, "sample") == "2 samples"


def test_sizes_rates_and_coefficients() -> None:
    assert formats.size(355_000) == f"355{THIN}kB" and formats.size(5e9) == f"5{THIN}GB"
    assert formats.size(0) == f"0{THIN}kB" and formats.size(1_234_567) == f"1.23{THIN}MB"
    assert formats.rate(950.0) == "950 a second" and formats.rate(0.0603) == "3.62 a minute"
    assert formats.rate(0.0001) == "0.36 an hour"
    assert formats.short(30.0) == "30" and formats.short(1e-7) == formats.number(1e-7)
    assert formats.small_percent(0.0002) == f"under 0.1{THIN}%" and formats.small_percent(0) == f"0.0{THIN}%"
    assert formats.coefficient(-0.456) == "\u22120.46" and formats.coefficient(float("nan")) == "none"


def test_a_sentence_of_the_engine_is_restyled() -> None:
    said = formats.restyled("Predicts 85% of 4,000 labels, 86.5 % of the rest; shape (1, 28, 28).")
    assert said == f"Predicts 85{THIN}% of 4{THIN}000 labels, 86.5{THIN}% of the rest; shape (1, 28, 28)."


def test_times() -> None:
    assert formats.duration(80) == f"1{THIN}min 20{THIN}s"
    assert formats.moment("2026-11-22T08:30:00.000000Z") == "22 Nov 2026, 08:30 UTC"
    assert formats.moment("2026-11-22T10:30:00+02:00") == "22 Nov 2026, 08:30 UTC"
    assert formats.moment(None) == ""


@pytest.mark.parametrize("text", ["a_b*c", "[x](javascript:y)", ":red[x]", "<b>", "$x$", "`x`", "# x"])
def test_text_of_a_dataset_is_never_markdown(text: str) -> None:
    escaped = formats.escaped(text)
    assert escaped.replace("\\", "") == text
    assert all(escaped[at - 1] == "\\" for at, letter in enumerate(escaped) if letter in "_*[]():<>$`#")


def test_a_score_says_its_sign_unit_target_and_layers(run: Run) -> None:
    sentence = scores.score_sentence("influence_utility", run.description["columns"])
    for part in ("raises validation loss", "helpful", "learning rate", "mean validation loss", "all layers"):
        assert part in sentence, f"{part!r} is missing: a number without a unit or a direction is a bug"


def test_a_known_step_is_told_with_the_time_left() -> None:
    status = JobStatus(
        "demo", "running", "sweep", "Gradients", 1, 6, done=1200, total=4000, rate=950.0, eta=12.0
    )
    assert job_panel.step_text(status) == "Step 2 of 6: gradients"
    assert job_panel.detail_text(status) == f"1{THIN}200 of 4{THIN}000 · 950 a second · about 12{THIN}s left"


@pytest.mark.parametrize("state", job_panel.LOOKS)
def test_every_state_of_a_job_has_a_badge_and_words(state: str) -> None:
    assert "badge" in job_panel.state_badge(state)
    if state != "damaged":
        assert job_panel.step_text(JobStatus("demo", state))


def test_wilson_is_the_published_interval() -> None:
    """Newcombe 1998, table I: 81 of 263 is 0.2553 to 0.3662."""
    found = wilson(81, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)
    assert wilson(0, 10).low == 0.0 and wilson(10, 10).high == 1.0


def test_a_tally_counts_only_the_queue() -> None:
    suspicion = np.array([0.9, 0.8, 0.7, 0.1])
    numbers = tally(suspicion, ["relabel", "keep", None, "remove"], np.array([0, 1, 2]))
    assert (numbers.queue, numbers.decided, numbers.confirmed) == (3, 2, 1)
    assert numbers.precision == 0.5
    assert numbers.expected_left_in_queue == pytest.approx(0.7)
    assert tally(suspicion, [None] * 4, np.array([0])).precision is None


NO_DECISIONS = pd.DataFrame({"action": []}, dtype=object)


def test_findings_add_up(run: Run) -> None:
    found = overview_words.find(run, 0.5, NO_DECISIONS)
    assert found.flagged == run.description["results"]["flagged"]
    assert found.confusion.to_numpy().sum() == found.flagged == sum(entry.flagged for entry in found.by_class)
    assert sum(entry.total for entry in found.by_class) == found.total == 200
    assert found.errors.value == pytest.approx(run.description["results"]["expected_errors"])


def test_one_number_of_errors_in_headline_and_tile(run: Run) -> None:
    found = overview_words.find(run, 0.5, NO_DECISIONS)
    number, tile = (
        formats.count(found.errors.value),
        overview_words.facts(run.description["results"], found)[2],
    )
    assert number in found.headline and tile.value == number, "headline and tile count errors differently"
    for end in (found.errors.low, found.errors.high):
        assert formats.count(end) in found.headline and formats.count(end) in tile.detail


def test_decisions_enter_the_number_of_errors(run: Run) -> None:
    first = run.samples["suspicion"].nlargest(3)
    before = overview_words.find(run, 0.5, NO_DECISIONS).errors
    found = overview_words.find(
        run, 0.5, pd.DataFrame({"action": ["relabel", "remove", "keep"]}, index=first.index)
    )
    assert found.found == 2 and "2 are found" in found.headline
    assert found.errors.value == pytest.approx(before.value - first.sum() + 2), (
        "a decision was not taken as known"
    )
    assert found.errors.high - found.errors.low < before.high - before.low, (
        "reviewing does not sharpen the number"
    )


def test_clean_data_is_told_honestly(run: Run) -> None:
    clean = replace(overview_words.find(run, 1.5, NO_DECISIONS), errors=Estimate(0.1, 0.0, 0.4))
    assert clean.headline.startswith("None of 200 training labels is probably wrong")
    assert "nothing here is worth the time" in clean.headline
    assert clean.pair is None
    assert len(overview_words.facts(run.description["results"], clean)) == 5
    assert overview_words.next_steps(clean)


def test_nothing_above_the_cut_is_no_all_clear_where_it_cannot_be_told(run: Run) -> None:
    unsure = replace(overview_words.find(run, 1.5, NO_DECISIONS), told=False)
    assert "at most" in unsure.headline and "worth the time" not in unsure.headline, (
        "a run that cannot tell says that nothing is wrong"
    )
    assert "may be wrong" in overview_words.next_steps(unsure)[0]


VIEWS = {"neighbours_view": "the inputs", "witnesses": {"unseen": "the inputs", "neighbours": "the inputs"}}
DOUBTED = why_in_doubt.Case("shirt", "dress", suspicion=0.9, suggested_probability=0.8, cut=0.5, noun="image")
HEARD = [
    why_in_doubt.Witness("neighbours", "dress", 0.7, 2.0),
    why_in_doubt.Witness("unseen", "dress", 0.86, 3.0),
    why_in_doubt.Witness("validation", "shirt", 0.6, -0.5),
]


def test_a_doubt_is_given_by_the_two_strongest_witnesses_that_speak_for_it() -> None:
    near = ["dress"] * 9 + ["shirt"]
    assert why_in_doubt.sentence(DOUBTED, HEARD, near, VIEWS) == (
        f"Readers that never saw this label say dress, 86{THIN}%; 9 of the 10 most similar images are labelled dress."
    ), "the strongest comes first, and who speaks for the given label is no witness of the doubt"
    learnt = {**VIEWS, "neighbours_view": "layer4", "witnesses": {"unseen": "layer4"}}
    assert "images that the model finds most similar" in why_in_doubt.sentence(
        DOUBTED, HEARD, near, learnt
    ), "neighbours by a layer are the model's view, and the reader is told"
    split = replace(DOUBTED, suspicion=0.55, suggested_probability=0.3)
    assert "none alone is likelier than shirt" in why_in_doubt.sentence(split, HEARD, near, VIEWS)
    trusted = replace(DOUBTED, suspicion=0.1, suggested_probability=0.1)
    agreed = why_in_doubt.sentence(trusted, [replace(HEARD[1], says="shirt", weight=-4.0)], near, VIEWS)
    assert agreed == f"Readers that never saw this label say shirt, 86{THIN}%."
    alone = [replace(HEARD[0], says="shirt")]
    assert "No single reader names another label" in why_in_doubt.sentence(DOUBTED, alone, near, VIEWS)
    assert "analyse again" in why_in_doubt.sentence(DOUBTED, None, near, {}), (
        "an old run must say what it lacks"
    )


def test_the_models_own_answer_says_whether_it_counts() -> None:
    def says(predicted: str, memorised: bool) -> str:
        return why_in_doubt.of_the_model(DOUBTED, predicted, 0.96, memorised=memorised)

    assert says("shirt", True) == f"The model itself says shirt 96{THIN}%, but it has memorised this label."
    assert says("shirt", False) == f"The model itself says shirt 96{THIN}%, as the label does."
    assert says("dress", True) == f"The model itself agrees: dress 96{THIN}%."
    assert says("coat", False) == f"The model itself says coat 96{THIN}%."


def test_the_names_in_a_run_are_those_that_sentences_look_for() -> None:
    own = Evidence(OUTPUTS_READER, "the model", np.eye(2), np.eye(2))
    assert why_in_doubt.THE_INPUTS == input_view.NAME
    assert trusted([own], np.array([0, 1]), np.array([0, 1]), 0)[0].evidence == why_in_doubt.ITSELF


def test_the_banned_words_are_not_used() -> None:
    folder = places.APP / "pages"
    for path in folder.rglob("*.py"):
        text = path.read_text("utf-8").lower()
        assert not any(phrase in text for phrase in ("bad data", "dirty", "ai found")), path


def test_every_reading_is_two_sentences_and_a_formula() -> None:
    for name, entry in vars(how_to_read).items():
        if isinstance(entry, how_to_read.Reading):
            assert entry.text.count(". ") == 1, name
            assert entry.text.endswith("."), name
            assert entry.formula, name


@pytest.mark.parametrize(
    "typed", ["/etc/passwd", "../../etc/passwd", "~/secrets", "link", "{root}/link/passwd"]
)
def test_paths_outside_the_data_folders_are_refused(tmp_path, monkeypatch, typed: str) -> None:
    (tmp_path / "link").symlink_to("/etc")
    monkeypatch.setenv("INFLUENCE_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"outside the folders|There is no dataset"):
        places.permitted(typed.format(root=tmp_path), "dataset")


def test_paths_inside_are_found_and_missing_ones_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "flowers").mkdir()
    monkeypatch.setenv("INFLUENCE_DATA", str(tmp_path))
    assert places.permitted("flowers", "dataset") == tmp_path / "flowers"
    assert places.permitted(str(tmp_path / "flowers"), "dataset") == tmp_path / "flowers"
    with pytest.raises(DataError, match="no dataset at 'weeds'"):
        places.permitted("weeds", "dataset")


def test_small_numbers_never_lose_their_sign() -> None:
    assert formats.number(-1e-6).startswith("\u2212")
    assert math.isfinite(float(formats.number(123456789.0).replace(THIN, "")))
