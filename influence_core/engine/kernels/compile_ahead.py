"""Compile the loops of a sweep in float32 before somebody waits for them: 20 s, once on a machine.

python -m influence_core.engine.kernels.compile_ahead  (by `make run` after installing, and beside the start of the app)
"""

import os

import torch

from influence_core.engine.kernels.loops import NAMES, loop


def main() -> None:
    """Compile at low priority, and keep it on disk."""
    os.nice(10)
    for name in NAMES:
        loop(torch.float32, name)


if __name__ == "__main__":
    main()
