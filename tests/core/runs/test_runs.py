"""A finished run is what was written, bit for bit, or an error that names the file."""

import json
import os
import shutil
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from influence_core.errors import Cancelled, RunError
from influence_core.run_files import seals
from influence_core.run_files.folder import (
    cancel_run,
    fail_run,
    finish_run,
    new_id,
    read_description,
    start_run,
    update_run,
)
from influence_core.run_files.listing import list_runs
from influence_core.run_files.progress import ProgressWriter, read_progress, write_progress
from influence_core.run_files.thumbnails import encode, pack_thumbnails
from influence_core.runs.run import Run, open_run
from influence_core.system import atomic
from tests.making.drawn_run import DrawnSamples, dataset_of, make_small_run


@pytest.fixture
def folder(drawn_run, tmp_path) -> Path:
    """A finished run that a test may damage."""
    return Path(shutil.copytree(drawn_run.path, tmp_path / "root" / "small"))


def description(seed: int = 0, **more) -> dict:
    """The least that start_run needs to tell one run from another."""
    inputs = {"dataset": {"fingerprint": "d"}, "model": {"fingerprint": "m"}}
    return {"name": "Mode & Schuhe", "inputs": inputs, "settings": {"k": (1, 2)}, "seed": seed, **more}


def test_a_run_reads_back_what_was_written(drawn_run):
    run = open_run(drawn_run.path)
    n = len(run.samples)
    assert run.state == "finished" and run.samples.index.name == "sample_id"
    assert run.probabilities.shape == (n, 3) and run.neighbours.shape == (n, 10) and len(run.sketches) == n
    assert isinstance(run.sketches, np.memmap), "sketches must not be read into memory"
    assert np.allclose(run.probabilities.sum(axis=1), 1, atol=1e-5)
    assert set(run.layers["sample_id"]) == set(run.samples.index)
    assert run.column("suspicion").positive_means == "probably wrong"
    assert run.classes == ("coat", "dress", "sandal")


def test_a_caller_cannot_change_a_run_for_the_next_one(drawn_run):
    run = open_run(drawn_run.path)
    mine = run.samples
    mine["suspicion"] = 0.0
    del mine["label"]
    assert "label" in run.samples and run.samples["suspicion"].max() > 0


def test_harmful_is_worst_first_and_never_helpful(drawn_run):
    run = open_run(drawn_run.path)
    influence = run.samples["influence_utility"]
    harmful, helpful = run.harmful(k=1000), run.helpful(k=5)
    assert harmful == influence[influence < 0].sort_values(kind="stable").index.tolist()
    assert harmful[0] == influence.idxmin(), "the sign is flipped"
    assert helpful[0] == influence.idxmax() and len(helpful) == 5
    assert run.harmful(k=2) == harmful[:2]
    with pytest.raises(RunError, match="it has utility"):
        run.harmful("fairness:sex")


def test_truth_is_there_for_judging_when_the_dataset_tells_it(drawn_run, folder):
    run = open_run(drawn_run.path)
    truth = run.truth()
    assert truth is not None and set(truth.index) == set(run.samples.index)
    wrong = truth.loc[run.samples.index].to_numpy() != run.samples["label"].to_numpy()
    assert 0 < wrong.sum() < 20 and run.samples["suspicion"][wrong].min() > 0.5
    away = dataset_of(drawn_run.path).rename(dataset_of(drawn_run.path).with_name("moved"))
    try:
        assert run.truth() is None
    finally:
        away.rename(dataset_of(drawn_run.path))


def test_thumbnails_show_the_right_sample(drawn_run):
    run = open_run(drawn_run.path)
    drawn = DrawnSamples(
        run.samples.index.tolist(),
        np.array([run.classes.index(name) for name in run.samples["label"]]),
        run.classes,
        seed=0,
    )
    for position in (0, 31, 59):
        content, kind = run.thumbnail(position)
        assert kind == "image/png"
        found = np.asarray(Image.open(BytesIO(content)))
        assert (found == np.asarray(drawn.picture(position))).all(), "the pack is shifted, or not lossless"
    for outside in (-1, 60):
        with pytest.raises(RunError, match="no train sample at position"):
            run.thumbnail(outside)


