"""Laws of repairs: the original stays, a version is its content, and predictions are what the formula says."""

import shutil

import numpy as np
import pytest

from influence_core.decisions.log import Vote
from influence_core.errors import DataError, RunError
from influence_core.inputs.reopened import reopen
from influence_core.repair import repairs
from influence_core.repair.candidate_labels import prepare
from influence_core.repair.label_influence import read_advice
from influence_core.repair.predicted_effects import predicted_effects, sample_advice
from influence_core.runs.run import Run, open_run


@pytest.fixture(scope="module")
def inputs(cloud_run):
    return reopen(cloud_run)


@pytest.fixture(scope="module")
def advice(cloud_run, inputs):
    return prepare(cloud_run, inputs)


def change(run: Run, position: int, action: str, after: str | None = None, weight: float = 1.0):
    row = run.samples.iloc[position]
    return (str(row.name), action, row["label"], after, weight, "tester")


def repair_of(run: Run, *rows) -> repairs.Repair:
    return repairs.Repair("by hand", run.id, repairs.changes_of(rows))


def other(run: Run, position: int) -> str:
    return next(name for name in run.classes if name != run.samples.iloc[position]["label"])


def test_a_run_without_any_sample_to_prepare_gets_empty_advice(cloud_run, inputs, tmp_path, monkeypatch):
    shutil.copytree(cloud_run.path, tmp_path / "run")
    run = open_run(tmp_path / "run")
    repair = repair_of(run, change(run, 0, "remove"))
    none = run.samples.iloc[:0]
    monkeypatch.setattr(Run, "samples", property(lambda self: none))
    made = prepare(run, inputs)
    again = read_advice(run)
    assert again is not None and again.ids == made.ids == ()
    assert made.objectives and again.products.shape == (0, len(run.classes), len(made.objectives))
    effects = predicted_effects(run, repair, again)
    assert effects.covered == 0 and effects.requested == 1 and (effects.table["first_order"] == 0).all()


def test_a_version_holds_the_changes_and_leaves_the_original_alone(cloud_run, inputs):
    before = inputs.train.labels.copy()
    rows = change(cloud_run, 0, "relabel", other(cloud_run, 0)), change(cloud_run, 1, "remove", weight=0.0)
    rows += (change(cloud_run, 2, "weigh", weight=0.25),)
    version = repairs.repaired(inputs.train, repair_of(cloud_run, *rows))
    assert (inputs.train.labels == before).all(), "the original was edited"
    assert version.samples.labels[0] == cloud_run.classes.index(other(cloud_run, 0))
    assert version.weights[:4].tolist() == [1, 0, 0.25, 1]
    assert len(version.remaining()) == len(before) - 1
    assert version.parent == inputs.train.fingerprint != version.fingerprint
    facts = version.to_json()
    assert facts["by"] == {"tester": 3} and facts["run"] == cloud_run.id
    assert (facts["relabel"], facts["remove"], facts["weigh"]) == (1, 1, 1)


def test_the_fingerprint_is_that_of_the_content(cloud_run, inputs):
    def print_of(*rows):
        return repairs.repaired(inputs.train, repair_of(cloud_run, *rows)).fingerprint

    one, two = (
        change(cloud_run, 0, "relabel", other(cloud_run, 0)),
        change(cloud_run, 1, "remove", weight=0.0),
    )
    assert print_of() == inputs.train.fingerprint, "a repair that changes nothing is the same data"
    assert print_of(one, two) == print_of(two, one), "the order of decisions is no content"
    assert len({print_of(), print_of(one), print_of(two), print_of(one, two)}) == 4


