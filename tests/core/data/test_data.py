"""Laws of reading data: what goes in comes out, in a fixed order, and nothing is dropped in silence."""

import os
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from influence_core.data import Samples, open_dataset, samples_from_arrays
from influence_core.data.storage.content import EncodedPictures
from influence_core.data.storage.pictures import MAX_PIXELS, decode_picture, picture_values
from influence_core.errors import DataError
from tests.making.pictures import (
    CLASSES,
    encoded,
    pixels,
    write_folder,
    write_parquet,
    write_split_folder,
    zip_folder,
)
from tests.making.refusals import assert_dataset_refused

# --- every format gives the same samples ------------------------------------------------------------------


def test_a_folder_gives_its_pictures_with_paths_as_ids(tmp_path):
    dataset = open_dataset(write_split_folder(tmp_path / "toys"))
    assert dataset.name == "toys"
    assert dataset.classes == CLASSES
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (12, 12, 12)
    assert dataset.train.ids[:2] == ("train/bright/0.png", "train/bright/1.png")
    assert dataset.notes == ()
    image, label = dataset.train[7]
    assert (image.dtype, tuple(image.shape), label) == (torch.float32, (1, 8, 8), 1)
    np.testing.assert_array_equal((image[0] * 255).numpy().round(), pixels("dark", 1))


def test_a_zip_gives_the_same_samples_as_its_folder(tmp_path):
    folder = write_split_folder(tmp_path / "wrapped/toys")
    for archive in (zip_folder(folder, tmp_path / "a.zip"), zip_folder(folder.parent, tmp_path / "b.zip")):
        assert open_dataset(archive).fingerprint == open_dataset(folder).fingerprint, archive.name


def test_an_unpacked_zip_disappears_with_its_samples(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    archive = zip_folder(write_split_folder(tmp_path / "toys"), tmp_path / "a.zip")
    train = open_dataset(archive).train
    assert list((tmp_path / "temporary").iterdir()), "the pictures are read lazily and must still be there"
    assert len(train.image_bytes(0)[0]) > 50
    del train
    assert not list((tmp_path / "temporary").iterdir()), "the temporary folder outlived its samples"


def test_linked_folders_are_read_but_never_around_in_a_circle(tmp_path):
    plain = write_split_folder(tmp_path / "plain")
    linked = tmp_path / "linked"
    linked.mkdir()
    for split in ("train", "val", "test"):
        (linked / split).symlink_to(plain / split)
    assert open_dataset(linked).fingerprint == open_dataset(plain).fingerprint
    (plain / "train/dark/loop").symlink_to(plain / "train")
    assert len(open_dataset(plain).train) == 12


def test_metadata_wins_over_folders_and_other_columns_become_groups(tmp_path):
    write_folder(tmp_path, {"pictures": 8})
    rows = [
        f"pictures/{n}.png,{'cat' if n % 2 else 'dog'},{'val' if n > 5 else 'train'},{n}" for n in range(8)
    ]
    (tmp_path / "metadata.csv").write_text("file_name,label,split,age\n" + "\n".join(reversed(rows)))
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert (len(dataset.train), len(dataset.val), dataset.test) == (6, 2, None)
    assert list(dataset.train.groups["age"]) == [0, 1, 2, 3, 4, 5], (
        "groups must follow ids, not rows of the CSV"
    )
    assert list(dataset.train.groups.index) == list(dataset.train.ids)


def test_a_class_may_be_called_none_or_na(tmp_path):
    dataset = open_dataset(write_folder(tmp_path, {"None": 4, "NA": 4}))
    assert dataset.classes == ("NA", "None")
    rows = [f"{label}/{n}.png,{label}" for label in ("None", "NA") for n in range(4)]
    (tmp_path / "metadata.csv").write_text("file_name,label\n" + "\n".join(rows))
    assert open_dataset(tmp_path).fingerprint == dataset.fingerprint


def test_parquet_reads_labels_as_names_numbers_or_named_numbers(tmp_path):
    names = open_dataset(write_parquet(tmp_path / "a.parquet", ["b", "a"] * 10))
    assert names.classes == ("a", "b")
    numbers = open_dataset(write_parquet(tmp_path / "b.parquet", [10, 9] * 10))
    assert set(numbers.classes) == {"9", "10"}
    table = pq.read_table(tmp_path / "b.parquet").set_column(1, "label", pa.array([1, 0] * 10))
    metadata = {"huggingface": '{"info": {"features": {"label": {"names": ["zebra", "ant"]}}}}'}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "c.parquet")
    named = open_dataset(tmp_path / "c.parquet")
    assert named.classes == ("zebra", "ant"), "the file's own class order must be kept"
    assert sorted(named.train.ids + named.val.ids) == sorted(f"{row}.png" for row in range(20))


