"""Pictures and tables that detection is measured on: small, varied, and hard enough that no classifier is perfect.

Real: digits and two photographs cut into patches (both ship with scikit-learn), Fashion-MNIST and Adult (by path).
Drawn here, each seeded: oriented textures, coloured shapes on clutter, blurred colour fields with overlapping classes,
and pairs of digits with twenty classes. All labels are clean; noise is planted by noise.py.
"""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

SIDE = 16
"""Pictures are 16 x 16: a network trains on 1,500 of them in seconds, so that many cells fit in an hour."""


@dataclass(frozen=True)
class Data:
    """Inputs (n, ...) float32 in [0, 1] or standardised, true labels (n,), and pictures of no class at all (r, ...)."""

    name: str
    inputs: np.ndarray
    labels: np.ndarray
    strangers: np.ndarray

    @property
    def classes(self) -> int:
        return int(self.labels.max()) + 1


def resized(pictures: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Resize by averaging, (n, c, h, w) -> (n, c, side, side)."""
    import torch

    return torch.nn.functional.interpolate(
        torch.from_numpy(pictures.astype(np.float32)), size=(side, side), mode="area"
    ).numpy()


def digits(count: int) -> Data:
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))[:count]
    rng = np.random.default_rng(1)
    pictures = (found.images / 16.0)[order].repeat(2, 1).repeat(2, 2)[:, None]
    pictures = np.clip(pictures + rng.normal(size=pictures.shape) * 0.35, 0, 1)
    return Data("digits", pictures.astype(np.float32), found.target[order].astype(np.int64), pictures[:0])


def digit_pairs(count: int) -> Data:
    """Twenty classes: a digit above another one; the class is the upper digit and whether the lower one is odd."""
    from sklearn.datasets import load_digits

    found, rng = load_digits(), np.random.default_rng(2)
    upper, lower = rng.integers(0, len(found.target), (2, count))
    pictures = np.concatenate([found.images[upper], found.images[lower]], axis=1)[:, None] / 16.0
    pictures = resized(np.pad(pictures, ((0, 0), (0, 0), (0, 0), (4, 4))))
    pictures = np.clip(pictures + rng.normal(size=pictures.shape) * 0.1, 0, 1)
    labels = found.target[upper] * 2 + found.target[lower] % 2
    return Data("pairs", pictures.astype(np.float32), labels.astype(np.int64), pictures[:0])


def fashion(count: int, folder: Path) -> Data:
    packed = (folder / f"train-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1"))
    contents = [gzip.decompress(path.read_bytes()) for path in packed]
    pictures = np.frombuffer(contents[0], np.uint8, offset=16).reshape(-1, 1, 28, 28)
    labels = np.frombuffer(contents[1], np.uint8, offset=8)
    order = np.random.default_rng(0).permutation(len(labels))[:count]
    return Data("fashion", resized(pictures[order] / 255), labels[order].astype(np.int64), pictures[:0])


def adult(count: int, file: Path) -> Data:
    names = (
        "age work weight school years married job relation race sex gain loss hours country income".split()
    )
    table = pd.read_csv(file, names=names, skipinitialspace=True).sample(count, random_state=0)
    labels = (table.pop("income") == ">50K").to_numpy(np.int64)
    numbers = ["age", "years", "gain", "loss", "hours"]
    table = table.drop(columns="weight")
    wide = pd.get_dummies(table, columns=[n for n in table if n not in numbers]).astype(float)
    wide[numbers] = (wide[numbers] - wide[numbers].mean()) / wide[numbers].std()
    return Data("adult", wide.to_numpy(np.float32), labels, np.zeros((0, wide.shape[1]), np.float32))


def photos(count: int) -> Data:
    """Patches of two photographs; the class is the region, six a photograph, so that neighbours look alike."""
    from sklearn.datasets import load_sample_images

    rng, sheets = np.random.default_rng(3), load_sample_images().images
    labels = rng.integers(0, 12, count)
    patches = []
    for label in labels:
        sheet = sheets[label // 6]
        row, column = (label % 6) // 3, (label % 6) % 3
        top = row * 213 + rng.integers(0, 213 - 32)
        left = column * 213 + rng.integers(0, 213 - 32)
        patch = sheet[top : top + 32, left : left + 32] / 255.0
        patches.append(patch[:, ::-1] if rng.random() < 0.5 else patch)
    pictures = resized(np.stack(patches).transpose(0, 3, 1, 2))
    return Data("photos", pictures, labels, pictures[:0])


def textures(count: int) -> Data:
    """Ten oriented gratings in two scales with random phase, colour, contrast and noise."""
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 10, count)
    across, down = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    angle = (labels % 5) * np.pi / 5 + rng.normal(size=count) * 0.16
    length = np.where(labels < 5, 3.4, 5.6) * np.exp(rng.normal(size=count) * 0.16)
    phase = rng.random(count) * 2 * np.pi
    turned = np.cos(angle)[:, None, None] * across + np.sin(angle)[:, None, None] * down
    waves = np.sin(2 * np.pi * turned / length[:, None, None] + phase[:, None, None])[:, None]
    colour = rng.random((count, 3, 1, 1))
    contrast = 0.1 + 0.3 * rng.random((count, 1, 1, 1))
    pictures = np.clip(colour + contrast * waves + rng.normal(size=(count, 3, SIDE, SIDE)) * 0.15, 0, 1)
    strangers = np.clip(
        rng.random((count // 8, 3, 1, 1)) + rng.normal(size=(count // 8, 3, SIDE, SIDE)) * 0.3, 0, 1
    )
    return Data("textures", pictures.astype(np.float32), labels, strangers.astype(np.float32))


def shapes(count: int) -> Data:
    """Eight outlines of any colour, place and size on clutter; a ninth and a tenth outline are of no class."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 8, count)
    strange = 8 + rng.integers(0, 2, count // 8)
    drawn = np.stack([_shape(int(kind), rng) for kind in np.concatenate([labels, strange])])
    return Data("shapes", drawn[:count], labels, drawn[count:])


def _shape(kind: int, rng: np.random.Generator) -> np.ndarray:
    down, across = np.mgrid[0:SIDE, 0:SIDE].astype(float)
    size = rng.uniform(4.5, 6.5)
    y, x = down - rng.uniform(6.8, 8.4), across - rng.uniform(6.8, 8.4)
    tilt = rng.normal() * 0.15
    y, x = (y * np.cos(tilt) + x * np.sin(tilt)) / size, (x * np.cos(tilt) - y * np.sin(tilt)) / size
    far, box = np.hypot(x, y), np.maximum(abs(x), abs(y))
    inside = (
        far < 1,
        box < 0.9,
        (y > -0.8) & (y < 0.9) & (abs(x) < (y + 0.9) * 0.55),
        (far < 1) & (far > 0.55),
        (np.minimum(abs(x), abs(y)) < 0.3) & (box < 1),
        (abs(x) + abs(y)) < 1.1,
        (box < 0.9) & (box > 0.5),
        (abs(abs(x) - abs(y)) < 0.35) & (box < 0.9),
        (abs(y) < 0.35) & (abs(x) < 1.1),
        (far < 1) & (x > 0),
    )[kind]
    ground = rng.random((3, 1, 1)) * 0.5 + resized(rng.random((1, 3, 4, 4)))[0] * 0.2
    picture = np.where(inside[None], 0.45 + 0.55 * rng.random((3, 1, 1)), ground)
    return np.clip(picture + rng.normal(size=(3, SIDE, SIDE)) * 0.08, 0, 1).astype(np.float32)


def fields(count: int) -> Data:
    """Ten classes of smooth colour fields: three prototypes each, shifted and mixed with those of other classes."""
    rng = np.random.default_rng(6)
    prototypes = rng.normal(size=(12, 3, 3, 5, 5))
    labels = rng.integers(0, 10, count + count // 8)
    labels[count:] = rng.integers(10, 12, count // 8)
    own = prototypes[labels, rng.integers(0, 3, len(labels))]
    other = prototypes[rng.integers(0, 10, len(labels)), rng.integers(0, 3, len(labels))]
    mixed = own + rng.uniform(0, 1.0, (len(labels), 1, 1, 1)) * other + rng.normal(size=own.shape) * 0.9
    import torch

    smooth = torch.nn.functional.interpolate(
        torch.from_numpy(mixed).float(), size=(20, 20), mode="bicubic"
    ).numpy()
    left, top = rng.integers(0, 5, (2, len(labels)))
    moved = np.stack([s[:, t : t + SIDE, a : a + SIDE] for s, t, a in zip(smooth, top, left, strict=True)])
    pictures = np.clip(0.5 + 0.18 * moved + rng.normal(size=moved.shape) * 0.08, 0, 1).astype(np.float32)
    return Data("fields", pictures[:count], labels[:count], pictures[count:])


MADE: dict[str, Callable[[int], Data]] = {
    "digits": digits,
    "pairs": digit_pairs,
    "photos": photos,
    "textures": textures,
    "shapes": shapes,
    "fields": fields,
}
