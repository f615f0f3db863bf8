"""Scriptlets of a whole daemon: real processes, and everything they may do to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from lq.config import Dispatch
from lq.daemon.main import Daemon
from lq.errors import NotFound, ValidationError
from lq.model import (
    Attempt,
    ById,
    ByKey,
    Firing,
    Job,
    JobFilter,
    Overlap,
    Push,
    QueueEdit,
    QueueSettings,
    RetryPolicy,
    Schedule,
    ScheduleSpec,
    State,
)
from lq.scriptlets import Limits, Scriptlet
from lq.wire import encode_attempts, encode_item, encode_log
from tests.support.handler import GIVE_UP_S
from tests.support.home import Home, eventually, reaches
from tests.support.schedules import MINUTE, SECOND, allowed

ONCE = RetryPolicy(0)
SECONDS = 1000


class Bench:
    """A daemon whose scriptlets are Python programs of the test."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home = home
        self.folder = folder / "programs"
        self.folder.mkdir()
        self.scriptlets: dict[str, Scriptlet] = {}
        self.daemon: Daemon

    def program(self, text: str, name: str = "work", **members: Any) -> Path:
        """A scriptlet that runs this Python, with what is in `members`."""
        path = self.folder / name
        path.write_text(f"#!{sys.executable} -IS\nimport os, sys, time, signal\n{text}\n")
        path.chmod(0o755)
        self.scriptlets[name] = Scriptlet(
            name=name, command=(str(path),), where="lq.toml:1", **members
        )
        return path

    def shell(self, text: str, **members: Any) -> None:
        """The same for a shell script, which any user can run."""
        path = self.program("", **members)
        path.write_text(f"#!/bin/sh\n{text}\n")

    @contextlib.asynccontextmanager
    async def serving(self, **settings: Any) -> AsyncIterator[Daemon]:
        async with self.home.daemon(scriptlets=self.scriptlets, **settings) as daemon:
            self.daemon = daemon
            yield daemon

    async def push(self, name: str = "work", **members: Any) -> Job:
        members.setdefault("payload", b"")
        members.setdefault("retry", ONCE)
        push = Push(**{"queue": "q", "target": f"scriptlet:{name}"} | members)
        return (await self.daemon.engine.push(push)).job

    async def done(self, name: str = "work", **members: Any) -> tuple[Job, Attempt]:
        """Run it: the finished job and its last attempt."""
        job = await self.push(name, **members)

        async def finished() -> bool:
            return (await self.daemon.engine.get(ById(job.id))).finished_at is not None

        await eventually(finished)
        attempts = await self.daemon.engine.attempts(ById(job.id))
        return await self.daemon.engine.get(ById(job.id)), attempts[-1]

    async def writes(self, job: Job, text: bytes) -> None:
        """Return when a job's scriptlet has written this."""

        async def written() -> bool:
            if (await self.daemon.engine.get(ById(job.id))).state is not State.RUNNING:
                return False
            with contextlib.suppress(NotFound):  # it is being started
                part = await self.daemon.engine.logs(ById(job.id), 1, 0, 0)
                return text in part.data
            return False

        await eventually(written)


async def scheduled(daemon: Daemon, **members: Any) -> Schedule:
    """A schedule that runs the scriptlet each minute."""
    push = Push(queue="q", payload=b"", target="scriptlet:work")
    spec = ScheduleSpec(rule="E=1m", push=push, **members)
    made, _ = await daemon.engine.schedules.create(spec, allowed)
    return made


@pytest.fixture
def bench(home: Home, folder: Path) -> Bench:
    return Bench(home, folder)


@pytest.fixture
def public(bench: Bench) -> Iterator[None]:
    """Programs in a folder that other users can read."""
    with tempfile.TemporaryDirectory() as folder:
        bench.folder = Path(folder)
        bench.folder.chmod(0o755)
        yield


async def test_stdout_is_the_result_and_stdin_the_payload(bench: Bench) -> None:
    bench.program("print(sys.stdin.read().upper(), end='')")
    async with bench.serving():
        job, attempt = await bench.done(payload="grüße".encode())
        assert (job.state, job.last_status, job.error) == (State.COMPLETED, 0, None)
        assert (attempt.body, attempt.log, attempt.truncated) == ("GRÜSSE".encode(), b"", False)


