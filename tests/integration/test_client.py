"""The client against servers that say exactly what a test makes them say, byte for byte."""

from __future__ import annotations

import json
import os
import queue
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from lq.client import ApiError, ByKey, Client, Unreachable
from lq.errors import ValidationError

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"ok":true}'


class Scripted:
    """Answers each connection with the same bytes, and keeps the requests it read whole."""

    def __init__(self, listening: socket.socket, answer: bytes, *, hang: bool = False) -> None:
        self.requests: queue.Queue[bytes] = queue.Queue()
        self._listening = listening
        self._answer = answer
        self._release = threading.Event()
        if not hang:
            self._release.set()
        self._thread = threading.Thread(target=self._serve)

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    def __enter__(self) -> Scripted:
        self._listening.listen()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                self.requests.put(self._read(connection))
                connection.sendall(self._answer)
                self._release.wait()

    @staticmethod
    def _read(connection: socket.socket) -> bytes:
        with connection.makefile("rb") as stream:
            head = b"".join(iter(stream.readline, b"\r\n"))
            length = next(
                int(line.partition(b":")[2])
                for line in head.splitlines()
                if line.lower().startswith(b"content-length:")
            )
            return head + b"\r\n" + stream.read(length)


@pytest.fixture
def serve(request: pytest.FixtureRequest) -> Callable[..., tuple[Scripted, Client]]:
    """A server on 127.0.0.1 that gives one answer, and a client of it."""

    def start(answer: bytes = OK, **how: Any) -> tuple[Scripted, Client]:
        hang = how.pop("hang", False)
        how.setdefault("retries", 0)
        server = Scripted(socket.create_server(("127.0.0.1", 0)), answer, hang=hang)
        request.addfinalizer(lambda: server.__exit__(None, None, None))
        server.__enter__()
        return server, Client(f"http://127.0.0.1:{server.port}", "lq_token", **how)

    return start


Serve = Callable[..., tuple[Scripted, Client]]


def answer_of(value: object, status: str = "200 OK") -> bytes:
    body = json.dumps(value).encode()
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def sent_by(serve: Serve, call: Callable[[Client], object], answer: object = None) -> list[bytes]:
    """The first line of each request that a call sends."""
    server, client = serve(answer_of({"ok": True, "id": "job_1"} if answer is None else answer))
    call(client)
    found = []
    while not server.requests.empty():
        found.append(server.requests.get().splitlines()[0].removesuffix(b" HTTP/1.1"))
    return found


# Requests


