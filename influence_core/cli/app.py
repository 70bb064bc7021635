"""`influence app`: the app in a browser.

influence app --runs runs
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from pathlib import Path
from typing import Any

from influence_core.errors import InfluenceError

HERE = Path(__file__).resolve().parent.parent


def add_commands(commands: Any) -> None:
    """Add app to the parser."""
    app = commands.add_parser("app", help="open the app in a browser")
    app.add_argument("--port", type=int, default=8501)
    app.add_argument("--runs", type=Path, help="folder of the runs; default: ./runs")
    app.add_argument("--no-browser", action="store_true", help="only serve")
    app.set_defaults(run=_app)


def app_folder() -> Path:
    """Where app.py and the pages are: inside an installed package, beside one that is worked on.

    Raises:
        InfluenceError: they are in neither place.
    """
    for place in (HERE / "_app", HERE.parent):
        if (place / "app.py").exists():
            return place
    raise InfluenceError(
        f"The app is not beside the package: neither {HERE / '_app'} nor {HERE.parent} holds app.py. "
        "Install it again with: pip install influence-explorer"
    )


def _app(chosen: argparse.Namespace) -> int:
    script = app_folder() / "app.py"
    environment = dict(os.environ)
    if chosen.runs is not None:
        environment["INFLUENCE_RUNS"] = str(chosen.runs.resolve())
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(chosen.port)]
    url = f"http://127.0.0.1:{chosen.port}"
    if not chosen.no_browser:
        threading.Thread(target=_open_when_ready, args=(url,), daemon=True).start()
    _compile_ahead()
    print(f"Influence Explorer is at {url} (Ctrl-C stops it; running analyses go on).")
    server = subprocess.Popen(command, env=environment)
    # whoever ends this command ends the server: otherwise it would go on, unseen, on the same port
    signal.signal(signal.SIGTERM, lambda number, frame: server.terminate())
    try:
        return server.wait()
    finally:
        server.terminate()


def _compile_ahead() -> None:
    """Let the map and the engine's loops compile at low priority while the person reads the first page."""
    for module in (
        ["influence_core.scores.gradient_map", "0"],
        ["influence_core.engine.kernels.compile_ahead"],
    ):
        subprocess.Popen(
            [sys.executable, "-m", *module],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def _open_when_ready(url: str) -> None:
    """Open the browser once the server answers; give up quietly after a minute, the address is on screen."""
    for _ in range(120):
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1):
                break
        except OSError:
            time.sleep(0.5)
    else:
        return
    if sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(url)
