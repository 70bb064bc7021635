"""Uploads are somebody's: found by their owner only, counted, kept for a time, gone with everything made from them."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from influence_core.errors import UploadError
from influence_core.intake import uploads

ADA, BOB = ["browser ada"], ["browser bob"]


def sent(root: Path, data: bytes = b"x" * 1000, name: str = "a.zip"):
    upload = uploads.begin(root, ADA[0])
    return upload, uploads.receive(root, upload, "dataset", name, io.BytesIO(data))


def run_of(root: Path, name: str, upload: str | None) -> Path:
    folder = root / name
    (folder / "thumbnails").mkdir(parents=True)
    (folder / "thumbnails" / "pack.bin").write_bytes(bytes(10))
    (folder / "job.json").write_text(
        json.dumps({"dataset": "d", "model": "m", "name": name, "upload": upload})
    )
    return folder


def age(root: Path, upload: uploads.Upload, days: float) -> None:
    about = json.loads((upload.folder / "about.json").read_text())
    about["used"] = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    (upload.folder / "about.json").write_text(json.dumps(about))


def test_only_the_owner_opens_an_upload_and_the_refusals_are_alike(tmp_path):
    upload, path = sent(tmp_path)
    assert uploads.open_upload(tmp_path, upload.id, ADA).folder == upload.folder
    words = set()
    for name, owners in ((upload.id, BOB), (upload.id, []), ("0" * 32, ADA), ("../runs", ADA), ("", ADA)):
        with pytest.raises(UploadError) as caught:
            uploads.open_upload(tmp_path, name, owners)
        words.add(str(caught.value))
    assert len(words) == 1, "another sentence would tell a stranger which ids exist"
    assert uploads.uploads_of(tmp_path, BOB) == [] and len(uploads.uploads_of(tmp_path, ADA)) == 1
    assert "ada" not in (upload.folder / "about.json").read_text(), "the key itself is kept nowhere"
    assert path.stat().st_mode & 0o077 == 0 or upload.folder.stat().st_mode & 0o077 == 0


def test_ids_cannot_be_guessed():
    assert len({uploads.secrets.token_hex(16) for _ in range(100)}) == 100
    assert uploads.ID.fullmatch(uploads.secrets.token_hex(16))


@pytest.mark.parametrize(
    "name",
    [
        "../../evil.zip",
        "/etc/cron.d/x.zip",
        "..\\evil.zip",
        "\u202epiz.zip",
        "a" * 400 + ".zip",
        "CON.zip",
    ],
)
def test_a_hostile_file_name_becomes_a_harmless_one(tmp_path, name):
    upload, path = sent(tmp_path / "runs", name=name)
    assert path.parent == upload.folder / "files" and path.name.isascii() and len(path.name) < 70
    assert sorted(child.name for child in tmp_path.iterdir()) == ["runs"]


def test_what_is_too_much_leaves_nothing_behind(tmp_path, monkeypatch):
    """Bytes are counted as they come: a source that never ends is stopped."""
    monkeypatch.setenv("INFLUENCE_QUOTA_GB", "0.01")

    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return b"x" * size

    upload = uploads.begin(tmp_path, ADA[0])
    with pytest.raises(UploadError, match="larger than the 10 MB that are left"):
        uploads.receive(tmp_path, upload, "dataset", "a.zip", Endless())
    assert list((upload.folder / "files").iterdir()) == []
    sent(tmp_path, b"x" * 6_000_000)
    with pytest.raises(UploadError, match="larger than the 4 MB"):
        sent(tmp_path, b"x" * 6_000_000)
    monkeypatch.setenv("INFLUENCE_QUOTA_GB", "much")
    with pytest.raises(UploadError, match="INFLUENCE_QUOTA_GB is 'much'"):
        uploads.quota()


def test_deleting_takes_runs_and_thumbnails_along_and_nothing_else(tmp_path):
    upload, _ = sent(tmp_path)
    mine, other = run_of(tmp_path, "mine", upload.id), run_of(tmp_path, "other", None)
    gone = uploads.delete(tmp_path, upload)
    assert gone.runs == ("mine",) and gone.bytes >= 1010 and gone.files >= 3
    assert not mine.exists() and not upload.folder.exists() and other.exists()


def test_what_nobody_uses_expires_and_what_is_opened_does_not(tmp_path, monkeypatch):
    old, young = sent(tmp_path)[0], sent(tmp_path)[0]
    run_of(tmp_path, "mine", old.id)
    age(tmp_path, old, 31)
    age(tmp_path, young, 29)
    assert [gone.runs for gone in uploads.expire(tmp_path)] == [("mine",)]
    assert young.folder.exists() and not old.folder.exists()
    age(tmp_path, young, 29)
    uploads.open_upload(tmp_path, young.id, ADA)
    monkeypatch.setenv("INFLUENCE_KEEP_DAYS", "1")
    assert uploads.expire(tmp_path) == [], "opening it was a use"


def test_a_run_is_its_uploads_owners_unless_shared(tmp_path):
    upload, _ = sent(tmp_path)
    mine, other = run_of(tmp_path, "mine", upload.id), run_of(tmp_path, "other", None)
    assert uploads.may_see(tmp_path, mine, ADA) and not uploads.may_see(tmp_path, mine, BOB)
    assert uploads.may_see(tmp_path, other, BOB)
    uploads.share(upload, True)
    assert uploads.may_see(tmp_path, mine, BOB)
    uploads.share(upload, False)
    assert not uploads.may_see(tmp_path, mine, BOB)
    (upload.folder / "about.json").unlink()
    assert not uploads.may_see(tmp_path, mine, ADA), "what cannot be checked is not shown"


def test_a_plan_is_kept_and_taken_back(tmp_path):
    upload, _ = sent(tmp_path)
    uploads.update_plan(upload, dataset="a", skip=True)
    uploads.update_plan(upload, skip=None)
    assert uploads.open_upload(tmp_path, upload.id, ADA).plan == {"dataset": "a"}
