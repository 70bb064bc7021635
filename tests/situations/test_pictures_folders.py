"""Folders of pictures as they come out of archives: which of them are splits, which are classes, which are neither."""

from pathlib import Path

import pytest

from influence_core.data import open_dataset
from tests.making.pictures import encoded, pixels, write_folder
from tests.making.refusals import assert_dataset_refused

FOUR = {"ant": 4, "bee": 4}


def below(folder: str, counts: dict[str, int] = FOUR) -> dict[str, int]:
    return {f"{folder}/{name}": count for name, count in counts.items()}


def flat(root: Path, folder: str, count: int = 3) -> None:
    write_folder(root, {folder: count}, start=500)


def parts(root: Path, **options) -> dict[str, int]:
    return {split: len(part) for split, part in open_dataset(root, **options).parts.items()}


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("seg_train/seg_train", "seg_valid/seg_valid", "seg_test/seg_test"),
        ("train_images", "val_images", "test_images"),
        ("imagesTr", "imagesVal", "imagesTs"),
        ("train2017", "val2017", "test2017"),
        ("Training Set", "Validation Set", "Testing Set"),
        ("my-data-train", "my-data-dev", "my-data-test"),
        ("trainset", "validset", "testset"),
        ("mytrain", "myval", "mytest"),
        ("training", "validation", "evaluation"),
        ("TRAIN", "VAL", "TEST"),
        ("tr", "val", "eval"),
        ("train/images", "valid/images", "test/images"),
        ("outer/inner/train", "outer/inner/val", "outer/inner/test"),
        ("dogs.v2.train", "dogs.v2.valid", "dogs.v2.test"),
    ],
)
def test_folders_named_for_splits_are_splits_whatever_stands_around_the_word(tmp_path, train, val, test):
    for start, folder in enumerate((train, val, test)):
        write_folder(tmp_path / "toys", below(folder), start=100 * start)
    (tmp_path / "toys/README.txt").write_text("toys")
    dataset = open_dataset(tmp_path / "toys")
    assert dataset.classes == ("ant", "bee"), "split folders were taken for classes"
    assert {split: len(part) for split, part in dataset.parts.items()} == {"train": 8, "val": 8, "test": 8}
    assert dataset.train.ids[0] == f"{train}/ant/0.png", "an id is the path"


def test_names_of_splits_that_are_not_the_usual_ones_are_said(tmp_path):
    write_folder(tmp_path, below("seg_train"))
    write_folder(tmp_path, below("seg_test"), start=100)
    assert "seg_test as test, seg_train as train" in open_dataset(tmp_path).notes[0]


def test_pictures_to_predict_are_left_out_and_said(tmp_path):
    write_folder(tmp_path, below("seg_train/seg_train"))
    write_folder(tmp_path, below("seg_test/seg_test"), start=100)
    flat(tmp_path, "seg_pred/seg_pred")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("ant", "bee") and len(dataset.test) == 8
    assert any("3 pictures in seg_pred" in note for note in dataset.notes)


@pytest.mark.parametrize("wrapped", ["", "all/"])
def test_classes_above_splits_are_read(tmp_path, wrapped):
    for split, start in (("train", 0), ("test", 100)):
        write_folder(tmp_path / "toys", {f"{wrapped}{name}/{split}": 5 for name in FOUR}, start=start)
    (tmp_path / "toys/notes.md").write_text("toys")
    dataset = open_dataset(tmp_path / "toys")
    assert dataset.classes == ("ant", "bee") and len(dataset.test) == 10


@pytest.mark.parametrize(
    "name", ["train", "test tube", "train station", "dev board", "trained dogs", "developer"]
)
def test_a_class_whose_name_holds_such_a_word_stays_a_class(tmp_path, name):
    write_folder(tmp_path, FOUR | {name: 4})
    dataset = open_dataset(tmp_path)
    assert set(dataset.classes) == {*FOUR, name}, "a class was taken for a split"
    assert ("is read as a class" in dataset.notes[0]) == (name not in ("trained dogs", "developer")), (
        dataset.notes
    )


