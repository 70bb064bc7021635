"""Situations of tables, file by file: containers, separators, encodings, headers, and what is exported again."""

import gzip
import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from influence_core.data import open_dataset
from influence_core.data.readers.table_files import SUFFIXES
from influence_core.intake.preview import preview
from influence_core.intake.uploads import TABLES
from influence_core.system.safe_tables import read_csv, write_csv, write_parquet
from tests.making.pictures import write_folder
from tests.making.refusals import assert_dataset_refused
from tests.making.written_tables import classes, measured, written

PLAIN = {"a": measured(), "b": measured(1), "label": classes("n", "y")}
TEXT = "".join(",".join(row) + "\n" for row in [list(PLAIN), *zip(*PLAIN.values(), strict=True)])


def is_plain(data) -> bool:
    cells = pd.concat([data.train.cells, data.val.cells])
    return (
        data.classes == ("n", "y")
        and list(cells) == ["a", "b"]
        and cells.loc["0", "a"] == float(measured()[0])
    )


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".csv.gz"])
def test_separators_are_recognised_under_every_suffix(tmp_path, suffix, separator):
    text = TEXT.replace(",", separator).encode()
    (tmp_path / f"t{suffix}").write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    data = open_dataset(tmp_path / f"t{suffix}")
    assert is_plain(data) and data.name == "t"


def test_a_separator_inside_text_does_not_mislead(tmp_path):
    words = classes("x, y, z", "p, q", "one|two")
    data = open_dataset(written(tmp_path / "t.csv", {"text": words, **PLAIN}, ";"))
    assert data.encoding.features == ("text=one|two", "text=p, q", "text=x, y, z", "a", "b")
    quoted = [f'"{word}"' for word in words]
    assert open_dataset(written(tmp_path / "q.csv", {"text": quoted, **PLAIN})).encoding == data.encoding


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_recognised_and_a_supposed_one_is_said(tmp_path, encoding):
    path = written(tmp_path / "t.csv", {**PLAIN, "label": classes("gültig", "nein")}, encoding=encoding)
    data = open_dataset(path)
    assert data.classes == ("gültig", "nein")
    said = [note for note in data.notes if "Windows-1252" in note]
    assert bool(said) == (encoding == "cp1252") and all("'gültig' in line 2" in note for note in said)


def test_text_in_no_known_encoding_is_refused_by_its_line(tmp_path):
    (tmp_path / "t.csv").write_bytes(TEXT.encode() + b"1,\x81\xff,n\n")
    assert_dataset_refused(tmp_path / "t.csv", "not UTF-8", "byte 0x81 in line 62", "CSV UTF-8")
    (tmp_path / "t.csv").write_bytes(TEXT.encode("utf-16-le"))
    assert_dataset_refused(tmp_path / "t.csv", "zero byte in line 1", "Save it as UTF-8")


def test_a_row_of_another_length_is_named_by_its_line(tmp_path):
    lines = TEXT.splitlines()
    for line, cells, says in (
        (30, lines[30] + ",extra", "4 cells in line 31"),
        (5, "1,2", "2 cells in line 6"),
    ):
        (tmp_path / "t.csv").write_text("\n".join([*lines[:line], cells, *lines[line + 1 :]]))
        assert_dataset_refused(tmp_path / "t.csv", says, "3 names in its header: a, b, label")
    (tmp_path / "t.csv").write_text("\n".join([*lines[:9], '1,"x,n', *lines[9:]]))
    assert_dataset_refused(tmp_path / "t.csv", "a quote that is never closed", "line 10")
    (tmp_path / "t.csv").write_text("Sales 2024\n" + TEXT)
    assert_dataset_refused(
        tmp_path / "t.csv", "1 cell in its first line, 'Sales 2024'", "remove what stands above"
    )


