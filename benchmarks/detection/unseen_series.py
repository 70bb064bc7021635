"""Detection in series, by networks that may have memorised every label: drawn sounds, as waves and as spectra.

    python -m benchmarks.detection.unseen_series

560 sounds of eight kinds (unseen_pictures.py), 20 % of the labels changed at random, 140 more for validation. Each row
is measured without the view of the inputs (input_view.py) and with it, on the same network: AUROC of suspicion and of
loss, and calibration error of suspicion.
"""

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import influence_core as ic
from benchmarks.detection.run import calibration_error, markdown
from benchmarks.detection.unseen_pictures import sound, spectrogram
from influence_core.analysis.sample_table import sample_table
from influence_core.scores.suspicion.evidence_layers import evidence_layers
from influence_core.scores.suspicion.input_view import input_view

TRAIN, BATCH = 560, 40


class Recurrent(nn.Module):
    """A recurrent network of one or two layers for (b, bands, moments); the last state decides."""

    def __init__(self, deep: bool):
        super().__init__()
        self.first = nn.LSTM(32, 64, batch_first=True)
        self.second = nn.GRU(64, 64, batch_first=True) if deep else None
        self.head = nn.Linear(64, 8)

    def forward(self, x: Tensor) -> Tensor:
        states = self.first(x.transpose(1, 2))[0]
        states = states if self.second is None else self.second(states)[0]
        return self.head(states[:, -1])


def wave_network() -> nn.Module:
    stages, inside = [], 1
    for width in (16, 32, 48):
        stages += [nn.Conv1d(inside, width, 9, 4, 4), nn.BatchNorm1d(width), nn.ReLU()]
        inside = width
    return nn.Sequential(*stages, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(48, 8))


def taught(network: nn.Module, inputs: Tensor, labels: Tensor, epochs: int) -> float:
    """Train in place by AdamW without decay, cosine schedule; returns the share of labels that it then reproduces."""
    rng, steps = np.random.default_rng(1), -(-len(labels) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), 4e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    for _ in range(epochs):
        for part in np.array_split(rng.permutation(len(labels)), steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs[part]), labels[part]).backward()
            optimizer.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        return float((network(inputs).argmax(1) == labels).float().mean())


def measured(name: str, network: nn.Module, inputs: np.ndarray, truth: np.ndarray, epochs: int) -> list[dict]:
    rng, given = np.random.default_rng(2), truth[:TRAIN].copy()
    chosen = rng.permutation(TRAIN)[: TRAIN // 5]
    given[chosen] = (given[chosen] + rng.integers(1, 8, len(chosen))) % 8
    x = torch.from_numpy(inputs.astype(np.float32))
    known = taught(network, x[:TRAIN], torch.from_numpy(given), epochs)
    train, held_out = (
        TensorDataset(x[:TRAIN], torch.from_numpy(given)),
        TensorDataset(x[TRAIN:], torch.from_numpy(truth[TRAIN:])),
    )
    layers, wrong, rows = evidence_layers(network, train), given != truth[:TRAIN], []
    swept = ic.sweep(network, train, features=layers, batch_size=100)
    for check in ("none", "clean"):
        val = held_out if check == "clean" else None
        held = ic.sweep(network, val, features=layers, sketch=0, batch_size=100) if val else None
        row: dict = {"network": name, "labels known": known, "validation": check}
        for label, view in (("without", None), ("with", input_view(network, train, val))):
            table = sample_table(
                swept,
                held,
                view,
                ids=[str(i) for i in range(TRAIN)],
                labels=given,
                held_out_labels=truth[TRAIN:] if val else truth[:0],
                classes=[f"c{c}" for c in range(8)],
                objectives=[],
                seed=0,
                on_progress=lambda stage, done, total: None,
            ).table
            row["loss"] = float(roc_auc_score(wrong, table["loss"]))
            row[label] = float(roc_auc_score(wrong, table["suspicion"]))
            row[f"ECE {label}"] = calibration_error(table["suspicion"].to_numpy(), wrong)
        rows.append(row)
    return rows


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(26)
    truth = rng.integers(0, 8, 700)
    waves = np.stack([sound(int(kind), rng) for kind in truth])
    spectra = np.stack([spectrogram(wave)[0] for wave in waves])
    middle = waves[:, None, 1000:3048] / waves.std()
    rows = measured("three convolutions on waves", wave_network(), middle, truth, 40)
    rows += measured("LSTM on spectra", Recurrent(deep=False), spectra, truth, 100)
    rows += measured("LSTM and GRU on spectra", Recurrent(deep=True), spectra, truth, 120)
    print(markdown(rows, list(rows[0])))


if __name__ == "__main__":
    main()
