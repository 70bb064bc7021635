"""Files made to do harm: refused in words or read right, at the app's door and at the command's, at little cost."""

import gzip
import io
import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from influence_core.data import open_dataset
from influence_core.errors import ModelError
from influence_core.models import OpenedModel, Preprocessing, build_network, open_model, save_model
from tests.making.hostile_files import DATA, FAILED, MODELS, Write, directory_alone
from tests.making.pictures import write_folder, write_split_folder
from tests.making.refusals import assert_dataset_refused

ROOT = Path(__file__).parents[2]
SECONDS, MEGABYTES = 10, 1_000
PHOTO = (4_000, 3_000)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A folder of weights and model.json for two classes, and small pictures of these."""
    folder = tmp_path_factory.mktemp("weights")
    write_split_folder(folder / "toys")
    how = Preprocessing(channels=1, size=(8, 8), mean=(0.5,), std=(0.5,))
    network = build_network("logistic", classes=2, channels=1, size=(8, 8))
    model = OpenedModel(network, classes=("bright", "dark"), preprocessing=how, architecture="logistic")
    save_model(model.eval(), folder / "model.safetensors")
    return folder


def written(files: dict[str, Write], folder: Path) -> dict[str, Path]:
    """Write each of the files into a folder of its own."""
    paths = {}
    for number, (name, write) in enumerate(files.items()):
        (folder / str(number)).mkdir(parents=True)
        paths[name] = write(folder / str(number))
    return paths


def tried(weights: Path, tries: list[tuple[str, str, Path]]) -> list[dict]:
    """Open each path (door, name, path) at its door; what it cost and what was said."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.making.two_doors",
            str(weights),
            *(f"{door}={path}" for door, _, path in tries),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [{"name": name} | one for (_, name, _), one in zip(tries, found, strict=True)]


def at_both(paths: dict[str, Path]) -> list[tuple[str, str, Path]]:
    return [(door, name, path) for name, path in paths.items() for door in ("app", "check")]


def faults(tries: list[dict]) -> list[str]:
    """What was too dear, left files, crashed, or said nothing that helps."""
    found = []
    for one in tries:
        said = one["said"].replace("'/tmp/evil.png'", "")
        wrong = {
            "seconds": one["cpu"] > SECONDS,
            "memory": one["mb"] > MEGABYTES,
            "files left": bool(one["left"]),
            "crash": one["code"] not in (0, 1) or "Traceback" in said,
            "no words": one["code"] == 1 and len(said) < 40,
            "a path of the server": one["code"] == 1 and "/tmp/" in said,
        }
        found += [f"{one['name']}: {fault}: {one}" for fault, bad in wrong.items() if bad]
    return found


@pytest.fixture(scope="module")
def quick(weights, tmp_path_factory) -> list[dict]:
    """All quick tries, in one process: importing everything costs as much as a dozen of them."""
    folder = tmp_path_factory.mktemp("files")
    data = written({name: DATA[name] for name in DATA if name in FAILED}, folder / "data")
    models = written(MODELS, folder / "models")
    few, many = (photos(folder / f"photos{count}", count) for count in (6, 18))
    tries = [*at_both(data), *(("weights", name, path) for name, path in models.items())]
    return tried(weights, [*tries, ("app", "few photos", few), ("app", "many photos", many)])


def test_what_an_earlier_version_could_not_bear(quick):
    tries = [one for one in quick if one["name"] in FAILED]
    assert len(tries) == 2 * len(FAILED) and not faults(tries)


def test_a_model_json_of_a_stranger_allocates_nothing(quick):
    assert not faults([one for one in quick if one["name"] in MODELS])


@pytest.mark.slow
def test_every_file_made_to_do_harm(weights, tmp_path):
    assert len(DATA) + len(MODELS) >= 80
    assert not faults(tried(weights, at_both(written(DATA, tmp_path))))


