"""A browser fetches thumbnails and points with the right token alone, and nothing else."""

import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import httpx
import numpy as np
import pytest
from starlette.applications import Starlette

from influence_core.errors import RunError
from influence_core.run_files.folder import run_path
from influence_core.run_files.listing import list_runs
from influence_core.runs.run import Run
from pages.ui.server import routes
from pages.ui.shell import places
from tests.app.conftest import MAIN
from tests.making.drawn_run import make_small_run


@pytest.fixture
def run(root: Path) -> Run:
    return make_small_run(root / "small", n=12)


class Client:
    """In-process requests, each on an event loop in a thread of its own: Playwright may hold the main one."""

    def get(self, path: str) -> httpx.Response:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(anyio.run, self._get, path).result()

    async def _get(self, path: str) -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=routes.routes()))
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            return await client.get(path)


@pytest.fixture
def client(root: Path) -> Client:
    return Client()


def test_a_thumbnail_is_the_picture_at_its_position(run, client):
    for position in (0, 11):
        answer = client.get("/" + routes.thumbnail_url(run, "small", position))
        content, media_type = run.thumbnail(position)
        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
        assert answer.content == content
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "immutable" in answer.headers["cache-control"] and "private" in answer.headers["cache-control"]


def test_points_are_the_map_coordinates_as_float32(run, client):
    answer = client.get("/" + routes.points_url(run, "small"))
    expected = run.samples[["map_x", "map_y"]].to_numpy().astype("<f4").ravel()
    assert np.array_equal(struct.unpack(f"<{expected.size}f", answer.content), expected)


@pytest.mark.parametrize("position", ["12", "-1", "1e3", "9" * 30, "0/../../run.json"])
def test_a_position_that_is_not_there_is_not_found(run, client, position):
    assert client.get(f"/{routes.thumbnail_base(run, 'small')}{position}").status_code == 404


@pytest.mark.parametrize("token", ["", "0" * 32, "é", "%00", "x" * 5000])
def test_a_wrong_token_is_not_found(run, client, token):
    assert client.get(f"/thumbnails/small/{token}/0").status_code == 404
    assert client.get(f"/points/small/{token}/xy.bin").status_code == 404


def test_the_token_of_one_run_does_not_open_another(root, run, client):
    other = make_small_run(root / "other", n=12, seed=1)
    assert client.get(f"/thumbnails/small/{routes.token(other.id)}/0").status_code == 404
    assert client.get(f"/thumbnails/other/{routes.token(other.id)}/0").status_code == 200


@pytest.mark.parametrize(
    "folder",
    [
        "..",
        "%2e%2e",
        "..%2fruns%2fsmall",
        "%2fetc",
        ".secret",
        "missing",
        "small%00",
        "small%2f..%2fsmall",
        "linked",
    ],
)
def test_only_a_folder_right_inside_the_root_is_a_run(root, run, client, folder):
    (root / "linked").symlink_to(make_small_run(root.parent / "elsewhere", n=12, seed=2).path)
    for token in (routes.token(run.id), "0" * 32):
        assert client.get(f"/thumbnails/{folder}/{token}/0").status_code == 404


def test_an_unfinished_run_has_no_thumbnails_yet(root, run, client):
    address = "/" + routes.thumbnail_url(run, "small", 0)
    description = root / "small" / "run.json"
    description.write_text(description.read_text().replace('"finished"', '"running"', 1))
    assert client.get(address).status_code == 404


def test_the_secret_is_private_and_outlives_the_process(root, run):
    first = routes.token(run.id)
    assert (root / ".secret").stat().st_mode & 0o077 == 0, "others on this machine can read the secret"
    routes._secret.cache_clear()
    assert routes.token(run.id) == first, "addresses must hold after a restart"
    assert not list(root.glob(".secret.*")), "a draft of the secret was left behind"


def test_routes_lie_under_the_base_path(monkeypatch):
    monkeypatch.setattr("streamlit.config.get_option", lambda name: "tools/influence/")
    assert all(route.path.startswith("/tools/influence/") for route in routes.routes())


@pytest.mark.parametrize("name", ["a", "run.2_b-c", "a" * 100, "a" * 101, "a" * 128, "-a", "_a", "aé"])
def test_a_folder_has_pictures_exactly_when_it_can_be_opened_as_a_run(root, client, name):
    """One rule for names: a run that the list does not show must not be served, and the other way round."""
    run = make_small_run(root / name, n=12)
    try:
        known = run_path(root, name).is_dir()
    except RunError:
        known = False
    assert (client.get("/" + routes.thumbnail_url(run, name, 0)).status_code == 200) == known
    assert (name in [summary.name for summary in list_runs(root)]) == known


def test_no_file_of_the_pages_has_a_second_answer_to_where_runs_live(monkeypatch):
    """Set but empty is not set: the folder of the server itself must never become the folder of runs."""
    monkeypatch.setenv("INFLUENCE_RUNS", "")
    assert places.runs_root() == Path("runs").resolve()
    homes = [
        path.name
        for path in MAIN.parents[1].rglob("*.py")
        if 'environ.get("INFLUENCE_RUNS"' in path.read_text()
    ]
    assert homes == ["places.py"]
