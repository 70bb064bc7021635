"""The plan of an upload: what the visitor has brought, on disk, and the open step, in the address.

`?upload=...&step=...` opens the same place again in the same browser, after a reload or a restart; another browser is
told that this upload is not theirs. Answers of the child that read the files lie beside the plan.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import streamlit as st

from influence_core.errors import DamagedError, InfluenceError, UploadError
from influence_core.intake import inspection, uploads
from influence_core.intake.uploads import Upload
from influence_core.system import atomic
from pages.ui.bring import child_question
from pages.ui.bring.child_question import ChildQuestion
from pages.ui.shell import frame, visitor
from pages.ui.shell.places import runs_root
from pages.ui.words import formats

UPLOAD, STEP = "upload", "step"
STEPS = ("data", "model", "check")
LONGEST = 1_800.0
ADVICE = "Is the file very large, or the machine short of memory? Open large data by its path on the server."
PROBLEM = "_plan_problem"
_QUESTION = "_plan_asked"
Arguments = ParamSpec("Arguments")


def change(callback: Callable[Arguments, object]) -> Callable[Arguments, None]:
    """Restrict a callback that changes an upload to owners; a refusal is shown on the page."""

    @functools.wraps(callback)
    def checked(*arguments: Arguments.args, **keywords: Arguments.kwargs) -> None:
        try:
            visitor.require("owner", "bring, change or delete data")
            callback(*arguments, **keywords)
        except InfluenceError as error:
            st.session_state[PROBLEM] = str(error)

    return checked


def current() -> Upload | None:
    """The upload of the address bar, if there is one; raises UploadError when it is not this visitor's."""
    name = st.query_params.get(UPLOAD)
    return uploads.open_upload(runs_root(), name, visitor.owners()) if name else None


def ensure() -> Upload:
    """The current upload, or a new one; for callbacks."""
    visitor.require("owner", "bring data")
    if (existing := current()) is not None:
        return existing
    upload = uploads.begin(runs_root(), visitor.owners()[0])
    st.query_params[UPLOAD] = upload.id
    return upload


def step() -> str:
    """The open step: the one in the address, or the first while that one cannot be reached."""
    requested = st.query_params.get(STEP, STEPS[0])
    return requested if requested in reachable() else STEPS[0]


def reachable() -> tuple[str, ...]:
    """The steps that can be opened now."""
    upload = current()
    if upload is None or answer(upload, "preview") is None or not settled(upload):
        return STEPS[:1]
    return STEPS if ready(upload) else STEPS[:2]


def settled(upload: Upload) -> bool:
    """Whether the data can be used: nothing is refused or asked, and unreadable files may be left out."""
    preview = answer(upload, "preview") or {}
    return not {"refused", "columns"} & set(preview) and (
        not preview.get("skipped") or bool(upload.plan.get("skip"))
    )


def ready(upload: Upload) -> bool:
    """Whether it is known which model to analyse."""
    return bool(upload.plan.get("train") or upload.plan.get("spec"))


def open_step(name: str) -> None:
    st.query_params[STEP] = name


def start_again() -> None:
    """An empty plan; what was uploaded stays until it is deleted or expires."""
    forget_question()
    st.query_params.clear()


# ---------------------------------------------------------------------------------------------- questions


def answer(upload: Upload, question: str) -> dict[str, Any] | None:
    """The child's answer, from disk; None when there is none."""
    try:
        found = atomic.read_json(upload.folder / f"{question}.json")
    except DamagedError:
        return None
    return found if isinstance(found, dict) else None


def drop(upload: Upload, *questions: str) -> None:
    """Delete answers whose basis has changed."""
    for question in questions:
        (upload.folder / f"{question}.json").unlink(missing_ok=True)


def keep_choice(name: str, key: str, among: Sequence[str], entry: str, *stale: str) -> None:
    """Keep what was chosen on screen (`key`) as an entry of the plan, and delete the answers that it changes."""
    chosen = st.session_state.get(key)
    if chosen not in among:  # the browser is not trusted
        return
    upload = uploads.open_upload(runs_root(), name, visitor.owners())
    drop(upload, *stale)
    uploads.update_plan(upload, **{entry: chosen})


def wait_for(
    upload: Upload, question: str, options: dict[str, Any], sentence: str, height: int
) -> dict[str, Any] | None:
    """The answer to a question about this upload; without one, asks it and shows the progress.

    Args:
        upload: Whose files.
        question: A name of inspection.QUESTIONS; the answer is kept under it.
        options: The options for the child.
        sentence: What is happening, as shown on screen.
        height: Pixels that the answer will take.
    """
    if (reply := answer(upload, question)) is not None:
        return reply
    running: ChildQuestion | None = st.session_state.get(_QUESTION)
    if running is None or running.title != f"{upload.id} {question}":
        forget_question()
        running = child_question.ask(f"{upload.id} {question}", inspection.command(question, options))
        st.session_state[_QUESTION] = running
    st.fragment(frame.framed(_waiting), run_every=0.5)(running, upload, question, sentence, height)
    return None


def _waiting(running: ChildQuestion, upload: Upload, question: str, sentence: str, height: int) -> None:
    reply = child_question.answer(running, LONGEST, ADVICE)
    if reply is not None:
        atomic.write_json(upload.folder / f"{question}.json", reply, durable=False)
        st.session_state.pop(_QUESTION, None)
        st.rerun()
    st.progress(*how_far(running, sentence))
    st.skeleton(height=height)


def how_far(running: ChildQuestion, sentence: str) -> tuple[float, str]:
    """The share done and a line of text; the share restarts with each kind of work."""
    progress = child_question.progress(running)
    if progress is None:
        return 0.0, f"{sentence} {formats.duration(running.seconds)}"
    activity, done, total = progress
    if not total:
        return 0.0, f"{activity}. {formats.duration(running.seconds)}"
    of = f"{formats.count(done)} of {formats.count(total)}"
    return min(1.0, done / total), f"{activity}: {of} files. {formats.duration(running.seconds)}"


def forget_question() -> None:
    running: ChildQuestion | None = st.session_state.pop(_QUESTION, None)
    if running is not None:
        child_question.end(running)


def options(upload: Upload) -> dict[str, Any]:
    """Keywords of open_dataset that this visitor has chosen."""
    keywords = {"skip_unreadable": bool(upload.plan.get("skip")), "label": upload.plan.get("label")}
    return {name: value for name, value in keywords.items() if value}


def pixels(upload: Upload, samples: Sequence[dict[str, Any]]) -> list[bytes]:
    """The raw pixels of the samples of the preview, in their order."""
    try:
        packed = (upload.folder / "pixels.bin").read_bytes()
    except OSError as error:
        raise UploadError("The preview of this upload is not complete. Look at the data again.") from error
    sizes = [sample["shape"] for sample in samples]
    return [packed[sample["offset"] : sample["offset"] + c * h * w]
            for sample, (c, h, w) in zip(samples, sizes, strict=True)]  # fmt: skip
