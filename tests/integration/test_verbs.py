"""The engine's verbs on jobs that wait, run or are finished, with a daemon at work on them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from lq.daemon.main import Daemon
from lq.errors import (
    Conflict,
    KeyExists,
    NotFound,
    TargetNotAllowed,
    Unavailable,
    ValidationError,
)
from lq.model import (
    ById,
    ByKey,
    Edit,
    IfExists,
    JobFilter,
    OutcomeKind,
    Push,
    PushOutcome,
    QueueEdit,
    RetryPolicy,
    State,
)
from tests.clock import START, FakeClock
from tests.support.handler import Gate, answers
from tests.support.home import Home, eventually, heard, reaches

MINUTE, HOUR = 60_000, 3_600_000
KEY = ByKey("q", "k")


# -- push ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[fd00:ec2::254]/",
        "https://192.168.0.1:8443/",
        "https://0.0.0.0/",
        "https://localhost/",
        "http://127.0.0.1:1/",
    ],
)
async def test_what_lq_may_not_call_is_refused_at_push(daemon: Daemon, target: str) -> None:
    with pytest.raises(TargetNotAllowed):
        await daemon.engine.push(Push(queue="q", payload=b"", target=target))
    assert await daemon.engine.queues.all() == []


@pytest.mark.parametrize(
    "target",
    [
        "",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com:22/",
        "https://example.com/#fragment",
        "https://user:password@example.com/",
        "https://example.com/\r\nHost: evil",
        "https://example.com./",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://①②⑦.⓪.⓪.①/",
        "https://127。0。0。1/",
        "https://[fe80::1%25lo]/",
        "https://example.com/" + "a" * 8192,
    ],
)
async def test_what_is_no_target_is_refused_at_push(daemon: Daemon, target: str) -> None:
    with pytest.raises(ValidationError, match="target"):
        await daemon.engine.push(Push(queue="q", payload=b"", target=target))
    assert await daemon.engine.queues.all() == []


async def test_lq_does_not_call_itself(daemon: Daemon) -> None:
    target = f"http://127.0.0.1:{daemon.port}/healthz"
    with pytest.raises(TargetNotAllowed):
        await daemon.engine.push(Push(queue="q", payload=b"", target=target))


async def test_fifty_pushes_of_one_key_at_once(daemon: Daemon, home: Home) -> None:
    """One runs, one waits for its end; the last content wins."""
    gate = Gate()
    home.handler.on("/", gate)
    pushed = await asyncio.gather(
        *(daemon.engine.push(home.push(key="k", payload=b"%d" % n)) for n in range(50))
    )
    first = await home.handler.next()
    assert len({one.job.id for one in pushed}) == 2
    gate.open()
    second = await home.handler.next()
    await reaches(daemon, second.job_id, State.COMPLETED)
    assert (first.body, second.body) == (b"0", b"49")
    assert len(home.handler.calls) == 2


async def test_a_push_while_it_runs_starts_when_that_has_ended(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    gate = Gate(answers(500))
    home.handler.on("/", gate, answers(200))
    running = await daemon.engine.push(home.push(key="k", payload=b"old"))
    await home.handler.next()
    successor = await daemon.engine.push(home.push(key="k", payload=b"new"))
    assert successor.outcome is PushOutcome.CREATED
    gate.open()
    call = await home.handler.next()
    assert (call.job_id, call.body) == (successor.job.id, b"new")
    old = await reaches(daemon, running.job.id, State.FAILED)
    assert old.error == f"superseded by {successor.job.id}; last attempt: status 500"
    await reaches(daemon, successor.job.id, State.COMPLETED)
    clock.advance(HOUR)
    assert len(home.handler.calls) == 2


async def test_a_delay_pushed_again_and_again_is_a_debounce(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    for n in range(5):
        pushed = await daemon.engine.push(home.push(key="k", delay_ms=1000, payload=b"%d" % n))
        clock.advance(999)
    assert home.handler.calls == []
    clock.advance(1)
    call = await home.handler.next()
    assert (call.body, call.at, call.job_id) == (b"4", START + 4 * 999 + 1000, pushed.job.id)


async def test_keep_and_reject(daemon: Daemon, home: Home) -> None:
    first = await daemon.engine.push(home.push(key="k", delay_ms=MINUTE))
    kept = await daemon.engine.push(home.push(key="k", if_exists=IfExists.KEEP))
    assert (kept.outcome, kept.job) == (PushOutcome.KEPT, first.job)
    with pytest.raises(KeyExists):
        await daemon.engine.push(home.push(key="k", if_exists=IfExists.REJECT))
    assert await daemon.engine.get(KEY) == first.job


# -- cancel --------------------------------------------------------------------------------------


async def test_cancel_what_waits(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    pushed = await daemon.engine.push(home.push(key="k", delay_ms=MINUTE))
    cancelled = await daemon.engine.cancel(KEY)
    assert (cancelled.id, cancelled.state) == (pushed.job.id, State.CANCELLED)
    clock.advance(HOUR)
    canary = await daemon.engine.push(home.push("/canary"))
    await reaches(daemon, canary.job.id, State.COMPLETED)
    assert [call.path for call in home.handler.calls] == ["/canary"]
    with pytest.raises(NotFound):
        await daemon.engine.cancel(KEY)
    with pytest.raises(Conflict):
        await daemon.engine.cancel(ById(pushed.job.id))


@pytest.mark.parametrize("status", [200, 500])
async def test_cancel_what_runs(daemon: Daemon, home: Home, clock: FakeClock, status: int) -> None:
    """No retry follows, and its result is remembered."""
    gate = Gate(answers(status, b"result"))
    home.handler.on("/", gate)
    pushed = await daemon.engine.push(home.push())
    await home.handler.next()
    cancelled = await daemon.engine.cancel(ById(pushed.job.id))
    assert cancelled.state is State.CANCELLED
    gate.open()

    async def recorded() -> bool:
        [attempt] = await daemon.engine.attempts(ById(pushed.job.id))
        return attempt.outcome is not None

    await eventually(recorded)
    [attempt] = await daemon.engine.attempts(ById(pushed.job.id))
    assert (attempt.status, attempt.body) == (status, b"result")
    clock.advance(HOUR)
    canary = await daemon.engine.push(home.push("/canary"))
    await reaches(daemon, canary.job.id, State.COMPLETED)
    assert (await daemon.engine.get(ById(pushed.job.id))).state is State.CANCELLED
    assert len(home.handler.calls) == 2


async def test_a_cancelled_run_keeps_its_slot_until_its_call_ends(
    daemon: Daemon, home: Home
) -> None:
    gate = Gate()
    home.handler.on("/", gate)
    await daemon.engine.queues.edit("q", QueueEdit(concurrency=1))
    first = await daemon.engine.push(home.push())
    await home.handler.next()
    second = await daemon.engine.push(home.push())
    await daemon.engine.cancel(ById(first.job.id))
    canary = await daemon.engine.push(home.push("/canary", queue="canary"))
    await reaches(daemon, canary.job.id, State.COMPLETED)
    assert (await daemon.engine.get(ById(second.job.id))).state is State.PENDING
    gate.open()
    await reaches(daemon, second.job.id, State.COMPLETED)
    assert home.handler.most_in_flight <= 2


async def test_cancel_by_key_ends_the_running_and_the_waiting_one(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    gate = Gate(answers(500))
    home.handler.on("/", gate)
    running = await daemon.engine.push(home.push(key="k"))
    await home.handler.next()
    waiting = await daemon.engine.push(home.push(key="k"))
    await daemon.engine.cancel(KEY)
    for pushed in (running, waiting):
        assert (await daemon.engine.get(ById(pushed.job.id))).state is State.CANCELLED
    gate.open()
    await home.handler.idle()
    clock.advance(HOUR)
    canary = await daemon.engine.push(home.push("/canary"))
    await reaches(daemon, canary.job.id, State.COMPLETED)
    assert len(home.handler.calls) == 2


# -- reschedule, edit, run now -------------------------------------------------------------------


async def test_reschedule_by_key(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    pushed = await daemon.engine.push(home.push(key="k", delay_ms=MINUTE))
    for delay_ms in (HOUR, 30_000):
        moved = await daemon.engine.edit(KEY, Edit(delay_ms=delay_ms))
        assert (moved.id, moved.due_at) == (pushed.job.id, START + delay_ms)
    clock.advance(29_999)
    assert home.handler.calls == []
    clock.advance(1)
    assert (await home.handler.next()).at == START + 30_000


async def test_a_job_moved_further_away_does_not_start_at_its_old_time(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    moved = await daemon.engine.push(home.push(delay_ms=MINUTE))
    await daemon.engine.edit(ById(moved.job.id), Edit(on_at=START + HOUR))
    canary = await daemon.engine.push(home.push("/canary", delay_ms=MINUTE))
    clock.advance(MINUTE)
    await reaches(daemon, canary.job.id, State.COMPLETED)
    assert (await daemon.engine.get(ById(moved.job.id))).state is State.PENDING
    clock.advance(HOUR - MINUTE)
    await reaches(daemon, moved.job.id, State.COMPLETED)


async def test_an_edit_changes_the_call(daemon: Daemon, home: Home) -> None:
    pushed = await daemon.engine.push(home.push(delay_ms=MINUTE))
    edit = Edit(
        payload=b"new", content_type="text/plain", target=home.handler.url("/new"), method="PUT",
        headers={"x-new": "1"}, retry=RetryPolicy(1), delay_ms=0,
    )  # fmt: skip
    await daemon.engine.edit(ById(pushed.job.id), edit)
    call = await home.handler.next()
    assert (call.method, call.path, call.body) == ("PUT", "/new", b"new")
    assert (call.headers["content-type"], call.headers["x-new"]) == ("text/plain", "1")
    assert call.headers["x-lq-max-attempts"] == "2"


@pytest.mark.parametrize("edit", [Edit(expires_ms=1000), Edit(expires_at=START + 1000)])
async def test_an_edit_may_set_an_expiry(
    daemon: Daemon, home: Home, clock: FakeClock, edit: Edit
) -> None:
    pushed = await daemon.engine.push(home.push(delay_ms=MINUTE))
    await daemon.engine.edit(ById(pushed.job.id), edit)
    clock.advance(1000)
    await reaches(daemon, pushed.job.id, State.FAILED)


async def test_an_edit_may_not_name_a_forbidden_target(daemon: Daemon, home: Home) -> None:
    pushed = await daemon.engine.push(home.push(delay_ms=MINUTE))
    with pytest.raises(TargetNotAllowed):
        await daemon.engine.edit(ById(pushed.job.id), Edit(target="https://127.0.0.1/"))
    assert await daemon.engine.get(ById(pushed.job.id)) == pushed.job


async def test_run_now(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    pushed = await daemon.engine.push(home.push(delay_ms=HOUR))
    await daemon.engine.run_now(ById(pushed.job.id))
    await reaches(daemon, pushed.job.id, State.COMPLETED)
    clock.advance(HOUR)
    canary = await daemon.engine.push(home.push("/canary"))
    await reaches(daemon, canary.job.id, State.COMPLETED)
    assert len(home.handler.calls) == 2


async def test_run_now_of_a_retry_keeps_its_count(daemon: Daemon, home: Home) -> None:
    home.handler.on("/", answers(500), answers(200))
    with daemon.events.subscribe() as events:
        pushed = await daemon.engine.push(home.push())
        await heard(events, "fail")
        await daemon.engine.run_now(ById(pushed.job.id))
        await heard(events, "succeed")
    assert [call.attempt for call in home.handler.calls] == [1, 2]


@pytest.mark.parametrize("verb", ["run_now", "edit"])
async def test_what_runs_or_is_finished_cannot_be_changed(
    daemon: Daemon, home: Home, verb: str
) -> None:
    async def change(job_id: str) -> Any:
        if verb == "run_now":
            return await daemon.engine.run_now(ById(job_id))
        return await daemon.engine.edit(ById(job_id), Edit(payload=b""))

    gate = Gate()
    home.handler.on("/", gate)
    pushed = await daemon.engine.push(home.push())
    await home.handler.next()
    with pytest.raises(Conflict, match="RUNNING"):
        await change(pushed.job.id)
    gate.open()
    await reaches(daemon, pushed.job.id, State.COMPLETED)
    with pytest.raises(Conflict, match="COMPLETED"):
        await change(pushed.job.id)
    with pytest.raises(NotFound):
        await change("job_none")


# -- retry of what is finished -------------------------------------------------------------------


async def test_retry_what_has_failed(daemon: Daemon, home: Home) -> None:
    home.handler.on("/", answers(410), answers(200))
    pushed = await daemon.engine.push(home.push())
    await reaches(daemon, pushed.job.id, State.FAILED)
    retried = await daemon.engine.retry(ById(pushed.job.id))
    assert (retried.state, retried.failures) == (State.PENDING, 0)
    await reaches(daemon, pushed.job.id, State.COMPLETED)
    attempts = await daemon.engine.attempts(ById(pushed.job.id))
    assert [(one.n, one.outcome) for one in attempts] == [
        (1, OutcomeKind.REJECTED), (1, OutcomeKind.SUCCEEDED),
    ]  # fmt: skip


async def test_retry_what_has_succeeded_or_was_cancelled(daemon: Daemon, home: Home) -> None:
    done = await daemon.engine.push(home.push())
    await reaches(daemon, done.job.id, State.COMPLETED)
    cancelled = await daemon.engine.push(home.push(delay_ms=HOUR))
    await daemon.engine.cancel(ById(cancelled.job.id))
    for pushed in (done, cancelled):
        await daemon.engine.retry(ById(pushed.job.id))
        await reaches(daemon, pushed.job.id, State.COMPLETED)
    assert len(home.handler.calls) == 3


async def test_retry_what_is_unfinished(daemon: Daemon, home: Home) -> None:
    pushed = await daemon.engine.push(home.push(delay_ms=HOUR))
    with pytest.raises(Conflict):
        await daemon.engine.retry(ById(pushed.job.id))
    with pytest.raises(NotFound):
        await daemon.engine.retry(ById("job_none"))


async def test_a_cancelled_run_is_not_called_again_before_its_call_has_ended(
    daemon: Daemon, home: Home
) -> None:
    """At most one attempt of a job is in flight, whatever people ask for."""
    gate = Gate()
    home.handler.on("/", gate)
    pushed = await daemon.engine.push(home.push())
    await home.handler.next()
    await daemon.engine.cancel(ById(pushed.job.id))
    with pytest.raises(Conflict, match="has not ended"):
        await daemon.engine.retry(ById(pushed.job.id))
    gate.open()

    async def retried() -> bool:
        with contextlib.suppress(Conflict):
            await daemon.engine.retry(ById(pushed.job.id))
            return True
        return False

    await eventually(retried)
    await reaches(daemon, pushed.job.id, State.COMPLETED)
    assert len(home.handler.calls) == 2


# -- queues --------------------------------------------------------------------------------------


async def test_delete_a_queue_with_force(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    gate = Gate()
    home.handler.on("/", gate)
    running = await daemon.engine.push(home.push())
    await home.handler.next()
    waiting = [await daemon.engine.push(home.push(delay_ms=n)) for n in (1, HOUR)]
    with pytest.raises(Conflict, match="3 unprocessed"):
        await daemon.engine.queues.delete("q", force=False)
    assert await daemon.engine.queues.delete("q", force=True) == 2
    clock.advance(HOUR)
    gate.open()
    await reaches(daemon, running.job.id, State.COMPLETED)
    for pushed in waiting:
        assert (await daemon.engine.get(ById(pushed.job.id))).state is State.CANCELLED
    with pytest.raises(NotFound):
        await daemon.engine.queues.get("q")
    assert len(home.handler.calls) == 1
    history = await daemon.engine.history(JobFilter(queue="q"))
    assert len(history.items) == 3


async def test_a_deleted_queue_comes_back_unpaused(daemon: Daemon, home: Home) -> None:
    await daemon.engine.queues.edit("q", QueueEdit(paused=True, concurrency=1))
    await daemon.engine.queues.delete("q", force=False)
    pushed = await daemon.engine.push(home.push())
    await reaches(daemon, pushed.job.id, State.COMPLETED)
    assert (await daemon.engine.queues.get("q")).settings.concurrency == 16


# -- a caller that goes away -----------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(8))
async def test_a_push_whose_caller_went_away_is_stored_and_called(
    daemon: Daemon, home: Home, turns: int
) -> None:
    pushing = asyncio.create_task(daemon.engine.push(home.push()))
    for _ in range(turns + 1):
        await asyncio.sleep(0)
    pushing.cancel()
    await asyncio.wait({pushing})
    call = await home.handler.next()
    await reaches(daemon, call.job_id, State.COMPLETED)


async def test_a_daemon_that_stops_refuses_what_would_change_something(home: Home) -> None:
    async with home.daemon() as daemon:
        daemon.engine.stop()
        assert not daemon.engine.health().ready
        for refused in (
            daemon.engine.push(home.push()),
            daemon.engine.cancel(KEY),
            daemon.engine.run_now(KEY),
            daemon.engine.retry(KEY),
            daemon.engine.queues.edit("q", QueueEdit()),
            daemon.engine.queues.delete("q", force=True),
        ):
            with pytest.raises(Unavailable):
                await refused
        assert await daemon.engine.queues.all() == []
