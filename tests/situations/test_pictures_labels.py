"""Labels in a file beside the pictures, as Kaggle, Roboflow, tiny-imagenet, Food-101 and people write them."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from influence_core.data import open_dataset
from influence_core.data.label_choice import label_columns
from influence_core.errors import DataError
from tests.making.pictures import encoded, pixels
from tests.making.refusals import assert_dataset_refused

COFFEE = "caf\u00e9"
PICTURES = {row: encoded(pixels("dark", row)) for row in range(60)}


def label(row: int) -> str:
    return ("ant", "bee")[row % 2]


def write(root: Path, names: Callable[[int], str], rows: range = range(20)) -> list[str]:
    for row in rows:
        file = root / names(row)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(PICTURES[row])
    return [names(row) for row in rows]


def table(file: Path, header: str, line: Callable[[int], str], rows: range = range(20)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([*([header] if header else []), *map(line, rows)]) + "\n", encoding="utf-8")


def assert_right(root: Path, **options):
    """Every sample has the label of its number, which is the last one in its id."""
    dataset = open_dataset(root, **options)
    for part in dataset.parts.values():
        for sample, number in zip(part.ids, part.labels, strict=True):
            row = int("".join(filter(str.isdigit, Path(sample).stem)))
            assert dataset.classes[number] == label(row), f"{sample} is {label(row)}"
    return dataset


# --- one list of all pictures -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("image_id,label", lambda row: f"{row:03},{label(row)}"),
        ("filename,target", lambda row: f"{row:03}.png,{label(row)}"),
        ("path,class", lambda row: f"images/{row:03}.png,{label(row)}"),
        ("file;category", lambda row: f"{row:03}.png;{label(row)}"),
        ("img\tbreed_of_insect", lambda row: f"{row:03}.png\t{label(row)}"),
        ("image,label", lambda row: f"images\\{row:03}.png,{label(row)}"),
        ("image,label", lambda row: f"C:\\data\\toys\\images\\{row:03}.png,{label(row)}"),
        ("image,label", lambda row: f"/kaggle/input/toys/images/{row:03}.PNG, {label(row)} "),
        ("image,label", lambda row: f"other_folder/{row:03}.jpg,{label(row)}"),
        ("id,label,class_id", lambda row: f"{row:03},{label(row)},{row % 2}"),
        ("Class ID,filepaths,labels", lambda row: f"{row % 2},images/{row:03}.png,{label(row)}"),
        ("class_id,name,class_name", lambda row: f"{row % 2},{row:03}.png,{label(row)}"),
        (" filename, ant, bee", lambda row: f"{row:03}.png, {1 - row % 2}, {row % 2}"),
        ("image,ant,bee", lambda row: f"{row:03},{1.0 - row % 2},{float(row % 2)}"),
        ("", lambda row: f"{row:03}.png,{label(row)}"),
    ],
)
@pytest.mark.parametrize("name", ["labels.csv", "annotations/all.csv"])
def test_a_list_beside_the_pictures_gives_their_labels(tmp_path, header, line, name):
    write(tmp_path, lambda row: f"images/{row:03}.png")
    table(tmp_path / name, header, line)
    dataset = assert_right(tmp_path)
    assert dataset.notes[0].startswith(f"Labels come from {name} ("), "the file that was used must be said"


@pytest.mark.parametrize(
    "content",
    [
        {f"{row:03}.png": label(row) for row in range(20)},
        {f"{row:03}": [label(row)] for row in range(20)},
        {"classes": ["ant", "bee"], "labels": {f"{row:03}": row % 2 for row in range(20)}},
        {"labels": [[f"images/{row:03}.png", label(row)] for row in range(20)]},
        [{"file": f"{row:03}.png", "class": label(row), "box": {"x": 1}} for row in range(20)],
        {"info": "toys", "items": [{"file": f"{row:03}.png", "label": label(row)} for row in range(20)]},
        {"file": [f"{row:03}.png" for row in range(20)], "label": [label(row) for row in range(20)]},
        {name: [f"{row:03}" for row in range(20) if label(row) == name] for name in ("ant", "bee")},
        {f"{row:03}.png": {"label": label(row), "site": row % 3} for row in range(20)},
    ],
)
def test_json_beside_the_pictures_gives_their_labels(tmp_path, content):
    write(tmp_path, lambda row: f"images/{row:03}.png")
    (tmp_path / "labels.json").write_text(json.dumps(content))
    assert_right(tmp_path)


def test_json_lines_and_lists_of_names_and_labels_give_the_labels(tmp_path):
    for folder in ("lines", "blanks"):
        write(tmp_path / folder, lambda row: f"{row:03}.png")
    table(
        tmp_path / "lines/data.jsonl",
        "",
        lambda row: json.dumps({"image": f"{row:03}.png", "label": label(row)}),
    )
    table(tmp_path / "blanks/labels.txt", "", lambda row: f"{row:03}.png {label(row)}")
    assert_right(tmp_path / "lines")
    assert_right(tmp_path / "blanks")


def test_labels_stay_text_and_other_columns_become_groups(tmp_path):
    write(tmp_path, lambda row: f"images/{row:03}.png")
    table(
        tmp_path / "l.csv",
        "file,label,site,age",
        lambda row: f"{row:03},{('007', 'NA')[row % 2]},{'xy'[row % 3 == 0]},{row}",
    )
    train = open_dataset(tmp_path).train
    assert train.classes == ("007", "NA") and set(train.groups["site"]) == {"x", "y"}
    assert [int(name[7:10]) for name in train.ids] == train.groups["age"].tolist(), "groups follow the ids"


@pytest.mark.parametrize(
    "header", [",image,label", "index,image_id,label", "id,file,label", "row,path,label"]
)
def test_numbers_of_rows_are_not_taken_for_names_of_pictures(tmp_path, header):
    """Shuffled rows under pandas' index, beside pictures that are called by numbers."""
    write(tmp_path, lambda row: f"images/{row}.png")
    suffix = "" if "image_id" in header else ".png"
    table(tmp_path / "labels.csv", header, lambda row: f"{row},{row * 7 % 20}{suffix},{label(row * 7 % 20)}")
    assert "index" not in assert_right(tmp_path).notes[0]


