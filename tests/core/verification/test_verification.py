"""Laws of verification: the same bits whatever happens on the way, and no effect found where there is none."""

import json
import shutil
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from influence_core.cli.main import main
from influence_core.errors import Cancelled, DataError
from influence_core.inputs.reopened import reopen
from influence_core.jobs import repair_jobs
from influence_core.jobs.status import runs_root_of, status
from influence_core.judging import paired
from influence_core.repair import repairs
from influence_core.runs.run import Run
from influence_core.training.recipe import suggested
from influence_core.verification import control_arms as arms
from influence_core.verification import measurements as measured
from influence_core.verification.results import calibration_of, list_verifications, new_folder
from influence_core.verification.trainings import Outcome
from influence_core.verification.verify import verify
from influence_core.worker.work import work_of
from tests.making.clouds import RECIPE, make_run

SMALL: dict = {"seeds": 2, "recipe": RECIPE, "groups": 4, "workers": 0}


@pytest.fixture
def run(cloud_run: Run):
    """The run without anything an earlier test has trained."""
    yield cloud_run
    for folder in ("trainings", "verifications"):
        shutil.rmtree(cloud_run.path / folder, ignore_errors=True)


def result(folder: Path) -> dict:
    content = json.loads((folder / "verification.json").read_text())
    content["repair"].pop("made")
    return {name: value for name, value in content.items() if name not in ("made", "seconds", "seal")}


def outcomes(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run.path / "trainings").glob("*.npz")}


def test_two_runs_and_an_interrupted_one_are_bit_identical(run):
    first = verify(run, **SMALL)
    bits = outcomes(run)
    shutil.rmtree(run.path / "trainings")
    assert result(verify(run, **SMALL).folder) == result(first.folder)
    assert outcomes(run) == bits, "two verifications with the same seeds gave other bits"
    shutil.rmtree(run.path / "trainings")
    steps = []

    def stop(stage: str, done: int, total: int) -> None:
        steps.append(done)
        if stage == "arms" and done == 53:  # in the third training, after two of its epochs
            raise Cancelled("stop")

    folder = run.path / "verifications" / "stopped"
    with pytest.raises(Cancelled):
        verify(run, **SMALL, out=folder, on_progress=stop)
    assert 0 < len(outcomes(run)) < len(bits)
    resumed = verify(run, **SMALL, out=folder)
    assert result(resumed.folder) == result(first.folder)
    assert outcomes(run) == bits, "interrupted and resumed is not the same as uninterrupted"
    assert not list((run.path / "trainings").glob("*.state"))


def test_a_finished_training_is_not_repeated_for_another_repair(run):
    verify(run, **SMALL)
    before = set(outcomes(run))
    other = verify(run, repairs.most_suspicious(run, 5), **SMALL)
    assert len(set(outcomes(run)) - before) <= 4, "only the new repair and its random arm are new"
    assert list_verifications(run)[0].name == other.name
    bears_out = [v for v in list_verifications(run) if v.rank_correlation and v.rank_correlation.low > 0]
    assert calibration_of(run) == (bears_out[0].calibration if bears_out else None)


def test_every_number_is_there_and_paired(run):
    found = verify(run, **SMALL)
    assert set(found.arms) == {"nothing", "repair", "random", "oracle"}
    metrics = {"accuracy", "loss", "robust accuracy", "class 0", "class 1", "class 2"}
    assert metrics <= set(found.arms["repair"]["differences"])
    for name in metrics:
        levels = [found.arms[arm]["levels"][name] for arm in ("repair", "nothing")]
        effect = found.difference(name)
        assert effect is not None and effect.value == pytest.approx(levels[0] - levels[1])
        assert effect.low <= effect.value <= effect.high
    assert found.arms["oracle"]["fingerprints"] != found.arms["repair"]["fingerprints"]
    assert len(found.arms["random"]["fingerprints"]) == 2, "the random arm is drawn anew for every seed"
    assert {p["name"] for p in found.content["points"]} >= {"repair", "random", "oracle"}
    assert (found.model_folder() / "model.safetensors").exists()
    assert "random repair of the same size" in found.sentence()


