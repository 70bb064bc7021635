"""Bringing one's own data: nothing is guessed silently, nothing is shown to strangers."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.applications import Starlette

from influence_core.data import open_dataset
from influence_core.data.storage.store import is_store
from influence_core.errors import DataError
from influence_core.intake import uploads
from influence_core.jobs import submission as jobs
from pages.ui.bring import (
    check_step,
    child_question,
    data_step,
    model_step,
    plan,
    preprocessing_form,
    sheet,
)
from pages.ui.server import receiving
from pages.ui.shell import places
from tests.app.brought import KEY, PREVIEW, SPEC, TRIAL, WEIGHTS, bring, nobody_left_behind, open_own, press
from tests.app.conftest import texts
from tests.making.pictures import write_split_folder, zip_folder


@pytest.fixture(autouse=True)
def children(monkeypatch):
    with nobody_left_behind(monkeypatch) as asked:
        yield asked


def errors(app) -> str:
    return "\n".join(error.value.replace("\\", "") for error in app.error)


def put(
    upload, data: bytes, name: str = "../toys one.zip", kind: str = "dataset", address: str | None = None
):
    """As the browser does it: to the address that only the page of the owner hands out."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=receiving.routes()))
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            where = address or receiving.address(upload, kind)
            return await client.put(f"/{where}", params={"name": name}, content=data)

    with ThreadPoolExecutor(1) as thread:  # Playwright may hold the event loop of the main one
        return thread.submit(anyio.run, send).result()


def test_a_zip_goes_to_disk_in_pieces_and_its_preview_appears(root: Path, tmp_path: Path) -> None:
    """The real child reads it; the answer survives in the upload's folder."""
    path = zip_folder(write_split_folder(tmp_path / "toys"), tmp_path / "toys one.zip")
    upload = uploads.begin(root, f"browser {KEY}")
    answer = put(upload, path.read_bytes())
    assert answer.json() == {"stored": "toys-one.zip"}, "the name is made fit for a path, and no path is told"
    stored = uploads.stored_file(upload, "toys-one.zip")
    assert stored.read_bytes() == path.read_bytes()
    data_step.take_dataset(upload, [(stored, "../toys one.zip")])
    app = open_own(upload)
    end = time.monotonic() + 120
    while plan.answer(upload, "preview") is None:
        assert time.monotonic() < end, "no preview"
        time.sleep(0.3)
        app.run()
    app.run()
    shown = texts(app)
    assert "12 training, 12 validation, 12 test samples in 2 classes" in shown.replace("\\", "")
    assert "12 validation samples" in "\n".join(w.value.replace("\\", "") for w in app.warning)
    assert any(button.label == "Next: model" for button in app.button)
    kept = uploads.open_upload(root, upload.id, [f"browser {KEY}"])
    assert Path(kept.plan["dataset"]).name == "toys-one" and is_store(Path(kept.plan["dataset"]))
    assert not stored.exists(), "what was sent lies on the disk twice"
    assert len(open_dataset(kept.plan["dataset"]).train) == 12, "the store is the dataset from now on"
    uploads.delete(root, kept)
    assert not Path(kept.plan["dataset"]).exists() and not kept.folder.exists(), "deleted, and still there"


def test_nobody_sends_a_file_without_the_token_of_this_upload(root: Path, monkeypatch) -> None:
    """Another kind, another upload, another token, no token: the same 404, and nothing is written."""
    mine, other = (uploads.begin(root, f"browser {key}") for key in (KEY, "f" * 32))
    good = receiving.address(mine, "dataset")
    token = good.split("/")[2]
    for address in (
        good.replace(token, "0" * 32),
        f"uploads/{other.id}/{token}/dataset",
        f"uploads/{mine.id}/{token}/about",
        f"uploads/{'0' * 32}/{token}/dataset",
        f"uploads/..%2f{mine.id}/{token}/dataset",
    ):
        assert put(mine, b"x", address=address).status_code in (404, 405), address
    refused = put(mine, b"x", name="x.pkl")
    assert refused.status_code == 413 and "cannot be uploaded as a dataset" in refused.json()["problem"]
    monkeypatch.setenv("INFLUENCE_QUOTA_GB", "0.001")
    refused = put(mine, bytes(5_000_000))
    assert refused.status_code == 413 and "left for you" in refused.json()["problem"]
    files = [file.name for upload in (mine, other) for file in upload.folder.rglob("*") if file.is_file()]
    assert files == ["about.json"] * 2, "something was kept of a refused file"
    for name in ("../about.json", "..", "", "no.zip"):
        with pytest.raises(uploads.UploadError, match="not among the files"):
            uploads.stored_file(mine, name)


def test_labels_are_inert_in_the_sheet(root: Path) -> None:
    app = open_own(bring(root))
    assert not app.exception
    sheet = "".join(str(element.proto.body) for element in app.get("html"))
    assert "&lt;b&gt;dog&lt;/b&gt;" in sheet and "<b>dog" not in sheet
    assert sheet.count("<figure") == 24


