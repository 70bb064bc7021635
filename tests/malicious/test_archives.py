"""Datasets from strangers: archives, pictures and arrays that would harm the one who opens them.

The files are built here. Nothing may be written outside the fresh temporary folder, and that
folder must be gone after each refusal.
"""

import contextlib
import json
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from influence_core.data import open_dataset
from influence_core.data.readers.archive import MAX_MEMBERS, unpack_into
from influence_core.errors import DataError
from tests.making.pictures import encoded, pixels, write_parquet, write_split_folder, zip_folder
from tests.malicious.caps import assert_refused_cheaply


@pytest.fixture(autouse=True)
def jail(tmp_path, monkeypatch):
    """A temporary folder in a folder of its own; afterwards nothing may be left in it, nor lie beside it."""
    inside = tmp_path / "jail" / "temporary"
    inside.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(inside))
    before = sorted(path.name for path in Path("/tmp").glob("evil*"))
    yield inside
    assert not list(inside.iterdir()), "unpacked files were left behind"
    assert [path.name for path in inside.parent.iterdir()] == ["temporary"], "a member was written outside"
    assert sorted(path.name for path in Path("/tmp").glob("evil*")) == before


def archive_of(path: Path, name: str, data: bytes = b"x", mode: int = 0o644 | stat.S_IFREG) -> Path:
    info = zipfile.ZipInfo("placeholder")
    info.filename = name  # the constructor would already clean some of these names
    info.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train/a/0.png", encoded(pixels("dark", 0)))
        archive.writestr(info, data)
    return path


# --- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../evil.png", "points outside"),
        ("train/../../evil.png", "points outside"),
        ("../temporary-evil/x.png", "points outside"),
        ("train/..", "points outside"),
        ("/tmp/evil.png", "absolute path"),
        ("//server/evil.png", "absolute path"),
        ("C:/evil.png", "drive letter"),
        ("c:evil.png", "drive letter"),
        ("..\\evil.png", "points outside"),
        ("train\\..\\..\\evil.png", "points outside"),
        ("train/..\\..\\evil.png", "points outside"),
        ("C:\\evil.png", "drive letter"),
        ("\\evil.png", "absolute path"),
        ("\\\\server\\evil.png", "absolute path"),
        ("train\\\\evil.png", "empty part"),
        ("evil\x00.png", "control characters"),
        ("evil\n.png", "control characters"),
        ("evil\u202egnp.exe", "control characters"),
        ("train//evil.png", "empty part"),
        ("./evil.png", "empty part"),
        ("e" * 300 + ".png", "longer than 255 bytes"),
    ],
)
def test_names_that_could_leave_the_folder_are_refused(tmp_path, name, words):
    assert_refused_cheaply(
        archive_of(tmp_path / "a.zip", name), "a.zip was refused", words, "Nothing was unpacked"
    )


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path, kind):
    words = "symbolic link" if kind == stat.S_IFLNK else "neither a file nor a folder"
    assert_refused_cheaply(archive_of(tmp_path / "a.zip", "train/link", b"/etc/passwd", 0o777 | kind), words)


def test_a_link_followed_by_a_file_through_it_is_refused(tmp_path):
    path = archive_of(tmp_path / "a.zip", "train/out", b"../../..", 0o777 | stat.S_IFLNK)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train/out/evil.png", b"x")
    assert_refused_cheaply(path, "symbolic link")


@pytest.mark.filterwarnings("ignore:Duplicate name")  # zipfile warns while this test builds the file
def test_repeated_names_are_refused(tmp_path):
    for name in ("train/a/0.png", "train\\a\\0.png"):
        assert_refused_cheaply(archive_of(tmp_path / "a.zip", name), "more than once")


@pytest.mark.parametrize(
    "name", ["train/a/0.png/evil.png", "TRAIN/a/0.PNG/x/evil.png", "train/a/0.png/notes.txt"]
)
def test_a_name_that_is_both_file_and_folder_is_refused(tmp_path, name):
    assert_refused_cheaply(
        archive_of(tmp_path / "a.zip", name), "a.zip cannot be unpacked", "both a file and a folder"
    )


