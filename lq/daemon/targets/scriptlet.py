"""Runs scriptlets: one run in, one Outcome (never an exception) out.

Owns the processes that run, their logs, and what an exit code means. Decides nothing about the job:
whether and when it is tried again is the dispatcher's.

Invariant: what is run is a scriptlet of the configuration, looked at once more; the payload is on
its stdin and in no argument. A process is written down before it runs anything, so that the next
daemon can end it, should this one die.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import os
import pwd
import re
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from lq.daemon.targets.http import printable
from lq.daemon.targets.output import Log, Logs
from lq.daemon.targets.process import Child, ExecFailed, end_leftover
from lq.errors import StorageFull, Unavailable
from lq.model import Job, Outcome, OutcomeKind, Process, Run
from lq.scriptlets import PATH, Scriptlet, name_of, refusal
from lq.when import format_duration, format_instant

_GIVE_UP: Final = 100
_LEFTOVER_S: Final = 10.0
_SAID: Final = 300
_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
_LIMITS: Final = {
    "memory": "RLIMIT_AS",
    "cpu_s": "RLIMIT_CPU",
    "processes": "RLIMIT_NPROC",
    "file_size": "RLIMIT_FSIZE",
}
_INHERITED: Final = ("LANG", "TZ")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


class ScriptletTarget:
    """The way to this machine's own programs."""

    def __init__(
        self,
        find: Callable[[str], Scriptlet | None],
        remember: Callable[[int, Process], Awaitable[bool]],
    ) -> None:
        """Shape: `remember` writes down which process a run is, before it runs anything, unless
        the run is not wanted any more.
        """
        self._find = find
        self._remember = remember
        self._stops: dict[str, asyncio.Event] = {}
        self.logs = Logs()

    async def deliver(self, run: Run) -> Outcome:
        """Run the scriptlet of a run, and say what came of it."""
        job = run.job
        # From the first moment on: who cancels it must not find that nothing runs yet.
        stop = self._stops[job.id] = asyncio.Event()
        try:
            name = name_of(job.target)
            scriptlet = None if name is None else self._find(name)
            if scriptlet is None:
                return _failed(f"exec: ENOENT lq.toml has no scriptlet {name}")
            if reason := await asyncio.to_thread(refusal, scriptlet):
                return _failed(reason)
            user, fault = _user_of(scriptlet)
            if fault is not None:
                return _failed(fault)
            child = await Child.spawn(job.payload or b"")
        except OSError as error:
            return _without(error)
        else:
            with self.logs.open(job.id, job.attempt, scriptlet.max_output) as log:
                return await self._run(_Task(run, scriptlet, user, child, stop), log)
        finally:
            del self._stops[job.id]

    @property
    def running(self) -> tuple[str, ...]:
        """The ids of the jobs whose scriptlets run."""
        return tuple(self._stops)

    def stop(self, job_id: str) -> None:
        """End the run of a job that was cancelled."""
        if job_id in self._stops:
            self._stops[job_id].set()

    async def end_leftovers(self, left: Sequence[tuple[str, Process]]) -> int:
        """End what an earlier daemon has left running; how many there were.

        Shape: the id of each job, and the process that its run was.
        """
        found = await asyncio.gather(
            *(end_leftover(one, _marker(job_id), _LEFTOVER_S) for job_id, one in left)
        )
        return sum(found)

    async def _run(self, task: _Task, log: Log) -> Outcome:
        run, child = task.run, task.child
        try:
            wanted = await self._remember(run.id, child.identity)
        except (StorageFull, Unavailable) as error:
            await child.abandon()
            return Outcome(kind=OutcomeKind.INTERRUPTED, error=error.message)
        except asyncio.CancelledError:
            await _through(child.abandon(), child)
            raise
        if not wanted:
            await child.abandon()
            return _failed("cancelled before it began")
        try:
            await child.pump(lambda data, stderr: log.add(data, stderr=stderr))
            ended = await _until_it_ends(task)
        except ExecFailed as error:
            await child.exited()
            await child.end(_marker(run.job.id))
            return _failed(f"exec: {printable(str(error))}")
        except BaseException:
            # A stop of lq: the run is given back, and nothing of it may go on.
            await _through(child.terminate(task.scriptlet.kill_after_ms / 1000), child)
            await _through(child.end(_marker(run.job.id)), child)
            raise
        await child.end(_marker(run.job.id))
        assert child.code is not None
        return _outcome(child.code, log, ended)


class _Task(NamedTuple):
    """A run and the process that carries it out. Shape: `user` is whom it runs as, if not lq's."""

    run: Run
    scriptlet: Scriptlet
    user: pwd.struct_passwd | None
    child: Child
    stop: asyncio.Event


