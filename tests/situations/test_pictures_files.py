"""Files of pictures from other programs and systems: TIFF, GIF, HEIC, zips of Windows, Parquet, huge metadata."""

import json
import stat
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from influence_core.data import open_dataset
from influence_core.data.label_choice import label_columns
from influence_core.data.storage.pictures import decode_picture
from tests.making.pictures import CLASSES, encoded, pixels, write_folder, write_split_folder
from tests.making.refusals import assert_dataset_refused

GREY = pixels("bright", 0)


# --- formats ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16", "1"])
def test_a_tiff_reads_as_the_png_of_the_same_pixels(packing, mode):
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    image = deep if mode == "I;16" else Image.fromarray(GREY).convert(mode)
    if mode == "1" and packing == "tiff_lzw":
        image = image.convert("1", dither=Image.Dither.NONE)
    tiff, png = (decode_picture(encoded(image, *form)) for form in (("TIFF",), ("PNG",)))
    packed = decode_picture(encoded(image, "TIFF", compression=packing))
    assert np.array_equal(tiff, png) and np.array_equal(packed, png), "a TIFF was decoded to other pixels"


def test_of_several_frames_or_pages_the_first_is_read_and_that_is_said(tmp_path):
    root = write_split_folder(tmp_path)
    frames = [Image.fromarray(pixels(label, 0)) for label in ("dark", "bright")]
    for name, form in (("a.gif", "GIF"), ("b.tif", "TIFF")):
        data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
        (root / "train/dark" / name).write_bytes(data)
    train = open_dataset(root).train
    for name in ("a.gif", "b.tif"):
        picture = train.picture(train.ids.index(f"train/dark/{name}"))
        assert np.asarray(picture).max() < 80, "not the first frame"
        assert train.image_bytes(train.ids.index(f"train/dark/{name}"))[1] == Path(name).suffix
    assert "Of 2 GIF or TIFF files the first frame or page was read." in open_dataset(root).notes


def test_what_is_not_read_of_tiff_and_other_formats_is_refused_with_the_line_that_converts_it(tmp_path):
    for name, data, words in (
        ("jpeg.tif", encoded(Image.fromarray(GREY), "TIFF", compression="jpeg"), "packed by jpeg"),
        (
            "fax.tif",
            encoded(Image.fromarray(GREY).convert("1"), "TIFF", compression="group4"),
            "packed by group4",
        ),
        ("x.heic", b"\0\0\0\x18ftypheic" + bytes(40), "found HEIC"),
        ("x.avif", encoded(Image.fromarray(GREY), "AVIF"), "found AVIF"),
    ):
        root = write_split_folder(tmp_path / name)
        (root / "train/dark" / name).write_bytes(data)
        assert_dataset_refused(
            root, f"train/dark/{name}", words, f"magick mogrify -format png '*{Path(name).suffix}'"
        )
    floats = encoded(Image.fromarray(GREY.astype(np.float32)), "TIFF")
    (root / "train/dark" / name).write_bytes(floats)
    assert_dataset_refused(root, "mode F", "8 or 16 bits")


# --- zips -------------------------------------------------------------------------------------------------


def zipped(path: Path, names: dict[str, bytes], folders: tuple[str, ...] = ()) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in folders:
            info = zipfile.ZipInfo("folder")
            info.filename, info.external_attr = name, 0x10
            archive.writestr(info, b"")
        for name, data in names.items():
            info = zipfile.ZipInfo("file")
            info.filename, info.external_attr = name, (0o644 | stat.S_IFREG) << 16
            archive.writestr(info, data)
    return path


def test_a_zip_with_backslashes_is_the_folder_it_was_packed_from(tmp_path):
    root = write_split_folder(tmp_path / "toys")
    names = {
        str(file.relative_to(root)).replace("/", "\\"): file.read_bytes() for file in root.rglob("*.png")
    }
    path = zipped(tmp_path / "toys.zip", names, ("train\\", "train\\dark", "val/"))
    assert open_dataset(path).fingerprint == open_dataset(root).fingerprint


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train\\..\\..\\evil.png", "points outside"),
        ("C:\\evil.png", "drive letter"),
        ("\\\\server\\evil.png", "absolute path"),
        ("train\\dark\\0.png", "more than once"),
        ("train/dark/0.png\\evil.png", "both a file and a folder"),
    ],
)
def test_backslashes_pass_the_same_checks_as_slashes(tmp_path, name, words):
    assert_dataset_refused(zipped(tmp_path / "a.zip", {"train/dark/0.png": encoded(GREY), name: b"x"}), words)


