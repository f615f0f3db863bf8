"""Calls of lq as events of AWS Lambda: function URLs, API Gateway (HTTP and REST), load balancers.

Owns: the three shapes of event that stand for an HTTP request, and the answers they want. Imports
nothing of AWS. No handler goes on after its answer, because Lambda freezes the function then: see
`lq.sdk.settings.freezes`.
Source: the payload formats 1.0 and 2.0 in the developer guides of API Gateway and Lambda, and
"Lambda functions as targets" in the guide of the Application Load Balancer.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lq.sdk.adapter import MAX_BODY, find, not_found, too_large
from lq.sdk.http import Endpoint, Mount, Request, Response, text

Event = Mapping[str, Any]
Function = Callable[[Any, Any], Any]


def handler(
    *endpoints: Endpoint, app: Function | None = None, max_body: int = MAX_BODY
) -> Function:
    """The function of a Lambda that answers the calls of these endpoints.

    Other requests and other events go to `app`, a function of the same kind; without it requests
    are answered 404. Raises: TypeError, when called with an event that is no HTTP request and
    there is no `app`. Units: `max_body` is in bytes.
    """
    mount = Mount(*endpoints)

    def function(event: Any, context: Any) -> Any:
        endpoint = find(mount, *_place(event)) if _is_request(event) else None
        if endpoint is not None:
            return _result(event, _answer(endpoint, event, max_body))
        if app is not None:
            return app(event, context)
        if _is_request(event):
            return _result(event, not_found())
        raise TypeError(
            "this event is no HTTP request: call the function through its URL, API Gateway or a "
            "load balancer, or give lq.sdk.aws_lambda.handler an app for such events"
        )

    return function


def _answer(endpoint: Endpoint, event: Event, max_body: int) -> Response:
    method = _http(event)["method"] if _is_v2(event) else event["httpMethod"]
    body = _body(event)
    if body is None:
        return text(400, "the body of the event is neither text, nor base64 where it says so")
    if len(body) > max_body:
        return too_large(max_body)
    return endpoint.respond_sync(Request(method, endpoint.path, tuple(_headers(event)), body))


def _is_request(event: Any) -> bool:
    return isinstance(event, Mapping) and (_is_v2(event) or {"httpMethod", "path"} <= event.keys())


def _is_v2(event: Event) -> bool:
    return "rawPath" in event and "http" in (event.get("requestContext") or {})


def _http(event: Event) -> Mapping[str, Any]:
    http: Mapping[str, Any] = event["requestContext"]["http"]
    return http


def _place(event: Event) -> tuple[str, str]:
    """The path of a request, and the stage, which some paths begin with and others lack."""
    stage = (event.get("requestContext") or {}).get("stage", "")
    return event["rawPath" if _is_v2(event) else "path"], f"/{stage}"


def _headers(event: Event) -> Iterator[tuple[str, str]]:
    """The headers; those of format 2.0, and of some load balancers, have joined duplicates."""
    if many := event.get("multiValueHeaders"):
        for name, values in many.items():
            yield from ((name, value) for value in values)
    else:
        yield from (event.get("headers") or {}).items()


def _body(event: Event) -> bytes | None:
    """The bytes of a body, or None when it is not what it says it is."""
    body = event.get("body") or ""
    if not isinstance(body, str):
        return None
    if not event.get("isBase64Encoded"):
        return body.encode()
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        return None


def _result(event: Event, response: Response) -> dict[str, Any]:
    """A response as whoever made the event wants it."""
    try:
        body, encoded = response.body.decode(), False
    except UnicodeDecodeError:
        body, encoded = base64.b64encode(response.body).decode(), True
    many: dict[str, list[str]] = {}
    for name, value in response.headers:
        many.setdefault(name.lower(), []).append(value)
    result = {"statusCode": response.status, "body": body, "isBase64Encoded": encoded}
    # A load balancer takes only the kind of headers that it sends.
    if event.get("multiValueHeaders"):
        return {**result, "multiValueHeaders": many}
    return {**result, "headers": {name: ", ".join(values) for name, values in many.items()}}
