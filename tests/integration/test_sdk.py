"""Push, call, result: apps on a real port, called by a real daemon."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict

import pytest

from lq import ApiError, Fail, Job, PayloadError, Queue, Retry, Unreachable, schedule
from tests.support.app import Beside, serving


class Welcome(TypedDict):
    name: str
    age: int


ADA: Welcome = {"name": "Ada", "age": 36}
CANARY = "canary-4111-1111"


@pytest.fixture
def beside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Beside]:
    """A running daemon, and the environment of an app that is its own."""
    with Beside(folder).running() as running:
        monkeypatch.setenv("LQ_SOCKET", str(running.socket))
        monkeypatch.setenv("LQ_DATA_DIR", str(folder))
        monkeypatch.setenv("LQ_SECRET", running.secret)
        monkeypatch.delenv("LQ_API_URL", raising=False)
        yield running


@pytest.mark.parametrize("is_sync", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_job_goes_to_its_handler_and_its_result_to_history(
    beside: Beside, monkeypatch: pytest.MonkeyPatch, is_sync: bool, is_async: bool
) -> None:
    welcome = Queue[Welcome]("wel/come é", path="/lq/welcome")
    jobs: list[Job[Welcome]] = []

    def work(job: Job[Welcome]) -> dict[str, str]:
        jobs.append(job)
        return {"sent to": job.payload["name"]}

    async def work_async(job: Job[Welcome]) -> dict[str, str]:
        await asyncio.sleep(0)
        return work(job)

    welcome.handler(work_async if is_async else work)
    async with serving(welcome, is_sync=is_sync) as url:
        monkeypatch.setenv("LQ_BASE_URL", url)
        item = await welcome.push(ADA, key="user/1 é", labels=["a"])
        assert (item["outcome"], item["queue"]) == ("created", "wel/come é")
        done = await beside.ended(item)
    assert (done["state"], done["attempts"]) == ("COMPLETED", 1)
    assert (await beside.attempts(item))[0]["responseBody"] == '{"sent to":"Ada"}'
    assert (jobs[0].id, jobs[0].queue, jobs[0].key) == (item["id"], "wel/come é", "user/1 é")
    assert (jobs[0].payload, jobs[0].max_attempts) == (ADA, 6)


@pytest.mark.parametrize("payload", ["Zażółć", b"\x00\xff" * 40_000, {"a": [1, None]}, "", None])
async def test_a_payload_of_any_kind_arrives_as_it_was(beside: Beside, payload: Any) -> None:
    queue = Queue[Any]("q", path="/q")
    got: list[Any] = []

    @queue.handler
    async def handle(job: Job[Any]) -> None:
        got.append(job.payload)

    async with serving(queue) as url:
        item = await queue.push(payload, target=f"{url}/q")
        assert (await beside.ended(item))["state"] == "COMPLETED"
    assert got == [payload]


async def test_many_payloads_arrive_one_by_one(beside: Beside) -> None:
    queue = Queue[Welcome]("q", path="/q", encrypt=True, encryption_key="ab" * 32)
    got: list[int] = []

    @queue.handler
    async def handle(job: Job[Welcome]) -> None:
        got.append(job.payload["age"])

    people: list[Welcome] = [{"name": "Ada", "age": age} for age in range(1200)]
    async with serving(queue) as url:
        options: Any = {"target": f"{url}/q", "labels": ["a"]}
        results = [one async for one in queue.push_many(people, **options)]
        assert [one["index"] for one in results] == [*range(1200)]
        assert (await beside.ended(results[-1]))["labels"] == ["a"]
        for result in results:
            await beside.ended(result)
    assert sorted(got) == [*range(1200)]

    def blocking() -> list[dict[str, Any]]:
        return list(queue.push_many_sync(people[:2], delay="1h", idempotency_key="x", **options))

    first = await asyncio.to_thread(blocking)
    assert [one["outcome"] for one in first] == ["created", "created"]
    with pytest.raises(TypeError, match="of one job"):
        queue.push_many_sync(people, key="a")
    with pytest.raises(PayloadError):
        list(queue.push_many_sync([{"name": 5}], **options))  # type: ignore[typeddict-item]  # it is refused


async def test_without_a_payload_an_empty_body_is_sent(beside: Beside) -> None:
    queue = Queue("q", path="/q")

    @queue.handler
    async def tick() -> str:
        return "tock"

    async with serving(queue) as url:
        item = await queue.push(target=f"{url}/q")
        assert (await beside.ended(item))["state"] == "COMPLETED"
    assert (await beside.attempts(item))[0]["responseBody"] == "tock"


async def test_how_a_handler_ends_decides_what_follows(beside: Beside) -> None:
    queue = Queue[str]("q", path="/q")

    @queue.handler
    def handle(how: str) -> None:
        raise {"retry": Retry("busy", after="1h"), "fail": Fail("never")}.get(how) or OSError(how)

    async with serving(queue) as url:
        target = f"{url}/q"
        retried = await beside.ended(await queue.push("retry", target=target), "RETRY")
        failed = await beside.ended(await queue.push("fail", target=target))
        raised = await beside.ended(await queue.push("disk\nfull", target=target), "RETRY")
    assert retried["error"] == "status 500: busy"
    in_an_hour = datetime.now(UTC) + timedelta(minutes=59)
    assert datetime.fromisoformat(retried["nextAttempt"]) > in_an_hour
    assert (failed["state"], failed["attempts"]) == ("FAILED", 1)
    assert failed["error"] == "status 422: never"
    assert raised["error"] == "status 500: OSError: disk full"
    soon = datetime.now(UTC) + timedelta(minutes=1)
    # One job that asks to wait holds up no other of its endpoint.
    assert datetime.fromisoformat(raised["nextAttempt"]) < soon


async def test_what_does_not_fit_is_retried_with_the_field_named(beside: Beside) -> None:
    handling = Queue[Welcome]("q", path="/q")
    handling.handler(lambda it: None)
    async with serving(handling) as url:
        item = await Queue("q", target=f"{url}/q").push({"name": "Ada", "age": "36"})
        found = await beside.ended(item, "RETRY")
    assert found["error"] == "status 422: payload.age: expected int, got str"


async def test_another_secret_validates_nothing(beside: Beside) -> None:
    queue = Queue[int]("q", path="/q", secret="another")
    queue.handler(lambda it: it)
    async with serving(queue) as url:
        item = await queue.push(1, target=f"{url}/q")
        async with asyncio.timeout(10):
            while not (found := await queue.get(item["id"]) or {}).get("error"):
                pass
    assert "was made with another secret" in found["error"]
    assert found["attempts"] == 0


async def test_the_verbs_of_keys(beside: Beside) -> None:
    queue = Queue[Welcome]("q", target="http://127.0.0.1:1/")
    first = await queue.push(ADA, key="user-1", delay="5m")
    again = await queue.push(ADA, key="user-1", delay=timedelta(minutes=6))
    assert (again["id"], again["outcome"]) == (first["id"], "replaced")
    kept = await queue.push({**ADA, "age": 37}, key="user-1", if_exists="keep")
    assert kept["outcome"] == "kept"
    with pytest.raises(ApiError) as refused:
        await queue.push(ADA, key="user-1", if_exists="reject")
    assert refused.value.type == "KEY_EXISTS"
    found = await queue.get(key="user-1")
    assert found
    assert found["payload"] == ADA
    assert (await queue.get(first["id"]) or {})["id"] == first["id"]
    assert (await queue.cancel(key="user-1") or {})["state"] == "CANCELLED"
    assert await queue.cancel(key="user-1") is None
    assert await queue.get(key="user-1") is None
    on = datetime.now(UTC) + timedelta(days=1)
    dated = await queue.push(ADA, on=on, expires=timedelta(days=2), retry=["1s", "2s"])
    assert datetime.fromisoformat(dated["notBefore"]) - on < timedelta(milliseconds=1)
    assert dated["maxAttempts"] == 3


async def test_the_synchronous_verbs_work_within_a_running_loop(beside: Beside) -> None:
    queue = Queue[Welcome]("q", target="http://127.0.0.1:1/")
    item = queue.push_sync(ADA, key="k", delay="5m")
    assert (queue.get_sync(key="k") or {})["id"] == item["id"]
    assert (queue.cancel_sync(item["id"]) or {})["state"] == "CANCELLED"
    assert queue.cancel_sync(key="k") is None


async def test_what_a_handler_pushes_belongs_to_its_trace(beside: Beside) -> None:
    first, second = Queue[int]("first", path="/1"), Queue[int]("second", path="/2")
    traces: list[str] = []
    done = asyncio.Event()

    async with serving(first, second) as url:

        @first.handler
        def pushes(job: Job[int]) -> None:
            traces.append(job.headers["traceparent"])
            second.push_sync(job.payload + 1, target=f"{url}/2")

        @second.handler
        async def ends(job: Job[int]) -> None:
            traces.append(job.headers["traceparent"])
            assert job.payload == 2
            done.set()

        await first.push(1, target=f"{url}/1")
        async with asyncio.timeout(10):
            await done.wait()
    assert traces[0].split("-")[1] == traces[1].split("-")[1]
    assert traces[0] != traces[1]


async def test_the_daemon_never_sees_what_is_encrypted(
    beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LQ_ENCRYPTION_KEY", "5a" * 32)
    queue = Queue[str]("cards", path="/cards", encrypt=True)
    got: list[str] = []

    @queue.handler
    async def handle(job: Job[str]) -> str:
        got.append(job.payload)
        if job.payload.endswith("fails"):
            raise ValueError(job.payload)
        return job.payload

    async with serving(queue) as url:
        monkeypatch.setenv("LQ_BASE_URL", url)
        done = await beside.ended(await queue.push(CANARY))
        failed = await beside.ended(await queue.push(f"{CANARY} fails"), "RETRY")
        once = await queue.push(CANARY, key="k", delay="1h")
        waits = await queue.get(key="k")
        created = await asyncio.to_thread(
            schedule, "@yearly", queue, f"{CANARY} yearly", key="cards", timezone="Europe/Berlin"
        )
        kept = await asyncio.to_thread(
            schedule, "@yearly", queue, f"{CANARY} yearly", key="cards", timezone="Europe/Berlin"
        )
    assert got == [CANARY, f"{CANARY} fails"]
    assert done["state"] == "COMPLETED"
    assert done["payloadType"].startswith("application/vnd.lq.encrypted; v=1; kid=")
    assert failed["error"] == "status 500: ValueError: the app's log says more"
    assert (once["outcome"], (waits or {})["state"]) == ("created", "PENDING")
    assert (created or {})["outcome"] == "created"
    assert (kept or {})["outcome"] == "kept"
    files = [path for path in beside.folder.iterdir() if path.is_file()]
    assert any(path.suffix == ".db" or "sqlite" in path.name for path in files), files
    for path in files:
        assert CANARY.encode() not in path.read_bytes()
    with sqlite3.connect(f"file:{beside.folder}/lq.db?mode=ro", uri=True) as database:
        assert CANARY not in "\n".join(database.iterdump())


async def test_an_encrypted_push_may_be_repeated(beside: Beside) -> None:
    key = "5a" * 32
    queue = Queue[str]("cards", target="http://127.0.0.1:1/", encrypt=True, encryption_key=key)
    first = await queue.push(CANARY, delay="1h", idempotency_key="once")
    assert await queue.push(CANARY, delay="1h", idempotency_key="once") == first
    keyed = await queue.push(CANARY, key="k", delay="1h", idempotency_key="two")
    assert await queue.push(CANARY, key="k", delay="1h", idempotency_key="two") == keyed
    assert keyed["id"] != first["id"]
    with pytest.raises(ApiError, match="another request"):
        await queue.push(f"{CANARY} changed", delay="1h", idempotency_key="once")


# Schedules


async def test_a_schedule_is_made_at_once_and_again_without_a_change(beside: Beside) -> None:
    queue = Queue[Welcome]("q", target="http://127.0.0.1:1/")

    def made(rule: str = "0 2 * * *") -> dict[str, Any]:
        answer = schedule(rule, queue, payload=ADA, key="nightly", timezone="Europe/Berlin")
        assert answer is not None
        return answer

    first = await asyncio.to_thread(made)
    assert (first["outcome"], first["timezone"]) == ("created", "Europe/Berlin")
    again = made()  # as within a loop that imports an app
    assert (again["outcome"], again["nextRun"]) == ("kept", first["nextRun"])
    changed = made("0 3 * * *")
    assert (changed["id"], changed["outcome"]) == (first["id"], "replaced")
    async with beside.client() as client:
        assert (await client.schedule("nightly"))["payload"] == ADA


async def test_a_schedule_that_lq_refuses_is_an_error(beside: Beside) -> None:
    queue = Queue[Welcome]("q", target="http://127.0.0.1:1/")
    with pytest.raises(ApiError, match="x-lq-schedule"):
        schedule("0 25 * * *", queue, ADA, key="nightly")
    nameless: Any = {"name": "Ada"}
    with pytest.raises(PayloadError, match=r"payload\.age: is missing"):
        schedule("@daily", queue, nameless, key="nightly")


async def test_a_schedule_can_be_kept_at_home(
    beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LQ_REGISTER", "off")
    assert schedule("@daily", Queue[int]("q", target="http://127.0.0.1:1/"), 1, key="k") is None
    async with beside.client() as client:
        assert (await client.schedules())["items"] == []


async def test_a_schedule_waits_for_a_daemon_that_is_away(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    beside = Beside(folder)
    monkeypatch.setenv("LQ_SECRET", beside.secret)
    queue = Queue[int]("q", path="/q", socket=beside.socket)
    queue.handler(lambda it: it)
    with pytest.raises(Unreachable):
        queue.push_sync(1, target="http://127.0.0.1:1/")
    async with serving(queue) as url:
        monkeypatch.setenv("LQ_BASE_URL", url)
        assert schedule("@daily", queue, 1, key="daily") is None
        assert "the schedule daily waits until lq can be reached" in caplog.text
        with beside.running():
            found: list[Any] = []
            # What other tests have left waiting may be tried first, and every 10 s at most.
            async with asyncio.timeout(40), beside.client() as client:
                while not found:
                    await beside.ended(await queue.push(2))
                    found = (await client.schedules())["items"]
    assert [made["key"] for made in found] == ["daily"]


async def test_a_job_of_a_schedule_knows_its_time(beside: Beside) -> None:
    queue = Queue[int]("q", path="/q")
    jobs: list[Job[int]] = []
    done = asyncio.Event()

    @queue.handler
    async def handle(job: Job[int]) -> None:
        jobs.append(job)
        done.set()

    async with serving(queue) as url, beside.client() as client:
        made = await asyncio.to_thread(
            schedule, "@yearly", queue, 7, key="yearly", target=f"{url}/q"
        )
        assert made is not None
        await client.run_schedule("yearly")
        async with asyncio.timeout(10):
            await done.wait()
    assert (jobs[0].schedule, jobs[0].payload) == (made["id"], 7)
    assert jobs[0].fire_time is not None
    assert jobs[0].fire_time.tzinfo is UTC


ENDS = {
    "well": ("COMPLETED", None, '{"did":"well"}'),
    "fail": ("FAILED", "callback failed: never", "never"),
    "raise": ("RETRY", "callback failed: OSError: disk full", "OSError: disk full"),
}
"""How a handler goes about it: the state, the error and the answer that its item ends with."""


@pytest.mark.parametrize("completion", ["callback", "background"])
@pytest.mark.parametrize("how", ENDS)
async def test_a_handler_that_works_on_completes_its_job_by_callback(
    beside: Beside, completion: Any, how: str
) -> None:
    queue = Queue[str]("q", path="/q", completion=completion, timeout="1m")
    wanted: list[bool] = []

    @queue.handler
    async def work(job: Job[str]) -> dict[str, str]:
        wanted.append(await job.heartbeat())
        if job.payload == "fail":
            raise Fail("never")
        if job.payload == "raise":
            raise OSError("disk full")
        return {"did": job.payload}

    state, error, result = ENDS[how]
    async with serving(queue) as url:
        item = await queue.push(how, target=f"{url}/q")
        done = await beside.ended(item, state)
        await queue.drain()
    assert (done["attempts"], done.get("error")) == (1, error)
    assert (await beside.attempts(item))[0]["responseBody"] == result
    assert wanted == [True]