def test_parquet_ids_are_row_numbers_when_paths_repeat(tmp_path):
    dataset = open_dataset(write_parquet(tmp_path / "a.parquet", ["b", "a"] * 10, paths=["same.png"] * 20))
    assert sorted(map(int, dataset.train.ids + dataset.val.ids)) == list(range(20))


def test_a_folder_may_hold_one_parquet_and_its_companions(tmp_path):
    path = write_parquet(
        tmp_path / "a.parquet", ["b", "a"] * 10, split=["train"] * 14 + ["validation"] * 6, age=[1] * 20
    )
    (tmp_path / "truth.csv").write_text("sample_id,label\n0.png,a\n")
    (tmp_path / "README.md").write_text("hello")
    assert open_dataset(tmp_path).fingerprint == open_dataset(path).fingerprint
    assert list(open_dataset(path).train.groups) == ["age"]
    write_parquet(tmp_path / "b.parquet", ["b", "a"] * 10)
    assert_dataset_refused(tmp_path, "2 data files", "a.parquet, b.parquet")


def test_npz_reads_features_and_all_layouts_of_images(tmp_path):
    y = np.array([0, 1] * 10)
    grey = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    fingerprints = set()
    for x in (grey, grey[:, None], grey[..., None]):
        np.savez(tmp_path / "a.npz", x_train=x, y_train=y, group=y)
        dataset = open_dataset(tmp_path / "a.npz")
        fingerprints.add(dataset.fingerprint)
        assert tuple(dataset.train[0][0].shape) == (1, 8, 8)
    assert len(fingerprints) == 1
    assert dataset.train.ids[0].startswith("train/")
    assert list(dataset.train.groups["group"]) == list(dataset.train.labels)
    np.savez(
        tmp_path / "b.npz", x_train=np.random.rand(20, 5), y_train=y, x_val=np.random.rand(4, 5), y_val=y[:4]
    )
    features = open_dataset(tmp_path / "b.npz")
    assert features.train.kind == "array"
    assert features.train.picture(0) is None
    assert tuple(features.train.resized(3, (9, 9))[0][0].shape) == (5,)


# --- pictures of all kinds --------------------------------------------------------------------------------


def test_every_mode_becomes_grey_or_colour():
    colour = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    picture = Image.fromarray(colour)
    for mode in ("RGB", "RGBA", "P", "CMYK"):
        data = encoded(picture.convert(mode), "JPEG" if mode == "CMYK" else "PNG")
        assert decode_picture(data).mode == "RGB", mode
    palette = picture.convert("P")
    assert decode_picture(encoded(palette, transparency=b"\x00\x80" + b"\xff" * 254)).mode == "RGB"
    for mode in ("L", "LA", "1"):
        assert decode_picture(encoded(picture.convert(mode))).mode == "L", mode
    for format in ("JPEG", "WEBP", "BMP"):
        assert picture_values(decode_picture(encoded(picture, format)), None, None).shape == (3, 6, 4), format


def test_sixteen_bit_grey_keeps_its_range():
    deep = np.array([[0, 257 * 100], [257 * 200, 65535]], dtype=np.uint16)
    np.testing.assert_array_equal(np.asarray(decode_picture(encoded(deep))), [[0, 100], [200, 255]])


def test_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn a quarter clockwise to view
    wide = Image.fromarray(np.zeros((4, 10), dtype=np.uint8))
    assert decode_picture(encoded(wide, "JPEG", exif=exif)).size == (4, 10)


def test_resized_converts_and_resizes_and_keeps_everything_else(tmp_path):
    train = open_dataset(write_split_folder(tmp_path)).train
    view = train.resized(3, (5, 7))
    assert tuple(view[0][0].shape) == (3, 5, 7)
    assert view[0][0].min() >= 0 and view[0][0].max() <= 1
    assert (view.ids, view.fingerprint) == (train.ids, train.fingerprint)
    assert tuple(train[0][0].shape) == (1, 8, 8), "resized must not change the original"
    np.testing.assert_array_equal(train.resized(3, None)[0][0][2], train[0][0][0])


