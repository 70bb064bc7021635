"""Laws of narrowing a gap: only samples that hurt both are removed, and validation samples say how many."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import influence_core as ic
from influence_core.cli.main import main
from influence_core.data import open_dataset, samples_from_arrays
from influence_core.errors import RunError
from influence_core.inputs.reopened import reopen
from influence_core.judging.decision_gaps import DecidedGap, difference, gaps_of, level
from influence_core.models import OpenedModel, build_network, save_model, table_preprocessing
from influence_core.repair import gap_repair as narrowing
from influence_core.repair.candidate_labels import predicted_objectives
from influence_core.runs.run import Run
from influence_core.training.train import Recipe, train
from influence_core.verification.size_search import best_size
from influence_core.verification.verify import verify
from tests.making.maps import NoMap

ADULT = Path(__file__).parents[3] / "sample_data" / "adult"
PARITY = "fairness_side_demographic_parity"
RECIPE = Recipe(epochs=3, batch_size=32, learning_rate=1e-2)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Two sides of equal merit; the labels favour side a. Some samples name no side."""
    root = tmp_path_factory.mktemp("sides")
    rng = np.random.default_rng(0)
    merit, side = rng.normal(size=700), rng.integers(0, 2, 700)
    good = merit + 0.8 * (side - 0.5) + rng.normal(0, 0.4, 700) > 0
    names = np.array(["b", "a"], dtype=object)[side]
    names[rng.random(700) < 0.05] = None
    label = np.where(good, "yes", "no")
    split = np.repeat(["train", "val", "test"], [300, 200, 200])
    pd.DataFrame({"merit": merit, "side": names, "label": label, "split": split}).to_parquet(
        root / "t.parquet"
    )
    dataset = open_dataset(root / "t.parquet")
    expects = table_preprocessing(dataset.encoding)  # type: ignore[arg-type]
    torch.manual_seed(0)
    network = build_network("mlp", classes=2, channels=expects.channels, size=None)
    model = OpenedModel(network, classes=dataset.classes, preprocessing=expects, architecture="mlp")
    train(model, dataset.train, RECIPE)
    save_model(model, root / "model.safetensors")
    asked = ["utility", "fairness:side:demographic_parity", "fairness:side:equalized_odds:yes"]
    opened = ic.open_model(root / "model.safetensors")
    options = {"source": dataset, "objectives": asked, "out": root / "runs" / "sides", "drawing": NoMap()}
    return ic.analyze(opened, dataset.train, dataset.val, test=dataset.test, **options)


def test_only_samples_that_hurt_both_are_removed_and_the_worst_first(run):
    repair = narrowing.narrowing(run, PARITY, size=0.05)
    removed = run.samples.loc[repair.changes.index]
    assert 0 < len(repair) <= 15 and set(repair.changes["action"]) == {"remove"} and repair.aim == PARITY
    assert (removed[f"influence_{PARITY}"] < 0).all() and (removed["influence_utility"] < 0).all()
    both = (run.samples[f"influence_{PARITY}"] < 0) & (run.samples["influence_utility"] < 0)
    left = run.samples.loc[both.to_numpy()].drop(removed.index)
    assert removed[f"influence_{PARITY}"].max() <= left[f"influence_{PARITY}"].min(), "a worse one was kept"


def test_a_run_without_a_gap_says_how_to_measure_one(run, monkeypatch):
    with pytest.raises(RunError, match="fairness_age"):
        narrowing.narrowing(run, "fairness_age")
    monkeypatch.setitem(run.description, "objectives", {})
    with pytest.raises(RunError, match=r"no gap at all.*--objectives utility fairness"):
        narrowing.narrowing(run)


def answers(said: list[int]) -> np.ndarray:
    return np.eye(2, dtype=np.float32)[said]


def judged(labels: list[int], sides: Sequence[str | None]):
    samples = samples_from_arrays(
        np.zeros((len(labels), 2), np.float32), np.array(labels), classes=("no", "yes")
    )
    samples.groups = pd.DataFrame({"side": sides})
    return samples