def test_a_zip_of_very_many_folders_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("influence_core.data.readers.archive.MAX_PLACES", 20)
    names = {f"{row}/x.txt": b"" for row in range(30)} | {"train/dark/0.png": encoded(GREY)}
    assert_dataset_refused(
        zipped(tmp_path / "a.zip", names), "it holds 31 folders and 30 files", "20 together"
    )


# --- Parquet ----------------------------------------------------------------------------------------------


def two_labels(path: Path, rows: int = 20, classes: tuple[str, ...] = (), column: str = "fine_label") -> Path:
    image = [{"bytes": encoded(pixels("dark", row)), "path": None} for row in range(rows)]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"img": pa.array(image, struct), "fine_label": [row % 4 for row in range(rows)],
                      "coarse_label": [row % 2 for row in range(rows)]})  # fmt: skip
    features = {
        name: {"names": list(classes), "_type": "ClassLabel"} for name in ([column] if classes else [])
    }
    told = {"huggingface": json.dumps({"info": {"features": features}})}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(told), path)
    return path


@pytest.mark.parametrize("shards", [1, 2])
def test_the_label_column_of_picture_parquet_is_asked_for_and_honoured(tmp_path, shards):
    for split in ("train", "test")[:shards]:
        two_labels(tmp_path / f"data/{split}-00000-of-00001.parquet")
    path = tmp_path if shards == 2 else tmp_path / "data/train-00000-of-00001.parquet"
    assert_dataset_refused(
        path, "img, fine_label, coarse_label", "--label fine_label", "--label coarse_label"
    )
    assert [column["name"] for column in label_columns(path)] == ["fine_label", "coarse_label"], (
        "the app asks as well"
    )
    for label, classes in (("fine_label", ("0", "1", "2", "3")), ("coarse_label", ("0", "1"))):
        assert open_dataset(path, label=label).classes == classes


def test_the_only_class_column_of_hugging_face_needs_no_question(tmp_path):
    path = two_labels(tmp_path / "a.parquet", classes=("p", "q", "r", "s"))
    assert open_dataset(path).classes == ("p", "q", "r", "s") and label_columns(path) == []
    coarse = two_labels(tmp_path / "b.parquet", classes=("x", "y"), column="coarse_label")
    assert open_dataset(coarse, label="fine_label").classes == ("0", "1", "2", "3"), "names of another column"


def picture_parquet(path: Path, rows: int = 20, names: object = ("p", "q"), **columns: list) -> Path:
    """Pictures with columns of the names given; `names` are those of the classes in the metadata."""
    image = [{"bytes": encoded(pixels("dark", row)), "path": None} for row in range(rows)]
    told = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"image": image, **columns}).replace_schema_metadata({"huggingface": json.dumps(told)})
    pq.write_table(table, path)
    return path


TWO = [row % 2 for row in range(20)]


def test_a_test_shard_without_a_column_of_labels_is_left_out_and_said(tmp_path):
    picture_parquet(tmp_path / "train-00000-of-00001.parquet", label=TWO)
    picture_parquet(tmp_path / "test-00000-of-00001.parquet")
    dataset = open_dataset(tmp_path)
    assert dataset.test is None and dataset.classes == ("p", "q")
    assert "Left out test-00000-of-00001.parquet: it has no column 'label'." in dataset.notes


@pytest.mark.parametrize(
    "names",
    [
        ("train-00000-of-00001-1a2b3c4d5e6f7a8b", "test-00000-of-00001-2a2b3c4d5e6f7a8b"),
        ("train/0000", "test/0000"),
        ("data/train-00000-of-00001",),
    ],
    ids=["older versions", "as servers convert", "one shard in data"],
)
def test_shards_are_found_under_every_name_that_hugging_face_gives(tmp_path, names):
    for name in names:
        picture_parquet(tmp_path / f"{name}.parquet", label=TWO)
    (tmp_path / "README.md").write_text("a dataset")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("p", "q") and (dataset.test is not None) == (len(names) == 2)


def test_names_of_classes_may_be_a_table_by_number(tmp_path):
    path = picture_parquet(tmp_path / "a.parquet", names={"0": "cat", "1": "dog"}, label=TWO)
    assert open_dataset(path).classes == ("cat", "dog")