def test_empty_rows_trailing_separators_and_repeated_headers_are_read_as_meant(tmp_path):
    header, *rows = TEXT.splitlines()
    for text, says in (
        ("\n\n".join([header, *rows]) + "\n,,\n", "1 empty row"),
        ("\n".join([header + ",", *(row + "," for row in rows)]), "1 empty column"),
        ("\n".join([header, *(row + "," for row in rows)]), "1 empty column"),
        ("\n".join([header, *rows[:30], header, *rows[30:]]), "1 repetition of the header"),
        ("sep=,\n" + TEXT, ""),
    ):
        (tmp_path / "t.csv").write_text(text)
        data = open_dataset(tmp_path / "t.csv")
        assert is_plain(data) and says in " ".join(data.notes), f"{text[:40]!r}: {data.notes}"


def test_a_cell_with_the_separator_in_every_row_shifts_no_column(tmp_path):
    path = written(tmp_path / "t.csv", {"a": classes("1,5", "2,5", "3,0"), "label": classes("n", "y")})
    assert_dataset_refused(path, "3 cells in line 2, but 2 names in its header", "in double quotes")


def test_row_names_as_r_writes_them_are_no_feature(tmp_path):
    rows = TEXT.splitlines()
    (tmp_path / "t.csv").write_text(
        "\n".join([rows[0], *(f'"{row}",{cells}' for row, cells in enumerate(rows[1:], 1))])
    )
    data = open_dataset(tmp_path / "t.csv")
    assert is_plain(data) and "as R writes it" in " ".join(data.notes), "values slipped into the next column"


@pytest.mark.parametrize("names", [["label", "a", "label"], ["a", "a ", "label"]])
def test_columns_of_the_same_name_are_refused(tmp_path, names):
    rows = "".join(
        f"{label},{cell},{label}\n" for label, cell in zip(PLAIN["label"], PLAIN["a"], strict=True)
    )
    (tmp_path / "t.csv").write_text(",".join(names) + "\n" + rows)
    assert_dataset_refused(tmp_path / "t.csv", "same name", f"'{names[0]}' (2 times)", "Rename")


def test_columns_that_differ_by_case_are_said(tmp_path):
    data = open_dataset(
        written(tmp_path / "t.csv", {"Age": PLAIN["a"], "age": PLAIN["b"], "label": PLAIN["label"]})
    )
    assert data.encoding.features == ("Age", "age") and "'Age' and 'age'" in " ".join(data.notes)


@pytest.mark.parametrize(
    "columns",
    [
        {"4.9": measured(), "2.1": measured(1), "kind-b": classes("kind-a", "kind-b")},
        {
            "39": range(20, 80),
            "State-gov": classes("State-gov", "Private"),
            "<=50K": classes("<=50K", ">50K"),
        },
        {"p": classes("p", "e"), "x": classes("x", "f"), "s": classes("y", "s")},
    ],
)
def test_a_table_without_a_header_is_refused_and_no_sample_is_lost(tmp_path, columns):
    path = written(tmp_path / "t.csv", columns)
    first = ", ".join(columns)
    for label in (None, list(columns)[-1]):
        assert_dataset_refused(path, "no header", first, "column_1,column_2,label", label=label)
    with pytest.raises(Exception, match="no header"):
        preview(path, tmp_path / "pixels")


@pytest.mark.parametrize(
    "names",
    [
        ["0", "1", "label"],
        ["2019", "2020", "label"],
        ["a", "b", "label"],
        ["0", "1", "2"],
        ["0.1", "0.5", "kind"],
    ],
)
def test_names_that_are_numbers_are_names(tmp_path, names):
    path = written(tmp_path / "t.csv", dict(zip(names, PLAIN.values(), strict=True)))
    assert open_dataset(path, label=names[-1]).encoding.features == tuple(names[:2])


def test_json_lines_keep_text_and_numbers(tmp_path):
    records = [{"a": float(a), "b": None if row == 3 else row % 7, "label": label}
               for row, (a, label) in enumerate(zip(measured(), classes("007", "070"), strict=True))]  # fmt: skip
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    data = open_dataset(tmp_path / "t.jsonl")
    assert data.classes == ("007", "070") and data.encoding.features == ("a", "b")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "label": "x"}\n{"a":,}\n', "line 2: Expecting value at column 6"),
        ('{"a": [1], "label": "x"}\n', "a list or an object in 'a', line 1"),
        ('{"a": 1, "a": 2, "label": "x"}\n', "the key 'a' stands twice"),
        ('[{"a": 1}]\n', "holds a list in line 1"),
        ("[" * 100_000 + "\n", "line 1, is nested too deeply"),
        ('{"a":' * 100_000 + "\n", "line 1, is nested too deeply"),
        ('{"a": "\\ud800", "label": "x"}\n', "line 1, holds half a character"),
        ("{}\n" * 5_000, "begins with 1,000 empty objects"),
        ("", "0 rows"),
    ],
)
def test_lines_that_are_no_samples_are_refused_in_words(tmp_path, text, says):
    (tmp_path / "t.jsonl").write_text(text)
    assert_dataset_refused(tmp_path / "t.jsonl", "t.jsonl", says)