async def test_it_is_told_what_it_is_for_and_nothing_of_lqs(bench: Bench) -> None:
    bench.program(
        "print(sorted(os.environ.items())); print(sorted(os.listdir('/proc/self/fd')))",
        env={"BUCKET": "b"},
    )
    os.environ["LQ_CANARY"] = "environment-canary"
    try:
        async with bench.serving():
            job, attempt = await bench.done(queue="ops/ä", key="k/1")
    finally:
        del os.environ["LQ_CANARY"]
    names, files = attempt.body.decode().splitlines()
    environ = dict(eval(names))
    assert environ["LQ_ITEM_ID"] == job.id
    assert (environ["LQ_QUEUE"], environ["LQ_KEY"]) == ("ops/ä", "k/1")
    assert (environ["LQ_ATTEMPT"], environ["LQ_MAX_ATTEMPTS"]) == ("1", "1")
    assert environ["BUCKET"] == "b"
    allowed = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "BUCKET", "LC_CTYPE"}
    assert {name for name in environ if not name.startswith("LQ_")} <= allowed
    assert "canary" not in names
    assert eval(files) == ["0", "1", "2", "3"]


async def test_a_schedule_says_when_it_was_due(bench: Bench) -> None:
    bench.program("print(os.environ['LQ_SCHEDULE'], os.environ['LQ_FIRE_TIME'])")
    async with bench.serving() as daemon:
        schedule = await scheduled(daemon)
        bench.home.clock.advance(MINUTE)

        async def made() -> bool:
            return bool((await daemon.engine.history(JobFilter(schedule=schedule.id))).items)

        await eventually(made)
        [job] = (await daemon.engine.history(JobFilter(schedule=schedule.id))).items
        assert isinstance(job.firing, Firing)
        [attempt] = await daemon.engine.attempts(ById(job.id))
        assert attempt.body.decode().split()[0] == schedule.id


