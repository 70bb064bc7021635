"""Whose files are these, where do they lie, and when are they gone?

    <runs>/.uploads/<128 random bits>/
        about.json      who may read it (a hash), when it came and was last used, the plan a person has made so far
        files/          what was sent, under names of our own
        store/          what a zip of pictures was unpacked to; the zip itself is gone then
        model/          the weights as safetensors, with model.json

The folder's name is the only way to it and is never listed to anybody else; knowing it is not enough, the owner's key
must fit too. What is asked for in vain, by a stranger or after deletion, is answered by the same sentence. Bytes are
counted as they come. A run made from an upload is its owner's, unless shared, and is deleted with it: nothing derived
outlives its source.
"""

import hashlib
import hmac
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from influence_core.errors import UploadError
from influence_core.jobs import submission as jobs
from influence_core.run_files.folder import FOLDER_NAME
from influence_core.system import atomic
from influence_core.system.times import utc_now

FOLDER = ".uploads"
ID = re.compile(r"[0-9a-f]{32}")
CHUNK = 4 * 1024**2
SPARE_DISK = 1024**3
"""Bytes that an upload must leave free on the disk."""
SUFFIXES = {
    "dataset": (".zip", ".csv", ".parquet", ".npz"),
    "model": (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".json"),
}
SPEC = "model.json"
"""The name on disk of a JSON file that came with weights: their reader looks for it."""
NOT_THERE = (
    "There is no such upload for you: it was deleted, has expired, or belongs to somebody else. Upload again."
)


@dataclass(frozen=True)
class Upload:
    """One upload: its folder, and the plan made with it so far (dataset, model and options, plain JSON)."""

    folder: Path
    plan: Mapping[str, Any]
    shared: bool

    @property
    def id(self) -> str:
        return self.folder.name


@dataclass(frozen=True)
class Deleted:
    """What a deletion took away."""

    files: int
    bytes: int
    runs: tuple[str, ...]


def begin(root: Path, owner: str) -> Upload:
    """Make an empty upload for this owner; `root` is the folder of the runs."""
    folder = root / FOLDER / secrets.token_hex(16)
    (root / FOLDER).mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(mode=0o700)
    _write(
        folder,
        {"owner": _hashed(owner), "created": utc_now(), "used": utc_now(), "shared": False, "plan": {}},
    )
    return Upload(folder, {}, False)


def open_upload(root: Path, name: str, owners: Collection[str]) -> Upload:
    """Open one's own upload, and note that it is used.

    Args:
        root: The folder of the runs.
        name: The id, as the address bar carries it.
        owners: Every key this visitor holds: a browser's own, a signed-in name.

    Raises:
        UploadError: There is none, or it is somebody else's; the words are the same.
    """
    folder = root / FOLDER / name
    if not ID.fullmatch(name) or (about := _read(folder)) is None or not _fits(about, owners):
        raise UploadError(NOT_THERE)
    if _age(about["used"]) > timedelta(minutes=1):
        _write(folder, about | {"used": utc_now()})
    return Upload(folder, about["plan"], bool(about["shared"]))


def _fits(about: Mapping[str, Any], owners: Collection[str]) -> bool:
    return any(hmac.compare_digest(about["owner"], _hashed(owner)) for owner in owners)


def remember(upload: Upload, **changes: Any) -> Upload:
    """Keep choices of the plan on disk; None takes one back."""
    about = _read(upload.folder)
    if about is None:
        raise UploadError(NOT_THERE)
    plan = {name: value for name, value in {**about["plan"], **changes}.items() if value is not None}
    _write(upload.folder, about | {"plan": plan})
    return Upload(upload.folder, plan, upload.shared)


def share(upload: Upload, shared: bool) -> Upload:
    """Let everybody of this server open the runs made from it, or take that back."""
    about = _read(upload.folder)
    if about is None:
        raise UploadError(NOT_THERE)
    _write(upload.folder, about | {"shared": shared})
    return Upload(upload.folder, upload.plan, shared)


class Arriving:
    """A file on its way to the disk; what is written is counted."""

    def __init__(self, path: Path, name: str, sink: BinaryIO, limit: int):
        """`limit` bytes may come; `name` is what the person calls the file."""
        self.path = path
        self._name, self._sink, self._left = name, sink, limit
        self._limit = limit

    def write(self, piece: bytes) -> None:
        """Keep one piece, or raise UploadError when it is too much."""
        self._left -= len(piece)
        if self._left < 0:
            raise UploadError(
                f"{self._name[-60:]!a} is larger than the {max(0, self._limit) / 1e6:,.0f} MB that are left for you "
                f"on this server, of {quota() / 1e9:,.1f} GB. Delete an older upload, or open the data by its path."
            )
        self._sink.write(piece)


