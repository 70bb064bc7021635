"""Real layouts, as people and other tools leave them on a disk: each leads to a finished run on tiny data.

Every builder writes 24 training pictures of two classes or more, bright and dark, and says which classes it expects, in
the order of the model's outputs. A label order is taken from a file or refused by name, never guessed.
"""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from influence_core.analysis.analyze import analyze
from influence_core.data import open_dataset
from influence_core.models import OpenedModel, Preprocessing, build_network
from tests.making.maps import MapHere
from tests.making.pictures import CLASSES, encoded, idx, pixels, write_folder, write_split_folder, zip_folder
from tests.making.refusals import assert_dataset_refused

SIDE = 32


def label(row: int) -> str:
    return CLASSES[row % 2]


def picture(row: int, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    return pixels(label(row), row, size)


def lines(rows: list[dict]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


# --- folders ----------------------------------------------------------------------------------------------


def splits_by_folder(root: Path):
    return write_split_folder(root), CLASSES


def torchvision_image_folder(root: Path):
    """One tree, one folder a class, no split; wrapped in a folder of its own and zipped, as downloads are."""
    write_folder(root / "flowers", dict.fromkeys(CLASSES, 14))
    return zip_folder(root, root.parent / "flowers.zip"), CLASSES


def hugging_face_metadata_csv(root: Path):
    for split, rows in (("train", range(24)), ("validation", range(24, 32))):
        (root / split).mkdir(parents=True)
        for row in rows:
            (root / split / f"{row}.jpg").write_bytes(encoded(picture(row), "JPEG"))
        table = "\n".join(f"{row}.jpg,{label(row)},{'a' if row % 3 else 'b'}" for row in rows)
        (root / split / "metadata.csv").write_text("file_name,label,site\n" + table)
    return root, CLASSES


def hugging_face_metadata_jsonl(root: Path):
    """Numbers as labels, named by classes.txt in an order that is not the alphabet's; a nested column beside."""
    (root / "images").mkdir(parents=True)
    rows = []
    for row in range(30):
        (root / "images" / f"{row}.webp").write_bytes(encoded(picture(row), "WEBP"))
        rows.append(
            {
                "file_name": f"images/{row}.webp",
                "label": row % 2,
                "objects": {"bbox": [1, 2]},
                "site": row % 3,
            }
        )
    (root / "metadata.jsonl").write_text(lines(rows))
    (root / "classes.txt").write_text("zebra\nant\n")
    return root, ("zebra", "ant")


def numbered_folders_with_a_file_of_names(root: Path):
    for split, start in (("train", 0), ("val", 100)):
        for number in range(12):
            write_folder(root, {str(number): 2}, split=split, start=start + 2 * number)
    (root / "classes.txt").write_text("\n".join(f"{number}: name {number}" for number in range(12)))
    return root, tuple(f"name {number}" for number in range(12))


def pictures_of_every_kind(root: Path):
    """Grey, colour, alpha, palette, 16 bit, one bit, rotated by EXIF, of other sizes: one dataset of all."""
    for row in range(28):
        folder = root / label(row)
        folder.mkdir(parents=True, exist_ok=True)
        grey = Image.fromarray(picture(row, (SIDE + row, SIDE)))
        kind = ("L", "RGB", "RGBA", "P", "LA", "I;16", "1", "exif")[row // 2 % 8]
        if kind == "I;16":
            deep = np.asarray(grey).astype(np.uint16) * 257
            (folder / f"{row}.png").write_bytes(encoded(Image.fromarray(deep)))
        elif kind == "exif":
            exif = Image.Exif()
            exif[0x0112] = 6
            (folder / f"{row}.jpg").write_bytes(encoded(grey, "JPEG", exif=exif))
        else:
            (folder / f"{row}.png").write_bytes(encoded(grey.convert(kind)))
    return root, CLASSES


# --- tables and arrays of pictures ------------------------------------------------------------------------


def table(rows: range, **columns: list) -> pa.Table:
    image = [{"bytes": encoded(picture(row)), "path": f"{row}.png"} for row in rows]
    return pa.table({"image": image} | columns)


def parquet_of_image_structs(root: Path):
    """Numbers as labels with names in the Hugging Face metadata, in an order that is not the alphabet's."""
    root.mkdir()
    rows = range(30)
    names = {"info": {"features": {"label": {"names": ["zebra", "ant"], "_type": "ClassLabel"}}}}
    found = table(rows, label=[row % 2 for row in rows], split=["train"] * 24 + ["test"] * 6)
    pq.write_table(found.replace_schema_metadata({"huggingface": json.dumps(names)}), root / "a.parquet")
    return root / "a.parquet", ("zebra", "ant")


def parquet_shards(root: Path):
    (root / "data").mkdir(parents=True)
    (root / "README.md").write_text("# Toys")
    for name, rows in (
        ("train-00000-of-00002", range(12)), ("train-00001-of-00002", range(12, 24)), ("test-00000-of-00001", range(8)),
    ):  # fmt: skip
        pq.write_table(table(rows, label=[label(row) for row in rows]), root / "data" / f"{name}.parquet")
    return root, CLASSES


def npz_of_images(root: Path):
    root.mkdir()
    x = np.stack([picture(row) for row in range(30)])
    y = np.array([row % 2 for row in range(30)])
    np.savez(
        root / "a.npz", x_train=x[:24], y_train=y[:24], x_val=x[24:], y_val=y[24:], classes=["zebra", "ant"]
    )
    return root / "a.npz", ("zebra", "ant")


def npz_of_features(root: Path):
    root.mkdir()
    x = np.random.default_rng(0).random((30, 5)) + np.arange(30)[:, None] % 2
    np.savez(root / "a.npz", x_train=x, y_train=[label(row) for row in range(30)])
    return root / "a.npz", CLASSES


# --- torchvision's own ------------------------------------------------------------------------------------


def mnist(root: Path):
    """torchvision's MNIST/raw, one pair unpacked and one as .gz; eleven labels would sort wrongly as text."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    x, y = np.stack([picture(row, (28, 28)) for row in range(36)]), np.arange(36) % 12
    (raw / "train-images-idx3-ubyte").write_bytes(idx(x))
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(y))
    (raw / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(x[:12])))
    (raw / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(y[:12])))
    return root, tuple(map(str, range(12)))


def cifar_rows(rows: range, head) -> bytes:
    return b"".join(bytes(head(row)) + np.stack([picture(row)] * 3).tobytes() for row in rows)


def cifar10_binary(root: Path):
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for batch in (1, 2):
        (folder / f"data_batch_{batch}.bin").write_bytes(cifar_rows(range(14), lambda row: [row % 2]))
    (folder / "test_batch.bin").write_bytes(cifar_rows(range(6), lambda row: [row % 2]))
    (folder / "batches.meta.txt").write_text("zebra\nant\n\n")
    return root, ("zebra", "ant")


def cifar100_binary(root: Path):
    folder = root / "cifar-100-binary"
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        (folder / f"{name}.bin").write_bytes(cifar_rows(range(28), lambda row: [0, row % 2]))
    (folder / "fine_label_names.txt").write_text("zebra\nant\n")
    (folder / "coarse_label_names.txt").write_text("animals\n")
    return root, ("zebra", "ant")


LAYOUTS = (
    splits_by_folder, torchvision_image_folder, hugging_face_metadata_csv, hugging_face_metadata_jsonl,
    numbered_folders_with_a_file_of_names, pictures_of_every_kind, parquet_of_image_structs, parquet_shards,
    npz_of_images, npz_of_features, mnist, cifar10_binary, cifar100_binary,
)  # fmt: skip


@pytest.mark.parametrize("build", LAYOUTS, ids=lambda build: build.__name__)
def test_a_real_layout_leads_to_a_finished_run(tmp_path, build):
    path, expected = build(tmp_path / "data")
    dataset = open_dataset(path)
    assert dataset.classes == expected, "the order of the classes decides what each output means"
    assert len(dataset.train) >= 12 and len(dataset.val) >= 1

    features = dataset.train.kind == "array"
    channels, size = (5, None) if features else (3, (8, 8))
    preprocessing = Preprocessing(channels, size, mean=(0.5,), std=(0.5,))
    network = build_network("logistic", classes=len(expected), channels=channels, size=size)
    torch.nn.init.normal_(
        network.get_parameter("head.weight"), std=0.1, generator=torch.Generator().manual_seed(0)
    )
    model = OpenedModel(
        network, classes=expected, preprocessing=preprocessing, architecture="logistic"
    ).eval()
    run = analyze(model, dataset.train, dataset.val, source=dataset, out=tmp_path / "run", drawing=MapHere())
    assert run.description["state"] == "finished"
    assert run.samples["suspicion"].notna().all() and list(run.classes) == list(expected)
    assert run.samples.index.tolist() == list(dataset.train.ids)


def test_groups_come_from_metadata_and_nested_columns_do_not(tmp_path):
    csv = open_dataset(hugging_face_metadata_csv(tmp_path / "csv")[0]).train
    assert set(csv.groups["site"]) == {"a", "b"}
    jsonl = open_dataset(hugging_face_metadata_jsonl(tmp_path / "jsonl")[0]).train
    assert list(jsonl.groups) == ["site"], "a table is no group"
    coarse = open_dataset(cifar100_binary(tmp_path / "cifar")[0]).train
    assert set(coarse.groups["coarse"]) == {"animals"}


def test_pixels_of_mnist_and_cifar_are_where_they_belong(tmp_path):
    first = open_dataset(mnist(tmp_path / "mnist")[0]).train
    row = int(first.ids[0].split("/")[1])
    assert np.array_equal(np.asarray(first.picture(0)), picture(row, (28, 28))), (
        "rows and columns are swapped"
    )
    colour = open_dataset(cifar10_binary(tmp_path / "cifar")[0]).train
    row = int(colour.ids[0].split("/")[1]) % 14
    assert np.array_equal(np.asarray(colour.picture(0))[:, :, 2], picture(row))


def test_a_file_of_names_that_does_not_fit_names_both_sides(tmp_path):
    root = write_split_folder(tmp_path / "toys")
    for text, words in (
        ("cat\ndog\n", ("classes.txt names 2 classes", "cat", "bright, dark")),
        ("bright\n", ("names 1 classes", "two or more")),
        ("dark\ndark\n", ("1 of them different",)),
        ("\xff", ("not UTF-8",)),
    ):
        (root / "classes.txt").write_bytes(text.encode("latin-1"))
        assert_dataset_refused(root, *words)
    (root / "classes.txt").write_text("dark\nbright\n")
    assert open_dataset(root).classes == ("dark", "bright"), "the file decides, not the alphabet"
    (root / "labels.txt").write_text("bright\ndark\n")
    assert_dataset_refused(root, "Two files name the classes")


def test_the_python_version_of_cifar_is_refused_with_a_recipe(tmp_path):
    for names in (("data_batch_1", "batches.meta"), ("train", "test", "meta")):
        root = tmp_path / names[0] / "cifar"
        root.mkdir(parents=True)
        for name in names:
            (root / name).write_bytes(b"\x80\x02}.")
        assert_dataset_refused(root.parent, "pickles, which can run code", "binary version", "numpy.savez")


def test_damaged_idx_and_cifar_files_are_refused_with_both_numbers(tmp_path):
    root = mnist(tmp_path / "mnist")[0]
    raw = root / "MNIST" / "raw"
    whole = (raw / "train-images-idx3-ubyte").read_bytes()
    for data, words in (
        (whole[:-1], "28,223 follow"),
        (b"\x00\x00\x0d\x03" + whole[4:], "00 00 0d 03"),
        (b"", "begins with nothing"),
        (whole[:4] + b"\xff\xff\xff\xff" * 3, "4,294,967,295 x"),
    ):
        (raw / "train-images-idx3-ubyte").write_bytes(data)
        assert_dataset_refused(root, "train-images-idx3-ubyte", words)
    (raw / "train-images-idx3-ubyte").write_bytes(whole)
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(5)))
    assert_dataset_refused(root, "36 images, its labels are 5")
    folder = cifar10_binary(tmp_path / "cifar")[0]
    (folder / "cifar-10-batches-bin/test_batch.bin").write_bytes(bytes(3074))
    assert_dataset_refused(folder, "3,074 bytes", "rows of 3,073")
    (folder / "cifar-10-batches-bin/test_batch.bin").write_bytes(b"\x07" + bytes(3072))
    assert_dataset_refused(folder, "number 7, but 2 classes are named")


def test_metadata_is_limited_before_it_is_parsed(tmp_path):
    root = write_split_folder(tmp_path / "toys")
    for name, data, words in (
        (
            "metadata.csv",
            b"file_name," + b",".join(b"c%d" % n for n in range(100_000)) + b"\n",
            "100,001 columns",
        ),
        ("metadata.csv", b"file_name\x00,label\n", "zero byte"),
        ("metadata.csv", "file_name,label\nä.png,x".encode("utf-16"), "metadata.csv"),
        ("metadata.jsonl", b'{"file_name": "a.png"', "line 1 is not JSON"),
        ("metadata.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("metadata.jsonl", b"[1]\n", "holds a list"),
        ("metadata.jsonl", b'\n\n{"file_name": "\xff"}', "line 3 is not JSON"),
        ("metadata.jsonl", json.dumps({f"c{n}": n for n in range(2000)}).encode(), "2,000 columns"),
        ("metadata.jsonl", b'{"file_name": "nobody.png"}', "that cannot be found"),
        ("metadata.jsonl", b'{"name": "x"}', "expected one called file_name"),
    ):
        (root / name).write_bytes(data)
        assert_dataset_refused(root, words)
        (root / name).unlink()