def test_two_columns_that_name_different_pictures_are_refused(tmp_path):
    write(tmp_path, lambda row: f"images/{row}.png")
    table(tmp_path / "labels.csv", "id,image_id,label", lambda row: f"{row},{row * 7 % 20},{label(row)}")
    assert_dataset_refused(tmp_path, "names other pictures in its column id than in image_id", "suffix")
    table(tmp_path / "labels.csv", "id,image_id,label", lambda row: f"{row},{row},{label(row)}")
    assert_right(tmp_path)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["file,label", "0.png,ant", "1.png,bee,x"], "labels.csv has 3 cells in line 3"),
        (["file,label", '0.png,"ant', "1.png,bee"], "a quote that is never closed"),
        (["# made by a tool", "file,label", "0.png,ant", "1.png,bee"], "1 cell in its first line"),
        (["file,label,label", "0.png,ant,x", "1.png,bee,y"], "columns of the same name: 'label' (2 times)"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_with_its_line(tmp_path, lines, words):
    write(tmp_path, lambda row: f"images/{row}.png", range(2))
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    assert_dataset_refused(tmp_path, "labels.csv cannot be read", words)
    with pytest.raises(DataError, match=r"labels\.csv cannot be read"):
        open_dataset(tmp_path, label="label")


@pytest.mark.parametrize(
    "lines",
    [
        ["sep=;", "file;label"] + [f"{row}.png;{label(row)}" for row in range(20)],
        ['file;label;"a,b,c,d"'] + [f"{row}.png;{label(row)};x" for row in range(20)],
        ['"file","label"'] + [f'"{row + 1}","{row}.png","{label(row)}"' for row in range(20)],
        ["file,label"] + [f"{row}.png,{label(row)}," for row in range(20)],
        ["file,label", *[f"{row}.png,'={label(row)}" for row in range(20)]],
    ],
)
def test_a_list_is_read_as_tables_are(tmp_path, lines):
    """A stated separator, one inside a quoted name, the names of R's rows, ends with a comma, guarded cells."""
    write(tmp_path, lambda row: f"images/{row}.png")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    train = open_dataset(tmp_path).train
    for sample, number in zip(train.ids, train.labels, strict=True):
        assert train.classes[number].removeprefix("=") == label(int(Path(sample).stem))
    assert "'" not in train.classes[0]


def test_birds_classes_numbered_from_one_give_their_order(tmp_path):
    """CUB-200-2011: images.txt numbers the pictures, classes.txt numbers the classes from 1."""
    names = [f"{number:03}.{name}" for number, name in ((1, "Wren"), (2, "Auk"))]
    ids = write(tmp_path, lambda row: f"images/{names[row % 2]}/{row}.jpg")
    (tmp_path / "images.txt").write_text(
        "\n".join(f"{row + 1} {name.removeprefix('images/')}" for row, name in enumerate(ids))
    )
    (tmp_path / "classes.txt").write_text(f"1 {names[0]}\n2 {names[1]}\n")
    assert open_dataset(tmp_path).classes == tuple(names)


def test_numbers_in_classes_txt_that_count_from_one_are_those_of_the_labels(tmp_path):
    write(tmp_path, lambda row: f"images/{row}.png")
    table(tmp_path / "labels.csv", "image,label", lambda row: f"{row},{row % 2 + 1}")
    (tmp_path / "classes.txt").write_text("1 ant\n2 bee\n3 cow\n")
    assert assert_right(tmp_path).classes == ("ant", "bee", "cow")
    table(tmp_path / "labels.csv", "image,label", lambda row: f"{row},{row % 3}")
    assert_dataset_refused(tmp_path, "the labels 0", "the numbers from 1")


def test_a_column_called_split_is_never_passed_over(tmp_path):
    """Else pictures to test with would be trained on, without a word."""
    write(tmp_path, lambda row: f"images/{row}.png")
    line = "{0},{1},{2}".format
    for words, splits in ((("train", "eval"), {"train", "val"}), (("Training", "dev set"), {"train", "val"})):
        table(
            tmp_path / "l.csv",
            "image,label,split",
            lambda row, words=words: line(row, label(row), words[row > 9]),
        )
        assert set(open_dataset(tmp_path).parts) == splits
    table(tmp_path / "l.csv", "image,label,split", lambda row: line(row, label(row), row % 3))
    assert_dataset_refused(tmp_path, "l.csv, column split, names a split '0'")
    table(tmp_path / "l.csv", "image,label,split", lambda row: line(row, label(row), ("train", "")[row % 2]))
    assert_dataset_refused(tmp_path, "name no split")


def test_columns_of_0_and_1_beside_another_are_no_classes(tmp_path):
    write(tmp_path, lambda row: f"images/{row}.png")
    table(
        tmp_path / "l.csv",
        "image,sex,smoker,disease",
        lambda row: f"{row},{row % 3 % 2},{row % 2},{label(row)}",
    )
    assert_dataset_refused(tmp_path, "which of its columns sex, smoker, disease")
    assert_right(tmp_path, label="disease")


def test_names_match_whatever_the_encoding_of_their_accents(tmp_path):
    write(tmp_path / "list", lambda row: f"images/e\u0301{row:03}.png")
    table(tmp_path / "list/labels.csv", "name,label", lambda row: f"\u00e9{row:03}.png,{label(row)}")
    assert_right(tmp_path / "list")
    write(tmp_path / "meta", lambda row: f"images/e\u0301{row:03}.png")
    table(
        tmp_path / "meta/metadata.csv",
        "file_name,label",
        lambda row: f"images\\\u00e9{row:03}.png,{label(row)}",
    )
    assert_right(tmp_path / "meta")


def test_a_list_written_on_windows_is_read_and_that_is_said(tmp_path):
    write(tmp_path, lambda row: f"images/{row:03}.png")
    text = "file;label\n" + "".join(f"{row:03}.png;{(COFFEE, 'bee')[row % 2]}\n" for row in range(20))
    (tmp_path / "labels.csv").write_bytes(text.encode("cp1252"))
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("bee", COFFEE) and any("Windows-1252" in note for note in dataset.notes)
    (tmp_path / "labels.csv").write_bytes(text.encode("utf-16"))
    assert open_dataset(tmp_path).classes == ("bee", COFFEE)


def test_folders_that_only_part_the_pictures_give_way_to_the_list(tmp_path):
    """HAM10000: two folders of pictures, and a table with the diagnoses."""
    write(tmp_path, lambda row: f"part_{row // 10 + 1}/ISIC_{row:03}.png")
    table(
        tmp_path / "HAM_metadata.csv",
        "lesion_id,image_id,dx,age",
        lambda row: f"L{row},ISIC_{row:03},{label(row)},{row}",
    )
    dataset = assert_right(tmp_path)
    assert "HAM_metadata.csv (image_id, dx)" in dataset.notes[0]


# --- splits -----------------------------------------------------------------------------------------------


def test_a_split_column_and_lists_by_split_are_used(tmp_path):
    write(tmp_path / "column", lambda row: f"images/{row:03}.png")
    table(tmp_path / "column/birds.csv", "filepaths,labels,data set",
          lambda row: f"images/{row:03}.png,{label(row)},{('train', 'train', 'valid', 'test')[row // 5]}")  # fmt: skip
    write(tmp_path / "files", lambda row: f"images/{row:03}.png")
    for name, rows in (("train", range(10)), ("val", range(10, 15)), ("test", range(15, 20))):
        table(tmp_path / f"files/{name}.csv", "id,label", lambda row: f"{row:03},{label(row)}", rows)
    for folder in ("column", "files"):
        parts = assert_right(tmp_path / folder).parts
        assert {split: len(part) for split, part in parts.items()} == {"train": 10, "val": 5, "test": 5}, (
            folder
        )


def test_kaggles_train_and_test_with_labels_for_one_of_them(tmp_path):
    """The same names in both folders, a sample_submission.csv whose labels are not true, and no labels for test."""
    for split in ("train", "test"):
        write(tmp_path, lambda row, split=split: f"{split}_images/{row:03}.png")
    table(tmp_path / "train.csv", "id,label", lambda row: f"{row:03}.png,{label(row)}")
    table(tmp_path / "test.csv", "id", lambda row: f"{row:03}.png")
    table(tmp_path / "sample_submission.csv", "id,label", lambda row: f"{row:03}.png,ant")
    dataset = assert_right(tmp_path)
    assert dataset.test is None and any("test split was not used" in note for note in dataset.notes)


def test_kaggles_single_folder_with_a_list_for_each_split(tmp_path):
    write(tmp_path, lambda row: f"images/{row:03}.png")
    table(tmp_path / "train.csv", "image_id,label", lambda row: f"{row:03},{label(row)}", range(14))
    table(tmp_path / "test.csv", "image_id", lambda row: f"{row:03}", range(14, 20))
    dataset = assert_right(tmp_path)
    assert len(dataset.train) + len(dataset.val) == 14 and dataset.test is None


def test_roboflows_one_hot_classes(tmp_path):
    for split, rows in (("train", range(12)), ("valid", range(12, 20))):
        write(tmp_path / split, lambda row: f"{row}.png", rows)
        table(tmp_path / split / "_classes.csv", "filename, ant, bee",
              lambda row: f"{row}.png, {1 - row % 2}, {row % 2}", rows)  # fmt: skip
    assert {split: len(part) for split, part in assert_right(tmp_path).parts.items()} == {
        "train": 12,
        "val": 8,
    }
    table(tmp_path / "train/_classes.csv", "filename, ant, bee", lambda row: f"{row}.png, 1, 1", range(12))
    assert_dataset_refused(tmp_path, "train/_classes.csv gives several labels to 12 pictures")


def test_tiny_imagenet(tmp_path):
    for name in ("n01", "n02"):
        write(tmp_path, lambda row, name=name: f"train/{name}/images/{name}_{row}.JPEG", range(6))
        table(
            tmp_path / f"train/{name}/{name}_boxes.txt",
            "",
            lambda row, name=name: f"{name}_{row}.JPEG\t0\t0\t62\t62",
            range(6),
        )
    write(tmp_path, lambda row: f"val/images/val_{row}.JPEG", range(8))
    table(
        tmp_path / "val/val_annotations.txt",
        "",
        lambda row: f"val_{row}.JPEG\tn0{row % 2 + 1}\t0\t{row}\t62\t62",
        range(8),
    )
    write(tmp_path, lambda row: f"test/images/test_{row}.JPEG", range(8))
    (tmp_path / "wnids.txt").write_text("n02\nn01\n")
    (tmp_path / "words.txt").write_text("n01\tant\nn02\tbee\n")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("n01", "n02") and len(dataset.val) == 8 and dataset.test is None
    assert [int(sample[15:-5]) % 2 for sample in dataset.val.ids] == dataset.val.labels.tolist()


@pytest.mark.parametrize("suffix", ["txt", "json", "both"])
def test_food_101(tmp_path, suffix):
    names = write(tmp_path, lambda row: f"images/{label(row)}/{row}.jpg")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/classes.txt").write_text("ant\nbee\n")
    for split, rows in (("train", range(14)), ("test", range(14, 20))):
        listed = [f"{label(row)}/{row}" for row in rows]
        if suffix != "json":
            (tmp_path / f"meta/{split}.txt").write_text("\n".join(listed))
        if suffix != "txt":
            content = {name: [one for one in listed if one.startswith(name)] for name in ("ant", "bee")}
            (tmp_path / f"meta/{split}.json").write_text(json.dumps(content))
    dataset = assert_right(tmp_path)
    assert len(dataset.test) == 6 and len(dataset.train) + len(dataset.val) == 14 and len(names) == 20
    assert any("Splits come from" in note and "meta/train" in note for note in dataset.notes)


# --- what is refused, or asked ----------------------------------------------------------------------------


def test_files_that_disagree_are_refused_by_name(tmp_path):
    write(tmp_path / "two", lambda row: f"images/{row:03}.png")
    table(tmp_path / "two/a.csv", "file,label", lambda row: f"{row:03},{label(row)}")
    table(tmp_path / "two/b.csv", "file,label", lambda row: f"{row:03},{label(row + 1)}")
    assert_dataset_refused(tmp_path / "two", "a.csv (file, label)", "b.csv (file, label)", "metadata.csv")
    write(tmp_path / "folders", lambda row: f"{label(row)}/{row:03}.png")
    table(tmp_path / "folders/a.csv", "file,label", lambda row: f"{row:03},{label(row + (row == 4))}")
    assert_dataset_refused(tmp_path / "folders", "a.csv (file, label) and the folders", "1 of 20 pictures")
    table(tmp_path / "folders/a.csv", "file,label", lambda row: f"{row:03},{label(row + 1)}")
    assert_dataset_refused(tmp_path / "folders", "a.csv (file, label) and the folders", "20 of 20 pictures")
    table(tmp_path / "folders/a.csv", "file,label", lambda row: f"{row:03},{(row + (row == 4)) % 2}")
    assert_dataset_refused(tmp_path / "folders", "a.csv (file, label) and the folders")
    table(tmp_path / "folders/a.csv", "file,label", lambda row: f"{row:03},{row % 2}")
    assert assert_right(tmp_path / "folders").classes == ("ant", "bee"), (
        "numbers that only rename the folders"
    )
    table(tmp_path / "folders/a.csv", "file,label", lambda row: f"{row:03},{label(row)}")
    table(tmp_path / "folders/b.csv", "file,weather", lambda row: f"{row:03},{('wet', 'dry')[row % 3 == 0]}")
    table(tmp_path / "folders/c.csv", "file,scene", lambda row: f"{row:03},{('in', 'out')[row % 5 == 0]}")
    assert_right(tmp_path / "folders")


def test_a_column_of_labels_that_is_not_clear_is_asked_for(tmp_path):
    write(tmp_path, lambda row: f"images/{row:03}.png")
    table(tmp_path / "list.csv", "file,kind,place", lambda row: f"{row:03},{label(row)},{'xyz'[row % 3]}")
    assert_dataset_refused(tmp_path, "list.csv names the pictures", "kind, place", "--label kind")
    assert {column["name"] for column in label_columns(tmp_path)} == {"kind", "place"}, "the app asks as well"
    assert "site" not in assert_right(tmp_path, label="kind").train.groups
    assert_dataset_refused(tmp_path, "called colour", "list.csv has kind, place", label="colour")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "instances.json",
            json.dumps({"images": [{"file_name": f"{row:03}.png"} for row in range(10)], "annotations": []}),
            "boxes",
        ),
        ("tags.json", json.dumps({f"{row:03}.png": ["ant", "bee"] for row in range(20)}), "several labels"),
        (
            "tags.csv",
            "file,labels\n" + "".join(f"{row:03}.png,{('ant', 'ant|bee')[row % 2]}\n" for row in range(20)),
            "several labels",
        ),
        (
            "boxes.csv",
            "filename,class,xmin,ymin\n"
            + "".join(f"{row // 2:03}.png,{label(row)},1,2\n" for row in range(20)),
            "boxes",
        ),
        (
            "twice.csv",
            "file,label\n" + "".join(f"{row // 2:03}.png,{label(row)}\n" for row in range(20)),
            "several labels",
        ),
    ],
)
def test_lists_of_boxes_and_of_several_labels_are_refused_in_words(tmp_path, name, text, words):
    write(
        tmp_path,
        lambda row: f"images/{row:03}.png",
        range(20 if name.startswith("t") and name != "twice.csv" else 10),
    )
    (tmp_path / name).write_text(text)
    assert_dataset_refused(tmp_path, name, words, "one label per picture")