@contextmanager
def receiving(root: Path, upload: Upload, kind: str, name: str) -> Iterator[Arriving]:
    """A place on disk for a file that arrives in pieces; nothing stays when it is too much or breaks off.

    Args:
        root: The folder of the runs.
        upload: Where to.
        kind: dataset or model: decides which suffixes are taken; what the file is, its reader judges.
        name: What the person calls it; letters, digits and the known suffix of it become the name here.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES[kind]:
        raise UploadError(
            f"{name[-60:]!a} is no {kind} that can be uploaded. Expected a file ending in {', '.join(SUFFIXES[kind])}."
        )
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).stem).strip("-")[:60] or kind
    target = upload.folder / "files" / (SPEC if suffix == ".json" else f"{stem}{suffix}")
    target.parent.mkdir(exist_ok=True, mode=0o700)
    with atomic.writing(target, durable=False) as sink:
        yield Arriving(target, name, sink, left_for(root, upload))


def receive(root: Path, upload: Upload, kind: str, name: str, source: BinaryIO) -> Path:
    """Copy what arrives to disk in pieces; see `receiving`."""
    with receiving(root, upload, kind, name) as file:
        while piece := source.read(CHUNK):
            file.write(piece)
    return file.path


def stored_file(upload: Upload, name: str) -> Path:
    """A file of this upload by its name on disk, as a browser repeats it; never one outside."""
    path = upload.folder / "files" / name
    if path.name != name or not path.is_file():
        raise UploadError(f"{name[-60:]!a} is not among the files of this upload. Send it again.")
    return path


def left_for(root: Path, upload: Upload, freed: int = 0) -> int:
    """Bytes that this owner may still keep: of the quota, once `freed` bytes have gone, and of the disk."""
    about = _read(upload.folder)
    if about is None:
        raise UploadError(NOT_THERE)
    kept = sum(_size(folder)[1] for folder, other in _all(root) if other["owner"] == about["owner"])
    return min(quota() - kept + freed, shutil.disk_usage(root).free - SPARE_DISK)


def unpacked(upload: Upload, store: str) -> Upload:
    """The dataset is what a zip was unpacked to from now on; the zip itself goes."""
    packed = Path(str(upload.plan["dataset"]))
    kept = remember(upload, dataset=store)
    if packed.parent == upload.folder / "files":
        packed.unlink(missing_ok=True)
    return kept


def used(root: Path, owners: Collection[str]) -> int:
    """Bytes that these owners keep here."""
    return sum(_size(upload.folder)[1] for upload in uploads_of(root, owners))


def uploads_of(root: Path, owners: Collection[str]) -> list[Upload]:
    """Every upload of these owners, the newest last."""
    found = [(about, folder) for folder, about in _all(root) if _fits(about, owners)]
    ordered = sorted(found, key=lambda pair: pair[0]["created"])
    return [Upload(folder, about["plan"], bool(about["shared"])) for about, folder in ordered]


def may_see(root: Path, run: Path, owners: Collection[str]) -> bool:
    """Whether a run may be opened by these owners: its own, shared, or made from no upload at all."""
    source = source_of(run)
    if source is None:
        return True
    about = _read(root / FOLDER / source)
    return about is not None and (bool(about["shared"]) or _fits(about, owners))


def source_of(run: Path) -> str | None:
    """The id of the upload a run was made from; None for all other runs."""
    try:
        found = jobs.read_job(run).upload
    except (OSError, ValueError, KeyError, TypeError, jobs.JobError):
        return None
    return found if isinstance(found, str) and ID.fullmatch(found) else None


def delete(root: Path, upload: Upload) -> Deleted:
    """Delete an upload with every run, thumbnail and score that was made from it; ends work that is going on.

    Decisions stay in the log: they name samples and labels, never pixels, and the log is append-only.
    """
    runs = _runs_from(root, upload.id)
    for run in runs:
        if jobs.alive(run):
            jobs.kill(run)
    files, size = _size(upload.folder)
    for folder in [*runs, upload.folder]:
        more = _size(folder) if folder != upload.folder else (0, 0)
        files, size = files + more[0], size + more[1]
        shutil.rmtree(folder)
    return Deleted(files, size, tuple(run.name for run in runs))


def _runs_from(root: Path, name: str) -> list[Path]:
    folders = [folder for folder in root.iterdir() if FOLDER_NAME.fullmatch(folder.name) and folder.is_dir()]
    return [folder for folder in folders if source_of(folder) == name]


def expire(root: Path) -> list[Deleted]:
    """Delete what nobody has used for longer than `keep_days`; work that is going on counts as use."""
    limit = timedelta(days=keep_days())
    old = [folder for folder, about in _all(root) if _age(about["used"]) > limit]
    idle = [folder for folder in old if not any(jobs.alive(run) for run in _runs_from(root, folder.name))]
    return [delete(root, Upload(folder, {}, False)) for folder in idle]


def _all(root: Path) -> list[tuple[Path, dict[str, Any]]]:
    place = root / FOLDER
    folders = [folder for folder in place.iterdir() if ID.fullmatch(folder.name)] if place.is_dir() else []
    return [(folder, about) for folder in folders if (about := _read(folder)) is not None]


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        return atomic.read_json(folder / "about.json")
    except (OSError, ValueError):
        return None


def _write(folder: Path, about: dict[str, Any]) -> None:
    atomic.write_json(folder / "about.json", about, durable=False)


def _hashed(owner: str) -> str:
    return hashlib.sha256(f"influence upload {owner}".encode()).hexdigest()


def _age(stamp: str) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(stamp)


def _size(folder: Path) -> tuple[int, int]:
    """Files and bytes below a folder."""
    sizes = [file.lstat().st_size for file in folder.rglob("*") if file.is_file()]
    return len(sizes), sum(sizes)


def quota() -> int:
    """Bytes that one owner may keep here: INFLUENCE_QUOTA_GB, or 5 GB."""
    return int(_number("INFLUENCE_QUOTA_GB", 5) * 1e9)


def keep_days() -> float:
    """Days after its last use that an upload is kept: INFLUENCE_KEEP_DAYS, or 30."""
    return _number("INFLUENCE_KEEP_DAYS", 30)


def _number(name: str, default: float) -> float:
    text = os.environ.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e6:
        raise UploadError(f"{name} is {text!r}; expected a number above 0, such as {default}.")
    return value
