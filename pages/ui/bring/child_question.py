"""What did a process say that was asked one question? Started, watched without waiting, ended when nobody waits.

The server opens no file of a stranger and loads no torch: it asks a child, which answers in one line of JSON, and a
child that dies, babbles or takes too long is an answer too. What one browser asked is known to that browser only.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from influence_core.jobs import submission as jobs
from pages.ui.shell import more_work, places

LONGEST_ANSWER = 8 * 1024**2
LAST_WORDS = 512
"""Bytes of what was said that are searched for progress."""


@dataclass
class ChildQuestion:
    """One question: about what, the process at work, and what it found."""

    title: str
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    began: float = field(default_factory=time.monotonic)
    found: dict[str, Any] | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


def ask(title: str, command: Sequence[str]) -> ChildQuestion:
    """Start the process, for an owner."""
    return more_work.start(_ask, title, command)


def _ask(title: str, command: Sequence[str]) -> ChildQuestion:
    """The process reads nothing, and what it says goes to a file, for a pipe would fill up."""
    output = tempfile.TemporaryFile()  # noqa: SIM115  read when the process has ended
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.DEVNULL,
        env=_environment(),
    )
    return ChildQuestion(title, process, output)


def end(question: ChildQuestion) -> None:
    """End a process that may still be at work."""
    question.process.kill()
    question.process.wait()
    question.output.close()


def answer(question: ChildQuestion, longest: float, advice: str) -> dict[str, Any] | None:
    """What the process said; None while it is at work.

    Args:
        asked: The question.
        longest: Seconds after which it is given up.
        advice: What to do when there is no answer, as a sentence.
    """
    if question.found is not None:
        return question.found
    late = question.seconds > longest
    if question.process.poll() is None and not late:
        return None
    question.process.kill()
    code = question.process.wait()
    question.output.seek(0)
    output = question.output.read(LONGEST_ANSWER).decode("utf-8", "replace").strip().splitlines()
    question.output.close()
    try:
        question.found = dict(json.loads(output[-1]))
    except (IndexError, ValueError, TypeError):
        why = f"no answer within {longest:.0f} s" if late else f"it ended with code {code} and no answer"
        question.found = {"refused": f"Nothing can be said: {why}. {advice}"}
    return question.found


def progress(question: ChildQuestion) -> tuple[str, int, int] | None:
    """What the process does, how much of it is done, and of how much; None when it has not said."""
    if question.found is not None:
        return None
    handle = (
        question.output.fileno()
    )  # read at a place: seeking would move the end that the process writes to
    end = os.fstat(handle).st_size
    output = os.pread(handle, LAST_WORDS, max(0, end - LAST_WORDS)).decode("utf-8", "replace").splitlines()
    for line in reversed(output):
        try:
            step, done, total = json.loads(line)["progress"]
            return str(step), int(done), int(total)
        except (ValueError, KeyError, TypeError):
            continue  # the line that is being written, or was cut
    return None


def _environment() -> dict[str, str]:
    """As a job gets it, so that a second means the same in both."""
    paths = [str(places.APP), *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = max(1, (os.cpu_count() or 1) // jobs.limit())
    return {"OMP_NUM_THREADS": str(threads), **os.environ, "PYTHONPATH": os.pathsep.join(paths)}
