"""The API describes itself, and what it says of itself is so."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs
import pytest
import schemathesis

from lq.daemon.api.app import ROUTES
from lq.daemon.api.openapi import template
from lq.model import Scope
from lq.wire import describe
from lq.wire.batch import BATCH_HEADERS, ENTRY
from lq.wire.decode import (
    EDIT_HEADERS,
    ITEM_QUERY,
    PUSH_HEADERS,
    pause_query,
    queue_members,
    token_members,
)
from lq.wire.decode_schedule import CRON_QUERY, SCHEDULE_EDIT_HEADERS, SCHEDULE_HEADERS
from lq.wire.describe import Field
from lq.wire.events import EVENTS_QUERY
from lq.wire.filters import (
    CANCEL_QUERY,
    FAILURES_QUERY,
    HISTORY_QUERY,
    REPLAY_QUERY,
    UNFINISHED_QUERY,
)
from lq.wire.reading import Known, Refusing

from .described import DOCUMENT
from .given import token
from .raw import Peer

OPERATIONS = [
    (method.upper(), path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]
TEXTS: dict[str, tuple[Known[Any], tuple[Field, ...]]] = {
    "push": (PUSH_HEADERS, describe.PUSH),
    "batch": (BATCH_HEADERS, describe.BATCH),
    "edit": (EDIT_HEADERS, describe.EDIT),
    "schedule": (SCHEDULE_HEADERS, describe.SCHEDULE),
    "schedule edit": (SCHEDULE_EDIT_HEADERS, describe.SCHEDULE_EDIT),
    "item": (ITEM_QUERY, describe.ITEM),
    "items": (UNFINISHED_QUERY, describe.UNFINISHED),
    "history": (HISTORY_QUERY, describe.HISTORY),
    "failures": (FAILURES_QUERY, describe.FAILURES),
    "replay": (REPLAY_QUERY, describe.REPLAY),
    "cancel": (CANCEL_QUERY, describe.CANCEL),
    "cron": (CRON_QUERY, describe.CRON),
    "pause": (pause_query(0), describe.PAUSE),
    "events": (EVENTS_QUERY, describe.EVENTS),
}
MEMBERS: dict[str, tuple[Known[Any], tuple[Field, ...]]] = {
    "entry": (ENTRY, describe.ENTRY),
    "queue": (queue_members(0), describe.SETTINGS),
    "token": (token_members(0), describe.TOKEN),
}
TABLES = {**TEXTS, **MEMBERS}
REFUSED = {
    name
    for known, _ in TABLES.values()
    for name, (_, read) in known.items()
    if isinstance(read, Refusing)
}
IDS = [f"{method} {path}" for method, path, _ in OPERATIONS]


def as_text(value: object) -> str:
    """A value as a header or a query carries it."""
    return value if isinstance(value, str) else json.dumps(value)


def filled(path: str) -> str:
    """A path with something in it that is not there."""
    return re.sub(r"\{\w+\}", "x", path)


def named(operation: dict[str, Any], place: str) -> set[str]:
    """The fields that an operation is said to know."""
    if place == "body":
        content = operation.get("requestBody", {}).get("content", {})
        return set(content.get("application/json", {}).get("schema", {}).get("properties", {}))
    names = {p["name"] for p in operation["parameters"] if p["in"] == place}
    # Of headers that are not lq's no list is told.
    return {name for name in names if place != "header" or name.startswith("x-lq-")}


def test_each_route_is_described_once() -> None:
    assert [f"{r.method} {r.pattern}" for r in ROUTES if r.operation is None] == []
    described = [(route.method, template(route.pattern)[0]) for route in ROUTES]
    assert sorted(described) == sorted((method, path) for method, path, _ in OPERATIONS)
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)


def test_it_is_openapi() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()


@pytest.mark.parametrize(
    ("pattern", "path", "names"),
    [
        ("/a/?", "/a", ()),
        (r"/a\.json", "/a.json", ()),
        ("/a/(?P<id>[^/]+)/b", "/a/{id}/b", ("id",)),
        ("/(?P<queue>(?:(?!/x(?:/|$)).)+)/(?P<key>.*)", "/{queue}/{key}", ("queue", "key")),
    ],
)
def test_a_pattern_as_a_template(pattern: str, path: str, names: tuple[str, ...]) -> None:
    assert template(pattern) == (path, names)


async def test_it_needs_a_token_and_no_scope(api: Peer) -> None:
    anyone = await token(api, "push", queues=("nothing",))
    answer = await anyone.ask("GET /openapi.json")
    assert (answer.status, answer.json) == (200, DOCUMENT)
    assert (await api.having("").ask("GET /openapi.json")).status == 401
    assert (await api.ask("HEAD /openapi.json")).headers["content-length"] == str(len(answer.body))


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
async def test_who_is_let_in(api: Peer, method: str, path: str, operation: dict[str, Any]) -> None:
    """Without a token, and with each scope, as the description says."""
    asked = f"{method} {filled(path)}"
    anonymous = await api.having("").ask(asked)
    assert (anonymous.status == 401) is bool(operation["security"])
    scopes = {scope for way in operation["security"] for scope in way["token"]}
    for scope in Scope:
        enough = not scopes or scope is Scope.ADMIN or scope in scopes
        assert ((await (await token(api, scope)).ask(asked)).status != 403) is enough


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    # Who has no token of an attempt is told of nothing there; test_callbacks has one.
    [one for one in OPERATIONS if "{token}" not in one[1]],
    ids=[one for one in IDS if "{token}" not in one],
)
async def test_it_names_what_is_understood_and_no_more(
    api: Peer, method: str, path: str, operation: dict[str, Any]
) -> None:
    """A daemon that is told what it does not know lists what it does; so does the description."""
    for request, place in (
        (("", "x-lq-9999999999: 1"), "header"),
        (("?9999999999=1",), "query"),
        (("", "Content-Type: application/json"), "body"),
    ):
        suffix, *headers = request
        body = b'{"9999999999": 1}' if place == "body" else b""
        answer = await api.ask(f"{method} {filled(path)}{suffix}", *headers, body=body)
        text = answer.body.decode().partition("known are ")[2].partition('"')[0]
        listed = set(text.split(", ")) if text else set()
        described = named(operation, place)
        assert described <= listed
        for name in listed - described:  # known, to be refused with better words
            assert name in REFUSED


@pytest.mark.parametrize("name", sorted(TABLES))
def test_each_example_is_read(name: str) -> None:
    """By its schema, and by the decoder it is for."""
    known, fields = TABLES[name]
    for field in fields:
        if field.form.example is None or field.name not in known:
            continue
        jsonschema_rs.Draft202012Validator(dict(field.form.schema)).validate(field.form.example)
        _, read = known[field.name]
        value = field.form.example if name in MEMBERS else as_text(field.form.example)
        assert not isinstance(read, Refusing)
        read(value)
