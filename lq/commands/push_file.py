"""Pushing a file of lines, in batches, so that it can be stopped anywhere and gone on with.

Owns: the account beside the file (how far it was acknowledged, and what was sent after that), the
file of failures, the progress and the summary. Never looks into a line: the daemon judges it.

Invariant: the account is on the disk before what it tells of is sent, and each batch is sent under
an idempotency key that follows from it. So a line is pushed once, whatever ends the command.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import hashlib
import io
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import typer

from lq.client import ApiError, Client, Json
from lq.commands import common
from lq.commands.failure import NEGATIVE
from lq.errors import IdempotencyInProgress, LqError

STDIN = "-"
MOST_LINES = 1000
MOST_BYTES = 4 << 20
MOST_TRIES = 20
KEPT_MS = 23 * 3_600_000  # the daemon remembers a batch for 24 hours

_MOVING = {"on", "expires"}  # the same words mean another instant at each start


@dataclass
class Account:
    """How far a file was pushed.

    Shape: `pending` bytes from `offset` on were sent last, at `at`.
    """

    run: str
    to: list[str]
    options: dict[str, Any]
    failures: str
    offset: int = 0
    line: int = 0
    pending: int = 0
    at: int = 0
    digest: str = hashlib.sha256().hexdigest()
    failed_bytes: int = 0  # of the file of failures: those of what was acknowledged
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("created", "replaced", "kept", "failed"), 0)
    )


def push_file(
    client: Client,
    queue: str,
    source: str,
    options: dict[str, Any],
    *,
    failures: Path | None,
    as_json: bool,
) -> None:
    """Push each line of a file, and say what became of them; exit with 1 when any failed."""
    gc.enable()  # this can take long, and the entry point turned it off
    name = "stdin" if source == STDIN else source
    named = failures is not None
    failures = failures or Path(f"{name}.failures.jsonl")
    fresh = Account(os.urandom(8).hex(), [client.where, queue], options, str(failures))
    with _opened(source) as stream:
        status = os.fstat(stream.fileno())
        if failures.exists() and os.path.samestat(failures.stat(), status):
            raise typer.BadParameter("is the file that is pushed", param_hint="--failures")
        regular = stat.S_ISREG(status.st_mode)
        account = Path(f"{source}.lq-state") if regular and source != STDIN else None
        pusher = FilePusher(client, queue, stream, fresh, account, replace=not named)
        try:
            with _shown(stream if regular else None, pusher):
                pusher.run()
        except (LqError, KeyboardInterrupt):
            common.note(pusher.how_far())
            raise
    _summarise(pusher, as_json=as_json)


class FilePusher:
    """Pushes one file; `told` is called after each batch."""

    def __init__(
        self,
        client: Client,
        queue: str,
        stream: IO[bytes],
        fresh: Account,
        account: Path | None,
        *,
        replace: bool,
    ) -> None:
        """Shape: without a path for the `account` it cannot be gone on with. `replace` a file of
        failures that an earlier push has left.
        """
        self.state = fresh
        self.failures = Path(fresh.failures)
        self.told: Callable[[], None] = lambda: None
        self._client = client
        self._queue = queue
        self._stream = stream
        self._path = account
        self._replace = replace
        self._digest = hashlib.sha256()

    def run(self) -> None:
        """Push what is left of the file. Raises: LqError, whatever it is that ended it."""
        fresh = self.state
        if self._path is not None:
            self._go_on()
        if self.state is fresh and not self._replace:
            self._refuse_full()
        with _writing(self.failures):
            self._cut_failures()
        for lines in self._batches():
            self.state.pending = sum(map(len, lines))
            self.state.at = common.now()
            self._save()
            self._push(lines, self.state.offset, self.state.line)
            self._acknowledge(lines)
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def how_far(self) -> str:
        """What somebody is told whose push has ended early."""
        if self._path is None:
            return f"The first {self.state.line} lines were pushed."
        return f"{self.state.line} lines are pushed; the same command again goes on after them."

    def _batches(self) -> Iterator[list[bytes]]:
        if self.state.pending:  # the same bytes again, or their key would be another one's
            yield io.BytesIO(self._stream.read(self.state.pending)).readlines()
        lines: list[bytes] = []
        size = 0
        for line in self._stream:
            if lines and (len(lines) == MOST_LINES or size + len(line) > MOST_BYTES):
                yield lines
                lines, size = [], 0
            lines.append(line)
            size += len(line)
        if lines:
            yield lines

    def _push(self, lines: list[bytes], offset: int, first: int) -> None:
        """Push lines as one batch, or in halves where it is too large for the daemon."""
        body = b"".join(lines)
        key = f"{self.state.run}-{offset}-{len(body)}"
        try:
            answer = self._insist(body, key)
        except ApiError as error:
            if error.status != 413:
                raise
            if len(lines) > 1:
                half = len(lines) // 2
                self._push(lines[:half], offset, first)
                self._push(lines[half:], offset + len(b"".join(lines[:half])), first + half)
                return
            told = {"type": error.type, "status": error.status, "message": error.message}
            answer = {"results": [{"line": 1, "error": told}], "failed": 1}
        for name in self.state.counts:
            self.state.counts[name] += answer.get(name, 0)
        failed = [result for result in answer["results"] if "error" in result]
        if failed:
            self._note_failures(failed, lines, first)

    def _insist(self, body: bytes, key: str) -> Json:
        """Push a batch; one that was sent by a command that has ended may be under way still."""
        tries = 0
        while True:
            try:
                return self._client.push_batch(
                    self._queue, body, idempotency_key=key, **self.state.options
                )
            except ApiError as error:
                if error.type != IdempotencyInProgress.type or tries == MOST_TRIES:
                    raise
            tries += 1
            time.sleep(0.5)

    def _note_failures(self, failed: list[Json], lines: list[bytes], first: int) -> None:
        with _writing(self.failures), self.failures.open("ab") as out:
            for result in failed:
                at = result["line"] - 1
                out.write(_failure(first + at + 1, result["error"], lines[at]))
            out.flush()
            os.fsync(out.fileno())

    def _acknowledge(self, lines: list[bytes]) -> None:
        for line in lines:
            self._digest.update(line)
        state = self.state
        state.offset += state.pending
        state.line += len(lines)
        state.digest = self._digest.hexdigest()
        if state.counts["failed"]:
            with _writing(self.failures):
                state.failed_bytes = self.failures.stat().st_size
        state.pending = 0
        self.told()

    def _save(self) -> None:
        """Put the account in the place of the last one, on the disk."""
        if self._path is None:
            return
        beside = self._path.with_name(f"{self._path.name}.new")
        with _writing(self._path):
            with beside.open("w", encoding="utf-8") as out:
                json.dump(asdict(self.state), out)
                out.flush()
                os.fsync(out.fileno())
            beside.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _go_on(self) -> None:
        """Take up the account that is there, if there is one. Raises: LqError."""
        assert self._path is not None
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LqError(f"another lq push is at work on {self._stream.name}") from None
        try:
            found = Account(**json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError) as error:
            raise self._no_account(f"cannot be read ({error})") from None
        if found.to != self.state.to:
            raise self._no_account(f"is of a push to {' '.join(reversed(found.to))}")
        if found.failures != self.state.failures or (
            _lasting(found.options) != _lasting(self.state.options)
        ):
            raise self._no_account("is of a push with other options")
        if found.pending and common.now() - found.at > KEPT_MS:
            raise self._no_account(
                f"is more than a day old: whether the lines from {found.line + 1} on were pushed,"
                " nobody knows any more"
            )
        left = found.offset
        while left and (part := self._stream.read(min(left, 1 << 20))):
            self._digest.update(part)
            left -= len(part)
        if left or self._digest.hexdigest() != found.digest:
            raise self._no_account(f"is of another {self._stream.name}, or of what it was once")
        self.state = found
        if found.line:
            common.note(f"{found.line} lines are pushed already; going on after them.")

    def _no_account(self, why: str) -> LqError:
        return LqError(f"{self._path} {why}", hint="Without that file all lines are pushed anew.")

    def _refuse_full(self) -> None:
        """Refuse to write over a file that somebody has named. Raises: LqError."""
        if self.failures.is_file() and self.failures.stat().st_size:
            raise LqError(
                f"{self.failures} is there already, and is not of a push that goes on",
                hint="Name another file for --failures, or remove it.",
            )

    def _cut_failures(self) -> None:
        """Leave those of what was acknowledged: what follows is told of again."""
        if not self.failures.is_file():  # there may be a device
            return
        if self.state.failed_bytes:
            os.truncate(self.failures, self.state.failed_bytes)
        else:
            self.failures.unlink()


def _opened(source: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    if source == STDIN:
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return Path(source).open("rb")
    except OSError as error:
        why = f"cannot read {source}: {error.strerror}"
        raise typer.BadParameter(why, param_hint="--from-jsonl") from None


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say which file could not be written. Raises: LqError."""
    try:
        yield
    except OSError as error:
        raise LqError(
            f"cannot write {path}: {error.strerror}",
            hint="`--from-jsonl - < FILE` keeps no account, and --failures names another file.",
        ) from None