# --- sizes ------------------------------------------------------------------------------------------------


def test_a_bomb_is_stopped_while_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(10):
            archive.writestr(f"train/a/{number}.png", bytes(30 * 1024**2))
    assert (tmp_path / "a.zip").stat().st_size < 400_000
    assert_refused_cheaply(tmp_path / "a.zip", "unpacks to more than", "100 times")


def test_sizes_are_counted_not_believed(tmp_path):
    """Sizes in the archive's own tables are changed to 10 bytes; what comes out is far more."""
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = bytes(60 * 1024**2)
    raw = packed.compress(data) + packed.flush()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("train/a/0.png")
        archive.writestr(info, raw)
    content = (tmp_path / "a.zip").read_bytes()
    lying = patch_headers(content, method=8, size=10, crc=zlib.crc32(data))
    (tmp_path / "a.zip").write_bytes(lying)
    assert_refused_cheaply(tmp_path / "a.zip", "a.zip")


def patch_headers(content: bytes, method: int, size: int, crc: int) -> bytes:
    """Rewrite method, checksum and unpacked size in both headers of a zip with one member."""
    patched = bytearray(content)
    central = content.index(b"PK\x01\x02")
    for start, offset in ((0, 8), (central, 10)):
        struct.pack_into("<H", patched, start + offset, method)
        struct.pack_into("<I", patched, start + offset + 6, crc)
        struct.pack_into("<I", patched, start + offset + 14, size)
    return bytes(patched)


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("influence_core.data.readers.archive.MAX_MEMBERS", 20)
    path = zip_folder(write_split_folder(tmp_path / "toys"), tmp_path / "a.zip")
    assert_refused_cheaply(path, "36 entries", "at most 20")
    assert MAX_MEMBERS >= 100_000, "real datasets are large"