@pytest.mark.parametrize("size", [(28, 28), (96, 96), (97, 20), (400, 300)])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_kind_of_picture_becomes_one_a_browser_shows(mode, size):
    content = encode(Image.new(mode, size))
    picture = Image.open(BytesIO(content))
    small = max(size) <= 96
    assert picture.format == ("PNG" if small else "JPEG")
    assert (
        picture.size == (size if small else tuple(round(side * 128 / max(size)) for side in size))
        or not small
    )
    assert max(picture.size) <= 128


def test_what_shines_through_is_white_and_metadata_stays_behind():
    assert (
        Image.open(BytesIO(encode(Image.new("RGBA", (200, 200), (0, 0, 0, 0))))).getpixel((5, 5))
        == (255,) * 3
    )
    source, exif = Image.new("RGB", (20, 20)), Image.Exif()
    exif[0x010E] = "secret place"
    source.save(raw := BytesIO(), "PNG", exif=exif)
    assert b"secret place" not in encode(Image.open(raw))


def test_samples_without_pictures_and_stopping_leave_a_clean_folder(tmp_path):
    class Half(DrawnSamples):
        def picture(self, position):
            return super().picture(position) if position % 2 else None

    samples = Half(list("abcd"), np.zeros(4, int), ("x",), 0)
    assert pack_thumbnails(samples, tmp_path) == 2
    offsets = np.load(tmp_path / "thumbnails/index.npy")
    assert (np.diff(offsets) == 0).tolist() == [True, False, True, False]
    before = (tmp_path / "thumbnails/pack.bin").read_bytes()

    def stop(_stage, done, _total):
        if done == 2:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        pack_thumbnails(samples, tmp_path, stop)
    assert (tmp_path / "thumbnails/pack.bin").read_bytes() == before and not list(tmp_path.rglob("*.tmp"))


def use(run: Run, name: str) -> None:
    """Read a file through the part of the run that shows it."""
    parts = {
        "samples.parquet": lambda: run.samples,
        "layers.parquet": lambda: run.layers,
        "sketches.npy": lambda: run.sketches,
        "probabilities.npy": lambda: run.probabilities,
        "neighbours.npy": lambda: run.neighbours,
        "beliefs.npy": lambda: run.beliefs,
        "witnesses.parquet": lambda: run.witnesses,
        "thumbnails/pack.bin": lambda: run.thumbnail(0),
        "thumbnails/index.npy": lambda: run.thumbnail(0),
    }
    parts[name]()


FILES = [
    "samples.parquet",
    "layers.parquet",
    "sketches.npy",
    "probabilities.npy",
    "neighbours.npy",
    "beliefs.npy",
    "witnesses.parquet",
    "thumbnails/pack.bin",
    "thumbnails/index.npy",
]


@pytest.mark.parametrize("small", [True, False], ids=["checked at open", "checked at first use"])
@pytest.mark.parametrize("name", FILES)
def test_one_changed_bit_is_found_and_the_file_is_named(folder, monkeypatch, name, small):
    monkeypatch.setattr(seals, "SMALL", 10**9 if small else 0)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    if small:
        with pytest.raises(RunError, match=name):
            open_run(folder)
    else:
        run = open_run(folder)
        with pytest.raises(RunError, match=name):
            use(run, name)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", ["missing", "cut"])
def test_a_missing_or_cut_file_is_found_at_once_whatever_its_size(folder, monkeypatch, name, harm):
    monkeypatch.setattr(seals, "SMALL", 0)
    (folder / name).unlink() if harm == "missing" else os.truncate(folder / name, 10)
    with pytest.raises(RunError, match=name):
        open_run(folder)
    (damaged,) = list_runs(folder.parent)
    assert damaged.state == "damaged" and name in (damaged.problem or "")


NEWER = '{"format": 99, "id": "a", "state": "finished", "created": "b"}'


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', NEWER])
def test_a_damaged_description_is_an_error_and_never_stops_the_list(folder, text):
    (folder / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"run\.json"):
        open_run(folder)
    assert [summary.state for summary in list_runs(folder.parent)] == ["damaged"]