def test_a_spreadsheet_is_read_from_its_first_sheet(tmp_path):
    pytest.importorskip("openpyxl")
    frame = pd.DataFrame(PLAIN).astype({"a": float, "b": float}).assign(label=classes("007", "NA"))
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        frame.to_excel(book, sheet_name="data")
        frame.to_excel(book, sheet_name="copy")
    data = open_dataset(tmp_path / "t.xlsx")
    assert data.classes == ("007", "NA") and data.encoding.features == ("a", "b")
    assert "one of 2 sheets" in " ".join(data.notes) and "numbers the rows" in " ".join(data.notes)


def test_a_hidden_sheet_is_not_the_table(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.sheet_state = "hidden"
    shown = book.create_sheet("shown")
    for row in [list(PLAIN), *zip(*PLAIN.values(), strict=True)]:
        shown.append(row)
    book.save(tmp_path / "t.xlsx")
    data = open_dataset(tmp_path / "t.xlsx")
    assert is_plain(data) and "'shown'; not read: Sheet" in " ".join(data.notes)


def test_parquet_of_lists_or_of_far_more_rows_than_bytes_is_refused(tmp_path):
    frame = pd.DataFrame(PLAIN)
    frame.assign(late=[None] * 5 + [[1, 2]] * (len(frame) - 5)).to_parquet(tmp_path / "t.parquet")
    assert_dataset_refused(tmp_path / "t.parquet", "lists or tables in late")
    pd.DataFrame({"a": np.zeros(3_000_000), "label": np.zeros(3_000_000, np.int8)}).to_parquet(
        tmp_path / "z.parquet"
    )
    assert_dataset_refused(tmp_path / "z.parquet", "z.parquet holds 3,000,000 rows and 2 columns in")


def test_what_is_no_spreadsheet_or_too_large_for_one_is_refused(tmp_path):
    pytest.importorskip("openpyxl")
    (tmp_path / "t.xlsx").write_bytes(b"PK no")
    assert_dataset_refused(tmp_path / "t.xlsx", "is not an Excel file", "CSV (UTF-8)")
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(50_000_000))
    assert_dataset_refused(tmp_path / "t.xlsx", "unpacks to 50,000,000 bytes")


def test_compressed_tables_are_limited_and_damaged_ones_refused(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,label\n" + b"0,0\n" * 8_000_000, 1))
    assert_dataset_refused(tmp_path / "t.csv.gz", "unpacks to more than 20,971,520 bytes")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(TEXT.encode())[:-20])
    assert_dataset_refused(tmp_path / "t.csv.gz", "no whole gzip file")


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_of_tables_is_one_dataset_in_splits(tmp_path, packed):
    folder = tmp_path / "house" / "inner"
    folder.mkdir(parents=True)
    frame = pd.read_csv(io.StringIO(TEXT))
    parts = {"train.csv": frame[:40], "my_test.csv": frame[40:], "sample_submission.csv": frame[["label"]]}
    for name, part in parts.items():
        part.to_csv(folder / name)
    path = tmp_path / "house"
    if packed:
        with zipfile.ZipFile(tmp_path / "house.zip", "w") as archive:
            for name in parts:
                archive.write(folder / name, f"inner/{name}")
        path = tmp_path / "house.zip"
    data = open_dataset(path)
    assert data.encoding.features == ("a", "b") and len(data.test) == 20 and data.test.ids[0] == "test-0"
    assert preview(path, tmp_path / "pixels")["counts"]["test"] == [10, 10]


