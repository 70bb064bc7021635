"""From any model and any dataset to a run folder: the whole way, on small data."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import influence_core as ic
from influence_core.analysis import analyze as analysis
from influence_core.data import samples_from_arrays
from influence_core.data.samples import Split
from influence_core.errors import Cancelled, DataError, InfluenceError, ModelError
from influence_core.judging.detection import doubts
from influence_core.models import build_network
from influence_core.training.train import train as train_model
from tests.making.clouds import fewer_pictures
from tests.making.maps import MapHere, NoMap
from tests.making.oracles import flat_gradients, products
from tests.making.tiny import tiny_net

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "sample_data" / "fashion"


def blobs(n: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    centres = torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(9))
    return TensorDataset(centres[labels] + 0.7 * torch.randn(n, 2, 6, 6, generator=generator), labels)


def analyzed(out: Path, **options) -> ic.Run:
    """The run that most tests look at."""
    return ic.analyze(tiny_net(), blobs(30, 1), blobs(15, 2), test=blobs(12, 3), out=out, **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return analyzed(tmp_path_factory.mktemp("runs") / "a", drawing=MapHere())


def test_checkpoints_give_a_column_of_their_own(tmp_path):
    """TracInCP: the learning rates' sum of products under each checkpoint; the model's own column is untouched."""
    others = [tiny_net(seed) for seed in (1, 2)]
    pairs = [(dict(model.state_dict()), rate) for model, rate in zip(others, (0.1, 0.2), strict=True)]
    found = ic.analyze(
        tiny_net(), blobs(30, 1), blobs(15, 2), checkpoints=pairs, out=tmp_path / "a", drawing=MapHere()
    )

    def product(model: nn.Module) -> torch.Tensor:
        return products(model, blobs(30, 1), blobs(15, 2))

    truth = 0.1 * product(others[0]) + 0.2 * product(others[1])
    assert np.allclose(found.samples["influence_utility_checkpoints"], truth, rtol=1e-3, atol=1e-6)
    assert np.allclose(found.samples["influence_utility"], product(tiny_net()), rtol=1e-3, atol=1e-6)
    assert found.harmful("utility_checkpoints", k=3) == [str(row) for row in truth.argsort()[:3].tolist()]
    assert found.column("influence_utility_checkpoints").positive_means == "helpful"
    assert len(set(found.description["settings"]["checkpoints"])) == 2


class Counted(Dataset):
    """Anybody's dataset, which counts how often each row is asked for."""

    def __init__(self, samples: Dataset) -> None:
        self.samples, self.reads = samples, Counter()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, row: int):
        self.reads[row] += 1
        return self.samples[row]


def test_a_foreign_dataset_is_read_once_for_all_facts_and_once_for_each_pass(tmp_path):
    """Labels and fingerprint come from one pass; layer-aware influence, the sweep and the input view take one each."""
    train = Counted(blobs(500, 1))
    ic.analyze(tiny_net(), train, blobs(60, 2), out=tmp_path / "a", drawing=NoMap())
    typical = np.median(
        [train.reads[row] for row in range(400, 500)]
    )  # before them filters are drawn, once more
    assert typical == 4, f"each training sample was decoded {typical:.0f} times"


def test_wrong_labels_are_flagged_where_classes_differ_by_brightness_alone(tmp_path):
    """The view of the inputs divides by contrast and is blind to it; nothing was flagged without asking a layer."""
    rng, names = np.random.default_rng(0), ("dark", "bright")
    truth, wrong = np.arange(400) % 2, rng.random(400) < 0.1

    def split_of(truth: np.ndarray, given: np.ndarray, split: Split):
        level = np.where(truth == 1, 0.7, 0.3) + 0.05 * rng.normal(size=len(truth))
        pictures = level[:, None, None, None] + 0.1 * rng.normal(size=(len(truth), 1, 12, 12))
        return samples_from_arrays(pictures.clip(0, 1).astype(np.float32), given, classes=names, split=split)

    train = split_of(truth, np.where(wrong, 1 - truth, truth), "train")
    val = split_of(truth[:130], truth[:130], "val")
    torch.manual_seed(0)
    network = build_network("small_cnn", classes=2, channels=1, size=(12, 12))
    how = ic.Preprocessing(1, (12, 12), (0.5,), (0.5,))
    model = ic.OpenedModel(network, classes=names, preprocessing=how, architecture="small_cnn")
    train_model(model, train, ic.Recipe(epochs=5))
    run = ic.analyze(model, train, val, out=tmp_path / "a", drawing=NoMap())
    flagged = run.samples["suspicion"].to_numpy() >= run.description["results"]["cut"]
    assert (flagged & wrong).sum() > wrong.sum() / 2, (
        f"{(flagged & wrong).sum()} of {wrong.sum()} were flagged"
    )
    assert (flagged & ~wrong).sum() < wrong.sum() / 10


