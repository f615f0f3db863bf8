"""AWS as a function sees it: something that makes events of HTTP requests, and the Runtime API.

The function runs in AWS's own runtime client (`awslambdaric`), a process of its own that asks the
Runtime API for its next event and hands back what the function returned. Source: the Runtime API
(2018-06-01) and the examples of events in the developer guides of Lambda (function URLs), API
Gateway (payload formats 1.0 and 2.0) and the Application Load Balancer.
"""

from __future__ import annotations

import base64
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from .process import PATIENCE_S

RUNTIME = "/2018-06-01/runtime"
FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:welcome"
TEXTS = ("text/", "application/json", "application/javascript", "application/xml")

Event = dict[str, Any]


_END = object()


class Asked(NamedTuple):
    """A request as it came over the socket. Shape: `path` is raw, without its query."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes


def function_url(asked: Asked) -> Event:
    """Format 2.0, with the path as it came."""
    return _format_2(asked, asked.path, "$default", "$default")


def http_api(asked: Asked) -> Event:
    """Format 2.0 of an API with a stage, whose name the path begins with, and decoded."""
    return _format_2(asked, f"/prod{unquote(asked.path)}", "prod", "ANY /{proxy+}")


def rest_api(asked: Asked) -> Event:
    """Format 1.0, whose path lacks the stage."""
    many = _grouped(asked)
    return {
        "resource": "/{proxy+}",
        "path": asked.path,
        "httpMethod": asked.method,
        "headers": {name: texts[-1] for name, texts in many.items()},
        "multiValueHeaders": many,
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"proxy": asked.path.removeprefix("/")},
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "1234567890",
            "domainName": "1234567890.execute-api.eu-central-1.amazonaws.com",
            "httpMethod": asked.method,
            "path": f"/prod{asked.path}",
            "protocol": "HTTP/1.1",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "resourceId": "123456",
            "resourcePath": "/{proxy+}",
            "stage": "prod",
        },
        **_body(asked, absent=None),
    }


def load_balancer(asked: Asked) -> Event:
    """What a target group sends that does not take headers with several values."""
    joined = {name.lower(): texts[-1] for name, texts in _grouped(asked).items()}
    return {**_balanced(asked), "headers": joined}


def load_balancer_of_many(asked: Asked) -> Event:
    """What one sends that does."""
    many = {name.lower(): texts for name, texts in _grouped(asked).items()}
    return {**_balanced(asked), "multiValueHeaders": many}


SOURCES: Mapping[str, Callable[[Asked], Event]] = {
    "function URL": function_url,
    "HTTP API": http_api,
    "REST API": rest_api,
    "load balancer": load_balancer,
    "load balancer, many headers": load_balancer_of_many,
}


def _format_2(asked: Asked, path: str, stage: str, route: str) -> Event:
    return {
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": asked.query,
        **({"queryStringParameters": dict(parse_qsl(asked.query))} if asked.query else {}),
        "headers": {name.lower(): ",".join(texts) for name, texts in _grouped(asked).items()},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abcdefghij",
            "domainName": "abcdefghij.lambda-url.eu-central-1.on.aws",
            "domainPrefix": "abcdefghij",
            "http": {
                "method": asked.method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "lq",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": route,
            "stage": stage,
            "time": "10/Mar/2020:05:16:23 +0000",
            "timeEpoch": 1583817383220,
        },
        **_body(asked),
    }


def _balanced(asked: Asked) -> Event:
    return {
        "requestContext": {
            "elb": {
                "targetGroupArn": "arn:aws:elasticloadbalancing:eu-central-1:123456789012:"
                "targetgroup/my-target-group/6d0ecf831eec9f09"
            }
        },
        "httpMethod": asked.method,
        "path": asked.path,
        "queryStringParameters": {},
        **_body(asked, absent=""),
    }


def _grouped(asked: Asked) -> dict[str, list[str]]:
    many: dict[str, list[str]] = {}
    for name, text in asked.headers:
        many.setdefault(name, []).append(text)
    return many


def _body(asked: Asked, **absent: Any) -> Event:
    """A body as text where its type is one, else as base64; a request without one has none."""
    if not asked.body:
        return {"isBase64Encoded": False} | ({"body": absent["absent"]} if absent else {})
    kinds = [text for name, text in asked.headers if name.lower() == "content-type"]
    if kinds and kinds[0].startswith(TEXTS):
        return {"body": asked.body.decode(), "isBase64Encoded": False}
    return {"body": base64.b64encode(asked.body).decode(), "isBase64Encoded": True}


class Lambda:
    """A deployed function: an address to call, and the process that works for it."""

    def __init__(
        self, handler: str, folder: Path, environ: Mapping[str, str], *, port: int = 0
    ) -> None:
        """Shape: `handler` is MODULE.NAME in `folder`."""
        self.source: Callable[[Asked], Event] = function_url
        self.events: queue.Queue[Any] = queue.Queue()
        self.results: queue.Queue[Any] = queue.Queue()
        self._one_at_a_time = threading.Lock()
        self._door = _server(_Door, self, port)
        self._runtime = _server(_Runtime, self, 0)
        self._handler, self._folder = handler, folder
        self._environ = {**environ, "AWS_LAMBDA_RUNTIME_API": self._runtime.address}

    @property
    def url(self) -> str:
        return f"http://{self._door.address}"

    def invoke(self, event: Any) -> Any:
        """What the function makes of an event; one that it fails on is `{"errorMessage": …}`."""
        with self._one_at_a_time:
            self.events.put(event)
            return self.results.get(timeout=PATIENCE_S)

    def __enter__(self) -> Lambda:
        for server in (self._door, self._runtime):
            server.thread.start()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", self._handler],
            cwd=self._folder,
            env=self._environ,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self.events.put(_END)
        for server in (self._door, self._runtime):
            server.shutdown()
            server.thread.join()
            server.server_close()


class _Server(ThreadingHTTPServer):
    function: Lambda
    thread: threading.Thread
    daemon_threads = True
    block_on_close = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


def _server(handler: type[_Handler], function: Lambda, port: int) -> _Server:
    server = _Server(("127.0.0.1", port), handler)
    server.function = function
    server.thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def function(self) -> Lambda:
        assert isinstance(self.server, _Server)
        return self.server.function

    def read(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        pass


class _Door(_Handler):
    """What the world calls."""

    def door(self) -> None:
        parts = urlsplit(self.path)
        asked = Asked(self.command, parts.path, parts.query, self.headers.items(), self.read())
        result = self.function.invoke(self.function.source(asked))
        if "statusCode" not in result:
            self.answer(502, json.dumps(result).encode(), {})
            return
        body = result.get("body", "")
        decoded = base64.b64decode(body) if result.get("isBase64Encoded") else body.encode()
        many = result.get("multiValueHeaders") or {}
        headers = {**result.get("headers", {}), **{name: many[name][-1] for name in many}}
        self.answer(result["statusCode"], decoded, headers)

    do_HEAD = do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = door  # noqa: N815 (the base class's names)


class _Runtime(_Handler):
    """What the function's process asks for work, and gives its results to."""

    def do_GET(self) -> None:
        assert self.path == f"{RUNTIME}/invocation/next", self.path
        event = self.function.events.get()
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
            "Lambda-Runtime-Deadline-Ms": str(time.time_ns() // 1_000_000 + 30_000),
            "Lambda-Runtime-Invoked-Function-Arn": FUNCTION,
            "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
        }
        if event is not _END:
            self.answer(200, json.dumps(event).encode(), headers)

    def do_POST(self) -> None:
        result = json.loads(self.read())
        self.answer(202, b"", {})
        self.function.results.put(result)
