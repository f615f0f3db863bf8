"""The handlers of the Python SDK in every framework: a real server, a real socket, signed calls."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from lq import Job
from lq.signature import sign, sign_webhook, verify, webhook_key

from .apps import ask
from .conftest import Start
from .endpoint import Endpoint
from .process import PATIENCE_S, wait_until
from .served import MOST, SECRET, gate, jobs, read_after
from .served.shapes import METHODS, SHAPES, Serve, Shape, django_asgi, django_wsgi

JSON = "application/json"
BYTES = "application/octet-stream"


@pytest.fixture(scope="module", params=SHAPES)
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Shape, int]]:
    """Each way in turn, and the port that it is served on."""
    shape = SHAPES[request.param]
    with shape.serve() as port:
        yield shape, port


@pytest.fixture
def shape(served: tuple[Shape, int]) -> Iterator[Shape]:
    yield served[0]
    for left in (jobs, read_after):
        while not left.empty():
            left.get_nowait()


@pytest.fixture
def port(served: tuple[Shape, int]) -> int:
    return served[1]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """Of the secret that the applications know, so that the daemon has it, too."""
    with Endpoint(SECRET) as listening:
        yield listening


def signed(body: bytes, kind: str | None = JSON, job_id: str = "job_1") -> dict[str, str]:
    """The headers of a call, as lq sends them."""
    now = time.time_ns() // 1_000_000
    return {
        **({"Content-Type": kind} if kind else {}),
        "x-lq-signature": sign(SECRET, body, now),
        "x-lq-id": job_id,
        "x-lq-queue": "work",
        "webhook-id": job_id,
        "webhook-timestamp": str(now // 1000),
        "webhook-signature": sign_webhook(webhook_key(SECRET), job_id, now // 1000, body),
    }


def next_job() -> Job[Any]:
    return jobs.get(timeout=PATIENCE_S)


def test_head_is_answered_with_a_signature(shape: Shape, port: int) -> None:
    answer = ask(port, "HEAD", shape.path)
    assert (answer.status, answer.body) == (200, b"")
    now = time.time_ns() // 1_000_000
    assert verify(answer.headers["x-lq-signature"], b"", [SECRET], now) == SECRET


def test_a_daemon_calls_it_by_every_method(shape: Shape, port: int, start: Start) -> None:
    lq = start(environ={"LQ_EGRESS_ALLOW": f"127.0.0.1:{port}"})
    pushed = {}
    for method in METHODS[1:]:
        body = b'{"n": 7}' if method in {"POST", "PUT", "PATCH"} else b""
        item = lq.client.push(
            "work",
            body,
            content_type=JSON if body else None,
            method=method,
            target=f"http://127.0.0.1:{port}{shape.path}",
            key=f"by {method}",
        )
        pushed[item["id"]] = (item["key"], {"n": 7} if body else None)
    given = {job.id: (job.key, job.payload) for job in (next_job() for _ in pushed)}
    assert given == pushed
    done = wait_until(lambda: len(lq.client.history(state="COMPLETED")["items"]) == len(pushed))
    assert done
    for job_id in pushed:
        (attempt,) = lq.client.attempts(job_id)
        assert json.loads(attempt["responseBody"]) == {"id": job_id}


def test_any_bytes_arrive_as_they_were_sent(shape: Shape, port: int) -> None:
    body = bytes(range(256)) * 40
    answer = ask(port, "POST", shape.path, body, signed(body, BYTES))
    assert (answer.status, json.loads(answer.body)) == (200, {"id": "job_1"})
    assert next_job().payload == body


def test_a_compressed_body_arrives_as_it_was_sent(shape: Shape, port: int) -> None:
    body = gzip.compress(b"secret" * 100)
    head = {**signed(body, BYTES), "Content-Encoding": "gzip"}
    assert ask(port, "POST", shape.path, body, head).status == 200
    assert next_job().payload == body


def test_the_body_stays_readable(shape: Shape, port: int) -> None:
    body = b'{"name": "Ada"}'
    assert ask(port, "POST", shape.path, body, signed(body)).status == 200
    if shape.reads:
        assert read_after.get(timeout=PATIENCE_S) == body
    if shape.echoes:
        assert ask(port, "POST", "/echo", body).body == body


def test_other_paths_are_not_its_own(shape: Shape, port: int) -> None:
    body = b"{}"
    for path in ("/", f"{shape.path}/more", f"/more{shape.path}"):
        assert ask(port, "POST", path, body, signed(body)).status == 404
    assert jobs.empty()


def test_another_method_is_refused_with_those_that_are_accepted(shape: Shape, port: int) -> None:
    answer = ask(port, "OPTIONS", shape.path)
    assert answer.status == 405
    assert {"POST", "HEAD"} <= set(answer.headers["allow"].replace(" ", "").split(","))


def test_what_is_not_signed_is_refused(shape: Shape, port: int) -> None:
    body = b'{"n": 1}'
    assert ask(port, "POST", shape.path, body).status == 401
    assert ask(port, "POST", shape.path, b'{"n": 2}', signed(body)).status == 401
    assert ask(port, "GET", shape.path).status == 401
    assert jobs.empty()


def test_of_two_signatures_neither_counts(shape: Shape, port: int) -> None:
    body, head = b"{}", signed(b"{}")
    again = ("x-lq-signature", head["x-lq-signature"])
    assert raw(port, shape.path, [*head.items(), again, ("Content-Length", "2")], body) == 401
    assert jobs.empty()


def test_a_header_of_any_bytes_harms_nobody(shape: Shape, port: int) -> None:
    body = b"{}"
    head = [*signed(body).items(), ("X-Note", "caf\xe9 \xff"), ("Content-Length", "2")]
    assert raw(port, shape.path, head, body) == 200
    assert next_job().headers["x-note"] == "caf\xe9 \xff"


def test_a_chunked_body_is_read_where_the_server_can(shape: Shape, port: int) -> None:
    body = b'{"name": "Ada", "age": 36}'
    status = chunked(port, shape.path, signed(body), [body[:5], body[5:20], body[20:]])
    if shape.chunked:
        assert status == 200
        assert next_job().payload == {"name": "Ada", "age": 36}
    else:
        assert status == 411


def test_the_largest_body_is_read_and_a_larger_one_is_not(shape: Shape, port: int) -> None:
    largest = b"x" * MOST
    assert ask(port, "POST", shape.path, largest, signed(largest, BYTES)).status == 200
    assert next_job().payload == largest
    larger = largest + b"x"
    answer = ask(port, "POST", shape.path, larger, signed(larger, BYTES))
    assert answer.status == 413
    if shape.chunked:
        assert chunked(port, shape.path, signed(larger, BYTES), [larger]) == 413
    assert jobs.empty()


def test_a_length_that_is_no_number_is_refused(shape: Shape, port: int) -> None:
    for length in ("-1", "1e3", "9" * 5000):
        head = [*signed(b"").items(), ("Content-Length", length)]
        assert raw(port, shape.path, head, b"") in {400, 413, 0}
    assert jobs.empty()
    assert ask(port, "HEAD", shape.path).status == 200


def test_a_caller_that_goes_away_runs_nothing(shape: Shape, port: int) -> None:
    body = b'{"name": "Ada"}'
    head = [*signed(body).items(), ("Content-Length", str(len(body)))]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(written(shape.path, head) + body[:5])
    assert ask(port, "HEAD", shape.path).status == 200
    assert ask(port, "POST", shape.path, body, signed(body, job_id="job_2")).status == 200
    assert next_job().id == "job_2"
    assert jobs.empty()


def test_a_caller_that_goes_away_meanwhile_harms_nothing(shape: Shape, port: int) -> None:
    body = b'"wait"'
    head = [*signed(body).items(), ("Content-Length", str(len(body)))]
    gate.clear()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(written(shape.path, head) + body)
        assert next_job().payload == "wait"
    gate.set()
    assert ask(port, "POST", shape.path, b"{}", signed(b"{}", job_id="job_2")).status == 200
    assert next_job().id == "job_2"


def test_a_handler_that_raises_fails_the_attempt_with_its_reason(shape: Shape, port: int) -> None:
    body = b'"fail"'
    answer = ask(port, "POST", shape.path, body, signed(body))
    assert answer.status == 500
    assert b"as it was told" in answer.body


@pytest.mark.parametrize("serve", [django_asgi, django_wsgi])
def test_a_plain_function_can_ask_django_s_database(serve: Serve) -> None:
    with serve() as port:
        answer = ask(port, "POST", "/lq/asks", b"{}", signed(b"{}"))
    assert (answer.status, answer.body) == (200, b"42")


def raw(port: int, path: str, head: Sequence[tuple[str, str]], body: bytes) -> int:
    """Send exactly this; the status of the answer, or 0 when there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(written(path, head) + body)
        with connection.makefile("rb") as answer:
            try:
                line = answer.readline()
            except ConnectionError:
                return 0
    return int(line.split(b" ")[1]) if line else 0


def written(path: str, head: Sequence[tuple[str, str]]) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in head]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunked(port: int, path: str, head: dict[str, str], chunks: Sequence[bytes]) -> int:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return raw(port, path, [*head.items(), ("Transfer-Encoding", "chunked")], body)