KEY = ByKey("a/b", "k?#%")
SCHEDULE = "sch_" + "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda c: c.push("a/b ü", b""), b"POST /api/v1/queues/a%2Fb%20%C3%BC/items"),
        (lambda c: c.item("job_1"), b"GET /api/v1/items/job_1"),
        (lambda c: c.item("../x"), b"GET /api/v1/items/..%2Fx"),
        (lambda c: c.item(KEY), b"GET /api/v1/queues/a%2Fb/items/byKey/k%3F%23%25"),
        (lambda c: c.cancel(KEY), b"DELETE /api/v1/queues/a%2Fb/items/byKey/k%3F%23%25"),
        (lambda c: c.edit("job_1", delay_ms=5), b"PATCH /api/v1/items/job_1"),
        (lambda c: c.run("job_1"), b"POST /api/v1/items/job_1/run"),
        (lambda c: c.retry("job_1"), b"POST /api/v1/items/job_1/retry"),
        (lambda c: c.items(limit=5, state=None), b"GET /api/v1/items?limit=5"),
        (lambda c: c.items("q", label="a&b"), b"GET /api/v1/queues/q/items?label=a%26b"),
        (lambda c: c.history(since="x", until="y+1"), b"GET /api/v1/history?from=x&to=y%2B1"),
        (lambda c: c.queue("a/b"), b"GET /api/v1/queues/a%2Fb"),
        (lambda c: c.pause("q"), b"POST /api/v1/queues/q/pause"),
        (lambda c: c.pause("q", "z"), b"POST /api/v1/queues/q/pause?until=z"),
        (lambda c: c.resume("q"), b"POST /api/v1/queues/q/resume"),
        (lambda c: c.revoke_token("a b"), b"DELETE /api/v1/tokens/a%20b"),
        (lambda c: c.create_schedule("@daily", "q"), b"POST /api/v1/schedules"),
        (lambda c: c.schedules(queue="a/b"), b"GET /api/v1/schedules?queue=a%2Fb"),
        (lambda c: c.schedule(SCHEDULE), f"GET /api/v1/schedules/{SCHEDULE}".encode()),
        (lambda c: c.schedule("sch_k?#/run"), b"GET /api/v1/schedules/byKey/sch_k%3F%23%2Frun"),
        (lambda c: c.edit_schedule("k", tz="UTC"), b"PATCH /api/v1/schedules/byKey/k"),
        (lambda c: c.delete_schedule("k"), b"DELETE /api/v1/schedules/byKey/k"),
        (lambda c: c.run_schedule(SCHEDULE), f"POST /api/v1/schedules/{SCHEDULE}/run".encode()),
        (lambda c: c.cron("*/5 * * * *"), b"GET /api/v1/cron?expr=%2A%2F5+%2A+%2A+%2A+%2A"),
        (
            lambda c: c.cron("@daily", tz="Etc/GMT+5", since="x", count=1),
            b"GET /api/v1/cron?expr=%40daily&tz=Etc%2FGMT%2B5&from=x&count=1",
        ),
        (lambda c: c.reload(), b"POST /api/v1/reload"),
        (lambda c: c.reload(dry=True), b"POST /api/v1/reload?dry=1"),
        (lambda c: c.secret(), b"GET /api/v1/secret"),
        (lambda c: c.rotate_secret(), b"POST /api/v1/secret/rotate"),
        (lambda c: c.rotate_secret(0), b"POST /api/v1/secret/rotate?overlap=0s"),
        (lambda c: c.rotate_secret(5_400_000), b"POST /api/v1/secret/rotate?overlap=1h30m"),
        (lambda c: c.revoke_old_secrets(), b"POST /api/v1/secret/revoke-old"),
        (lambda c: c.info(), b"GET /api/v1/info"),
        (lambda c: c.ready(), b"GET /readyz"),
    ],
)
def test_each_verb_has_its_route(
    serve: Serve, call: Callable[[Client], object], line: bytes
) -> None:
    assert sent_by(serve, call) == [line]


def test_lists_are_lists(serve: Serve) -> None:
    assert sent_by(serve, lambda c: c.queues(), []) == [b"GET /api/v1/queues"]
    assert sent_by(serve, lambda c: c.tokens(), []) == [b"GET /api/v1/tokens"]


def test_what_has_no_route_by_key_looks_the_id_up(serve: Serve) -> None:
    by_key = b"GET /api/v1/queues/a%2Fb/items/byKey/k%3F%23%25"
    assert sent_by(serve, lambda c: c.run(KEY)) == [by_key, b"POST /api/v1/items/job_1/run"]


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda c: c.run_schedule("a/b"), "POST /api/v1/schedules/{}/run"),
        (lambda c: c.pause_schedule("a/b"), "POST /api/v1/schedules/{}/pause"),
        (lambda c: c.resume_schedule("a/b"), "POST /api/v1/schedules/{}/resume"),
        (lambda c: c.schedule_next("a/b", 3, "x"), "GET /api/v1/schedules/{}/next?count=3&from=x"),
        (
            lambda c: c.schedule_calendar("a/b", "2027-03"),
            "GET /api/v1/schedules/{}/calendar?month=2027-03",
        ),
    ],
)
def test_a_schedule_is_looked_up_by_its_key(
    serve: Serve, call: Callable[[Client], object], line: str
) -> None:
    sent = sent_by(serve, call, {"id": SCHEDULE, "times": []})
    assert sent == [b"GET /api/v1/schedules/byKey/a%2Fb", line.format(SCHEDULE).encode()]