def test_a_stranger_sees_nothing_of_an_upload(root: Path) -> None:
    """Knowing the address is not enough; the words are those for an upload that never was."""
    upload = bring(root)
    strange = open_own(upload, key="f" * 32)
    gone = open_own(uploads.Upload(root / "x" / ("e" * 32), {}, False))
    assert not strange.exception
    for app in (strange, gone):
        assert "Not your upload" in texts(app) and "cat" not in texts(app)
        assert not any("sheet" in drawn.proto.body for drawn in app.get("html"))
    assert texts(strange) == texts(gone), "a difference would say which ids exist"


def test_runs_of_an_upload_are_seen_by_their_owner_until_shared(root: Path, run) -> None:
    upload = bring(root)
    (root / "small" / "job.json").write_text(
        json.dumps({"dataset": "x", "model": "x", "name": "x", "upload": upload.id})
    )
    mine, strange = open_own(), open_own(key="f" * 32)
    assert mine.selectbox(key="run").options == ["small"]
    assert strange.selectbox(key="run").options == []
    uploads.share(upload, True)
    assert open_own(key="f" * 32).selectbox(key="run").options == ["small"]


def test_what_cannot_be_read_is_left_out_only_with_consent(root: Path) -> None:
    upload = bring(
        root, answers={"preview": PREVIEW | {"skipped": ["Left out 1 sample: a.png (damaged PNG)."]}}
    )
    app = open_own(upload)
    assert not any(button.label == "Next: model" for button in app.button)
    app.checkbox(key="own_skip").check().run()
    assert any(button.label == "Next: model" for button in app.button)
    again = uploads.open_upload(root, upload.id, [f"browser {KEY}"])
    assert check_step.job(again).dataset_options == {"skip_unreadable": True}


def test_the_label_column_is_asked_for_and_used_everywhere(root: Path) -> None:
    """No column is chosen beforehand, however likely; the answer reaches preview, trial, check and analysis."""
    columns = [
        {"name": "target", "different": 2, "common": [["0", 9]], "classes": True, "likely": True},
        {"name": "<b>age", "different": 70, "common": [["31", 2]], "classes": False, "likely": False},
    ]
    upload = bring(root, answers={"preview": {"columns": columns}})
    app = open_own(upload)
    assert not app.exception and app.selectbox(key="own_label").value is None
    assert app.selectbox(key="own_label").options == ["target (likely)", "<b>age"]
    assert not any(button.label == "Next: model" for button in app.button)
    app.selectbox(key="own_label").set_value("<b>age").run()
    assert "70 different values" in "\n".join(w.value for w in app.warning)
    app.selectbox(key="own_label").set_value("target").run()
    press(app, "Use this column")
    again = uploads.open_upload(root, upload.id, [f"browser {KEY}"])
    assert data_step.question(again)["label"] == "target"
    assert plan.options(again) == check_step.job(again).dataset_options == {"label": "target"}


def test_a_model_json_comes_beside_the_weights_and_nothing_is_asked(root: Path) -> None:
    """Both in one go: whatever it is called, the JSON lies where the reader of the weights looks, and all is known."""
    said = WEIGHTS | {name: SPEC[name] for name in ("architecture", "classes", "preprocessing")}
    upload = bring(root)
    for name in ("trained.safetensors", "spec-of-mine.json"):
        assert put(upload, b"{}", name=name, kind="model").status_code == 200
    files = [uploads.stored_file(upload, name) for name in ("model.json", "trained.safetensors")]
    model_step.take_sent(upload, [(file, file.name) for file in files])
    again = uploads.open_upload(root, upload.id, [f"browser {KEY}"])
    assert again.plan["weights"].endswith("trained.safetensors")
    (upload.folder / "weights.json").write_text(json.dumps(said))
    app = open_own(upload, "model")
    assert not app.exception
    assert uploads.open_upload(root, upload.id, [f"browser {KEY}"]).plan["spec"] == SPEC, "tried at once"
    press(app, "Choose another model")
    assert not model_step.spec_file(upload).exists(), "it belonged to the other weights"


def test_how_far_the_work_is_stands_on_the_page(tmp_path: Path) -> None:
    code = (
        "import json, sys, time; print(json.dumps({'progress': ['Unpacking', 500, 2000]}), flush=True); "
        "print('{\"progress\"', end='', flush=True); time.sleep(60)"
    )
    asked = child_question.ask("x", [sys.executable, "-c", code])
    end = time.monotonic() + 60
    while (told := child_question.progress(asked)) is None and time.monotonic() < end:
        time.sleep(0.05)
    assert told == ("Unpacking", 500, 2000), "a line that is being written is no progress yet"
    share, words = plan.how_far(asked, "Reading.")
    assert share == 0.25 and words.startswith("Unpacking: 500 of 2\u202f000 files")


def test_a_refusal_is_a_sentence_and_a_way_back(root: Path) -> None:
    app = open_own(bring(root, answers={"preview": {"refused": "<script> is no dataset."}}))
    assert "<script> is no dataset." in errors(app)
    press(app, "Choose other data")
    assert "Your dataset" in texts(app)


