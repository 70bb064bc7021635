"""The upload route: a PUT that writes a file to disk piece by piece.

    PUT /uploads/{upload}/{token}/{kind}?name=...     the file as the body; answers {"stored": name on disk}

The token is an HMAC of the upload's id that only a page of its owner hands out, so no other site can make a browser
send anything; no cookie is read. Bytes are counted against the quota as they arrive. A broken or refused file leaves
nothing behind. Anything that does not fit is the same 404.
"""

from __future__ import annotations

import hmac

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from influence_core.errors import UploadError
from influence_core.intake import uploads
from influence_core.intake.uploads import Upload
from pages.ui.server.routes import prefix, token
from pages.ui.shell.places import runs_root

PIECE = 1024**2
"""Bytes that are collected before they are written."""


def routes() -> list[Route]:
    """The route for `st.App`; nothing arrives before it exists, so half a file is of a server that was killed."""
    uploads.remove_interrupted(runs_root())
    return [Route(prefix() + "/uploads/{upload}/{token}/{kind}", receive, methods=["PUT"])]


def address(upload: Upload, kind: str) -> str:
    """The address to which the owner's page may send a file, relative to the page."""
    return f"uploads/{upload.id}/{_token(upload.id)}/{kind}"


def _token(name: str) -> str:
    return token(f"upload {name}")


async def receive(request: Request) -> Response:
    """Write the body to the upload's folder; only the current piece is in memory."""
    name, kind = request.path_params["upload"], request.path_params["kind"]
    fits = hmac.compare_digest(_token(name).encode(), request.path_params["token"].encode())
    folder = runs_root() / uploads.FOLDER / name
    if not (fits and uploads.ID.fullmatch(name) and kind in uploads.SUFFIXES and folder.is_dir()):
        raise HTTPException(404)
    upload, file_name = Upload(folder, {}, False), request.query_params.get("name", "")
    try:
        with uploads.receiving(runs_root(), upload, kind, file_name) as file:
            piece = bytearray()
            async for chunk in request.stream():
                piece += chunk
                if len(piece) >= PIECE:
                    await anyio.to_thread.run_sync(file.write, bytes(piece))
                    piece.clear()
            await anyio.to_thread.run_sync(file.write, bytes(piece))
        return JSONResponse({"stored": file.path.name})
    except UploadError as error:
        return JSONResponse({"problem": str(error)}, status_code=413)
    except ClientDisconnect:
        return Response(status_code=400)  # no one reads this answer; what had arrived is deleted
