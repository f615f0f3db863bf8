"""The description of the API, OpenAPI 3.1, made from its routes.

Owns: how routes, the decoders' tables and the encoders' records become one document. Knows no
route, field or status of its own, so that it cannot say what is not so.

Invariant: what a route may answer is in its description: what it was made for, and every refusal
that its scopes, its body and its operation lead to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final

from msgspec.json import schema_components

from lq import __version__
from lq.batch import MAX_ENTRIES
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.errors import (
    Forbidden,
    PayloadTooLarge,
    RateLimited,
    RequestError,
    RequestTimeout,
    StorageFull,
    Unauthorized,
    Unavailable,
    ValidationError,
)
from lq.wire import describe
from lq.wire.batch import LINE_TYPES
from lq.wire.describe import Field

Json = dict[str, Any]

PATH: Final = "/openapi.json"

_ABOUT: Final = """\
The body of a request is the payload, everything else is an `x-lq-*` header, and answers are JSON.

Names in paths are percent-decoded once, after the path was taken apart; that of a queue, and a
key, may hold slashes, encoded or not. HEAD works wherever GET does; any other method that a path
does not know is 405, with `Allow`. Members without a value are left out, never null; new ones may
appear. An `x-lq-*` header or a parameter that is not known is refused."""

_SECURITY: Final = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of `lq tokens create`, with one of the scopes that are named."
        " On the unix socket none is needed: who may open it is admin.",
    }
}
_PIECE: Final = re.compile(r"\(\?P<(?P<name>\w+)>|(?P<open>\()|(?P<close>\))|\\?(?P<other>.)")
_REFERENCE: Final = "#/components/schemas/{name}"
_NULL: Final = {"type": "null"}
_RETRY_AFTER: Final[Json] = {
    "Retry-After": {
        "description": "After how many seconds to try again.",
        "schema": {"type": "integer"},
    }
}
_REQUEST_ID: Final[Json] = {
    "x-request-id": {
        "description": "What the daemon's log calls this request.",
        "schema": {"type": "string"},
        "required": True,
    }
}


def describing(routes: Sequence[Route], open_paths: Collection[str]) -> tuple[Route, ...]:
    """These routes, and one more that describes them all, itself included.

    Shape: `open_paths` are answered without a token.
    """

    async def show(call: Call) -> Reply:
        return Reply(printed())

    @cache
    def printed() -> bytes:
        return json.dumps(document(described, open_paths)).encode()

    operation = Operation("Describe the API", {200: "OpenAPI"})
    described = (*routes, Route("GET", re.escape(PATH), show, (), operation))
    return described


def document(routes: Iterable[Route], open_paths: Collection[str]) -> Json:
    """The description of these routes. Shape: what has no operation is left out."""
    paths: dict[str, Json] = {}
    for route in routes:
        if route.operation is not None:
            path, names = template(route.pattern)
            paths.setdefault(path, {})[route.method.lower()] = _operation(
                route, route.operation, names, is_open=path in open_paths
            )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lq",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "responses": dict(_refusals()),
            "securitySchemes": _SECURITY,
        },
    }


def template(pattern: str) -> tuple[str, tuple[str, ...]]:
    """A route's pattern as a path template, and the names in it."""
    path, depth = "", 0
    names = []
    for piece in _PIECE.finditer(pattern.removesuffix("/?")):
        if depth:
            depth += (piece["open"] is not None) - (piece["close"] is not None)
        elif name := piece["name"]:
            path += f"{{{name}}}"
            names.append(name)
            depth = 1
        else:
            path += piece["other"]
    return path, tuple(names)


def _operation(route: Route, operation: Operation, names: Sequence[str], *, is_open: bool) -> Json:
    noun = route.handler.__module__.rpartition(".")[2]
    suffix = "_by_key" if {"key", "schedule_key"}.intersection(names) else ""
    parameters = [_parameter("path", Field(name, describe.PATH[name], True)) for name in names]
    parameters += [_parameter("query", field) for field in operation.query]
    parameters += [_parameter("header", field) for field in operation.headers]
    described: Json = {
        "tags": [noun],
        "operationId": f"{noun}_{route.handler.__name__}{suffix}",
        "summary": operation.summary,
        "security": [] if is_open else _security(route),
        "parameters": parameters,
        "responses": {
            **{str(s): _named(s) for s in sorted(_statuses(route, operation, is_open=is_open))},
            **{str(s): _described(s, name, operation) for s, name in operation.answers.items()},
        },
    }
    if operation.payload:
        described["requestBody"] = {
            "description": "The payload: any bytes. Their type is kept and forwarded as written.",
            "content": {"*/*": {"schema": {}}},
        }
    elif operation.document:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _object(operation.document)}},
        }
    elif operation.entries:
        entry = _object(operation.entries)
        many = {"type": "array", "maxItems": MAX_ENTRIES, "items": entry}
        described["requestBody"] = {
            "required": True,
            "description": "The entries, as an array, or as lines of JSON.",
            "content": {"application/json": {"schema": many}, LINE_TYPES[0]: {"schema": {}}},
        }
    return described


