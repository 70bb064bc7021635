"""The command `influence`: the same work without a browser.

    influence check sample_data/fashion/model.safetensors sample_data/fashion
    influence analyze sample_data/fashion --out runs/fashion
    influence verify runs/fashion
    influence report runs/fashion --out report.html
    influence export runs/fashion --out corrected
    influence app

Every error is one sentence on standard error and exit code 1; with INFLUENCE_TRACEBACK=1 in the environment, Python's
own report. Ctrl-C keeps finished shards; its exit code is 130.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from influence_core.cli import analyze, app, export, repairs
from influence_core.errors import InfluenceError
from influence_core.system import disk_full, scarce_memory
from influence_core.system.temporary import remove_orphans

TRACEBACK = "INFLUENCE_TRACEBACK"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = _parser().parse_args(arguments)
    remove_orphans()
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print("\ninfluence: stopped. Finished shards are kept; the same command continues.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        print(f"influence: {sentence(error, Path(getattr(args, 'out', None) or '.'))}", file=sys.stderr)
        return 1


def sentence(error: Exception, folder: Path) -> str:
    """Any error in words; what no part of this package expected is a fault of ours."""
    if (full := disk_full.sentence(error, folder)) is not None:
        return full
    if isinstance(error, InfluenceError):
        return str(error)
    if scarce_memory.is_cause(error):
        return "There is not enough memory. Give --batch-size a smaller number, or use a machine with more memory."
    if isinstance(error, OSError) and error.filename is not None:
        place = error.filename2 or error.filename  # the second: what a finished file was to be called
        return f"{place}: {error.strerror}. Check the path and who may read and write there."
    return (
        f"This is a fault of Influence Explorer or of a library it uses: {type(error).__name__}: {error}. "
        f"Run the same command with {TRACEBACK}=1 in front and report what it prints."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="influence", description="Which training samples hurt the model, and why?"
    )
    commands = parser.add_subparsers(
        required=True, metavar="check | analyze | verify | report | export | app"
    )
    for part in (analyze, repairs, export, app):
        part.add_commands(commands)
    return parser
