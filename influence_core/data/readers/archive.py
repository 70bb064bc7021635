"""Safe unpacking of untrusted zip archives.

Members are unpacked one by one, as a stream, into a new store: pictures into its pack, other files below its folder.
Names that could leave the folder, links, devices, repeated names and encrypted members are refused before anything is
written. Bytes are counted as they come out: the sizes an archive states are not trusted.
"""

import io
import os
import re
import stat
import struct
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from influence_core.data.readers.folder import is_hidden
from influence_core.data.readers.needs import MAX_MEMBERS, MAX_RATIO, Counted, most_unpacked
from influence_core.data.readers.picture_names import is_picture
from influence_core.data.rows import unreadable
from influence_core.data.storage.store import FILES, Packing, TemporaryStore
from influence_core.errors import DataError
from influence_core.system.report import Report

MAX_PLACES = 60_000
"""Folders, and files that are no pictures: each is made on disk, where a picture only joins the pack."""
PLACE_BYTES = 4_096
MAX_DEPTH = 32
MAX_BYTES = 8 * 1024**3
CHUNK = 1024**2
DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""Exceptions of zipfile for damaged archives; a name that is not UTF-8 raises a ValueError."""
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
DOS_FOLDER = 0x10
REPORTED = 500
"""Members between two reports of progress."""
# Control characters, and those that change the direction of text so that a name looks like another.
FORBIDDEN = re.compile("[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


def unpack(
    path: Path, *, within: Path | None = None, limit: int = MAX_BYTES, report: Report | None = None
) -> TemporaryStore:
    """Unpack a zip safely into a store of at most `limit` bytes, in the folder `within` or that of temporary files.

    Raises:
        DataError: the archive is damaged, unsafe or too large; nothing is left behind.
    """
    target = TemporaryStore(within)
    try:
        with (
            Counted(io.FileIO(path)) as file,
            zipfile.ZipFile(file) as archive,
            Packing(target.path) as packing,
        ):
            allowance = Allowance(path, limit)
            check_places(archive.namelist(), path, allowance)
            members = checked_members(archive, path)
            copy_members(archive, members, target.path / FILES, packing, allowance, report)
            packing.finish()
    except DAMAGES as error:
        target.remove()
        raise unreadable(path, "unpacked", error, "Pack the folder again as a plain zip.") from error
    except BaseException:
        target.remove()
        raise
    return target


def unpack_into(folder: Path, path: Path, *, limit: int, report: Report | None = None) -> Path:
    """Unpack a zip into a permanent store: a new folder within `folder`, named after the zip; see `unpack`."""
    folder.mkdir(exist_ok=True, mode=0o700)
    parent = Path(tempfile.mkdtemp(prefix="unpacked-", dir=folder))
    try:
        unpacked = unpack(path, within=parent, limit=limit, report=report)
    except BaseException:
        parent.rmdir()
        raise
    unpacked.remove.detach()
    return unpacked.path.rename(parent / path.stem)


def check_places(names: list[str], path: Path, allowance: "Allowance") -> None:
    """Count the folders and files that will be made on disk, before any name is looked at closer."""
    names = [slashed(name) for name in names]
    if deep := [name for name in names if name.count("/") > MAX_DEPTH]:
        raise DataError(
            f"{path.name} was refused: its entry {printable(deep[0])} lies more than {MAX_DEPTH} folders deep. Pack "
            "the pictures in one folder a class."
        )
    others = sum(not name.endswith("/") and not is_picture(name) for name in names)
    folders: set[str] = set()
    above = {name.rpartition("/")[0] for name in names} - {""}
    while above and len(folders) <= MAX_PLACES:
        folders |= above
        above = {folder.rpartition("/")[0] for folder in above} - {""} - folders
    if (places := others + len(folders)) > MAX_PLACES:
        raise DataError(
            f"{path.name} was refused: it holds {len(folders):,} folders and {others:,} files that are no pictures; "
            f"{MAX_PLACES:,} together are unpacked. Pack the pictures alone, in one folder a class."
        )
    allowance.take(PLACE_BYTES * places)


def checked_members(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """Return the files to write, after checking the name and kind of every entry."""
    entries = archive.infolist()
    if len(entries) > MAX_MEMBERS:
        raise DataError(f"{path.name} holds {len(entries):,} entries; at most {MAX_MEMBERS:,} are unpacked.")
    for entry in entries:
        entry.filename = slashed(entry.orig_filename)
    for entry in entries:
        if fault := entry_fault(entry):
            raise DataError(
                f"{path.name} was refused: its entry {printable(entry.orig_filename)} {fault}. Nothing was "
                "unpacked. Pack the folder again with ordinary files and relative names only."
            )
    files = [
        entry
        for entry in entries
        if not is_folder(entry) and not any(map(is_hidden, entry.filename.split("/")))
    ]
    names = [entry.filename for entry in files]
    check_distinct(names, path)
    check_no_file_is_a_folder(names, path)
    return files


def check_distinct(names: list[str], path: Path) -> None:
    """Raise DataError where a name occurs twice, also in another case or another encoding of an accent."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.get(folded(name))
        if other == name:
            raise DataError(f"{path.name} was refused: it holds {printable(name)} more than once.")
        if other is not None:
            raise DataError(
                f"{path.name} was refused: {printable(other)} and {printable(name)} are one name on some systems. "
                "Rename one of them."
            )
        seen[folded(name)] = name


