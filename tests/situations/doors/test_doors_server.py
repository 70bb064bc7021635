"""Who is let in at all: hosts, roles without sign-in, and the policy of every answer, on a real server."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from influence_core.cli import app as command
from influence_core.errors import InfluenceError
from pages.ui.server import hosts

ROOT = Path(__file__).resolve().parents[3]
ROUTES = (
    ("GET", "/"),
    ("GET", "/overview"),
    ("GET", "/_stcore/health"),
    ("GET", "/_stcore/host-config"),
    ("GET", "/static/js/index.js"),
    ("GET", "/media/x.png"),
    ("GET", "/component/x/index.html"),
    ("PUT", "/_stcore/upload_file/a/b"),
    ("GET", "/thumbnails/a/b/0"),
    ("GET", "/points/a/b/xy.bin"),
    ("PUT", "/uploads/a/b/dataset?name=x.zip"),
)
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The app under another ASGI server than Streamlit's own, behind a proxy that serves it as names of lab.example."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("served")
    more = {
        "INFLUENCE_RUNS": str(folder / "runs"),
        "INFLUENCE_HOSTS": "*.lab.example",
        "OMP_NUM_THREADS": "1",
    }
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "app:app", "--port", str(number)],
            cwd=ROOT,
            env={**os.environ, **more},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        for _ in range(600):
            assert server.poll() is None, (folder / "log").read_text()[-2000:]
            try:
                socket.create_connection(("127.0.0.1", number), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield number
    finally:
        server.terminate()
        server.wait(20)


def ask(port: int, method: str, path: str, host: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    """Status, text and headers of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": host, **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        text = "" if answer.status == 101 else answer.read(4000).decode("utf-8", "replace")
        return answer.status, text, {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def websocket(port: int, host: str) -> int:
    return ask(port, "GET", "/_stcore/stream", host, Origin=f"http://{host}", **UPGRADE)[0]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost@evil.example"]
)
def test_a_foreign_host_is_refused_on_every_route_and_on_the_websocket(port: int, host: str) -> None:
    for method, path in ROUTES:
        status, text, _ = ask(port, method, path, host)
        assert status == 403, (
            f"{method} {path} answers a page that took the name of this machine (DNS rebinding)"
        )
        assert "INFLUENCE_HOSTS" in text, "the refusal does not say how a name is added"
    assert websocket(port, host) == 403


def test_this_machine_and_named_hosts_are_served_with_and_without_port(port: int) -> None:
    for host in ("localhost", f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", "a.lab.example"):
        assert ask(port, "GET", "/", host)[0] == 200, f"{host} is refused"
        assert websocket(port, host) == 101, f"the page of {host} opens and never connects"


def test_a_server_is_reached_at_any_plain_address(port: int) -> None:
    for host in ("192.168.7.7:8501", "10.0.0.3", "[2001:db8::7]:8501"):
        assert ask(port, "GET", "/", host)[0] == 200, f"{host}, which a container translates, is refused"
        assert websocket(port, host) == 101, f"the page of {host} opens and never connects"
    for host in ("192.168.7.7.evil.example", "0x7f.1", "127.1", "2130706433.example"):
        assert ask(port, "GET", "/", host)[0] == 403, f"{host} is a name, which a stranger may own"


def test_every_answer_carries_the_content_policy(port: int) -> None:
    for path in ("/", "/overview", "/thumbnails/a/b/0"):
        policy = ask(port, "GET", path, "localhost")[2]["content-security-policy"]
        assert "default-src 'self'" in policy and "img-src 'self' data: blob:;" in policy


@pytest.mark.parametrize("way", [["uvicorn", "app:app"], ["influence_core.cli", "app", "--no-browser"]])
def test_roles_without_sign_in_refuse_to_start(way: list[str], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    environment = {**os.environ, "INFLUENCE_ROLES": "owner: ada@lab.org", "INFLUENCE_RUNS": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-m", *way, "--port", str(number)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode != 0, "everybody is an owner of this server, and nobody was told"
    assert "[auth]" in said and "Traceback" not in said


def test_an_address_of_another_machine_is_a_sentence() -> None:
    with pytest.raises(InfluenceError, match="INFLUENCE_HOSTS"):
        command._judge("192.0.2.1")
    for fine in ("127.0.0.1", "0.0.0.0", "::", "localhost"):
        command._judge(fine)
    assert command._url("::1", 8501) == "http://[::1]:8501"
    assert command._url("0.0.0.0", 8501) == "http://127.0.0.1:8501"


def test_the_address_of_the_server_is_one_of_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"server.allowedHosts": ["localhost"], "server.address": "app.lab.example"}
    monkeypatch.setattr("streamlit.config.get_option", options.get)
    monkeypatch.setenv("INFLUENCE_HOSTS", " Proxy.example , ")
    assert set(hosts.known()) == {"localhost", "app.lab.example", "proxy.example"}
    options["server.address"] = "0.0.0.0"
    assert socket.gethostname().lower() in hosts.known()