@pytest.mark.parametrize(
    ("program", "state", "status", "error"),
    [
        ("sys.exit(0)", State.COMPLETED, 0, None),
        ("print('half done', file=sys.stderr); sys.exit(1)", State.FAILED, 1, "exit 1: half done"),
        ("print('only this'); sys.exit(75)", State.FAILED, 75, "exit 75: only this"),
        ("sys.exit(127)", State.FAILED, 127, "exit 127"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", State.FAILED, 139, "killed by SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", State.FAILED, 137, "killed by SIGKILL"),
        (
            "print('\\x1b[31mred\\x1b[0m\\x07 <b>', file=sys.stderr); sys.exit(2)",
            State.FAILED,
            2,
            "exit 2: red  <b>",
        ),
    ],
)
async def test_an_exit_code_is_the_outcome(
    bench: Bench, program: str, state: State, status: int, error: str | None
) -> None:
    bench.program(program)
    async with bench.serving():
        job, attempt = await bench.done()
        assert (job.state, job.last_status, job.error) == (state, status, error)
        assert attempt.error == error


async def test_failures_are_retried_and_100_is_final(bench: Bench) -> None:
    bench.program("sys.exit(int(sys.stdin.read()))")
    async with bench.serving() as daemon:
        job = await bench.push(payload=b"3", retry=RetryPolicy(1, (SECOND,)))

        async def failed() -> bool:
            return (await daemon.engine.get(ById(job.id))).failures == 1

        await eventually(failed)
        bench.home.clock.advance(SECOND)
        again = await reaches(daemon, job.id, State.FAILED)
        assert [one.n for one in await daemon.engine.attempts(ById(again.id))] == [1, 2]
        final, _ = await bench.done(payload=b"100", retry=RetryPolicy(5))
        assert (final.state, final.failures, final.error) == (State.FAILED, 1, "exit 100")


async def test_a_great_deal_of_output_keeps_its_beginning_and_its_end(bench: Bench) -> None:
    bench.program(
        "sys.stdout.buffer.write(b'first\\n')\n"
        "for _ in range(256): sys.stdout.buffer.write(b'x' * (1 << 20))\n"
        "sys.stdout.buffer.write(b'\\xff\\x00last')"
    )
    async with bench.serving():
        job, attempt = await bench.done()
        assert job.state is State.COMPLETED
        assert attempt.body.startswith(b"first\nxxx")
        assert attempt.body.endswith(b"xxx\xff\x00last")
        assert len(attempt.body) < 132_000
        assert b" bytes left out]" in attempt.body
        assert attempt.truncated


async def test_both_streams_are_kept_in_their_order(bench: Bench) -> None:
    bench.program(
        "for n in range(3):\n"
        "    print('out', n, flush=True); time.sleep(.05)\n"
        "    print('err', n, file=sys.stderr, flush=True); time.sleep(.05)\n"
    )
    async with bench.serving():
        _, attempt = await bench.done()
        assert attempt.body == b"out 0\nout 1\nout 2\n"
        assert attempt.log == b"out 0\nerr 0\nout 1\nerr 1\nout 2\nerr 2\n"


async def test_a_payload_that_nobody_reads_is_in_nobodys_way(bench: Bench) -> None:
    bench.program("os.close(0); print('done')")
    async with bench.serving():
        job, attempt = await bench.done(payload=b"x" * (1 << 20))
        assert (job.state, attempt.body) == (State.COMPLETED, b"done\n")


async def test_a_time_out_ends_the_group(bench: Bench) -> None:
    bench.program("if child := os.fork(): print(os.getpid(), child, flush=True)\ntime.sleep(600)")
    async with bench.serving():
        job, attempt = await bench.done(timeout_ms=500)
        assert job.error is not None
        assert job.error.startswith("timeout: it ran for more than 500ms; ended by SIGTERM")
        assert job.last_status == 143
        pids = [int(word) for word in attempt.body.split()]
        assert len(pids) == 2
        assert not any(alive(pid) for pid in pids)


async def test_one_that_ignores_sigterm_is_killed(bench: Bench) -> None:
    bench.program(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(600)",
        kill_after_ms=200,
    )
    async with bench.serving():
        job, _ = await bench.done(timeout_ms=500)
        assert job.error == "timeout: it ran for more than 500ms; ended by SIGKILL: deaf"


async def test_leftovers_are_ended_whatever_their_session(bench: Bench) -> None:
    bench.program(
        "for escape in (False, True):\n"
        "    if not (child := os.fork()):\n"
        "        if escape:\n"
        "            os.setsid()\n"
        "            if os.fork(): os._exit(0)\n"
        "        print(os.getpid(), flush=True)\n"
        "        time.sleep(600)\n"
        "time.sleep(.3)"
    )
    async with bench.serving():
        job, attempt = await bench.done()
        assert job.state is State.COMPLETED
        pids = [int(word) for word in attempt.body.split()]
        assert len(pids) == 2
        assert not any(alive(pid) for pid in pids)


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


async def test_a_cancel_ends_it_before_its_key_is_free(bench: Bench) -> None:
    bench.program(
        "def slowly(*_):\n    time.sleep(.3); print('put away', flush=True); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, slowly)\n"
        "print(os.getpid(), flush=True)\n"
        "time.sleep(600) if sys.stdin.read() else None"
    )
    async with bench.serving() as daemon:
        job = await bench.push(key="k", payload=b"wait")
        await bench.writes(job, b"\n")
        cancelled = await daemon.engine.cancel(ByKey("q", "k"))
        assert cancelled.state is State.CANCELLED
        after, attempt = await bench.done(key="k", payload=b"")
        [first] = await daemon.engine.attempts(ById(job.id))
        assert (
            first.error == f"cancelled; ended by SIGTERM: {first.body.decode().split()[0]} put away"
        )
        assert first.ended_at is not None
        assert first.ended_at <= attempt.started_at
        assert after.state is State.COMPLETED


async def test_a_stop_gives_it_back_when_its_time_is_over(bench: Bench) -> None:
    bench.program("print(os.getpid(), flush=True); time.sleep(600)")
    quick = Dispatch(drain_timeout_ms=100)
    async with bench.serving(dispatch=quick) as daemon:
        job = await bench.push()
        await bench.writes(job, b"\n")
        part = await daemon.engine.logs(ById(job.id), None, 0, 0)
    assert not alive(int(part.data))
    bench.program("print('again')")
    async with bench.serving() as daemon:
        done = await reaches(daemon, job.id, State.COMPLETED)
        assert done.failures == 0
        outcomes = [str(one.outcome) for one in await daemon.engine.attempts(ById(job.id))]
        assert outcomes == ["interrupted", "succeeded"]


async def test_its_log_is_followed_while_it_runs(bench: Bench) -> None:
    bench.program(
        "print('gruß', flush=True)\nsys.stdin.read()\n"
        "while not os.path.exists(sys.argv[0] + '.go'): time.sleep(.01)\n"
        "print('end')"
    )
    async with bench.serving() as daemon:
        job = await bench.push()
        await bench.writes(job, b"\n")
        part = await daemon.engine.logs(ById(job.id), None, 0, 0)
        assert (part.data, part.running) == ("gruß\n".encode(), True)
        more = asyncio.create_task(daemon.engine.logs(ById(job.id), 1, part.offset, 30 * SECONDS))
        (bench.folder / "work.go").touch()
        async with asyncio.timeout(GIVE_UP_S):
            rest = await more
        assert rest.data in {b"end\n", b""}
        await reaches(daemon, job.id, State.COMPLETED)
        last = await daemon.engine.logs(ById(job.id), 1, 0, 30 * SECONDS)
        assert (last.data, last.running) == ("gruß\nend\n".encode(), False)
    async with bench.serving() as daemon:  # from the store
        last = await daemon.engine.logs(ById(job.id), 1, 6, 0)
        assert (last.data, last.running) == (b"end\n", False)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda path: path.unlink(), "exec: ENOENT"),
        (lambda path: path.chmod(0o644), "exec: EACCES"),
        (lambda path: path.chmod(0o777), "exec: EPERM"),
        (lambda path: path.parent.chmod(0o777), "exec: EPERM"),
        (lambda path: path.write_text("echo no interpreter"), "exec: ENOEXEC"),
        (lambda path: path.write_text("#!/no/such/thing\n"), "exec: ENOENT"),
        (lambda path: (path.unlink(), path.mkdir()), "exec: EISDIR"),
    ],
)
async def test_a_file_that_is_not_fit_any_more_is_not_run(
    bench: Bench, spoil: Any, error: str
) -> None:
    path = bench.program("print('it ran')")
    async with bench.serving():
        spoil(path)
        job, attempt = await bench.done()
        assert job.error is not None
        assert job.error.startswith(error)
        assert str(path) in job.error or str(path.parent) in job.error or "/no/such" in job.error
        assert attempt.body == b""