def test_a_repair_of_nothing_changes_not_one_bit(run):
    empty = repairs.Repair("nothing at all", run.id, repairs.changes_of([]))
    found = verify(run, empty, **{**SMALL, "groups": 0})
    for metric in ("accuracy", "loss"):
        effect = found.difference(metric)
        assert effect is not None and effect.value == effect.low == effect.high == 0
    assert found.verdict == "no measurable effect" and "no measurable effect" in found.sentence()


def test_bad_repairs_are_refused_before_anything_is_trained(run):
    rows = [
        (str(sample), "remove", label, None, 0.0, "t")
        for sample, label in run.samples["label"].items()
        if label == "1"
    ]
    lost = repairs.Repair("all of 1", run.id, repairs.changes_of(rows))
    with pytest.raises(DataError, match="no sample is left of 1"):
        verify(run, lost, **SMALL)
    assert not outcomes(run)


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        ({"arms": ("repair", "random")}, "The arms repair, random .* at least the arms nothing and repair"),
        ({"arms": ("nothing", "oracle")}, "The arms nothing, oracle .* at least the arms nothing and repair"),
        ({"arms": ("nothing", "repair", "rndom")}, "No arm is called 'rndom'"),
        ({"seeds": 0}, "with 0 trainings each .* at least 1 training"),
    ],
)
def test_arms_that_cannot_be_compared_are_refused_before_anything_is_made(run, choice, named):
    with pytest.raises(DataError, match=named):
        verify(run, **SMALL | choice)
    assert not (run.path / "verifications").exists() and not outcomes(run)


def test_the_number_of_a_deleted_verification_is_not_used_again(run):
    first, second = new_folder(run), new_folder(run)
    second.rmdir()
    third = new_folder(run)
    assert [folder.name for folder in (first, second, third)] == ["1", "2", "3"]
    assert list_verifications(run) == []


def test_folders_of_an_earlier_version_are_counted_too(run):
    (run.path / "verifications" / "7").mkdir(parents=True)
    assert new_folder(run).name == "8"


def test_arms_have_the_size_and_class_mix_of_the_repair(run):
    repair = repairs.suggested(run)
    mix = repair.changes["label_before"].value_counts().to_dict()
    for seed in range(3):
        drawn = arms.drawn(run, repair, seed)
        assert run.samples.loc[list(drawn), "label"].value_counts().to_dict() == mix
        scrambled = arms.scrambled(run, repair, seed).changes
        assert scrambled["label_before"].value_counts().to_dict() == mix
        truth = run.truth()
        for change in repairs.rows_of(arms.random(run, repair, truth, seed).changes):
            assert change.action == "remove" or change.label_after == truth[change.Index]
    assert arms.drawn(run, repair, 0) != arms.drawn(run, repair, 1)


def test_other_processes_give_the_same_bits(run, tmp_path, monkeypatch):
    """Started from a script that must not run a second time, as a page or one without a guard."""
    script = types.ModuleType("__main__")
    script.__file__ = str(tmp_path / "page.py")
    Path(script.__file__).write_text("raise SystemExit('the starter was run again')")
    monkeypatch.setitem(sys.modules, "__main__", script)
    few = {**SMALL, "seeds": 1, "groups": 0}
    verify(run, **few)
    bits = outcomes(run)
    shutil.rmtree(run.path / "trainings")
    verify(run, **{**few, "workers": 2})
    assert outcomes(run) == bits, "the result depends on how many trainings run side by side"


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """400 drawn experiments with an effect of 1 point: 95 % intervals hold it at least 92 times in 100."""
    generator, covered = np.random.default_rng(0), 0
    for _ in range(400):
        samples = generator.normal(0.01, 0.3, (1, 300))
        table = samples + generator.normal(0, 0.3, (5, 300)) + generator.normal(0, 0.01, (5, 1))
        estimate = paired.paired_mean(table)
        covered += estimate.low <= 0.01 <= estimate.high
    assert 0.92 <= covered / 400 <= 0.995