def test_a_part_without_labels_is_left_out_and_one_with_other_columns_refused(tmp_path):
    frame = pd.read_csv(io.StringIO(TEXT))
    frame[:40].to_csv(tmp_path / "train.csv", index=False)
    frame[40:].drop(columns="label").to_csv(tmp_path / "test.csv", index=False)
    data = open_dataset(tmp_path)
    assert data.test is None and "test.csv has no column 'label'" in " ".join(data.notes)
    frame[40:].drop(columns="b").to_csv(tmp_path / "test.csv", index=False)
    assert_dataset_refused(tmp_path, "test.csv lacks b", "Give all parts the same columns")
    frame.to_csv(tmp_path / "one.csv", index=False)
    (tmp_path / "train.csv").rename(tmp_path / "other.csv")
    assert_dataset_refused(tmp_path, "several tables", "one.csv", "train.csv, val.csv and test.csv")


def test_a_folder_of_parquet_tables_is_one_dataset_in_splits(tmp_path):
    frame = pd.read_csv(io.StringIO(TEXT))
    frame[:40].to_parquet(tmp_path / "train.parquet")
    frame[40:].to_parquet(tmp_path / "test.parquet")
    assert len(open_dataset(tmp_path).test) == 20
    (tmp_path / "test.parquet").unlink()
    frame[40:].to_csv(tmp_path / "test.csv", index=False)
    assert_dataset_refused(tmp_path, "of two kinds", "files of one kind")


def test_the_upload_door_takes_every_table_that_is_read():
    assert sorted(TABLES) == sorted(SUFFIXES)


NASTY = [
    "NA",
    "None",
    "null",
    "nan",
    "True",
    "1e5",
    "=x",
    "-inf",
    "'NA",
    "''=x",
    "a,b",
    'say "x"',
    "a\nb",
    "a\r\nb",
]
NASTY += ["\U0001f600", "007", "+1", "@x", "#N/A", "<NA>", " x", "x ", "", "\tx"]
WRITABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(NASTY), WRITABLE), min_size=1, max_size=8))
def test_exported_names_read_back_identically(names):
    frame = pd.DataFrame(
        {"sample_id": [f"{row:03d}-{name}" for row, name in enumerate(names)], "label": names}
    )
    target, exact = io.BytesIO(), io.BytesIO()
    write_csv(frame, target)
    back = read_csv(io.StringIO(target.getvalue().decode(), newline=""))
    assert back["label"].tolist() == names and back["sample_id"].tolist() == frame["sample_id"].tolist()
    write_parquet(frame, exact)
    assert pd.read_parquet(io.BytesIO(exact.getvalue()))["label"].tolist() == names


def test_an_exported_folder_of_pictures_keeps_its_labels(tmp_path):
    names = ["NA", "nan", "None", "=x", "-inf", "a,b", 'say "x"', "007", "1e5"]
    write_folder(tmp_path, {"all": 4 * len(names)})
    files = [f"all/{number}.png" for number in range(4 * len(names))]
    table = pd.DataFrame({"file_name": files, "label": names * 4, "group": names * 4})
    write_csv(table, tmp_path / "metadata.csv")
    data = open_dataset(tmp_path)
    assert data.classes == tuple(sorted(names)), "a label is read with its apostrophe, or lost"
    assert set(data.train.groups["group"].astype(str)) == set(names)


def test_plain_pandas_loses_no_name_of_an_export(tmp_path):
    names = [name for name in NASTY if name]
    write_csv(pd.DataFrame({"label": names}), tmp_path / "labels.csv")
    labels = pd.read_csv(tmp_path / "labels.csv")["label"]
    assert labels.notna().all() and labels.nunique() == len(names), (
        "a class is lost when pandas reads our labels"
    )
    guarded = {name for name, label in zip(names, labels, strict=True) if label != name}
    assert guarded == {"NA", "None", "null", "nan", "=x", "-inf", "'NA", "''=x", "@x", "#N/A", "<NA>", "\tx"}
    text = pd.read_csv(tmp_path / "labels.csv", dtype=str, keep_default_na=False)["label"]
    assert [
        label if name in guarded else name for name, label in zip(names, text, strict=True)
    ] == text.tolist()