def test_pictures_that_the_list_lacks_are_refused_and_names_without_picture_are_said(tmp_path):
    write(tmp_path, lambda row: f"images/{row:03}.png")
    table(tmp_path / "labels.csv", "file,label", lambda row: f"{row:03},{label(row)}", range(30))
    assert any(
        "labels.csv names 10 pictures more that are not here" in note for note in assert_right(tmp_path).notes
    )
    table(tmp_path / "labels.csv", "file,label", lambda row: f"{row:03},{label(row)}", range(18))
    assert_dataset_refused(tmp_path, "2 of 20 pictures have no label: images/018.png, images/019.png")


def test_boxes_beside_each_picture_are_named(tmp_path):
    write(tmp_path, lambda row: f"images/{row:03}.png")
    for suffix in ("xml", "txt"):
        for row in range(20):
            table(tmp_path / f"labels/{row:03}.{suffix}", "", lambda _: "0 0.1 0.2 0.3 0.4", range(1))
        assert_dataset_refused(tmp_path, f"A .{suffix} file beside each picture lists objects with boxes")


def test_celeba_asks_which_attribute_and_never_takes_the_partition(tmp_path):
    write(tmp_path, lambda row: f"img_align/{row:03}.png")
    table(
        tmp_path / "list_attr.csv",
        "image_id,Smiling,Young",
        lambda row: f"{row:03}.png,{1 - 2 * (row % 2)},{1 - 2 * (row % 3 == 0)}",
    )
    table(tmp_path / "list_eval_partition.csv", "image_id,partition", lambda row: f"{row:03}.png,{row // 7}")
    assert_dataset_refused(tmp_path, "list_attr.csv names the pictures", "Smiling, Young", "--label Smiling")
    assert open_dataset(tmp_path, label="Smiling").classes == ("-1", "1")


