"""Arrays as people have them: names, shapes, scales and labels of every usual kind."""

import zipfile

import numpy as np
import pytest
import torch

from influence_core.data import open_dataset
from influence_core.errors import DataError
from influence_core.intake.preview import preview
from influence_core.models.weight_files.unpickle import arrays_in
from tests.making.refusals import assert_dataset_refused, assert_refused

ROWS = 60
RANDOM = np.random.default_rng(0)
Y = np.arange(ROWS) % 3
TABLE = RANDOM.normal(size=(ROWS, 4))
PIXELS = RANDOM.integers(0, 255, (ROWS, 8, 8, 3), dtype=np.uint8)
PIXELS[0, 0, 0] = 0, 128, 255


def save(path, **arrays):
    np.savez(path / "a.npz", **arrays)
    return path / "a.npz"


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ("X_train", "Y_train"), ("train_images", "train_labels"), ("trainX", "trainY"), ("x_tr", "y_tr"),
        ("images", "labels"), ("x", "y"), ("X", "y"), ("data", "target"), ("features", "labels"),
        ("TRAIN-DATA", "TRAIN-TARGETS"), ("train/images", "train/labels"), ("imgs", "class"),
    ],
)  # fmt: skip
def test_arrays_under_usual_names_are_found(tmp_path, x, y):
    dataset = open_dataset(save(tmp_path, **{x: TABLE, y: Y}))
    assert len(dataset.train) + len(dataset.val) == ROWS and dataset.classes == ("0", "1", "2")


def test_the_splits_of_arrays_are_found_in_any_spelling(tmp_path):
    parts = {"train_images": TABLE, "train_labels": Y[:, None], "valid_images": TABLE[:9], "valid_labels": Y[:9],
             "ImagesTest": TABLE[:6], "LabelsTest": Y[:6]}  # fmt: skip
    dataset = open_dataset(save(tmp_path, **parts))
    assert {split: len(part) for split, part in dataset.parts.items()} == {"train": ROWS, "val": 9, "test": 6}
    assert not dataset.notes and dataset.train.ids[7] == "train/7"


def test_what_was_ignored_and_how_much_is_said(tmp_path):
    path = save(
        tmp_path, data=TABLE, target=Y, target_names=np.array(["a", "b", "c"]), feature_names=np.arange(4)
    )
    dataset = open_dataset(path)
    assert dataset.classes == ("a", "b", "c") and "Ignored 1 array of a.npz: feature_names." in dataset.notes


def test_two_arrays_of_one_meaning_are_refused_by_name(tmp_path):
    path = save(tmp_path, images=PIXELS, features=TABLE, y=Y)
    assert_dataset_refused(
        path, "several arrays that could be the inputs of train", "features, images", "x_train"
    )


def test_arrays_without_names_are_asked_for(tmp_path):
    np.savez(tmp_path / "a.npz", PIXELS, Y)
    path = tmp_path / "a.npz"
    assert_dataset_refused(path, "arr_0 (60, 8, 8, 3) uint8", "--label arr_1", "np.savez(")
    assert [column["name"] for column in preview(path, tmp_path / "p")["columns"]] == ["arr_1"]
    assert len(open_dataset(path, label="arr_1").train) == 51
    assert_dataset_refused(path, "no array called arr_7", label="arr_7")


@pytest.mark.parametrize("names", [("X_train", "y_train"), ("train/images", "train/labels")])
def test_a_folder_of_npy_files_is_read(tmp_path, names):
    for name, array in zip(names, (PIXELS, Y), strict=True):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "d" / f"{name}.npy", array)
    assert open_dataset(tmp_path / "d").train[0][0].shape == (3, 8, 8)
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for file in (tmp_path / "d").rglob("*.npy"):
            archive.write(file, file.relative_to(tmp_path))
    assert open_dataset(tmp_path / "d.zip").fingerprint == open_dataset(tmp_path / "d").fingerprint


def test_one_npy_alone_names_the_folder_to_give(tmp_path):
    np.save(tmp_path / "X_train.npy", PIXELS)
    np.save(tmp_path / "y_train.npy", Y)
    assert_dataset_refused(tmp_path / "X_train.npy", "(60, 8, 8, 3) uint8", "y_train.npy: give their folder")


def test_arrays_beside_pictures_are_no_dataset(tmp_path):
    """Features of pictures often lie beside them."""
    from tests.making.pictures import write_split_folder

    root = write_split_folder(tmp_path / "toys")
    before = open_dataset(root).fingerprint
    np.save(root / "x_train.npy", TABLE)
    np.save(root / "y_train.npy", Y)
    assert open_dataset(root).fingerprint == before


