"""Laws of tables: cells become the same numbers for every split and for the model; nothing is dropped in silence."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import influence_core as ic
from influence_core.data import open_dataset
from influence_core.errors import DataError
from influence_core.inputs.facts import in_model_format
from influence_core.models import OpenedModel, build_network, open_model, save_model, table_preprocessing
from influence_core.training.train import accuracy
from tests.making.maps import NoMap

ADULT = Path(__file__).parents[3] / "sample_data" / "adult"


def table(n: int = 60, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, n).astype(float),
            "job": rng.choice(["cook", "clerk", "smith"], n),
            "member": rng.random(n) < 0.5,
            "label": rng.choice(["no", "yes"], n),
            "split": ["train"] * (n - 20) + ["val"] * 10 + ["test"] * 10,
        }
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_goes_in_comes_out(tmp_path, suffix):
    frame = table()
    path = tmp_path / f"people{suffix}"
    (frame.to_csv if suffix == ".csv" else frame.to_parquet)(path, index=False)
    data = open_dataset(path)
    assert data.encoding.features == (
        "age",
        "job=clerk",
        "job=cook",
        "job=smith",
        "member=False",
        "member=True",
    )
    assert data.classes == ("no", "yes") and data.notes == ()
    assert data.train.ids == tuple(str(row) for row in range(40))
    for samples, rows in ((data.train, frame[:40]), (data.val, frame[40:50]), (data.test, frame[50:])):
        inputs, labels = samples.batch(range(len(samples)))
        assert inputs[:, 0].tolist() == rows["age"].tolist()
        assert (inputs[:, 3] == torch.tensor((rows["job"] == "smith").to_numpy())).all()
        assert [data.classes[label] for label in labels] == rows["label"].tolist()
        assert samples.groups["job"].tolist() == rows["job"].tolist(), "words can be compared as groups"
        assert samples.cells["age"].tolist() == rows["age"].tolist()
    assert set(data.train.groups) == {"job", "member"}, "numbers are no groups"


def test_the_encoding_is_fitted_on_train_alone(tmp_path):
    frame = table()
    frame.loc[45, ["age", "job"]] = [1e6, "astronaut"]
    frame.loc[3, "age"] = np.nan
    frame.loc[4, "job"] = None
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = open_dataset(tmp_path / "t.csv")
    known = frame[:40]["age"]
    assert "job=astronaut" not in data.encoding.features and "job=(missing)" in data.encoding.features
    inputs, _ = data.train.batch(range(40))
    assert inputs[3, 0] == known.median() and inputs.isfinite().all()
    assert data.encoding.mean == pytest.approx(inputs.double().mean(0).tolist()), (
        "a mean that knows validation rows"
    )
    unknown, _ = data.val.batch([5])
    assert unknown[0, 1:5].sum() == 0, "a word that train does not hold is no other word"
    assert data.train.groups["job"].isna().sum() == 1


def test_columns_that_cannot_be_learned_from_are_left_out_and_said(tmp_path):
    frame = table(400)
    frame["name"] = [f"person {row}" for row in range(400)]
    frame["empty"] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = open_dataset(tmp_path / "t.csv")
    assert "name" not in " ".join(data.encoding.features) and "name" not in data.train.groups
    assert "Column 'name' holds 380 different words on train" in " ".join(data.notes)
    assert "Column 'empty' is empty" in " ".join(data.notes)


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        (lambda f: f.drop(columns="label"), {}, "no column called label; its columns are age, job"),
        (lambda f: f, {"label": "income"}, "no column called income"),
        (lambda f: f.assign(label=np.linspace(0, 1, len(f))), {}, "measurements in the label column"),
        (lambda f: f[["label", "split"]], {}, "no column beside the label"),
        (lambda f: f.assign(age=np.inf), {}, "holds infinity"),
        (lambda f: f.assign(label=None), {}, "have no label"),
        (lambda f: f[:0], {}, "0 rows"),
    ],
)
def test_a_table_that_would_be_read_wrongly_is_refused_in_one_sentence(tmp_path, change, options, says):
    change(table()).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=says):
        open_dataset(tmp_path / "t.csv", **options)


def test_another_label_column_ids_and_a_carved_split(tmp_path):
    frame = table().rename(columns={"label": "income"}).drop(columns="split")
    frame.insert(0, "id", [f"p{row}" for row in range(len(frame))])
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = open_dataset(tmp_path / "t.csv", label="income")
    assert data.train.ids[0].startswith("p") and "id" not in data.encoding.features
    assert len(data.val) == 9 and "set aside" in data.notes[0]


def test_a_model_meets_the_numbers_it_was_trained_on_also_in_another_table(tmp_path):
    """A repaired table has other words and medians; the model must not notice."""
    table().to_csv(tmp_path / "t.csv", index=False)
    data = open_dataset(tmp_path / "t.csv")
    expects = table_preprocessing(data.encoding)
    network = build_network("logistic", classes=2, channels=expects.channels, size=None)
    model = OpenedModel(network, classes=data.classes, preprocessing=expects, architecture="logistic")
    save_model(model, tmp_path / "model.safetensors")
    opened = open_model(tmp_path / "model.safetensors")
    assert opened.fingerprint == model.fingerprint and opened.preprocessing == expects
    fewer = table()
    fewer = fewer[fewer["job"] != "cook"]
    fewer.to_csv(tmp_path / "fewer.csv", index=False)
    other = open_dataset(tmp_path / "fewer.csv")
    assert other.encoding != data.encoding
    ours = [row for row, job in enumerate(data.train.cells["job"]) if job != "cook"]
    theirs, _ = in_model_format(other.train, opened).batch(range(len(other.train)))
    assert torch.equal(theirs, data.train.batch(ours)[0])
    fewer.drop(columns="age").to_csv(tmp_path / "less.csv", index=False)
    with pytest.raises(DataError, match="no column 'age', which the model was trained on"):
        in_model_format(open_dataset(tmp_path / "less.csv").train, opened)


def test_adult_is_what_its_readme_says():
    data = open_dataset(ADULT)
    model = open_model(ADULT)
    assert (len(data.train), len(data.val), len(data.test)) == (6000, 2000, 2000)
    assert data.classes == model.classes == ("<=50K", ">50K")
    assert set(data.train.groups["sex"]) == {"Female", "Male"} and data.train.groups["race"].nunique() == 5
    scores = [round(accuracy(model, samples), 3) for samples in (data.train, data.val, data.test)]
    assert scores == pytest.approx([0.870, 0.852, 0.837], abs=0.002)
    assert sum(path.stat().st_size for path in ADULT.iterdir() if path.is_file()) < 400_000


def test_a_table_goes_the_whole_way_to_a_run(tmp_path):
    frame = table(120).assign(split=["train"] * 60 + ["val"] * 40 + ["test"] * 20)
    frame["job"] = ["cook"] * 100 + ["clerk"] * 20  # one value on the validation samples
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = open_dataset(tmp_path / "t.csv")
    expects = table_preprocessing(data.encoding)
    torch.manual_seed(0)
    network = build_network("mlp", classes=2, channels=expects.channels, size=None)
    model = OpenedModel(network, classes=data.classes, preprocessing=expects, architecture="mlp")
    asked = ["utility", "utility:class", "fairness:job", "fairness:member:demographic_parity"]
    options = {"objectives": asked, "source": data, "drawing": NoMap()}
    run = ic.analyze(model, data.train, data.val, test=data.test, out=tmp_path / "run", **options)
    facts = run.description["objectives"]
    assert set(facts) == {"utility", "utility_no", "utility_yes", "fairness_member_demographic_parity"}
    assert any("Influence on 'fairness_job' was left out" in note for note in run.description["notes"])
    gap = facts["fairness_member_demographic_parity"]
    assert (
        gap["low"] <= gap["value"]
        and gap["present"] in (True, False)
        and set(gap["groups"]) == {"True", "False"}
    )
    words = run.column("influence_fairness_member_demographic_parity")
    assert "raises the member gap in predicted share of class yes (demographic parity)" in words.meaning
    assert run.table("validation")["predicted"].isin(["no", "yes"]).all() and len(run.table("test")) == 20
