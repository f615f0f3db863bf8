"""Completion by callback: what a handler says later, in time, too late, or never."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lq.config import Dispatch
from lq.daemon.main import Daemon
from lq.daemon.store import Store
from lq.errors import ValidationError
from lq.model import (
    Attempt,
    ById,
    ByKey,
    Completion,
    Job,
    OutcomeKind,
    Push,
    QueueEdit,
    QueueSettings,
    RetryPolicy,
    ScheduleSpec,
    State,
)
from lq.when import format_instant
from tests.clock import FakeClock
from tests.integration.api.raw import Answer, Peer
from tests.support.handler import Call, Gate, answers, closes, hangs
from tests.support.home import Home, eventually, heard, reaches
from tests.support.sqlite import Disk

SECOND = 1000
TIMEOUT = 60 * SECOND
HOUR = 3_600_000
AT_ONCE = Dispatch(drain_timeout_ms=0)
LARGE = bytes(60_000)
FAR = Push(
    queue="q", payload=b"", target="https://example.com/", completion=Completion.CALLBACK,
    delay_ms=SECOND,
)  # fmt: skip


def by_callback(home: Home, path: str = "/accepts", **members: Any) -> Push:
    """A push whose handler is to call back within a minute."""
    return home.push(path, completion=Completion.CALLBACK, timeout_ms=TIMEOUT, **members)


@pytest.fixture(autouse=True)
def accepting(home: Home) -> None:
    """The handler accepts what comes to this path."""
    home.handler.on("/accepts", answers(202))


async def attempts(daemon: Daemon, job_id: str) -> list[Attempt]:
    return await daemon.engine.attempts(ById(job_id))


async def accepted(daemon: Daemon, job_id: str, number: int = 1) -> None:
    """Return when it is stored that the handler has taken on an attempt of a job."""

    async def taken() -> bool:
        made = await attempts(daemon, job_id)
        return len(made) == number and made[-1].status == 202

    await eventually(taken)


async def says(daemon: Daemon, call: Call, verb: str, *headers: str, body: bytes = b"") -> Answer:
    """What a handler is told that calls back, at the port that the daemon has now."""
    peer = Peer(port=daemon.port)
    try:
        path = urlsplit(call.headers["x-lq-callback"]).path
        return await peer.ask(f"POST {path}/{verb}", *headers, body=body)
    finally:
        await peer.close()


async def pushed(daemon: Daemon, push: Push) -> Job:
    return (await daemon.engine.push(push)).job


async def taken_on(daemon: Daemon, home: Home, **members: Any) -> tuple[Job, Call]:
    """A job whose handler has accepted it, and its call."""
    job = await pushed(daemon, by_callback(home, **members))
    call = await home.handler.next()
    assert call.job_id == job.id
    await accepted(daemon, job.id)
    return job, call


async def dead(home: Home, to: Path) -> Home:
    """The folder as it is now, which is what the next daemon finds when this one dies."""
    copy = shutil.copytree(home.folder, to, ignore=shutil.ignore_patterns("socket"))
    return Home(copy, home.clock, home.handler)


# -- in time -------------------------------------------------------------------------------------


async def test_an_accepted_job_runs_until_its_handler_completes_it(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    job, call = await taken_on(daemon, home)
    assert call.headers["x-lq-callback"].startswith(f"http://127.0.0.1:{daemon.port}/api/v1/")
    clock.advance(TIMEOUT - 1)
    assert (await daemon.engine.get(ById(job.id))).state is State.RUNNING
    answer = await says(daemon, call, "complete", "Content-Type: text/x-result", body=b"42")
    assert (answer.status, answer.json) == (200, {"id": job.id, "state": "COMPLETED"})
    done = await daemon.engine.get(ById(job.id))
    assert (done.state, done.last_status, done.failures) == (State.COMPLETED, 202, 0)
    [attempt] = await attempts(daemon, job.id)
    assert (attempt.outcome, attempt.body) == (OutcomeKind.SUCCEEDED, b"42")
    assert dict(attempt.headers) == {"Content-Type": "text/x-result"}
    assert (attempt.ended_at or 0) - attempt.started_at == TIMEOUT - 1


async def test_of_a_large_result_the_beginning_is_kept(daemon: Daemon, home: Home) -> None:
    job, call = await taken_on(daemon, home)
    assert (await says(daemon, call, "complete", body=b"x" * 70_000)).status == 200
    [attempt] = await attempts(daemon, job.id)
    assert (len(attempt.body), attempt.truncated) == (65_536, True)


async def test_a_failure_is_retried_with_its_reason(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    job, call = await taken_on(daemon, home)
    answer = await says(daemon, call, "fail", body=b"no\r\nink\x1b[31m")
    assert answer.json == {"id": job.id, "state": "RETRY"}
    failed = await daemon.engine.get(ById(job.id))
    assert (failed.state, failed.failures) == (State.PENDING, 1)
    assert failed.error == "callback failed: no ink [31m"
    assert failed.due_at == clock.now() + 10 * SECOND
    clock.advance(10 * SECOND)
    second = await home.handler.next()
    assert second.attempt == 2
    assert second.headers["x-lq-callback"] != call.headers["x-lq-callback"]
    await accepted(daemon, job.id, 2)
    assert (await says(daemon, second, "complete")).status == 200


async def test_a_failure_may_ask_for_time_or_for_no_retry(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    job, call = await taken_on(daemon, home)
    assert (await says(daemon, call, "fail", "Retry-After: 7200")).status == 200
    assert (await daemon.engine.get(ById(job.id))).due_at == clock.now() + 2 * HOUR
    clock.advance(2 * HOUR)
    call = await home.handler.next()
    await accepted(daemon, job.id, 2)
    answer = await says(daemon, call, "fail", "x-lq-retry: no", body=b"never")
    assert answer.json == {"id": job.id, "state": "FAILED"}
    assert [one.outcome for one in await attempts(daemon, job.id)] == [
        OutcomeKind.FAILED, OutcomeKind.REJECTED,
    ]  # fmt: skip


async def test_a_misspelled_header_changes_nothing(daemon: Daemon, home: Home) -> None:
    job, call = await taken_on(daemon, home)
    assert (await says(daemon, call, "fail", "x-lq-rety: no")).issues == ["x-lq-rety"]
    assert (await says(daemon, call, "fail", "x-lq-retry: maybe")).issues == ["x-lq-retry"]
    assert (await says(daemon, call, "complete", "x-lq-retry: no")).issues == ["x-lq-retry"]
    assert (await daemon.engine.get(ById(job.id))).state is State.RUNNING


async def test_a_callback_may_come_before_the_answer(daemon: Daemon, home: Home) -> None:
    gate = Gate(answers(500, b"too late"))
    home.handler.on("/quick", gate)
    job = await pushed(daemon, by_callback(home, "/quick"))
    call = await home.handler.next()
    assert (await says(daemon, call, "complete", body=b"done")).status == 200
    gate.open()
    await home.handler.idle()
    # The next one gets the slot that the call held, so its end has been seen.
    await taken_on(daemon, home)
    done = await daemon.engine.get(ById(job.id))
    assert (done.state, done.error) == (State.COMPLETED, None)
    [attempt] = await attempts(daemon, job.id)
    assert (attempt.outcome, attempt.body) == (OutcomeKind.SUCCEEDED, b"done")


async def test_an_answer_that_is_not_2xx_is_a_failed_attempt(daemon: Daemon, home: Home) -> None:
    home.handler.on("/refuses", answers(500, b"no"))
    job = await pushed(daemon, by_callback(home, "/refuses"))
    call = await home.handler.next()
    failed = await reaches(daemon, job.id, State.PENDING)
    assert failed.error == "status 500: no"
    assert (await says(daemon, call, "complete")).status == 409


# -- deadlines -----------------------------------------------------------------------------------


async def test_a_handler_that_says_nothing_has_failed(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    job, call = await taken_on(daemon, home)
    clock.advance(TIMEOUT)
    failed = await reaches(daemon, job.id, State.PENDING)
    assert (failed.failures, failed.error) == (1, "timeout: no callback within 1m")
    for verb in ("complete", "fail", "heartbeat"):
        late = await says(daemon, call, verb, body=b"late")
        assert (late.status, late.json["type"]) == (409, "CONFLICT")
    assert await daemon.engine.get(ById(job.id)) == failed
    [attempt] = await attempts(daemon, job.id)
    assert (attempt.outcome, attempt.body) == (OutcomeKind.FAILED, b"")


async def test_a_deadline_that_passes_while_lq_is_frozen_costs_nothing(
    home: Home, clock: FakeClock, tmp_path: Path
) -> None:
    async with home.daemon() as running:
        job, _ = await taken_on(running, home)
        later = await dead(home, tmp_path / "restored")
    with closing(sqlite3.connect(later.folder / "lq.db")) as database, database:
        database.execute("INSERT INTO hold (id, since, backup_at) VALUES (1, 1, 1)")
    async with later.daemon() as running:
        clock.advance(10 * TIMEOUT)
        assert (await running.engine.get(ById(job.id))).state is State.RUNNING
        await running.engine.holding.release(skip_missed=False)

        async def called_again() -> bool:
            clock.advance(1000)
            return len(await attempts(running, job.id)) == 2

        await eventually(called_again)
        first, _ = await attempts(running, job.id)
        assert first.outcome is OutcomeKind.INTERRUPTED
        assert (await running.engine.get(ById(job.id))).failures == 0


async def test_a_heartbeat_begins_the_time_anew(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    job, call = await taken_on(daemon, home)
    for _ in range(3):
        clock.advance(TIMEOUT - 1)
        assert (await says(daemon, call, "heartbeat")).json == {
            "id": job.id, "state": "RUNNING", "deadline": format_instant(clock.now() + TIMEOUT),
        }  # fmt: skip
    clock.advance(TIMEOUT - 1)
    assert (await daemon.engine.get(ById(job.id))).state is State.RUNNING
    clock.advance(1)
    assert (await reaches(daemon, job.id, State.PENDING)).failures == 1


@pytest.mark.parametrize("step_ms", [HOUR, -HOUR])
async def test_a_step_of_the_clock_moves_no_deadline(
    daemon: Daemon, home: Home, clock: FakeClock, step_ms: int
) -> None:
    job, call = await taken_on(daemon, home)
    clock.step(step_ms)
    clock.advance(TIMEOUT - 1)
    assert (await says(daemon, call, "heartbeat")).status == 200
    assert (await daemon.engine.get(ById(job.id))).state is State.RUNNING
    clock.advance(TIMEOUT)
    await reaches(daemon, job.id, State.PENDING)


async def test_who_has_called_for_time_may_be_cut_off(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    """A heartbeat before the answer says that the handler is at work, whatever the answer does."""
    gate = Gate(closes)
    home.handler.on("/cut", gate)
    job = await pushed(daemon, by_callback(home, "/cut", retry=RetryPolicy(0)))
    call = await home.handler.next()
    assert (await says(daemon, call, "heartbeat")).status == 200
    gate.open()
    await home.handler.idle()
    clock.advance(TIMEOUT - 1)
    assert (await daemon.engine.get(ById(job.id))).state is State.RUNNING
    assert (await says(daemon, call, "complete")).status == 200


# -- what ends otherwise ---------------------------------------------------------------------------


async def test_a_cancelled_job_is_over_and_its_handler_is_told(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    job, call = await taken_on(daemon, home, key="k")
    assert (await daemon.engine.cancel(ById(job.id))).state is State.CANCELLED
    beat = await says(daemon, call, "heartbeat")
    assert (beat.status, "was cancelled" in beat.json["message"]) == (409, True)
    # Its key is called still.
    await daemon.engine.push(by_callback(home, key="k"))
    assert (await daemon.engine.get(ByKey("q", "k"))).state is State.PENDING
    end = await says(daemon, call, "complete", body=b"in vain")
    assert (end.status, "was cancelled" in end.json["message"]) == (409, True)
    [attempt] = await attempts(daemon, job.id)
    assert (attempt.outcome, attempt.body) == (OutcomeKind.SUCCEEDED, b"in vain")
    assert (await daemon.engine.get(ById(job.id))).state is State.CANCELLED
    assert (await home.handler.next()).job_id != job.id


async def test_a_cancelled_job_whose_handler_is_silent_frees_its_key_at_the_deadline(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    job, call = await taken_on(daemon, home, key="k")
    await daemon.engine.cancel(ById(job.id))
    clock.advance(TIMEOUT - 1)
    assert (await says(daemon, call, "heartbeat")).status == 409
    successor = await pushed(daemon, by_callback(home, key="k"))
    clock.advance(1)
    assert (await home.handler.next()).job_id == successor.id
    assert (await daemon.engine.get(ById(job.id))).state is State.CANCELLED
    [attempt] = await attempts(daemon, job.id)
    assert attempt.error == "timeout: no callback within 1m"


async def test_a_job_that_was_cancelled_before_it_was_accepted(daemon: Daemon, home: Home) -> None:
    gate = Gate(answers(202))
    home.handler.on("/slow", gate)
    job = await pushed(daemon, by_callback(home, "/slow", key="k"))
    call = await home.handler.next()
    await daemon.engine.cancel(ById(job.id))
    gate.open()
    await accepted(daemon, job.id)
    await daemon.engine.push(by_callback(home, key="k"))
    assert (await says(daemon, call, "fail")).status == 409
    assert (await home.handler.next()).job_id != job.id


async def test_a_failure_whose_successor_waits_is_superseded(daemon: Daemon, home: Home) -> None:
    job, call = await taken_on(daemon, home, key="k")
    successor = await pushed(daemon, by_callback(home, key="k"))
    answer = await says(daemon, call, "fail", body=b"no")
    assert answer.json["state"] == "FAILED"
    ended = await daemon.engine.get(ById(job.id))
    assert ended.error == f"superseded by {successor.id}; last attempt: callback failed: no"
    assert (await home.handler.next()).job_id == successor.id


async def test_of_two_that_call_back_at_once_one_is_heard(daemon: Daemon, home: Home) -> None:
    job, call = await taken_on(daemon, home)
    said = await asyncio.gather(
        *(says(daemon, call, verb) for verb in ("complete", "fail", "complete", "fail"))
    )
    assert sorted(answer.status for answer in said) == [200, 409, 409, 409]
    assert len(await attempts(daemon, job.id)) == 1


async def test_events_tell_of_callbacks(daemon: Daemon, home: Home) -> None:
    with daemon.events.subscribe() as events:
        job, call = await taken_on(daemon, home)
        await says(daemon, call, "complete")
        assert (await heard(events, "succeed", job.id)).state is State.COMPLETED


async def test_redaction_hides_what_callbacks_bring(home: Home, clock: FakeClock) -> None:
    queues = {"q": QueueSettings(redact=("response",))}
    async with home.daemon(queues=queues) as daemon:
        peer = Peer(socket_path=str(home.config.socket))
        job, call = await taken_on(daemon, home)
        await says(daemon, call, "fail", "Content-Type: text/said-canary", body=b"said-canary")
        for path in (f"items/{job.id}", f"items/{job.id}/attempts", "items"):
            answer = await peer.ask(f"GET {path}")
            assert b"callback failed" in answer.body
            assert b"said-canary" not in answer.body
        await peer.close()


# -- slots -----------------------------------------------------------------------------------------


async def test_what_is_accepted_holds_no_slot_of_other_queues(home: Home) -> None:
    async with home.daemon(dispatch=Dispatch(concurrency=1)) as daemon:
        jobs = [await pushed(daemon, by_callback(home)) for _ in range(5)]
        calls = await home.handler.take(5)
        for job in jobs:
            await accepted(daemon, job.id)
        home.handler.on("/other", answers(200))
        other = await pushed(daemon, home.push("/other", queue="other"))
        await reaches(daemon, other.id, State.COMPLETED)
        assert (await daemon.engine.queues.get("q")).counts.running == 5
        for call in calls:
            assert (await says(daemon, call, "complete")).status == 200


async def test_what_is_accepted_counts_for_its_queue(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    await daemon.engine.queues.edit("q", QueueEdit(concurrency=2))
    jobs = [await pushed(daemon, by_callback(home)) for _ in range(3)]
    first, second = await home.handler.take(2)
    for call in (first, second):
        await accepted(daemon, call.job_id)
    # A job of another queue goes all the way while the third of this one waits.
    await reaches(daemon, (await pushed(daemon, home.push(queue="r"))).id, State.COMPLETED)
    assert (await home.handler.next()).headers["x-lq-queue"] == "r"
    assert (await daemon.engine.get(ById(jobs[2].id))).state is State.PENDING
    assert (await says(daemon, first, "complete")).status == 200
    assert (await home.handler.next()).job_id == jobs[2].id
    clock.advance(TIMEOUT)  # ends the second, and later the third
    await reaches(daemon, second.job_id, State.PENDING)


# -- restarts --------------------------------------------------------------------------------------


async def test_a_stop_neither_waits_for_what_is_accepted_nor_gives_it_back(home: Home) -> None:
    async with home.daemon() as daemon:
        job, call = await taken_on(daemon, home)
    async with home.daemon() as daemon:
        assert (await daemon.engine.get(ById(job.id))).state is State.RUNNING
        assert (await says(daemon, call, "complete", body=b"42")).status == 200
        done = await daemon.engine.get(ById(job.id))
        assert (done.state, done.last_status, done.interruptions) == (State.COMPLETED, 202, 0)
    assert len(home.handler.calls) == 1


async def test_what_is_accepted_outlives_the_death_of_the_daemon(
    home: Home, clock: FakeClock, tmp_path: Path
) -> None:
    async with home.daemon(dispatch=AT_ONCE) as daemon:
        job, call = await taken_on(daemon, home)
        home = await dead(home, tmp_path / "copy")
    clock.advance(TIMEOUT - SECOND)
    queues = {"q": QueueSettings(concurrency=1)}
    async with home.daemon(queues=queues) as daemon:
        waits = await pushed(daemon, by_callback(home))
        assert (await daemon.engine.get(ById(waits.id))).state is State.PENDING
        assert (await says(daemon, call, "heartbeat")).status == 200
        clock.advance(TIMEOUT - SECOND)
        home = await dead(home, tmp_path / "again")
    async with home.daemon(queues=queues) as daemon:
        assert (await daemon.engine.get(ById(job.id))).state is State.RUNNING
        clock.advance(SECOND)
        failed = await reaches(daemon, job.id, State.PENDING)
        assert (failed.failures, failed.interruptions) == (1, 0)
        assert (await home.handler.next()).job_id == waits.id
        assert (await says(daemon, call, "complete")).status == 409


async def test_a_deadline_that_passed_in_between_has_passed(home: Home, clock: FakeClock) -> None:
    async with home.daemon() as daemon:
        job, _ = await taken_on(daemon, home)
    clock.step(TIMEOUT)
    async with home.daemon() as daemon:
        failed = await reaches(daemon, job.id, State.PENDING)
        assert failed.error == "timeout: no callback within 1m"


async def test_a_clock_that_went_back_in_between_gives_no_more_than_the_timeout(
    home: Home, clock: FakeClock
) -> None:
    async with home.daemon() as daemon:
        job, _ = await taken_on(daemon, home)
    clock.step(-HOUR)
    async with home.daemon() as daemon:
        clock.advance(TIMEOUT)
        await reaches(daemon, job.id, State.PENDING)


async def test_what_was_not_accepted_is_an_orphan(home: Home, tmp_path: Path) -> None:
    home.handler.on("/silent", hangs)
    async with home.daemon(dispatch=AT_ONCE) as daemon:
        job = await pushed(daemon, by_callback(home, "/silent"))
        call = await home.handler.next()
        home = await dead(home, tmp_path / "copy")
    home.handler.on("/silent", answers(202))
    async with home.daemon() as daemon:
        again = await home.handler.next()
        assert (again.job_id, again.attempt) == (job.id, 1)
        await accepted(daemon, job.id, 2)
        assert (await says(daemon, call, "complete")).status == 409
        assert (await says(daemon, again, "complete")).status == 200


async def test_a_cancelled_job_keeps_its_key_through_a_restart(home: Home, tmp_path: Path) -> None:
    async with home.daemon(dispatch=AT_ONCE) as daemon:
        job, call = await taken_on(daemon, home, key="k")
        await daemon.engine.cancel(ById(job.id))
        home = await dead(home, tmp_path / "copy")
    async with home.daemon() as daemon:
        successor = await pushed(daemon, by_callback(home, key="k"))
        assert successor.state is State.PENDING
        assert (await says(daemon, call, "complete")).status == 409
        assert (await home.handler.next()).job_id == successor.id


# -- a store that cannot write ---------------------------------------------------------------------


async def test_a_full_disk_loses_no_result(home: Home) -> None:
    disks: list[Disk] = []

    async def open_store(folder: Path) -> Store:
        store, disk = await Disk.open(folder)
        disks.append(disk)
        return store

    async with home.daemon(open_store=open_store) as daemon:
        job, call = await taken_on(daemon, home)
        disks[0].pages = 0
        assert (await says(daemon, call, "complete", body=LARGE)).status == 507
        assert (await daemon.engine.get(ById(job.id))).state is State.RUNNING
        disks[0].pages = None
        assert (await says(daemon, call, "complete", body=LARGE)).status == 200
        assert (await attempts(daemon, job.id))[0].body == LARGE


async def test_what_a_full_disk_cannot_note_waits_all_the_same(
    home: Home, clock: FakeClock
) -> None:
    """An acceptance that could not be stored: nothing new starts, and the callback counts."""
    disks: list[Disk] = []

    async def open_store(folder: Path) -> Store:
        store, disk = await Disk.open(folder)
        disks.append(disk)
        return store

    async with home.daemon(open_store=open_store) as daemon:
        gate = Gate(answers(202))
        home.handler.on("/slow", gate)
        job = await pushed(daemon, by_callback(home, "/slow"))
        call = await home.handler.next()
        disks[0].read_only = True
        gate.open()

        async def is_well() -> bool:
            await daemon.engine.queues.all()  # so that looking is no spin
            return daemon.engine.health().live

        async def noticed() -> bool:
            return not await is_well()

        await eventually(noticed)
        assert (await says(daemon, call, "heartbeat")).status == 503
        disks[0].read_only = False
        clock.advance(SECOND)
        await accepted(daemon, job.id)
        await eventually(is_well)  # a moment after the commit
        assert (await says(daemon, call, "complete")).status == 200


# -- where to call back ----------------------------------------------------------------------------


@pytest.fixture
async def known(home: Home) -> AsyncIterator[Daemon]:
    async with home.daemon(public_url="https://lq.example.com/base") as daemon:
        yield daemon


async def test_the_public_url_is_what_handlers_call(known: Daemon, home: Home) -> None:
    _, call = await taken_on(known, home)
    assert call.headers["x-lq-callback"].startswith(
        "https://lq.example.com/base/api/v1/callbacks/job_"
    )


async def test_a_handler_elsewhere_needs_a_public_url(daemon: Daemon) -> None:
    with pytest.raises(ValidationError, match="public_url"):
        await daemon.engine.push(FAR)
    rule = ScheduleSpec(rule="@hourly", push=FAR)
    with pytest.raises(ValidationError, match="public_url"):
        await daemon.engine.schedules.create(rule, lambda _: None)


async def test_a_job_waits_while_its_handler_cannot_be_told(home: Home, clock: FakeClock) -> None:
    """As when public_url was taken out of lq.toml."""
    async with home.daemon(public_url="https://lq.example.com") as daemon:
        job = await pushed(daemon, FAR)
    async with home.daemon() as daemon:
        clock.advance(SECOND)

        async def held() -> bool:
            return "public_url" in ((await daemon.engine.get(ById(job.id))).error or "")

        await eventually(held)
        held_job = await daemon.engine.get(ById(job.id))
        assert (held_job.state, held_job.failures) == (State.PENDING, 0)
        assert await attempts(daemon, job.id) == []