def test_tensors_in_a_pt_are_read_in_the_jail(tmp_path):
    part = (torch.tensor(PIXELS), torch.tensor(Y))
    torch.save({"train": part, "test": part, "classes": ["a", "b", "c"]}, tmp_path / "data.pt")
    dataset = open_dataset(tmp_path / "data.pt")
    array = open_dataset(save(tmp_path, x_train=PIXELS, y_train=Y, classes=np.array(["a", "b", "c"])))
    assert dataset.train.fingerprint == array.train.fingerprint, "a tensor must read as its array"
    assert dataset.test is not None and len(dataset.test) == ROWS


def test_pairs_and_tables_of_tensors_get_their_names():
    x, y = torch.tensor(TABLE), torch.tensor(Y)
    for loaded, names in (
        ((x, y), {"x", "y"}),
        ([x, y], {"x", "y"}),
        ({"images": x, "labels": y, "epoch": 3}, {"images", "labels"}),
        (((x, y), (x, y)), {"train/x", "train/y", "test/x", "test/y"}),
        ({"val": {"data": x, "target": y}}, {"val/data", "val/target"}),
        (x, {""}),
    ):
        tables, problem = arrays_in(loaded)
        assert problem is None and set(tables[""]) == names
    assert "no tensors" in str(arrays_in({"a": 1})[1])


def test_a_pt_that_would_run_code_is_refused(tmp_path):
    torch.save(torch.utils.data.TensorDataset(torch.tensor(TABLE), torch.tensor(Y)), tmp_path / "data.pt")
    assert_dataset_refused(tmp_path / "data.pt", "TensorDataset", "np.savez(")


@pytest.mark.parametrize(
    ("pixels", "note"),
    [
        (PIXELS.astype(np.int64), "whole numbers of type int64"),
        (PIXELS.astype(np.float32), "whole numbers of type float32"),
        (PIXELS / 255.0, None),
        (PIXELS * 0.999, "divided by 255"),
        (PIXELS.transpose(0, 3, 1, 2), None),
        (np.concatenate([PIXELS, PIXELS[..., :1]], 3), "transparency"),
    ],
    ids=["int64", "float bytes", "shares", "fractions of bytes", "channels first", "with alpha"],
)
def test_pixels_of_every_scale_read_alike(tmp_path, pixels, note):
    """A dataset must not be brighter or darker for the type it was saved in; what was converted is said."""
    wanted = open_dataset(save(tmp_path, x=PIXELS, y=Y)).train
    dataset = open_dataset(save(tmp_path, x=pixels, y=Y))
    torch.testing.assert_close(dataset.train[0][0], wanted[0][0], atol=0.002, rtol=0)
    assert note is None or note in " ".join(dataset.notes)


def test_splits_of_different_scales_are_brought_to_one_or_refused(tmp_path):
    mixed = open_dataset(save(tmp_path, x_train=PIXELS, y_train=Y, x_val=PIXELS / 255.0, y_val=Y))
    torch.testing.assert_close(mixed.train[0][0], mixed.val[0][0], atol=1e-6, rtol=0)
    path = save(tmp_path, x_train=PIXELS * 1.0, y_train=Y, x_val=PIXELS / 255.0, y_val=Y)
    assert_dataset_refused(path, "different scales", "x_train to 255", "x_val to 1")


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (PIXELS / 255.0 - 0.5, "Undo the normalisation"),
        (PIXELS // 16 * 1.0, "x / 15"),
        (PIXELS * 16.0, "x / 4080"),
    ],
    ids=["normalised", "0 to 15", "12 bits"],
)
def test_pixels_of_an_unknown_scale_are_refused_with_the_line_to_write(tmp_path, pixels, words):
    assert_dataset_refused(save(tmp_path, x=pixels, y=Y), words)


