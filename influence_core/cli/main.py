"""The command `influence`: the same work without a browser.

    influence check sample_data/fashion/model.safetensors sample_data/fashion
    influence analyze sample_data/fashion --out runs/fashion
    influence verify runs/fashion
    influence report runs/fashion --out report.html
    influence export runs/fashion --out corrected
    influence app

An expected error is one sentence on standard error and exit code 1. Ctrl-C keeps finished shards; its exit code is 130.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from influence_core.cli import analyze, app, export, repairs
from influence_core.errors import InfluenceError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = _parser().parse_args(arguments)
    try:
        return args.run(args)
    except InfluenceError as error:
        print(f"influence: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninfluence: stopped. Finished shards are kept; the same command continues.", file=sys.stderr)
        return 130


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