def _lasting(options: Mapping[str, Any]) -> str:
    return json.dumps({n: v for n, v in options.items() if n not in _MOVING}, sort_keys=True)


def _failure(number: int, error: Json, line: bytes) -> bytes:
    """A line of the file of failures: the entry as it was written, or as text if it is no JSON."""
    entry = line.strip()
    try:
        json.loads(entry, parse_constant=int)  # NaN is no JSON, and int("NaN") a ValueError
    except (ValueError, RecursionError):
        entry = json.dumps(entry.decode(errors="replace")).encode()
    told = json.dumps({"line": number, "error": error}, ensure_ascii=False).encode()
    return told[:-1] + b', "entry": ' + entry + b"}\n"


@contextlib.contextmanager
def _shown(regular: IO[bytes] | None, pusher: FilePusher) -> Iterator[None]:
    """A progress bar on stderr while a person looks. Shape: `regular` is a file with a size."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        *(BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[lines]:,} lines")),
        *(TextColumn("{task.fields[failed]:,} failed"), TimeRemainingColumn()),
    )
    total = None if regular is None else os.fstat(regular.fileno()).st_size
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total, lines=0, failed=0)

        def told() -> None:
            state = pusher.state
            failed = state.counts["failed"]
            progress.update(task, completed=state.offset, lines=state.line, failed=failed)

        pusher.told = told
        yield


def _summarise(pusher: FilePusher, *, as_json: bool) -> None:
    state = pusher.state
    failed = state.counts["failed"]
    if as_json:
        told: Json = {"lines": state.line, **state.counts}
        common.out_json(told | ({"failures": str(pusher.failures)} if failed else {}))
    else:
        counts = ", ".join(f"{number:,} {name}" for name, number in state.counts.items() if number)
        where = f"; see {pusher.failures}" if failed else ""
        common.out(f"{state.line:,} lines: {counts or 'nothing to push'}{where}")
    if failed:
        raise typer.Exit(NEGATIVE)
