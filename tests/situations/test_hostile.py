"""Files made to do harm: refused in words or read right, at the app's door and at the command's, at little cost."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from influence_core.models import OpenedModel, Preprocessing, build_network, save_model
from tests.making.hostile_files import DATA, FAILED, MODELS, Write
from tests.making.pictures import write_split_folder

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
