"""Turns come in the order of arrival, end with their holder, and are not waited for without end."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from influence_core.system.turns import turn

HOLDER = """
import sys, time
from pathlib import Path
from influence_core.system.turns import turn
with turn(Path(sys.argv[1]), 5):
    print("mine", flush=True)
    time.sleep(60)
"""


def test_who_comes_first_is_first(tmp_path):
    came: list[int] = []

    def wait(number: int) -> None:
        with turn(tmp_path / "line", 10):
            came.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(8)]
    with turn(tmp_path / "line", 10):
        for thread in threads:
            thread.start()
            time.sleep(0.03)
    for thread in threads:
        thread.join()
    assert came == sorted(came), (
        "somebody was overtaken, so that with many writers one of them waits for seconds"
    )


def test_only_one_has_the_turn(tmp_path):
    inside, most = [], []

    def work() -> None:
        for _ in range(50):
            with turn(tmp_path / "line", 10):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 300 and max(most) == 1


def test_a_wait_that_was_given_up_does_not_keep_the_turn(tmp_path):
    with turn(tmp_path / "line", 1), pytest.raises(TimeoutError), turn(tmp_path / "line", 0.05):
        pass
    with turn(tmp_path / "line", 5):
        pass


def test_a_killed_holder_gives_the_turn_on(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "line"], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "mine\n"
    with pytest.raises(TimeoutError), turn(tmp_path / "line", 0.05):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with turn(tmp_path / "line", 5):
        pass
