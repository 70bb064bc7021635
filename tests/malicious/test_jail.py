"""The jail around the reading of weights: what hostile code could do once it ran inside, it cannot.

The walls are tried from within: the real child's own preparation, then code that does its worst.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from influence_core.errors import ModelError
from influence_core.intake import inspection
from influence_core.jobs import submission as jobs
from influence_core.models.weight_files import quarantine
from pages.ui.bring import check_panel

MODELS = Path(quarantine.__file__).parent
INSIDE = """
import json, os, socket, sys, threading
sys.path.append(sys.argv[1])
import unpickle
unpickle.warm_up()
walls = unpickle.wall_in(0, int(sum(os.times()[:2])) + 2)  # beyond what warming up has taken

def attempt(what):
    try:
        what()
    except (OSError, RuntimeError, MemoryError, ValueError) as error:
        return type(error).__name__
    return "done"

port = int(sys.argv[2])
print(json.dumps({
    "walls": walls,
    "connect": attempt(lambda: socket.create_connection(("127.0.0.1", port), 2)),
    "read": attempt(lambda: open("/etc/hostname").read()),
    "write": attempt(lambda: open(sys.argv[3], "w")),
    "duplicate": attempt(lambda: os.dup(0)),
    "fork": attempt(lambda: os.fork() or os._exit(0)),
    "program": attempt(lambda: os.posix_spawn("/bin/sh", ["sh", "-c", "touch " + sys.argv[3]], {})),
    "thread": attempt(lambda: threading.Thread(target=print).start()),
    "memory": attempt(lambda: bytearray(50 * 1024**3)),
    "raise_limit": attempt(lambda: __import__("resource").setrlimit(__import__("resource").RLIMIT_NOFILE, (64, 64))
                           or open("/etc/hostname")),
}), flush=True)
if os.geteuid() == 0:
    sys.exit("still root")
while True:
    pass
"""


def test_hostile_code_inside_the_jail_reaches_nothing(tmp_path):
    """The last act is an endless loop: only the processor limit of two seconds ends it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = subprocess.run(
            [
                sys.executable,
                "-I",
                "-c",
                INSIDE,
                MODELS,
                str(listening.getsockname()[1]),
                tmp_path / "canary",
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    walls = found.pop("walls")
    escaped = {what: how for what, how in found.items() if how == "done"}
    assert not escaped, f"inside the jail this was possible: {escaped}"
    assert {"rights", "memory", "time", "processes", "files"} <= set(walls)
    assert done.returncode in (-signal.SIGXCPU, -signal.SIGKILL), done.stderr
    assert not (tmp_path / "canary").exists()


DEATHS = {
    "killed": ("os.kill(os.getpid(), 9)", "ended by signal 9"),
    "crashed": ("os.abort()", "ended by signal 6"),
    "endless": ("while True: pass", "longer than 0.5 seconds"),
    "silent": ("", "ended with 0"),
    "babbling": ("print('x' * 10_000_000)", "ended with 0"),
    "lying": ("""print('{"state": "converted"}')""", "cut off or damaged"),
    "shouting": ("sys.exit('no such luck')", "no such luck"),
    "huge": ("bytearray(50 * 1024**5)", "MemoryError"),
}


@pytest.mark.parametrize("how", DEATHS)
def test_the_parent_survives_whatever_becomes_of_the_child(tmp_path, monkeypatch, how):
    """No end of the child is a success, none takes the parent along, none leaves a file."""
    code, words = DEATHS[how]
    child = tmp_path / "child.py"
    child.write_text(f"import os, sys, resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n{code}\n")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(quarantine, "CHILD", child)
    torch.save({"x": torch.zeros(2)}, tmp_path / "m.pt")
    with pytest.raises(ModelError) as caught:
        from influence_core.models.weight_files.weights import parse_safetensors

        parse_safetensors(quarantine.convert_state_dict(tmp_path / "m.pt", seconds=0.5 if how == "endless" else 60)[0],
                          tmp_path / "m.pt")  # fmt: skip
    assert words in str(caught.value)
    assert len(str(caught.value)) < 2000, "the child's words are quoted shortly"
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize(
    "command",
    [jobs.WORKER, inspection.command("trial", {}), check_panel.COMMAND],
    ids=["job", "trial", "check"],
)
def test_what_opens_files_of_strangers_has_an_empty_network(command):
    """As a command around any other: what runs in it sees no interface but a loopback that is down."""
    around = command[: command.index("-P") - 1]
    code = textwrap.dedent("""
        import socket
        try:
            socket.create_connection(("127.0.0.1", 9), 1)
        except OSError as error:
            print(error.errno)
    """)
    done = subprocess.run([*around, sys.executable, "-c", code], capture_output=True, text=True)
    permitted = subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0
    if not permitted:
        pytest.skip("this system permits no namespaces; the jail then rests on open files alone")
    assert int(done.stdout) == 101, "ENETUNREACH: a refused connection would be the real network"
    assert os.path.exists("/proc/self/ns/net")
