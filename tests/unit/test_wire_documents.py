"""The wire, without a socket: JSON of admin requests and queries of listings."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from lq import wire
from lq.errors import ValidationError
from lq.model import QueueEdit, RetryPolicy, Scope

NOW = 1_794_990_400_123  # 2026-11-18T08:26:40.123Z
DAY = 86_400_000


# JSON of admin requests


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 33 + b"]" * 33,
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b"NaN",
        b"[-Infinity]",
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b"9" * 5000,
        b'"\\ud800"',
        b'{"\\udc00": 1}',
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"",
        b"{} {}",
        b"'a'",
        b'"unterminated',
    ],
)
def test_json_that_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        wire.read_json(raw)


def test_json_that_only_looks_deep_is_read() -> None:
    assert wire.read_json(b"[" * 32 + b"]" * 32)
    assert wire.read_json(json.dumps('[{"' * 100).encode()) == '[{"' * 100


@given(st.recursive(st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_json_means_what_others_take_it_for(value: object) -> None:
    try:
        raw = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert wire.read_json(raw) == value


def test_a_queue_edit_sets_leaves_alone_and_takes_away() -> None:
    edit = wire.decode_queue_edit(
        b'{"target": "https://example.com", "concurrency": 4, "retry": 8, "timeout": null,'
        b' "headers": {"x-a": "b"}, "method": "put", "paused": true}',
        NOW,
    )
    assert edit == QueueEdit(
        target="https://example.com",
        concurrency=4,
        retry=RetryPolicy(8),
        timeout_ms=None,
        headers={"x-a": "b"},
        method="PUT",
        paused=True,
    )
    assert edit.paused_until is UNSET


def test_a_pause_with_an_end_is_a_pause() -> None:
    assert wire.decode_queue_edit(b'{"pausedUntil": "5m"}', NOW) == QueueEdit(
        paused=True, paused_until=NOW + 300_000
    )
    with pytest.raises(ValidationError, match="pausedUntil"):
        wire.decode_queue_edit(b'{"pausedUntil": "5m", "paused": false}', NOW)


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b'{"rate": "5"}', "rate"),
        (b'{"rate": 5}', "rate"),
        (b'{"burst": 0}', "burst"),
        (b'{"burst": true}', "burst"),
        (b'{"fifo": "yes"}', "fifo"),
        (b'{"fifo": true, "concurrency": 2}', "fifo"),
        (b'{"pauseReason": "two\\nlines"}', "pauseReason"),
        (b'{"pauseReason": "moving", "paused": false}', "pauseReason"),
        (b'{"concurency": 5}', "concurency"),
        (b'{"concurrency": 0}', "concurrency"),
        (b'{"concurrency": true}', "concurrency"),
        (b'{"concurrency": 1.0}', "concurrency"),
        (b'{"concurrency": "5"}', "concurrency"),
        (b'{"paused": null}', "paused"),
        (b'{"paused": 1}', "paused"),
        (b'{"retry": -1}', "retry"),
        (b'{"retry": 101}', "retry"),
        (b'{"retry": false}', "retry"),
        (b'{"timeout": 30}', "timeout"),
        (b'{"method": 5}', "method"),
        (b'{"headers": {"Host": "x"}}', "headers"),
        (b'{"pausedUntil": "2020-01-01T00:00:00Z"}', "pausedUntil"),
        (b'{"target": ""}', "target"),
        (b"[]", "body"),
        (b"", "body"),
        (b"{", "body"),
    ],
)
def test_a_queue_edit_that_is_refused_names_the_field(raw: bytes, field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        wire.decode_queue_edit(raw, NOW)
    assert [issue.path for issue in caught.value.issues] == [field]


def test_a_token_request() -> None:
    request = wire.decode_token_request(
        b'{"name": "ci.1", "scopes": ["push", "read"], "queues": ["mail-*"], "expires": "90d"}', NOW
    )
    assert request == wire.TokenRequest(
        "ci.1", frozenset({Scope.PUSH, Scope.READ}), ("mail-*",), NOW + 90 * DAY
    )


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (b"{}", ["name", "scopes"]),
        (b'{"name": "a b", "scopes": ["push"]}', ["name"]),
        (b'{"name": "", "scopes": ["push"]}', ["name"]),
        (b'{"name": "a", "scopes": []}', ["scopes"]),
        (b'{"name": "a", "scopes": ["root"]}', ["scopes"]),
        (b'{"name": "a", "scopes": "push"}', ["scopes"]),
        (b'{"name": "a", "scopes": ["push"], "queues": [""]}', ["queues"]),
        (b'{"name": "a", "scopes": ["push"], "queues": [5]}', ["queues"]),
        (b'{"name": "a", "scopes": ["push"], "queues": "mail"}', ["queues"]),
        (b'{"name": "a", "scopes": ["push"], "expires": "2020-01-01T00:00:00Z"}', ["expires"]),
        (b'{"name": "a", "scope": ["push"]}', ["scope"]),
    ],
)
def test_a_token_request_that_is_refused_names_the_fields(raw: bytes, fields: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        wire.decode_token_request(raw, NOW)
    assert [issue.path for issue in caught.value.issues] == fields


# Queries


def test_a_filter_with_everything() -> None:
    wanted = wire.decode_filter("state=retry&label=eu&limit=1000&cursor=abc&key=a%2Fb&queue=q%20r")
    assert (wanted.state, wanted.label, wanted.limit) == ("RETRY", "eu", 1000)
    assert (wanted.cursor, wanted.key, wanted.queue) == ("abc", "a/b", "q r")
    assert wire.decode_filter("").limit == 100


def test_the_path_names_the_queue_and_the_query_cannot() -> None:
    assert wire.decode_filter("", queue="mail").queue == "mail"
    with pytest.raises(ValidationError, match="queue: is not known here"):
        wire.decode_filter("queue=other", queue="mail")


@pytest.mark.parametrize("offset", ["+02:00", "%2B02:00", "+02:00".replace("+", "%20")])
def test_the_plus_of_an_offset_may_arrive_as_a_space(offset: str) -> None:
    wanted = wire.decode_history_filter(
        f"from=2026-11-18T10:26:40.123{offset}&to=2026-11-19T00:00:00Z"
    )
    assert wanted.from_at == NOW


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=-1", "limit"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=1000000000", "limit"),
        ("limit=%C2%B2", "limit"),
        ("limit=", "limit"),
        ("limit=5&limit=6", "limit"),
        ("cursor=", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=" + "x" * 600, "cursor"),
        ("state=DONE", "state"),
        ("stat=FAILED", "stat"),
        ("queue=", "queue"),
        ("queue=a/items", "queue"),
        ("key=%0a", "key"),
        ("label=a,b", "label"),
        ("token=lq_x", "token"),
        ("key=%ff", "query"),
        ("&".join("a=b" for _ in range(200)), "query"),
    ],
)
def test_a_query_that_is_refused_names_the_parameter(query: str, field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        wire.decode_filter(query)
    assert [issue.path for issue in caught.value.issues] == [field]


def test_history_holds_finished_items_only() -> None:
    assert wire.decode_history_filter("state=failed").state == "FAILED"
    with pytest.raises(ValidationError, match='expected "COMPLETED", "FAILED" or "CANCELLED"'):
        wire.decode_history_filter("state=PENDING")


def test_a_pause_until() -> None:
    nothing_said = QueueEdit(paused=True, paused_until=None, pause_reason=None)
    assert wire.decode_pause("", NOW) == nothing_said
    assert wire.decode_pause("reason=moving+house", NOW).pause_reason == "moving house"
    assert wire.decode_pause("until=30m", NOW).paused_until == NOW + 1_800_000
    assert wire.decode_pause("until=2026-11-19T08:26:40.123Z", NOW).paused_until == NOW + DAY
    with pytest.raises(ValidationError, match="until: expected a moment in the future"):
        wire.decode_pause("until=2020-01-01T00:00:00Z", NOW)


@pytest.mark.parametrize("text", ["soon", "5", "9999d", "2026-13-01T00:00:00Z", "2026-12-01"])
def test_what_is_neither_a_duration_nor_an_instant_is_told_of_both(text: str) -> None:
    with pytest.raises(ValidationError, match=r'a duration such as "90s" .* an instant such as'):
        wire.decode_pause(f"until={text}", NOW)


@pytest.mark.parametrize(
    ("body", "accepted"),
    [
        (b'{"retry": 1.5}', 'a number of retries such as 8, or waits such as "10s,1m,1h"'),
        (b'{"timeout": 30}', 'a duration from 1ms to 24h such as "30s", got a number'),
    ],
)
def test_a_setting_of_the_wrong_kind_is_told_what_is_accepted(body: bytes, accepted: str) -> None:
    with pytest.raises(ValidationError) as refused:
        wire.decode_queue_edit(body, NOW)
    assert accepted in refused.value.message


@pytest.mark.parametrize(
    ("query", "force"), [("", False), ("force=1", True), ("force=false", False)]
)
def test_force(query: str, force: bool) -> None:
    assert wire.decode_force(query) is force


# Whatever the text

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
)
DOCUMENT_MEMBERS = st.one_of(
    st.sampled_from(["target", "paused", "pausedUntil", "concurrency", "retry", "headers"]),
    st.sampled_from(["timeout", "method", "name", "scopes", "queues", "expires"]),
)


def read_or_refused(read: Callable[[], object]) -> object:
    """What was read, or None after a refusal that can be sent."""
    try:
        return read()
    except ValidationError as error:
        refusal = json.loads(wire.encode_error(error, "r"))
    assert refusal["type"] == "VALIDATION_ERROR"
    assert refusal["issues"]
    return None


@given(st.text() | st.from_regex(r"(state|limit|cursor|from|to|key|until)=.*", fullmatch=True))
def test_whatever_the_query_it_is_read_or_refused(query: str) -> None:
    read_or_refused(lambda: wire.decode_filter(query))
    read_or_refused(lambda: wire.decode_history_filter(query))
    read_or_refused(lambda: wire.decode_pause(query, NOW))
    read_or_refused(lambda: wire.decode_force(query))


@given(
    st.binary()
    | st.dictionaries(DOCUMENT_MEMBERS, JSON_VALUES).map(lambda value: json.dumps(value).encode())
)
def test_whatever_the_document_it_is_read_or_refused(raw: bytes) -> None:
    read_or_refused(lambda: wire.decode_queue_edit(raw, NOW))
    read_or_refused(lambda: wire.decode_token_request(raw, NOW))
