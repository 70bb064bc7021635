"""Hostile files and texts, as a person would send them: refused, or shown harmlessly."""

import json
import struct
import subprocess
import unicodedata
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from influence_core.data import open_dataset
from influence_core.data.storage.pictures import decode_picture
from influence_core.intake import inspection
from influence_core.system.safe_tables import write_csv
from pages.ui.bring import sheet
from pages.ui.words import formats
from tests.making.pictures import encoded, pixels, write_split_folder, zip_folder
from tests.malicious.caps import assert_refused_cheaply

NASTY = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "javascript:alert(1)",
    '" onmouseover="alert(1)',
    "[click](javascript:alert(1))",
    "![x](http://evil.example/a.png)",
    ":red[x] :material/warning: $x^2$",
    "safe\u202egnp.exe",
    "\u2066hidden\u2069",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)",
)


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for name in names:
            target.writestr(name, encoded(pixels("dark", 0)))
    return path


@pytest.mark.parametrize(
    "names",
    [
        ("train/a/x.png", "train/A/x.png"),
        ("train/a/x.png", "TRAIN/a/X.PNG"),
        (f"a/{unicodedata.normalize('NFC', 'é')}.png", f"a/{unicodedata.normalize('NFD', 'é')}.png"),
        ("a/stra\u00dfe.png", "a/STRASSE.png"),
    ],
)
def test_names_that_are_one_on_other_systems_are_refused(tmp_path, names):
    assert_refused_cheaply(archive(tmp_path / "a.zip", *names), "are one name on some systems")


def test_a_bomb_in_a_bomb_stays_packed(tmp_path):
    with zipfile.ZipFile(tmp_path / "inner.zip", "w", zipfile.ZIP_DEFLATED) as inner:
        inner.writestr("x.png", bytes(50 * 1024**2))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as outer:
        for row in range(50):
            outer.write(tmp_path / "inner.zip", f"train/a/{row}.zip")
    assert_refused_cheaply(tmp_path / "a.zip", "No pictures")


def test_many_entries_that_share_their_bytes_are_stopped(tmp_path):
    """Overlapping entries: a small file whose table names the same data a thousand times."""
    packed, crc = zlib.compressobj(9, zlib.DEFLATED, -15), zlib.crc32(bytes(1024**2))
    data = packed.compress(bytes(1024**2)) + packed.flush()
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 0, crc, len(data), 1024**2, 5, 0)
    body, table = local + b"x.png" + data, b""
    for row in range(1000):
        name = f"{row:05d}".encode()
        table += struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 8, 0, 0, crc, len(data),
                             1024**2, len(name), 0, 0, 0, 0, 0, 0) + name  # fmt: skip
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1000, 1000, len(table), len(body), 0)
    (tmp_path / "a.zip").write_bytes(body + table + end)
    assert_refused_cheaply(tmp_path / "a.zip", "a.zip")


def test_scripts_in_the_metadata_of_a_picture_go_nowhere(tmp_path):
    """EXIF and text chunks are dropped with the decoding: what is shown is pixels only."""
    exif = Image.Exif()
    exif[0x010E] = "<script>alert(1)</script>"
    data = encoded(Image.fromarray(pixels("dark", 0)), "JPEG", exif=exif)
    picture = decode_picture(data)
    assert b"script" in data and b"script" not in encoded(picture)


def test_an_animated_picture_is_its_first_frame(tmp_path):
    frames = [Image.fromarray(np.full((8, 8), 40 * row, np.uint8)) for row in range(5)]
    for kind in ("PNG", "WEBP"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert np.asarray(decode_picture(data).convert("L")).max() < 10, "another frame than the first"


def test_a_table_of_a_million_columns_is_refused_before_it_is_parsed(tmp_path):
    root = write_split_folder(tmp_path / "toys")
    (root / "metadata.csv").write_bytes(b"file_name," + b"," * 1_000_000 + b"\n")
    assert_refused_cheaply(root, "1,000,002 columns")


@pytest.mark.parametrize("text", NASTY)
def test_texts_of_data_are_inert_wherever_they_are_shown(tmp_path, text):
    """In markdown every sign of its grammar is escaped, in HTML entities, in a spreadsheet no formula begins."""
    shown = formats.escaped(text)
    for sign in "<[!:$`*_":
        assert f"\\{sign}" in shown or sign not in text
    assert not any(unicodedata.category(letter) == "Cf" for letter in shown), (
        "a mark that turns the text around"
    )
    fact = {"id": text, "label": text, "shape": [1, 1, 1]}
    assert "<script" not in sheet.figure(fact, b"") and '" onmouse' not in sheet.figure(fact, b"")
    write_csv(pd.DataFrame({"label": [text]}), tmp_path / "a.csv")
    cell = (tmp_path / "a.csv").read_text().splitlines()[1].lstrip('"')
    assert cell[0] not in "=+-@\t\r"


def test_a_class_called_script_goes_all_the_way(tmp_path):
    """From a folder name to an answer of the child: text, and nothing but text."""
    root = tmp_path / "toys"
    for split in ("train", "val"):
        for name in ("<img src=x onerror=alert(1)>", "b"):
            (root / split / name).mkdir(parents=True)
            for row in range(3):
                (root / split / name / f"{split}{row}.png").write_bytes(encoded(pixels("dark", row)))
    assert "<img src=x onerror=alert(1)>" in open_dataset(root).classes


@pytest.mark.parametrize("kind", ["bomb", "not a zip", "pickle"])
def test_the_child_refuses_in_words_and_leaves_nothing(tmp_path, kind):
    path = tmp_path / "a.zip"
    if kind == "bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
            target.writestr("train/a/0.png", bytes(300 * 1024**2))
    else:
        path.write_bytes(b"PK\x03\x04no" if kind == "not a zip" else b"\x80\x04cos\nsystem\n")
    (tmp_path / "temporary").mkdir()
    done = subprocess.run(
        inspection.command("preview", {"dataset": str(path), "pixels": str(tmp_path / "p")}),
        capture_output=True,
        text=True,
        env={
            "PATH": "/usr/bin",
            "TMPDIR": str(tmp_path / "temporary"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
    )
    assert "a.zip" in json.loads(done.stdout)["refused"], done.stderr
    assert not list((tmp_path / "temporary").glob("influence-*")), "unpacked files were left behind"
    assert not (tmp_path / "p").exists() or kind == "bomb"


def test_two_good_files_after_a_hostile_one(tmp_path):
    """A refusal changes nothing for the next file, in the same process."""
    good = zip_folder(write_split_folder(tmp_path / "toys"), tmp_path / "good.zip")
    before = open_dataset(good).fingerprint
    assert_refused_cheaply(archive(tmp_path / "a.zip", "../x.png"), "points outside")
    assert open_dataset(good).fingerprint == before