def test_a_description_cannot_name_files_elsewhere(folder):
    content = read_description(folder)
    content["files"]["../../etc/passwd"] = content["files"]["samples.parquet"]
    atomic.write_json(folder / "run.json", content)
    with pytest.raises(RunError, match="lists the file"):
        open_run(folder)


def test_what_is_not_finished_cannot_be_opened_and_says_why(tmp_path):
    start_run(tmp_path / "run", description=description())
    with pytest.raises(RunError, match="is running"):
        open_run(tmp_path / "run")
    fail_run(tmp_path / "run", "no memory")
    with pytest.raises(RunError, match="no memory"):
        open_run(tmp_path / "run")
    with pytest.raises(RunError, match=r"no run\.json"):
        open_run(tmp_path)


def test_an_unfinished_run_is_continued_under_its_id_but_never_mixed(tmp_path):
    first = start_run(tmp_path / "run", description=description())
    cancel_run(tmp_path / "run")
    again = start_run(tmp_path / "run", description=description(settings={"k": [1, 2]}))
    assert (again["id"], again["created"]) == (first["id"], first["created"]) and again["state"] == "running"
    with pytest.raises(RunError, match="another seed"):
        start_run(tmp_path / "run", description=description(seed=1))
    other = description()["inputs"] | {"model": {"fingerprint": "another"}}
    with pytest.raises(RunError, match="another model"):
        start_run(tmp_path / "run", description=description(inputs=other))


def test_a_finished_run_never_changes_again(folder):
    before = (folder / "run.json").read_bytes()
    for change in (
        lambda: start_run(folder, description=description()),
        lambda: finish_run(folder),
        lambda: cancel_run(folder),
        lambda: fail_run(folder, "late"),
        lambda: update_run(folder, seed=1),
    ):
        with pytest.raises(RunError):
            change()
    assert (folder / "run.json").read_bytes() == before


def test_finishing_drops_shards_and_refuses_a_mixture(tmp_path):
    start_run(tmp_path, description=description())
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards/0.npz").write_text("work")
    with pytest.raises(RunError, match=r"samples\.parquet"):
        finish_run(tmp_path)
    pd.DataFrame({"sample_id": list("abc")}).to_parquet(tmp_path / "samples.parquet")
    np.save(tmp_path / "sketches.npy", np.zeros((2, 4)))
    with pytest.raises(RunError, match="describes 2 samples"):
        finish_run(tmp_path)
    assert (tmp_path / "shards/0.npz").exists(), "work must not be lost to a refused finish"
    np.save(tmp_path / "sketches.npy", np.zeros((3, 4)))
    done = finish_run(tmp_path, results={"accuracy": np.float32("nan")})
    assert set(done["files"]) == {"samples.parquet", "sketches.npy"} and not (tmp_path / "shards").exists()
    assert json.loads((tmp_path / "run.json").read_text())["results"] == {"accuracy": None}


def test_ids_are_never_the_same_and_say_what_and_when():
    made = {new_id("Mode & Schuhe", "2026-11-22T08:30:00.123456Z") for _ in range(1000)}
    assert len(made) > 990 and all(name.startswith("mode-schuhe-20261122-083000-") for name in made)


def test_the_list_is_newest_first_and_knows_waiting_jobs(drawn_run, tmp_path):
    for name in ("one", "two"):
        make_small_run(tmp_path / name, n=12)
    (tmp_path / "job").mkdir()
    (tmp_path / "job/job.json").write_text("{}")
    (tmp_path / "stranger").mkdir()
    (tmp_path / "a file").write_text("")
    found = list_runs(tmp_path)
    assert [(summary.name, summary.state) for summary in found] == [
        ("job", "queued"),
        ("two", "finished"),
        ("one", "finished"),
    ]
    assert (found[1].n, found[1].classes, found[1].dataset, found[1].model) == (12, 3, "small", "small_cnn")
    assert list_runs(tmp_path / "nowhere") == []


def test_opening_does_not_grow_with_the_run(tmp_path):
    make_small_run(tmp_path / "run", n=600)
    begun = time.perf_counter()
    for _ in range(10):
        open_run(tmp_path / "run")
    assert (time.perf_counter() - begun) / 10 < 0.05, "open_run reads more than it must"