def test_nearly_black_bytes_are_said(tmp_path):
    assert "nearly black" in " ".join(open_dataset(save(tmp_path, x=PIXELS // 255, y=Y)).notes)


@pytest.mark.parametrize(
    "labels", [Y.astype(float), Y[:, None], np.eye(3)[Y], Y.astype(str), Y.astype("S1")],
    ids=["floats", "a column", "one-hot", "text", "bytes"],
)  # fmt: skip
def test_labels_of_every_usual_kind_read_alike(tmp_path, labels):
    wanted = open_dataset(save(tmp_path, x=TABLE, y=Y))
    assert open_dataset(save(tmp_path, x=TABLE, y=labels)).train.fingerprint == wanted.train.fingerprint


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.int64(3), "holds a single value (3)"),
        (np.zeros(ROWS, dtype=[("a", int)]), "expected plain numbers or text"),
        (np.zeros(ROWS, dtype="M8[s]"), "datetime64"),
        (np.full((ROWS, 3), 1 / 3), "np.argmax(y, axis=1)"),
        (Y + 0.5, "a measurement"),
        (
            np.eye(3, dtype=int)[Y] * 0 + 1,
            "Of several labels a row, save the one to look at, such as y[:, 0]",
        ),
        (Y[:-1], "has 60 rows, y has shape (59,)"),
    ],
)
def test_labels_of_no_use_are_refused_in_words(tmp_path, labels, words):
    assert_dataset_refused(save(tmp_path, x=TABLE, y=labels), words)


def test_classes_of_no_use_are_refused_in_words(tmp_path):
    for classes, words in (
        (np.array("abc"), "a single value"),
        (np.array(["a", "a", "b"]), "2 of them different"),
    ):
        assert_dataset_refused(save(tmp_path, x=TABLE, y=Y, classes=classes), words)


def test_a_label_between_two_numbers_is_never_rounded_to_a_class(tmp_path):
    """0.5 was taken for class 0 without a word."""
    names = np.array(["a", "b", "c", "d"])
    assert_dataset_refused(save(tmp_path, x=TABLE, y=Y + 0.5, classes=names), "from 0 to 3", "0.5, 1.5, 2.5")
    assert open_dataset(save(tmp_path, x=TABLE, y=Y + 0.0, classes=names)).classes == ("a", "b", "c", "d")


def test_what_is_no_array_in_an_npz_is_passed_over_and_too_many_are_refused(tmp_path, monkeypatch):
    path = save(tmp_path, x=TABLE, y=Y)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README.txt", "hello")
    assert open_dataset(path).classes == ("0", "1", "2")
    monkeypatch.setattr("influence_core.data.readers.array_files.MOST_ARRAYS", 1)
    assert_dataset_refused(path, "holds 2 arrays", "np.stack(inputs)")


def test_a_split_without_labels_is_left_out_and_said(tmp_path):
    for labels in ({}, {"y_test": -np.ones(9, int)}):
        dataset = open_dataset(save(tmp_path, x_train=TABLE, y_train=Y, x_test=TABLE[:9], **labels))
        assert dataset.test is None and "Left out" in dataset.notes[0] and "x_test" in dataset.notes[0]


def test_minus_one_is_no_label_beside_counted_classes_and_a_class_beside_one(tmp_path):
    counted = open_dataset(save(tmp_path, x=TABLE, y=np.where(np.arange(ROWS) < 5, -1, Y)))
    assert counted.classes == ("0", "1", "2") and "Left out 5 rows of x" in counted.notes[0]
    signs = open_dataset(save(tmp_path, x=TABLE, y=np.where(Y > 0, 1, -1)))
    assert signs.classes == ("-1", "1") and len(signs.train) + len(signs.val) == ROWS
    doubtful = open_dataset(save(tmp_path, x=TABLE, y=Y - 1))
    assert doubtful.classes == ("-1", "0", "1") and "was kept as a class" in doubtful.notes[0]


def test_the_need_of_arrays_is_judged_before_one_is_read(tmp_path, monkeypatch):
    path = save(tmp_path, x=np.zeros((4_000_000, 1), np.uint8), y=np.zeros(4_000_000, np.uint8))
    monkeypatch.setattr("influence_core.system.memory.spare", lambda: 10**9)
    assert_dataset_refused(path, "GB of memory", "Bring fewer rows")


def test_whatever_a_reader_raises_is_words_without_paths(tmp_path, monkeypatch):
    """One door: a library's error keeps its kind, loses the folders of the machine, and is a DataError."""
    path = save(tmp_path, x=TABLE, y=Y)
    for error, words in (
        (KeyError("/srv/secret/a.npz"), "KeyError"),
        (RecursionError("maximum recursion depth"), "RecursionError"),
        (MemoryError(), "needs more memory"),
    ):

        def broken(*_, error=error):
            raise error

        monkeypatch.setattr("influence_core.data.dataset.read_npz", broken)
        with assert_refused(DataError, "a.npz", words) as caught:
            open_dataset(path)
        assert "secret" not in str(caught.value) and str(tmp_path) not in str(caught.value)
