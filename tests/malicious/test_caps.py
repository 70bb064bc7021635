"""The cap on memory sees what it is there for: a child that takes too much, and not one that has ended before."""

import subprocess
import sys

import pytest

from tests.malicious import caps

GREEDY = "import time; taken = bytearray(b'x' * 300_000_000); time.sleep(1)"


def test_a_greedy_child_is_caught_and_an_earlier_one_is_not_counted(monkeypatch):
    monkeypatch.setattr(caps, "CHILD_BYTES", 150e6)
    with pytest.raises(AssertionError, match="a child that read it took"), caps.capped():
        subprocess.run([sys.executable, "-c", GREEDY], check=True)
    with caps.capped():
        subprocess.run([sys.executable, "-c", "pass"], check=True)