def check_no_file_is_a_folder(names: list[str], path: Path) -> None:
    """Raise DataError where a file lies below another file: a pack could hold both, a folder could not."""
    files = {folded(name) for name in names}
    folders: Collection[str] = names
    while folders := {name.rpartition("/")[0] for name in folders} - {""}:
        for folder in folders:
            if folded(folder) in files:
                raise DataError(
                    f"{path.name} cannot be unpacked: {printable(folder)} is both a file and a folder. Rename one of "
                    "them."
                )


def folded(name: str) -> str:
    """Return a name without the differences that some file systems ignore: case and the encoding of accents."""
    return unicodedata.normalize("NFC", name).casefold()


def is_folder(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is a folder, by the end of its name or by the mark that DOS gave to folders."""
    return entry.is_dir() or (entry.external_attr & DOS_FOLDER != 0 and entry.file_size == 0)


def slashed(name: str) -> str:
    """Return a name with slashes: some programs on Windows write backslashes between folders."""
    return name.replace("\\", "/")


def entry_fault(entry: zipfile.ZipInfo) -> str | None:
    """Return the fault of an entry, judged by its whole name with slashes; None for a good one."""
    name = slashed(entry.orig_filename)
    parts = name.rstrip("/").split("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    faults = (
        (FORBIDDEN.search(name), "has control characters in its name"),
        (name.startswith("/"), "is an absolute path"),
        (re.match(r"[A-Za-z]:", name), "begins with a drive letter"),
        (".." in parts, "points outside the folder"),
        ("" in parts or "." in parts, "has an empty part in its path"),
        (
            max(len(part.encode("utf-8", "replace")) for part in parts) > 255,
            "has a name longer than 255 bytes",
        ),
        (kind == stat.S_IFLNK, "is a symbolic link"),
        (kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK), "is neither a file nor a folder"),
        (entry.flag_bits & 1, "is encrypted"),
        (entry.compress_type not in COMPRESSIONS, "uses an uncommon compression"),
    )
    return next((text for wrong, text in faults if wrong), None)


class Allowance:
    """The number of bytes that may still be unpacked, whatever sizes the archive states; a folder counts as a block."""

    def __init__(self, path: Path, limit: int):
        self._path, self._packed = path, path.stat().st_size
        self._limit = self._left = most_unpacked(self._packed, min(limit, MAX_BYTES))

    def take(self, count: int) -> None:
        """Subtract `count` bytes; raise DataError at the first byte beyond the limit."""
        self._left -= count
        if self._left < 0:
            raise DataError(
                f"{self._path.name} was refused: it unpacks to more than {self._limit:,} bytes, from "
                f"{self._packed:,} packed ones. At most {MAX_RATIO} times the packed size, {MAX_BYTES:,} bytes, and "
                "what is left of your share of the disk are unpacked."
            )


def copy_members(
    archive: zipfile.ZipFile,
    members: list[zipfile.ZipInfo],
    root: Path,
    packing: Packing,
    allowance: Allowance,
    report: Report | None,
) -> None:
    """Copy pictures into the pack and other files below root. Folders of both are created: readers use them."""
    made: set[Path] = set()
    top = os.path.join(root.resolve(), "")
    for done, member in enumerate(members):
        # The folder is new and holds no link, so the path needs no resolving: that took longer than writing a
        # small picture.
        target = Path(os.path.normpath(top + member.filename))
        if not str(target).startswith(top):
            raise DataError(
                f"{archive.filename} was refused: {printable(member.filename)} points outside the folder."
            )
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        if is_picture(member.filename):
            copy_member(archive, member, packing.sink, allowance)
            packing.finished(member.filename, member.CRC)
        else:
            with target.open("xb") as sink:
                copy_member(archive, member, sink, allowance)
        if report and done % REPORTED == 0:
            report("Unpacking", done, len(members))


def copy_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, sink: BinaryIO, allowance: Allowance
) -> None:
    """Write one member in chunks; zipfile compares its checksum at the end."""
    with archive.open(member) as source:
        while chunk := source.read(CHUNK):
            allowance.take(len(chunk))
            sink.write(chunk)


def printable(name: str) -> str:
    """Return an untrusted name as short ASCII text."""
    return ascii(name if len(name) <= 80 else name[:77] + "...")