async def _until_it_ends(task: _Task) -> str | None:
    """Let it run until it ends or has to; why it had to. Raises: ExecFailed."""
    run, scriptlet, child = task.run, task.scriptlet, task.child
    environ = _environ(run, scriptlet, task.user)
    await child.begin(scriptlet.command, environ, **_settings(scriptlet, task.user))
    exiting = asyncio.ensure_future(child.exited())
    stopping = asyncio.ensure_future(task.stop.wait())
    try:
        await asyncio.wait(
            {exiting, stopping},
            timeout=run.job.timeout_ms / 1000,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if exiting.done():
            return None
        why = "cancelled" if stopping.done() else "timeout"
        number = await child.terminate(scriptlet.kill_after_ms / 1000)
    finally:
        exiting.cancel()
        stopping.cancel()
    if why == "timeout":
        why = f"timeout: it ran for more than {format_duration(run.job.timeout_ms)}"
    return f"{why}; ended by {number.name}"


async def _through(work: Awaitable[object], child: Child) -> None:
    """Carry something to its end although this task is cancelled; a second time, at once."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            child.send(signal.SIGKILL)


def _marker(job_id: str) -> str:
    """What the environment of a job's processes has, and of no others."""
    return f"LQ_ITEM_ID={job_id}"


def _environ(run: Run, scriptlet: Scriptlet, user: pwd.struct_passwd | None) -> Mapping[str, str]:
    """The whole environment of a run: nothing of lq's own comes with it."""
    home, name = _who(user)
    return {
        "PATH": PATH,
        "HOME": home,
        "USER": name,
        "LOGNAME": name,
        "SHELL": "/bin/sh",
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        **scriptlet.env,
        **_metadata(run.job),
    }


def _user_of(scriptlet: Scriptlet) -> tuple[pwd.struct_passwd | None, str | None]:
    """Whom a scriptlet runs as, if not as lq's own user; or why that cannot be."""
    if scriptlet.user is None:
        return None, None
    try:
        return pwd.getpwnam(scriptlet.user), None
    except KeyError:
        return None, f"exec: there is no user {scriptlet.user} on this machine any more"


def _who(user: pwd.struct_passwd | None) -> tuple[str, str]:
    """Home and name of a user, or of lq's own, whom a container may not know by a name."""
    with contextlib.suppress(KeyError):
        user = user or pwd.getpwuid(os.geteuid())
    return ("/", str(os.geteuid())) if user is None else (user.pw_dir, user.pw_name)


def _metadata(job: Job) -> Mapping[str, str]:
    found = {
        "LQ_ITEM_ID": job.id,
        "LQ_QUEUE": job.queue,
        "LQ_ATTEMPT": str(job.attempt),
        "LQ_MAX_ATTEMPTS": str(job.max_attempts),
    }
    if job.key is not None:
        found["LQ_KEY"] = job.key
    if job.content_type is not None:
        found["LQ_CONTENT_TYPE"] = job.content_type
    if job.firing is not None:
        at = job.created_at if job.firing.at is None else job.firing.at
        found |= {"LQ_SCHEDULE": job.firing.schedule, "LQ_FIRE_TIME": format_instant(at)}
        if job.firing.missed:
            found["LQ_MISSED"] = str(job.firing.missed)
    return found


def _settings(scriptlet: Scriptlet, user: pwd.struct_passwd | None) -> Mapping[str, Any]:
    """What else the process takes on before it becomes the program."""
    switch = None
    if user is not None and user.pw_uid != os.geteuid():
        groups = [group.gr_gid for group in grp.getgrall() if user.pw_name in group.gr_mem]
        switch = [user.pw_uid, user.pw_gid, sorted({user.pw_gid, *groups})]
    limits = {
        limit: most
        for name, limit in _LIMITS.items()
        if (most := getattr(scriptlet.limits, name)) is not None
    }
    nice = scriptlet.limits.nice
    return {"cwd": scriptlet.cwd, "user": switch, "nice": nice, "limits": limits}


def _outcome(code: int, log: Log, ended: str | None) -> Outcome:
    """What an exit code means; a negative one is the signal that ended the process."""
    kind, error = OutcomeKind.SUCCEEDED, None
    if ended is not None:
        kind, error = OutcomeKind.FAILED, ended
    elif code < 0:
        kind, error = OutcomeKind.FAILED, f"killed by {_signal(-code)}"
    elif code:
        kind = OutcomeKind.REJECTED if code == _GIVE_UP else OutcomeKind.FAILED
        error = f"exit {code}"
    if error is not None and (said := _last_words(log)):
        error += f": {said}"
    log_text = log.both.text if log.stderr.size else b""
    return Outcome(
        kind=kind,
        status=code if code >= 0 else 128 - code,
        error=error,
        body=log.stdout.text,
        log=log_text,
        truncated=log.stdout.cut,
    )


def _signal(number: int) -> str:
    with contextlib.suppress(ValueError):
        name = signal.Signals(number).name
        return f"{name} (cpu_seconds)" if name == "SIGXCPU" else name
    return f"signal {number}"


def _last_words(log: Log) -> str:
    """The end of what it said went wrong, on one line; what it said at all, if it said nothing."""
    said = (log.stderr if log.stderr.size else log.stdout).text[-4 * _SAID :]
    words = printable(_COLOUR.sub("", said.decode("utf-8", "replace")))
    return words if len(words) <= _SAID else f"…{words[1 - _SAID :]}"


def _failed(error: str) -> Outcome:
    return Outcome(kind=OutcomeKind.FAILED, error=error)


def _without(error: OSError) -> Outcome:
    """Nothing was run, because lq itself lacks something, or cannot start anything at all."""
    text = f"lq itself lacks something to run with: {error.strerror}"
    if error.errno in _SHORTAGES:
        return Outcome(kind=OutcomeKind.INTERRUPTED, error=text)
    return _failed(f"exec: {errno.errorcode.get(error.errno or 0, 'EIO')} {error.strerror}")
