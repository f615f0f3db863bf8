"""lq inside an application: the core in its event loop, handlers called directly."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from lq.config import Config, Dispatch, RetryConfig
from lq.daemon.embedded import Embedded, Handler
from lq.daemon.store import Store
from lq.daemon.store.sqlite import open_store, open_store_at
from lq.errors import InUse, StartError, Unavailable, ValidationError
from lq.model import (
    ById,
    Job,
    Outcome,
    OutcomeKind,
    Push,
    RetryPolicy,
    Run,
    ScheduleSpec,
    State,
)
from tests.clock import START, FakeClock
from tests.support.handler import GIVE_UP_S
from tests.support.home import Home, heard, reaches

DONE = Outcome(kind=OutcomeKind.SUCCEEDED, body=b"1")
SOON = RetryConfig(base_ms=1, factor=1, jitter=0)
ENDED = {"succeed", "bury", "fail"}

Places = Callable[[str], Path | None]


def configured(folder: Path, **settings: object) -> Config:
    plain = Config(data_dir=folder, socket=folder / "socket", retry=SOON)
    return replace(plain, **settings)


async def done(_: Run) -> Outcome:
    return DONE


class App:
    """An application with lq in it."""

    def __init__(self, path: Path | None, handlers: dict[str, Handler], config: Config) -> None:
        self.lq = Embedded(path, handlers, config)

    async def push(self, name: str, **members: object) -> str:
        push = Push(queue=name, payload=b"payload", target=f"handler:{name}")
        return (await self.lq.core.engine.push(replace(push, **members))).job.id

    async def job(self, job_id: str) -> Job:
        return await self.lq.core.engine.get(ById(job_id))

    async def ends(self, name: str, verb: str = "", **members: object) -> Job:
        """Push a job, and what it is once an attempt of it has ended."""
        with self.lq.core.events.subscribe() as events:
            job_id = await self.push(name, **members)
            await heard(events, {verb} if verb else ENDED, job_id)
        return await self.job(job_id)


@asynccontextmanager
async def running(
    path: Path | None, config: Config | None = None, **handlers: Handler
) -> AsyncIterator[App]:
    app = App(path, handlers or {"done": done}, config or configured(Path("/nowhere")))
    await app.lq.open()
    try:
        yield app
    finally:
        await app.lq.close()


@pytest.fixture(params=["file", "memory"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "jobs.db" if request.param == "file" else None


# -- handlers ------------------------------------------------------------------------------------


async def test_a_job_is_carried_out_and_remembered(path: Path | None) -> None:
    async with running(path) as app:
        job = await app.ends("done")
        assert job.state is State.COMPLETED
        [attempt] = await app.lq.core.engine.attempts(ById(job.id))
        assert (attempt.n, attempt.outcome, attempt.body) == (1, OutcomeKind.SUCCEEDED, b"1")


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("odd")],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_handler_raises_is_its_own_failure(error: BaseException) -> None:
    async def raises(_: Run) -> Outcome:
        raise error

    async with running(None, raises=raises, done=done) as app:
        job = await app.ends("raises", retry=RetryPolicy(0))
        assert (job.state, job.error) == (State.FAILED, f"error: {type(error).__name__}")
        assert (await app.ends("done")).state is State.COMPLETED


async def test_a_handler_that_is_cancelled_from_inside_has_failed() -> None:
    async def cancels(_: Run) -> Outcome:
        raise asyncio.CancelledError

    async with running(None, cancels=cancels) as app:
        job = await app.ends("cancels", retry=RetryPolicy(0))
        assert (job.state, job.error) == (
            State.FAILED,
            "cancelled: the handler was cancelled",
        )


async def test_a_handler_that_hangs_is_cancelled_at_its_timeout() -> None:
    ended = asyncio.Event()

    async def hangs(_: Run) -> Outcome:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return DONE

    async with running(None, hangs=hangs) as app:
        job = await app.ends("hangs", retry=RetryPolicy(0), timeout_ms=20)
        assert ended.is_set()
        assert (job.state, job.error) == (
            State.FAILED,
            "timeout: the handler had not ended after 20ms",
        )


async def test_a_failure_is_tried_again() -> None:
    attempts: list[int] = []

    async def third(run: Run) -> Outcome:
        attempts.append(run.job.attempt)
        return DONE if len(attempts) == 3 else Outcome(kind=OutcomeKind.FAILED, error="not yet")

    async with running(None, third=third) as app:
        assert (await app.ends("third", "succeed")).state is State.COMPLETED
    assert attempts == [1, 2, 3]


async def test_a_job_whose_handler_is_missing_waits_for_it(tmp_path: Path) -> None:
    async with running(tmp_path / "jobs.db") as app:
        job = await app.ends("missing", "release")
        assert (job.state, job.failures) == (State.PENDING, 0)
        assert job.error == "no_handler: this application has no handler 'missing'"


async def test_a_target_that_is_no_handler_is_refused() -> None:
    async with running(None) as app:
        with pytest.raises(ValidationError, match="handler:NAME"):
            await app.push("done", target="https://example.com/")


# -- schedules -----------------------------------------------------------------------------------


async def test_schedules_fire(path: Path | None) -> None:
    clock = FakeClock()
    lq = Embedded(path, {"done": done}, configured(Path("/nowhere")), clock)
    await lq.open()
    with lq.core.events.subscribe() as events:
        push = Push(queue="done", payload=b"", target="handler:done")
        await lq.core.engine.schedules.create(ScheduleSpec(rule="E=1m", push=push), lambda _: None)
        for number in (1, 2, 3):
            clock.advance(60_000)
            event = await heard(events, "succeed")
            firing = (await lq.core.engine.get(ById(event.job_id))).firing
            assert firing is not None
            assert firing.at == START + number * 60_000
    await lq.close()


# -- stops ---------------------------------------------------------------------------------------


async def test_a_stop_lets_a_handler_end(tmp_path: Path) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Run) -> Outcome:
        began.set()
        await go_on.wait()
        return DONE

    path = tmp_path / "jobs.db"
    async with running(path, slow=slow) as app:
        job_id = await app.push("slow")
        await began.wait()
        asyncio.get_running_loop().call_soon(go_on.set)
    async with running(path, slow=slow) as app:
        assert (await app.job(job_id)).state is State.COMPLETED


async def test_what_does_not_end_in_time_is_given_back_uncounted(tmp_path: Path) -> None:
    began, runs = asyncio.Event(), []

    async def hangs_once(run: Run) -> Outcome:
        runs.append(run.job.attempt)
        if len(runs) == 1:
            began.set()
            await asyncio.Event().wait()
        return DONE

    path = tmp_path / "jobs.db"
    at_once = configured(tmp_path, dispatch=Dispatch(drain_timeout_ms=0))
    async with running(path, at_once, hangs_once=hangs_once) as app:
        job_id = await app.push("hangs_once")
        await began.wait()
    async with running(path, hangs_once=hangs_once) as app:
        await reaches(app.lq.core, job_id, State.COMPLETED)
        attempts = await app.lq.core.engine.attempts(ById(job_id))
    assert [a.outcome for a in attempts] == [OutcomeKind.INTERRUPTED, OutcomeKind.SUCCEEDED]
    assert runs == [1, 1]


def test_a_loop_that_ends_under_it_lets_go_of_the_file(tmp_path: Path) -> None:
    """asyncio.run cancels all tasks at its end: that must neither hang nor keep the lock."""
    began = asyncio.Event()

    async def hangs_once(_: Run) -> Outcome:
        if not began.is_set():
            began.set()
            await asyncio.Event().wait()
        return DONE

    app = App(tmp_path / "jobs.db", {"hangs_once": hangs_once}, configured(tmp_path))

    async def first() -> str:
        await app.lq.open()
        job_id = await app.push("hangs_once")
        await asyncio.wait_for(began.wait(), GIVE_UP_S)
        return job_id

    async def second() -> None:
        with pytest.raises(Unavailable, match="has been closed"):
            await app.push("hangs_once")
        await app.lq.open()
        await reaches(app.lq.core, job_id, State.COMPLETED)
        await app.lq.close()

    job_id = asyncio.run(first())
    asyncio.run(second())


_CLOSED_UNDER_IT = """
import asyncio, sys
from pathlib import Path
from lq.errors import Unavailable
from lq.model import State
from tests.integration.test_embedded import App, configured, done

