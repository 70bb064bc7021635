"""Compile the loops of a sweep in float32 ahead of their first use: 20 s, once a machine.

python -m influence_core.engine.kernels.compile_ahead  (run by `make run` after installing, and beside the app's start)
"""

import os

import torch

from influence_core.engine.kernels.loops import NAMES, loop


def main() -> None:
    """Compile all loops at low priority; numba caches them on disk."""
    os.nice(10)
    for name in NAMES:
        loop(torch.float32, name)


if __name__ == "__main__":
    main()
