"""Derived groups say what a picture looks like, by cuts of train alone; clusters mean the same in both splits."""

import numpy as np
import pandas as pd
import pytest
import torch

import influence_core as ic
from influence_core.analysis.derived_groups import gradient_clusters, with_derived_groups
from influence_core.data import samples_from_arrays
from influence_core.errors import RunError
from tests.making.maps import NoMap


def pictures(values: np.ndarray, groups: pd.DataFrame | None = None):
    labels = np.arange(len(values)) % 2
    return samples_from_arrays(values.astype(np.float32), labels, classes=("a", "b"), groups=groups)


def test_brightness_is_cut_by_train_alone():
    shades = np.linspace(0, 1, 30)
    train = pictures(shades[:, None, None] * np.ones((30, 8, 8)))
    val = pictures(np.stack([np.zeros((8, 8)), np.ones((8, 8))]))
    grouped, held, none = with_derived_groups(train, val, None)
    assert grouped.groups["brightness"].tolist() == ["dark"] * 10 + ["medium"] * 10 + ["bright"] * 10
    assert held.groups["brightness"].tolist() == ["dark", "bright"] and none is None
    assert "contrast" not in grouped.groups and "size" not in grouped.groups, (
        "what does not vary makes no groups"
    )
    assert "colour_cast" not in grouped.groups, "grey pictures have no cast"
    assert grouped.fingerprint == train.fingerprint, "derived groups add nothing to the content"


def test_cast_contrast_and_sharpness():
    rng = np.random.default_rng(0)
    values = np.full((30, 3, 8, 8), 0.5) + rng.normal(0, 0.001, (30, 3, 8, 8))
    values[:5, 0] += 0.4
    values[5:10, 2] += 0.4
    values[10:20, :, :, ::2] -= 0.4
    train = pictures(values.clip(0, 1))
    (grouped,) = with_derived_groups(train)
    assert grouped.groups["colour_cast"].tolist()[:10] == ["reddish"] * 5 + ["bluish"] * 5
    assert (grouped.groups["colour_cast"][20:] == "neutral").all()
    assert (grouped.groups["sharpness"][10:20] == "sharp").all() and (
        grouped.groups["contrast"][10:20] == "strong"
    ).all()


def test_a_column_of_the_datasets_own_wins():
    own = pd.DataFrame({"brightness": ["mine"] * 12})
    (grouped,) = with_derived_groups(pictures(np.random.default_rng(0).random((12, 8, 8)), own))
    assert (grouped.groups["brightness"] == "mine").all() and "contrast" in grouped.groups


def test_clusters_are_directions_and_mean_the_same_in_both_splits():
    rng = np.random.default_rng(0)
    ways = rng.normal(size=(3, 16))
    which = np.repeat([0, 1, 2], [40, 30, 30])
    sketches = torch.from_numpy(ways[which] * rng.uniform(0.1, 9, (100, 1)) + rng.normal(0, 0.01, (100, 16)))
    assign = gradient_clusters(sketches, seed=0)
    names = np.array(assign(sketches))
    for way in range(3):
        assert not set(names[which == way]) & set(names[which != way]), (
            "length must not matter, only direction"
        )
    assert assign(torch.from_numpy(5 * ways[:1])) == [names[0]] or names[0] in names[which == 0]
    assert gradient_clusters(sketches[:30], seed=0) is None, "too few samples to tell clusters apart"


def test_a_gap_between_derived_groups_and_clusters_goes_into_the_one_sweep(tmp_path):
    rng = np.random.default_rng(0)
    train, val = (pictures(rng.random((n, 8, 8))) for n in (60, 90))
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    asked = ["utility", "fairness:brightness:demographic_parity", "fairness:gradient_cluster:worst_group"]
    run = ic.analyze(model, train, val, objectives=asked, out=tmp_path / "run", drawing=NoMap())
    (guesses,) = run.description["notes"]
    assert "not better than guessing" in guesses, "labels and a network both drawn at random"
    assert set(run.description["objectives"]) == {
        "utility",
        "fairness_brightness_demographic_parity",
        "fairness_gradient_cluster_worst_group",
    }
    assert run.samples["influence_fairness_gradient_cluster_worst_group"].notna().all()
    for table in (run.samples, run.table("validation")):
        assert set(table["brightness"]) <= {"dark", "medium", "bright"}
        assert table["gradient_cluster"].str.startswith("cluster ").all()
    with pytest.raises(RunError, match=r"no test\.parquet"):
        run.table("test")