async def test_a_program_that_is_being_written_is_no_program_yet(bench: Bench) -> None:
    path = bench.folder / "busy"
    shutil.copy("/bin/true", path)
    path.chmod(0o755)
    bench.scriptlets["busy"] = Scriptlet(name="busy", command=(str(path),), where="lq.toml:1")
    async with bench.serving():
        with path.open("ab"):
            job, _ = await bench.done("busy")
        assert job.error is not None
        assert job.error.startswith("exec: ETXTBSY")
        job, _ = await bench.done("busy")
        assert job.state is State.COMPLETED


async def test_a_folder_that_is_gone_is_said(bench: Bench) -> None:
    bench.program("print(os.getcwd())", cwd="/no/such/folder")
    bench.program("print(os.getcwd())", "homeless", env={"HOME": "/no/such/home"})
    async with bench.serving():
        job, _ = await bench.done()
        assert job.error == "exec: ENOENT /no/such/folder: No such file or directory"
        job, attempt = await bench.done("homeless")
        assert attempt.body == b"/\n"


async def test_only_what_the_configuration_names_is_run(bench: Bench) -> None:
    bench.program("print('it ran')")
    async with bench.serving() as daemon:
        for target in ("scriptlet:other", "scriptlet:", "scriptlet:../work", "scriptlet:work;id"):
            with pytest.raises(ValidationError, match="there is no scriptlet"):
                await bench.push(target.removeprefix("scriptlet:"))
        daemon.engine.scriptlets.follow({})
        with pytest.raises(ValidationError):
            await bench.push()


async def test_a_payload_is_never_an_argument(bench: Bench) -> None:
    bench.program("print(sys.argv[1:], sys.stdin.read())")
    hostile = b"; rm -rf / $(id) `id` && %s \\ ' \" \n"
    async with bench.serving():
        _, attempt = await bench.done(payload=hostile, key="$(id)")
        assert attempt.body == b"[] " + hostile + b"\n"


async def test_limits_are_kept(bench: Bench) -> None:
    bench.program("x = bytearray(1 << 30)", "hog", limits=Limits(memory=256 << 20))
    bench.program("while True: pass", "busy", limits=Limits(cpu_s=1))
    bench.program(
        "open(sys.argv[0] + '.out', 'wb').write(b'x' * 100_000)", "writer",
        limits=Limits(file_size=50_000),
    )  # fmt: skip
    bench.program("print(os.nice(0))", "nice", limits=Limits(nice=7))
    async with bench.serving():
        hog, _ = await bench.done("hog")
        assert hog.error is not None
        assert "MemoryError" in hog.error
        busy, _ = await bench.done("busy")
        assert busy.error in {"killed by SIGXCPU (cpu_seconds)", "killed by SIGKILL"}
        writer, _ = await bench.done("writer")
        assert writer.error is not None
        assert "File too large" in writer.error
        _, attempt = await bench.done("nice")
        assert attempt.body == b"7\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run things as somebody else")
