"""The sample dataset is what its README says: counts, balance, planted faults, a size for a repository."""

import hashlib
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from influence_core.data import open_dataset
from influence_core.models import check_fits, open_model
from influence_core.training.train import accuracy

FASHION = Path(__file__).parents[2] / "sample_data" / "fashion"


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(FASHION)


@pytest.fixture(scope="module")
def truth(dataset) -> np.ndarray:
    """The right label of each training sample, as class numbers in the order of dataset.train."""
    table = pd.read_csv(FASHION / "truth.csv").set_index("sample_id")["label"]
    assert sorted(table.index) == sorted(dataset.train.ids)
    return np.array([dataset.classes.index(table[sample]) for sample in dataset.train.ids])


def test_counts_and_classes(dataset):
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (4000, 1000, 1000)
    assert len(dataset.classes) == 10
    assert dataset.notes == ()
    assert dataset.train.ids[17] == "train/00017.png"


def test_right_labels_are_balanced_in_every_split(dataset, truth):
    assert np.bincount(truth).tolist() == [400] * 10
    for samples in (dataset.val, dataset.test):
        assert np.bincount(samples.labels).tolist() == [100] * 10


def test_one_training_label_in_ten_is_wrong(dataset, truth):
    assert (dataset.train.labels != truth).sum() == 400


def test_faults_are_mostly_confusions_not_dice(dataset, truth):
    """If all were random, the most frequent of the 90 swaps would make up about 2 % of them."""
    wrong = dataset.train.labels != truth
    swaps = pd.Series(list(zip(truth[wrong], dataset.train.labels[wrong], strict=True))).value_counts(
        normalize=True
    )
    assert swaps.iloc[:10].sum() > 0.4
    assert len(swaps) > 40, "a third is random and spreads over many swaps"


def test_rows_are_shuffled_not_sorted_by_class(dataset):
    same_as_next = (dataset.train.labels[1:] == dataset.train.labels[:-1]).mean()
    assert same_as_next < 0.2


def test_no_picture_is_in_two_splits(dataset):
    parts = (dataset.train, dataset.val, dataset.test)
    digests = [
        hashlib.sha256(part.image_bytes(row)[0]).hexdigest() for part in parts for row in range(len(part))
    ]
    assert len(set(digests)) > 0.999 * len(digests)


def test_the_truth_is_never_read_with_the_dataset(dataset, tmp_path):
    for name in ("fashion.parquet", "README.md"):
        (tmp_path / name).write_bytes((FASHION / name).read_bytes())
    assert open_dataset(tmp_path).fingerprint == dataset.fingerprint


def test_pictures_are_28_by_28_grey_png(dataset):
    data, suffix = dataset.train.image_bytes(0)
    assert suffix == ".png"
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (28, 28))


def test_the_model_fits_and_was_misled_but_not_ruined(dataset, truth):
    model = open_model(FASHION)
    check_fits(model, dataset)
    assert accuracy(model, dataset.val) > 0.84
    given, right = accuracy(model, dataset.train), accuracy(model, dataset.train.relabelled(truth))
    assert right > given, "the model must know better than its labels, or no method could find the faults"


def test_the_folder_is_small_and_says_where_it_comes_from():
    assert sum(file.stat().st_size for file in FASHION.iterdir() if file.is_file()) < 6_000_000
    readme = (FASHION / "README.md").read_text()
    for word in ("MIT", "Zalando SE", "make_fashion.py", "truth.csv", "400"):
        assert word in readme


def test_the_script_asks_for_its_source():
    done = subprocess.run(
        [sys.executable, str(FASHION / "make_fashion.py")],
        capture_output=True,
        text=True,
        cwd=FASHION.parents[1],
        env={"PYTHONPATH": str(FASHION.parents[1]), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 2 and "source" in done.stderr