def test_a_row_said_to_be_the_billionth_of_a_sheet_ends(tmp_path):
    """openpyxl gives every row above it: 1 kB kept a processor busy for minutes."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [("age", "label"), *[(number % 7, "yn"[number % 2]) for number in range(40)]]:
        book.active.append(row)
    book.save(tmp_path / "whole.xlsx")
    last = b'<row r="1000000000"><c r="A1000000000"><v>1</v></c></row></sheetData>'
    with (
        zipfile.ZipFile(tmp_path / "whole.xlsx") as whole,
        zipfile.ZipFile(tmp_path / "a.xlsx", "w") as changed,
    ):
        for name in whole.namelist():
            changed.writestr(name, whole.read(name).replace(b"</sheetData>", last))
    began = time.process_time()
    dataset = open_dataset(tmp_path / "a.xlsx")
    assert len(dataset.train) + len(dataset.val) == 40 and time.process_time() - began < SECONDS


def test_directories_of_millions_of_entries_are_refused_whatever_their_suffix(tmp_path, monkeypatch):
    """zipfile makes an object of 700 bytes of each entry: two million took 1.3 GB."""
    monkeypatch.setattr("influence_core.data.readers.needs.SMALL_DIRECTORY", 1)
    monkeypatch.setattr("influence_core.data.readers.needs.MAX_MEMBERS", 5)
    for name in ("a.npz", "a.xlsx"):
        assert_dataset_refused(directory_alone(tmp_path / name, map(str, range(9))), "holds 9 entries")


def test_idx_files_that_unpack_to_a_hundred_times_their_size_are_refused(tmp_path):
    """3 MB unpacked to 3 GB, all of it in memory."""
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(30_000_000)))
    assert_dataset_refused(tmp_path, "unpacks to more than 20,971,520 bytes")


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab29\nsize 12345\n"
MISSED = [
    (LFS, "git lfs pull"),
    ("<!DOCTYPE html><html>Sign in</html>", "a page of the web"),
    ('<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>', "a page of the web"),
]


@pytest.mark.parametrize(("text", "words"), MISSED)
def test_an_address_or_a_page_in_place_of_a_file_is_said(weights, tmp_path, text, words):
    """A clone without Git LFS and a download without a login leave a small text under the right name."""
    names = (
        "a.csv",
        "a.parquet",
        "a.xlsx",
        "a.npz",
        "a.zip",
        "tables/train.csv",
        "shards/train-00000-of-00001.parquet",
    )
    names += tuple(f"pictures/{'ab'[row % 2]}/{row}.png" for row in range(8))
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    write_folder(tmp_path / "listed", {"images": 8})
    (tmp_path / "listed/labels.csv").write_text(text)
    paths = {name.partition("/")[0]: tmp_path / name.partition("/")[0] for name in (*names, "listed")}
    tries = tried(weights, at_both(paths))
    assert len(tries) == 2 * 9 and not (silent := [one for one in tries if words not in one["said"]]), silent
    for name in ("m.pt", "m.safetensors"):
        (tmp_path / name).write_text(text)
        with pytest.raises(ModelError, match=words):
            open_model(tmp_path / name)


def test_missing_and_broken_idx_files_are_named_without_their_folder(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3]) + bytes(12))
    said = assert_dataset_refused(tmp_path, "There is no file train-labels-idx1-ubyte nor")
    (tmp_path / "train-images-idx3-ubyte").rename(tmp_path / "train-images-idx3-ubyte.gz")
    said += assert_dataset_refused(tmp_path, "train-images-idx3-ubyte.gz cannot be read: BadGzipFile")
    assert str(tmp_path.parent) not in said


def photos(folder: Path, count: int) -> Path:
    """So many photos of 12 megapixels that differ in a comment alone."""
    small = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    small.resize(PHOTO, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=80)
    photo = buffer.getvalue()
    for row in range(count):
        target = folder / "ab"[row % 2] / f"{row}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(photo[:2] + b"\xff\xfe\x00\x06%04d" % row + photo[2:])
    return folder


def test_the_memory_of_a_preview_does_not_grow_with_the_photos(quick):
    """Each took 150 MB: 60 photos of a phone were more than most machines have."""
    few, many = (one for one in quick if one["name"].endswith("photos"))
    assert few["code"] == many["code"] == 0, (few, many)
    assert many["mb"] < min(MEGABYTES, few["mb"] + 60), "the preview keeps what it has measured"