def test_pixels_from_a_file_and_from_an_array_are_resized_alike(tmp_path):
    write_split_folder(tmp_path)
    train = open_dataset(tmp_path).train
    array = np.stack([np.asarray(train.picture(position)) for position in range(len(train))])
    for inputs in (array, array.astype(np.float32) / 255):
        other = samples_from_arrays(inputs, train.labels, classes=train.classes)
        for view in ((1, None), (3, (8, 8)), (1, (5, 4))):
            difference = other.resized(*view).batch(range(12))[0] - train.resized(*view).batch(range(12))[0]
            assert difference.abs().max() <= 1 / 255 + 1e-6, view


def test_items_are_copies_that_cannot_spoil_the_cache(tmp_path):
    train = open_dataset(write_split_folder(tmp_path)).train
    before = train[0][0].clone()
    train[0][0].zero_()
    train.batch([0])[0].zero_()
    assert torch.equal(train[0][0], before)


def test_a_batch_is_the_stack_of_its_items(tmp_path):
    train = open_dataset(write_split_folder(tmp_path)).train
    inputs, labels = train.batch([3, 1, 3])
    assert torch.equal(inputs, torch.stack([train[3][0], train[1][0], train[3][0]]))
    assert labels.tolist() == [train[3][1], train[1][1], train[3][1]]


def test_the_cache_stays_within_its_limit_and_changes_nothing():
    blobs = [encoded(pixels("dark", seed)) for seed in range(10)]
    small = EncodedPictures(blobs, limit=3 * 64)
    for _ in range(2):
        for row in range(10):
            np.testing.assert_array_equal(small.values(row, 1, None)[0], pixels("dark", row))
    assert small.cached_bytes == 3 * 64


def test_pictures_of_different_sizes_ask_to_be_resized(tmp_path):
    write_split_folder(tmp_path)
    (tmp_path / "train/dark/odd.png").write_bytes(encoded(pixels("dark", 1, (9, 5))))
    train = open_dataset(tmp_path).train
    with pytest.raises(DataError, match=r"\(1, 8, 8\) and \(1, 9, 5\).*samples\.resized"):
        train.batch(range(len(train)))
    assert train.resized(1, (8, 8)).batch(range(len(train)))[0].shape == (13, 1, 8, 8)


def test_image_bytes_are_the_original_file(tmp_path):
    write_split_folder(tmp_path)
    data = encoded(Image.fromarray(pixels("dark", 1)), "JPEG")
    (tmp_path / "train/dark/photo.jpeg").write_bytes(data)
    train = open_dataset(tmp_path).train
    assert train.image_bytes(train.ids.index("train/dark/photo.jpeg")) == (data, ".jpg")


# --- splits -----------------------------------------------------------------------------------------------


def test_a_missing_validation_set_is_carved_out_of_train_seeded_stratified_and_noted(tmp_path):
    write_folder(tmp_path, {"bright": 40, "dark": 20})
    dataset = open_dataset(tmp_path, seed=3)
    assert np.bincount(dataset.val.labels).tolist() == [6, 3], "15 % of each class"
    assert not set(dataset.train.ids) & set(dataset.val.ids)
    assert len(dataset.train) + len(dataset.val) == 60
    assert "9 of 60" in dataset.notes[0] and "seed 3" in dataset.notes[0] and dataset.set_aside == 9
    assert dataset.with_classes(("dark", "bright")).set_aside == 9, "the order of classes forgets the draw"
    assert open_dataset(tmp_path, seed=3).val.ids == dataset.val.ids
    assert open_dataset(tmp_path, seed=4).val.ids != dataset.val.ids


def test_a_validation_set_that_was_given_is_not_called_set_aside(tmp_path):
    write_split_folder(tmp_path)
    assert open_dataset(tmp_path).set_aside == 0


def test_the_test_split_is_never_carved_from(tmp_path):
    write_folder(tmp_path, {"bright": 10, "dark": 10}, split="train")
    write_folder(tmp_path, {"bright": 5, "dark": 5}, split="test", start=100)
    dataset = open_dataset(tmp_path)
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (16, 4, 10)