def schedule_headers(server: Scripted) -> dict[str, str]:
    """The headers of the next request that are about its schedule, and its type."""
    lines = server.requests.get().decode().partition("\r\n\r\n")[0].splitlines()[1:]
    headers = dict(line.split(":", 1) for line in lines)
    return {
        name: text.strip()
        for name, text in headers.items()
        if name.startswith(("x-lq-", "Content-Type"))
    }


def test_a_schedule_says_all_it_can(serve: Serve) -> None:
    server, client = serve()
    client.create_schedule(
        "30 2 * * *",
        "mail",
        b"{}",
        content_type="application/json",
        target="https://example.com",
        method="PUT",
        headers={"x-team": "mail"},
        key="nightly",
        tz="Europe/Berlin",
        times=5,
        start="2026-12-01T09:00:00.000Z",
        until="2027-12-01T09:00:00.000Z",
        misfire="all",
        overlap="skip",
        jitter_ms=1500,
        retry="10s,1m",
        timeout_ms=250,
        expires="1d",
        labels=["a", "b"],
        validate=False,
    )
    assert schedule_headers(server) == {
        "Content-Type": "application/json",
        "x-lq-schedule": "30 2 * * *",
        "x-lq-queue": "mail",
        "x-lq-target": "https://example.com",
        "x-lq-method": "PUT",
        "x-lq-headers": '{"x-team": "mail"}',
        "x-lq-key": "nightly",
        "x-lq-tz": "Europe/Berlin",
        "x-lq-times": "5",
        "x-lq-start": "2026-12-01T09:00:00.000Z",
        "x-lq-until": "2027-12-01T09:00:00.000Z",
        "x-lq-misfire": "all",
        "x-lq-overlap": "skip",
        "x-lq-jitter": "1s500ms",
        "x-lq-retry": "10s,1m",
        "x-lq-timeout": "250ms",
        "x-lq-expires": "1d",
        "x-lq-label": "a,b",
        "x-lq-validate": "none",
    }
    client.create_schedule("@daily", "q", labels=[""])
    assert schedule_headers(server)["x-lq-label"] == ""  # for the daemon to refuse
    client.create_schedule("@daily", "q", labels=[], until=None)
    assert schedule_headers(server) == {"x-lq-schedule": "@daily", "x-lq-queue": "q"}


def test_an_edit_of_a_schedule_takes_away_what_is_given_empty(serve: Serve) -> None:
    server, client = serve()
    client.edit_schedule(
        "k", rule="@hourly", queue="r", until="", times="", jitter_ms=0, labels=[], headers={},
        target=None, validate=True,
    )  # fmt: skip
    assert schedule_headers(server) == {
        "x-lq-schedule": "@hourly",
        "x-lq-queue": "r",
        "x-lq-until": "",
        "x-lq-times": "",
        "x-lq-jitter": "0s",
        "x-lq-label": "",
        "x-lq-headers": "{}",
        "x-lq-validate": "head",
    }