def test_other_files_beside_classes_change_nothing(tmp_path):
    write(tmp_path, lambda row: f"{label(row)}/{row:03}.png")
    for name, header in (
        ("predictions.csv", "file,label"),
        ("sizes.csv", "file,width"),
        ("notes.txt", "some words"),
    ):
        table(tmp_path / name, header, lambda row: f"{row:03},{label(row + 1)}")
    write(tmp_path, lambda row: f"{label(row)}/{row}.png", range(20, 60))
    (tmp_path / "class_indices.json").write_text(
        json.dumps({f"{row}": f"name {row}" for row in range(20, 24)})
    )
    (tmp_path / "broken.json").write_text("{" * 10_000)
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 20)
    dataset = assert_right(tmp_path)
    assert len(dataset.notes) == 1 and not list(dataset.train.groups), dataset.notes


def test_the_answers_of_a_judge_are_never_read_as_labels(tmp_path):
    """truth.csv beside the pictures, or beside a table, names what is right; an analysis that read it would cheat."""
    write(tmp_path / "pictures", lambda row: f"{label(row)}/{row:03}.png")
    table(
        tmp_path / "pictures" / "truth.csv",
        "sample_id,label",
        lambda row: f"ant/{row:03}.png,{label(row // 7)}",
    )
    assert assert_right(tmp_path / "pictures").notes[0].startswith("No validation set"), "truth.csv was used"
    table(
        tmp_path / "cells" / "all.csv", "a,label", lambda row: f"{row * row / 7:.3f},{label(row)}", range(40)
    )
    table(
        tmp_path / "cells" / "truth.csv", "sample_id,label", lambda row: f"{row},{label(row // 7)}", range(40)
    )
    assert len(open_dataset(tmp_path / "cells").train) == 34, "truth.csv was taken for a part of the table"