def test_a_class_called_train_inside_splits_stays_a_class(tmp_path):
    write_folder(tmp_path, below("train", {"bus": 4, "train": 4}))
    write_folder(tmp_path, below("val", {"train": 2}), start=100)
    assert open_dataset(tmp_path).classes == ("bus", "train")


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (("ant", "bee", "test/ant", "test/bee"), ("'test'", "named as those beside it", "a folder train")),
        (
            ("val/ant", "val/bee", "test/ant"),
            ("No training samples", "test, val", "Name the training part train"),
        ),
        (
            ("train_ant", "train_bee", "test_ant", "test_bee"),
            ("a split and a class at once", "such as train/ant"),
        ),
        (("one/train/ant", "one/test/ant", "two/train/bee"), ("cannot be told apart", "one, two")),
        (("ant/train", "ant/test", "bee"), ("cannot be told apart", "inside ant")),
        (("A/train/ant", "A/test/ant", "B/train/bee", "B/test/bee"), ("cannot be told apart",)),
        (("train/ant", "train/bee", "test/ant", "extra"), ("lie outside", "train/", "extra/")),
        (("train", "test"), ("have no label", "metadata.csv")),
        (("images", "masks"), ("kinds of files, not classes", "images, masks")),
        (("images",), ("have no label", "metadata.csv")),
        (
            ("ant", "bee", "cells/ant", "cells/bee"),
            ("'cells' holds folders named as those beside it", "a copy"),
        ),
        (("colour/ant", "colour/bee", "grey/ant", "grey/bee"), ("colour, grey all hold", "not clear which")),
        (
            ("train/a/ant", "train/a/bee", "train/b/ant", "train/b/bee"),
            ("a, b all hold folders called ant, bee",),
        ),
        (
            ("fold_1/images/ant", "fold_1/images/bee", "fold_2/ant", "fold_2/bee"),
            ("fold_1, fold_2 all hold",),
        ),
    ],
)
def test_folders_that_can_be_read_in_two_ways_are_refused(tmp_path, folders, words):
    for start, folder in enumerate(folders):
        write_folder(tmp_path, {folder: 4}, start=10 * start)
    assert_dataset_refused(tmp_path, *words)


def test_folders_inside_classes_are_parts_of_them_and_that_is_said(tmp_path):
    inside = ("animals/ant", "animals/bee", "plants/oak", "plants/session 1", "animals/session 2")
    for start, folder in enumerate(inside):
        write_folder(tmp_path, {folder: 4}, start=10 * start)
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("animals", "plants")
    assert "read as parts of these classes: animals/ant" in dataset.notes[0]
    for number, folder in enumerate(("ant/session1", "ant/session2", "bee/session1", "bee/session2")):
        write_folder(tmp_path / "numbered", {folder: 4}, start=10 * number)
    assert open_dataset(tmp_path / "numbered").classes == ("ant", "bee"), "numbered parts are no classes"


@pytest.mark.parametrize("folder", ["__MACOSX", ".ipynb_checkpoints", "@eaDir", "$RECYCLE.BIN", "lost+found"])
def test_folders_of_systems_are_not_looked_at(tmp_path, folder):
    write_folder(tmp_path, below("train") | below("val"))
    write_folder(tmp_path, {folder: 2, f"train/{folder}": 2, f"train/ant/{folder}": 2}, start=100)
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (tmp_path / "train/ant" / name).write_bytes(b"x")
    dataset = open_dataset(tmp_path)
    assert parts(tmp_path) == {"train": 8, "val": 8} and dataset.notes == ()


def test_codes_of_countries_are_classes(tmp_path):
    dataset = open_dataset(write_folder(tmp_path, dict.fromkeys(("DE", "FR", "TR", "TS"), 4)))
    assert (
        dataset.classes == ("DE", "FR", "TR", "TS") and "'TR', 'TS' are read as classes" in dataset.notes[0]
    )


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (("a/abbey", "a/airport", "b/bakery/shop"), ("a, b are the first letters", "a/abbey")),
        (("8863/0", "8863/1", "8864/0", "8864/1"), ("8863, 8864 all hold folders called 0, 1",)),
        (("images_001", "images_002"), ("have no label",)),
        (("JPEGImages", "SegmentationClass"), ("kinds of files, not classes",)),
        (("labeled/ant", "labeled/bee", "unlabeled"), ("kinds of files, not classes",)),
        (("cars_train/cars_train", "cars_test/cars_test"), ("have no label", "cars_train/cars_train/0.png")),
    ],
)
def test_folders_that_only_sort_or_number_pictures_are_no_classes(tmp_path, folders, words):
    for start, folder in enumerate(folders):
        write_folder(tmp_path, {folder: 4}, start=10 * start)
    assert_dataset_refused(tmp_path, *words)


@pytest.mark.parametrize("suffix", ["ppm", "jp2", "dcm", "CR2"])
def test_a_class_in_a_format_that_is_not_read_is_not_passed_over(tmp_path, suffix):
    write_folder(tmp_path, FOUR)
    (tmp_path / "cow").mkdir()
    (tmp_path / f"cow/0.{suffix}").write_bytes(b"P6\n1 1\n255\n000")
    assert_dataset_refused(tmp_path, f"cow/0.{suffix}", "magick mogrify -format png")


