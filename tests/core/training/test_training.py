"""Laws of training: a recipe is all it depends on, and nothing else is changed by it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from influence_core.data import samples_from_arrays
from influence_core.errors import Cancelled, DataError, ModelError
from influence_core.models import OpenedModel, Preprocessing, build_network
from influence_core.training.recipe import Recipe, recipe_from, starting_model, suggested
from influence_core.training.train import accuracy, augmented, predict, train
from tests.making.untrained import bright_and_dark, untrained

RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=1e-2, seed=1)


class Record:
    """Every Epoch of a training; give it as on_epoch."""

    def __init__(self) -> None:
        self.epochs = []

    def __call__(self, epoch) -> None:
        self.epochs.append(epoch)

    def over_epochs(self, name: str) -> np.ndarray:
        """losses or margins, shape (epochs, n)."""
        return np.stack([getattr(epoch, name) for epoch in self.epochs])


def trained(recipe: Recipe, **options) -> OpenedModel:
    model = untrained()
    train(model, bright_and_dark(), recipe, **options)
    return model


@pytest.mark.parametrize("augment", [False, True])
def test_the_same_recipe_gives_the_same_bits(augment):
    recipe = replace(RECIPE, augment=augment)
    torch.manual_seed(1)
    first = trained(recipe).fingerprint
    torch.manual_seed(2)
    np.random.seed(3)
    assert trained(recipe).fingerprint == first, "training must not depend on the global random state"


def test_every_part_of_the_recipe_matters():
    changes = ({}, {"seed": 2}, {"epochs": 4}, {"batch_size": 8}, {"learning_rate": 2e-2})
    changes += ({"weight_decay": 0.5}, {"optimizer": "sgd"}, {"augment": True})
    prints = {trained(replace(RECIPE, **change)).fingerprint for change in changes}
    assert len(prints) == len(changes)


def test_it_learns():
    model = trained(RECIPE)
    assert accuracy(model, bright_and_dark()) > 0.95
    probabilities = predict(model, bright_and_dark(), batch_size=7)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(65))
    torch.testing.assert_close(
        probabilities, predict(model, bright_and_dark(), batch_size=65), rtol=1e-4, atol=1e-5
    )


def test_training_changes_no_state_but_the_weights():
    model = untrained().eval()
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    train(model, bright_and_dark(), RECIPE)
    assert torch.equal(torch.rand(2), expected), "the global random state was moved"
    assert not torch.are_deterministic_algorithms_enabled()
    assert not model.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_state_is_given_back_when_a_person_cancels():
    model = untrained().eval()

    def cancel(stage: str, done: int, total: int) -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        train(model, bright_and_dark(), RECIPE, on_progress=cancel)
    assert not model.training
    assert not torch.are_deterministic_algorithms_enabled()


def test_progress_counts_every_step_and_epochs_are_told():
    steps, epochs = [], []
    trained(
        RECIPE,
        on_progress=lambda stage, done, total: steps.append((stage, done, total)),
        on_epoch=epochs.append,
    )
    assert steps == [("train", step + 1, 15) for step in range(15)]
    assert [epoch.number for epoch in epochs] == [1, 2, 3]
    assert epochs[2].loss < epochs[0].loss, "the loss must fall"


def test_frozen_parameters_stay():
    model = untrained("mlp")
    model.network.hidden1.weight.requires_grad_(False)
    before = model.network.hidden1.weight.clone()
    train(model, bright_and_dark(), RECIPE)
    assert torch.equal(model.network.hidden1.weight, before)


def test_a_last_batch_of_one_sample_does_not_break_batch_norm():
    model = untrained()
    train(model, bright_and_dark(17), replace(RECIPE, epochs=1))


def test_augmentation_only_mirrors_and_shifts():
    torch.manual_seed(0)
    inputs = torch.zeros(64, 2, 9, 9)
    inputs[:, 0, 4, 4] = 1
    moved = augmented(inputs)
    assert moved.shape == inputs.shape
    assert torch.equal(moved.sum((1, 2, 3)), torch.ones(64)), "the one bright pixel must stay in the picture"
    assert moved[:, 1].sum() == 0
    assert len({tuple(picture.nonzero()[0].tolist()) for picture in moved}) > 15


def test_impossible_recipes_are_refused_and_divergence_is_named():
    with pytest.raises(ModelError, match="above 0"):
        Recipe(epochs=0)
    with pytest.raises(ModelError, match="'adam'"):
        Recipe(optimizer="adam")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="diverged"):
        trained(replace(RECIPE, learning_rate=1e30, optimizer="sgd"))


@pytest.mark.parametrize("patience", [0, 5])
@pytest.mark.parametrize("stop_at", [3, 5, 13])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, stop_at, patience):
    recipe = replace(RECIPE, augment=True, patience=patience)
    whole, first, second = Record(), Record(), Record()
    options: dict = {"validation": bright_and_dark(20)} if patience else {}
    expected = trained(recipe, on_epoch=whole, **options).fingerprint
    options["checkpoint"] = tmp_path / "state.pt"

    def stop(stage: str, done: int, total: int) -> None:
        if done == stop_at:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        trained(recipe, on_epoch=first, on_progress=stop, **options)
    resumed = trained(recipe, on_epoch=second, **options)
    assert resumed.fingerprint == expected, "resuming must give the bits of an uninterrupted training"
    np.testing.assert_array_equal(second.over_epochs("margins"), whole.over_epochs("margins"))
    assert not options["checkpoint"].exists(), "a finished training leaves no state behind"


def test_a_state_of_another_training_is_not_continued(tmp_path):
    state = tmp_path / "state.pt"

    def stop(stage: str, done: int, total: int) -> None:
        if done == 11:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        trained(RECIPE, on_progress=stop, checkpoint=state)
    other = replace(RECIPE, seed=5)
    assert trained(other, checkpoint=state).fingerprint == trained(other).fingerprint


def test_a_sample_of_weight_zero_is_never_seen_and_the_others_keep_their_order():
    weights = np.ones(65)
    weights[3] = 0
    twisted = bright_and_dark().relabelled(
        np.where(np.arange(65) == 3, 1 - bright_and_dark().labels, bright_and_dark().labels)
    )
    first, second, record = untrained(), untrained(), Record()
    train(first, bright_and_dark(), RECIPE, weights=weights, on_epoch=record)
    train(second, twisted, RECIPE, weights=weights)
    assert first.fingerprint == second.fingerprint, "the label of a removed sample reached the weights"
    losses = record.over_epochs("losses")
    assert np.isnan(losses[:, 3]).all() and np.isfinite(np.delete(losses, 3, axis=1)).all()
    assert trained(RECIPE).fingerprint != first.fingerprint


def test_a_weight_scales_the_gradient():
    """SGD without momentum effects in one step: half the weights with twice the rate is the same step."""
    recipe = Recipe(epochs=1, batch_size=65, learning_rate=1e-2, weight_decay=0, optimizer="sgd")
    whole, half = untrained("logistic"), untrained("logistic")
    train(whole, bright_and_dark(), recipe)
    train(half, bright_and_dark(), replace(recipe, learning_rate=2e-2), weights=np.full(65, 0.5))
    torch.testing.assert_close(whole.network.head.weight, half.network.head.weight)


def test_early_stopping_keeps_the_epoch_of_lowest_validation_loss():
    flipped = bright_and_dark(20).relabelled(1 - bright_and_dark(20).labels)  # learning only makes it worse
    model, epochs = untrained(), []
    train(
        model,
        bright_and_dark(),
        replace(RECIPE, epochs=8, patience=2),
        validation=flipped,
        on_epoch=epochs.append,
    )
    assert len(epochs) == 3, "the first epoch was the best and two more were waited for"
    expected = untrained()
    record = Record()
    train(
        expected,
        bright_and_dark(),
        replace(RECIPE, epochs=8, patience=1),
        validation=flipped,
        on_epoch=record,
    )
    assert model.fingerprint == expected.fingerprint
    with pytest.raises(ModelError, match="validation="):
        train(untrained(), bright_and_dark(), replace(RECIPE, patience=1))


def test_a_wrong_label_has_the_lowest_area_under_the_margin():
    wrong = bright_and_dark().labels.copy()
    wrong[10] = 1 - wrong[10]
    record = Record()
    train(untrained(), bright_and_dark().relabelled(wrong), replace(RECIPE, epochs=6), on_epoch=record)
    assert int(record.over_epochs("margins").mean(0).argmin()) == 10


def test_nothing_left_to_train_on_is_a_sentence():
    with pytest.raises(DataError, match="No training sample is left"):
        train(untrained(), bright_and_dark(), RECIPE, weights=np.zeros(65))


def test_a_stored_recipe_comes_back_and_strange_ones_are_refused():
    assert recipe_from(RECIPE.to_json()) == RECIPE
    with pytest.raises(ModelError, match="no warmup"):
        recipe_from({"warmup": 3})
    with pytest.raises(ModelError, match="wrong kind"):
        recipe_from({"epochs": "many"})


def test_scratch_draws_new_weights_by_the_seed_and_given_keeps_them():
    model = untrained(seed=9)
    drawn = [starting_model(model, replace(RECIPE, seed=seed)) for seed in (0, 0, 1)]
    assert drawn[0].fingerprint == drawn[1].fingerprint != drawn[2].fingerprint
    copied = starting_model(model, replace(RECIPE, start="given"))
    assert copied.fingerprint == model.fingerprint and copied is not model
    with pytest.raises(ModelError, match="start='given'"):
        starting_model(model.network, RECIPE)


def test_a_torchvision_network_is_fine_tuned_to_the_same_bits_and_can_start_anew():
    """12 pictures, 4 a batch: resnet18 with its batch norms, as when a repair of it is verified."""
    images = np.stack([np.full((32, 32, 3), 40 + 150 * (at % 2), np.uint8) for at in range(12)])
    few = samples_from_arrays(images, np.arange(12) % 2, classes=("dark", "bright"))
    network = build_network("resnet18", classes=2, channels=3, size=(32, 32))
    plain = Preprocessing(channels=3, size=(32, 32), mean=(0.5,) * 3, std=(0.3,) * 3)
    given = OpenedModel(network, classes=few.classes, preprocessing=plain, architecture="resnet18")
    proposed = suggested(sum(value.numel() for value in given.parameters()), 12)
    assert proposed.start == "given", "eleven million parameters are not learned anew in minutes"
    anew = starting_model(given, replace(proposed, start="scratch"))
    assert anew.fingerprint != given.fingerprint
    recipe, answers = replace(proposed, epochs=2, batch_size=4), []
    for _ in range(2):
        model, epochs = starting_model(given, recipe), Record()
        train(model, few, recipe, on_epoch=epochs)
        losses = epochs.over_epochs("losses").mean(axis=1)
        assert losses[-1] < losses[0], f"it learned nothing: {losses}"
        answers.append(predict(model, few))
    assert torch.equal(*answers), "other bits the second time"
