"""A flat map of the samples on which similar gradients lie together.

UMAP (McInnes et al. 2018, arXiv 1802.03426) of the gradient sketches by cosine. Cosine compares directions, not
lengths, so one large gradient does not bend the map. Neighbours come from nearest.py: umap-learn's own search calls a
Python function for every pair below 4,096 samples (16 s instead of 0.3 s). The layout starts at the first two principal
axes. One thread and a seed make it reproducible. Fewer than 40 samples are shown on their principal axes, because UMAP
means nothing for so few.

umap-learn takes three seconds to import and, the first time, seven to compile. So it runs beside the sweep in a process
of its own: `python -m influence_core.scores.gradient_map SEED` compiles first, then reads from its input what to lay
out.
"""

import contextlib
import os
import queue
import stat
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from influence_core.errors import InfluenceError
from influence_core.scores.nearest import distances, nearest_rows, unit
from influence_core.system import atomic

NEIGHBOURS = 15
FEWEST = 40


def gradient_map(sketches: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Lay out gradient sketches (n, q) on a plane (n, 2), float32. Axes have no unit; only nearness means something."""
    rows = unit(np.asarray(sketches))
    start = _principal_axes(rows)
    if len(rows) < FEWEST:
        return start
    umap = _compiled_once()
    # umap-learn expects each sample as its own first neighbour
    others = nearest_rows(None, rows, NEIGHBOURS - 1)
    nearest = np.column_stack([np.arange(len(rows), dtype=others.dtype), others])
    layout = umap.UMAP(
        n_neighbors=NEIGHBOURS,
        init=start,  # pyright: ignore[reportArgumentType] - an array is documented
        n_epochs=200,
        random_state=seed,
        n_jobs=1,
        precomputed_knn=(nearest, distances(rows, rows, nearest)),
        force_approximation_algorithm=True,
    )
    with warnings.catch_warnings():
        # umap-learn misses a search index that it needs only to place new points; none are placed
        warnings.filterwarnings("ignore", message=r"precomputed_knn\[2\]", category=UserWarning)
        return np.asarray(layout.fit_transform(rows), dtype=np.float32)


def _compiled_once() -> Any:
    """Import umap-learn with its compiled functions kept on disk: 7 s the first time, 0.1 s after that."""
    import umap.distances  # three seconds, so not at the top of the file
    import umap.layouts
    import umap.umap_
    import umap.utils
    from numba.core.registry import CPUDispatcher

    for module in (umap.umap_, umap.layouts, umap.utils, umap.distances):
        for function in vars(module).values():
            if isinstance(function, CPUDispatcher) and not function.signatures:
                # RuntimeError: numba has no folder to write to; each process then compiles again, which is only slower
                with contextlib.suppress(RuntimeError):
                    function.enable_caching()
    return umap


def _principal_axes(rows: np.ndarray) -> np.ndarray:
    centred = rows - rows.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    plane = centred @ axes[:, [-1, -2]] if axes.shape[1] > 1 else np.column_stack([centred[:, 0]] * 2)
    return (10 * plane / (np.abs(plane).max() + 1e-12)).astype(np.float32)


class MapProcess:
    """A process that has umap-learn ready when the sketches are. Start it before slow imports."""

    def __init__(self, *, seed: int = 0):
        """Start the process; it compiles, then waits for `begin`."""
        self.target = Path()
        # a file, because a full pipe that is not read would stop the process; close() closes it
        self.stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115
        package = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(seed)],  # -P: no umap.py from the current folder
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self.stderr,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )

    def begin(self, folder: Path) -> None:
        """Lay out the sketches in `folder`/sketches.npy, which must be on disk."""
        self.target = atomic.temporary_name(folder / "map")
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the process has ended: `result` reports why
            self.process.stdin.write(f"{folder / 'sketches.npy'}\n{self.target}\n")
            self.process.stdin.flush()

    def done(self, seconds: float) -> bool:
        """Wait at most `seconds`; True when the layout is finished."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def result(self) -> np.ndarray:
        """The layout (n, 2).

        Raises:
            InfluenceError: the process failed; the end of its output is in the message.
        """
        self.process.wait()
        self.stderr.seek(0)
        output = self.stderr.read()
        if self.process.returncode or not self.target.exists():
            raise InfluenceError(
                f"The map of gradients could not be drawn (exit {self.process.returncode}): {output[-800:].strip()}. "
                "Resume the run; if it happens again, report this message."
            )
        layout = np.load(self.target, allow_pickle=False)
        self.target.unlink()
        return layout

    def close(self) -> None:
        """End the process if it still runs, also after an error or a cancelled analysis."""
        if self.process.poll() is None:
            self.process.kill()
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        self.process.wait()
        self.stderr.close()


def main(seed: int) -> None:
    """Compile on random numbers, read two lines (path of the sketches, path of the map), lay out, write.

    Low priority: torch's threads wait for each other, and one that loses its processor holds up the others (the sweep
    took four times as long on two cores).
    """
    asked: queue.Queue[str] = queue.Queue()
    if listens := stat.S_ISFIFO(os.fstat(0).st_mode):  # else it is only to compile, for the next one
        threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(10)
    gradient_map(np.random.default_rng(0).standard_normal((FEWEST * 2, 8)), seed=seed)
    if not listens:
        return
    sketches, target = asked.get(), asked.get()
    layout = gradient_map(np.load(sketches, allow_pickle=False), seed=seed)
    with Path(target).open("xb") as file:
        np.save(file, layout, allow_pickle=False)


def _listen(asked: queue.Queue[str]) -> None:
    """Hand on what the analysis asks, a line each; when it is gone, killed or not, end this process at once."""
    rest = b""
    while piece := os.read(0, 4096):  # not sys.stdin, whose lock this thread would hold when Python ends
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            asked.put(os.fsdecode(line))
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