def test_a_push_says_all_it_can(serve: Serve) -> None:
    server, client = serve()
    client.push(
        "mail",
        b'{"a":1}',
        content_type="application/json",
        target="https://example.com",
        method="PUT",
        headers={"x-team": "größe"},
        key="schlüssel",
        if_exists="keep",
        delay_ms=1500,
        on="2026-12-01T09:00:00.000Z",
        retry="10s,1m",
        timeout_ms=250,
        expires="1d",
        labels=["a", "b"],
        validate=False,
    )
    head, _, body = server.requests.get().partition(b"\r\n\r\n")
    lines = head.decode().splitlines()[1:]
    headers = dict(line.split(": ", 1) for line in lines)
    assert body == b'{"a":1}'
    assert headers.pop("User-Agent").startswith("lq/")
    assert headers == {
        "Host": f"127.0.0.1:{server.port}",
        "Accept": "application/json",
        "Content-Length": "7",
        "Authorization": "Bearer lq_token",
        "Content-Type": "application/json",
        "x-lq-target": "https://example.com",
        "x-lq-method": "PUT",
        "x-lq-headers": r'{"x-team": "gr\u00f6\u00dfe"}',
        "x-lq-key": "schlüssel",
        "x-lq-if-exists": "keep",
        "x-lq-delay": "1500",
        "x-lq-on": "2026-12-01T09:00:00.000Z",
        "x-lq-retry": "10s,1m",
        "x-lq-timeout": "250ms",
        "x-lq-expires": "1d",
        "x-lq-label": "a,b",
        "x-lq-validate": "none",
    }


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\0", "a\x7f", "\udcff"])
def test_what_would_break_a_header_is_never_sent(serve: Serve, value: str) -> None:
    server, client = serve()
    with pytest.raises(ValidationError):
        client.push("q", b"", key=value)
    assert server.requests.empty()


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda c: c.item(""), "id"),
        (lambda c: c.item(ByKey("q", "")), "key"),
        (lambda c: c.run_schedule(""), "key"),
        (lambda c: c.pause(""), "queue"),
        (lambda c: c.revoke_token(""), "name"),
        (lambda c: c.item("\udcff"), "id"),
    ],
)
def test_an_argument_that_no_path_can_hold_is_named(
    serve: Serve, call: Callable[[Client], object], name: str
) -> None:
    server, client = serve()
    with pytest.raises(ValidationError, match=f"{name}: must"):
        call(client)
    assert server.requests.empty()


@pytest.mark.parametrize("path", ["", "/", "//", "/api/v1", "/api/v1/"])
def test_the_url_may_end_in_any_way(serve: Serve, path: str) -> None:
    server, client = serve()
    Client(client.where + path).info()
    assert server.requests.get().startswith(b"GET /api/v1/info HTTP/1.1\r\n")


def test_the_url_may_have_a_path(serve: Serve) -> None:
    server, client = serve()
    Client(f"{client.where}/lq proxy").info()
    assert server.requests.get().startswith(b"GET /lq%20proxy/api/v1/info HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "url",
    [
        "localhost:7420",
        "ftp://example.com",
        "http://",
        "http://a:99999",
        "http://[::1",
        "http://a?b",
        "https://user:hunter2@example.com",
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Client(url)
    assert "hunter2" not in raised.value.message


def test_a_token_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError):
        Client("http://127.0.0.1:1", "a\nb")


def test_ipv6_and_the_unix_socket_are_spoken(tmp_path: Path) -> None:
    with Scripted(socket.create_server(("::1", 0), family=socket.AF_INET6), OK) as server:
        assert Client(f"http://[::1]:{server.port}").info() == {"ok": True}
        assert f"Host: [::1]:{server.port}".encode() in server.requests.get()
    local = socket.socket(socket.AF_UNIX)
    local.bind(str(tmp_path / "s"))
    with Scripted(local, OK) as server:
        assert Client(socket=tmp_path / "s").info() == {"ok": True}
        assert b"Authorization" not in server.requests.get()


# Answers


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b'HTTP/1.0 200\r\n\r\n{"ok":true}',
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK,
        b'HTTP/1.1 200 OK\nContent-Length:11\n\n{"ok":true}',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
        b'4;x=y\r\n{"ok\r\n07\r\n":true}\r\n0\r\nTrailer: x\r\n\r\n',
    ],
)
def test_an_answer_is_read_however_it_is_framed(serve: Serve, answer: bytes) -> None:
    _, client = serve(answer)
    assert client.info() == {"ok": True}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "broke off"),
        (b"HTTP/1.1 200 OK\r\nConte", "broke off"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"ok":true}', "broke off"),
        (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"ok', "broke off"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 abc\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "is not lq: it said 200"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "is not lq"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "is not lq: it said 204"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "is not lq: it said 502"),
        (answer_of({"error": "no"}, "404 Not Found"), "is not lq: it said 404"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: https://x/\r\nContent-Length: 0\r\n\r\n",
            "it said 302 and points to https://x/",
        ),
    ],
)
def test_what_is_no_answer_of_lq_is_unreachable(serve: Serve, answer: bytes, why: str) -> None:
    _, client = serve(answer)
    with pytest.raises(Unreachable) as raised:
        client.info()
    assert why in raised.value.message