def test_a_decided_gap_is_the_difference_of_rates_of_known_sides():
    """Side a: 6 of 10 said yes, side b: 2 of 10; those without a side do not count."""
    said = [1] * 6 + [0] * 4 + [1] * 2 + [0] * 8 + [1] * 6
    labels = ([1] * 5 + [0] * 5) * 2 + [1] * 6
    samples = judged(labels, ["a"] * 10 + ["b"] * 10 + [None] * 6)
    gaps = {kind: DecidedGap("o", "side", kind, 1) for kind in ("demographic_parity", "equalized_odds")}
    assert level(gaps["demographic_parity"], samples, [answers(said)]) == pytest.approx(0.4)
    # true positive rates 5/5 and 2/5, false positive rates 1/5 and 0/5
    assert level(gaps["equalized_odds"], samples, [answers(said)]) == pytest.approx((0.6 + 0.2) / 2)
    same = difference(gaps["demographic_parity"], samples, [answers(said)] * 3, [answers([1] * 26)] * 3)
    assert same.value == pytest.approx(-0.4) and same.high < 0


def test_the_size_is_the_smallest_that_is_enough_among_the_cheap_ones():
    gap = DecidedGap("o", "side", "demographic_parity", 1)
    labels = [1, 0] * 200
    samples = judged(labels, ["a"] * 200 + ["b"] * 200)

    def saying(share_a: float, share_b: float) -> list[np.ndarray]:
        """Everybody right, but for some of side b said no and some of side a said yes."""
        said = np.array(labels)
        said[np.flatnonzero(said[:200] == 0)[: round(200 * share_a)]] = 1
        said[200 + np.flatnonzero(said[200:] == 1)[: round(200 * share_b)]] = 0
        return [answers(said.tolist())]

    wide, half, dear = saying(0.2, 0.0), saying(0.1, 0.0), saying(0.2, 0.2)
    assert best_size(gap, samples, [wide, wide, half, saying(0.0, 0.0)]) == 1
    assert best_size(gap, samples, [half, dear, half]) == 1, "a dear size was chosen"
    assert best_size(gap, samples, [saying(0, 0.1), wide, dear]) == 0, "none is cheap: the smallest"


def test_the_gap_is_predicted_measured_and_told(run, capsys):
    """Also that missing groups do no harm, and that the objective behind a column is found again."""
    found = [aim.name for aim, _ in predicted_objectives(run, reopen(run))]
    assert found[:3] == ["utility", PARITY, "fairness_side_equalized_odds_yes"], (
        "an objective is not predicted"
    )
    assert {"side = a", "side = b"} <= set(found)
    assert [gap.objective for gap in gaps_of(run)] == found[1:3]
    repair = narrowing.narrowing(run, size=0.05)
    done = verify(run, repair, seeds=2, recipe=RECIPE, groups=0, workers=0, sized=True)
    assert done.aim == "gap side, demographic parity" and done.difference(done.aim) is not None
    assert "test side gap (demographic parity)" in done.sentence() and "accuracy" in done.sentence()
    sizes = [max(1, round(size * 300)) for size in narrowing.SIZES]
    assert done.content["repair"]["remove"] in sizes and done.content["repair"]["aim"] == PARITY
    asked = [
        "verify",
        str(run.path),
        "--gap",
        "--seeds",
        "1",
        "--groups",
        "0",
        "--epochs",
        "1",
        "--workers",
        "0",
    ]
    assert main(asked) == 0
    assert "gap side, demographic parity, points: nothing" in capsys.readouterr().out


@pytest.mark.slow
def test_on_adult_the_gap_narrows_by_a_third_at_a_point_of_accuracy(tmp_path):
    """The shipped model and data; 5 paired seeds; the random control has the same size and class mix."""
    dataset, model = open_dataset(ADULT), ic.open_model(ADULT / "model.safetensors")
    asked = ["utility", "fairness:sex:demographic_parity"]
    run = ic.analyze(
        model,
        dataset.train,
        dataset.val,
        test=dataset.test,
        source=dataset,
        objectives=asked,
        out=tmp_path / "run",
    )
    found = verify(run, narrowing.narrowing(run), seeds=5, groups=0, sized=True)
    before, after, random = (found.arms[arm]["levels"][found.aim] for arm in ("nothing", "repair", "random"))
    effect, cost = found.difference(found.aim), found.difference()
    assert effect is not None and cost is not None
    print(found.sentence())
    assert after <= 0.7 * before and effect.high < 0, found.sentence()
    assert random > 0.9 * before, "a random removal of the same labels narrows it too"
    assert cost.value >= -0.01, found.sentence()