def _security(route: Route) -> list[Json]:
    """Any one of the scopes will do. Shape: admin covers every other."""
    return [{"token": [scope.value]} for scope in route.scopes] or [{"token": []}]


def _parameter(place: str, field: Field) -> Json:
    form = field.form
    parameter: Json = {"name": field.name, "in": place, "description": form.about}
    if field.required:
        parameter["required"] = True
    schema: Json = {"schema": form.schema}
    if form.example is not None:
        schema["example"] = form.example
    if isinstance(form.example, dict):  # a header that holds JSON: x-lq-headers
        return parameter | {"content": {"application/json": schema}}
    return parameter | schema


def _object(fields: Sequence[Field]) -> Json:
    return {
        "type": "object",
        "properties": {f.name: {**f.form.schema, "description": f.form.about} for f in fields},
        "required": [field.name for field in fields if field.required],
        "additionalProperties": False,
    }


def _statuses(route: Route, operation: Operation, *, is_open: bool) -> set[int]:
    """With what a request may be refused here."""
    refusals: list[type[RequestError]] = [
        *(ValidationError, RateLimited, RequestError, Unavailable),
        *operation.refusals,
    ]
    if not is_open:
        refusals.append(Unauthorized)
    if route.scopes:
        refusals.append(Forbidden)
    if operation.payload or operation.document or operation.entries:
        refusals += [PayloadTooLarge, RequestTimeout]
    if route.method != "GET":
        refusals.append(StorageFull)
    return {refusal.status for refusal in refusals}


def _named(status: int) -> Json:
    return {"$ref": f"#/components/responses/{status}"}


def _answer(status: int, name: str) -> Json:
    headers = dict(_REQUEST_ID)
    if status == 201 and name in {"Item", "Schedule"}:
        headers["Location"] = {"description": "Where it is.", "schema": {"type": "string"}}
    return {
        "description": "Done." if status < 300 else "Not well.",
        "headers": headers,
        "content": {"application/json": {"schema": {"$ref": _REFERENCE.format(name=name)}}},
    }


def _described(status: int, name: str, operation: Operation) -> Json:
    if operation.text:
        return _text(operation.text)
    return _stream(name) if operation.stream else _answer(status, name)


def _text(kind: str) -> Json:
    """An answer that is no JSON."""
    return {
        "description": "Done.",
        "headers": dict(_REQUEST_ID),
        "content": {kind: {"schema": {"type": "string"}}},
    }


def _stream(name: str) -> Json:
    """Server-sent events, in which no schema sees more than text."""
    described = f"A stream whose data are of the schema {name}."
    return {
        "description": described,
        "headers": dict(_REQUEST_ID),
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }


def _refusals() -> Iterator[tuple[str, Json]]:
    """An answer for each status that errors have."""
    kinds: dict[int, list[type[RequestError]]] = {}
    every: list[type[RequestError]] = [RequestError, *RequestError.__subclasses__()]
    for kind in every:
        kinds.setdefault(kind.status, []).append(kind)
    schema = {"schema": {"$ref": _REFERENCE.format(name="Error")}}
    for status, same in sorted(kinds.items()):
        headers = dict(_REQUEST_ID)
        if status in {RateLimited.status, Unavailable.status}:
            headers |= _RETRY_AFTER
        words = "; ".join(f"`{kind.type}`: {kind.title}" for kind in same)
        yield (
            str(status),
            {
                "description": f"{words}.",
                "headers": headers,
                "content": {"application/json": schema, "application/problem+json": schema},
            },
        )


def _schemas() -> Json:
    """What `wire` encodes, by the names that answers have."""
    answers, records = schema_components(list(describe.ANSWERS.values()), ref_template=_REFERENCE)
    named = {name.lstrip("_"): _tidy(record) for name, record in records.items()}
    for name, answer in zip(describe.ANSWERS, answers, strict=True):
        named.setdefault(name, _tidy(answer))
    return named | {"OpenAPI": {"type": "object", "required": ["openapi", "info", "paths"]}}


def _tidy(schema: Any) -> Any:
    """A schema of records as the wire has them: members without a value are not there, not null."""
    if isinstance(schema, list):
        return [_tidy(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    # "title" may as well be a member, whose value is a schema.
    named = {n: v for n, v in schema.items() if n != "title" or not isinstance(v, str)}
    tidied = {name: _tidy(value) for name, value in named.items()}
    if "$ref" in tidied:
        tidied["$ref"] = tidied["$ref"].replace("/_", "/")
    if tidied.get("default", ...) is None:
        del tidied["default"]
        kinds = [kind for kind in tidied.pop("anyOf", ()) if kind != _NULL]
        return tidied | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds})
    return tidied
