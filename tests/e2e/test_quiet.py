"""What the daemon must not do: work when there is nothing to do, and say what is secret."""

from __future__ import annotations

import os
import socket
import time
from contextlib import closing
from pathlib import Path

import pytest

from lq.client import ApiError, Client

from .conftest import Start
from .endpoint import FAILED, Answer, Endpoint
from .process import Daemon, wait_until

WATCHED_S = 3.0


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("waiting", [0, 50])
def test_it_does_nothing_when_nothing_is_due(lq: Daemon, endpoint: Endpoint, waiting: int) -> None:
    lq.client.push("q", b"1", target=endpoint.url())
    endpoint.next()
    for number in range(waiting):
        lq.client.push(f"q{number}", b"1", target=endpoint.url(), delay_ms=3_600_000)
    time.sleep(0.5)  # let the last answer and its commit be over
    before = cpu_seconds(lq.pid)
    time.sleep(WATCHED_S)
    assert (cpu_seconds(lq.pid) - before) / WATCHED_S < 0.02


def first_line(daemon: Daemon, message: bytes) -> bytes:
    """What a message is answered; nothing to one that ends early."""
    host, _, port = daemon.url.removeprefix("http://").rpartition(":")
    with closing(socket.create_connection((host, int(port)), timeout=10)) as connection:
        connection.sendall(message)
        if not message.endswith(b"\r\n\r\n"):
            connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            return answer.readline()


@pytest.mark.parametrize("level", ["info", "debug"])
def test_no_secret_token_or_payload_is_ever_logged(
    start: Start, endpoint: Endpoint, level: str
) -> None:
    daemon = start("max_payload = '1KiB'\n", environ={"LQ_LOG_LEVEL": level})
    endpoint.on("/fails", lambda _: Answer(500, b"said-canary", {"x-lq-retry": "no"}))
    endpoint.on("/later", lambda _: FAILED)
    client, target = daemon.client, endpoint.url()
    token = client.create_token("web", ["admin"])["token"]
    remote = Client(daemon.url, token, retries=0)
    private = {"Authorization": "Bearer header-canary"}
    remote.push("q", b"body-canary", target=target, key="k", headers=private)
    endpoint.next()
    failed = remote.push("q", b"body-canary", target=endpoint.url("/fails"), headers=private)["id"]
    endpoint.next()
    remote.push("q", b"body-canary", target=endpoint.url("/later"), delay_ms=1, retry="1h")
    endpoint.next()
    held = remote.push("q", b"body-canary", target=target, key="later", delay_ms=3_600_000)["id"]
    remote.edit(held, b"edited body-canary", headers=private)
    remote.item(held), remote.attempts(failed), remote.history(), remote.queues()
    remote.secret(), remote.tokens()
    endpoint.secret = "lqs_another"
    unvalidated = remote.push("q", b"body-canary", target=endpoint.url("/unvalidated"))["id"]

    for stranger, refused in (
        (Client(daemon.url, "lq_guess-canary", retries=0), {}),
        (remote, {"retry": "body-canary"}),
        (remote, {"headers": {"x-lq-id": "header-canary"}}),
    ):
        with pytest.raises(ApiError):
            stranger.push("q", b"body-canary", target=target, **refused)
    with pytest.raises(ApiError) as refusal:
        remote.push("q", b"body-canary" * 1000, target=target)
    assert refusal.value.status == 413
    request = f"GET /api/v1/queues?token={token} HTTP/1.1\r\nHost: lq\r\n\r\n".encode()
    assert b" 401 " in first_line(daemon, request)
    broken = f"POST /x HTTP/1.1\r\nAuthorization: Bearer {token}\r\nbody-canary\r\n\r\n".encode()
    assert b" 400 " in first_line(daemon, broken)
    first_line(
        daemon,
        f"POST /api/v1/queues/q/items HTTP/1.1\r\nHost: lq\r\nAuthorization: Bearer {token}\r\n"
        f"x-lq-target: {target}\r\nContent-Length: 999\r\n\r\nbody-canary".encode(),
    )
    assert "not validated" in wait_until(lambda: client.item(unvalidated).get("error", ""))
    webhook_secret = client.secret()["webhookSecret"]
    daemon.kill()
    first_life = daemon.stderr
    daemon.start()
    assert daemon.stop().code == 0
    for spoken in (first_life, daemon.stderr):
        assert "canary" not in spoken
        for secret in (token, daemon.secret(), webhook_secret, "Bearer"):
            assert secret not in spoken
