"""A recorded training is the trainer's own, keeps what it saw, and goes on after a stop as if there had been none."""

from dataclasses import asdict

import numpy as np
import pytest

from influence_core.errors import Cancelled
from influence_core.jobs import submission as jobs
from influence_core.models import OpenedModel
from influence_core.models.opened import save_model
from influence_core.scores.influence.layer_aware import layer_aware_influence
from influence_core.system import atomic
from influence_core.training.recipe import Recipe, starting_model
from influence_core.training.recorded_training import record_training, recording_recipe
from influence_core.training.recorder import open_recording
from influence_core.training.train import train
from influence_core.worker.work import analyse, record, work_of
from tests.making.untrained import bright_and_dark, untrained

SAMPLES = bright_and_dark(40)
RECIPE = Recipe(epochs=4, batch_size=16, seed=1)


def test_it_is_the_trainers_own_record_and_leaves_the_model_alone(tmp_path):
    model, before = untrained(), untrained().state_dict()
    recording = record_training(model, SAMPLES, SAMPLES, tmp_path / "r", recipe=RECIPE)
    assert all((model.state_dict()[name] == value).all() for name, value in before.items())
    epochs = []
    learner = starting_model(model, RECIPE)
    train(learner, SAMPLES, RECIPE, on_epoch=epochs.append)  # pyright: ignore
    assert np.array_equal(recording.column("loss"), np.stack([epoch.losses for epoch in epochs]))
    assert np.array_equal(recording.column("margin"), np.stack([epoch.margins for epoch in epochs]))
    last = layer_aware_influence(learner, SAMPLES, SAMPLES).numpy()
    assert np.allclose(recording.column("influence")[-1], last, rtol=1e-4, atol=1e-6), (
        "influence of another epoch"
    )
    assert recording.finished and not (tmp_path / "r" / "checkpoint.pt").exists()


def test_a_stopped_one_goes_on_to_the_same_numbers(tmp_path):
    whole = record_training(untrained(), SAMPLES, SAMPLES, tmp_path / "whole", recipe=RECIPE)

    def stop(stage: str, done: int, total: int) -> None:
        if done > total // 2:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        record_training(untrained(), SAMPLES, SAMPLES, tmp_path / "r", recipe=RECIPE, on_progress=stop)
    half = open_recording(tmp_path / "r")
    assert 0 < half.epochs < 4 and not half.finished
    again = record_training(untrained(), SAMPLES, SAMPLES, tmp_path / "r", recipe=RECIPE)
    for column in ("loss", "margin", "influence"):
        assert np.array_equal(again.column(column), whole.column(column)), f"{column} differs after a stop"


def test_the_recipe_is_long_enough_to_show_something():
    assert recording_recipe(11_000_000, 50_000).epochs >= 8 and recording_recipe(50_000, 100).epochs >= 8


def test_a_job_says_what_its_work_is(tmp_path):
    """Folders of earlier versions have no `work`: they are analyses."""
    old = {
        "dataset": "d",
        "model": "m",
        "name": "n",
        "settings": {},
        "dataset_options": {},
        "model_options": {},
    }
    (tmp_path / "n").mkdir()
    atomic.write_json(tmp_path / "n" / "job.json", old)
    assert jobs.read_job(tmp_path / "n").work == "analyse"
    assert work_of(tmp_path / "n")[0] is analyse
    atomic.write_json(tmp_path / "n" / "job.json", {**old, "work": "record"})
    assert work_of(tmp_path / "n")[0] is record


def test_the_job_records_the_model_and_data_it_was_given(tmp_path):
    found = bright_and_dark(24)
    pictures = np.stack([found.batch([row])[0][0].numpy() for row in range(24)]).astype(np.float32)
    np.savez(
        tmp_path / "data.npz",
        x_train=pictures[:16],
        y_train=found.labels[:16],
        x_val=pictures[16:],
        y_val=found.labels[16:],
    )
    model = OpenedModel(
        untrained().network,
        classes=("0", "1"),
        preprocessing=untrained().preprocessing,
        architecture="small_cnn",
    )
    save_model(model, tmp_path / "model.safetensors")
    folder = tmp_path / "training"
    folder.mkdir()
    spec = jobs.JobSpec(
        str(tmp_path / "data.npz"),
        str(tmp_path / "model.safetensors"),
        "training",
        settings=RECIPE.to_json(),
        work="record",
    )
    atomic.write_json(folder / "job.json", asdict(spec))
    work, stages = work_of(folder)
    seen = set()
    work(folder, lambda stage, done, total: seen.add(stage))
    recording = open_recording(folder)
    assert recording.finished and recording.epochs == 4 and len(recording.samples) == 16
    assert seen <= {name for name, _, _ in stages}, "the page would not know this stage"
