"""Handlers on AWS Lambda: AWS's runtime client, events of every kind, calls of a real daemon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from lq.signature import sign

from .apps import ROOT, ask, environ_of
from .aws import SOURCES, Lambda
from .conftest import Start
from .endpoint import Endpoint
from .mirrored import all_come_back, signed_call
from .ports import free_port
from .process import Daemon

MODULE = "tests/e2e/served/mirrors"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def lq(start: Start, port: int) -> Daemon:
    return start(environ={"LQ_EGRESS_ALLOW": f"127.0.0.1:{port}"})


@pytest.fixture
def function(lq: Daemon, port: int) -> Iterator[Lambda]:
    with Lambda(f"{MODULE}.handler", ROOT, environ_of(lq, port), port=port) as deployed:
        yield deployed


@pytest.mark.parametrize("source", SOURCES)
def test_calls_of_a_daemon_reach_it(source: str, lq: Daemon, port: int, function: Lambda) -> None:
    function.source = SOURCES[source]
    all_come_back(lq, port)


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_no_call_is_refused(source: str, port: int, function: Lambda) -> None:
    function.source = SOURCES[source]
    assert ask(port, "POST", "/lq/mirror", b"{}").status == 401
    assert ask(port, "POST", "/lq/elsewhere", b"{}").status == 404
    assert ask(port, "OPTIONS", "/lq/mirror").status == 405
    assert ask(port, "POST", "/lq/mirror", bytes(1001)).status == 413
    assert ask(port, "HEAD", "/lq/mirror").headers["x-lq-signature"]


def test_of_two_signatures_neither_counts(lq: Daemon, function: Lambda) -> None:
    signature = sign(lq.secret(), b"{}", time.time_ns() // 1_000_000)
    event = {"httpMethod": "POST", "path": "/lq/mirror", "body": "{}"}
    for headers, status in (([signature], 200), ([signature] * 2, 401)):
        answer = function.invoke({**event, "multiValueHeaders": {"X-Lq-Signature": headers}})
        assert answer["statusCode"] == status


def test_a_result_is_reported_before_lambda_freezes_the_function(
    lq: Daemon, function: Lambda, endpoint: Endpoint
) -> None:
    headers = signed_call(lq, b'"done"', endpoint.url("/callback"))
    event = {"httpMethod": "POST", "path": "/lq/later", "headers": headers, "body": '"done"'}
    assert function.invoke(event)["statusCode"] == 202
    reported = endpoint.calls.get_nowait()
    assert (reported.path, reported.body) == ("/callback/complete", b"done")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"body": "no base64", "isBase64Encoded": True}, 400),
        ({"body": {"n": 1}}, 400),
        ({"body": None}, 401),
        ({}, 401),
    ],
)
def test_an_odd_body_is_refused(body: dict[str, Any], status: int, function: Lambda) -> None:
    event = {"httpMethod": "POST", "path": "/lq/mirror", "headers": None, "requestContext": None}
    assert function.invoke({**event, **body})["statusCode"] == status


def test_an_event_that_is_no_request_fails_and_says_so(function: Lambda) -> None:
    events: tuple[Any, ...] = (
        *({"source": "aws.events"}, {"Records": []}, {"httpMethod": "GET"}),
        *({"version": "2.0", "rawPath": "/", "requestContext": None}, "warm up", None, ["x"]),
    )
    for event in events:
        answer = function.invoke(event)
        assert answer["errorType"] == "TypeError"
        assert "this event is no HTTP request" in answer["errorMessage"]


def test_an_app_gets_what_is_not_for_a_handler(lq: Daemon, port: int) -> None:
    environ = environ_of(lq, port)
    with Lambda(f"{MODULE}.handler_with_app", ROOT, environ, port=port) as function:
        event = {"source": "aws.events", "detail": {"n": 1}}
        answer = function.invoke(event)
        assert answer["event"] == event
        assert answer["function"].startswith("arn:aws:lambda:")
        other = function.invoke({"httpMethod": "GET", "path": "/shop"})
        assert other["event"]["path"] == "/shop"
        assert ask(port, "HEAD", "/lq/mirror").status == 200
