"""Validation labels that hold the classes unlike train: nobody is accused for it, and a person is told."""

from functools import cache

import numpy as np
import pytest

import influence_core as ic
from influence_core.data import samples_from_arrays
from influence_core.scores.suspicion.class_mix import class_mix
from influence_core.training.train import train
from tests.making.clouds import FEATURES, RECIPE, fresh
from tests.making.maps import NoMap

CLASSES = ("north", "east", "south")
EVEN, FULL = (100, 100, 100), (60, 60, 60)


@cache
def flags(validation: tuple[int, ...], sizes: tuple[int, ...] = EVEN, rate: float = 0.08):
    """Flagged, rightly flagged and planted errors of three clouds, and the results of the run."""
    rng = np.random.default_rng(3)
    truth, held_out = (np.repeat(np.arange(3), counts) for counts in (sizes, validation))
    given, wrong = truth.copy(), rng.random(len(truth)) < rate
    given[wrong] = (given[wrong] + 1) % 3
    samples = [clouds(rng, *pair) for pair in ((truth, given), (held_out, held_out)) if len(pair[0])]
    model = fresh(CLASSES)
    train(model, samples[0], RECIPE)
    run = ic.analyze(model, samples[0], samples[1] if len(samples) > 1 else None, drawing=NoMap())
    flagged = run.samples["suspicion"].to_numpy() >= 0.5
    return int(flagged.sum()), int((flagged & wrong).sum()), int(wrong.sum()), run.description["results"]


def clouds(rng: np.random.Generator, truth: np.ndarray, labels: np.ndarray):
    x = rng.normal(0, 1, (len(truth), FEATURES)).astype(np.float32)
    x[np.arange(len(truth)), truth] += 3.5
    return samples_from_arrays(x, labels, classes=CLASSES)


@pytest.mark.parametrize(
    "validation", [(60, 0, 60), (60, 1, 60), (60, 5, 60), (60, 0, 0), (150, 8, 8)], ids=str
)
def test_validation_that_lacks_a_class_accuses_nobody_of_it(validation):
    """About as many flags as with a full validation set, or fewer; the class is named to the person."""
    flagged, right, planted, results = flags(validation)
    full, full_right, _, said = flags(FULL)
    assert flagged <= full + 3, (
        f"{flagged} flagged of {planted} wrong labels, {full} with a full validation set"
    )
    assert right >= full_right - 4, f"{right} of {planted} found, {full_right} with a full validation set"
    assert "east" in results["validation_mix"], "nobody says which class validation lacks"
    assert said["validation_mix"] is None, "a full validation set is called unlike"


@pytest.mark.parametrize("rare", [1, 3])
def test_a_class_of_one_to_three_samples_is_not_accused_for_being_rare(rare):
    """Clean labels: neither the rare samples nor, where validation holds their class often, all the others."""
    for validation in (FULL, (60, rare, 60), (0, 0, 0)):
        flagged, _, _, _ = flags(validation, (150, rare, 150), 0.0)
        assert flagged <= 1, f"{flagged} of {300 + rare} right labels accused, validation {validation}"


def test_validation_that_is_drawn_as_train_is_never_called_unlike():
    """Neither by chance nor where two fifths of one class carry another one's name, but for one draw in forty."""
    rng, called = np.random.default_rng(0), 0
    for classes in (2, 3, 10):
        for m in (20, 50, 200):
            labels = rng.integers(0, classes, 800)
            given = np.where((labels == 0) & (rng.random(800) < 0.4), 1, labels)
            for _ in range(40):
                held_out = rng.integers(0, classes, m)
                lacks = len(np.unique(held_out)) < classes
                called += bool(len(class_mix(given, held_out, classes).unlike)) and not lacks
    assert called <= 9, f"{called} of 360 fair draws called unlike: more than one in forty"