def test_the_fingerprint_covers_ids_labels_pixels_groups_and_order(tmp_path):
    write_split_folder(tmp_path)
    first = open_dataset(tmp_path).train
    assert open_dataset(tmp_path).train.fingerprint == first.fingerprint
    others = {
        "labels": first.relabelled(1 - first.labels),
        "order": first.select(range(11, -1, -1)),
        "number": first.select(range(11)),
        "classes": first.with_classes(("dark", "bright")),
    }
    (tmp_path / "train/dark/0.png").write_bytes(encoded(pixels("dark", 999)))
    others["pixels"] = open_dataset(tmp_path).train
    assert len({first.fingerprint, *(other.fingerprint for other in others.values())}) == 1 + len(others)


def test_another_class_order_keeps_every_samples_class(tmp_path):
    dataset = open_dataset(write_split_folder(tmp_path))
    turned = dataset.with_classes(("dark", "bright"))
    assert turned.classes == turned.train.classes == ("dark", "bright")
    names = [dataset.classes[label] for label in dataset.train.labels]
    assert [turned.classes[label] for label in turned.train.labels] == names
    assert turned.fingerprint == open_dataset(tmp_path, classes=("dark", "bright")).fingerprint
    assert_dataset_refused(tmp_path, "missing: dark", classes=("bright", "blue"))


# --- what is refused, and in which words ------------------------------------------------------------------


def test_missing_empty_and_unknown_paths_are_named(tmp_path):
    assert_dataset_refused(tmp_path / "nowhere", "There is nothing at", "nowhere")
    assert_dataset_refused(tmp_path, "is empty")
    (tmp_path / "table.ods").write_text("a,label\n1,2\n")
    assert_dataset_refused(tmp_path / "table.ods", "table", ".tsv", ".parquet", ".npz")
    assert_dataset_refused(tmp_path, "No pictures in")
    (tmp_path / "x.tar").write_bytes(b"")
    assert_dataset_refused(tmp_path / "x.tar", "'.tar'", "Expected")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    assert_dataset_refused(tmp_path / "x.parquet", "cannot be read as Parquet")
    (tmp_path / "x.npz").write_bytes(b"no zip")
    assert_dataset_refused(tmp_path / "x.npz", "cannot be read as .npz")


def test_corrupt_pictures_are_listed_and_skipped_only_with_consent(tmp_path):
    write_split_folder(tmp_path)
    whole = (tmp_path / "train/dark/0.png").read_bytes()
    (tmp_path / "train/dark/0.png").write_bytes(whole[:60])
    (tmp_path / "train/dark/1.png").write_bytes(b"")
    (tmp_path / "train/dark/2.png").write_bytes(b"hello")
    assert_dataset_refused(
        tmp_path,
        "3 of 36",
        "train/dark/0.png (damaged PNG",
        "1.png (the file is empty)",
        "skip_unreadable=True",
    )
    dataset = open_dataset(tmp_path, skip_unreadable=True)
    assert len(dataset.train) == 9
    assert "Left out 3 samples" in dataset.notes[0] and "train/dark/2.png" in dataset.notes[0]


def test_the_pixel_limit_is_judged_from_the_header():
    side = int(MAX_PIXELS**0.5) + 10
    data = encoded(Image.new("1", (side, side)))
    with pytest.raises(DataError, match="at most 50,000,000 pixels"):
        decode_picture(data)


def test_unlabelled_samples_are_refused(tmp_path):
    write_split_folder(tmp_path / "a")
    (tmp_path / "a/train/stray.png").write_bytes(encoded(pixels("dark", 1)))
    assert_dataset_refused(tmp_path / "a", "1 of 37", "train/stray.png", "metadata.csv")
    labels = pa.array(["a", "b", None, "a"] * 5)
    assert_dataset_refused(
        write_parquet(tmp_path / "b.parquet", labels), "5 of 20 samples have no label", "2.png"
    )
    floats = [0.0, 1.0, float("nan"), 0.0] * 5
    assert_dataset_refused(write_parquet(tmp_path / "c.parquet", floats), "5 of 20 samples have no label")
    np.savez(tmp_path / "d.npz", x_train=np.zeros((20, 3)), y_train=np.array(floats))
    assert_dataset_refused(tmp_path / "d.npz", "5 of 20 samples have no label")
    assert_dataset_refused(write_parquet(tmp_path / "e.parquet", [0.5, 1.5] * 10), "0.5", "Expected classes")