async def test_it_runs_as_another_user(bench: Bench, public: None) -> None:
    bench.shell("id -u; id -g; id -G; echo $USER; pwd", user="nobody")
    async with bench.serving():
        job, attempt = await bench.done()
        assert job.error is None
        nobody = pwd.getpwnam("nobody")
        uid, gid, groups, user, _ = attempt.body.decode().splitlines()
        assert (uid, user) == (str(nobody.pw_uid), "nobody")
        assert gid == groups == str(nobody.pw_gid)


@pytest.mark.skipif(os.geteuid() != 0, reason="processes are counted by user")
async def test_a_fork_bomb_is_bounded(bench: Bench, public: None) -> None:
    bench.shell(
        "for n in $(seq 100); do sleep 600 & echo $n; done",
        user="nobody",
        limits=Limits(processes=20),
    )
    async with bench.serving():
        job, attempt = await bench.done()
        assert "fork" in attempt.log.decode() or job.state is State.COMPLETED
        assert len(attempt.body.split()) <= 20


async def test_many_run_at_once_beside_calls(bench: Bench) -> None:
    bench.program("time.sleep(600)", kill_after_ms=100)
    few = Dispatch(concurrency=2, drain_timeout_ms=0)
    async with bench.serving(dispatch=few) as daemon:
        jobs = [await bench.push() for _ in range(6)]
        for job in jobs:
            await reaches(daemon, job.id, State.RUNNING)
        called = await daemon.engine.push(bench.home.push("/mail", queue="mail"))
        await reaches(daemon, called.job.id, State.COMPLETED)
        await daemon.engine.queues.edit("q", QueueEdit(concurrency=6))
        waiting = await bench.push()
        assert (await daemon.engine.get(ById(waiting.id))).state is State.PENDING


async def test_an_overlap_is_the_schedules_affair(bench: Bench) -> None:
    bench.program("time.sleep(600)", kill_after_ms=100)
    async with bench.serving(dispatch=Dispatch(drain_timeout_ms=0)) as daemon:
        schedule = await scheduled(daemon, overlap=Overlap.SKIP)
        for _ in range(2):
            bench.home.clock.advance(MINUTE)

            async def seen(before: int = bench.home.clock.now()) -> bool:
                return (await daemon.engine.schedules.get(ById(schedule.id))).seen_at >= before

            await eventually(seen)
        [skipped] = (await daemon.engine.history(JobFilter(schedule=schedule.id))).items
        assert skipped.error is not None
        assert skipped.error.startswith("overlap: ")


async def test_what_a_queue_hides_is_hidden(bench: Bench) -> None:
    bench.program("print('private-out'); print('private-err', file=sys.stderr); sys.exit(4)")
    hidden = {"q": QueueSettings(redact=("response",))}
    async with bench.serving(queues=hidden) as daemon:
        job, _ = await bench.done()
        words = daemon.engine.redactions("q")
        part = await daemon.engine.logs(ById(job.id), 1, 0, 0)
        shown = [
            encode_item(job, daemon.engine.redactions),
            encode_attempts(await daemon.engine.attempts(ById(job.id)), words),
            encode_log(part, words),
        ]
        assert all(b"private" not in one and b"[redacted]" in one for one in shown)


async def test_a_process_that_stops_itself_is_ended_all_the_same(bench: Bench) -> None:
    bench.program("os.kill(os.getpid(), signal.SIGSTOP)", kill_after_ms=200)
    async with bench.serving():
        job, _ = await bench.done(timeout_ms=300)
        assert job.error == "timeout: it ran for more than 300ms; ended by SIGKILL"


async def test_one_that_is_cancelled_before_it_began_does_nothing(bench: Bench) -> None:
    bench.program("time.sleep(600)", kill_after_ms=100)
    async with bench.serving() as daemon:
        jobs = [await bench.push(queue=f"q{n}") for n in range(20)]
        for job in jobs:
            await daemon.engine.cancel(ById(job.id))

        async def ended(job: Job) -> bool:
            attempts = await daemon.engine.attempts(ById(job.id))
            return all(one.ended_at is not None for one in attempts)

        for job in jobs:
            await eventually(lambda job=job: ended(job))  # type: ignore[misc]

        async def settled() -> bool:
            await daemon.engine.queues.all()
            return daemon.in_flight == 0

        await eventually(settled)


async def test_a_user_that_is_gone_is_said(bench: Bench) -> None:
    bench.program("", user="nobody-any-more")
    async with bench.serving():
        job, _ = await bench.done()
        assert job.error == "exec: there is no user nobody-any-more on this machine any more"
