"""Cost of OnlineValuation, and fidelity of its scores to in-run Shapley values.

    python -m benchmarks.online.cost cost
    python -m benchmarks.online.cost shapley [--fashion FOLDER] [--lr 0.05]

cost      a training step with scoring and without, in turn, one thread, processor time: median of the ratios
shapley   rank correlation of each score with one-step In-Run Shapley (Wang et al., arXiv 2406.11011), by Monte
          Carlo over permutations of U(S) = fall of the validation loss after one step on S; a sample's own loss and
          random scores are the nulls
Intervals are 95 %: bootstrap over batches.
"""

import argparse
import copy
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchvision
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import influence_core as ic
from benchmarks.small_pictures import Pictures, digits, fashion, flipped
from influence_core.models.architectures import MLP, SmallCNN

BATCH = 64


def losses_of(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, labels, reduction="none")


def built(kind: str, pictures: Pictures, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return SmallCNN(10, 1) if kind == "small_cnn" else MLP(10, pictures.train[0][0].numel())


# ------------------------------------------------------------------------------------------------- cost


def resnet18() -> nn.Module:
    model = torchvision.models.resnet18(num_classes=10)
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return model


class Decoder(nn.Module):
    """A next-token model: 4 layers of width 128, 1,000 words; its per-token outputs make token pairs matter."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(1000, 128)
        layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(128, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.embed(x)))


def cost(rounds: int = 3) -> None:
    torch.set_num_threads(1)
    pictures = torch.rand(256, 3, 32, 32), torch.randint(10, (256,))
    grey = torch.rand(256, 1, 28, 28), pictures[1]
    words = torch.randint(1000, (64, 64)), torch.randint(1000, (64, 64))
    vit = torchvision.models.VisionTransformer(32, 8, 6, 4, 192, 768, num_classes=10)
    models = {
        "small_cnn 28x28, b 64": (SmallCNN(10, 1), grey, 64),
        "ResNet-18 32x32, b 8": (resnet18(), pictures, 8),
        "ViT 32x32, b 32": (vit, pictures, 32),
        "decoder, 64 tokens, b 8": (Decoder(), words, 8),
    }
    print("| model | step with scores, leave one out | with validation | last layer |\n|---|---|---|---|")
    for name, (model, data, b) in models.items():
        held_out = TensorDataset(*data)
        kinds = {
            "loo": lambda m: ic.OnlineValuation(m),
            "val": lambda m, v=held_out, b=b: ic.OnlineValuation(m, v, validation_batch=b),
            "last": lambda m: ic.OnlineValuation(m, method="last_layer"),
        }
        ratios = {kind: step_ratio(model, data, b, make, rounds) for kind, make in kinds.items()}
        print(
            f"| {name} | " + " | ".join(f"{ratios[k]:.3f}" for k in ("loo", "val", "last")) + " |", flush=True
        )


def step_ratio(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    b: int,
    make: Callable[..., ic.OnlineValuation],
    rounds: int,
) -> float:
    """Time of eight steps with scoring (one validation matrix) over eight without, median over rounds."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def steps(valuation: ic.OnlineValuation | None) -> float:
        start = time.process_time()
        for _ in range(8):
            outputs = model(data[0][:b])
            if valuation is not None:
                valuation.score(outputs, data[1][:b])
            optimizer.zero_grad()
            losses_of(outputs.flatten(0, -2), data[1][:b].flatten()).mean().backward()
            optimizer.step()
        return time.process_time() - start

    steps(None)
    found = []
    for _ in range(rounds):
        with make(model) as valuation:
            valuation.score(model(data[0][:b]), data[1][:b])  # its first look at the model is made once
            valuation.steps = 0
            scored = steps(valuation)
        found.append(scored / steps(None))
    return float(np.median(found))


# ---------------------------------------------------------------------------------------------- shapley


def shapley_values(
    model: nn.Module,
    batch: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    lr: float,
    permutations: int,
) -> np.ndarray:
    """Shapley values (b,) by Monte Carlo over permutations and their reverses; positive = lowers the loss."""
    b = len(batch[1])
    model = copy.deepcopy(model).eval()
    rows = ic.per_sample_gradients(model, TensorDataset(*batch), losses_of)
    g = torch.cat([value.flatten(1) for value in rows.values()], 1)
    start = nn.utils.parameters_to_vector(model.parameters()).detach()
    rng, total = np.random.default_rng(0), np.zeros(b)

    @torch.no_grad()
    def utility(step: Tensor) -> float:
        nn.utils.vector_to_parameters(start - lr * step, model.parameters())
        return -float(losses_of(model(held_out[0]), held_out[1]).double().mean())

    empty = utility(torch.zeros_like(start))
    for _ in range(permutations // 2):
        order = rng.permutation(b)
        for path in (order, order[::-1]):
            step, before = torch.zeros_like(start), empty
            for sample in path:
                step += g[sample]
                after = utility(step)
                total[sample] += after - before
                before = after
    return total / (permutations // 2 * 2)


def shapley(sets: list[Pictures], lr: float, b: int = 24, permutations: int = 8) -> None:
    print(
        "| data, model | batches | layer-aware | leave one out | last layer | ghost | own loss | -own loss | random |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    for pictures in sets:
        for kind in ("mlp", "small_cnn"):
            rows = _shapley_rows(pictures, kind, lr, b, permutations)
            shown = [
                f"{r.mean():.2f} [{low:.2f}, {high:.2f}]" for r in rows.T for low, high in [bootstrap(r)]
            ]
            print(f"| {pictures.name}, {kind} | {len(rows)} | " + " | ".join(shown) + " |", flush=True)


def _shapley_rows(pictures: Pictures, kind: str, lr: float, b: int, permutations: int) -> np.ndarray:
    """Spearman correlations, one row a batch: batches from three moments of a training on 20 % flipped labels."""
    inputs, labels = pictures.train[0], flipped(pictures.train[1], 0.2, 0)
    held_out = (pictures.validation[0][:100], pictures.validation[1][:100])
    model = built(kind, pictures, 0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    rng, found = np.random.default_rng(1), []
    for step in range(161):
        if step in (0, 10, 20, 40, 60, 80, 120, 160):
            rows = torch.from_numpy(rng.permutation(len(labels))[:b])
            batch = inputs[rows], labels[rows]
            truth = shapley_values(model, batch, held_out, lr / b, permutations)
            found.append(
                [stats.spearmanr(score, truth).statistic for score in _all_scores(model, batch, held_out)]
            )
        rows = torch.from_numpy(rng.permutation(len(labels))[:BATCH])
        optimizer.zero_grad()
        losses_of(model(inputs[rows]), labels[rows]).mean().backward()
        optimizer.step()
    return np.array(found)


def _all_scores(
    model: nn.Module, batch: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor]
) -> list[np.ndarray]:
    val = TensorDataset(*held_out)
    makes = [(val, "layer_aware"), (None, "layer_aware"), (val, "last_layer"), (val, "ghost")]
    model = copy.deepcopy(model).eval()
    scores = []
    for validation, method in makes:
        with ic.OnlineValuation(model, validation, method=method, validation_batch=len(val)) as valuation:  # pyright: ignore
            scores.append(valuation.score(model(batch[0]), batch[1]).numpy())
    own = losses_of(model(batch[0]), batch[1]).detach().numpy()
    return [*scores, own, -own, np.random.default_rng(2).random(len(own))]


def bootstrap(values: np.ndarray) -> tuple[float, float]:
    drawn = np.random.default_rng(0).choice(values, (2000, len(values))).mean(1)
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def main() -> None:
    parser = argparse.ArgumentParser(description="Scores while training: cost and fidelity")
    parser.add_argument("what", choices=["cost", "shapley"])
    parser.add_argument("--fashion", type=Path)
    parser.add_argument(
        "--lr", type=float, default=0.05, help="of the one step that Shapley values are made of"
    )
    arguments = parser.parse_args()
    if arguments.what == "cost":
        cost()
        return
    sets = [digits(), *([fashion(arguments.fashion, n=2000)] if arguments.fashion else [])]
    shapley(sets, arguments.lr)


if __name__ == "__main__":
    main()
