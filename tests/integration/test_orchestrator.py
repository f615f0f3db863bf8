"""Handlers by name: with lq inside the app, and with a daemon beside it. One API in both."""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from lq import ApiError, Fail, Job, Orchestrator, PayloadError, Retry, Unreachable, testing
from lq.clock import SystemClock
from lq.errors import InUse, ValidationError
from lq.sdk import asgi
from lq.sdk.http import Request
from lq.sdk.records import Record, ScheduleType, Status
from tests.e2e.served import servers
from tests.support.app import Beside, serving
from tests.support.handler import GIVE_UP_S, Handler
from tests.support.signed import SECRET, call


class Reminder(TypedDict):
    name: str
    age: int


ADA: Reminder = {"name": "Ada", "age": 36}
AT_ONCE = 15
ENDED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
SECOND = timedelta(seconds=1)


class Handled:
    """What the handlers of a test were given."""

    def __init__(self) -> None:
        self.jobs: list[Job[Any]] = []
        self.in_at_once = threading.Barrier(AT_ONCE)
        self.go_on = threading.Event()

    async def reminder(self, job: Job[Reminder]) -> dict[str, str]:
        self.jobs.append(job)
        return {"sent to": job.payload["name"]}

    def digest(self, payload: str) -> str:
        return payload.upper()

    async def how(self, how: str) -> object:
        match how:
            case "fail":
                raise Fail("never")
            case "retry":
                raise Retry("busy", after="1h")
            case "exit":
                raise SystemExit(3)
            case "odd":
                return object()
        raise ValueError(how)

    def blocks(self, how: str) -> None:
        if how == "exit":
            raise SystemExit(4)
        self.in_at_once.wait(GIVE_UP_S)
        self.go_on.wait(GIVE_UP_S)


@pytest.fixture
def handled() -> Handled:
    return Handled()


@pytest.fixture(params=["embedded", "memory", "daemon"])
async def app(
    request: pytest.FixtureRequest, handled: Handled, folder: Path, tmp_path: Path
) -> AsyncIterator[Orchestrator]:
    """An app with an orchestrator, in each of the ways it can be run."""
    handlers: dict[str, Callable[..., Any]] = {
        "bookingReminder": handled.reminder,
        "digest": handled.digest,
        "how é/1": handled.how,
        "blocks": handled.blocks,
    }
    if request.param != "daemon":
        db = "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path / 'jobs.db'}"
        async with Orchestrator(handlers, db=db) as orchestrator:
            yield orchestrator
        return
    with Beside(folder).running() as beside:
        mount = Orchestrator(handlers, secret=beside.secret)
        async with (
            serving(mount) as url,
            Orchestrator(handlers, base_url=url, socket=beside.socket) as orchestrator,
        ):
            yield orchestrator


async def becomes(app: Orchestrator, record: Record, *statuses: Status) -> Record:
    """A job once it is in one of these states, ended if none is named."""
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            found = await app.job(record.id)
            assert found is not None
            if found.status in (statuses or ENDED):
                return found
            await asyncio.sleep(0.01)


# -- jobs ----------------------------------------------------------------------------------------


async def test_a_job_goes_to_its_handler(app: Orchestrator, handled: Handled) -> None:
    record = await app.enqueue("bookingReminder", ADA, key="user/1 é")
    assert record.status in {Status.RUNNING, Status.SCHEDULED}
    assert (record.queue, record.custom_id) == ("bookingReminder", "user/1 é")
    done = await becomes(app, record)
    assert (done.status, done.count, done.reason) == (Status.COMPLETED, 1, None)
    assert done.payload == ADA
    [job] = handled.jobs
    assert (job.id, job.queue, job.key) == (record.id, "bookingReminder", "user/1 é")
    assert (job.payload, job.attempt, job.max_attempts) == (ADA, 1, 6)


async def test_the_handler_itself_names_its_queue(app: Orchestrator, handled: Handled) -> None:
    record = await app.enqueue(handled.digest, "hello")
    assert (await becomes(app, record)).status is Status.COMPLETED


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"name": "Ada"}, "payload.age: is missing"),
        ({"name": "Ada", "age": "36"}, "payload.age: expected int, got str"),
        ("Ada", "payload: "),
    ],
)
async def test_what_does_not_fit_never_leaves(app: Orchestrator, payload: Any, error: str) -> None:
    with pytest.raises(PayloadError, match=error):
        await app.enqueue("bookingReminder", payload, key="k")
    assert await app.job("bookingReminder", key="k") is None


