"""The Compare page says in a sentence and five bars what a run trusted, whatever its layers are called."""

import pytest

from influence_core.runs.run import Run
from pages.ui.words import compare as compare_words
from tests.app.conftest import Open, texts
from tests.making.real_run import make_explained_run

EVIDENCE = [
    {
        "name": "probe on the inputs",
        "share": 0.3,
        "remembers": False,
        "why": "Predicts 77% of the given labels.",
    },
    {"name": "kernel on the inputs", "share": 0.32, "remembers": False, "why": "So."},
    {"name": "probe on network.stage1 on top", "share": 0.2, "remembers": False, "why": "So."},
    {"name": "neighbours on network.head", "share": 0.1, "remembers": True, "why": "So."},
    {"name": "validation labels on the inputs", "share": 0.05, "remembers": False, "why": "So."},
    {"name": "the model's own outputs", "share": 0.03, "remembers": True, "why": "So."},
]


def results(**more: object) -> dict[str, object]:
    return {"evidence": EVIDENCE, "regime": "It reproduces 100% of 4,000 labels.", **more}


@pytest.mark.parametrize(("noun", "inputs"), [("image", "pixels"), ("row", "columns"), ("sample", "inputs")])
def test_five_kinds_hold_the_whole_weight(noun: str, inputs: str) -> None:
    shares = compare_words.kinds(results(), noun)
    assert shares == pytest.approx(
        {
            f"Readers of the {inputs}": 0.62,
            "Readers of the network's layers": 0.2,
            f"Most similar {noun}s": 0.1,
            "Readers taught by validation labels": 0.05,
            "The model's own answers": 0.03,
        }
    )


def test_the_headline_names_what_was_trusted_and_whether_the_model_memorised() -> None:
    said = compare_words.headline(results(), "image").replace("\\", "").replace("\u202f", " ")
    assert said == (
        "Trusted most: readers of the pixels (62.0 %) and readers of the network's layers (20.0 %). "
        "The model has memorised its labels, so its own answers count for 3.0 %."
    )
    honest = [*EVIDENCE[:-1], {**EVIDENCE[-1], "remembers": False}]
    assert "has not memorised" in compare_words.headline(results(evidence=honest), "image")
    assert "memorised" not in compare_words.headline(results(evidence=EVIDENCE[:-1]), "image")


def test_evidence_of_a_kind_that_this_version_does_not_know_is_not_lost() -> None:
    unknown = {"name": "oracle on high", "share": 0.5, "remembers": False, "why": "So."}
    shares = compare_words.kinds(results(evidence=[*EVIDENCE, unknown]), "image")
    assert shares["oracle on high"] == 0.5


def test_numbers_of_the_engine_are_in_the_style_of_the_screen() -> None:
    said = compare_words.reasons(results(near_copies=2891)).replace("\\", "")
    assert "100\u202f% of 4\u202f000 labels" in said and "2\u202f891 samples have near-copies" in said
    assert compare_words.rows(results(), "image")["Why"].iloc[1] == "Predicts 77\u202f% of the given labels."


def test_the_page_opens_with_the_sentence(open_app: Open, root) -> None:
    make_explained_run(root / "real", per_class=4, objectives=("utility",))
    app = open_app("compare", run="real")
    assert not app.exception
    assert app.header[0].value.startswith("Trusted most:")


def test_an_older_run_without_reasons_says_so(open_app: Open, run: Run) -> None:
    app = open_app("compare", run="small")
    assert not app.exception
    assert "older version" in texts(app)
