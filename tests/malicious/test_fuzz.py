"""Whatever bytes a file holds: each reader reads it, or refuses it with one of our own errors.

A good file of each kind is cut, overwritten and stretched by hypothesis. A few dozen inputs a reader run in the suite,
10,000 a reader with `make slow`, under a minute of processor time each.
"""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from influence_core.data import open_dataset
from influence_core.data.readers.class_names import read_names
from influence_core.data.readers.metadata import read_one
from influence_core.data.readers.torchvision_files import read_idx, read_rows
from influence_core.data.storage.pictures import decode_picture
from influence_core.errors import InfluenceError
from influence_core.models.guess import guess_architecture
from influence_core.models.model_json import read_spec
from influence_core.models.weight_files.sniffing import file_kind
from influence_core.models.weight_files.weights import parse_safetensors
from tests.making.pictures import encoded, idx, pixels, write_parquet, write_split_folder, zip_folder

QUICK, SLOW = 25, 10_000
SMALL = st.binary(max_size=6)
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), SMALL), min_size=1, max_size=4)
NUMBERS = st.sampled_from(
    [b"\xff" * 4, b"\xff" * 8, b"\x00" * 8, b"\x7f\xff\xff\xff", b"9" * 20, b"[" * 64, b'"', b"-1"]
)
WILD = st.one_of(
    EDITS, st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), NUMBERS), min_size=1, max_size=2)
)


def edited(good: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """At each place: some bytes are taken out, others put in. An edit of nothing cuts the rest off."""
    data = good
    for place, taken, put in edits:
        at = int(place * len(data))
        data = data[:at] if not put and taken == 0 else data[:at] + put + data[at + taken :]
    return data


class Reader:
    """A kind of file: how a good one looks and how it is read."""

    def __init__(self, name: str, good: Callable[[Path], bytes], read: Callable[[Path], object]):
        self.name, self.good, self.read = name, good, read


def picture(kind: str) -> Reader:
    return Reader(
        f"x.{kind.lower()}",
        lambda folder: encoded(pixels("dark", 0, (16, 16)), kind),
        lambda path: decode_picture(path.read_bytes()),
    )


def zipped(folder: Path) -> bytes:
    return zip_folder(write_split_folder(folder / "toys", per_class=2), folder / "good.zip").read_bytes()


def npz(folder: Path) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, x_train=np.zeros((8, 3)), y_train=[0, 1] * 4, x_val=np.ones((4, 3)), y_val=[0, 1] * 2
    )
    return buffer.getvalue()


def weights(folder: Path) -> bytes:
    return safetensors.torch.save({"head.weight": torch.zeros(2, 3), "head.bias": torch.zeros(2)})


def state_dict(folder: Path) -> bytes:
    torch.save({"head.weight": torch.zeros(2, 3)}, folder / "good.pt")
    return (folder / "good.pt").read_bytes()


def legacy(folder: Path) -> bytes:
    torch.save({"head.weight": torch.zeros(2, 3)}, folder / "good.pt", _use_new_zipfile_serialization=False)
    return (folder / "good.pt").read_bytes()


SPEC = {"architecture": "mlp", "classes": ["a", "b"],
        "preprocessing": {"channels": 1, "size": [28, 28], "mean": [0.5], "std": [0.5]}}  # fmt: skip
METADATA = "file_name,label,split,age\n" + "".join(
    f"{row}.png,{'ab'[row % 2]},train,{row}\n" for row in range(6)
)
TABLE = "age,job,label,split\n" + "".join(
    f"{row},{'xyz'[row % 3]},{'ab'[row % 2]},{'val' if row > 7 else 'train'}\n" for row in range(12)
)
LINES = "\n".join(json.dumps({"file_name": f"{row}.png", "label": row % 2, "box": [1]}) for row in range(6))