async def test_an_unknown_handler_is_named(app: Orchestrator) -> None:
    with pytest.raises(ValidationError, match="no handler 'bookingreminder'; there are blocks, b"):
        await app.enqueue("bookingreminder", ADA)


async def test_a_key_is_the_handle_of_a_job_that_waits(app: Orchestrator) -> None:
    first = await app.enqueue("bookingReminder", ADA, key="k", delay="2.5 hrs")
    assert first.run_at is not None
    assert abs(first.run_at - datetime.now(UTC) - timedelta(hours=2.5)) < 60 * SECOND
    assert first.status is Status.SCHEDULED
    again = await app.enqueue("bookingReminder", {"name": "Bo", "age": 1}, key="k", delay="1y")
    assert again.id == first.id
    found = await app.job("bookingReminder", key="k")
    assert found is not None
    assert found.payload == {"name": "Bo", "age": 1}
    gone = await app.cancel("bookingReminder", key="k")
    assert gone is not None
    assert (gone.id, gone.status) == (first.id, Status.CANCELLED)
    assert await app.cancel("bookingReminder", key="k") is None
    with pytest.raises(ApiError, match="CANCELLED already") as refused:
        await app.cancel(first.id)
    assert refused.value.status == 409


async def test_what_is_not_there_is_none(app: Orchestrator) -> None:
    assert await app.job("job_1") is None
    assert await app.cancel("job_1") is None
    assert await app.job("sch_" + "0" * 32) is None
    assert await app.cancel("sch_" + "0" * 32) is None
    with pytest.raises(TypeError, match="by its id, or by its handler and key="):
        await app.job(str.upper)


@pytest.mark.parametrize("delay", ["-3 min", -5, 0, "0", timedelta(seconds=-1)])
async def test_a_delay_that_is_past_means_now(app: Orchestrator, delay: Any) -> None:
    record = await app.enqueue("digest", "x", delay=delay)
    assert (await becomes(app, record)).status is Status.COMPLETED


@pytest.mark.parametrize(
    "delay", ["soon", "2 days 3 hours", "1d12h", "", float("nan"), True, b"1s"]
)
async def test_a_delay_in_other_words_is_refused(app: Orchestrator, delay: Any) -> None:
    with pytest.raises(ValidationError, match=r"delay: expected a duration such as \"2 days\""):
        await app.enqueue("digest", "x", delay=delay)


async def test_options_are_refused_by_their_names(app: Orchestrator) -> None:
    with pytest.raises(TypeError, match="'delayed' is no option"):
        await app.enqueue("digest", "x", delayed="1s")  # type: ignore[call-overload]
    with pytest.raises(ApiError, match="x-lq-retry"):
        await app.enqueue("digest", "x", retry="often")
    with pytest.raises(ApiError, match="x-lq-key"):
        await app.enqueue("digest", "x", key="")


# -- how handlers end ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "how", "status", "reason"),
    [
        ("how é/1", "fail", Status.FAILED, "never"),
        ("how é/1", "retry", Status.SCHEDULED, "busy"),
        ("how é/1", "disk full", Status.SCHEDULED, "ValueError: disk full"),
        ("how é/1", "exit", Status.SCHEDULED, "HandlerExit: the handler called sys.exit(3)"),
        ("blocks", "exit", Status.SCHEDULED, "HandlerExit: the handler called sys.exit(4)"),
    ],
)
async def test_no_handler_takes_the_app_down(
    app: Orchestrator, name: str, how: str, status: Status, reason: str
) -> None:
    record = await app.enqueue(name, how)
    async with asyncio.timeout(GIVE_UP_S):
        while not (record.reason and record.status is status):
            record = (await app.job(record.id)) or record
    assert record.count == 1
    assert record.reason.removeprefix("status 422: ").removeprefix("status 500: ") == reason
    assert (await becomes(app, await app.enqueue("digest", "x"))).status is Status.COMPLETED


async def test_a_result_that_is_not_json_is_not_worth_a_retry(app: Orchestrator) -> None:
    record = await app.enqueue("how é/1", "odd")
    assert (await becomes(app, record)).status is Status.COMPLETED


async def test_a_handler_that_blocks_holds_up_neither_loop_nor_others(
    app: Orchestrator, handled: Handled
) -> None:
    """More of them at once than a pool of the standard library has threads here."""
    records = [await app.enqueue("blocks", "a while") for _ in range(AT_ONCE)]
    assert (await becomes(app, await app.enqueue("digest", "x"))).status is Status.COMPLETED
    handled.go_on.set()
    for record in records:
        assert (await becomes(app, record)).status is Status.COMPLETED


