"""Files made to do harm: small ones that take memory, time, disk or the process of whoever opens them.

`DATA` are datasets and `MODELS` are files model.json, each a function that writes into an empty folder and returns the
path to open. `FAILED` names those that an earlier version could not bear.
"""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from tests.making.pictures import CLASSES, encoded, pixels, write_split_folder

Write = Callable[[Path], Path]
DATA: dict[str, Write] = {}
MODELS: dict[str, Write] = {}
FAILED: set[str] = set()
ROWS = 40


def data(name: str, failed: bool = False) -> Callable[[Write], Write]:
    def keep(write: Write) -> Write:
        DATA[name] = write
        FAILED.update({name} if failed else ())
        return write

    return keep


# --- pictures ---------------------------------------------------------------------------------------------


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, interlaced: bool = False) -> bytes:
    """A black PNG of a thousandth of its pixels in bytes."""
    channels = {0: 1, 2: 3, 3: 1, 6: 4}[colour]
    bits = channels * depth
    # An interlaced picture is seven smaller ones (start x, start y, step x, step y), each row behind a byte of its own.
    passes = (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    )
    sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
    packer = zlib.compressobj(9)
    body = b"".join(
        packer.compress(bytes(1 + columns * bits // 8) * rows)
        for columns, rows in (sizes if interlaced else [(width, height)])
    )
    body += packer.flush()
    return picture_of(("IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))),
                      ("IDAT", body), ("IEND", b""))  # fmt: skip


def picture_of(*chunks: tuple[str, bytes]) -> bytes:
    parts = (struct.pack(">I", len(data)) + name.encode() + data + struct.pack(">I", zlib.crc32(name.encode() + data))
             for name, data in chunks)  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def among_good(folder: Path, name: str, content: bytes, suffix: str = "png") -> Path:
    """A zip of good pictures with one that is not."""
    good = {f"train/{label}/{row}.png": encoded(pixels(label, row)) for label in CLASSES for row in range(6)}
    return zipped(folder / f"{name}.zip", good | {f"train/dark/bad.{suffix}": content})


def many(folder: Path, picture: bytes, count: int) -> Path:
    """A zip of so many pictures that differ in a byte behind their end."""
    pictures = {f"{CLASSES[row % 2]}/{row}.png": picture + bytes([row]) for row in range(count)}
    return zipped(folder / "many.zip", pictures)


@data("photos of 49 megapixels x 60", failed=True)
def _(folder: Path) -> Path:
    return many(folder, png(7_000, 7_000), 60)


@data("interlaced pictures of 49 megapixels x 30", failed=True)
def _(folder: Path) -> Path:
    return many(folder, png(7_000, 7_000, interlaced=True), 30)


@data("pictures of 49 megapixels of 16 bits x 8", failed=True)
def _(folder: Path) -> Path:
    return many(folder, png(7_000, 7_000, depth=16, colour=0), 8)


@data("a picture of 50,000 x 50,000")
def _(folder: Path) -> Path:
    return among_good(folder, "huge", picture_of(("IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)),
                                                 ("IDAT", zlib.compress(bytes(1000))), ("IEND", b"")))  # fmt: skip


@data("a picture with a text of 200 MB")
def _(folder: Path) -> Path:
    text = b"x\0\0" + zlib.compress(bytes(200_000_000), 9)
    good = encoded(pixels("dark", 1))
    return among_good(folder, "text", good[:33] + picture_of(("zTXt", text))[8:] + good[33:])


@data("a picture with a colour profile of 200 MB")
def _(folder: Path) -> Path:
    profile = b"x\0\0" + zlib.compress(bytes(200_000_000), 9)
    good = encoded(pixels("dark", 1))
    return among_good(folder, "profile", good[:33] + picture_of(("iCCP", profile))[8:] + good[33:])


for kind, suffix in (("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp"), ("BMP", "bmp")):

    @data(f"a {kind} that is cut off")
    def _(folder: Path, kind: str = kind, suffix: str = suffix) -> Path:
        whole = encoded(np.tile(pixels("dark", 1), (8, 8)), kind)
        return among_good(folder, "cut", whole[: len(whole) // 2], suffix)

    @data(f"a {kind} of noise behind its first bytes")
    def _(folder: Path, kind: str = kind, suffix: str = suffix) -> Path:
        whole = encoded(pixels("dark", 1), kind)
        return among_good(folder, "noise", whole[:24] + np.random.default_rng(0).bytes(4_000), suffix)


for name, content in {
    "an SVG": b"<svg onload='alert(1)'/>",
    "a GIF": b"GIF89a" + bytes(40),
    "an EPS": b"%!PS-Adobe\n(%pipe%touch /tmp/evil) (r) file",
    "a TIFF": b"II*\x00" + bytes(40),
    "nothing": b"",
    "a web page": b"<html><script>",
}.items():

    @data(f"{name} called .png")
    def _(folder: Path, content: bytes = content) -> Path:
        return among_good(folder, "false", content)


@data("a JPEG whose header says 65,000 x 65,000")
def _(folder: Path) -> Path:
    whole = bytearray(encoded(pixels("dark", 1), "JPEG"))
    at = whole.index(b"\xff\xc0")
    struct.pack_into(">HH", whole, at + 5, 65_000, 65_000)
    return among_good(folder, "jpeg", bytes(whole), "jpg")


@data("a JPEG of a thousand scans")
def _(folder: Path) -> Path:
    whole = encoded(Image.effect_noise((2_000, 2_000), 50), "JPEG", progressive=True)
    at = whole.rindex(b"\xff\xda")
    return among_good(folder, "scans", whole[:at] + whole[at:-2][:200] * 1_000 + whole[-2:], "jpg")


@data("a picture with a turned and damaged EXIF")
def _(folder: Path) -> Path:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\xff\xff\xff\xff\0\x06\0\0" + bytes(4)
    return among_good(folder, "exif", encoded(pixels("dark", 1), "JPEG", exif=exif), "jpg")


# --- archives ---------------------------------------------------------------------------------------------


@data("a zip of zeros called pictures")
def _(folder: Path) -> Path:
    return zipped(folder / "bomb.zip", {f"a/{row}.png": bytes(30_000_000) for row in range(10)})


@data("a zip of zips of zeros")
def _(folder: Path) -> Path:
    inner = zipped(folder / "inner", {f"{row}.png": bytes(30_000_000) for row in range(10)}).read_bytes()
    return zipped(folder / "zips.zip", {f"train/a/{row}.zip": inner for row in range(200)})


@data("a zip of 290,000 folders", failed=True)
def _(folder: Path) -> Path:
    return directory_alone(folder / "folders.zip", (f"train/{row}/x/a.txt" for row in range(290_000)))


@data("a zip of two million entries", failed=True)
def _(folder: Path) -> Path:
    return directory_alone(folder / "entries.zip", (f"{row}.txt" for row in range(2_000_000)))


def directory_alone(path: Path, names: object) -> Path:
    """A zip whose directory names empty files that are all the same one: millions of entries in a second."""
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 0, 0, 33, 0, 0, 0, 1, 0) + b"a"
    head = struct.Struct("<4sHHHHHHIIIHHHHHII")
    entries = [head.pack(b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0) + name.encode()
               for name in names]  # fmt: skip
    directory, count = b"".join(entries), len(entries)
    start = len(local)
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + len(directory), 1)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(local + directory + end64 + locator + end)
    return path


@data("a zip whose names are 30,000 folders deep")
def _(folder: Path) -> Path:
    return directory_alone(folder / "steep.zip", ("a/" * 30_000 + f"{row}.png" for row in range(50)))


for name in ("../evil.png", "/tmp/evil.png", "C:/evil.png", "..\\evil.png", "a\x00.png", "e" * 300 + ".png"):

    @data(f"a zip with the name {name[:20]!a}")
    def _(folder: Path, name: str = name) -> Path:
        info = zipfile.ZipInfo("x")
        info.filename = name
        with zipfile.ZipFile(folder / "names.zip", "w") as archive:
            archive.writestr("train/a/0.png", encoded(pixels("dark", 0)))
            archive.writestr(info, b"x")
        return folder / "names.zip"


@data("a zip with a link to /etc/passwd")
def _(folder: Path) -> Path:
    info = zipfile.ZipInfo("train/a/link.png")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(folder / "link.zip", "w") as archive:
        archive.writestr(info, b"/etc/passwd")
    return folder / "link.zip"


for share in (0.5, 0.9, 0.999):

    @data(f"a zip of which {share:.1%} is there")
    def _(folder: Path, share: float = share) -> Path:
        whole = among_good(folder, "cut", b"").read_bytes()
        (folder / "cut.zip").write_bytes(whole[: int(share * len(whole))])
        return folder / "cut.zip"


@data("a zip that says it has a directory of 3 GB")
def _(folder: Path) -> Path:
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 9, 9, 3_000_000_000, 0, 0)
    (folder / "false.zip").write_bytes(bytes(100) + end)
    return folder / "false.zip"


@data("a zip compressed by LZMA")
def _(folder: Path) -> Path:
    return zipped(folder / "lzma.zip", {"a/0.png": bytes(1_000_000)}, zipfile.ZIP_LZMA)


@data("metadata of 21 million empty rows", failed=True)
def _(folder: Path) -> Path:
    pictures = {f"{row}.png": encoded(pixels(CLASSES[row % 2], row)) for row in range(ROWS)}
    padding = np.random.default_rng(0).bytes(700_000)  # lets the archive unpack to more
    return zipped(
        folder / "rows.zip", pictures | {"notes.md": padding, "metadata.jsonl": b"{}\n" * 21_000_000}
    )


@data("metadata nested 100,000 deep")
def _(folder: Path) -> Path:
    pictures = {f"{row}.png": encoded(pixels(CLASSES[row % 2], row)) for row in range(ROWS)}
    return zipped(
        folder / "nested.zip", pictures | {"metadata.jsonl": b'{"file_name":' + b"[" * 100_000 + b"\n"}
    )


@data("metadata of a million columns")
def _(folder: Path) -> Path:
    pictures = {f"{row}.png": encoded(pixels(CLASSES[row % 2], row)) for row in range(ROWS)}
    return zipped(folder / "wide.zip", pictures | {"metadata.csv": b"file_name" + b",a" * 1_000_000 + b"\n"})


# --- Parquet ----------------------------------------------------------------------------------------------


def parquet(path: Path, metadata: object = None, **columns: object) -> Path:
    table = pa.table(columns)
    if metadata is not None:
        text = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
        table = table.replace_schema_metadata({b"huggingface": text})
    pq.write_table(table, path, compression="zstd")
    return path


def good_pictures() -> list[dict]:
    return [{"bytes": encoded(pixels(CLASSES[row % 2], row)), "path": f"{row}.png"} for row in range(ROWS)]


@data("a table of zeros in Parquet", failed=True)
def _(folder: Path) -> Path:
    group = pa.table(
        {name: np.zeros(2_000_000, np.float64) for name in ("x", "y", "z")}
        | {"label": ["a", "b"] * 1_000_000}
    )
    with pq.ParquetWriter(folder / "zeros.parquet", group.schema) as writer:
        for _ in range(8):
            writer.write_table(group)
    return folder / "zeros.parquet"


@data("a word of 1 MB in every row of a Parquet", failed=True)
def _(folder: Path) -> Path:
    return word(folder, said=False)


@data("a category of 1 MB in every row of a Parquet")
def _(folder: Path) -> Path:
    return word(folder, said=True)


def word(folder: Path, said: bool) -> Path:
    """A table whose column of words is one of a million letters; as a category where the file says so."""
    words = pa.DictionaryArray.from_arrays(pa.array(np.zeros(6_000, np.int32)), pa.array(["x" * 1_000_000]))
    pq.write_table(
        pa.table({"word": words, "label": ["a", "b"] * 3_000}), folder / "w.parquet", store_schema=said
    )
    return folder / "w.parquet"


@data("one picture 3,000 times in Parquet", failed=True)
def _(folder: Path) -> Path:
    picture = encoded(np.random.default_rng(0).integers(0, 255, (400, 400, 3), dtype=np.uint8))
    blobs = pa.DictionaryArray.from_arrays(pa.array(np.zeros(3_000, np.int32)), pa.array([picture]))
    image = pa.StructArray.from_arrays([blobs, pa.nulls(3_000, pa.string())], ["bytes", "path"])
    pq.write_table(
        pa.table({"image": image, "label": ["a", "b"] * 1_500}), folder / "p.parquet", store_schema=False
    )
    return folder / "p.parquet"


@data("a path of 1 MB in every row of a Parquet")
def _(folder: Path) -> Path:
    image = [
        {"bytes": encoded(pixels(CLASSES[row % 2], row % 40)), "path": "x" * 1_000_000} for row in range(600)
    ]
    return parquet(folder / "path.parquet", image=image, label=["a", "b"] * 300)


for name, metadata in {
    "nested deep": b'{"info":' + b'{"a":' * 50_000,
    "whose names are a number": {"info": {"features": {"label": {"names": 7}}}},
    "whose names are a table": {"info": {"features": {"label": {"names": {"a": 1}}}}},
    "that is a list": [1],
}.items():

    @data(f"Hugging Face metadata {name}", failed=name in ("nested deep", "whose names are a number"))
    def _(folder: Path, metadata: object = metadata) -> Path:
        return parquet(folder / "face.parquet", metadata, image=good_pictures(), label=[0, 1] * (ROWS // 2))


@data("infinity as a label under Hugging Face metadata", failed=True)
def _(folder: Path) -> Path:
    names = {"info": {"features": {"label": {"names": ["a", "b"]}}}}
    return parquet(
        folder / "inf.parquet", names, image=good_pictures(), label=[0.0, 1.0] * 19 + [np.inf, -np.inf]
    )


@data("words and numbers as labels under Hugging Face metadata")
def _(folder: Path) -> Path:
    names = {"info": {"features": {"label": {"names": ["a", "b"]}}}}
    return parquet(folder / "mixed.parquet", names, image=good_pictures(), label=["0", "b"] * 20)


@data("a Parquet of 5,000 columns")
def _(folder: Path) -> Path:
    return parquet(
        folder / "wide.parquet", **{f"c{number}": [0, 1] for number in range(5_000)}, label=["a", "b"]
    )


@data("a Parquet of lists")
def _(folder: Path) -> Path:
    return parquet(folder / "lists.parquet", x=[[1] * 100_000] * ROWS, label=["a", "b"] * 20)


for share in (0.3, 0.95):

    @data(f"a Parquet of which {share:.0%} is there")
    def _(folder: Path, share: float = share) -> Path:
        path = parquet(folder / "cut.parquet", image=good_pictures(), label=["a", "b"] * 20)
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)] + b"PAR1")
        return path


# --- arrays -----------------------------------------------------------------------------------------------


def npz(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez_compressed(folder / "a.npz", **arrays)
    return folder / "a.npz"


def raw_npz(folder: Path, headers: dict[str, tuple[str, object, int]]) -> Path:
    """An .npz of zeros whose headers say what they like."""
    members = {}
    for name, (dtype, shape, size) in headers.items():
        buffer = io.BytesIO()
        text = str({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
        buffer.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n" + bytes(size))
        members[f"{name}.npy"] = buffer.getvalue()
    return zipped(folder / "a.npz", members)


LABELS = np.arange(ROWS) % 2
VALUES = np.random.default_rng(0).normal(size=(ROWS, 3))


@data("an npz of zeros", failed=True)
def _(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "zeros.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, shape, dtype in (
            ("x_train", (300_000, 28, 28, 3), "|u1"),
            ("y_train", (300_000,), "|u1"),
        ):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                text = str({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
                file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n")
                left, block = int(np.prod(shape)), bytes(8_000_000)
                while left > 0:
                    left -= file.write(block[:left])
    return folder / "zeros.npz"


for name, labels in {
    "a single value as y": np.int64(1),
    "rows of fields as y": np.zeros(ROWS, dtype=[("a", int), ("b", int)]),
    "times as y": np.zeros(ROWS, dtype="M8[s]"),
    "complex numbers as y": np.zeros(ROWS, dtype=complex),
    "measurements as y": np.random.default_rng(0).normal(size=ROWS),
    "four axes as y": np.zeros((ROWS, 2, 2, 2)),
    "no rows as y": np.zeros((0,)),
}.items():

    @data(f"an npz with {name}", failed=name in ("a single value as y", "rows of fields as y"))
    def _(folder: Path, labels: np.ndarray = labels) -> Path:
        return npz(folder, x_train=VALUES, y_train=labels)


@data("an npz with classes of shape ()", failed=True)
def _(folder: Path) -> Path:
    return npz(folder, x_train=VALUES, y_train=LABELS, classes=np.array("ab"))


@data("an npz of objects")
def _(folder: Path) -> Path:
    np.savez(folder / "a.npz", x_train=VALUES, y_train=np.array([object()] * ROWS), allow_pickle=True)
    return folder / "a.npz"


for name, headers in {
    "a header of 4 TB": {"x_train": ("<f8", (10**9, 500), 80), "y_train": ("<i8", (10**9,), 80)},
    "words of no letters": {"x_train": ("<f8", (10**9, 0), 0), "y_train": ("<U0", (10**12,), 0)},
    "a shape below 0": {"x_train": ("<f8", (-1, -4), 80), "y_train": ("<i8", (-1,), 80)},
    "a type that is nested": {"x_train": ([[[]]], (1,), 0)},
    "twenty million rows of one byte": {"x_train": ("|u1", (20_000_000, 1), 20_000_000),
                                        "y_train": ("|u1", (20_000_000,), 20_000_000)},
}.items():  # fmt: skip

    @data(f"an npz with {name}")
    def _(folder: Path, headers: dict = headers) -> Path:
        return raw_npz(folder, headers)


@data("an npz that is cut off")
def _(folder: Path) -> Path:
    path = npz(folder, x_train=VALUES, y_train=LABELS)
    path.write_bytes(path.read_bytes()[:-30])
    return path


# --- tensors, tables, other layouts -----------------------------------------------------------------------


class Harmful:
    def __reduce__(self) -> tuple:
        return (print, ("this was run",))


@data("a .pt that runs code")
def _(folder: Path) -> Path:
    torch.save({"x": Harmful()}, folder / "code.pt")
    return folder / "code.pt"


@data("a .pt of one number seen as 40 GB")
def _(folder: Path) -> Path:
    torch.save((torch.zeros(1).expand(100_000, 100_000), torch.zeros(100_000)), folder / "wide.pt")
    return folder / "wide.pt"


@data("a .pt that is cut off")
def _(folder: Path) -> Path:
    torch.save((torch.zeros(ROWS, 3), torch.zeros(ROWS)), folder / "cut.pt")
    (folder / "cut.pt").write_bytes((folder / "cut.pt").read_bytes()[:-60])
    return folder / "cut.pt"


@data("MNIST files that promise 4 GB")
def _(folder: Path) -> Path:
    (folder / "train-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3]) + struct.pack(">III", 10**6, 64, 64))
    (folder / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1]) + struct.pack(">I", 10**6))
    return folder


@data("a table of zero bytes")
def _(folder: Path) -> Path:
    (folder / "nul.csv").write_bytes(b"a,label\n" + b"\0" * 1_000_000)
    return folder / "nul.csv"


@data("a table of one line of 40 MB")
def _(folder: Path) -> Path:
    (folder / "line.csv").write_bytes(b"a,label\n" + b"1," * 20_000_000)
    return folder / "line.csv"


@data("a table of noise")
def _(folder: Path) -> Path:
    (folder / "noise.csv").write_bytes(np.random.default_rng(0).bytes(200_000))
    return folder / "noise.csv"


@data("a folder of pictures in a circle of links")
def _(folder: Path) -> Path:
    write_split_folder(folder / "toys")
    (folder / "toys/train/dark/loop").symlink_to(folder / "toys/train", target_is_directory=True)
    return folder / "toys"


# --- model.json -------------------------------------------------------------------------------------------

GOOD = {"channels": 1, "size": [8, 8], "mean": [0.5], "std": [0.5]}


def spec_of(architecture: str, **changes: object) -> str:
    return json.dumps({"architecture": architecture, "preprocessing": GOOD | changes})


for name, spec in {
    "channels of 1e400": spec_of("small_cnn", channels="?").replace('"?"', "1e400"),
    "a size of 1e9": spec_of("mlp", size=[10**9, 10**9]),
    "an mlp of 30,000 x 30,000": spec_of("mlp", size=[30_000, 30_000]),
    "a vit of side 14,000": spec_of("vit_h_14", channels=3, size=[14_000, 14_000]),
    "a nest of 100,000": "[" * 100_000,
}.items():

    def write_spec(folder: Path, spec: str = spec) -> Path:
        (folder / "model.json").write_text(spec)
        return folder

    MODELS[f"model.json with {name}"] = write_spec
