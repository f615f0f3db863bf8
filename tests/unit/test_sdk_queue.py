"""A queue answers the calls of lq: it verifies, reads, runs its handler, says what came of it."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

import pytest

from lq import Fail, Job, Mount, Queue, Request, Response, Retry
from lq.sdk.settings import SettingMissing
from lq.signature import sign, verify
from tests.support.signed import SECRET, call, header, now

if TYPE_CHECKING:
    from decimal import Decimal as Money

VECTORS = json.loads((Path(__file__).parents[1] / "data/signature_vectors.json").read_text())


class Welcome(TypedDict):
    name: str
    age: int


ADA = b'{"name":"Ada","age":36}'


async def both(queue: Queue[Any], request: Request) -> Response:
    """What a queue answers, which is the same on the loop and off it."""
    response = await queue.respond(request)
    assert await asyncio.to_thread(queue.respond_sync, request) == response
    # From within a running loop, as in a synchronous view of an async framework.
    assert queue.respond_sync(request) == response
    return response


def returning(result: object) -> Queue[Any]:
    queue = Queue[Any]("q", secret=SECRET)

    @queue.handler
    async def handle(job: Job[Any]) -> object:
        return result

    return queue


def raising(error: BaseException) -> Queue[Any]:
    queue = Queue[Any]("q", secret=SECRET)

    @queue.handler
    def handle(job: Job[Any]) -> None:
        raise error

    return queue


# What handlers take


async def test_a_handler_takes_a_job() -> None:
    queue = Queue[Welcome]("welcome", secret=SECRET)
    jobs: list[Job[Welcome]] = []

    @queue.handler
    async def send(job: Job[Welcome]) -> dict[str, str]:
        jobs.append(job)
        return {"sent to": job.payload["name"]}

    request = call(
        ADA, x_lq_queue="wel%2Fcome", x_lq_key="%C3%A9%2F1", x_lq_attempt=2, x_lq_max_attempts=6,
        x_lq_schedule="sch_1", x_lq_fire_time="2026-11-21T09:00:00.000Z", x_lq_missed=3, x_team="a",
    )  # fmt: skip
    response = await both(queue, request)
    assert response == (200, (("Content-Type", "application/json"),), b'{"sent to":"Ada"}')
    job = jobs[0]
    assert (job.id, job.queue, job.key) == ("job_1", "wel/come", "é/1")
    assert job.payload == {"name": "Ada", "age": 36}
    assert (job.attempt, job.max_attempts, job.missed) == (2, 6, 3)
    assert job.schedule == "sch_1"
    assert job.fire_time == datetime(2026, 11, 21, 9, tzinfo=UTC)
    assert job.headers["x-team"] == "a"
    assert await job.heartbeat()


async def test_what_is_missing_or_malformed_has_its_default() -> None:
    queue = Queue[Any]("q", secret=SECRET)
    jobs: list[Job[Any]] = []

    @queue.handler
    def handle(job: Job[Any]) -> None:
        jobs.append(job)

    request = call(b"1", x_lq_attempt="²", x_lq_fire_time="noon", x_lq_missed="-1")
    assert (await queue.respond(request)).status == 204
    job = jobs[0]
    assert (job.queue, job.key, job.attempt, job.fire_time, job.missed) == ("q", None, 1, None, 0)
    with pytest.raises(AttributeError):
        job.attempt = 2  # type: ignore[misc]  # it is frozen


def annotated_payload(person: Welcome) -> Any:
    return person


def bare_payload(person):  # type: ignore[no-untyped-def]  # that is what is tested
    return person


def bare_job(job):  # type: ignore[no-untyped-def]  # that is what is tested
    return job.payload


def any_job(it: Job[Any]) -> Any:
    return it.payload


def untyped_job(it: Job) -> Any:  # type: ignore[type-arg]  # that is what is tested
    return it.payload


def defaulted(person: Welcome, times: int = 1, *rest: int, **more: int) -> Any:
    return person


def optional(person: Welcome | None = None) -> Any:
    return person


async def in_the_loop(person: Welcome) -> Any:
    assert threading.current_thread() is not None
    return person


def wrapped(function: Callable[[Welcome], Any]) -> Callable[[Welcome], Any]:
    @functools.wraps(function)
    def inner(*arguments: Any) -> Any:
        return function(*arguments)

    return inner


class Instance:
    async def __call__(self, person: Welcome) -> Any:
        return person

    def method(self, person: Welcome) -> Any:
        return person


@pytest.mark.parametrize(
    "function",
    [
        annotated_payload, bare_payload, bare_job, any_job, untyped_job, defaulted, optional,
        in_the_loop, wrapped(annotated_payload), wrapped(in_the_loop), Instance(),
        Instance().method, functools.partial(defaulted, times=2), functools.partial(in_the_loop),
        lambda job: job.payload, lambda it: it,
    ],
)  # fmt: skip
async def test_the_argument_says_what_a_handler_takes(function: Callable[..., Any]) -> None:
    queue = Queue[Welcome]("q", secret=SECRET)
    queue.handler(function)
    assert (await both(queue, call(ADA))).body == ADA


async def test_a_handler_may_take_nothing() -> None:
    queue = Queue("q", secret=SECRET)

    @queue.handler
    def tick() -> str:
        return "tock"

    response = await both(queue, call())
    assert response == (200, (("Content-Type", "text/plain; charset=utf-8"),), b"tock")


@pytest.mark.parametrize("function", [lambda a, b: None, lambda *, payload: None])
def test_a_handler_with_more_arguments_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="must take one argument, the job or its payload"):
        Queue("q").handler(function)


def test_a_queue_has_one_handler() -> None:
    queue = Queue[int]("q")
    queue.handler(lambda it: it)
    with pytest.raises(TypeError, match="the queue q has a handler already"):
        queue.handler(lambda it: it)


def test_the_decorator_leaves_the_function_as_it_is() -> None:
    assert Queue[Welcome]("q").handler(annotated_payload) is annotated_payload


# Which type payloads have


async def test_the_type_may_come_from_the_handler() -> None:
    queue = Queue("q", secret=SECRET)

    @queue.handler
    def handle(job: Job[Welcome]) -> None: ...

    assert (await both(queue, call(ADA))).status == 204
    response = await both(queue, call(b'{"name":"Ada","age":"36"}'))
    assert response.body == b"payload.age: expected int, got str"


async def test_the_type_may_be_local_to_a_function() -> None:
    class Local(TypedDict):
        n: int

    queue = Queue("q", secret=SECRET)
    seen: list[Local] = []

    @queue.handler
    def handle(it: Local) -> None:
        seen.append(it)

    assert (await queue.respond(call(b'{"n":"x"}'))).body == b"payload.n: expected int, got str"
    assert (await queue.respond(call(b'{"n":1}'))).status == 204


async def test_the_type_may_be_quoted() -> None:
    queue = Queue("q", secret=SECRET)

    def handle(job: Any) -> None: ...

    handle.__annotations__["job"] = Job["Welcome"]
    queue.handler(handle)
    assert (await queue.respond(call(b"{}"))).status == 422


async def test_a_type_whose_fields_nobody_knows_is_an_error() -> None:
    class Bill(TypedDict):
        sum: Money

    queue = Queue[Bill]("q", secret=SECRET)
    queue.handler(lambda it: it)
    response = await both(queue, call(b"{}"))
    assert response.status == 500
    assert response.body == b"payloads of type Bill cannot be checked: name 'Money' is not defined"


async def test_what_only_a_handler_takes_is_checked_as_well() -> None:
    class Bill(TypedDict):
        sum: Money

    queue = Queue("q", type=Welcome, secret=SECRET)

    def handle(bill: Any) -> None: ...

    handle.__annotations__["bill"] = Bill
    queue.handler(handle)
    response = await both(queue, call(ADA))
    assert (response.status, b"payloads of type Bill" in response.body) == (500, True)


async def test_the_type_may_be_an_argument() -> None:
    queue = Queue("q", type=Welcome, secret=SECRET)
    queue.handler(annotated_payload)
    assert (await both(queue, call(b"{}"))).status == 422


async def test_the_type_may_come_from_a_subclass() -> None:
    class Welcomes(Queue[Welcome]):
        pass

    queue = Welcomes("q", secret=SECRET)
    queue.handler(annotated_payload)
    assert (await both(queue, call(b"{}"))).status == 422


async def test_a_type_that_only_checkers_see_leaves_the_queue_its_own() -> None:
    queue = Queue[int]("q", secret=SECRET)

    @queue.handler  # type: ignore[arg-type]  # what it says is not looked at
    def handle(it: Money) -> Any:
        return it

    assert (await both(queue, call(b"1"))).body == b"1"
    assert (await both(queue, call(b"1.5"))).status == 422


async def test_a_type_that_nobody_knows_at_run_time_is_an_error() -> None:
    queue = Queue("q", secret=SECRET)

    @queue.handler
    def handle(job: Job[Money]) -> None: ...

    response = await both(queue, call(b"1"))
    assert (response.status, b"the type Money of what the handler of q takes" in response.body) == (
        500,
        True,
    )


async def test_a_handler_gets_what_it_says_it_takes() -> None:
    @dataclass
    class Person:
        name: str
        age: int

    queue = Queue("q", type=Welcome, secret=SECRET)
    seen: list[Person] = []

    @queue.handler  # type: ignore[arg-type]  # the same fields in another shape
    def handle(person: Person) -> None:
        seen.append(person)

    assert (await queue.respond(call(ADA))).status == 204
    assert seen == [Person("Ada", 36)]


# How handlers end


@pytest.mark.parametrize(
    ("result", "status", "content_type", "body"),
    [
        (None, 204, None, b""),
        ({"a": 1}, 200, "application/json", b'{"a":1}'),
        ([], 200, "application/json", b"[]"),
        ("text", 200, "text/plain; charset=utf-8", b"text"),
        (b"\x00\xff", 200, "application/octet-stream", b"\x00\xff"),
        (datetime(2026, 1, 1, tzinfo=UTC), 200, "application/json", b'"2026-01-01T00:00:00Z"'),
        (Response(202, (("x-a", "b"),), b"own"), 202, None, b"own"),
        (object(), 200, "text/plain; charset=utf-8", b"not kept: object has no form in JSON"),
    ],
)
async def test_a_result_is_the_answer(
    result: object, status: int, content_type: str | None, body: bytes
) -> None:
    response = await both(returning(result), call(b"1"))
    assert (response.status, header(response, "content-type"), response.body) == (
        status,
        content_type,
        body,
    )


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "status", "body", "extra"),
    [
        (Retry(after="10m"), 500, b"the handler asked to retry", ("Retry-After", "600")),
        (Retry("busy", after=timedelta(milliseconds=1)), 500, b"busy", ("Retry-After", "1")),
        (Retry("busy"), 500, b"busy", None),
        (Fail("no such user"), 422, b"no such user", ("x-lq-retry", "no")),
        (Fail(), 422, b"the handler gave up", ("x-lq-retry", "no")),
        (ValueError("a\nb\r\n  c"), 500, b"ValueError: a b c", None),
        (KeyError("x"), 500, b"KeyError: 'x'", None),
        (RuntimeError(), 500, b"RuntimeError", None),
        (asyncio.CancelledError("lost"), 500, b"CancelledError: lost", None),
        (TimeoutError("\ud800"), 500, b"TimeoutError: ?", None),
        (StopIteration(1), 500, b"RuntimeError: the handler raised StopIteration", None),
        (Fail(OSError("disk")), 422, b"disk", ("x-lq-retry", "no")),  # type: ignore[arg-type]
        (Unspeakable(), 500, b"Unspeakable: <exception str() failed>", None),
        (ExceptionGroup("two", [ValueError("a")]), 500, b"ExceptionGroup: two (1 sub-exc", None),
    ],
)
async def test_what_a_handler_raises_is_the_answer(
    error: BaseException, status: int, body: bytes, extra: tuple[str, str] | None
) -> None:
    response = await both(raising(error), call(b"1"))
    assert response.status == status
    assert response.body.startswith(body)
    assert b"Traceback" not in response.body
    assert response.headers[1:] == ((extra,) if extra else ())


async def test_the_app_keeps_the_traceback(caplog: pytest.LogCaptureFixture) -> None:
    await raising(ValueError("boom")).respond(call(b"1"))
    record = caplog.records[-1]
    assert (record.name, record.levelno) == ("lq", logging.ERROR)
    assert "in handle" in caplog.text
    assert "boom" in caplog.text


@pytest.mark.parametrize("after", ["soon", "5", 5, timedelta(seconds=-1)])
def test_a_wait_that_is_none_is_refused(after: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        Retry(after=after)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_what_is_meant_for_the_process_goes_through(error: BaseException) -> None:
    with pytest.raises(type(error)):
        raising(error).respond_sync(call(b"1"))


async def test_a_call_can_be_cancelled() -> None:
    queue = Queue[int]("q", secret=SECRET)
    begun = asyncio.Event()
    ended: list[str] = []

    @queue.handler
    async def handle(it: int) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    task = asyncio.create_task(queue.respond(call(b"1")))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cleaned up"]


async def test_many_synchronous_handlers_run_at_once() -> None:
    queue = Queue[int]("q", secret=SECRET)
    together = threading.Barrier(16)  # a queue's concurrency, unless it is set otherwise

    @queue.handler
    def handle(it: int) -> None:
        together.wait(10)

    responses = await asyncio.gather(*(queue.respond(call(b"1")) for _ in range(16)))
    assert {response.status for response in responses} == {204}


async def test_a_synchronous_handler_does_not_hold_up_the_loop() -> None:
    queue = Queue[int]("q", secret=SECRET)
    release = threading.Event()

    @queue.handler
    def handle(it: int) -> None:
        assert release.wait(10)

    task = asyncio.create_task(queue.respond(call(b"1")))
    await asyncio.sleep(0)  # the loop goes on: nothing else could open the gate
    release.set()
    assert (await task).status == 204


# Whom they answer


async def test_a_head_is_answered_under_the_newest_secret() -> None:
    queue = Queue("q", secret=["newest", "older"])
    response = queue.respond_sync(Request("HEAD", "/", (), b""))
    assert (response.status, response.body) == (200, b"")
    signature = header(response, "x-lq-signature")
    assert verify(signature, b"", ["newest"], now()) == "newest"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
async def test_the_vectors_are_accepted_at_their_time_and_refused_now(vector: Any) -> None:
    body = bytes.fromhex(vector["body_hex"])
    assert verify(vector["header"], body, [vector["secret"]], vector["timestamp"])
    queue = Queue("q", secret=vector["secret"])
    response = await both(queue, call(body, x_lq_signature=vector["header"]))
    assert (response.status, b"is too far from now" in response.body) == (401, True)


@pytest.mark.parametrize("secret", ["newest", "older"])
async def test_a_call_may_be_signed_with_any_of_the_secrets(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LQ_SECRET", "newest, older")
    queue = Queue("q")
    queue.handler(lambda it: it)
    assert (await both(queue, call(b"1", secret=secret))).status == 200
    assert (await both(queue, call(b"", None, secret=secret))).status == 204
    assert (await both(queue, call(b"1", secret="oldest"))).status == 401


def digest(t: int) -> str:
    return sign(SECRET, b"1", t).rpartition("=")[2]


@pytest.mark.parametrize(
    ("signature", "says"),
    [
        (lambda t: None, "there is no x-lq-signature"),
        (lambda t: "", "there is no x-lq-signature"),
        (lambda t: sign(SECRET, b"2", t), "another secret, or for another body"),
        (lambda t: sign("other", b"1", t), "another secret, or for another body"),
        (lambda t: sign(SECRET, b"1", t - 125_000), "too far from now"),
        (lambda t: sign(SECRET, b"1", t + 125_000), "too far from now"),
        (lambda t: sign(SECRET, b"1", t // 10), "not 13 digits"),
        (lambda t: sign(SECRET, b"1", t * 10), "not 13 digits"),
        (lambda t: f"v=1,t=0{t},s={digest(t)}", "not 13 digits"),
        (lambda t: f"v=1,t=+{t},s={digest(t)}", "not 13 digits"),
        (lambda t: f"v=1,t= {t},s={digest(t)}", "not 13 digits"),
        (lambda t: f"v=1,t={t}.0,s={digest(t)}", "not 13 digits"),
        (lambda t: f"v=1,t={t},s={digest(t).upper()}", "not of the form"),
        (lambda t: f"v=1,t={t},s={digest(t)[:-2]}", "not of the form"),
        (lambda t: f"v=1, t={t}, s={digest(t)}", "not of the form"),
        (lambda t: f"v=1,t={t},s={digest(t)},s={digest(t)}", "not of the form"),
        (lambda t: f"t={t},v=1,s={digest(t)}", "not of the form"),
        (lambda t: f"v=1,t={t},s={digest(t)}\n", "not of the form"),
        (lambda t: f" v=1,t={t},s={digest(t)}", "not of the form"),
        (lambda t: f"v=1,t={t},s={digest(t)}, v=1,t={t},s={digest(t)}", "not of the form"),
        (lambda t: f"v=2,t={t},s={digest(t)}", "not of version 1"),
    ],
)
async def test_a_signature_must_hold(signature: Callable[[int], str | None], says: str) -> None:
    request = call(b"1", x_lq_signature=signature(now()))
    response = await both(returning("ran"), request)
    assert response.status == 401
    assert says in response.body.decode()


@pytest.mark.parametrize("off_ms", [-110_000, 0, 110_000])
async def test_a_clock_may_be_two_minutes_off(off_ms: int) -> None:
    request = call(b"1", at=now() + off_ms)
    assert (await both(returning("ran"), request)).body == b"ran"


async def test_the_boundary_of_body_and_time_cannot_be_moved() -> None:
    request = call(b"12")
    moved = (("x-lq-signature", dict(request.headers)["X-Lq-Signature"].replace("t=", "t=2")),)
    response = await both(returning("ran"), Request("POST", "/", moved, b"1"))
    assert (response.status, b"13 digits" in response.body) == (401, True)


async def test_two_signatures_are_refused() -> None:
    request = call(b"1")
    twice = request._replace(headers=(*request.headers, request.headers[0]))
    response = await both(returning("ran"), twice)
    assert (response.status, response.body) == (401, b"there is more than one x-lq-signature")


async def test_a_body_that_was_changed_is_refused() -> None:
    response = await both(returning("ran"), call(b"1")._replace(body=b"1 "))
    assert response.status == 401


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"x_lq_signature": None}, "there is no x-lq-signature"),
        ({"webhook_signature": None}, "no webhook-signature that a HEAD never has"),
        ({"webhook_id": None}, "no webhook-signature that a HEAD never has"),
        ({"webhook_signature": "v1,AAAA"}, "webhook-signature does not hold"),
        ({"webhook_id": "job_2"}, "webhook-signature does not hold"),
        ({"x_lq_id": "job_2"}, "webhook-signature does not hold"),
        ({"webhook_timestamp": "1"}, "webhook-signature does not hold"),
        ({"webhook_timestamp": "1764000000"}, "too far from now"),
    ],
)
async def test_an_empty_body_needs_both_signatures(headers: dict[str, Any], says: str) -> None:
    response = await both(returning("ran"), call(b"", None, **headers))
    assert response.status == 401
    assert says in response.body.decode()
    assert (await both(returning("ran"), call(b"", None))).body == b"ran"


async def test_what_a_head_was_answered_with_signs_no_call() -> None:
    queue = returning("ran")
    head = queue.respond_sync(Request("HEAD", "/", (), b""))
    response = await both(queue, Request("POST", "/", head.headers, b""))
    assert response.status == 401


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_a_call_may_have_any_method_of_lq(method: str) -> None:
    assert (await both(returning("ran"), call(b"1", method=method))).body == b"ran"


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "post", "BREW"])
async def test_other_methods_are_none_of_lq(method: str) -> None:
    response = await both(returning("ran"), call(b"1", method=method))
    assert (response.status, header(response, "allow")) == (
        405,
        "HEAD, GET, POST, PUT, PATCH, DELETE",
    )


# What is missing


async def test_without_a_secret_nothing_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LQ_SECRET", raising=False)
    queue = Queue("q")
    queue.handler(lambda it: it)
    for request in (call(b"1"), Request("HEAD", "/", (), b"")):
        response = await both(queue, request)
        assert response.status == 500
        assert response.body.decode() == (
            "there is no signing secret: set LQ_SECRET, or give Queue(secret=…)"
        )
    monkeypatch.setenv("LQ_SECRET", SECRET)
    assert (await both(queue, call(b"1"))).status == 200


async def test_without_a_handler_a_call_fails() -> None:
    response = await both(Queue("q", secret=SECRET), call(b"1"))
    assert (response.status, response.body) == (500, b"the queue q has no handler in this app")


async def test_an_unsuitable_type_is_answered_too(caplog: pytest.LogCaptureFixture) -> None:
    @dataclass
    class Order:
        n: int

    queue = Queue[Any]("q", type=cast(Any, Welcome | Order), secret=SECRET)
    queue.handler(lambda it: it)
    response = await both(queue, call(b"1"))
    assert response.status == 500
    assert b"cannot be checked" in response.body


# Where they are


def test_a_target_is_the_path_below_the_base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LQ_BASE_URL", "https://app.example.com/api/")
    assert Queue("q", path="/lq/q").target == "https://app.example.com/api/lq/q"
    assert (
        Queue("q", path="/x", base_url="https://b.example.com").target == "https://b.example.com/x"
    )
    assert Queue("q", path="/x", target="https://c.example.com/").target == "https://c.example.com/"
    assert Queue("q").target is None
    handled = Queue[int]("é/1")
    handled.handler(lambda it: it)
    assert handled.target == "https://app.example.com/api/lq/%C3%A9/1"


def test_a_target_needs_a_base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LQ_BASE_URL", raising=False)
    with pytest.raises(SettingMissing, match=r"set LQ_BASE_URL, or give Queue\(base_url=…\)"):
        Queue("q", path="/x").target  # noqa: B018 (a property that raises)


def test_a_mount_finds_endpoints_by_path() -> None:
    one, two = Queue("é/1"), Queue("two", path="/two/")
    mount = Mount(one, two)
    assert mount.find("/lq/é/1") is one
    assert mount.find("/lq/%C3%A9/1") is one
    assert mount.find("/lq/%c3%a9/1/") is one
    assert mount.find("/two") is two
    assert mount.find("/") is None
    assert mount.find("/lq/%ff") is None
    assert list(mount) == [one, two]
    with pytest.raises(ValueError, match="two handlers have the path"):
        Mount(one, Queue("x", path="/lq/é/1"))
