"""[[schedules]] of lq.toml: applied at start and on reload, leaving alone what the API made."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lq.config import Config, load
from lq.daemon.main import Daemon, daemon
from lq.daemon.store import Store
from lq.errors import ConfigError, ConfigInvalid, Conflict, StorageFull
from lq.model import (
    ById,
    FileOrigin,
    Misfire,
    Origin,
    Overlap,
    QueueEdit,
    RetryPolicy,
    ScheduleChange,
    ScheduleEdit,
    ScheduleFilter,
    ScheduleKey,
    State,
)
from lq.when import MAX_AT, MAX_MS
from tests.clock import START
from tests.support.home import Home, reaches
from tests.support.schedules import HOUR, MINUTE, SECOND, allowed, fired, jobs_of, make, pass_time
from tests.support.sqlite import Disk


class File:
    """An lq.toml, and daemons that read it."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.path = home.folder / "lq.toml"
        self.head = (
            f'listen = "127.0.0.1:0"\ndata_dir = "{home.folder}"\nsocket = "{home.folder}/socket"\n'
            f'[egress]\nallow = ["127.0.0.1:{home.handler.port}"]\n'
        )
        self.write("")

    def write(self, schedules: str) -> None:
        """Replace URL by the handler's address."""
        self.path.write_text(self.head + schedules.replace("URL", self.home.handler.url()))

    def load(self) -> Config:
        return load(str(self.path), {})

    @contextlib.asynccontextmanager
    async def daemon(self) -> AsyncIterator[Daemon]:
        async with daemon(self.load(), self.home.clock, load_config=self.load) as running:
            yield running


@pytest.fixture
def file(home: Home) -> File:
    return File(home)


def entry(key: str, rule: str = "@hourly", **more: str) -> str:
    lines = [f'key = "{key}"', f'schedule = "{rule}"', 'queue = "q"', 'target = "URL"']
    lines += [f"{name} = {value}" for name, value in more.items()]
    return "[[schedules]]\n" + "\n".join(lines) + "\n"


async def keys(running: Daemon) -> dict[str | None, Origin]:
    page = await running.engine.schedules.list(ScheduleFilter())
    return {found.spec.key: found.origin for found in page.items}


async def test_a_start_makes_what_the_file_names_and_again_changes_nothing(file: File) -> None:
    file.write(entry("hourly", payload="{ to = 'ada' }"))
    async with file.daemon() as running:
        first = await running.engine.schedules.get(ScheduleKey("hourly"))
        assert (first.origin, first.next_at) == (Origin.FILE, START + HOUR)
        await pass_time(running, file.home, HOUR)
        assert await fired(running, first) == [(START + HOUR, 0)]
        (job,) = await jobs_of(running, first)
        await reaches(running, job.id, State.COMPLETED)
        (call,) = [call for call in file.home.handler.calls if call.job_id == job.id]
        assert (call.body, call.headers["content-type"]) == (b'{"to":"ada"}', "application/json")
    file.home.clock.advance(10 * MINUTE)
    async with file.daemon() as running:
        again = await running.engine.schedules.get(ScheduleKey("hourly"))
        assert (again.id, again.next_at, again.fired) == (first.id, START + 2 * HOUR, 1)


