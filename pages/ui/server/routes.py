"""Routes for the thumbnails and map points of a run, at addresses that only its pages hand out.

    GET /thumbnails/{run}/{token}/{position}     one thumbnail of a training sample, image/png or image/jpeg
    GET /thumbnails/{run}/{token}/{split}/{position}    the same of a validation or test sample ("val", "test")
    GET /points/{run}/{token}/xy.bin             map coordinates, little-endian float32, x0 y0 x1 y1 ...

Streamlit's sign-in does not guard plain routes, so an address carries an unguessable token: HMAC-SHA256 of the run's
id under a secret of this installation. Anything that does not fit (token, run, position) is the same 404. A finished
run never changes and its id is never used twice, so browsers may cache the answers forever.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from functools import lru_cache
from pathlib import Path

import anyio.to_thread
import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from streamlit import config

from influence_core.errors import RunError
from influence_core.run_files.folder import FOLDER_NAME
from influence_core.run_files.thumbnails import FILES
from influence_core.runs.run import Run
from pages.ui.shell.open_runs import opened
from pages.ui.shell.places import runs_root

HEADERS = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


def routes() -> list[Route]:
    """The routes for `st.App`, under `server.baseUrlPath` when one is set."""
    return [
        Route(prefix() + "/thumbnails/{run}/{token}/{position:int}", thumbnail, methods=["GET"]),
        Route(prefix() + "/thumbnails/{run}/{token}/{split}/{position:int}", thumbnail, methods=["GET"]),
        Route(prefix() + "/points/{run}/{token}/xy.bin", points, methods=["GET"]),
    ]


def prefix() -> str:
    """The base path of this server, without its last slash; empty when none is set."""
    base = (config.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}" if base else ""


def thumbnail_url(run: Run, folder: str, position: int) -> str:
    """Address of one thumbnail, relative to the page, so that it holds behind any proxy path."""
    return f"{thumbnail_base(run, folder)}{position}"


def thumbnail_base(run: Run, folder: str, split: str = "train") -> str:
    """The address to which a position is appended, for components that show any of thousands of pictures."""
    return f"thumbnails/{folder}/{token(run.id)}/{'' if split == 'train' else f'{split}/'}"


def points_url(run: Run, folder: str) -> str:
    """Address of the map coordinates of a run, for maps too large to send with every rerun."""
    return f"points/{folder}/{token(run.id)}/xy.bin"


async def thumbnail(request: Request) -> Response:
    """One thumbnail, read off the event loop because the run may have to be opened first."""
    run = await anyio.to_thread.run_sync(_trusted_run, request)
    position, split = request.path_params["position"], request.path_params.get("split", "train")
    if split not in FILES:
        raise HTTPException(404)
    try:
        content, media_type = await anyio.to_thread.run_sync(run.thumbnail, position, split)
    except RunError as error:
        raise HTTPException(404) from error
    return Response(content, media_type=media_type, headers=HEADERS)


async def points(request: Request) -> Response:
    """All map coordinates of a run: 8 bytes a sample, in the order of `run.samples`."""
    run = await anyio.to_thread.run_sync(_trusted_run, request)
    content = await anyio.to_thread.run_sync(_packed_points, run)
    return Response(content, media_type="application/octet-stream", headers=HEADERS)


def token(run_id: str) -> str:
    """The unguessable part of a run's addresses: 128 bits of HMAC-SHA256, as hexadecimal."""
    return hmac.new(_secret(runs_root()), run_id.encode(), hashlib.sha256).hexdigest()[:32]


def _trusted_run(request: Request) -> Run:
    """The run that an address names, or the same 404 whichever part is wrong."""
    folder = _folder_inside_root(request.path_params["run"])
    try:
        run = opened(folder)
    except (OSError, RunError) as error:
        raise HTTPException(404) from error
    if not hmac.compare_digest(token(run.id).encode(), request.path_params["token"].encode()):
        raise HTTPException(404)
    return run


def _folder_inside_root(name: str) -> Path:
    """The folder of a plain name, resolved: neither `..` nor a link can lead elsewhere."""
    if not FOLDER_NAME.fullmatch(name):
        raise HTTPException(404)
    root = runs_root()
    folder = (root / name).resolve()
    if folder.parent != root:
        raise HTTPException(404)
    return folder


def _packed_points(run: Run) -> bytes:
    return np.ascontiguousarray(run.samples[["map_x", "map_y"]].to_numpy(), "<f4").tobytes()


@lru_cache(maxsize=4)
def _secret(root: Path) -> bytes:
    """INFLUENCE_SECRET, or 32 random bytes kept beside the runs so that addresses outlive a restart."""
    if configured := os.environ.get("INFLUENCE_SECRET"):
        return configured.encode()
    path = root / ".secret"
    if not path.exists():
        _write_secret(path)
    return path.read_bytes()


def _write_secret(path: Path) -> None:
    """Write a secret and link it into place complete, so that two servers starting together share one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".secret.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(32))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another server was first; its secret is used
    finally:
        draft.unlink()