def test_any_module_and_any_dataset_give_a_full_run(run):
    table = run.samples
    assert table.index.tolist() == [str(row) for row in range(30)], "without ids the row number is the id"
    assert set(table["label"]) == {"0", "1", "2"} and run.classes == ("0", "1", "2")
    described = set(run.description["columns"])
    assert described == {"sample_id", *table.columns}, (
        "every column needs its words, no words without a column"
    )
    assert table.drop(columns=["label", "predicted", "suggested_label"]).notna().all().all()
    assert (
        run.sketches.shape == (30, 256)
        and run.probabilities.shape == (30, 3)
        and run.neighbours.shape == (30, 10)
    )
    given, suggested = (table[name].astype(int).to_numpy() for name in ("label", "suggested_label"))
    assert np.allclose(run.beliefs[np.arange(30), given], 1 - table["suspicion"], atol=1e-6)
    assert np.allclose(run.beliefs[np.arange(30), suggested], table["suggested_probability"], atol=1e-6)
    assert run.witnesses.index.equals(table.index), "witnesses of other samples"
    assert {f"{group}_says" for group in run.description["results"]["witnesses"]} <= set(run.witnesses)
    assert run.description["results"]["neighbours_view"] in {"the inputs", "0", "1", "2", "3", "4"}
    assert run.description["reproducibility"]["state"] == "agreed"
    assert "checked" in run.description["reproducibility"]["float64"]["state"]
    assert run.description["preflight"]["sentence"] == "All 3 layers are exact by closed form."
    assert {layer["covered"] for layer in run.description["preflight"]["layers"]} == {"exact"}
    assert (
        run.description["results"]["test_accuracy"]["low"]
        <= run.description["results"]["test_accuracy"]["value"]
    )


def test_without_validation_samples_there_is_suspicion_but_no_influence(tmp_path):
    found = ic.analyze(tiny_net(), blobs(30, 1), None, out=tmp_path / "alone", drawing=MapHere())
    table = ic.open_run(tmp_path / "alone").samples
    assert ((table["suspicion"] >= 0) & (table["suspicion"] <= 1)).to_numpy().all()
    assert (table["suggested_label"] != table["label"]).to_numpy().all()
    measured = {"layer_aware", "knn_shapley", "suspicion_validation"}
    measured |= {name for name in table if name.startswith("influence")}
    assert not measured & set(table), f"{measured & set(table)} cannot be known without validation samples"
    assert table.drop(columns=["label", "predicted", "suggested_label"]).notna().all().all()
    assert set(found.description["columns"]) == {"sample_id", *table.columns}
    assert any("Without validation samples" in note for note in found.description["notes"])
    assert "validation" not in found.description["results"]["regime"]
    with pytest.raises(InfluenceError, match="utility"):
        found.harmful("utility", 3)


def test_the_table_holds_exact_gradients_and_signed_influence(run):
    model, train, val = tiny_net(), blobs(30, 1), blobs(15, 2)
    truth = flat_gradients(model, train)
    assert np.allclose(run.samples["grad_norm"], truth.norm(dim=1), rtol=1e-4)
    objective = flat_gradients(model, val).mean(0)
    influence = truth @ objective
    assert np.allclose(run.samples["influence_utility"], influence, atol=1e-4 * float(influence.abs().max()))
    worst = run.harmful("utility", 3)
    assert worst == [str(i) for i in influence.argsort()[:3].tolist()], (
        "harmful = most negative influence first"
    )
    assert (run.samples.loc[run.helpful("utility", 3), "influence_utility"] > 0).all()