# -- crons ---------------------------------------------------------------------------------------


async def test_an_interval_fires_as_often_as_it_may(app: Orchestrator) -> None:
    cron = await app.cron("digest", "hi", every="1 sec", times=2)
    assert (cron.status, cron.schedule_type) == (Status.SCHEDULED, ScheduleType.VERCEL_MS)
    assert (cron.schedule, cron.count_limit, cron.queue) == ("1s", 2, "digest")
    done = await becomes(app, cron)
    assert (done.status, done.count, done.run_at) == (Status.COMPLETED, 2, None)


async def test_a_cron_expression_in_its_zone(app: Orchestrator) -> None:
    cron = await app.cron("0 8 * * *", "digest", "hi", timezone="Europe/Berlin", key="morning")
    assert (cron.schedule_type, cron.schedule) == (ScheduleType.CRON, "0 8 * * *")
    assert cron.custom_id == "morning"
    assert cron.run_at is not None
    assert cron.run_at.minute == 0
    found = await app.job(cron.id)
    assert found is not None
    assert (found.payload, found.count, found.count_limit) == ("hi", 0, None)
    gone = await app.cancel(cron.id)
    assert gone is not None
    assert gone.id == cron.id
    assert await app.job(cron.id) is None


async def test_the_same_cron_is_one(app: Orchestrator) -> None:
    first = await app.cron("digest", "hi", every="2 days")
    again = await app.cron("digest", "hi", every="2 days")
    assert (again.id, again.run_at) == (first.id, first.run_at)
    assert first.schedule == "2d"
    with pytest.raises(ValidationError, match="two crons are called 'digest E=2d': give one a key"):
        app.cron("digest", "bye", every="2 days")
    other = await app.cron("digest", "bye", every="2 days", key="bye")
    assert other.id != first.id


@pytest.mark.parametrize(
    ("every", "error"),
    [
        ("fortnight", "every: expected a duration"),
        ("-3 min", "every: is more than nothing"),
        (0, "every: is more than nothing"),
        ("11y", "every: is more than nothing, at most 10 years"),
    ],
)
async def test_an_interval_that_is_none_is_refused(
    app: Orchestrator, every: Any, error: str
) -> None:
    with pytest.raises(ValidationError, match=error):
        app.cron("digest", "hi", every=every)


async def test_a_cron_that_is_refused_says_so(app: Orchestrator) -> None:
    with pytest.raises(ApiError, match="x-lq-schedule"):
        await app.cron("0 25 * * *", "digest", "hi")
    with pytest.raises(PayloadError, match="payload"):
        app.cron("0 8 * * *", "digest", 5)


async def test_a_declaration_that_is_refused_leaves_nothing_open(tmp_path: Path) -> None:
    place = f"sqlite:///{tmp_path / 'jobs.db'}"
    app = Orchestrator({"digest": str.upper}, db=place)
    app.cron("0 25 * * *", "digest", "x")
    with pytest.raises(ApiError, match="x-lq-schedule"):
        await app.open()
    async with Orchestrator({"digest": str.upper}, db=place):
        pass


async def test_a_daemon_that_is_away_keeps_no_app_from_starting(folder: Path) -> None:
    app = Orchestrator({"digest": str.upper}, base_url="http://x", socket=folder / "socket")
    async with app:
        cron = app.cron("0 8 * * *", "digest", "x")
        with pytest.raises(Unreachable):
            await cron
        await asyncio.to_thread(app.cron, "0 9 * * *", "digest", "x")


async def test_what_was_declared_before_is_stored_when_it_opens(tmp_path: Path) -> None:
    place = f"sqlite:///{tmp_path / 'jobs.db'}"

    def declared(payload: str) -> tuple[Orchestrator, Any]:
        app = Orchestrator({"digest": str.upper}, db=place)
        return app, app.cron("0 8 * * *", "digest", payload)

    app, cron = declared("one")
    async with app:
        first = await cron
    app, cron = declared("two")
    async with app:
        found = await app.job(first.id)
        assert found is not None
        assert (found.payload, found.run_at) == ("two", first.run_at)


# -- the ways it is run ------------------------------------------------------------------------


