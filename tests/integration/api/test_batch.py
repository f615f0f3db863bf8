"""Batches over sockets: one result an entry, whatever the entries are, whatever cuts them off."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lq.batch import MAX_ENTRIES
from lq.daemon.main import Daemon
from lq.model import ById

from .conftest import Door
from .given import token
from .handler import Handler
from .raw import WAITING, Answer, Peer

ARRAY = "POST queues/q/items/batch"
LINES = "Content-Type: application/x-ndjson"
ATOMIC = f"{ARRAY}?atomic=1"
KEY = "Idempotency-Key: once"


async def push(api: Peer, *entries: Any, path: str = ARRAY, more: tuple[str, ...] = ()) -> Answer:
    """Push entries as an array; they wait."""
    return await api.ask(path, *WAITING, *more, body=json.dumps(entries).encode())


async def push_lines(api: Peer, body: bytes, *more: str, path: str = ARRAY) -> Answer:
    return await api.ask(path, *WAITING, LINES, *more, body=body)


def statuses(answer: Answer) -> list[int]:
    return [result["status"] for result in answer.json["results"]]


async def waiting(api: Peer, queue: str = "q") -> int:
    pending: int = (await api.ask(f"GET queues/{queue}")).json["pending"]
    return pending


async def payload_of(api: Peer, result: dict[str, Any]) -> Any:
    return (await api.ask(f"GET items/{result['id']}")).json.get("payload")


async def test_an_entry_says_all_that_a_push_can(api: Peer) -> None:
    entry = {
        "payload": {"to": "ada"},
        "target": "https://example.com/a",
        "key": "k",
        "delay": 60_000,
        "headers": {"x-team": "mail"},
        "method": "put",
        "retry": 2,
        "timeout": "9s",
        "ifExists": "keep",
        "expires": "2h",
        "labels": ["a", "b"],
        "completion": "response",
        "validate": "head",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    answer = await api.ask(ARRAY, body=json.dumps([entry]).encode())
    [result] = answer.json["results"]
    assert (answer.status, result["status"], result["outcome"]) == (200, 201, "created")
    item = (await api.ask(f"GET items/{result['id']}")).json
    assert item["payload"] == {"to": "ada"}
    assert item["payloadType"] == "application/json"
    assert item["target"] == {"url": "https://example.com/a", "method": "PUT"}
    assert (item["key"], item["labels"], item["retry"]) == ("k", ["a", "b"], "2")
    assert (item["timeout"], item["headers"]) == ("9s", {"x-team": "mail"})


@pytest.mark.parametrize(
    ("entry", "payload", "content_type"),
    [
        ('{"payload": 1.00}', b"1.00", "application/json"),
        ('{"payload": [1e400,  123456789012345678901234567890]}', None, "application/json"),
        ('{"payload": "ü", "contentType": "text/plain"}', "ü".encode(), "text/plain"),
        ('{"payload": "ü"}', '"ü"'.encode(), "application/json"),
        ('{"payloadBase64": "AP8="}', b"\x00\xff", None),
        ('{"payloadBase64": "", "contentType": "a/b"}', b"", "a/b"),
        ("{}", b"", None),
        ('{"pay\\u006coad": null}', b"null", "application/json"),
        ('{"payload": {"a": "\\ud83d\\ude00"}}', b'{"a": "\\ud83d\\ude00"}', "application/json"),
    ],
)
async def test_a_payload_is_kept_as_it_is_written(
    running: Daemon, api: Peer, entry: str, payload: bytes | None, content_type: str | None
) -> None:
    for answer in (
        await api.ask(ARRAY, *WAITING, body=f"[ {entry} ]".encode()),
        await push_lines(api, entry.encode()),
    ):
        [result] = answer.json["results"]
        job = await running.engine.get(ById(result["id"]))
        written = (
            entry.partition(": ")[2].removesuffix("}").encode() if payload is None else payload
        )
        assert (job.payload, job.content_type) == (written, content_type)


async def test_a_bad_entry_costs_only_itself(api: Peer) -> None:
    answer = await push(api, {"payload": 1}, {"dealy": "5m"}, 5, {"delay": "soon"}, {"payload": 2})
    assert statuses(answer) == [201, 400, 400, 400, 201]
    assert [answer.json[name] for name in ("created", "failed")] == [2, 3]
    unknown, number, late = (result["error"] for result in answer.json["results"][1:4])
    assert unknown["issues"][0]["path"] == ["dealy"]
    assert "did you mean delay?" in unknown["message"]
    assert "expected an object" in number["message"]
    assert late["issues"][0]["path"] == ["delay"]
    assert await waiting(api) == 2


BAD = [
    (b'{"key": "a", "key": "b"}', "there twice"),
    (b'{"payload": {"a": 1, "a": 2}}', "there twice"),
    (b'{"payload": NaN}', "NaN is not JSON"),
    (b'{"payload": -Infinity}', "Infinity is not JSON"),
    (b'{"payload": "\\ud800"}', "half of a surrogate pair"),
    (b'{"payload": ' + b"[" * 40 + b"]" * 40 + b"}", "at most 32 levels deep"),
    (b'{"payload": ' + b"[" * 100_000, "levels deep"),
    (b'{"payload": "\xff"}', "UTF-8"),
    (b'{"payload": "\x01"}', "expected JSON"),
    (b'\xef\xbb\xbf{"payload": 1}', "byte order mark"),
    (b'{"payload": 1', "expected JSON"),
    (b'{"payload": 1} {"payload": 2}', "Extra data"),
    (b"null", "expected an object"),
    (b'{"label": "a", "labels": ["b"]}', "more than once"),
    (b'{"labels": "a"}', "a list of words"),
    (b'{"payload": 1, "payloadBase64": "AA=="}', "together with a payload"),
    (b'{"payloadBase64": "A"}', "base64"),
    (b'{"payloadBase64": "\xc3\xa9"}', "base64"),
    (b'{"payload": {}, "contentType": "text/plain"}', "expected a string"),
    (b'{"contentType": "a\\r\\nb"}', "expected ASCII"),
    (b'{"delay": true}', "milliseconds"),
    (b'{"delay": 1e400}', "a bare number is milliseconds"),
    (b'{"retry": 1.5}', "expected a string"),
    (b'{"retry": true}', "a number of retries"),
    (b'{"key": null}', "expected a string"),
    (b'{"key": 5}', "expected a string"),
    (b'{"on": "2100-01-01T00:00:00Z"}', "at most 10 years"),
    (b'{"target": "ftp://a/"}', "target"),
    (b'{"headers": {"Host": "a"}}', "set by lq itself"),
]


@pytest.mark.parametrize(("bad", "why"), BAD)
async def test_a_line_that_is_refused_is_named(api: Peer, bad: bytes, why: str) -> None:
    good = b'{"payload": 1}'
    answer = await push_lines(api, b"\n".join((good, b"", bad, b" \r", good)))
    assert statuses(answer)[::2] == [201, 201]
    refused = answer.json["results"][1]
    assert (refused["index"], refused["line"]) == (1, 3)
    assert why in refused["error"]["message"]
    assert await waiting(api) == 2
    whole = await push_lines(api, b"\n".join((good, bad)), path=ATOMIC)
    assert [path.partition(":")[0] for path in whole.issues] == ["line 2"]
    assert why in whole.json["message"]
    assert await waiting(api) == 2


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[", b"[{}", b"[{},", b"[{},]", b"[]]", b"[{}{}]", b"{}", b"[{]", b'["\xff"]'),
        *(b"\xef\xbb\xbf[]", b"[" * 100_000, b"null", b"[{}] x", b"[NaN]x", b"[1 2]"),
    ],
)
async def test_what_is_no_array_stores_nothing(api: Peer, body: bytes) -> None:
    await push(api, {"payload": 1})
    refused = await api.ask(ARRAY, *WAITING, body=body)
    assert refused.issues[0].split()[0] in {"body", "entry"}
    assert await waiting(api) == 1


async def test_an_empty_batch_does_nothing(api: Peer) -> None:
    for answer in (await push(api), await push_lines(api, b" \n\r\n")):
        assert (answer.status, answer.json["results"]) == (200, [])


async def test_a_key_twice_acts_as_two_pushes(api: Peer) -> None:
    answer = await push(
        api,
        {"key": "a", "payload": 1},
        {"key": "a", "payload": 2},
        {"key": "a", "payload": 3, "ifExists": "keep"},
        {"key": "a", "payload": 4, "ifExists": "reject"},
        {"key": "b", "payload": 5},
        {"payload": 6},
        {"key": "b", "payload": 7},
    )
    results = answer.json["results"]
    outcomes = [result.get("outcome") for result in results]
    assert outcomes == ["created", "replaced", "kept", None, "created", "created", "replaced"]
    assert results[3]["error"]["type"] == "KEY_EXISTS"
    assert len({result["id"] for result in results if "id" in result}) == 3
    assert await payload_of(api, results[0]) == 2
    assert await payload_of(api, results[4]) == 7
    assert await waiting(api) == 3
    counts = [answer.json[name] for name in ("created", "replaced", "kept", "failed")]
    assert counts == [3, 2, 1, 1]


async def test_atomic_is_all_or_nothing(api: Peer) -> None:
    assert statuses(await push(api, {"key": "a", "payload": 1}, path=ATOMIC)) == [201]
    taken = await push(
        api,
        *({"payload": 1}, {"key": "a", "payload": 2}, {"key": "a", "ifExists": "reject"}),
        path=ATOMIC,
    )
    assert taken.issues == ["entry 2"]
    assert "is waiting" in taken.json["message"]
    wrong = await push(api, {"delay": "x", "retry": "y"}, {}, {"nonsense": 1}, path=ATOMIC)
    assert wrong.issues == ["entry 0: delay", "entry 0: retry", "entry 2: nonsense"]
    page = (await api.ask("GET queues/q/items")).json["items"]
    assert [item["key"] for item in page] == ["a"]
    assert await payload_of(api, page[0]) == 1
    assert await waiting(api) == 1


async def test_headers_hold_for_entries_that_do_not_say_otherwise(api: Peer) -> None:
    headers = ("x-lq-target: https://example.com/d", "x-lq-delay: 1h", "x-lq-label: all")
    entries = [
        {},
        {"target": "https://example.com/own", "labels": []},
        {"on": "2020-01-01T00:00:00Z"},
    ]
    answer = await api.ask(ARRAY, *headers, body=json.dumps(entries).encode())
    items = [(await api.ask(f"GET items/{r['id']}")).json for r in answer.json["results"]]
    assert [item["target"]["url"][-3:] for item in items] == ["m/d", "own", "m/d"]
    assert [item.get("labels") for item in items] == [["all"], None, ["all"]]
    assert items[2]["notBefore"] == "2020-01-01T00:00:00.000Z"
    for wrong in ("x-lq-key: a", "x-lq-dealy: 5m", "x-lq-delay: soon"):
        assert (await push(api, {}, more=(wrong,))).issues == [wrong.partition(":")[0]]


async def test_due_entries_are_called(api: Peer, handler: Handler) -> None:
    entries = [{"payload": number, "target": handler.url} for number in range(50)]
    answer = await api.ask(ARRAY, body=json.dumps(entries).encode())
    assert statuses(answer) == [201] * 50
    async with asyncio.timeout(10):
        calls = [await handler.calls.get() for _ in range(50)]
    assert sorted(int(call.body) for call in calls) == [*range(50)]


async def test_too_many_entries(api: Peer) -> None:
    many = b"{}\n" * (MAX_ENTRIES + 5)
    cut = await push_lines(api, many)
    assert (cut.status, cut.json["type"]) == (413, "PAYLOAD_TOO_LARGE")
    assert f"line {MAX_ENTRIES + 1} on" in cut.json["message"]
    assert len(cut.json["results"]) == MAX_ENTRIES == await waiting(api)
    for refused in (
        await push_lines(api, many, path=ATOMIC),
        await push_lines(api, many, KEY),
        await api.ask(ARRAY, *WAITING, body=b"[" + b"1," * MAX_ENTRIES + b"1]"),
    ):
        assert refused.status == 413
        assert "results" not in refused.json
    assert await waiting(api) == MAX_ENTRIES


async def test_a_stream_that_is_badly_framed_tells_what_it_stored(api: Peer) -> None:
    connection = await api.connect()
    head = api.written(ARRAY, *WAITING, LINES, "Transfer-Encoding: chunked")
    body = b'{"payload": 1}\n' * 1500 + b'{"payload": 2}'
    await connection.send(head + b"%x\r\n%b\r\nnonsense\r\n" % (len(body), body))
    answer = await connection.receive()
    assert answer.status == 400
    page = (await api.ask("GET queues/q/items?limit=1000")).json["items"]
    assert len(answer.json.get("results", [])) == len(page)


async def test_a_stream_that_stops_is_told_what_it_brought(hasty: Peer) -> None:
    connection = await hasty.connect()
    head = hasty.written(ARRAY, *WAITING, LINES, "Content-Length: 1000")
    await connection.send(head + b'{"payload": 1}\n{"payload": 2}\n{"payl')
    answer = await connection.receive()
    assert (answer.status, answer.json["type"]) == (408, "REQUEST_TIMEOUT")
    assert [result["line"] for result in answer.json["results"]] == [1, 2]
    assert await waiting(hasty) == 2


async def test_whoever_hangs_up_has_pushed_what_was_read(running: Daemon, api: Peer) -> None:
    connection = await api.connect()
    head = api.written(ARRAY, *WAITING, LINES, "Content-Length: 1000000")
    with running.events.subscribe() as events:
        await connection.send(head + b'{"payload": 1}\n' * 1000 + b'{"pay')
        await connection.close()
        async with asyncio.timeout(10):
            for _ in range(1000):
                assert (await anext(events)).verb == "push"
    assert await waiting(api) == 1000


async def test_limits_on_sizes(running: Daemon, api: Peer) -> None:
    fits = base64.b64encode(bytes(running.engine.max_payload)).decode()
    large = base64.b64encode(bytes(running.engine.max_payload + 1)).decode()
    answer = await push(api, {"payloadBase64": fits}, {"payloadBase64": large}, {})
    assert statuses(answer) == [201, 413, 201]
    endless = b'{"payload": "' + b"x" * (3 * running.engine.max_payload) + b'"}'
    answer = await push_lines(api, b"{}\n" + endless + b"\n{}\n" + endless)
    assert statuses(answer) == [201, 413, 201, 413]
    assert [result["line"] for result in answer.json["results"]] == [1, 2, 3, 4]
    body = b"{}\n" + b" " * running.engine.max_batch
    assert (await push_lines(api, body, path=ATOMIC)).status == 413
    assert await waiting(api) == 4


async def test_a_repetition_under_a_key_does_nothing(api: Peer) -> None:
    body = b'{"payload": 1}\n\n{"key": "a"}\n{"bad": 1}\n'
    first = await push_lines(api, body, KEY)
    assert statuses(first) == [201, 201, 400]
    again = await push_lines(api, body, KEY)
    assert (again.status, again.body) == (first.status, first.body)
    assert await waiting(api) == 2
    for other in (
        await push_lines(api, body + b"{}", KEY),
        await push_lines(api, body, KEY, path=ATOMIC),
        await push_lines(api, body, KEY, path="POST queues/other/items/batch"),
        await api.ask("POST queues/q/items", *WAITING, KEY, body=body),
    ):
        assert (other.status, other.json["type"]) == (422, "IDEMPOTENCY_MISMATCH")
    assert await waiting(api) == 2


async def test_a_refused_atomic_batch_is_tried_anew(api: Peer) -> None:
    await push(api, {"key": "a"})
    batch = ({"payload": 1}, {"key": "a", "ifExists": "reject"})
    assert (await push(api, *batch, path=ATOMIC, more=(KEY,))).status == 400
    await api.ask("DELETE queues/q/items/byKey/a")
    first = await push(api, *batch, path=ATOMIC, more=(KEY,))
    assert statuses(first) == [201, 201]
    assert (await push(api, *batch, path=ATOMIC, more=(KEY,))).body == first.body
    assert await waiting(api) == 2


async def test_two_of_one_key_at_once_are_one(door: Door) -> None:
    peer = await door()
    body = b'{"payload": 1}\n' * 500
    answers = await asyncio.gather(*(push_lines(peer, body, KEY) for _ in range(4)))
    done = [answer for answer in answers if answer.status == 200]
    assert done
    assert len({answer.body for answer in done}) == 1
    assert {answer.status for answer in answers} <= {200, 409}
    assert await waiting(peer) == 500


async def test_tokens_reach_no_further_than_with_a_push(api: Peer) -> None:
    limited = await token(api, "push", queues=("mail-*",))
    path = "POST queues/mail-a/items/batch"
    assert statuses(await push(limited, {}, path=path)) == [201]
    assert (await push(limited, {})).status == 403
    assert (await push(await token(api, "read"), {})).status == 403
    assert (await push(api.having(""), {})).status == 401
    entries: Any = ({"validate": "none"}, {"target": "scriptlet:x"}, {})
    assert statuses(await push(limited, *entries, path=path)) == [403, 403, 201]
    refused = await push(limited, *entries, path=f"{path}?atomic=1")
    assert refused.issues == ["entry 0", "entry 1"]
    assert await waiting(api, "mail-a") == 2


@pytest.mark.parametrize("path", [f"{ARRAY}?atomic=maybe", f"{ARRAY}?dry=1"])
async def test_a_query_that_means_nothing(api: Peer, path: str) -> None:
    assert (await push(api, {}, path=path)).status == 400


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.just(b'{"payload": 1}'),
            st.text(max_size=20).map(lambda text: json.dumps({"payload": text}).encode()),
            st.sampled_from([bad for bad, _ in BAD if len(bad) < 200]),
        ),
        max_size=12,
    )
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_whatever_comes_each_entry_has_a_result(api: Peer, lines: list[bytes]) -> None:
    before = (await api.ask("GET queues")).json
    known = before[0]["pending"] if before else 0
    body = b"\n".join(lines)
    expected = [n for n, line in enumerate(body.split(b"\n"), 1) if line.strip(b" \t\r\n\x0b\x0c")]
    answer = await push_lines(api, body)
    assert answer.status == 200
    assert [result["line"] for result in answer.json["results"]] == expected
    stored = statuses(answer).count(201)
    if stored:
        assert await waiting(api) - known == stored
