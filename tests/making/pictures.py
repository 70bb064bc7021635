"""Small datasets that tests build themselves: pictures whose brightness tells their class."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CLASSES = ("bright", "dark")


def pixels(label: str, seed: int, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    """Grey uint8 pixels (h, w), bright or dark by class, with seeded noise."""
    noise = np.random.default_rng(seed).integers(0, 60, size=size)
    return (noise + (180 if label == "bright" else 10)).astype(np.uint8)


def encoded(values: np.ndarray | Image.Image, format: str = "PNG", **options) -> bytes:
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def write_folder(root: Path, counts: dict[str, int], *, split: str = "", start: int = 0) -> Path:
    """Write <split>/<class>/<number>.png, as many per class as counts say."""
    for label, count in counts.items():
        folder = root / split / label
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(start, start + count):
            (folder / f"{number}.png").write_bytes(encoded(pixels(label, number)))
    return root


def write_split_folder(root: Path, per_class: int = 6) -> Path:
    for index, split in enumerate(("train", "val", "test")):
        write_folder(root, dict.fromkeys(CLASSES, per_class), split=split, start=100 * index)
    return root


def zip_folder(root: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(root.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(root).as_posix())
    return target


def write_parquet(path: Path, labels: list, *, paths: list | None = None, **columns: list) -> Path:
    """Write a Parquet file of pictures as Hugging Face does; paths and further columns as given."""
    paths = paths or [f"{row}.png" for row in range(len(labels))]
    blobs = [encoded(pixels("bright" if row % 2 else "dark", row)) for row in range(len(labels))]
    image = [{"bytes": blob, "path": name} for blob, name in zip(blobs, paths, strict=True)]
    pq.write_table(pa.table({"image": image, "label": labels} | columns), path)
    return path


def idx(array: np.ndarray) -> bytes:
    """An array as a file of MNIST's format."""
    sizes = b"".join(side.to_bytes(4, "big") for side in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()