async def test_every_key_of_an_entry_counts(file: File) -> None:
    file.write(
        """
[[schedules]]
key = "full"
schedule = "E=90s"
queue = "ops"
target = "URL"
timezone = "Europe/Berlin"
payload = "text"
content_type = "text/x-own"
method = "PUT"
headers = { "X-Team" = "ops" }
retry = ["10s", "1m"]
timeout = "5m"
expires = "1h"
labels = ["nightly", "db"]
times = 3
start = 2027-02-01T00:00:00Z
until = "2027-03-01T00:00:00+01:00"
jitter = "10s"
misfire = "all"
overlap = "skip"
validate = "none"
paused = true
"""
    )
    async with file.daemon() as running:
        full = await running.engine.schedules.get(ScheduleKey("full"))
    spec, push = full.spec, full.spec.push
    assert (spec.rule, spec.zone, spec.times, spec.jitter_ms) == (
        "E=1m30s",
        "Europe/Berlin",
        3,
        10 * SECOND,
    )
    assert (spec.misfire, spec.overlap) == (Misfire.ALL, Overlap.SKIP)
    assert spec.start_at is not None
    assert spec.until_at is not None
    assert spec.until_at - spec.start_at == 28 * 24 * HOUR - HOUR
    assert (push.queue, push.payload, push.content_type) == ("ops", b"text", "text/x-own")
    assert (push.method, dict(push.headers)) == ("PUT", {"X-Team": "ops"})
    assert push.retry == RetryPolicy(2, (10 * SECOND, MINUTE))
    assert (push.timeout_ms, push.expires_ms) == (5 * MINUTE, HOUR)
    assert (push.labels, push.validate) == (("nightly", "db"), False)
    assert (full.paused, full.next_at) == (True, None)


async def test_a_reload_changes_and_removes_as_the_file_does(file: File) -> None:
    file.write(entry("a") + entry("b") + entry("c"))
    async with file.daemon() as running:
        own = await make(running, file.home, "@hourly", key="own")
        file.write(entry("a") + entry("b", "30 * * * *") + entry("d"))
        expected = (
            ScheduleChange(
                key="a", change="unchanged", next_before=START + HOUR, next_after=START + HOUR
            ),
            ScheduleChange(
                key="b",
                change="updated",
                next_before=START + HOUR,
                next_after=START + 30 * MINUTE,
            ),
            ScheduleChange(key="d", change="created", next_after=START + HOUR),
            ScheduleChange(key="c", change="removed", next_before=START + HOUR),
        )
        dry = await running.engine.reload(dry=True)
        assert dry.schedules == expected
        assert set(await keys(running)) == {"a", "b", "c", "own"}
        done = await running.engine.reload(dry=False)
        assert (done.schedules, done.restart) == (expected, ())
        assert await keys(running) == {
            "a": Origin.FILE,
            "b": Origin.FILE,
            "d": Origin.FILE,
            "own": Origin.API,
        }
        again = await running.engine.reload(dry=True)
        assert {change.change for change in again.schedules} == {"unchanged"}
        await pass_time(running, file.home, 30 * MINUTE)
        assert len(await fired(running, own)) == 0


async def test_a_file_that_cannot_be_followed_changes_nothing(file: File) -> None:
    file.write(entry("a"))
    async with file.daemon() as running:
        before = await running.engine.schedules.get(ScheduleKey("a"))
        for bad in (
            entry("b") + entry("a", "0 25 * * *"),
            entry("b") + entry("a").replace("URL", "http://127.0.0.1:9/"),
            "[[schedules]",
            entry("a") + entry("a"),
            entry("b") + entry("a", start="2099-01-01T00:00:00Z"),
        ):
            file.write(bad)
            with pytest.raises(ConfigInvalid, match=r"lq\.toml:\d+: ") as refused:
                await running.engine.reload(dry=False)
            assert (refused.value.hint or "").startswith("nothing was changed")
            assert list(await keys(running)) == ["a"]
            assert await running.engine.schedules.get(ScheduleKey("a")) == before


async def test_a_reload_says_what_waits_for_a_restart(file: File) -> None:
    async with file.daemon() as running:
        file.head = 'log_level = "debug"\n' + file.head
        file.write("[queues.mail]\nconcurrency = 2\n[history]\nkeep = '1d'\n" + entry("a"))
        done = await running.engine.reload(dry=False)
        assert done.restart == ("log_level", "history.keep")
        assert (await running.engine.queues.get("mail")).settings.concurrency == 2
        assert [change.change for change in done.schedules] == ["created"]


async def test_a_key_of_the_api_is_left_alone(file: File, caplog: pytest.LogCaptureFixture) -> None:
    async with file.daemon() as running:
        own = await make(running, file.home, "@daily", key="k")
        file.write(entry("k"))
        with caplog.at_level(logging.WARNING):
            (dry,) = (await running.engine.reload(dry=True)).schedules
            assert (dry.change, caplog.text) == ("conflict", "")
            (change,) = (await running.engine.reload(dry=False)).schedules
        assert (change.key, change.change) == ("k", "conflict")
        assert "schedule k is left alone" in caplog.text
        assert await running.engine.schedules.get(ById(own.id)) == own
    async with file.daemon() as running:
        assert (await running.engine.schedules.get(ById(own.id))).origin is Origin.API


