"""The progress bar of a command: a line that fills on a terminal, one line a stage elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from influence_core.system.report import Report

if TYPE_CHECKING:
    from influence_core.run_files.progress import Stage

BAR = 24


def bar(stages: Iterable[Stage]) -> Report:
    """An on_progress function for these stages that draws on standard error."""
    titles = {name: title for name, title, _ in stages}
    watched, announced = sys.stderr.isatty(), set()

    def draw(stage: str, done: int, total: int) -> None:
        if watched:
            filled = BAR * done // max(1, total)
            end = "\n" if done >= total else ""
            line = f"\r{titles[stage]:<34} [{'#' * filled}{'.' * (BAR - filled)}] {done:,} of {total:,} {end}"
            print(line, end="", file=sys.stderr, flush=True)
        elif stage not in announced:
            announced.add(stage)
            print(titles[stage], file=sys.stderr, flush=True)

    return draw
