"""Who can reach the daemon, and its files: modes, the unix socket, tokens on TCP."""

from __future__ import annotations

import http.client
import json
import os
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lq.client import ApiError, Client
from lq.paths import MAX_SOCKET_BYTES

from .conftest import Start
from .endpoint import Endpoint
from .process import LAST_OF_BANNER, Daemon


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.lstat().st_mode) for path in folder.iterdir()}


def over_tcp(daemon: Daemon, path: str, **headers: str) -> tuple[int, Any]:
    host = daemon.url.removeprefix("http://")
    with closing(http.client.HTTPConnection(host, timeout=10)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.mark.parametrize("umask", [0o022, 0o000, 0o777])
def test_nobody_else_can_read_anything(start: Start, umask: int) -> None:
    daemon = start(start=False, umask=umask)
    (daemon.data / "secret").unlink()
    daemon.data.rmdir()
    daemon.start()
    daemon.client.push("q", b"1", target="https://example.com/", delay_ms=3_600_000)
    assert stat.S_IMODE(daemon.data.stat().st_mode) == 0o700
    found = modes(daemon.data)
    assert set(found) == {"lq.db", "lq.db-wal", "lq.db-shm", "lq.lock", "lq.sock", "secret"}
    assert set(found.values()) == {0o600}


def test_modes_that_were_opened_are_closed_again(start: Start) -> None:
    daemon = start()
    assert daemon.stop().code == 0
    daemon.data.chmod(0o755)
    daemon.database.chmod(0o644)
    daemon.start()
    assert stat.S_IMODE(daemon.data.stat().st_mode) == 0o700
    assert set(modes(daemon.data).values()) == {0o600}


def test_the_owner_on_the_socket_needs_no_token_and_tcp_does(
    lq: Daemon, endpoint: Endpoint
) -> None:
    assert lq.client.queues() == []
    for headers in ({}, {"Authorization": "Bearer lq_nonsense"}, {"Authorization": "lq"}):
        status, answer = over_tcp(lq, "/api/v1/queues", **headers)
        assert (status, answer["type"]) == (401, "UNAUTHORIZED")
    assert over_tcp(lq, "/healthz") == (200, {"status": "ok"})
    assert over_tcp(lq, "/readyz") == (200, {"status": "ok"})

    token = lq.client.create_token("web", ["push"])["token"]
    remote = Client(lq.url, token, retries=0)
    remote.push("q", b"1", target=endpoint.url())
    assert endpoint.next().body == b"1"
    with pytest.raises(ApiError) as refusal:
        remote.secret()
    assert refusal.value.status == 403
    assert lq.stop().code == 0
    lq.start()
    Client(lq.url, token, retries=0).push("q", b"2", target=endpoint.url())
    assert endpoint.next().body == b"2"
    lq.client.revoke_token("web")
    with pytest.raises(ApiError) as refusal:
        Client(lq.url, token, retries=0).push("q", b"3", target=endpoint.url())
    assert refusal.value.status == 401


def test_a_socket_that_a_dead_daemon_left_is_replaced(lq: Daemon) -> None:
    lq.kill()
    assert lq.socket.is_socket()
    lq.start()
    assert stat.S_IMODE(lq.socket.stat().st_mode) == 0o600


def test_a_socket_that_another_daemon_serves_is_left_to_it(start: Start) -> None:
    first = start()
    second = start(start=False, name="second", environ={"LQ_SOCKET": str(first.socket)})
    second.launch()
    ended = second.wait()
    assert ended.code == 75
    assert str(first.socket) in ended.stderr
    assert "Traceback" not in ended.stderr
    assert first.client.ready() == {"status": "ok"}


def test_a_file_in_the_place_of_the_socket_is_not_removed(start: Start) -> None:
    daemon = start(start=False)
    daemon.socket.write_text("somebody's")
    daemon.launch()
    ended = daemon.wait()
    assert ended.code != 0
    assert str(daemon.socket) in ended.stderr
    assert "Traceback" not in ended.stderr
    assert daemon.socket.read_text() == "somebody's"


def test_a_folder_too_deep_for_a_socket_works_for_daemon_and_cli(
    start: Start, tmp_path: Path
) -> None:
    deep = tmp_path / ("deep" * 20) / ("down" * 20)
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    environ = {"LQ_DATA_DIR": str(deep), "XDG_RUNTIME_DIR": str(runtime)}
    assert len(os.fsencode(deep)) > MAX_SOCKET_BYTES
    daemon = start(start=False, data=deep, environ=environ)
    daemon.launch()
    daemon.wait_for(LAST_OF_BANNER)
    (short,) = runtime.iterdir()
    assert str(short) in daemon.stderr
    assert stat.S_IMODE(short.stat().st_mode) == 0o600
    assert (deep / "lq.db").exists()
    found = daemon.cli("queues", "ls", "--json")
    assert (found.code, found.stdout.strip()) == (0, "[]")
    assert daemon.stop().code == 0
    assert list(runtime.iterdir()) == []


def test_a_socket_that_is_configured_too_long_is_refused(start: Start) -> None:
    path = "/" + "x" * MAX_SOCKET_BYTES
    daemon = start(start=False, environ={"LQ_SOCKET": path})
    daemon.launch()
    ended = daemon.wait()
    assert ended.code == 78
    assert path in ended.stderr
    assert not daemon.database.exists()
