"""`influence app`: the app in a browser.

influence app --runs runs
influence app --address 0.0.0.0        for other machines; INFLUENCE_HOSTS names further hosts, as behind a proxy
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from pathlib import Path
from typing import Any

from influence_core.errors import InfluenceError

PACKAGE = Path(__file__).resolve().parent.parent


def add_commands(commands: Any) -> None:
    """Add app to the parser."""
    app = commands.add_parser("app", help="open the app in a browser")
    app.add_argument("--port", type=int, default=8501)
    app.add_argument(
        "--address",
        default="127.0.0.1",
        metavar="HOST",
        help="address or name to listen at and to answer to; default: this machine only. Further names, for example "
        "behind a proxy: INFLUENCE_HOSTS=influence.example.org",
    )
    app.add_argument("--runs", type=Path, help="folder of the runs; default: ./runs")
    app.add_argument("--no-browser", action="store_true", help="only serve")
    app.set_defaults(run=_app)


def app_folder() -> Path:
    """The folder of app.py and the pages: inside an installed package, beside a package in its source tree.

    Raises:
        InfluenceError: app.py is in neither place.
    """
    for place in (PACKAGE / "_app", PACKAGE.parent):
        if (place / "app.py").exists():
            return place
    raise InfluenceError(
        f"The app is not beside the package: neither {PACKAGE / '_app'} nor {PACKAGE.parent} holds app.py. "
        "Install it again with: pip install influence-explorer"
    )


def _app(args: argparse.Namespace) -> int:
    _judge(args.address)
    script = str(app_folder() / "app.py")
    environment = {} if args.runs is None else {"INFLUENCE_RUNS": str(args.runs.resolve())}
    listening = ["--server.port", str(args.port), "--server.address", args.address]
    command = [sys.executable, "-m", "streamlit", "run", script, *listening]
    url = _url(args.address, args.port)
    if not args.no_browser:
        threading.Thread(target=_open_when_ready, args=(url,), daemon=True).start()
    _compile_ahead()
    print(f"Influence Explorer is at {url} (Ctrl-C stops it; running analyses continue).")
    server = subprocess.Popen(command, env={**os.environ, **environment})
    # ending this command ends the server too: otherwise it would stay on the same port, unnoticed
    signal.signal(signal.SIGTERM, lambda number, frame: server.terminate())
    try:
        return server.wait()
    finally:
        server.terminate()


def _judge(address: str) -> None:
    """Refuse an address that is none of this machine's, before a server starts that cannot listen there."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(address or None, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.bind(place)
    except (OSError, UnicodeError) as error:
        raise InfluenceError(
            f"--address {address} is no address of this machine. Expected 127.0.0.1 (this machine only), 0.0.0.0 "
            "(every network), or one of its own. The name under which a proxy serves it goes into "
            "INFLUENCE_HOSTS instead."
        ) from error


def _url(address: str, port: int) -> str:
    """The page as this machine reaches it; a server for every address is reached at the local one."""
    host = "127.0.0.1" if address in ("", "0.0.0.0", "::") else address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _compile_ahead() -> None:
    """Start compiling the map and the engine's loops in the background, at low priority."""
    for module, *arguments in (("scores.gradient_map", "0"), ("engine.kernels.compile_ahead",)):
        process = subprocess.Popen(
            [sys.executable, "-m", f"influence_core.{module}", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        threading.Thread(
            target=process.wait, daemon=True
        ).start()  # or it would stay in the list of processes


def _open_when_ready(url: str) -> None:
    """Open the browser once the server responds; give up silently after a minute, the address is on screen."""
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