def test_a_gap_between_groups_is_measured_with_its_change(run):
    """Group b is always answered wrongly before and rightly after: the gap falls from 1 to 0."""
    import pandas as pd

    judged = reopen(run).test.select(np.arange(60))
    judged.groups = pd.DataFrame({"side": ["a", "b"] * 30})
    good = np.eye(3, dtype=np.float32)[judged.labels]
    bad = np.where((np.arange(60) % 2 == 1)[:, None], np.roll(good, 1, axis=1), good)
    before, after = [Outcome(bad, bad)] * 3, [Outcome(good, good)] * 3
    assert measured.gap(judged, before, "side") == 1 and measured.gap(judged, after, "side") == 0
    assert measured.differences(judged, before, after)["gap side"]["value"] == -1
    assert measured.differences(judged, before, after)["side = b"]["value"] == 1


def test_the_job_works_from_what_was_frozen(run, monkeypatch):
    monkeypatch.setattr(repair_jobs.jobs, "launch", lambda folder: True)
    settings = {name: value for name, value in SMALL.items() if name != "recipe"}
    folder = repair_jobs.submit_verification(
        run, repairs.suggested(run), recipe=RECIPE.to_json(), **{**settings, "groups": 0}
    )
    assert runs_root_of(folder) == run.path.parent and status(folder).state == "queued"
    work, stages = work_of(folder)
    seen = []
    work(folder, lambda stage, done, total: seen.append(stage))
    assert set(seen) <= {name for name, _, _ in stages}
    assert list_verifications(run)[0].name == repairs.suggested(run).name
    advice = repair_jobs.submit_prediction(run)
    work, _ = work_of(advice)
    work(advice, lambda stage, done, total: None)
    assert runs_root_of(advice) == run.path.parent


def test_the_command_prints_the_table_and_the_sentence(run, capsys):
    assert (
        main(
            [
                "verify",
                str(run.path),
                "--seeds",
                "1",
                "--groups",
                "0",
                "--epochs",
                "1",
                "--top",
                "9",
                "--workers",
                "1",
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    assert "oracle" in said and "random repair of the same size" in said
    assert main(["verify", str(run.path), "--label", "1"]) == 1
    assert "--top or --cut" in capsys.readouterr().err


def test_a_suggested_recipe_fits_model_and_size():
    small, large = suggested(20_000, 500), suggested(20_000, 60_000)
    assert small.epochs == 30 and large.epochs == 5 and small.start == "scratch"
    assert suggested(11_000_000, 4000).start == "given"


@pytest.mark.slow
def test_on_clean_data_a_repair_is_called_an_improvement_at_most_one_time_in_twenty(tmp_path):
    """Permuted repairs on data without planted faults: whatever is found is found by chance."""
    clean = make_run(tmp_path, faults=0.0, n=240)
    generator, improved, trials = np.random.default_rng(0), 0, 60
    for trial in range(trials):
        chosen = generator.choice(len(clean.samples), 12, replace=False)
        rows = [
            (str(clean.samples.index[i]), "remove", clean.samples["label"].iloc[i], None, 0.0, "t")
            for i in chosen
        ]
        repair = repairs.Repair(f"permuted {trial}", clean.id, repairs.changes_of(rows))
        recipe = replace(RECIPE, seed=10 * trial)
        found = verify(clean, repair, seeds=3, recipe=recipe, groups=0, workers=0, arms=("nothing", "repair"))
        improved += found.verdict == "improved"
    assert improved / trials <= 0.05, (
        f"{improved} of {trials} repairs that do nothing were called improvements"
    )