def test_code_that_is_not_async(handled: Handled, tmp_path: Path) -> None:
    app = Orchestrator({"digest": handled.digest}, db=f"sqlite:///{tmp_path / 'jobs.db'}")
    app.cron("0 8 * * *", "digest", "x")
    with app:
        record = app.enqueue_sync("digest", "x")
        give_up = time.monotonic() + GIVE_UP_S
        while (found := app.job_sync(record.id)) is None or found.status is not Status.COMPLETED:
            assert time.monotonic() < give_up
        later = app.enqueue_sync("digest", "x", delay="1h", key="k")
        assert app.cancel_sync("digest", key="k").id == later.id  # type: ignore[union-attr]
    with app:  # again, in another thread
        assert app.job_sync(record.id) == found


async def test_a_handler_in_a_thread_may_enqueue(tmp_path: Path) -> None:
    app: Orchestrator
    followed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def first(payload: int) -> None:
        app.enqueue_sync("second", payload + 1)

    def second(payload: int) -> None:
        assert payload == 2
        loop.call_soon_threadsafe(followed.set)

    app = Orchestrator({"first": first, "second": second}, db="sqlite://")
    async with app:
        await app.enqueue("first", 1)
        await asyncio.wait_for(followed.wait(), GIVE_UP_S)
        with pytest.raises(RuntimeError, match="use the async verb"):
            app.enqueue_sync("first", 1)


async def test_it_opens_itself_when_it_is_used(handled: Handled) -> None:
    app = Orchestrator({"digest": handled.digest}, db=":memory:")
    record = await app.enqueue("digest", "x")
    assert (await becomes(app, record)).status is Status.COMPLETED
    await app.close()


async def test_a_lifespan_of_a_framework(handled: Handled, tmp_path: Path) -> None:
    app = Orchestrator({"digest": handled.digest}, db=f"sqlite:///{tmp_path / 'jobs.db'}")
    async with app.lifespan(object()) as state:
        assert state is None
        other = Orchestrator({"digest": handled.digest}, db=f"sqlite:///{tmp_path / 'jobs.db'}")
        with pytest.raises(InUse, match="in use by pid"):
            await other.enqueue("digest", "x")


async def test_a_handler_that_hangs_in_a_thread_holds_up_no_stop(tmp_path: Path) -> None:
    release = threading.Event()
    began = threading.Event()

    def hangs(_: str) -> None:
        began.set()
        release.wait(GIVE_UP_S)

    place = f"sqlite:///{tmp_path / 'jobs.db'}"
    try:
        async with Orchestrator({"hangs": hangs}, db=place, drain_timeout="10ms") as app:
            record = await app.enqueue("hangs", "x")
            await asyncio.to_thread(began.wait, GIVE_UP_S)
        async with Orchestrator({"hangs": str.upper}, db=place) as app:
            assert (await becomes(app, record)).status is Status.COMPLETED
    finally:
        release.set()


async def test_a_job_may_take_no_longer_than_its_timeout() -> None:
    async def hangs(_: str) -> None:
        await asyncio.Event().wait()

    async with Orchestrator({"hangs": hangs}, db="sqlite://", retry=0) as app:
        record = await becomes(app, await app.enqueue("hangs", "x", timeout="20ms"))
        assert record.status is Status.FAILED
        assert record.reason == "timeout: the handler had not ended after 20ms"


@pytest.mark.parametrize(
    "db",
    [
        "postgres://user:canary@host/db",
        "jobs.db",
        "sqlite:jobs.db",
        "sqlite:///",
        "sqlite://host/x",
    ],
)
def test_a_database_that_it_cannot_be(handled: Handled, db: str) -> None:
    with pytest.raises(ValidationError, match=r"db: expected .sqlite:///jobs") as refused:
        Orchestrator({"digest": handled.digest}, db=db)
    assert "canary" not in str(refused.value)


def test_names_that_no_queue_can_have(handled: Handled) -> None:
    for name in ("", "a/items/b", "n\0", "x" * 256):
        with pytest.raises(ValidationError, match="handlers: the name"):
            Orchestrator({name: handled.digest}, db="sqlite://")
    with pytest.raises(ValidationError, match="at least one"):
        Orchestrator({}, db="sqlite://")


def test_a_payload_that_is_too_large() -> None:
    with (
        Orchestrator({"digest": str.upper}, db="sqlite://") as app,
        pytest.raises(ApiError, match="at most") as refused,
    ):
        app.enqueue_sync("digest", "x" * (1 << 21))
    assert refused.value.status == 413


# -- the endpoint ------------------------------------------------------------------------------


@pytest.fixture
def endpoint(handled: Handled) -> Orchestrator:
    return Orchestrator({"digest": handled.digest, "how é/1": handled.how}, secret=SECRET)


