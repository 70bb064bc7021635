"""Speed and cost of bringing a large zip of pictures into the store.

    python -m benchmarks.cost.uploads --pictures 100000 --megabytes 500

Three steps of one upload, each measured in the process where it happens: receiving (server: bytes to disk in pieces),
unpacking (child: member by member, every byte counted), reading (child: every picture decoded and digested). Control:
the simplest program for the same work on this machine: shutil.copyfileobj, ZipFile.extractall and Pillow without
checks. Wall-clock rates mean little on a busy machine, so the rate per second of processor time (all threads, with the
system's) is printed too. Memory is the rise of the peak resident size over the resident size before the step.
"""

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def make_zip(path: Path, pictures: int, megabytes: int) -> None:
    """Write a zip of noise pictures of about the requested size, 20 classes; as JPEG they do not shrink further."""
    generator = np.random.default_rng(0)
    target = megabytes * 1e6 / pictures
    side = max(8, int((target / 0.98) ** 0.5))
    samples = []
    for _ in range(200):
        buffer = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (side, side), dtype=np.uint8)).save(
            buffer, "JPEG", quality=90
        )
        samples.append(buffer.getvalue())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for row in range(pictures):
            split = "val" if row // 20 % 10 == 0 else "train"
            archive.writestr(f"{split}/class{row % 20}/{row:06d}.jpg", samples[row % 200])


KEPT: list[object] = []
STEPS: dict[str, Callable[[Path, Path], object]] = {}


def step(function: Callable[[Path, Path], object]) -> Callable[[Path, Path], object]:
    STEPS[function.__name__] = function
    return function


@step
def receive(source: Path, work: Path) -> None:
    from influence_core.intake import uploads

    upload = uploads.begin(work, "bench")
    with source.open("rb") as file:
        uploads.receive(work, upload, "dataset", source.name, file)


@step
def plain_copy(source: Path, work: Path) -> None:
    with source.open("rb") as file, (work / "copy").open("wb") as target:
        shutil.copyfileobj(file, target)


@step
def unpack(source: Path, work: Path) -> None:
    from influence_core.data.readers.archive import unpack as unpacked

    tempfile.tempdir = str(work)
    KEPT.append(unpacked(source))  # removed when the process ends: that is nobody's waiting time


@step
def plain_extract(source: Path, work: Path) -> None:
    with zipfile.ZipFile(source) as archive:
        archive.extractall(work)


@step
def open_whole(source: Path, work: Path) -> None:
    """Unpack, decode, digest and split: everything before the first number is computed."""
    from influence_core.data import open_dataset

    tempfile.tempdir = str(work)
    dataset = open_dataset(source)
    KEPT.append(dataset)
    assert len(dataset.train) and len(dataset.val)


@step
def plain_decode(source: Path, work: Path) -> None:
    with zipfile.ZipFile(source) as archive:
        for name in archive.namelist():
            Image.open(io.BytesIO(archive.read(name))).load()


def child(name: str, source: Path, work: Path) -> dict[str, float]:
    """Run one step in this process; returns seconds and the rise of the peak in bytes, both without imports."""
    import torch

    import influence_core.data.dataset  # noqa: F401
    from influence_core.engine.batch_cost import Memory

    memory, began, worked = Memory(torch.device("cpu")), time.perf_counter(), time.process_time()
    STEPS[name](source, work)
    return {
        "seconds": time.perf_counter() - began,
        "processor": time.process_time() - worked,
        "peak": memory.peak() or 0,
    }


def measured(name: str, source: Path, folder: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=folder) as work:
        command = [sys.executable, __file__, "--step", name, "--source", str(source), "--work", work]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--step")
    parser.add_argument("--source", type=Path)
    parser.add_argument("--work", type=Path)
    chosen = parser.parse_args()
    if chosen.step:
        print(json.dumps(child(chosen.step, chosen.source, chosen.work)))
        return
    source = chosen.folder / "benchmark-uploads.zip"
    make_zip(source, chosen.pictures, chosen.megabytes)
    try:
        size = source.stat().st_size
        print(f"{chosen.pictures:,} pictures, {size / 1e6:,.0f} MB")
        for ours, plain in (
            ("receive", "plain_copy"),
            ("unpack", "plain_extract"),
            ("open_whole", "plain_decode"),
        ):
            a, b = measured(ours, source, chosen.folder), measured(plain, source, chosen.folder)
            for name, found in ((ours, a), (plain, b)):
                print(
                    f"{name:<14} {chosen.pictures / found['seconds']:>9,.0f} pictures/s  "
                    f"{chosen.pictures / found['processor']:>9,.0f} a processor second  "
                    f"memory +{found['peak'] / 1e6:,.0f} MB",
                    flush=True,
                )
            print(
                f"{'':<14} {a['processor'] / b['processor']:.2f} times the processor time of {plain}",
                flush=True,
            )
    finally:
        source.unlink()


if __name__ == "__main__":
    main()