def test_encrypted_damaged_and_false_zips_are_refused(tmp_path):
    path = zip_folder(write_split_folder(tmp_path / "toys"), tmp_path / "a.zip")
    content = path.read_bytes()
    encrypted = bytearray(content)
    encrypted[content.index(b"PK\x01\x02") + 8] |= 1
    flipped = bytearray(content)
    flipped[60] ^= 0xFF
    for data, words in (
        (bytes(encrypted), "is encrypted"),
        (bytes(flipped), "cannot be unpacked"),
        (content[: len(content) // 2], "cannot be unpacked"),
        (b"", "cannot be unpacked"),
        (b"GIF89a", "cannot be unpacked"),
    ):
        path.write_bytes(data)
        assert_refused_cheaply(path, words)


def test_an_archive_in_an_archive_is_not_opened(tmp_path):
    inner = zip_folder(write_split_folder(tmp_path / "toys"), tmp_path / "inner.zip")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(inner, "train/a/inner.zip")
    assert_refused_cheaply(tmp_path / "a.zip", "No pictures")


# --- the store an archive is unpacked to ------------------------------------------------------------------


def test_a_store_is_the_folder_it_was_packed_from(tmp_path):
    """Same samples, same bytes, same fingerprint; few files, whatever the number of pictures."""
    root = write_split_folder(tmp_path / "toys")
    (root / "metadata.csv").write_text("file_name,site\n" + "".join(
        f"{file.relative_to(root).as_posix()},{'ab'[row % 2]}\n" for row, file in enumerate(sorted(root.rglob("*.png")))
    ))  # fmt: skip
    packed = unpack_into(tmp_path / "own", zip_folder(root, tmp_path / "toys.zip"), limit=10**9)
    assert sorted(path.name for path in packed.iterdir()) == ["files", "pictures.json", "pictures.pack"]
    assert [path.name for path in (packed / "files").rglob("*") if path.is_file()] == ["metadata.csv"]
    folder, zipped, stored = (open_dataset(path) for path in (root, tmp_path / "toys.zip", packed))
    assert folder.fingerprint == zipped.fingerprint == stored.fingerprint
    assert stored.name == "toys" and stored.train.image_bytes(3) == folder.train.image_bytes(3)


def test_a_changed_store_is_noticed_and_a_forged_one_leads_nowhere(tmp_path):
    """An index cannot point outside its pack, and what it names is no path that is opened."""
    packed = unpack_into(tmp_path / "own", zip_folder(write_split_folder(tmp_path / "toys"), tmp_path / "a.zip"),
                         limit=10**9)  # fmt: skip
    pack, index = packed / "pictures.pack", packed / "pictures.json"
    content, told = pack.read_bytes(), json.loads(index.read_text())
    pack.write_bytes(content[:40] + b"\0" + content[41:])
    with pytest.raises(DataError, match="was changed on disk"):
        open_dataset(packed)
    pack.write_bytes(content[:-1])
    with pytest.raises(DataError, match="its index states"):
        open_dataset(packed)
    pack.write_bytes(content)
    for forged in ({"lengths": [-1, *told["lengths"][1:]]}, {"lengths": told["lengths"][1:]}, {"names": [0] * 36},
                   {"checksums": [True] * 36}, {"lengths": [2**62] * 36}):  # fmt: skip
        index.write_text(json.dumps(told | forged))
        with pytest.raises(DataError, match="not an index of pictures"):
            open_dataset(packed)
    index.write_text(json.dumps(told | {"names": ["../../etc/passwd", *told["names"][1:]]}))
    with pytest.raises(DataError, match=r"lies? outside"):
        open_dataset(packed)


def test_an_archive_that_holds_a_store_is_no_store(tmp_path):
    """Its members are files like any other: nobody reads an index that a stranger wrote."""
    packed = unpack_into(tmp_path / "own", zip_folder(write_split_folder(tmp_path / "toys"), tmp_path / "a.zip"),
                         limit=10**9)  # fmt: skip
    assert_refused_cheaply(zip_folder(packed, tmp_path / "b.zip"), "No pictures")


def test_what_is_left_of_a_quota_limits_what_comes_out(tmp_path):
    path = zip_folder(write_split_folder(tmp_path / "toys"), tmp_path / "a.zip")
    with pytest.raises(DataError, match="share of the disk"):
        unpack_into(tmp_path / "own", path, limit=1_000)
    assert not list((tmp_path / "own").iterdir()), "a part was left behind"


# --- pictures ---------------------------------------------------------------------------------------------


def png_of(width: int, height: int) -> bytes:
    """A valid PNG header that promises a huge picture, with almost nothing behind it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = b""
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")):
        chunks += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("size", [(50_000, 50_000), (10_000, 10_000), (1, 2**31 - 1), (60_000_000, 1)])
def test_a_picture_bomb_is_refused_from_its_header(tmp_path, size):
    write_split_folder(tmp_path / "toys")
    (tmp_path / "toys/train/dark/bomb.png").write_bytes(png_of(*size))
    assert_refused_cheaply(tmp_path / "toys", "1 of 37", "train/dark/bomb.png", "pixels")


def test_foreign_formats_are_refused_whatever_their_name(tmp_path):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(/tmp/evil) (w) file closefile\n"
    for data, found in (
        (b"II+\x00" + bytes(100), "found BigTIFF"),
        (bytes(4) + b"ftypheic" + bytes(100), "found HEIC"),
        (eps, "found EPS"),
        (b"8BPS" + bytes(100), "found PSD"),
        (b"SIMPLE  =                    T" + bytes(100), "found FITS"),
        (b"%PDF-1.4", "found PDF"),
        (b"<svg onload=alert(1)>", "found SVG"),
        (b"PK\x03\x04" + bytes(50), "found zip archive"),
    ):
        root = write_split_folder(tmp_path / found)
        (root / "train/dark/x.png").write_bytes(data)
        assert_refused_cheaply(
            root, "train/dark/x.png", found, "only PNG, JPEG, WEBP, BMP, GIF, TIFF are read"
        )


def test_truncated_and_overwritten_pictures_are_refused(tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    root = write_split_folder(tmp_path / "toys")
    for format in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"):
        data = encoded(image, format)
        for fraction in (0.1, 0.5, 0.9):
            (root / "train/dark/x.png").write_bytes(data[: int(len(data) * fraction)])
            assert_refused_cheaply(root, "train/dark/x.png", f"damaged {format}")


def test_random_damage_never_escapes_as_another_error(tmp_path):
    """Whatever bytes are changed: the picture is read, or refused as a DataError."""
    generator = np.random.default_rng(0)
    image = Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    root = write_split_folder(tmp_path / "toys")
    exif = Image.Exif()
    exif[0x0112] = 6
    tiffs = [
        ("TIFF", {"compression": packing})
        for packing in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate")
    ]
    for format, options in (
        *[(name, {"exif": exif}) for name in ("PNG", "JPEG", "WEBP")],
        ("BMP", {}),
        ("GIF", {}),
        *tiffs,
    ):
        data = encoded(image, format, **options)
        for _ in range(25):
            damaged = bytearray(data)
            for position in generator.integers(8, len(data), size=3):
                damaged[position] = generator.integers(256)
            (root / "train/dark/x.png").write_bytes(bytes(damaged))
            try:
                open_dataset(root)
            except DataError as error:
                assert "x.png" in str(error)


def test_paths_inside_a_parquet_file_are_never_opened(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(pixels("dark", 1)))
    path = write_parquet(
        tmp_path / "a.parquet", ["a", "b"] * 5, paths=[f"{secret}#{row}" for row in range(10)]
    )
    assert str(secret) in open_dataset(path).train.ids[0]
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = [{"bytes": None, "path": str(secret)} for _ in range(10)]
    image = pa.array(image, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(pa.table({"image": image, "label": ["a", "b"] * 5}), path)
    assert_refused_cheaply(path, "10 of 10 samples", "the file is empty")


# --- arrays -----------------------------------------------------------------------------------------------


def test_arrays_of_python_objects_are_refused(tmp_path):
    labels = np.array([{"a": 1}, None] * 5, dtype=object)
    np.savez(tmp_path / "a.npz", x_train=np.zeros((10, 3)), y_train=labels, allow_pickle=True)
    assert_refused_cheaply(tmp_path / "a.npz", "y_train.npy holds Python objects", "could run code")


def test_an_array_that_lies_about_its_shape_is_refused_before_memory_is_taken(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    header += b" " * (128 - 11 - len(header)) + b"\n"
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(100)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x_train.npy", data)
    assert_refused_cheaply(tmp_path / "a.npz", "promises 4,000,000,000,000 bytes")


def test_damaged_tables_and_arrays_never_escape_as_another_error(tmp_path):
    generator = np.random.default_rng(1)
    x, y = generator.random((20, 5)), np.array([0, 1] * 10)
    np.savez_compressed(tmp_path / "good.npz", x_train=x, y_train=y)
    write_parquet(tmp_path / "good.parquet", ["a", "b"] * 10, age=list(range(20)))
    for name in ("good.npz", "good.parquet"):
        data = (tmp_path / name).read_bytes()
        path = tmp_path / f"damaged{Path(name).suffix}"
        for _ in range(60):
            damaged = bytearray(data)
            for position in generator.integers(len(data), size=3):
                damaged[position] = generator.integers(256)
            path.write_bytes(bytes(damaged))
            with contextlib.suppress(DataError):
                open_dataset(path)


def test_an_npz_with_something_else_inside_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x_train.npy", b"hello, no array")
    assert_refused_cheaply(tmp_path / "a.npz", "cannot be read as .npz")