# --- as further datasets lay them out ---------------------------------------------------------------------


def test_a_small_list_of_a_split_counts(tmp_path):
    """EuroSAT: a tenth of the pictures is listed in test.csv."""
    write(tmp_path, lambda row: f"{label(row)}/{row:03}.png")
    for split, rows in {"train": range(16), "validation": range(16, 18), "test": range(18, 20)}.items():
        table(tmp_path / f"{split}.csv", "Filename", lambda row: f"{label(row)}/{row:03}.png", rows)
    assert [len(part) for part in assert_right(tmp_path).parts.values()] == [16, 2, 2]


@pytest.mark.parametrize("name", ["labels.csv", "metadata.csv"])
def test_a_column_is_valid_is_the_split(tmp_path, name):
    write(tmp_path, lambda row: f"{row:03}.png")
    table(tmp_path / name, "file_name,label,is_valid", lambda row: f"{row:03}.png,{label(row)},{row > 13}")
    assert [len(part) for part in assert_right(tmp_path).parts.values()] == [14, 6]


def test_a_list_named_for_a_partition_is_no_label_and_what_is_not_used_of_it_is_said(tmp_path):
    write(tmp_path, lambda row: f"img/{row:03}.png")
    table(tmp_path / "list_eval_partition.txt", "", lambda row: f"{row:03}.png {row % 3}")
    assert_dataset_refused(tmp_path, "have no label")
    lines = [f"{row:03}.png {2 * (row % 2) - 1} {-1 if row % 3 else 1}" for row in range(20)]
    (tmp_path / "list_attr.txt").write_text("\n".join(["20", "bee striped", *lines]))
    assert_dataset_refused(tmp_path, "which of its columns bee, striped")
    dataset = open_dataset(tmp_path, label="bee")
    assert dataset.classes == ("-1", "1")
    assert any("Not used: list_eval_partition.txt" in note for note in dataset.notes)