async def test_what_the_file_sets_the_api_does_not_change(file: File) -> None:
    file.write(entry("k"))
    async with file.daemon() as running:
        schedules = running.engine.schedules
        found = await schedules.get(ScheduleKey("k"))
        line = file.head.count("\n") + 1
        edit = ScheduleEdit(spec={"rule": "@daily"})
        for verb in (
            lambda: schedules.edit(ScheduleKey("k"), edit, allowed),
            lambda: schedules.delete(ScheduleKey("k")),
            lambda: make(running, file.home, "@daily", key="k"),
        ):
            with pytest.raises(Conflict, match=rf"is set by .*lq\.toml:{line}$"):
                await verb()  # type: ignore[no-untyped-call]  # mypy does not infer lambdas in a tuple
        assert await schedules.get(ScheduleKey("k")) == found
        paused = await schedules.pause(ScheduleKey("k"))  # that is for people
        assert paused.paused
        (change,) = (await running.engine.reload(dry=False)).schedules
        assert change.change == "unchanged"
    async with file.daemon() as running:
        assert (await running.engine.schedules.get(ScheduleKey("k"))).paused
        file.write(entry("k", paused="false"))
        await running.engine.reload(dry=False)
        resumed = await running.engine.schedules.get(ScheduleKey("k"))
        assert (resumed.paused, resumed.next_at) == (False, START + HOUR)


async def test_a_pause_that_the_file_sets_is_changed_there(file: File) -> None:
    file.write(entry("rests", paused="true") + entry("goes", paused="false"))
    async with file.daemon() as running:
        schedules = running.engine.schedules
        line = file.head.count("\n") + 1
        with pytest.raises(Conflict, match=rf"has paused = true in .*lq\.toml:{line}$"):
            await schedules.resume(ScheduleKey("rests"))
        with pytest.raises(Conflict, match=rf"has paused = false in .*lq\.toml:{line + 6}$"):
            await schedules.pause(ScheduleKey("goes"))
        assert (await schedules.pause(ScheduleKey("rests"))).paused  # as it is
        assert not (await schedules.resume(ScheduleKey("goes"))).paused
        await schedules.run_now(ScheduleKey("rests"))
        file.write(entry("rests") + entry("goes"))
        await running.engine.reload(dry=False)
        assert not (await schedules.resume(ScheduleKey("rests"))).paused
        assert (await schedules.pause(ScheduleKey("goes"))).paused


async def test_a_file_says_for_ever_and_words_in_any_case(file: File) -> None:
    until = "9999-12-31T23:59:59Z"
    file.write(entry("k", until=until, misfire='"SKIP"', overlap='"Skip"', expires='"3653d"'))
    async with file.daemon() as running:
        spec = (await running.engine.schedules.get(ScheduleKey("k"))).spec
    assert (spec.until_at, spec.misfire, spec.overlap) == (MAX_AT, Misfire.SKIP, Overlap.SKIP)
    assert spec.push.expires_ms == MAX_MS


async def test_a_new_payload_in_the_file_moves_no_next_run(file: File) -> None:
    file.write(entry("k", "E=1h"))
    async with file.daemon() as running:
        file.home.clock.advance(20 * MINUTE)
        file.write(entry("k", "E=1h", payload='"new"'))
        (change,) = (await running.engine.reload(dry=False)).schedules
        assert (change.change, change.next_after) == ("updated", START + HOUR)