def test_decisions_become_changes_and_keeping_is_none(cloud_run, inputs, log):
    ids = list(map(str, cloud_run.samples.index[:4]))
    given = cloud_run.samples["label"]

    def record(event, action, sample, after=None):
        vote = Vote(sample_id=sample, revision=0, label_before=given[sample], label_after=after)
        log.record(event_id=event, run=cloud_run.id, action=action, votes=[vote], reviewer="ann")

    record("1", "keep", ids[0])
    record("2", "relabel", ids[1], other(cloud_run, 1))
    record("3", "remove", ids[2])
    record("4", "remove", ids[3])
    log.undo(event_id="5", run=cloud_run.id, reviewer="ann", target="4")
    repair = repairs.decided(cloud_run, log)
    assert repair.changes.index.tolist() == ids[1:3] and repair.undone == 1
    assert set(repair.changes["by"]) == {"ann"}
    repairs.repaired(inputs.train, repair)


def test_rules_choose_what_they_say(cloud_run):
    suspicion = cloud_run.samples["suspicion"]
    assert set(repairs.above(cloud_run, 0.5).changes.index) == set(suspicion.index[suspicion >= 0.5])
    some = repairs.most_suspicious(cloud_run, 7, label=cloud_run.classes[0])
    assert (
        len(some) == 7 and (cloud_run.samples.loc[some.changes.index, "label"] == cloud_run.classes[0]).all()
    )
    unsure = (
        cloud_run.samples.loc[repairs.suggested(cloud_run).changes.index, "suggested_probability"]
        < repairs.SURE
    )
    assert (repairs.suggested(cloud_run).changes["action"] == np.where(unsure, "remove", "relabel")).all()
    with pytest.raises(RunError, match="no class 'cat'"):
        repairs.above(cloud_run, 0.5, label="cat")


@pytest.mark.parametrize(
    ("left", "said"), [(0, "no sample is left of 0"), (1, "a single sample is left of 0")]
)
def test_a_class_that_is_lost_or_lonely_is_a_sentence_with_the_way_out(cloud_run, inputs, left, said):
    members = np.flatnonzero(inputs.train.labels == 0)[left:]
    rows = [change(cloud_run, int(position), "remove", weight=0.0) for position in members]
    version = repairs.repaired(inputs.train, repair_of(cloud_run, *rows))
    with pytest.raises(DataError, match=said) as caught:
        repairs.check_trainable(version)
    assert "Review page" in str(caught.value)


def test_nothing_left_is_a_sentence(cloud_run, inputs):
    rows = [change(cloud_run, position, "remove", weight=0.0) for position in range(len(inputs.train))]
    with pytest.raises(DataError, match="removes all 150 samples"):
        repairs.check_trainable(repairs.repaired(inputs.train, repair_of(cloud_run, *rows)))


def test_a_repair_of_other_data_is_refused(cloud_run, inputs):
    row = change(cloud_run, 0, "remove", weight=0.0)
    strange = repair_of(cloud_run, ("elsewhere", *row[1:]))
    with pytest.raises(DataError, match="'elsewhere'"):
        repairs.repaired(inputs.train, strange)
    relabelled = inputs.train.relabelled(1 - np.minimum(inputs.train.labels, 1))
    with pytest.raises(DataError, match="do not have"):
        repairs.repaired(
            relabelled, repair_of(cloud_run, *[change(cloud_run, p, "remove") for p in range(9)])
        )


def test_removal_is_predicted_by_the_column_of_the_run(cloud_run, advice):
    """Removing i changes the loss by +influence_i: a helpful sample is missed."""
    sample = advice.ids[0]
    effects = predicted_effects(
        cloud_run,
        repair_of(cloud_run, change(cloud_run, cloud_run.position(sample), "remove", weight=0.0)),
        advice,
    )
    expected = cloud_run.samples.at[sample, "influence_utility"]
    assert effects.table.at["utility", "first_order"] == pytest.approx(expected, rel=1e-3, abs=1e-4)
    half = repair_of(cloud_run, change(cloud_run, cloud_run.position(sample), "weigh", weight=0.5))
    assert predicted_effects(cloud_run, half, advice).table.at["utility", "first_order"] == pytest.approx(
        expected / 2, rel=1e-3, abs=1e-4
    )


