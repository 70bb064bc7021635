"""One question to a child process: started, polled without waiting, and ended when no one waits for it.

The server opens no file of a stranger and loads no torch. It asks a child, which answers in one line of JSON; a child
that dies, prints nonsense or takes too long is an answer too. What one browser asks is known to that browser only.
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
"""Bytes at the end of the output that are searched for progress."""


@dataclass
class ChildQuestion:
    """One question: its title, its process, and the answer once there is one."""

    title: str
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    began: float = field(default_factory=time.monotonic)
    found: dict[str, Any] | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


def ask(title: str, command: Sequence[str]) -> ChildQuestion:
    """Start the process; raises AccessError unless the visitor is an owner."""
    return more_work.start(_ask, title, command)


def _ask(title: str, command: Sequence[str]) -> ChildQuestion:
    """Start the process without input; its output goes to a file, because a pipe would fill up."""
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
    """Kill a process that may still be running."""
    question.process.kill()
    question.process.wait()
    question.output.close()


def answer(question: ChildQuestion, longest: float, advice: str) -> dict[str, Any] | None:
    """The answer of the process; None while it is running.

    Args:
        question: The question.
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
    except (IndexError, ValueError, TypeError, RecursionError):
        why = (
            f"no answer within {longest:.0f} s"
            if late
            else f"the process ended with code {code} and no answer"
        )
        question.found = {"refused": f"There is no result: {why}. {advice}"}
    return question.found


def progress(question: ChildQuestion) -> tuple[str, int, int] | None:
    """The activity of the process, how much of it is done, and the total; None while unknown."""
    if question.found is not None:
        return None
    handle = question.output.fileno()  # pread: seeking would move the place that the process writes to
    end = os.fstat(handle).st_size
    output = os.pread(handle, LAST_WORDS, max(0, end - LAST_WORDS)).decode("utf-8", "replace").splitlines()
    for line in reversed(output):
        try:
            step, done, total = json.loads(line)["progress"]
            return str(step), int(done), int(total)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # an incomplete line
    return None


def _environment() -> dict[str, str]:
    """The environment of a job, so that measured times mean the same in both."""
    paths = [str(places.APP), *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = max(1, (os.cpu_count() or 1) // jobs.limit())
    return {"OMP_NUM_THREADS": str(threads), **os.environ, "PYTHONPATH": os.pathsep.join(paths)}