READERS = (
    *(picture(kind) for kind in ("PNG", "JPEG", "WEBP", "BMP")),
    Reader("x.zip", zipped, open_dataset),
    Reader("x.npz", npz, open_dataset),
    Reader("x.parquet", lambda folder: write_parquet(folder / "g.parquet", ["a", "b"] * 6, age=list(range(12)))
           .read_bytes(), open_dataset),
    Reader("x.csv", lambda folder: TABLE.encode(), open_dataset),
    Reader("metadata.csv", lambda folder: METADATA.encode(), lambda path: read_one(path, path.parent, [], {})),
    Reader("metadata.jsonl", lambda folder: LINES.encode(), lambda path: read_one(path, path.parent, [], {})),
    Reader("classes.txt", lambda folder: b"0 cat\n1 dog\n2 horse\n", read_names),
    Reader("x-idx3-ubyte", lambda folder: idx(np.zeros((4, 5, 6))), lambda path: read_idx(path, 3)),
    Reader("x.bin", lambda folder: bytes(3073 * 2), lambda path: read_rows(path, 1)),
    Reader("x.safetensors", weights, lambda path: guess_architecture(
        {name: tuple(value.shape) for name, value in parse_safetensors(path.read_bytes(), path).items()})),
    Reader("x.pt", state_dict, file_kind),
    Reader("y.pt", legacy, file_kind),
    Reader("model.json", lambda folder: json.dumps(SPEC).encode(), read_spec),
)  # fmt: skip


def assert_never_crashes(reader: Reader, folder: Path, inputs: int) -> None:
    """Read `inputs` damaged files; the only error that may come out is one of ours."""
    good = reader.good(folder)
    target = folder / "fuzz" / reader.name
    target.parent.mkdir()
    target.write_bytes(good)
    reader.read(target)  # the undamaged one is read: otherwise this test would prove nothing
    refusals = 0

    @settings(max_examples=inputs, deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(WILD)
    def one(edits: list[tuple[float, int, bytes]]) -> None:
        nonlocal refusals
        target.write_bytes(edited(good, edits))
        try:
            reader.read(target)
        except InfluenceError as error:
            refusals += 1
            assert str(error), "a refusal without a reason"

    one()
    assert refusals or reader.name.endswith((".pt", "x.bmp")), "no damage was ever noticed"


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_damaged_files_are_read_or_refused(tmp_path, monkeypatch, reader):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert_never_crashes(reader, tmp_path, QUICK)
    assert not list((tmp_path / "temporary").iterdir()), "unpacked files were left behind"


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_ten_thousand_damaged_files_are_read_or_refused(tmp_path, monkeypatch, reader):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert_never_crashes(reader, tmp_path, SLOW)
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("name", ["x.zip", "x.npz", "x.pt"])
def test_a_name_that_says_it_is_utf8_and_is_not_is_a_damage(tmp_path, name):
    """Found by fuzzing: the reader of archives raises something else there than for all other damages."""
    reader = next(reader for reader in READERS if reader.name == name)
    damaged = bytearray(reader.good(tmp_path))
    entry = damaged.index(b"PK\x01\x02")
    damaged[entry + 9] |= 8  # the flag for UTF-8
    damaged[entry + 46] = 0xFF  # the first byte of the name
    (tmp_path / name).write_bytes(damaged)
    if name == "x.pt":
        found = file_kind(tmp_path / name)
        assert found.kind == "refused" and "damaged zip" in found.text
        return
    with pytest.raises(InfluenceError, match="cannot be"):
        reader.read(tmp_path / name)


def test_a_column_of_parquet_that_is_no_text_is_refused(tmp_path):
    """Found by fuzzing, and named as text by pyarrow only after the schema was read."""
    good = write_parquet(tmp_path / "g.parquet", ["a", "b"] * 6, age=list(range(12))).read_bytes()
    assert good.count(b"label") > 1
    (tmp_path / "x.parquet").write_bytes(good.replace(b"label", b"l\x80bel"))
    with pytest.raises(InfluenceError, match=r"cannot be read as Parquet|no column called label"):
        open_dataset(tmp_path / "x.parquet")


def test_a_zip_is_made_of_what_it_seems(tmp_path):
    """The seed of the zip fuzzing holds pictures: an empty archive would be refused whatever is done to it."""
    (tmp_path / "a.zip").write_bytes(zipped(tmp_path))
    assert len(zipfile.ZipFile(tmp_path / "a.zip").namelist()) == 12