async def test_an_entry_without_any_target_waits_for_one(file: File) -> None:
    text = entry("k").replace('target = "URL"\n', "")
    file.write(text)
    async with file.daemon() as running:
        paused = await running.engine.schedules.get(ScheduleKey("k"))
        assert (paused.paused, paused.next_at) == (True, None)
        assert paused.reason == "it names no target, and queue 'q' has no default target"
        (change,) = (await running.engine.reload(dry=True)).schedules
        assert "no default target" in (change.note or "")
        await running.engine.queues.edit("q", QueueEdit(target=file.home.handler.url()))
        (change,) = (await running.engine.reload(dry=False)).schedules
        assert (change.change, change.next_after) == ("updated", START + HOUR)
        await running.engine.queues.edit("q", QueueEdit(target=None))
        await running.engine.reload(dry=False)
        assert (await running.engine.schedules.get(ScheduleKey("k"))).paused
        file.write(entry("k"))
        await running.engine.reload(dry=False)
        going = await running.engine.schedules.get(ScheduleKey("k"))
        assert (going.paused, going.reason, going.next_at) == (False, None, START + HOUR)


async def test_reloads_at_once_end_with_the_last_file(file: File) -> None:
    async with file.daemon() as running:
        reloads = []
        for n in range(8):
            file.write(entry("k", f"0 {n} * * *"))
            reloads.append(asyncio.create_task(running.engine.reload(dry=False)))
            await asyncio.sleep(0)
        await asyncio.gather(*reloads)
        assert (await running.engine.schedules.get(ScheduleKey("k"))).spec.rule == "0 7 * * *"


async def test_a_reload_that_cannot_be_stored_changes_nothing(file: File) -> None:
    disks: list[Disk] = []

    async def open_store(folder: Path) -> Store:
        store, disk = await Disk.open(folder)
        disks.append(disk)
        return store

    file.write(entry("a"))
    async with daemon(file.load(), file.home.clock, open_store, file.load) as running:
        disks[0].pages = 1
        file.write("".join(entry(f"k{n}", payload=f'"{"x" * 3000}"') for n in range(20)))
        with pytest.raises(StorageFull):
            await running.engine.reload(dry=False)
        assert list(await keys(running)) == ["a"]
        disks[0].pages = None
        await running.engine.reload(dry=False)
        assert len(await keys(running)) == 20


async def test_a_hint_names_what_a_restart_would_see_first(file: File) -> None:
    async with file.daemon() as running:
        file.head = file.head.replace("[egress]\nallow = [", '[egress]\nallow = ["127.0.0.1:9", ')
        file.write(entry("k").replace("URL", "http://127.0.0.1:9/"))
        with pytest.raises(Conflict) as refused:
            await running.engine.reload(dry=False)
        assert "egress.allow" in (refused.value.hint or "")


async def test_a_paused_schedule_says_so_at_a_reload(file: File) -> None:
    file.write(entry("k", paused="true"))
    async with file.daemon() as running:
        file.write(entry("k"))
        (change,) = (await running.engine.reload(dry=False)).schedules
        assert change.note == "it is paused: lq schedules resume k"


async def test_a_start_with_a_target_that_may_not_be_called_is_refused(file: File) -> None:
    file.write(entry("k").replace("URL", "http://127.0.0.1:9/"))
    with pytest.raises(BaseExceptionGroup) as refused:
        async with file.daemon():
            pass
    reason = refused.value.subgroup(ConfigError)
    assert reason is not None
    assert "lq.toml:6" in str(reason.exceptions[0])


