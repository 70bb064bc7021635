"""Workers share the slow files, run them first, and no test is lost on the way."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.making.order import SLOW, dealt

TESTS = Path(__file__).resolve().parents[1]


def test_files_called_slow_exist():
    assert not [name for name in SLOW if not (TESTS / name).is_file()], "moved or deleted?"


@pytest.mark.parametrize("workers", [2, 3])
def test_every_worker_begins_with_slow_files(workers):
    names = ["app/test_pages.py", *sorted(SLOW), "malicious/test_fuzz.py"]
    items = [SimpleNamespace(nodeid=f"tests/{name}::test_{n}") for name in names for n in range(40)]
    found = dealt(items, workers)  # type: ignore[arg-type]
    assert sorted(item.nodeid for item in found) == sorted(item.nodeid for item in items), "a test was lost"
    for worker in range(workers):
        first = found[len(items) * worker // workers].nodeid
        assert first.split("::")[0].removeprefix("tests/") in SLOW, f"worker {worker} begins with {first}"


def test_every_worker_sorts_the_files_in_the_same_order():
    """Workers are processes with their own hash seeds, and refuse to run when their lists differ."""
    code = (
        "from types import SimpleNamespace\n"
        "from tests.making import order\n"
        "order.SLOW = dict.fromkeys('abcdef', 20)\n"
        "print([item.nodeid for item in order.dealt([SimpleNamespace(nodeid=name) for name in 'abcdef'], 2)])\n"
    )
    lists = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=TESTS.parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "0123456"
    }
    assert len(lists) == 1, "equal seconds are ordered by a set"
