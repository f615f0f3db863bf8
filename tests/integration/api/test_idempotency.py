"""Requests under an Idempotency-Key: carried out once, and answered the same each time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from lq.when import DAY_MS, HOUR_MS

from .conftest import Door
from .given import NIGHTLY, token
from .handler import Handler
from .raw import WAITING, Answer, Peer

KEY = "Idempotency-Key: once"
PUSH = ("POST queues/q/items", *WAITING, KEY)
MAKE = ("POST schedules", *NIGHTLY, KEY)


def same(first: Answer, again: Answer) -> bool:
    """Whether two answers are one, but for what numbers and dates each."""
    varying = {"x-request-id", "date"}
    heads = [{n: v for n, v in a.headers.items() if n not in varying} for a in (first, again)]
    return (first.status, first.body, heads[0]) == (again.status, again.body, heads[1])


async def waiting(api: Peer, queue: str = "q") -> list[str]:
    return [item["id"] for item in (await api.ask(f"GET queues/{queue}/items")).json["items"]]


async def test_the_same_push_again_gets_the_same_answer(api: Peer) -> None:
    first = await api.ask(*PUSH, body=b"x")
    assert first.status == 201
    for _ in range(3):
        assert same(first, await api.ask(*PUSH, body=b"x"))
    assert await waiting(api) == [first.json["id"]]


async def test_without_a_key_each_is_another_push(api: Peer) -> None:
    for _ in range(2):
        assert (await api.ask(*PUSH[:-1], body=b"x")).status == 201
    assert len(await waiting(api)) == 2


async def test_quoted_or_bare_it_is_one_key(api: Peer) -> None:
    first = await api.ask(*PUSH)
    again = await api.ask(*PUSH[:-1], 'idempotency-key:  "once" ')
    assert same(first, again)
    assert not same(first, await api.ask(*PUSH[:-1], 'Idempotency-Key: "Once"'))


@pytest.mark.parametrize(
    "keys",
    [
        *[("",), ('""',), ("a b",), ("a,b",), ('"a', ), ('"a";b=1',), ("é",), ("x" * 256,)],
        (f'"{"x" * 256}"',),
        ("a", "a"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("asked", [PUSH, MAKE])
async def test_what_is_no_key_is_refused(
    api: Peer, asked: tuple[str, ...], keys: tuple[str, ...]
) -> None:
    answer = await api.ask(*asked[:-1], *(f"Idempotency-Key: {key}" for key in keys))
    assert answer.issues == ["Idempotency-Key"]
    assert (await api.ask("GET queues")).json == []
    assert (await api.ask("GET schedules")).json["items"] == []


@pytest.mark.parametrize(
    ("asked", "body"),
    [
        (PUSH, b"y"),
        (PUSH, b""),
        (("POST queues/r/items", *PUSH[1:]), b"x"),
        ((*PUSH, "x-lq-label: a"), b"x"),
        ((*PUSH, "Content-Type: text/plain"), b"x"),
        ((PUSH[0], PUSH[1], "x-lq-delay: 2h", KEY), b"x"),
        (MAKE, b"x"),
    ],
)
async def test_another_request_under_the_key_is_a_mismatch(
    api: Peer, asked: tuple[str, ...], body: bytes
) -> None:
    first = await api.ask(*PUSH, body=b"x")
    refused = await api.ask(*asked, body=body)
    assert (refused.status, refused.json["type"]) == (422, "IDEMPOTENCY_MISMATCH")
    assert same(first, await api.ask(*PUSH, body=b"x"))
    assert [queue["name"] for queue in (await api.ask("GET queues")).json] == ["q"]
    assert await waiting(api) == [first.json["id"]]
    assert (await api.ask("GET schedules")).json["items"] == []


async def test_a_repetition_may_differ_in_what_decides_nothing(api: Peer) -> None:
    first = await api.ask(*PUSH, body=b"x")
    span = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    again = (PUSH[0], KEY, "User-Agent: other", span, *WAITING[::-1])
    assert same(first, await api.ask(*again, body=b"x"))
    chunked = (*PUSH, "Transfer-Encoding: chunked")
    connection = await api.connect()
    await connection.send(api.written(*chunked) + b"1\r\nx\r\n0\r\n\r\n")
    assert same(first, await connection.receive())


async def test_one_queue_may_be_written_in_two_ways(api: Peer) -> None:
    first = await api.ask("POST queues/a%2Fb/items", *PUSH[1:])
    assert same(first, await api.ask("POST queues/a/b/items", *PUSH[1:]))


async def test_the_answer_stays_whatever_becomes_of_the_item(api: Peer, handler: Handler) -> None:
    push = ("POST queues/q/items", f"x-lq-target: {handler.url}", KEY)
    first = await api.ask(*push, body=b"x")
    await handler.calls.get()
    item = f"items/{first.json['id']}"
    while (await api.ask(f"GET {item}")).json["state"] != "COMPLETED":
        pass
    assert same(first, await api.ask(*push, body=b"x"))
    assert (await api.ask("DELETE queues/q")).status == 200
    assert same(first, await api.ask(*push, body=b"x"))
    assert (await api.ask("GET queues")).json == []
    assert handler.calls.empty()


async def test_a_repetition_is_answered_though_it_would_be_refused_by_now(api: Peer) -> None:
    await api.ask("PATCH queues/q", body=b'{"target": "https://example.com/"}')
    push = ("POST queues/q/items", "x-lq-delay: 1h", KEY)
    first = await api.ask(*push)
    await api.ask("PATCH queues/q", body=b'{"target": null}')
    assert same(first, await api.ask(*push))
    assert (await api.ask(*push[:-1])).issues == ["x-lq-target"]


async def test_what_a_key_of_an_item_did_is_repeated(api: Peer) -> None:
    await api.ask("POST queues/q/items", *WAITING, "x-lq-key: k", body=b"a")
    keyed = ("POST queues/q/items", *WAITING, "x-lq-key: k")
    replaced = await api.ask(*keyed, KEY, body=b"b")
    kept = await api.ask(*keyed, "x-lq-if-exists: keep", "Idempotency-Key: two", body=b"c")
    assert [(a.status, a.json["outcome"]) for a in (replaced, kept)] == [
        (200, "replaced"),
        (200, "kept"),
    ]
    await api.ask(*keyed, body=b"newest")
    assert same(replaced, await api.ask(*keyed, KEY, body=b"b"))
    again = await api.ask(*keyed, "x-lq-if-exists: keep", "Idempotency-Key: two", body=b"c")
    assert same(kept, again)
    assert (await api.ask("GET queues/q/items/byKey/k")).json["payload"] == "newest"


async def test_what_was_refused_may_be_tried_again(api: Peer) -> None:
    reject = (*PUSH, "x-lq-key: k", "x-lq-if-exists: reject")
    await api.ask("POST queues/q/items", *WAITING, "x-lq-key: k")
    for _ in range(2):
        assert (await api.ask(*reject)).json["type"] == "KEY_EXISTS"
    await api.ask("DELETE queues/q/items/byKey/k")
    first = await api.ask(*reject)
    assert first.status == 201
    assert same(first, await api.ask(*reject))
    for malformed in ("x-lq-delay: soon", "x-lq-dealy: 1h"):
        refused = (PUSH[0], PUSH[1], malformed, "Idempotency-Key: other")
        assert (await api.ask(*refused)).status == 400
    assert (await api.ask(PUSH[0], *WAITING, "Idempotency-Key: other")).status == 201


async def test_tokens_have_keys_of_their_own(api: Peer, owner: Peer) -> None:
    answers = [await peer.ask(*PUSH) for peer in (api, owner, await token(api, "push"))]
    assert len({answer.json["id"] for answer in answers}) == 3
    assert (await api.ask("DELETE tokens/push-token")).status == 200
    named_again = await token(api, "push")
    assert (await named_again.ask(*PUSH, body=b"another")).status == 201


async def test_after_a_day_the_key_is_new(api: Peer, pass_time: Callable[[int], None]) -> None:
    first = await api.ask(*PUSH)
    pass_time(DAY_MS - HOUR_MS)
    assert same(first, await api.ask(*PUSH))
    pass_time(HOUR_MS + 1)
    again = await api.ask(*PUSH, body=b"another")
    assert again.status == 201
    assert again.json["id"] != first.json["id"]


async def test_many_at_once_are_one(api: Peer) -> None:
    answers = await asyncio.gather(*(api.ask(*PUSH, body=b"x") for _ in range(50)))
    first = next(answer for answer in answers if answer.status == 201)
    for answer in answers:
        assert same(first, answer) or answer.json["type"] == "IDEMPOTENCY_IN_PROGRESS"
    assert Counter(answer.status for answer in answers).keys() <= {201, 409}
    assert await waiting(api) == [first.json["id"]]


@pytest.mark.parametrize("asked", [PUSH, MAKE])
async def test_one_that_is_under_way_is_not_begun_again(api: Peer, asked: tuple[str, ...]) -> None:
    slow = await api.connect()
    await slow.send(api.written(*asked, "Content-Length: 2", "Expect: 100-continue"))
    assert (await slow.receive()).status == 100  # it waits for the body now
    refused = await api.ask(*asked, body=b"xy")
    assert (refused.status, refused.json["type"]) == (409, "IDEMPOTENCY_IN_PROGRESS")
    other = await api.ask(*asked[:-1], "Idempotency-Key: other", body=b"xy")
    assert other.status in {200, 201}
    await slow.send(b"xy")
    first = await slow.receive()
    assert first.status in {200, 201}
    assert same(first, await api.ask(*asked, body=b"xy"))


async def test_who_hangs_up_leaves_its_key_free(api: Peer) -> None:
    slow = await api.connect()
    await slow.send(api.written(*PUSH, "Content-Length: 2", "Expect: 100-continue"))
    assert (await slow.receive()).status == 100
    await slow.close()
    while (answer := await api.ask(*PUSH, body=b"xy")).status == 409:
        pass
    assert answer.status == 201


async def test_a_body_that_does_not_come_leaves_its_key_free(hasty: Peer) -> None:
    slow = await hasty.connect()
    await slow.send(hasty.written(*PUSH, "Content-Length: 2"))
    assert (await slow.receive()).status == 408
    assert (await hasty.ask(*PUSH, body=b"xy")).status == 201


async def test_all_doors_share_what_is_kept(api: Peer, owner: Peer, door: Door) -> None:
    first = await api.ask(*PUSH)
    assert same(first, await (await door()).ask(*PUSH))
    assert not same(first, await owner.ask(*PUSH))


async def test_the_same_schedule_again_gets_the_same_answer(
    api: Peer, pass_time: Callable[[int], None]
) -> None:
    first = await api.ask(*MAKE, "x-lq-label: a", body=b"x")
    assert (first.status, first.json["outcome"]) == (201, "created")
    pass_time(20 * HOUR_MS)  # its next run is over by now
    assert same(first, await api.ask(*MAKE, "x-lq-label: a", body=b"x"))
    schedule = f"schedules/{first.json['id']}"
    assert (await api.ask(f"DELETE {schedule}")).status == 200
    assert same(first, await api.ask(*MAKE, "x-lq-label: a", body=b"x"))
    assert (await api.ask("GET schedules")).json["items"] == []


async def test_a_schedule_that_would_have_no_time_left_is_told_of_again(
    api: Peer, pass_time: Callable[[int], None]
) -> None:
    hour = (await api.ask("GET /api/v1/cron?expr=E%3D1h&count=1")).json["times"][0]
    make = ("POST schedules", "x-lq-schedule: E=1m", "x-lq-queue: q", WAITING[0], KEY)
    ending = (*make, f"x-lq-until: {hour}")
    first = await api.ask(*ending)
    assert first.status == 201
    pass_time(3 * HOUR_MS)
    assert same(first, await api.ask(*ending))
    assert (await api.ask(*ending[:-2], ending[-1])).status == 400


async def test_a_schedule_that_was_kept_is_the_same_again(api: Peer) -> None:
    keyed = ("POST schedules", *NIGHTLY, "x-lq-key: k")
    made = await api.ask(*keyed)
    kept = await api.ask(*keyed, KEY)
    assert (kept.status, kept.json["outcome"]) == (200, "kept")
    changed = await api.ask(*keyed, "Idempotency-Key: two", body=b"new")
    assert (changed.status, changed.json["outcome"]) == (200, "replaced")
    assert same(kept, await api.ask(*keyed, KEY))
    assert same(changed, await api.ask(*keyed, "Idempotency-Key: two", body=b"new"))
    assert [one["id"] for one in (await api.ask("GET schedules")).json["items"]] == [
        made.json["id"]
    ]


async def test_another_schedule_under_the_key_is_a_mismatch(api: Peer) -> None:
    await api.ask(*MAKE)
    for refused in (await api.ask(*MAKE, body=b"y"), await api.ask(*PUSH)):
        assert (refused.status, refused.json["type"]) == (422, "IDEMPOTENCY_MISMATCH")


async def test_who_may_not_push_there_does_not_get_it_by_a_key(api: Peer) -> None:
    limited = await token(api, "push", queues=("mine",))
    for _ in range(2):
        assert (await limited.ask(*PUSH)).status == 403
        assert (await limited.ask(*MAKE)).status == 403
    assert (await api.ask("GET queues")).json == []


@pytest.mark.parametrize("verb", ["PATCH", "DELETE"])
async def test_elsewhere_the_header_means_nothing(api: Peer, verb: str) -> None:
    pushed = await api.ask(*PUSH)
    item = f"{verb} items/{pushed.json['id']}"
    assert (await api.ask(item, "Idempotency-Key: not one")).status == 200
