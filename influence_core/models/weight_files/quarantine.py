"""Safe reading of a pickled state dict, in a child process.

The child, `unpickle.py`, runs under the limits of jail.py: no network, rights, new files or processes; limited memory,
time and bytes. It reads with `weights_only=True` and writes the tensors as safetensors into a file opened by the
parent. The parent reads that safetensors file only. When the child fails, for whatever reason, the file is refused:
there is no second way to read it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from influence_core.errors import ModelError, UnsafeFileError
from influence_core.models.weight_files.sniffing import RECIPE
from influence_core.system.temporary import TemporaryFolder

CHILD = Path(__file__).with_name("unpickle.py")
SECONDS = 120
# Environment variables passed to the child: enough to find its libraries, no secrets.
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


def convert_state_dict(path: Path, seconds: float = SECONDS) -> tuple[bytes, list[str]]:
    """Return the tensors of a .pt or .pth state dict as the bytes of a safetensors file, and the names of its sets.

    With more than one set, each tensor's name begins with the number of its set: "1/conv.weight".
    """
    with TemporaryFolder() as folder:
        target = folder / "model.safetensors"
        answer = run_child(path, target, seconds)
        if answer.get("state") == "converted":
            return target.read_bytes(), list(map(str, answer.get("sets") or [""]))
    reason = str(answer.get("reason", "it gave no reason"))[:400]
    if answer.get("state") == "unsafe":
        raise UnsafeFileError(f"{path.name} was refused: {reason}. {RECIPE}")
    raise ModelError(f"{path.name} cannot be read as a state dict: {reason}. {RECIPE}")


def convert_arrays(path: Path, recipe: str, seconds: float = SECONDS) -> tuple[bytes, dict[str, list[str]]]:
    """Return the tensors of a .pt file of data as the bytes of a safetensors file, and its lists of words."""
    with TemporaryFolder() as folder:
        target = folder / "arrays.safetensors"
        answer = run_child(path, target, seconds, "arrays")
        if answer.get("state") == "converted":
            return target.read_bytes(), answer.get("words", {})
    reason = str(answer.get("reason", "it gave no reason"))[:400]
    refused = UnsafeFileError if answer.get("state") == "unsafe" else ModelError
    raise refused(f"{path.name} cannot be read as tensors of a dataset: {reason}. {recipe}")


def run_child(path: Path, target: Path, seconds: float, *what: str) -> dict:
    """Run the child on the file and return its line of JSON, or a failed state with the reason."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"OMP_NUM_THREADS": "1", "HOME": str(target.parent), "TMPDIR": str(target.parent)}
    command = [sys.executable, "-I", "-B", str(CHILD)]
    try:
        with path.open("rb") as file, target.open("xb") as converted:
            done = subprocess.run(
                [*command, str(converted.fileno()), str(max(1, int(seconds))), *what],
                stdin=file,
                capture_output=True,
                cwd=target.parent,
                env=environment,
                timeout=seconds,
                pass_fds=(converted.fileno(),),
                start_new_session=True,
                check=False,
            )
    except subprocess.TimeoutExpired:
        return failed(f"reading it took longer than {seconds:g} seconds")
    if done.returncode < 0:
        return failed(f"reading it ended by signal {-done.returncode} (memory or time limit)")
    try:
        return json.loads(done.stdout.decode().strip().splitlines()[-1])
    except (ValueError, IndexError):
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return failed(f"the reading process ended with {done.returncode}: {''.join(last)}")


def failed(reason: str) -> dict:
    return {"state": "failed", "reason": reason}