def test_a_daemon_that_says_nothing_is_given_up(serve: Serve) -> None:
    _, client = serve(b"HTTP/1.1 200 OK\r\n", hang=True, timeout_s=0.05)
    with pytest.raises(Unreachable, match=r"did not answer within 0\.05 s") as raised:
        client.push("q", b"")
    assert "may have done" in str(raised.value.hint)


def test_an_early_answer_to_a_large_body_is_heard() -> None:
    refusal = answer_of({"type": "PAYLOAD_TOO_LARGE", "message": "too large"}, "413 Too Large")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(100)
                connection.sendall(refusal)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 20):
                    pass

        thread = threading.Thread(target=refuse)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with Client(url) as client, pytest.raises(ApiError, match="too large") as raised:
            client.push("q", b"x" * 10_000_000)
        thread.join()
    assert raised.value.status == 413


def test_a_refusal_tells_all_it_knows(serve: Serve) -> None:
    issue = {"validation": "invalid", "code": "invalid", "path": ["x-lq-delay"], "message": "m"}
    refusal = {"type": "VALIDATION_ERROR", "message": "x", "hint": "h", "issues": [issue]}
    _, client = serve(answer_of(refusal, "400 Bad Request"))
    with pytest.raises(ApiError) as raised:
        client.push("q", b"")
    error = raised.value
    assert (error.type, error.status, error.message, error.hint) == (
        "VALIDATION_ERROR", 400, "x", "h",
    )  # fmt: skip
    assert error.issues == (("x-lq-delay", "m", "invalid"),)


def test_not_being_ready_is_an_answer(serve: Serve) -> None:
    wanted = {"status": "unavailable", "reasons": ["full"]}
    _, client = serve(answer_of(wanted, "503 Service Unavailable"))
    assert client.ready() == wanted


# Where nobody is


def test_no_daemon_at_a_url() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Unreachable, match=r"cannot reach the daemon at .*: connection refused"):
        Client(f"http://127.0.0.1:{port}", retries=0).info()


def test_tls_to_a_server_without_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def speak_plainly() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=speak_plainly)
        thread.start()
        with pytest.raises(Unreachable, match="cannot reach the daemon at https://"):
            Client(f"https://127.0.0.1:{listening.getsockname()[1]}", retries=0).info()
        thread.join()


@pytest.fixture
def left_over(tmp_path: Path) -> Path:
    """A socket that nobody listens on any more."""
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s"))
    return tmp_path / "s"


def test_no_daemon_at_a_socket(tmp_path: Path, left_over: Path) -> None:
    for path in (tmp_path / "none", left_over):
        with pytest.raises(Unreachable, match=f"no lq daemon is running at {path}") as raised:
            Client(socket=path, retries=0).info()
        assert "lq serve" in str(raised.value.hint)


def test_a_strangers_socket_in_a_shared_folder_is_not_trusted(left_over: Path) -> None:
    left_over.parent.chmod(0o1777)
    if os.geteuid() == 0:
        os.chown(left_over, 12345, 12345)
    else:
        left_over.unlink()
        left_over.symlink_to("/")  # root's, and so a stranger's
    with pytest.raises(Unreachable, match=r"belongs to user \d+ and is not to be trusted"):
        Client(socket=left_over).info()


def test_a_client_has_one_address() -> None:
    with pytest.raises(TypeError):
        Client("http://127.0.0.1:1", socket="/s")