MISTAKES = {
    'key = "a"\nschedule = "@daily"': (1, "queue: is missing"),
    'schedule = "@daily"\nqueue = "q"': (1, "key: is missing"),
    'key = "a"\nqueue = "q"': (1, "schedule: is missing"),
    'key = "a"\nschedule = "0 24 * * *"\nqueue = "q"': (3, "schedule: "),
    'key = "a"\nschedule = "@daily"\nqueue = "q"\ntimezone = "Mars/Base"': (5, "Mars/Base"),
    'key = "a"\nschedule = "@daily"\nqueue = "q"\ntarget = "ftp://x"': (5, "expected a URL"),
    'key = "a"\nschedule = "@daily"\nqueue = "q"\ntimzone = "UTC"': (5, "did you mean timezone?"),
    'key = "a"\nschedule = "@daily"\nqueue = "q"\ntimes = 0': (5, "expected an integer from 1"),
    'key = "a"\nschedule = "@daily"\nqueue = "q"\nstart = 2027-01-01': (5, "start: "),
    'key = "a"\nschedule = "@daily"\nqueue = "q"\nstart = 2027-01-01T00:00:00': (5, "start: "),
    'key = "a"\nschedule = "@daily"\nqueue = "q"\nuntil = "tomorrow"': (5, "RFC 3339"),
    'key = "a"\nschedule = "@daily"\nqueue = "q"\nstart = 1969-12-31T00:00:00Z': (5, "from 1970"),
    'key = "a"\nschedule = "@daily"\nqueue = "q"\npayload = { a = [nan] }': (5, "holds nan or inf"),
    'key = "a"\nschedule = "@daily"\nqueue = "q"\nexpires = "0s"': (5, "from 1ms to 3653d"),
    f'key = "sch_{"0" * 32}"\nschedule = "@daily"\nqueue = "q"': (2, "a schedule's id"),
    'key = "a"\nschedule = "@daily"\nqueue = "q"\npayload = { at = 2027-01-01 }': (5, "a date"),
    'key = "a"\nschedule = "@daily"\nqueue = "q"\npaused = 1': (5, "true or false"),
    'key = "a"\nschedule = "@daily"\nqueue = "q"\nmisfire = "never"': (5, '"once" or "skip"'),
    'key = "a"\nschedule = "@daily"\nqueue = "q"\nlabels = ["a,b"]': (5, "a list of words"),
    f'key = "a"\nschedule = "@daily"\nqueue = "q"\ntimezone = "{"A/" * 600}B"': (5, "time zone"),
    'key = ""\nschedule = "@daily"\nqueue = "q"': (2, "key: "),
    'key = "a"\nschedule = "@daily"\nqueue = "a/items"': (4, "items"),
    (
        'key = "a"\nschedule = "@daily"\nqueue = "q"\n'
        "start = 2027-02-01T00:00:00Z\nuntil = 2027-01-01T00:00:00Z"
    ): (6, "must be after start"),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    line, says = MISTAKES[text]
    path = tmp_path / "lq.toml"
    path.write_text(f"[[schedules]]\n{text}\n")
    with pytest.raises(ConfigError) as refused:
        load(str(path), {})
    assert str(refused.value).startswith(f"{path}:{line}: [[schedules]] ")
    assert says in str(refused.value)


def test_a_payload_is_no_larger_than_those_that_are_pushed(tmp_path: Path) -> None:
    path = tmp_path / "lq.toml"
    text = entry("a", payload='"12345678901"').replace("URL", "https://example.com")
    path.write_text("max_payload = 10\n" + text)
    with pytest.raises(ConfigError, match=r":2: \[\[schedules\]\] payload: is larger than"):
        load(str(path), {})


@pytest.mark.parametrize("text", ["schedules = 1", "[schedules]\nkey = 'a'", "schedules = [1]"])
def test_schedules_are_tables(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lq.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"expected tables \[\[schedules\]\]"):
        load(str(path), {})


def test_of_two_entries_with_one_key_the_second_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lq.toml"
    path.write_text(entry("a").replace("URL", "https://example.com") * 2)
    with pytest.raises(ConfigError, match=r":7: \[\[schedules\]\] key: 'a' is taken by .*:1$"):
        load(str(path), {})


async def test_a_schedule_of_the_file_tells_its_line(file: File) -> None:
    file.write(entry("hourly") + entry("daily", "@daily", paused="true"))
    async with file.daemon() as running:
        schedules = running.engine.schedules
        mine = await make(running, file.home, "@daily")
        assert schedules.file_origin(mine) is None
        hourly = await schedules.get(ScheduleKey("hourly"))
        first = file.head.count("\n") + 1
        assert schedules.file_origin(hourly) == FileOrigin(f"{file.path}:{first}")
        daily = await schedules.get(ScheduleKey("daily"))
        assert schedules.file_origin(daily) == FileOrigin(f"{file.path}:{first + 5}", paused=True)
