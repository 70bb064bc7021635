"""The order in which workers run the tests: slow files first, so that none is left with a minute of work at the end.

`--dist worksteal` hands each worker a slice of the list with as many tests as the others' slices, to be run in order;
who is done takes the second half of what another has left. So each slice begins with its share of the slow files, and
what is taken away at the end is quick.
"""

from collections.abc import Sequence
from itertools import chain

import pytest

SLOW = {
    "browser/test_journey.py": 120,
    "core/analysis/test_analysis.py": 90,
    "core/engine/test_model_zoo.py": 56,
    "browser/test_own_data.py": 77,
    "project/test_documents.py": 48,
    "core/jobs/test_jobs.py": 35,
    "browser/test_verify.py": 35,
    "core/engine/test_sweep_laws.py": 34,
    "core/decisions/test_decisions.py": 26,
    "core/verification/test_verification.py": 26,
    "core/cli/test_cli.py": 25,
}
"""Files that hold a test of more than ten seconds, with the seconds of the file as measured on two cores."""


def dealt(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """The same tests, a slice a worker: slow files first, each to whom has least so far, then others to fill it up.

    Files of equal seconds stand in the order of their names, because workers must agree and a set has no order.
    """
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.split("::")[0].removeprefix("tests/"), []).append(item)
    hands: list[list[pytest.Item]] = [[] for _ in range(workers)]
    seconds = [0] * workers
    slow = sorted(SLOW.keys() & files.keys(), key=lambda name: (-SLOW[name], name))
    for name in slow:
        least = seconds.index(min(seconds))
        hands[least] += files.pop(name)
        seconds[least] += SLOW[name]
    rest = list(chain.from_iterable(files.values()))
    for worker, hand in enumerate(hands):
        size = len(items) * (worker + 1) // workers - len(items) * worker // workers
        hand += [rest.pop(0) for _ in range(min(size - len(hand), len(rest)))]
    return [*chain.from_iterable(hands), *rest]
