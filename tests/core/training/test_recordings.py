"""A recording says what happened, sample by sample, whatever was seen how often, and survives being stopped."""

import numpy as np
import pytest

from influence_core.errors import RunError
from influence_core.training.dynamics import training_dynamics
from influence_core.training.recorder import Recorder, open_recording, recording_folder, recordings_of

IDS, LABELS = [f"s{i}" for i in range(4)], ["a", "b", "a", "b"]


def recorded(folder, margins, losses=None):
    recorder = Recorder(folder, IDS, LABELS)
    losses = np.zeros_like(margins) if losses is None else losses
    for margin, loss in zip(np.asarray(margins), np.asarray(losses), strict=True):
        there = ~np.isnan(margin)
        recorder.numbers(np.flatnonzero(there), margin=margin[there], loss=loss[there])
        recorder.end_epoch()
    recorder.close()
    return open_recording(folder)


def test_measures_by_hand(tmp_path):
    """always right; forgotten twice; never right; learned at the end."""
    margins = np.array([[1, 1, -1, -2], [2, -1, -1, -1], [3, 1, -1, -1], [2, -1, -1, 4]], float)
    losses = np.log(2) * np.array([[1, 0, 2, 1], [1, 1, 2, 1], [1, 0, 2, 1], [1, 1, 2, 1]], float)
    table = training_dynamics(recorded(tmp_path / "r", margins, losses))
    assert table["forgotten"].tolist() == [0, 2, 0, 0]
    assert table["learned"].tolist() == [1, 0, 0, 4], (
        "0 = not right at the end; else first epoch of the last right spell"
    )
    assert table["never"].tolist() == [False, False, True, False]
    assert np.allclose(table["aum"], margins.mean(0))
    assert np.allclose(table["confidence"], [0.5, 0.75, 0.25, 0.5])
    assert np.allclose(table["variability"], [0, 0.25, 0, 0], atol=1e-7)
    assert np.isnan(table[["influence", "kept"]].to_numpy()).all(), "what was not recorded is not zero"
    assert (table.index.tolist(), table["label"].tolist()) == (IDS, LABELS)


def test_an_epoch_that_did_not_see_a_sample_says_nothing_about_it(tmp_path):
    gap = np.nan
    margins = np.array([[1, 1, 1, gap], [gap, -1, 1, gap], [1, gap, 1, gap]])
    table = training_dynamics(recorded(tmp_path / "r", margins))
    assert table["forgotten"].tolist() == [0, 1, 0, 0], "an unseen epoch counts as forgotten"
    assert table["learned"].tolist() == [1, 0, 1, 0] and table["never"].tolist() == [
        False,
        False,
        False,
        True,
    ]
    assert np.allclose(table["aum"][:3], [1, 0, 1]) and np.isnan(table["aum"].iloc[3])


def test_a_batch_is_read_as_loss_and_margin(tmp_path):
    recorder = Recorder(tmp_path / "r", IDS, LABELS)
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.2, 0.2, 0.6]]))
    recorder.batch([2, 0], logits, [0, 1], values=np.array([1.0, -1.0]), kept=np.array([True, False]))
    recorder.batch([2], np.log(np.array([[0.1, 0.8, 0.1]])), [1])
    recorder.end_epoch()
    epoch = open_recording(tmp_path / "r").epoch(1)
    assert np.allclose(epoch[0, [0, 2]], [-np.log(0.2), -np.log([0.7, 0.8]).mean()]), (
        "a second look is averaged"
    )
    assert np.allclose(epoch[1, [0, 2]], [np.log(0.2 / 0.6), (np.log(3.5) + np.log(8)) / 2], atol=1e-6)
    assert epoch[2, 2] == 1 and epoch[3, 0] == 0 and np.isnan(epoch[:, [1, 3]]).all()
    with pytest.raises(RunError, match="of 4 samples"):
        recorder.numbers([4], loss=[1.0])
    with pytest.raises(RunError, match="Row -2 was recorded"):
        recorder.numbers([3, -2], loss=[1.0, 1.0])
    with pytest.raises(RunError, match="numbers"):
        recorder.batch([0], np.zeros((1, 3, 2)), [0])


def test_a_stopped_recording_goes_on_and_another_is_refused(tmp_path):
    first = Recorder(tmp_path / "r", IDS, LABELS, settings={"epochs": 3})
    first.numbers([0], loss=[5.0])
    first.end_epoch()
    again = Recorder(tmp_path / "r", IDS, LABELS, settings={"epochs": 3})
    assert again.epochs == 1
    again.numbers([0], loss=[6.0])
    again.end_epoch()
    assert open_recording(tmp_path / "r").column("loss")[:, 0].tolist() == [5, 6]
    assert not open_recording(tmp_path / "r").finished
    with pytest.raises(RunError, match="another settings"):
        Recorder(tmp_path / "r", IDS, LABELS, settings={"epochs": 4})
    with pytest.raises(RunError, match="another samples"):
        Recorder(tmp_path / "r", IDS, ["b"] * 4, settings={"epochs": 3})


def test_damage_is_a_sentence(tmp_path):
    recording = recorded(tmp_path / "r", np.ones((3, 4)))
    path = tmp_path / "r" / "epoch-0002.npy"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(RunError, match="damaged"):
        training_dynamics(recording)
    (tmp_path / "r" / "recording.json").write_text("{}")
    with pytest.raises(RunError, match="format"):
        open_recording(tmp_path / "r")
    with pytest.raises(RunError, match="Record a training first"):
        open_recording(tmp_path / "nothing")


def test_few_epochs_are_refused(tmp_path):
    with pytest.raises(RunError, match="at least 3"):
        training_dynamics(recorded(tmp_path / "r", np.ones((2, 4))))


def test_a_run_knows_its_recordings(tmp_path):
    run = tmp_path / "runs" / "fashion"
    assert recordings_of(run) == []
    folder = recording_folder(run, "augmented")
    recorded(folder, np.ones((3, 4)))
    assert recordings_of(run) == [folder]
    (folder.parent / ".slots").mkdir()
    assert recordings_of(run) == [folder], "the folder of the queue's slots is no recording"