def test_classes_add_up_to_the_whole(cloud_run, inputs, advice):
    """The mean loss is the mean of the class losses weighted by size: predictions must agree with that."""
    sizes = np.bincount(inputs.val.labels) / len(inputs.val)
    table = predicted_effects(cloud_run, repairs.suggested(cloud_run), advice).table
    classes = table[table["kind"] == "class"]["first_order"].to_numpy()
    assert classes @ sizes == pytest.approx(table.at["utility", "first_order"], rel=1e-3)


def test_a_batch_is_the_sum_of_its_samples_and_order_does_not_matter(cloud_run, advice):
    rows = [
        (
            sample,
            "relabel",
            cloud_run.samples.at[sample, "label"],
            cloud_run.samples.at[sample, "suggested_label"],
            1.0,
            "t",
        )
        for sample in advice.ids[:5]
    ]
    whole = predicted_effects(cloud_run, repair_of(cloud_run, *rows), advice).table["first_order"]
    parts = sum(
        predicted_effects(cloud_run, repair_of(cloud_run, row), advice).table["first_order"] for row in rows
    )
    assert whole.to_numpy() == pytest.approx(parts.to_numpy(), rel=1e-4)  # type: ignore[union-attr]


def test_calibration_scales_and_the_guard_names_who_pays(cloud_run, advice):
    effects = predicted_effects(
        cloud_run, repairs.suggested(cloud_run), advice, calibration={"loss": 0.01, "accuracy": -0.02}
    )
    table = effects.table
    assert table["loss_change"].to_numpy() == pytest.approx(0.01 * table["first_order"].to_numpy())
    assert effects.accuracy_change == pytest.approx(-0.02 * table["first_order"].iloc[0])
    worse = table[(table["kind"] == "class") & (table["first_order"] > 0)]
    assert set(effects.worsened.index) == set(worse.index)
    assert table.at["utility", "better_than_random"] > 0.9, "the most suspicious beat random samples"


def test_advice_tells_every_action_and_is_read_back(cloud_run, inputs, advice):
    sample = advice.ids[0]
    options = sample_advice(cloud_run, sample, advice)
    assert options["suggested"].sum() <= 1
    assert set(options["action"]) == {"keep", "remove", "weigh", "relabel"}
    assert (options["action"] == "relabel").sum() == len(cloud_run.classes) - 1
    again = read_advice(cloud_run)
    assert again is not None and again.objectives == advice.objectives
    np.testing.assert_array_equal(again.products, advice.products)
    calm = next(str(s) for s in cloud_run.samples.index if str(s) not in advice.ids)
    with pytest.raises(RunError, match="not prepared"):
        sample_advice(cloud_run, calm, advice)


def test_a_version_leaves_as_a_dataset_that_opens_again(tmp_path):
    """Pictures: what was relabelled has its new label, what was removed is gone, everything else is the same."""
    import influence_core as ic
    from influence_core.exports.version_file import write_version
    from tests.making.drawn_run import dataset_of, make_small_run

    run = make_small_run(tmp_path / "small", n=24, classes=3, pictures=True)
    dataset = ic.open_dataset(dataset_of(run.path)).with_classes(run.classes)
    rows = change(run, 0, "relabel", other(run, 0)), change(run, 1, "remove", weight=0.0)
    version = repairs.repaired(dataset.train, repair_of(run, *rows))
    assert write_version(version, dataset.val, dataset.test, tmp_path / "repaired.parquet") == 23
    again = ic.open_dataset(tmp_path / "repaired.parquet").with_classes(run.classes)
    expected = version.remaining()
    assert again.train.ids == expected.ids and (again.train.labels == expected.labels).all()
    assert again.val.ids == dataset.val.ids
    assert (again.train.batch([3])[0] == expected.batch([3])[0]).all()