@pytest.mark.parametrize("path", ["/etc", "../../../etc/passwd", "no/such/place"])
def test_only_permitted_paths_are_opened(root: Path, path: str) -> None:
    app = open_own()
    app.text_input(key="own_dataset").set_value(path)
    press(app, "Look at it")
    assert "outside the folders" in errors(app) or "There is no dataset" in errors(app)


def test_nobody_reads_uploads_or_runs_by_their_path(root: Path, monkeypatch) -> None:
    """They lie on the same disk, often below a folder that may be read."""
    monkeypatch.setenv("INFLUENCE_DATA", str(root.parent))
    upload = bring(root)
    for path in (upload.folder, upload.folder / "model", root / uploads.FOLDER, root):
        with pytest.raises(DataError, match="outside the folders"):
            places.permitted(str(path), "dataset")
    with pytest.raises(DataError, match=r"outside the folders|There is no dataset"):
        places.permitted(f"runs/{uploads.FOLDER}/{upload.id}", "dataset")
    (root.parent / "link").symlink_to(upload.folder)
    with pytest.raises(DataError, match=r"outside the folders|There is no dataset"):
        places.permitted("link", "dataset")


def test_the_class_order_is_asked_for_and_the_guess_is_called_one(root: Path) -> None:
    upload = bring(
        root, answers={"preview": PREVIEW, "weights": WEIGHTS}, weights="m.pt", weights_name="m.pt"
    )
    app = open_own(upload, "model")
    assert not app.exception
    assert app.selectbox(key="own_architecture").options[0] == "logistic (best guess: 2 of 2 tensors fit)"
    assert {"resnet18", "vit_b_16", "small_cnn", "swin_t"} <= set(model_step.all_architectures())
    assert app.radio(key="own_order").value is None, "an order that nobody said is a guess"
    assert "First choose the class order" in texts(app)
    app.radio(key="own_order").set_value(app.radio(key="own_order").options[0]).run()
    press(app, "Try it on the validation samples")
    kept = json.loads((upload.folder / "model" / "model.json").read_text())
    assert kept["classes"] == PREVIEW["classes"] and kept["architecture"] == "logistic"
    assert not app.exception


def test_chance_level_says_what_may_be_wrong_and_one_press_changes_it(root: Path) -> None:
    way = {"words": "Pixels from 0 to 255", "accuracy": 0.91, "gain": 0.4, "classes": None,
           "preprocessing": {"channels": 1, "size": [4, 4], "mean": [0.0], "std": [1 / 255]}}  # fmt: skip
    low = TRIAL | {"accuracy": 0.5, "at_chance": True, "alternatives": [way]}
    upload = bring(
        root, answers={"preview": PREVIEW, "weights": WEIGHTS, "trial": low}, weights="m.pt", weights_name="m.pt",
        spec=SPEC,
    )  # fmt: skip
    app = open_own(upload, "model")
    assert not app.exception
    assert "chance level" in "\n".join(w.value for w in app.warning)
    assert "Pixels from 0 to 255" in texts(app)
    press(app, "Use this")
    assert not app.exception
    spec = uploads.open_upload(root, upload.id, [f"browser {KEY}"]).plan["spec"]
    assert spec["preprocessing"]["std"] == [1 / 255] and spec["classes"] == SPEC["classes"]
    assert (
        app.session_state["own_scale"] == app.selectbox(key="own_scale").value == preprocessing_form.FROM_FILE
    )
    assert not any(button.label.startswith("Try it") for button in app.button), (
        "the form shows another choice"
    )


def test_without_a_model_one_is_trained_as_the_first_part_of_the_job(root: Path, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(jobs, "submit", lambda root, spec: asked.append(spec) or "toys")
    upload = bring(root)
    app = press(open_own(upload, "model"), "Train a small one for me")
    press(app, "Analyse")
    (spec,) = asked
    assert spec.recipe == {} and spec.upload == upload.id and spec.name == "toys"


def test_runs_of_paths_belong_to_everybody(root: Path) -> None:
    assert check_step.job(bring(root, sent=None, spec=SPEC)).upload is None
    assert check_step.job(bring(root, sent=None, weights_sent=True, spec=SPEC)).upload is not None


def test_deleting_says_what_went(root: Path, run) -> None:
    upload = bring(root)
    (root / "small" / "job.json").write_text(
        json.dumps({"dataset": "x", "model": "x", "name": "x", "upload": upload.id})
    )
    app = open_own()
    press(app, "Delete for good")
    assert not app.exception
    assert "1 run (small)" in app.toast[0].value
    assert not upload.folder.exists() and not (root / "small").exists()


def test_what_is_shown_is_what_the_model_gets() -> None:
    """The same function as in an analysis: grey from colour, resized with antialiasing."""
    fact = {"shape": [3, 2, 2]}
    data = bytes([255] * 4 + [0] * 8)
    assert sheet.converted(fact, data, 3, None).tolist() == [[[255, 255]] * 2, [[0, 0]] * 2, [[0, 0]] * 2]
    assert sheet.converted(fact, data, 1, (1, 1)).tolist() == [[[76]]], "0.299 of red"