def test_cocos_categories_without_boxes_are_labels(tmp_path):
    write(tmp_path, lambda row: f"images/{row:03}.png")
    images = [{"id": row, "file_name": f"{row:03}.png"} for row in range(20)]
    said = [{"image_id": row, "category_id": row % 2} for row in range(20)]
    names = [{"id": 0, "name": "ant"}, {"id": 1, "name": "bee"}]
    (tmp_path / "a.json").write_text(json.dumps({"images": images, "annotations": said, "categories": names}))
    assert_right(tmp_path)


def test_the_label_inside_a_record_is_read_and_a_form_that_is_not_known_is_said(tmp_path):
    write(tmp_path, lambda row: f"images/{row:03}.png")
    records = [{"filepath": f"{row:03}.png", "tags": [], "truth": {"label": label(row)}} for row in range(20)]
    (tmp_path / "a.json").write_text(json.dumps({"samples": records}))
    assert_right(tmp_path)
    (tmp_path / "a.json").write_text(
        json.dumps([{"data": {"image": f"/d/{row:03}.png"}} for row in range(20)])
    )
    assert_dataset_refused(tmp_path, "a.json cannot be read: its form is not known", "a .csv with")


@pytest.mark.parametrize("suffix", ["xlsx", "csv.gz", "parquet"])
def test_lists_in_other_files_of_tables_give_the_labels(tmp_path, suffix):
    write(tmp_path, lambda row: f"images/{row:03}.png")
    frame = pd.DataFrame(
        {"file": [f"{row:03}.png" for row in range(20)], "label": list(map(label, range(20)))}
    )
    file = tmp_path / f"labels.{suffix}"
    if suffix == "xlsx":
        frame.to_excel(file, index=False)
    elif suffix == "parquet":
        frame.to_parquet(file)
    else:
        frame.to_csv(file, index=False)
    assert_right(tmp_path)


