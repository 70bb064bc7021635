"""Workers share the slow files, run them first, and no test is lost on the way."""

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
