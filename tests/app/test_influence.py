"""What the Influence and Robustness pages say of a real run, and of one that cannot be explained any more."""

from pathlib import Path

import pytest

from influence_core.jobs import submission as jobs
from influence_core.runs.run import Run
from pages.ui.shell import more_work
from pages.ui.words import robustness as robustness_words
from tests.app.conftest import Open, texts
from tests.making.real_run import dataset_of, make_explained_run, write_weights


@pytest.fixture
def real(real_run: Run, root: Path) -> Run:
    """The same run in this test's runs root."""
    (root / "real").symlink_to(real_run.path, target_is_directory=True)
    return real_run


SAMPLE = "val/bright/100.png"


def test_the_page_offers_the_most_wrong_first(open_app: Open, real: Run) -> None:
    app = open_app("influence", run="real")
    assert not app.exception and not app.error
    assert "The validation images on which the model is most wrong" in texts(app)


def test_a_prediction_is_explained_with_its_numbers_in_words(open_app: Open, real: Run) -> None:
    app = open_app("influence", run="real", sample=SAMPLE)
    assert not app.exception and not app.error, [error.value for error in app.error]
    shown = texts(app).replace("\u202f", " ")
    found = real.explain(SAMPLE)
    assert f"The model says **{found.predicted}**" in shown
    assert "All 27 training samples were scored exactly" in shown
    assert "Positive: one training step on the sample lowers the loss of this prediction" in shown
    assert "Which of the two labels is wrong?" in shown


def test_the_lead_of_one_class_over_another_can_be_asked_for(open_app: Open, real: Run) -> None:
    predicted = real.explain(SAMPLE).predicted
    other = next(name for name in real.classes if name != predicted)
    app = open_app("influence", run="real", sample=SAMPLE, against=f"its lead over {other}")
    assert not app.exception and not app.error
    assert f"raises the lead of {predicted} over {other}" in texts(app)


def test_a_training_sample_is_read_the_other_way_round(open_app: Open, real: Run) -> None:
    app = open_app("influence", run="real", of="Training", sample="train/dark/0.png")
    assert not app.exception and not app.error, [error.value for error in app.error]
    shown = texts(app)
    assert (
        "lowers the loss of that validation sample" in shown
        and "Which of the two labels is wrong?" in shown
        and "What should be done with it?" in shown
        and "Not predicted yet for this sample" in shown
    )


def test_an_id_of_another_split_says_where_it_stands(open_app: Open, real: Run) -> None:
    app = open_app("influence", run="real", sample="train/dark/0.png")
    assert not app.exception
    assert "It is a training sample." in texts(app)
    assert "is called" in texts(open_app("influence", run="real", sample="<b>nobody</b>"))


def test_a_picture_of_ones_own_is_explained_and_a_hostile_one_refused(open_app: Open, real: Run) -> None:
    content = (dataset_of(real.path) / SAMPLE).read_bytes()
    app = open_app("influence", run="real", of="Upload")
    app.file_uploader(key="influence_upload").upload("mine.png", content, "image/png").run()
    assert not app.exception and not app.error, [error.value for error in app.error]
    assert "The model says" in texts(app)
    app = open_app("influence", run="real", of="Upload")
    app.file_uploader(key="influence_upload").upload("bad.png", b"%!PS-Adobe", "image/png").run()
    assert not app.exception
    assert "found EPS" in app.error[0].value


def test_a_changed_model_is_a_sentence_and_nothing_is_explained(open_app: Open, root: Path) -> None:
    make_explained_run(root / "own", per_class=4, objectives=("utility",))
    write_weights(dataset_of(root / "own"), seed=1)
    app = open_app("influence", run="own", sample=SAMPLE)
    assert not app.exception
    assert "The model of the run" in app.error[0].value and "has changed" in app.error[0].value
    assert "The model says" not in texts(app)


def test_robustness_shows_the_fall_and_who_makes_it(open_app: Open, real: Run) -> None:
    app = open_app("robustness", run="real")
    assert not app.exception and not app.error, [error.value for error in app.error]
    assert app.header[0].value == robustness_words.headline(real.description["robustness"])
    assert [metric.label for metric in app.metric][:3] == ["Clean accuracy", "Under PGD", "Under FGSM"]
    assert all("[" in metric.delta for metric in app.metric), "an accuracy without its interval"
    shown = texts(app)
    assert "that make the model most fragile" in shown and "rank correlation" in shown


def test_a_run_that_did_not_look_offers_to(open_app: Open, root: Path) -> None:
    run = make_explained_run(root / "own", per_class=4, objectives=("utility",))
    spec = more_work.spec_with_robustness(run)
    assert spec is not None and spec.settings["objectives"] == ["utility", "robustness"]
    app = open_app("robustness", run="own")
    assert "did not measure robustness" in texts(app)
    app.button(key="measure_robustness").click().run()
    try:
        assert not app.exception
        assert app.selectbox(key="run").value == "own-robustness"
        assert jobs.status(root / "own-robustness").active
    finally:
        jobs.kill(root / "own-robustness")
