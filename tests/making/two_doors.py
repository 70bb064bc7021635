"""What a file costs at the app's door and at the command's, each try in a process of its own.

    python -m tests.making.two_doors WEIGHTS DOOR=PATH ...

DOOR is `app` (the child that previews data), `check` (the command) or `weights` (the command, PATH holds a model.json).
Prints a line of JSON a try. The tries are forks of one process that has imported everything, which saves four seconds
each; the memory they share with it counts.
"""

import json
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path


def tried(door: str, weights: Path, path: Path) -> dict:
    """Open the path in a fork; seconds of the processor, of the clock, the peak of memory, and its last words."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        began = time.monotonic()
        if (child := os.fork()) == 0:
            code = 99
            try:
                os.environ["TMPDIR"] = tempfile.tempdir = folder
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                code = opened(door, weights, path, Path(folder))
                sys.stdout.flush()
            except BaseException as error:  # what a person would see as a traceback
                print(f"Traceback: {type(error).__name__}: {str(error)[:300]}", flush=True)
            os._exit(code)
        _, status, used = os.wait4(child, 0)
        said.seek(0)
        words = said.read().decode("utf-8", "replace").strip().splitlines()
        left = sorted(
            name.name for name in Path(folder).iterdir() if name.name != "pixels" and name.suffix != ".lock"
        )
    return {"door": door, "code": os.waitstatus_to_exitcode(status), "cpu": used.ru_utime + used.ru_stime,
            "seconds": time.monotonic() - began, "mb": used.ru_maxrss / 1024, "said": words[-1] if words else "",
            "left": left}  # fmt: skip


def opened(door: str, weights: Path, path: Path, folder: Path) -> int:
    if door == "app":
        from influence_core.intake import inspection

        options: dict = {"dataset": str(path), "pixels": str(folder / "pixels")}
        if path.suffix == ".zip":
            options |= {"store": str(folder / "store"), "limit": 8 * 1024**3}
        code = inspection.main("preview", json.dumps(options))
        shutil.rmtree(folder / "store", ignore_errors=True)
        return code
    from influence_core.cli.main import main

    if door == "check":
        return main(["check", str(weights / "model.safetensors"), str(path)])
    shutil.copy(weights / "model.safetensors", path / "model.safetensors")
    return main(["check", str(path / "model.safetensors"), str(weights / "toys")])


def main(weights: str, tries: list[str]) -> None:
    import influence_core.analysis.dry_run
    import influence_core.cli.main
    import influence_core.intake.preview  # noqa: F401  all of it, before the first fork

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for door, _, path in (one.partition("=") for one in tries):
        print(json.dumps(tried(door, Path(weights), Path(path))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
