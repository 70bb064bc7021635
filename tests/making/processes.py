"""Other processes: started with a script, waited for, killed."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def python(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs a script; `ready` waits for the line that it prints."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


def ready(process: subprocess.Popen[str]) -> str:
    """The line with which a process says that it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, "the other process ended before it was ready"
    return line


def kill(process: subprocess.Popen[str]) -> None:
    """End a process at once, and collect it."""
    process.kill()
    process.communicate()


def is_alive(number: int) -> bool:
    """Whether a process exists and is no mere entry that waits to be collected."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def wait(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until something is so; `what` says what is wrong when it never is."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