app = App(Path(sys.argv[1]), {"done": done}, configured(Path(sys.argv[1]).parent))
loop = asyncio.new_event_loop()
loop.run_until_complete(app.lq.open())
loop.close()

async def go_on():
    try:
        await app.push("done")
    except Unavailable as error:
        print(error.message)
    await app.lq.open()
    print((await app.ends("done")).state)

loop = asyncio.new_event_loop()
loop.run_until_complete(go_on())
loop.close()
"""


def test_a_loop_that_is_closed_under_it(tmp_path: Path) -> None:
    """In a process of its own, which must end although lq was never closed."""
    ended = subprocess.run(
        [sys.executable, "-c", _CLOSED_UNDER_IT, str(tmp_path / "jobs.db")],
        capture_output=True,
        text=True,
        timeout=GIVE_UP_S,
        check=True,
    )
    assert ended.stdout.splitlines() == [
        "the event loop that lq was opened in has been closed",
        "COMPLETED",
    ]


async def test_another_loop_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path / "jobs.db") as app:

        def elsewhere() -> None:
            for attempt in (lambda: app.push("done"), app.lq.open, app.lq.close):
                with pytest.raises(Unavailable, match="another event loop"):
                    asyncio.run(_awaiting(attempt))

        await asyncio.to_thread(elsewhere)
        assert (await app.ends("done")).state is State.COMPLETED


async def _awaiting(made: Callable[[], Awaitable[object]]) -> None:
    await made()


async def test_it_can_be_closed_twice_and_opened_again(tmp_path: Path) -> None:
    app = App(tmp_path / "jobs.db", {"done": done}, configured(tmp_path))
    with pytest.raises(Unavailable, match="not open"):
        await app.push("done")
    await app.lq.close()
    for _ in range(2):
        await asyncio.gather(app.lq.open(), app.lq.open())
        assert (await app.ends("done")).state is State.COMPLETED
        await asyncio.gather(app.lq.close(), app.lq.close())


# -- the file ------------------------------------------------------------------------------------


def modes(folder: Path) -> dict[str, int]:
    """Of the files in a folder, and of itself."""
    return {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}


async def test_the_folder_is_left_as_it_is(tmp_path: Path) -> None:
    before = modes(tmp_path)
    async with running(tmp_path / "jobs.db") as app:
        await app.ends("done")
        found = modes(tmp_path)
    names = ("jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.db.lock")
    assert found == before | dict.fromkeys(names, 0o600)


async def test_nothing_of_the_process_is_touched(tmp_path: Path) -> None:
    def process() -> tuple[object, ...]:
        umask = os.umask(0o022)
        os.umask(umask)
        return (
            umask,
            resource.getrlimit(resource.RLIMIT_NOFILE),
            gc.get_threshold(),
            gc.get_freeze_count(),
            logging.getLogger().handlers[:],
            logging.getLogger("lq").level,
            [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)],
            type(asyncio.get_event_loop_policy()),
        )

    before = process()
    async with running(tmp_path / "jobs.db") as app:
        await app.ends("done")
        assert process() == before
    assert process() == before


async def test_a_file_has_one_owner(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    other = tmp_path / "link.db"
    other.symlink_to(path)
    async with running(path) as app:
        for name in (path, other):
            second = App(name, {"done": done}, configured(tmp_path))
            with pytest.raises(InUse, match=rf"in use by pid {os.getpid()}") as refused:
                await second.lq.open()
            assert "lq serve" in (refused.value.hint or "")
            with pytest.raises(InUse):
                await second.push("done")
        assert (await app.ends("done")).state is State.COMPLETED


def open_it(path: Path, answers: multiprocessing.SimpleQueue[str]) -> None:
    async def main() -> None:
        try:
            async with running(path):
                answers.put("opened")
        except InUse as error:
            answers.put(error.message)

    asyncio.run(main())


async def test_another_process_is_refused_and_told_the_pid(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    async with running(tmp_path / "jobs.db"):
        answers: multiprocessing.SimpleQueue[str] = context.SimpleQueue()
        process = context.Process(target=open_it, args=(tmp_path / "jobs.db", answers))
        process.start()
        await asyncio.to_thread(process.join)
    assert f"in use by pid {os.getpid()} " in answers.get()


async def test_a_daemon_and_an_application_take_the_same_lock(home: Home) -> None:
    async with home.daemon():
        app = App(home.folder / "lq.db", {"done": done}, configured(home.folder))
        with pytest.raises(InUse):
            await app.lq.open()
    async with running(home.folder / "lq.db"):
        with pytest.raises(InUse):
            await open_store(home.folder)


async def test_a_daemon_goes_on_with_its_data(home: Home) -> None:
    """It has no handlers: their jobs wait, and say what for."""
    app = App(home.folder / "lq.db", {"done": done}, home.config)
    app.lq = Embedded(home.folder / "lq.db", {"done": done}, home.config, home.clock)
    await app.lq.open()
    finished = (await app.ends("done")).id
    later = await app.push("done", delay_ms=3_600_000)
    await app.lq.close()
    async with home.daemon() as daemon:
        assert (await daemon.engine.get(ById(finished))).state is State.COMPLETED
        assert (await daemon.engine.get(ById(later))).target == "handler:done"
        with daemon.events.subscribe() as events:
            revived = await daemon.engine.retry(ById(finished))
            event = await heard(events, "release", revived.id)
        assert "no_handler: handler:done is a function of an application" in (event.error or "")
        assert (await daemon.engine.get(ById(finished))).failures == 0


async def test_a_job_for_a_url_waits_in_an_application(home: Home) -> None:
    async with home.daemon() as daemon:
        url = (await daemon.engine.push(home.push(delay_ms=1000))).job.id
    home.clock.advance(2000)
    lq = Embedded(home.folder / "lq.db", {"done": done}, home.config, home.clock)
    await lq.open()

    async def held() -> bool:
        return (await lq.core.engine.get(ById(url))).error is not None

    async with asyncio.timeout(GIVE_UP_S):
        while not await held():
            pass
    job = await lq.core.engine.get(ById(url))
    assert (job.state, job.failures) == (State.PENDING, 0)
    assert job.error == "no_handler: an embedded lq calls handlers, and this job's target is a URL"
    await lq.close()


@pytest.mark.parametrize("name", ["missing/jobs.db", "folder", "text.db"])
async def test_a_file_that_cannot_be_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.db").write_text("no database" * 100)
    app = App(tmp_path / name, {"done": done}, configured(tmp_path))
    with pytest.raises(StartError, match=name.split("/", maxsplit=1)[0]):
        await app.lq.open()
    assert (tmp_path / "text.db").read_text() == "no database" * 100


async def test_a_lock_file_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "poetry.lock").write_text("precious")
    async with running(tmp_path / "poetry.db"):
        pass
    assert (tmp_path / "poetry.lock").read_text() == "precious"


async def test_memory_is_gone_with_its_lq() -> None:
    async with running(None) as app, running(None) as other:
        job = await app.ends("done")
        assert (await other.lq.core.engine.queues.all()) == []
    async with running(None) as app:
        assert (await app.lq.core.engine.queues.all()) == []
    assert job.state is State.COMPLETED


async def test_a_store_in_memory_serves_writes_and_reads_at_once() -> None:
    store: Store = await open_store_at(None)
    app = asyncio.create_task(store.run())
    await asyncio.gather(*(store.queues() for _ in range(50)), store.clock_mark())
    await store.close()
    await app


async def test_a_disk_that_fails_ends_lq_and_not_the_application(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with running(path) as app:
        await app.ends("done")
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            file.write(b"\xff" * path.stat().st_size)

        async def use_it() -> None:
            while True:
                await app.push("done")
                await app.lq.core.engine.queues.all()

        with pytest.raises((StartError, Unavailable)):
            await asyncio.wait_for(use_it(), GIVE_UP_S)