def test_a_reader_never_sees_half_a_file_also_when_the_writer_is_killed(tmp_path):
    script = (
        "import sys; from pathlib import Path; from influence_core.system import atomic\n"
        "for n in range(10**9):\n"
        "    atomic.write_json(Path(sys.argv[1]), {'n': n, 'fill': 'x' * 200_000}, durable=False)"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "file.json")])
    while not (tmp_path / "file.json").exists():
        assert writer.poll() is None, "the writer ended before it wrote anything"
        time.sleep(0.01)
    for _ in range(200):
        assert len(json.loads((tmp_path / "file.json").read_text())["fill"]) == 200_000
    writer.kill()
    writer.wait()
    json.loads((tmp_path / "file.json").read_text())
    atomic.remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_progress_is_of_the_whole_run_and_time_left_of_this_launch(tmp_path):
    clock = Clock()
    report = ProgressWriter(tmp_path, [("sweep", "Sweep", 3.0), ("map", "Map", 1.0)], clock=clock)
    report("sweep", 50, 100)  # half was there from an earlier launch
    first = read_progress(tmp_path)
    assert first is not None and first["fraction"] == pytest.approx(0.375) and first["eta"] is None
    clock.now = 10.0
    report("sweep", 75, 100)
    second = read_progress(tmp_path)
    assert second is not None
    left = (1 - 0.5625) / (0.1875 / 10)
    assert second["eta"] == pytest.approx(left), "resumed work was taken for speed"
    assert second["rate"] == pytest.approx(2.5) and second["stage_title"] == "Sweep"
    clock.now = 20.0
    report("sweep", 100, 100)
    report("map", 0, 0)
    last = read_progress(tmp_path)
    assert last is not None and (last["fraction"], last["state"]) == (1.0, "running"), (
        "the end stands in run.json"
    )
    with pytest.raises(ValueError, match="sweep, map"):
        report("paint", 0, 1)


def test_no_time_left_is_promised_from_opening_files_or_compiling(tmp_path):
    """Slow imports in a stage of 2 % once promised 13 minutes of a run that took one."""
    clock = Clock()
    report = ProgressWriter(tmp_path, [("open", "Open", 0.02), ("sweep", "Sweep", 0.98)], clock=clock)

    def left(seconds: float, stage: str, done: int, total: int) -> float | None:
        clock.now = seconds
        report(stage, done, total)
        found = read_progress(tmp_path)
        assert found is not None
        return found["eta"]

    for seconds, done in ((0, 0), (15, 1), (20, 2)):
        assert left(seconds, "open", done, 2) is None, "opening the files says nothing of the sweep"
    assert left(50, "sweep", 1, 100) is None, "nor does what is compiled before the first batch"
    assert left(52, "sweep", 3, 100) is None, "two seconds are too few to tell"
    assert left(60, "sweep", 11, 100) == pytest.approx(89, rel=0.01), "a second each, and 89 are left"


def test_progress_never_goes_back_and_is_written_a_few_times_a_second(tmp_path, monkeypatch):
    clock, written = Clock(), []
    monkeypatch.setattr(
        "influence_core.run_files.progress.write_progress", lambda _, progress: written.append(progress)
    )
    report = ProgressWriter(tmp_path, [("a", "A", 1.0), ("b", "B", 1.0)], clock=clock)
    for step in range(1000):
        clock.now += 0.01
        report("a", step, 1000)
    report("b", 0, 10)
    report("a", 0, 10)
    assert 40 < len(written) < 60, "ten seconds at five a second"
    fractions = [progress["fraction"] for progress in written]
    assert fractions == sorted(fractions)


def test_progress_that_cannot_be_read_is_none(tmp_path):
    assert read_progress(tmp_path) is None
    (tmp_path / "progress.json").write_text("{")
    assert read_progress(tmp_path) is None
    write_progress(tmp_path, {"state": "queued"})
    found = read_progress(tmp_path)
    assert found is not None and found["state"] == "queued" and found["eta"] is None