def test_one_class_strange_classes_and_half_named_splits_are_refused(tmp_path):
    assert_dataset_refused(write_folder(tmp_path / "one", {"dark": 5}), "All 5 samples", "'dark'")
    root = write_split_folder(tmp_path / "val")
    write_folder(root, {"blue": 2}, split="val")
    assert_dataset_refused(root, "val split holds classes that train lacks", "'blue' (2 samples)")
    split = pa.array(["train"] * 10 + [None] * 10)
    assert_dataset_refused(
        write_parquet(tmp_path / "a.parquet", ["a", "b"] * 10, split=split), "10 of 20 samples name no split"
    )
    assert_dataset_refused(
        write_parquet(tmp_path / "b.parquet", ["a", "b"] * 10, split=["trian"] * 20), "'trian'", "train"
    )
    assert_dataset_refused(
        write_parquet(tmp_path / "c.parquet", ["a", "b"] * 10, split=["test"] * 20), "No training samples"
    )
    assert_dataset_refused(
        write_folder(tmp_path / "single", {"dark": 1, "bright": 1}),
        "Each of the 2 classes has a single sample",
    )


def test_metadata_that_does_not_match_the_pictures_is_refused(tmp_path):
    write_folder(tmp_path, {"dark": 2, "bright": 2})
    metadata = tmp_path / "metadata.csv"
    metadata.write_text("file_name,label\ndark/0.png,a\ndark/0.png,b\n")
    assert_dataset_refused(tmp_path, "more than once: dark/0.png")
    metadata.write_text("file_name,label\n../secret.png,a\n")
    assert_dataset_refused(tmp_path, "that cannot be found: ../secret.png")
    metadata.write_text("name,label\n7,a\n")
    assert_dataset_refused(tmp_path, "expected one called file_name")
    metadata.write_text("file_name,label\ndark/0.png,a\n")
    assert_dataset_refused(tmp_path, "3 of 4 pictures have no label")


def test_file_names_that_are_no_text_are_refused(tmp_path):
    write_split_folder(tmp_path)
    (tmp_path / "train/dark" / os.fsdecode(b"\xff.png")).write_bytes(encoded(pixels("dark", 1)))
    assert_dataset_refused(tmp_path, "1 file name is not valid UTF-8", "\\udcff.png")


def test_arrays_that_would_be_read_wrongly_are_refused(tmp_path):
    y = np.array([0, 1] * 5)
    path = tmp_path / "a.npz"
    for arrays, words in (
        ({"z": np.zeros((10, 3)), "y_train": y}, ["expected x_train"]),
        ({"x_train": np.zeros((10, 3))}, ["y_train is missing"]),
        ({"x_train": np.zeros((10, 3)), "y_train": y[:4]}, ["10 rows", "(4,)"]),
        ({"x_train": np.full((10, 8, 8), 2.5), "y_train": y}, ["2.5", "0..1"]),
        ({"x_train": np.zeros((10, 3, 9, 3)), "y_train": y}, ["(10, 3, 9, 3)", "channels"]),
        ({"x_train": np.full((10, 3), np.nan), "y_train": y}, ["NaN or infinity"]),
        (
            {"x_train": np.zeros((10, 3)), "y_train": y, "x_val": np.zeros((2, 4)), "y_val": y[:2]},
            ["different shapes"],
        ),
    ):
        np.savez(path, **arrays)
        assert_dataset_refused(path, *words)


def test_repeated_ids_are_refused():
    with pytest.raises(DataError, match=r"1 sample id occurs more than once.*'a'"):
        samples_from_arrays(np.zeros((3, 2)), np.array([0, 1, 0]), ids=["a", "a", "b"])


def test_no_message_names_an_unfinished_sentence(tmp_path):
    text = assert_dataset_refused(write_folder(tmp_path, {"dark": 5}), "All 5")
    assert re.search(r"[.)]$", text)


def test_samples_are_final_and_iterable_to_their_end(tmp_path):
    train = open_dataset(write_split_folder(tmp_path)).train
    assert isinstance(train, Samples)
    assert len(list(train)) == len(train) == 12
    assert len(torch.utils.data.DataLoader(train, batch_size=5)) == 3
    with pytest.raises(IndexError):
        train[12]
