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
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from influence_core.errors import DamagedError, JobError, UploadError
from influence_core.jobs import submission as jobs
from influence_core.jobs.places import jobs_below
from influence_core.run_files.folder import FOLDER_NAME
from influence_core.system import atomic, locks
from influence_core.system.temporary import remove_orphans
from influence_core.system.times import utc_now

FOLDER = ".uploads"
ID = re.compile(r"[0-9a-f]{32}")
CHUNK = 4 * 1024**2
SPARE_DISK = 1024**3
"""Bytes of the disk that uploads must leave free."""
TABLES = ".csv .tsv .txt .jsonl .ndjson .csv.gz .tsv.gz .txt.gz .jsonl.gz .ndjson.gz .xlsx".split()
SUFFIXES = {
    "dataset": (".zip", *TABLES, ".parquet", ".npz", ".pt", ".pth"),
    "model": (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar", ".th", ".json"),
}
SPEC, INDEX = "model.json", "model.safetensors.index.json"
"""The names on disk of JSON files sent with weights, which their reader expects."""
FROM_HUBS = ("config.json", "preprocessor_config.json")
ABOUT = {"owner": str, "created": str, "used": str, "shared": bool, "plan": dict}
"""The entries of about.json and their types."""
UNKNOWN = "unknown"
"""In place of the id of an upload: it cannot be read."""
ENDING = 5.0
"""Seconds that a killed process may take to end, on a busy machine."""
PAUSES = (0.1, 0.5, 0.5)
"""Seconds after a removal in which a process that was about to write is waited for."""
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
    remove_interrupted(root)
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


def remove_interrupted(root: Path) -> None:
    """Remove what killed processes left in uploads: half a file that was being sent, half a zip being unpacked."""
    remove_orphans()
    place = root / FOLDER
    for folder in place.iterdir() if place.is_dir() else ():
        atomic.remove_unfinished(folder)
        for unpacked in folder.glob("store/unpacked-*"):
            remove_orphans(unpacked)


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
    suffix = max((known for known in SUFFIXES[kind] if name.lower().endswith(known)), key=len, default="")
    if not suffix:
        raise UploadError(
            f"{name[-60:]!a} cannot be uploaded as a {kind}. Expected a file ending in {', '.join(SUFFIXES[kind])}."
        )
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).name[: -len(suffix)]).strip("-")[:60] or kind
    target = upload.folder / "files" / (json_name(name) if suffix == ".json" else f"{stem}{suffix}")
    target.parent.mkdir(exist_ok=True, mode=0o700)
    try:
        with atomic.writing(target, durable=False) as sink:
            yield Arriving(target, name, sink, left_for(root, upload))
    except FileNotFoundError as error:  # the upload was deleted while the file arrived
        raise UploadError(NOT_THERE) from error


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
    """Whether these owners may open a run: it is theirs, shared, or not made from an upload.

    A run whose task is damaged might be anybody's: nobody sees it on a server that has uploads.
    """
    source = source_of(run)
    if source is None or (source == UNKNOWN and not (root / FOLDER).exists()):
        return True
    about = _read(root / FOLDER / source)
    return about is not None and (bool(about["shared"]) or _fits(about, owners))


def source_of(run: Path) -> str | None:
    """The id of the upload a run was made from; None for all other runs, UNKNOWN when its task cannot be read."""
    if not (run / "job.json").exists():
        return None
    try:
        upload = jobs.read_job(run).upload
    except JobError:
        return UNKNOWN
    return upload if isinstance(upload, str) and ID.fullmatch(upload) else None


def delete(root: Path, upload: Upload) -> Deleted:
    """Delete an upload with every run, thumbnail and score made from it; all work in these runs is ended.

    Decisions stay in the log: they name samples and labels, never pixels, and the log is append-only.

    Raises:
        UploadError: something could not be deleted, such as a folder in which a process of another user writes.
    """
    runs = _runs_from(root, upload.id)
    for run in runs:
        _end_work(run)
    folders = [*runs, upload.folder]
    files, sizes = zip(*map(_size, folders), strict=True)
    _remove(folders)
    return Deleted(sum(files), sum(sizes), tuple(run.name for run in runs))


def _end_work(run: Path) -> None:
    """End every job in a run, and wait until their processes are gone: one that writes would make its folder anew."""
    for job in jobs_below(run):
        with suppress(JobError):  # it ended by itself, or has no process number: then removing it says so
            jobs.kill(job)
    deadline = time.monotonic() + ENDING
    while _is_used(run) and time.monotonic() < deadline:
        time.sleep(0.02)


def _is_used(run: Path) -> bool:
    """Whether a process works in a run, or in one of the folders inside it."""
    return any(locks.is_locked(lock) for lock in run.rglob("lock"))


def _remove(folders: list[Path]) -> None:
    """Remove folders; again when something was written into one meanwhile."""
    left = folders
    for pause in PAUSES:
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)
        time.sleep(pause)
        if not (left := [folder for folder in left if folder.exists()]):
            return
    raise UploadError(
        f"{left[0].name} could not be deleted as a whole: another process writes there, or its files belong to another "
        f"user. End that process, then delete again."
    )


def _runs_from(root: Path, name: str) -> list[Path]:
    folders = [folder for folder in root.iterdir() if FOLDER_NAME.fullmatch(folder.name) and folder.is_dir()]
    return [folder for folder in folders if source_of(folder) == name]


def expire(root: Path) -> list[Deleted]:
    """Delete uploads that were not used for `keep_days`, unless any work in their runs goes on.

    One that cannot be deleted now is tried again at the next call.
    """
    remove_interrupted(root)
    limit, deleted = timedelta(days=keep_days()), []
    for folder in _folders(root):
        if _unused(folder) > limit and not any(map(_is_used, _runs_from(root, folder.name))):
            with suppress(UploadError, OSError):
                deleted.append(delete(root, Upload(folder, {}, False)))
    return deleted


def _unused(folder: Path) -> timedelta:
    """How long an upload has not been used; one whose description is damaged, since it was last written to."""
    if (about := _read(folder)) is not None:
        return _age(about["used"])
    try:
        return timedelta(seconds=time.time() - folder.stat().st_mtime)
    except OSError:  # deleted by another visitor
        return timedelta()


def _folders(root: Path) -> list[Path]:
    place = root / FOLDER
    return [folder for folder in place.iterdir() if ID.fullmatch(folder.name)] if place.is_dir() else []


def _all(root: Path) -> list[tuple[Path, dict[str, Any]]]:
    return [(folder, about) for folder in _folders(root) if (about := _read(folder)) is not None]


def _read(folder: Path) -> dict[str, Any] | None:
    """The description of an upload; None when it is missing or damaged."""
    try:
        about = atomic.read_json(folder / "about.json")
        _age(about["used"])
        whole = all(isinstance(about[name], kind) for name, kind in ABOUT.items())
    except (DamagedError, KeyError, TypeError, ValueError):
        return None
    return about if whole else None


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
    """Number of files below a folder, and their bytes; what is still arriving does not count."""
    sizes = []
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # gone meanwhile
            if file.is_file() and not atomic.is_unfinished(file):
                sizes.append(file.lstat().st_size)
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