@pytest.mark.parametrize(
    ("path", "headers", "end"),
    [
        ("/lq", {"x_lq_queue": "digest"}, (200, b"X")),
        ("/lq/digest", {}, (200, b"X")),
        ("/lq/how%20%C3%A9%2F1", {}, (500, b"ValueError: x")),
        ("/lq/digest", {"x_lq_queue": "how%20%C3%A9%2F1"}, (500, b"ValueError: x")),
        ("/lq", {}, (404, b"there is no handler 'lq' in this app")),
        ("/lq", {"x_lq_queue": "nix"}, (404, b"there is no handler 'nix' in this app")),
    ],
)
async def test_one_mount_point_serves_all(
    endpoint: Orchestrator, path: str, headers: dict[str, Any], end: tuple[int, bytes]
) -> None:
    request = call(b"x", "text/plain", path=path, **headers)
    for response in (
        await endpoint.respond(request),
        await asyncio.to_thread(endpoint.respond_sync, request),
    ):
        assert (response.status, response.body) == end


async def test_it_proves_its_secret_and_asks_for_lq_s(endpoint: Orchestrator) -> None:
    head = await endpoint.respond(Request("HEAD", "/lq", (), b""))
    assert head.status == 200
    assert dict(head.headers)["x-lq-signature"].startswith("v=1,t=")
    stranger = call(b"x", "text/plain", secret="lqs_" + "00" * 32, x_lq_queue="digest")
    assert (await endpoint.respond(stranger)).status == 401


# -- background functions ----------------------------------------------------------------------


async def exits(payload: str) -> None:
    raise SystemExit(payload)


@pytest.mark.parametrize(
    ("name", "verb", "body"),
    [
        ("digest", "complete", b"X"),
        ("how", "fail", b"ValueError: x"),
        ("exits", "fail", b"HandlerExit: the handler called sys.exit('x')"),
        ("nix", None, b""),
    ],
)
async def test_a_background_function_reports_how_it_ended(
    handled: Handled, name: str, verb: str | None, body: bytes
) -> None:
    handlers = {"digest": handled.digest, "how": handled.how, "exits": exits}
    app = Orchestrator(handlers, background_url="https://example.com/bg", secret=SECRET)
    async with Handler(SystemClock(), SECRET) as lq:
        told: dict[str, Any] = {"x_lq_queue": name, "x_lq_callback": lq.url("/callbacks/t")}
        response = await app.respond(call(b"x", "text/plain", path="/bg", **told))
        assert response.status == (404 if verb is None else 202)
        assert [(heard.path, heard.body) for heard in lq.calls] == (
            [] if verb is None else [(f"/callbacks/t/{verb}", body)]
        )


def test_jobs_go_to_the_background_with_completion_by_callback(handled: Handled) -> None:
    app = Orchestrator({"digest": handled.digest}, background_url="https://example.com/bg")
    _, told = app.queue("digest").request("x", {}, None)
    assert (told["target"], told["completion"]) == ("https://example.com/bg", "callback")
    embedded = Orchestrator(
        {"digest": handled.digest},
        base_url="https://example.com",
        background_url="https://example.com/bg",
        secret=SECRET,
        db="sqlite://",
    )
    _, told = embedded.queue("digest").request("x", {}, None)
    assert told["target"] == "handler:digest"
    assert "completion" not in told


# -- frameworks --------------------------------------------------------------------------------


@pytest.mark.parametrize("mounted", ["embedded", "endpoint"])
def test_in_starlette(handled: Handled, tmp_path: Path, mounted: str) -> None:
    db = f"sqlite:///{tmp_path / 'jobs.db'}" if mounted == "embedded" else None
    orchestrator = Orchestrator({"digest": handled.digest}, db=db, secret=testing.SECRET)

    async def enqueue(request: Any) -> JSONResponse:
        record = await orchestrator.enqueue("digest", "x")
        return JSONResponse((await becomes(orchestrator, record)).status)

    routes = [Route("/enqueue", enqueue), Mount("/", asgi.Handlers(orchestrator))]
    app = Starlette(routes=routes, lifespan=orchestrator.lifespan)
    made = testing.signed_request(orchestrator, "x", name="digest")
    for _ in range(2):  # a restart of the server
        with servers.asgi(app) as port:
            url = f"http://127.0.0.1:{port}"
            request = urllib.request.Request(url + made.path, made.body, made.headers)
            with urllib.request.urlopen(request) as answer:
                assert answer.read() == b"X"
            if db is not None:
                with urllib.request.urlopen(f"{url}/enqueue") as answer:
                    assert answer.read() == b'"COMPLETED"'
