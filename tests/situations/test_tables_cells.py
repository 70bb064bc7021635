"""Situations of tables, cell by cell: what is a feature, a number, a word, a label, an id."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest

from influence_core.data import open_dataset
from influence_core.intake.preview import preview
from tests.making.refusals import assert_dataset_refused
from tests.making.written_tables import ROWS, classes, measured, written

RNG = np.random.default_rng(0)


def features_of(path, **columns):
    data = open_dataset(written(path / "t.csv", {**columns, "a": measured(), "label": classes("no", "yes")}))
    return data.encoding.features, " ".join(data.notes)


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("", range(ROWS)),
        ("Unnamed: 0", range(7, ROWS + 7)),
        ("index", np.sort(RNG.choice(10_000, ROWS, replace=False))),
        ("x", range(ROWS)),
        ("x", RNG.permutation(ROWS) + 1),
        ("x", range(0, 10 * ROWS, 10)),
        ("x", np.sort(RNG.choice(4 * ROWS, ROWS, replace=False))),
        ("x", RNG.choice(2 * ROWS, ROWS, replace=False)),
        ("customer_no", RNG.integers(10**15, 10**16, ROWS)),
        ("PassengerId", RNG.choice(10**6, ROWS, replace=False)),
        ("patient_id", ["", *RNG.choice(10**6, ROWS - 1, replace=False)]),
        ("account", RNG.integers(10**15, 10**16, ROWS)),
        ("name", [f"person {row}" for row in range(ROWS)]),
        ("uuid", [f"{value:x}" for value in RNG.integers(2**60, size=ROWS)]),
        ("", [row % 15 for row in range(ROWS)]),
        ("__index_level_0__", RNG.choice(10**6, ROWS, replace=False)),
        ("phone", RNG.integers(2 * 10**9, 9 * 10**9, ROWS)),
        ("patient_id", [f"P{row % 53}" for row in range(ROWS)]),
    ],
)
def test_row_numbers_and_identifiers_are_left_out_and_said(tmp_path, name, cells):
    features, notes = features_of(tmp_path, **{name: list(cells)})
    assert features == ("a",), f"a model learns the order of the file or a name from {name!r}"
    assert "was left out" in notes and (repr(name) in notes or "'Unnamed: 0'" in notes)


def test_a_row_number_that_begins_again_in_each_split_is_left_out(tmp_path):
    split = ["train"] * 40 + ["test"] * 20
    features, notes = features_of(tmp_path, nr=[*range(40), *range(20)], split=split)
    assert features == ("a",) and "'nr' was left out" in notes


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("age", RNG.integers(18, 80, ROWS)),
        ("year", [1990 + row % 30 for row in range(ROWS)]),
        ("income", RNG.integers(20_000, 90_000, ROWS)),
        ("population", RNG.integers(1_000, 10**7, ROWS)),
        ("gdp", [int(value) for value in 10 ** RNG.uniform(9, 14, ROWS)]),
        ("timestamp", 1_700_000_000_000 + RNG.integers(0, 10**10, ROWS)),
        ("shop_id", RNG.integers(1, 6, ROWS)),
        ("number_of_rooms", RNG.integers(1, 9, ROWS)),
        ("education-num", RNG.integers(1, 17, ROWS)),
        ("hour", [row % 24 for row in range(ROWS)]),
        ("feature_rank", RNG.permutation(ROWS)),
    ],
)
def test_measurements_that_look_like_numbering_are_kept(tmp_path, name, cells):
    features, notes = features_of(tmp_path, **{name: list(cells)})
    assert features == (name, "a") and "left out" not in notes


def test_an_id_column_with_an_empty_or_a_repeated_cell_is_no_feature(tmp_path):
    for cells, says in (([*range(1000, 1059), ""], "1 empty cell"), ([5, 5, *range(58)], "more than once")):
        features, notes = features_of(tmp_path, id=cells)
        assert features == ("a",) and says in notes and "'id'" in notes
    features, notes = features_of(tmp_path, id=[5, 6] * 30, sample_id=[f"s{row}" for row in range(ROWS)])
    assert features == ("a",) and "'id' was left out" in notes, "an id became a feature beside sample_id"


def test_labels_and_ids_stay_as_they_are_written(tmp_path):
    ids = [f"{row:05d}" for row in range(ROWS)]
    data = open_dataset(
        written(tmp_path / "t.csv", {"id": ids, "a": measured(), "label": classes("007", "070", "7")})
    )
    assert data.classes == ("007", "070", "7"), "text was read as a number"
    assert sorted([*data.train.ids, *data.val.ids]) == ids
    assert "look alike" in " ".join(data.notes) and "'007' (20 samples), '7' (20 samples)" in " ".join(
        data.notes
    )


def test_classes_called_like_missing_values_are_classes(tmp_path):
    names = ("NA", "None", "nan", "null")
    data = open_dataset(written(tmp_path / "t.csv", {"a": measured(), "label": classes(*names)}))
    assert data.classes == tuple(sorted(names)) and len(data.train) + len(data.val) == ROWS
    assert "may mean 'no label'" in " ".join(data.notes)


def test_words_for_missing_among_numbers_are_said_and_stay_words_among_words(tmp_path):
    spoiled = ["NA" if row % 10 == 0 else "?" if row % 10 == 5 else str(row % 7) for row in range(ROWS)]
    data = open_dataset(
        written(
            tmp_path / "t.csv", {"a": spoiled, "region": classes("NA", "EU"), "label": classes("n", "n", "y")}
        )
    )
    assert data.encoding.features == ("a", "region=EU", "region=NA")
    assert "'NA' (6)" in " ".join(data.notes) and "'?' (6)" in " ".join(data.notes)
    assert "'NA' count as words, not as missing, in 'region'" in " ".join(data.notes)
    assert sum(data.train.cells["a"].isna()) + sum(data.val.cells["a"].isna()) == 12


@pytest.mark.parametrize(
    ("spelled", "separator", "number"),
    [
        ('"{:,}"', ",", 52_134),
        ("{:_}", ";", 52_134),
        ("{}%", ",", 52_134),
        ("$ {}", ",", 52_134),
        ('"${:,}.00"', ",", 52_134),
        ("({})", ",", -52_134),
        ("{:_}\u00a0€", ",", 52_134),
    ],
)
def test_numbers_written_for_people_are_read_and_said(tmp_path, spelled, separator, number):
    values = [52_134, *range(1_000, 1_000 + 37 * (ROWS - 1), 37)]
    cells = [spelled.format(value).replace("_", "'") for value in values]
    if "(" in spelled:
        cells[1:] = map(str, values[1:])
    path = written(tmp_path / "t.csv", {"a": cells, "b": measured(), "label": classes("n", "y")}, separator)
    data = open_dataset(path)
    assert data.encoding.features == ("a", "b") and "'a' was read as numbers" in " ".join(data.notes)
    cells = {**data.train.cells["a"], **data.val.cells["a"]}
    assert cells["0"] == number, "a number is read as another one"


def test_decimal_commas_are_read_by_the_whole_file(tmp_path):
    columns = {
        "a": [value.replace(".", ",") for value in measured()],
        "b": [
            f"{1.5 * row + 1_000:,.2f}".replace(",", "x").replace(".", ",").replace("x", ".")
            for row in range(ROWS)
        ],
        "c": [f"{1_127 + row * row % 59:,}".replace(",", ".") for row in range(ROWS)],
        "label": classes("n", "y"),
    }
    data = open_dataset(written(tmp_path / "t.csv", columns, ";"))
    cells = pd.concat([data.train.cells, data.val.cells]).loc["0"]
    assert cells["a"] == float(measured()[0]) and cells["b"] == 1000 and cells["c"] == 1127


def test_numbers_that_can_be_read_in_two_ways_are_asked_about(tmp_path):
    columns = {
        "a": [f"{row},{row * 7 + 100}" for row in range(1, ROWS + 1)],
        "b": classes("u", "v"),
        "label": classes("n", "y"),
    }
    data = open_dataset(written(tmp_path / "t.tsv", columns, "\t"))
    assert "'1,107' is 1.107 or 1107" in " ".join(data.notes) and "a" not in data.encoding.features


@pytest.mark.parametrize("cell", ["{} kg", "{}€ or {}$", "about {}"])
def test_numbers_in_a_spelling_that_is_not_read_are_left_out_as_such(tmp_path, cell):
    cells = [cell.format(value, value).replace("about ", "~") for value in measured(1, 200)]
    data = open_dataset(
        written(tmp_path / "t.csv", {"a": cells, "b": measured(2, 200), "label": classes("n", "y", rows=200)})
    )
    assert data.encoding.features == ("b",)
    assert "numbers in a spelling that is not read, such as" in " ".join(data.notes), "called free text"


def test_truths_beside_empty_cells_are_those_of_whole_columns(tmp_path):
    for cells in (classes("TRUE", "false"), classes("True", "", "FALSE")):
        features, _ = features_of(tmp_path, b=cells)
        assert [word for word in features if "missing" not in word] == ["b=False", "b=True", "a"]


def test_a_table_whose_columns_are_all_left_out_says_why(tmp_path):
    cells = [value.replace(".", "," if row % 2 else ".") for row, value in enumerate(measured(rows=300))]
    path = written(tmp_path / "t.csv", {"a": cells, "label": classes("n", "y", rows=300)}, ";")
    assert_dataset_refused(
        path, "no column to learn from", "Column 'a' holds", "in a spelling that is not read"
    )


def test_a_slip_in_a_column_of_numbers_is_named(tmp_path):
    cells = [*measured(1, 199), "abc"]
    data = open_dataset(
        written(tmp_path / "t.csv", {"a": cells, "b": measured(2, 200), "label": classes("n", "y", rows=200)})
    )
    assert "'abc'" in " ".join(data.notes) and "numbers, but for 1 of" in " ".join(data.notes)


@pytest.mark.parametrize("cell", ["1e300", "-1e38", "inf", "-Infinity", "1e400"])
def test_numbers_that_float32_cannot_hold_are_named_by_row_and_column(tmp_path, cell):
    cells = measured()
    cells[7] = cell
    path = written(tmp_path / "t.csv", {"a": cells, "b": measured(1), "label": classes("n", "y")})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_dataset_refused(path, "1 of 60 samples", "7 (holds ", "in column 'a'", "skip_unreadable=True")
        described = preview(path, tmp_path / "pixels")
    json.dumps(described, allow_nan=False)
    assert described["counts"] and "column 'a'" in described["skipped"][0]


def test_large_numbers_that_fit_are_standardised_without_overflow(tmp_path):
    cells = ["9e36" if row % 2 else "-9e36" for row in range(ROWS)]
    data = open_dataset(
        written(tmp_path / "t.csv", {"a": cells, "b": measured(1), "label": classes("n", "y")})
    )
    assert np.isfinite(data.encoding.mean).all() and np.isfinite(data.encoding.std).all()


def test_labels_that_look_alike_are_said_once_and_not_merged(tmp_path):
    names = ("No", "NO", "Yes", "yes", "a  b", "a b", "\uff11x", "1x")
    data = open_dataset(
        written(tmp_path / "t.csv", {"a": measured(rows=80), "label": classes(*names, rows=80)})
    )
    assert len(data.classes) == 8, "classes were merged in silence"
    alike = [note for note in data.notes if "look alike" in note]
    assert len(alike) == 4 and "'NO' (10 samples), 'No' (10 samples)" in " ".join(alike)


def test_spaces_around_labels_are_removed_and_said(tmp_path):
    path = written(tmp_path / "t.csv", {"a": measured(), "label": classes('" No"', "No ", "No", "Yes")})
    data = open_dataset(path)
    assert data.classes == ("No", "Yes") and "' No' (15), 'No ' (15), 'No' (15) as 'No'" in " ".join(
        data.notes
    )


def test_a_label_of_one_split_in_another_spelling_names_its_likely_cause(tmp_path):
    labels = [name + "." * (row >= 40) for row, name in enumerate(classes("<=50K", ">50K"))]
    path = written(
        tmp_path / "t.csv", {"a": measured(), "split": ["train"] * 40 + ["test"] * 20, "label": labels}
    )
    assert_dataset_refused(
        path, "'<=50K.' (10 samples)", "another spelling", "write '<=50K.' as '<=50K', '>50K.' as '>50K'"
    )


@pytest.mark.parametrize("none", ["-1", ""])
def test_rows_without_a_label_are_left_out_and_counted(tmp_path, none):
    path = written(tmp_path / "t.csv", {"a": measured(), "label": classes(none, "0", "1", "2")})
    data = open_dataset(path)
    assert data.classes == ("0", "1", "2") and len(data.train) + len(data.val) == 45
    assert "15 rows without a label" in " ".join(data.notes)


def test_words_for_missing_among_labels_that_are_numbers_are_no_label(tmp_path):
    data = open_dataset(written(tmp_path / "t.csv", {"a": measured(), "label": classes("NaN", "0.0", "1.0")}))
    assert data.classes == ("0", "1") and "'NaN' (20 rows) was taken for 'no label'" in " ".join(data.notes)


def test_codes_with_zeros_in_front_are_said(tmp_path):
    features, notes = features_of(tmp_path, zip=classes("01234", "99999", "10115"))
    assert features == ("zip", "a") and "zeros in front, such as 01234" in notes


def test_a_split_without_labels_is_left_out_and_training_without_labels_refused(tmp_path):
    labels = [name if row < 40 else "" for row, name in enumerate(classes("n", "y"))]
    for split, refused in ((["train"] * 40 + ["test"] * 20, False), (["test"] * 40 + ["train"] * 20, True)):
        path = written(tmp_path / "t.csv", {"a": measured(), "split": split, "label": labels})
        if refused:
            assert_dataset_refused(path, "20 of 60 samples have no label")
        else:
            data = open_dataset(path)
            assert data.test is None and "test split was not used: none of its 20 samples" in " ".join(
                data.notes
            )


def test_minus_one_beside_one_is_a_class(tmp_path):
    data = open_dataset(written(tmp_path / "t.csv", {"a": measured(), "label": classes("-1", "1")}))
    assert data.classes == ("-1", "1") and "no label" not in " ".join(data.notes)


def test_minus_one_beside_nought_and_one_is_a_class_that_is_asked_about(tmp_path):
    columns = {"a": measured(), "label": classes("-1", "0", "1")}
    data = open_dataset(written(tmp_path / "t.csv", columns))
    assert data.classes == ("-1", "0", "1"), "the negative ones of -1, 0, 1 were dropped"
    assert "'-1' (20 samples) may mean 'no label'" in " ".join(data.notes)
    columns |= {"split": ["train"] * 40 + ["test"] * 20, "label": [*classes("0", "1", rows=40), *["-1"] * 20]}
    data = open_dataset(written(tmp_path / "t.csv", columns))
    assert data.classes == ("0", "1") and data.test is None and "test split" in " ".join(data.notes)


@pytest.mark.parametrize("name", ["Split", "set"])
def test_a_column_of_split_words_is_the_split_whatever_its_name(tmp_path, name):
    columns = {"a": measured(), "label": classes("n", "y"), name: ["Training"] * 40 + ["test"] * 20}
    data = open_dataset(written(tmp_path / "t.csv", columns))
    assert len(data.test) == 20 and data.encoding.features == ("a",), "the split was learnt from"
    assert f"The splits come from column {name!r}" in " ".join(data.notes)
    path = written(tmp_path / "two.csv", {**columns, "other": columns[name]})
    assert_dataset_refused(path, "several columns of split words", "other")


@pytest.mark.parametrize("cell", ["{} kg", "{:02}.01.2020", "twenty"])
def test_few_words_that_look_like_numbers_are_said_to_be_words(tmp_path, cell):
    cells = [cell.format(row % 25) for row in range(ROWS)] if "{" in cell else [*range(ROWS - 1), cell]
    data = open_dataset(
        written(tmp_path / "t.csv", {"x": cells[::-1], "a": measured(), "label": classes("n", "y")})
    )
    notes = " ".join(data.notes)
    assert "'x' was read as" in notes or "'x' was left out" in notes, "numbers became words in silence"
    cells = ["unknown" if row % 7 == 0 else row for row in range(118)]  # more words than train has
    data = open_dataset(
        written(
            tmp_path / "u.csv", {"x": cells, "a": measured(rows=118), "label": classes("n", "y", rows=118)}
        )
    )
    assert "cells such as 'unknown'" in " ".join(data.notes)


def test_a_row_of_units_or_totals_without_a_label_spoils_no_column(tmp_path):
    cells = ["cm", *measured()[2:], "Total"]
    labels = ["", *classes("n", "y")[2:], ""]
    data = open_dataset(written(tmp_path / "t.csv", {"a": cells, "label": labels}))
    assert data.encoding.features == ("a",) and "2 rows without a label: 1, 60" in " ".join(data.notes)


def test_a_second_label_as_pandas_has_renamed_it_is_no_feature(tmp_path):
    columns = {"a": measured(), "label": classes("n", "y"), "label.1": classes("n", "y")}
    data = open_dataset(written(tmp_path / "t.csv", columns))
    assert data.encoding.features == ("a",) and "'label.1' was left out" in " ".join(data.notes)


def test_words_that_say_unlabelled_are_asked_about(tmp_path):
    path = written(tmp_path / "t.csv", {"a": measured(), "label": classes("n", "y", "unlabeled")})
    notes = preview(path, tmp_path / "pixels")["notes"]
    assert any("'unlabeled' (20 samples) may mean 'no label'" in note for note in notes)


def test_a_plain_table_is_read_as_pandas_reads_it(tmp_path):
    frame = pd.DataFrame(
        {
            "whole": RNG.integers(0, 9, 200),
            "real": RNG.normal(size=200),
            "gaps": np.where(RNG.random(200) < 0.2, np.nan, RNG.normal(size=200)),
            "truth": RNG.random(200) < 0.5,
            "word": RNG.choice(["cook", "clerk", "smith"], 200),
            "large": RNG.integers(0, 2**62, 200) // 7_919 * 7_919,
            "label": RNG.choice(["no", "yes"], 200),
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = open_dataset(tmp_path / "t.csv")
    cells = pd.concat([data.train.cells, data.val.cells])
    cells = cells.loc[sorted(cells.index, key=int)].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        cells, pd.read_csv(tmp_path / "t.csv").drop(columns="label"), check_exact=True
    )