def test_files_without_a_suffix_are_said(tmp_path):
    write_folder(tmp_path, FOUR)
    (tmp_path / "ant/5").write_bytes(encoded(pixels("ant", 5)))
    assert "Ignored 1 file that is no picture by its name: ant/5." in open_dataset(tmp_path).notes


# --- splits without labels, classes of one sample ---------------------------------------------------------


@pytest.mark.parametrize("folder", ["test", "test/images", "test1/test1", "test/unknown"])
def test_a_test_folder_without_labels_is_left_out_and_said(tmp_path, folder):
    write_folder(tmp_path, below("train") | below("val"))
    flat(tmp_path, folder)
    dataset = open_dataset(tmp_path)
    assert dataset.test is None and len(dataset.val) == 8
    assert any(
        "The test split was not used: none of its 3 samples has a label" in note for note in dataset.notes
    )


def test_a_validation_folder_without_labels_is_replaced_by_a_share_of_train(tmp_path):
    write_folder(tmp_path, below("train", {"ant": 10, "bee": 10}))
    flat(tmp_path, "val")
    dataset = open_dataset(tmp_path)
    assert (len(dataset.train), len(dataset.val)) == (
        16,
        4,
    ) and "The val split was not used" in dataset.notes[0]


def test_a_training_part_without_labels_is_refused_and_so_are_single_pictures(tmp_path):
    write_folder(tmp_path / "a", below("val"))
    flat(tmp_path / "a", "train")
    assert_dataset_refused(tmp_path / "a", "3 of 11 pictures have no label", "train/500.png")
    write_folder(tmp_path / "b", below("train") | below("test"))
    flat(tmp_path / "b", "test", 1)
    assert_dataset_refused(tmp_path / "b", "1 of 17 pictures have no label", "test/500.png")


def test_a_class_of_one_sample_stays_in_train_and_that_is_said(tmp_path):
    dataset = open_dataset(write_folder(tmp_path, {"ant": 8, "bee": 8, "cow": 1}))
    assert dataset.classes == ("ant", "bee", "cow")
    assert (dataset.train.labels == 2).sum() == 1 and not (dataset.val.labels == 2).any()
    assert "Class 'cow' has a single sample, which stays in train" in dataset.notes[1]


# --- accents ----------------------------------------------------------------------------------------------

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def test_a_class_that_is_spelled_with_two_encodings_of_an_accent_is_one(tmp_path):
    write_folder(
        tmp_path / "a", below("train", {COMPOSED: 4, "bee": 4}) | below("val", {DECOMPOSED: 4, "bee": 4})
    )
    dataset = open_dataset(tmp_path / "a")
    assert dataset.classes == ("bee", COMPOSED) and "were read as one" in dataset.notes[0]
    assert f"val/{DECOMPOSED}/0.png" in dataset.val.ids, "an id must stay the path on the disk"
    write_folder(tmp_path / "b", {COMPOSED: 4, DECOMPOSED: 4, "bee": 4})
    assert open_dataset(tmp_path / "b").classes == ("bee", COMPOSED)


def test_classes_of_one_spelling_keep_it_and_can_be_asked_for_in_the_other(tmp_path):
    write_folder(tmp_path, {DECOMPOSED: 8, "bee": 8})
    assert open_dataset(tmp_path).classes == ("bee", DECOMPOSED)
    assert open_dataset(tmp_path, classes=(COMPOSED, "bee")).classes == (DECOMPOSED, "bee")


# --- classes in the names of files ------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{}.{}.png", "{}_{:03}.png", "{}{}.png", "{} ({}).png", "{}-{}.png"])
@pytest.mark.parametrize("folder", ["", "train/train"])
def test_classes_in_file_names_are_offered_and_read_when_asked_for(tmp_path, form, folder):
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for row in range(20):
        name = form.format(("cat", "golden_dog")[row % 2], row)
        (tmp_path / folder / name).write_bytes(encoded(pixels("dark", row)))
    if folder:
        flat(tmp_path, "test1")
    assert_dataset_refused(tmp_path, "Their names hold 2 classes (cat, golden_dog)", "label='file name'")
    dataset = open_dataset(tmp_path, label="file name")
    assert dataset.classes == ("cat", "golden_dog") and dataset.test is None
    assert all(label in name for name, label in zip(dataset.train.ids, labels_of(dataset.train), strict=True))


def labels_of(samples) -> list[str]:
    return [samples.classes[label] for label in samples.labels]