def test_columns_of_lists_beside_pictures_are_left_out_and_said(tmp_path):
    path = picture_parquet(tmp_path / "a.parquet", label=TWO, boxes=[[1, 2]] * 20)
    assert "Ignored what a.parquet holds of lists or tables: boxes." in open_dataset(path).notes


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "Add a column of the classes."),
        ({"label": [[0, 1]] * 20}, "lists or tables in the column label"),
        ({"label": [row + 0.5 for row in TWO]}, "has labels 0.5, 1.5"),
    ],
    ids=["none", "several a row", "between two numbers"],
)
def test_picture_parquet_without_usable_labels_is_refused_in_words_without_paths(tmp_path, columns, words):
    said = assert_dataset_refused(picture_parquet(tmp_path / "a.parquet", **columns), words)
    assert str(tmp_path) not in said and ": ." not in said


@pytest.mark.parametrize("label", [-1, None])
def test_a_test_split_whose_labels_are_minus_one_or_missing_is_left_out(tmp_path, label):
    rows = 30
    image = [{"bytes": encoded(pixels("dark", row)), "path": f"{row}.png"} for row in range(rows)]
    labels = [row % 2 for row in range(20)] + [label] * 10
    splits = ["train"] * 20 + ["test"] * 10
    for named in (False, True):
        table = pa.table({"image": image, "label": labels, "split": splits})
        told = (
            {"info": {"features": {"label": {"names": ["p", "q"], "_type": "ClassLabel"}}}} if named else {}
        )
        pq.write_table(
            table.replace_schema_metadata({"huggingface": json.dumps(told)}), tmp_path / "a.parquet"
        )
        dataset = open_dataset(tmp_path / "a.parquet")
        assert dataset.test is None and any("The test split was not used" in note for note in dataset.notes)


def test_minus_one_is_a_class_where_train_has_it(tmp_path):
    np.savez(
        tmp_path / "a.npz", x_train=np.eye(20), y_train=[1, -1] * 10, x_test=np.eye(20), y_test=[-1] * 20
    )
    assert len(open_dataset(tmp_path / "a.npz").test) == 20


# --- metadata ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"{}\n" * 7_000_000, b"\n" * 20_000_000])
def test_metadata_of_millions_of_empty_rows_is_refused_at_once(tmp_path, data):
    root = write_split_folder(tmp_path)
    (root / "metadata.jsonl").write_bytes(data)
    began = time.monotonic()
    assert_dataset_refused(root, "metadata.jsonl has more than", "one row per picture")
    assert time.monotonic() - began < 3, "the rows were read to their end"


def test_metadata_of_many_csv_rows_is_refused_at_once(tmp_path):
    root = write_split_folder(tmp_path)
    (root / "metadata.csv").write_bytes(b"file_name,label\n" + b",\n" * 5_000_000)
    began = time.monotonic()
    assert_dataset_refused(root, "metadata.csv has more than")
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("file_name;label", "{};{}"),
        ("file_name\tlabel", "{}\t{}"),
        ("filename,label", "{},{}"),
        ("label|path", "{1}|{0}"),
        ("file_name,diagnosis", "{},{}"),
        ("file_name,label", "./{},{}"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_metadata_is_read_with_any_separator_unicode_and_name_of_the_first_column(
    tmp_path, header, line, encoding
):
    write_folder(tmp_path, {"images": 20})
    rows = [line.format(f"images/{row}.png", CLASSES[row % 2]) for row in range(20)]
    (tmp_path / "metadata.csv").write_text("\n".join([header, *rows]), encoding=encoding)
    dataset = open_dataset(tmp_path)
    assert dataset.classes == CLASSES and not list(dataset.train.groups), "the label became a group"


def test_metadata_is_read_as_tables_are(tmp_path):
    write_folder(tmp_path, {"images": 20})
    names = ("caf\u00e9 ", "bar")
    rows = [f"images/{row}.png;{names[row % 2]};{row},5" for row in range(20)]
    text = "\n".join(['file_name;label;"a, b, c, d, e"', *rows])
    (tmp_path / "metadata.csv").write_bytes(text.encode("cp1252"))
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("bar", "caf\u00e9"), "the blank after a label is none of it"
    assert dataset.train.groups["a, b, c, d, e"].isin([row + 0.5 for row in range(20)]).all()
    assert "Windows-1252" in dataset.notes[0] and "decimal comma" in dataset.notes[1]


def test_metadata_that_is_no_table_is_refused_with_its_line(tmp_path):
    write_folder(tmp_path, {"images": 4})
    (tmp_path / "metadata.csv").write_text("file_name,label\nimages/0.png,a\nimages/1.png,a,b\n")
    assert_dataset_refused(tmp_path, "metadata.csv has 3 cells in line 3", "2 names in its header")
    (tmp_path / "metadata.csv").write_text("file_name,label,label\nimages/0.png,a,b\n")
    assert_dataset_refused(tmp_path, "metadata.csv has columns of the same name", "'label' (2 times)")
