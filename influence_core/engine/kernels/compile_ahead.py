"""What is compiled before somebody waits for it? The loops of a sweep in float32: 20 s, once on a machine.

python -m influence_core.engine.kernels.compile_ahead  (by `make run` after installing, and beside the start of the app)
"""

import os

import torch

from influence_core.engine.kernels import position_sums as positions
from influence_core.engine.readings.tiles import loop


def main() -> None:
    """Compile at low priority, and keep it on disk."""
    os.nice(10)
    for of in ("written", "made", "rows"):
        loop(torch.float32, of)
    positions.loop(torch.float32)


if __name__ == "__main__":
    main()