def test_layer_aware_influence_is_a_column_of_the_run_or_a_note_says_why_not(run, tmp_path):
    truth = ic.layer_aware_influence(tiny_net(), blobs(30, 1), blobs(15, 2))
    assert np.allclose(run.samples["layer_aware"], truth, rtol=1e-4, atol=1e-7)
    assert run.column("layer_aware").positive_means == "helpful" and not run.description["notes"]
    assert {"layer_aware", "influence_utility"} <= set(doubts(run.samples)), "Compare has no such row"
    wrong = pd.Series(np.arange(30) % 7 == 0, index=run.samples.index)
    low = -run.samples["layer_aware"].rank()[wrong].mean() + run.samples["layer_aware"].rank()[~wrong].mean()
    reached = ic.detection_table(run.samples, wrong).at["layer_aware", "auroc"]
    assert reached == pytest.approx(0.5 + low / 30), "the lowest value must stand first"

    class Scales(nn.Module):
        """Trains, and has no layer whose inputs could be heard."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3, 72) / 72)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) @ self.scale.T

    deaf = ic.analyze(Scales(), blobs(30, 1), blobs(15, 2), out=tmp_path / "deaf", drawing=MapHere())
    assert "layer_aware" not in deaf.samples, "a number was made up for a model that is not heard"
    assert any("Layer-aware influence was left out" in note for note in deaf.description["notes"])
    assert deaf.samples["influence_utility"].notna().all()


def test_the_model_is_left_as_it_was():
    model = tiny_net().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ic.analyze(model, blobs(20, 1), blobs(10, 2), drawing=MapHere())
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_same_seed_gives_the_same_table_and_a_finished_folder_is_not_overwritten(run, tmp_path):
    """Also with the map drawn by a process of its own."""
    again = analyzed(tmp_path / "again")
    pd.testing.assert_frame_equal(again.samples, run.samples)
    assert again.id != run.id
    with pytest.raises(InfluenceError, match="finished run"):
        analyzed(run.path)


def test_a_stopped_run_continues_to_the_same_table_and_other_inputs_are_refused(run, tmp_path):
    def stop(stage, done, total):
        if stage == "validation":
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        analyzed(tmp_path / "b", on_progress=stop, drawing=MapHere())
    with pytest.raises(InfluenceError, match="another dataset"):
        ic.analyze(
            tiny_net(), blobs(30, 7), blobs(15, 2), test=blobs(12, 3), out=tmp_path / "b", drawing=MapHere()
        )
    resumed = analyzed(tmp_path / "b", drawing=MapHere())
    pd.testing.assert_frame_equal(resumed.samples, run.samples)


@pytest.mark.parametrize(
    ("train", "val", "error", "says"),
    [
        (blobs(0, 1), blobs(5, 2), DataError, "training split has 0 samples; expected at least 2"),
        (blobs(9, 1), blobs(0, 2), DataError, "validation split has 0 samples; expected at least 1"),
        (
            TensorDataset(torch.zeros(4, 2, 6, 6), torch.tensor([0, 1, 2, 9])),
            blobs(6, 2),
            DataError,
            r"0 to 9; expected 0 to 2.*3 outputs",
        ),
    ],
)
def test_bad_inputs_are_sentences(train, val, error, says, tmp_path):
    with pytest.raises(error, match=says):
        ic.analyze(tiny_net(), train, val, out=tmp_path / "bad")
    assert not (tmp_path / "bad").exists(), "nothing is left behind by inputs that were refused"


def test_classes_in_another_order_are_refused():
    dataset = ic.open_dataset(SAMPLE)
    model = ic.open_model(SAMPLE / "model.safetensors")
    other = dataset.with_classes(tuple(reversed(model.classes)))
    with pytest.raises(ModelError, match=r"classes=model\.classes"):
        ic.analyze(model, other.train, other.val)


def test_evidence_comes_from_at_most_four_layers_and_always_the_last():
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(9)])
    samples = TensorDataset(torch.zeros(5, 4), torch.arange(5) % 4)
    layers = analysis.evidence_layers(model, samples)
    assert len(layers) == 4 and layers[-1] == "8" and "0" not in layers
    assert analysis.evidence_layers(nn.Linear(4, 2), samples) == ("",)


def test_kill_9_of_the_worker_loses_at_most_one_shard(tmp_path):
    """Part of the demo, killed twice without warning and continued, gives the table of an undisturbed run."""
    data = fewer_pictures(tmp_path / "data")
    command = [sys.executable, "-m", "influence_core.cli", "analyze", str(data), "--out"]
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "killed"
    finish(start(command, undisturbed))

    finished: dict[str, int] = {}
    for moment in ("sweep", "scores"):
        child = start(command, folder)
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and child.poll() is None:
            try:
                progress = json.loads((folder / "progress.json").read_text())
            except (FileNotFoundError, ValueError):
                progress = {}
            if progress.get("stage") == moment and (moment == "scores" or progress["done"] > 1200):
                break
            time.sleep(0.02)
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        shards = {
            path.name: path.stat().st_mtime_ns for path in (folder / "shards" / "train").glob("*.safetensors")
        }
        assert len(shards) >= 2, f"killed in {moment} before two shards were finished"
        assert finished.items() <= shards.items(), "a finished shard was computed again"
        finished = shards
        assert not (folder / "samples.parquet").exists()

    finish(start(command, folder))
    pd.testing.assert_frame_equal(ic.open_run(folder).samples, ic.open_run(undisturbed).samples)


def start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*command, str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(child: subprocess.Popen[bytes]) -> None:
    _, said = child.communicate(timeout=240)
    assert child.returncode == 0, said.decode()