def test_names_with_blanks_between_blanks_are_read(tmp_path):
    write(tmp_path, lambda row: f"images/my pic {row}.png")
    table(tmp_path / "train.txt", "", lambda row: f"/home/ann/images/my pic {row}.png {label(row)}")
    assert_right(tmp_path)


@pytest.mark.parametrize("empty", ["", "-1", "?"])
def test_pictures_that_are_listed_without_a_label_are_left_out_and_said(tmp_path, empty):
    write(tmp_path, lambda row: f"{row:03}.png")
    table(tmp_path / "l.csv", "file,label", lambda row: f"{row:03}.png,{empty if row < 5 else row % 3}")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("0", "1", "2")
    assert any("Not used: 5 pictures without a label in l.csv" in note for note in dataset.notes)


def test_what_may_hold_the_labels_but_is_not_read_is_named(tmp_path):
    write(tmp_path, lambda row: f"jpg/{row:03}.png")
    (tmp_path / "imagelabels.mat").write_bytes(b"MATLAB")
    assert_dataset_refused(tmp_path, "in imagelabels.mat: that is not read")
    (tmp_path / "train.csv").write_text("a,label\n1,x\n2,y\n")
    assert_dataset_refused(
        tmp_path, "train.csv beside them: no picture is named there", "take the pictures out"
    )
