"""Uploads: files of users on disk, with their owner, quota, sharing and deletion.

    <runs>/.uploads/<128 random bits>/
        about.json      the owner's hash, times of creation and last use, whether it is shared, the user's plan so far
        files/          the files sent, under safe names
        store/          the content of a zip of pictures; the zip itself is deleted then
        model/          the weights as safetensors, with model.json

The folder's name is random and never listed to others, and access needs the owner's key as well. An upload that does
not exist and one of another owner give the same error. Bytes are counted as they arrive. A run made from an upload
belongs to its owner, unless shared, and is deleted with it: nothing derived outlives its source.
"""

import hashlib
import hmac
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
"""Bytes of the disk that uploads must leave free."""
SUFFIXES = {
    "dataset": (".zip", ".csv", ".parquet", ".npz"),
    "model": (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar", ".th", ".json"),
}
SPEC, INDEX = "model.json", "model.safetensors.index.json"
"""The names on disk of JSON files sent with weights, which their reader expects."""
FROM_HUBS = ("config.json", "preprocessor_config.json")
NOT_THERE = (
    "This upload is not available: it was deleted, has expired, or belongs to another user. Upload again."
)


@dataclass(frozen=True)
class Upload:
    """One upload: its folder, the plan made with it so far (dataset, model and options, plain JSON), and sharing."""

    folder: Path
    plan: Mapping[str, Any]
    shared: bool

    @property
    def id(self) -> str:
        return self.folder.name


@dataclass(frozen=True)
class Deleted:
    """The extent of a deletion: number of files, bytes, and names of deleted runs."""

    files: int
    bytes: int
    runs: tuple[str, ...]


def begin(root: Path, owner: str) -> Upload:
    """Create an empty upload for this owner; `root` is the folder of the runs."""
    folder = root / FOLDER / secrets.token_hex(16)
    (root / FOLDER).mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(mode=0o700)
    now = utc_now()
    _write(folder, {"owner": _hashed(owner), "created": now, "used": now, "shared": False, "plan": {}})
    return Upload(folder, {}, False)


def open_upload(root: Path, name: str, owners: Collection[str]) -> Upload:
    """Open an upload of one of these owners, and record its use.

    Args:
        root: The folder of the runs.
        name: The id, as in the address bar.
        owners: Every key of the visitor: that of the browser, a signed-in name.

    Raises:
        UploadError: No such upload, or one of another owner, with the same message.
    """
    folder = root / FOLDER / name
    if not ID.fullmatch(name) or (about := _read(folder)) is None or not _fits(about, owners):
        raise UploadError(NOT_THERE)
    if _age(about["used"]) > timedelta(minutes=1):
        _write(folder, about | {"used": utc_now()})
    return Upload(folder, about["plan"], bool(about["shared"]))


def _fits(about: Mapping[str, Any], owners: Collection[str]) -> bool:
    return any(hmac.compare_digest(about["owner"], _hashed(owner)) for owner in owners)


def update_plan(upload: Upload, **changes: Any) -> Upload:
    """Store changes of the plan on disk; None removes an entry."""
    about = _about(upload)
    plan = {name: value for name, value in {**about["plan"], **changes}.items() if value is not None}
    _write(upload.folder, about | {"plan": plan})
    return replace(upload, plan=plan)


def share(upload: Upload, shared: bool) -> Upload:
    """Allow all users of this server to open the runs made from an upload, or withdraw that."""
    _write(upload.folder, _about(upload) | {"shared": shared})
    return replace(upload, shared=shared)


class Arriving:
    """A file being received; its bytes are counted."""

    def __init__(self, path: Path, name: str, sink: BinaryIO, limit: int):
        """`limit`: most bytes to accept; `name`: the user's name of the file."""
        self.path, self._name, self._sink = path, name, sink
        self._limit = self._left = limit

    def write(self, piece: bytes) -> None:
        """Write one piece, or raise UploadError if the file becomes larger than the limit."""
        self._left -= len(piece)
        if self._left < 0:
            raise UploadError(
                f"{self._name[-60:]!a} is larger than the {max(0, self._limit) / 1e6:,.0f} MB that are left for you "
                f"on this server, of {quota() / 1e9:,.1f} GB. Delete an older upload, or open the data by its path."
            )
        self._sink.write(piece)


@contextmanager
def receiving(root: Path, upload: Upload, kind: str, name: str) -> Iterator[Arriving]:
    """Receive a file in pieces; nothing is left on disk if it is too large or the transfer breaks off.

    Args:
        root: The folder of the runs.
        upload: The upload it belongs to.
        kind: "dataset" or "model": decides the accepted suffixes; the content is checked by its reader.
        name: The user's name of the file; its letters, digits and known suffix become the name on disk.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES[kind]:
        raise UploadError(
            f"{name[-60:]!a} cannot be uploaded as a {kind}. Expected a file ending in {', '.join(SUFFIXES[kind])}."
        )
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).stem).strip("-")[:60] or kind
    target = upload.folder / "files" / (json_name(name) if suffix == ".json" else f"{stem}{suffix}")
    target.parent.mkdir(exist_ok=True, mode=0o700)
    with atomic.writing(target, durable=False) as sink:
        yield Arriving(target, name, sink, left_for(root, upload))


def json_name(name: str) -> str:
    """The name on disk of a JSON file sent with weights: that of its kind, else model.json."""
    own = Path(name).name.lower()
    if own.endswith(".safetensors.index.json"):
        return INDEX
    return own if own in FROM_HUBS else SPEC


def receive(root: Path, upload: Upload, kind: str, name: str, source: BinaryIO) -> Path:
    """Copy a stream to disk in pieces; see `receiving`."""
    with receiving(root, upload, kind, name) as file:
        while piece := source.read(CHUNK):
            file.write(piece)
    return file.path


def stored_file(upload: Upload, name: str) -> Path:
    """Path of a file of this upload by its name on disk, as sent by a browser; never one outside the upload."""
    path = upload.folder / "files" / name
    if path.name != name or not path.is_file():
        raise UploadError(f"{name[-60:]!a} is not among the files of this upload. Send it again.")
    return path


def left_for(root: Path, upload: Upload, freed: int = 0) -> int:
    """Bytes that this owner may still store: within the quota, after `freed` bytes are deleted, and on the disk."""
    owner = _about(upload)["owner"]
    stored = sum(_size(folder)[1] for folder, about in _all(root) if about["owner"] == owner)
    return min(quota() - stored + freed, shutil.disk_usage(root).free - SPARE_DISK)


def unpacked(upload: Upload, store: str) -> Upload:
    """Make the unpacked store the dataset of the plan, and delete the zip."""
    packed = Path(str(upload.plan["dataset"]))
    updated = update_plan(upload, dataset=store)
    if packed.parent == upload.folder / "files":
        packed.unlink(missing_ok=True)
    return updated


def used(root: Path, owners: Collection[str]) -> int:
    """Bytes that these owners store here."""
    return sum(_size(upload.folder)[1] for upload in uploads_of(root, owners))


def uploads_of(root: Path, owners: Collection[str]) -> list[Upload]:
    """Every upload of these owners, the newest last."""
    owned = [(folder, about) for folder, about in _all(root) if _fits(about, owners)]
    ordered = sorted(owned, key=lambda pair: pair[1]["created"])
    return [Upload(folder, about["plan"], bool(about["shared"])) for folder, about in ordered]


def may_see(root: Path, run: Path, owners: Collection[str]) -> bool:
    """Whether these owners may open a run: it is theirs, shared, or not made from an upload."""
    source = source_of(run)
    if source is None:
        return True
    about = _read(root / FOLDER / source)
    return about is not None and (bool(about["shared"]) or _fits(about, owners))


def source_of(run: Path) -> str | None:
    """The id of the upload a run was made from; None for all other runs."""
    try:
        upload = jobs.read_job(run).upload
    except (OSError, ValueError, KeyError, TypeError, jobs.JobError):
        return None
    return upload if isinstance(upload, str) and ID.fullmatch(upload) else None


def delete(root: Path, upload: Upload) -> Deleted:
    """Delete an upload with every run, thumbnail and score made from it; running jobs are ended.

    Decisions stay in the log: they name samples and labels, never pixels, and the log is append-only.
    """
    runs = _runs_from(root, upload.id)
    for run in runs:
        if jobs.is_running(run):
            jobs.kill(run)
    folders = [*runs, upload.folder]
    files, sizes = zip(*map(_size, folders), strict=True)
    for folder in folders:
        shutil.rmtree(folder)
    return Deleted(sum(files), sum(sizes), tuple(run.name for run in runs))


def _runs_from(root: Path, name: str) -> list[Path]:
    folders = [folder for folder in root.iterdir() if FOLDER_NAME.fullmatch(folder.name) and folder.is_dir()]
    return [folder for folder in folders if source_of(folder) == name]


def expire(root: Path) -> list[Deleted]:
    """Delete uploads that were not used for `keep_days`, unless a job on them is running."""
    limit = timedelta(days=keep_days())
    idle = [
        folder
        for folder, about in _all(root)
        if _age(about["used"]) > limit and not any(map(jobs.is_running, _runs_from(root, folder.name)))
    ]
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


def _about(upload: Upload) -> dict[str, Any]:
    if (about := _read(upload.folder)) is None:
        raise UploadError(NOT_THERE)
    return about


def _write(folder: Path, about: dict[str, Any]) -> None:
    atomic.write_json(folder / "about.json", about, durable=False)


def _hashed(owner: str) -> str:
    return hashlib.sha256(f"influence upload {owner}".encode()).hexdigest()


def _age(stamp: str) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(stamp)


def _size(folder: Path) -> tuple[int, int]:
    """Number of files below a folder, and their bytes."""
    sizes = [file.lstat().st_size for file in folder.rglob("*") if file.is_file()]
    return len(sizes), sum(sizes)


def quota() -> int:
    """Bytes that one owner may store here: INFLUENCE_QUOTA_GB, or 5 GB."""
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
