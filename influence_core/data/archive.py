"""How is a zip from a stranger unpacked without harm?

Member by member, as a stream, into a fresh temporary folder. Names that could leave the folder, links,
devices, repeated names and encrypted members are refused before anything is written. Bytes are counted as
they come out: the sizes an archive states about itself are only its own claim.
"""

import os
import re
import shutil
import stat
import tempfile
import unicodedata
import weakref
import zipfile
import zlib
from pathlib import Path

from influence_core.data.folder import is_hidden
from influence_core.errors import DataError

MAX_MEMBERS = 300_000
MAX_BYTES = 8 * 1024**3
MAX_RATIO = 100
FREE_BYTES = 20 * 1024**2  # below this, a high ratio is harmless
CHUNK = 1024**2
# Control characters, and those that turn the direction of writing so that a name shows as another.
FORBIDDEN = re.compile("[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


class UnpackedArchive:
    """The temporary folder of an unpacked archive; it disappears with the last reference to it."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="influence-"))
        self.remove = weakref.finalize(self, remove_folder, self.path, os.getpid())


def remove_folder(path: Path, owner: int) -> None:
    # A forked data loader shares the folder but must not delete it for its parent.
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)


def unpack(path: Path) -> UnpackedArchive:
    """Unpack a zip safely. Raises DataError and leaves nothing behind when anything about it is wrong."""
    target = UnpackedArchive()
    try:
        with zipfile.ZipFile(path) as archive:
            members = checked_members(archive, path)
            copy_members(archive, members, target.path, path)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        target.remove()
        raise DataError(
            f"{path.name} cannot be unpacked: {error}. Pack the folder anew as a plain zip."
        ) from error
    except BaseException:
        target.remove()
        raise
    return target


def checked_members(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """Return the files to write, after every entry has been judged by its name and kind."""
    entries = archive.infolist()
    if len(entries) > MAX_MEMBERS:
        raise DataError(f"{path.name} holds {len(entries):,} entries; at most {MAX_MEMBERS:,} are unpacked.")
    for entry in entries:
        fault = entry_fault(entry)
        if fault:
            raise DataError(
                f"{path.name} was refused: its entry {printable(entry.orig_filename)} {fault}. Nothing was "
                "unpacked. Pack the folder anew with ordinary files and relative names only."
            )
    files = [
        entry
        for entry in entries
        if not entry.is_dir() and not any(map(is_hidden, entry.filename.split("/")))
    ]
    names = [entry.filename for entry in files]
    check_distinct(names, path)
    return files


def check_distinct(names: list[str], path: Path) -> None:
    """No name twice, also where case or the spelling of an accent makes no difference to a file system."""
    seen: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFC", name).casefold()
        other = seen.get(key)
        seen[key] = name
        if other is None:
            continue
        if other == name:
            raise DataError(f"{path.name} was refused: it holds {printable(name)} more than once.")
        raise DataError(
            f"{path.name} was refused: {printable(other)} and {printable(name)} are one name on some systems. "
            "Rename one of them."
        )


def entry_fault(entry: zipfile.ZipInfo) -> str | None:
    """Say what is wrong with an entry, judged by the name as written in the archive; None when nothing is."""
    name = entry.orig_filename
    parts = name.rstrip("/").split("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    faults = (
        (FORBIDDEN.search(name), "has control characters in its name"),
        ("\\" in name, "has a backslash in its name"),
        (name.startswith("/"), "is an absolute path"),
        (re.match(r"[A-Za-z]:", name), "begins with a drive letter"),
        (".." in parts, "points outside the folder"),
        ("" in parts or "." in parts, "has an empty part in its path"),
        (
            any(len(part.encode("utf-8", "replace")) > 255 for part in parts),
            "has a name longer than 255 bytes",
        ),
        (kind == stat.S_IFLNK, "is a symbolic link"),
        (kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK), "is neither a file nor a folder"),
        (entry.flag_bits & 1, "is encrypted"),
        (
            entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
            "uses an uncommon compression",
        ),
    )
    return next((text for wrong, text in faults if wrong), None)


def copy_members(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], root: Path, path: Path) -> None:
    """Write the members below root, stopping at the first byte over the limit."""
    limit = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * path.stat().st_size))
    written, made = 0, set()
    top = os.path.join(root.resolve(), "")
    for member in members:
        # The folder is new and holds no link, so the text of a path is the path: asking the system for each of its
        # parts took longer than writing a small picture.
        target = Path(os.path.normpath(top + member.filename))
        if not str(target).startswith(top):
            raise DataError(
                f"{path.name} was refused: {printable(member.filename)} points outside the folder."
            )
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        with archive.open(member) as source, target.open("xb") as sink:
            while chunk := source.read(CHUNK):
                written += len(chunk)
                if written > limit:
                    raise DataError(
                        f"{path.name} was refused: it unpacks to more than {limit:,} bytes, from "
                        f"{path.stat().st_size:,} packed ones. At most {MAX_RATIO} times the packed size and "
                        f"{MAX_BYTES:,} bytes are unpacked."
                    )
                sink.write(chunk)


def printable(name: str) -> str:
    """Show a hostile name harmlessly, and shortly."""
    return ascii(name if len(name) <= 80 else name[:77] + "...")
