"""The addresses of names, asked for off the critical path.

Owns: the threads that wait for the system's resolver, and what it answered lately. Judges no
address: that is done where it is dialled (`connect`).

Invariant: one name is asked for once at a time. A resolver that is dead costs a call to a name
at most ASK_MS, and nothing to calls that need no asking. While it says nothing, a name keeps the
addresses that it had minutes ago.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from aiohttp.abc import AbstractResolver, ResolveResult

from lq.clock import Clock
from lq.daemon.egress import Egress
from lq.when import format_duration

GetAddrInfo = Callable[..., Sequence[tuple[Any, ...]]]

ASK_MS: Final = 5_000
FRESH_MS: Final = 10_000
FAILED_MS: Final = 2_000
# How long good addresses stand in for an answer that does not come.
STALE_MS: Final = 300_000
# More names than are called at once by default: those that hang leave room for others.
MOST_THREADS: Final = 96
_MOST_WAITING: Final = 1_000
_MOST_KNOWN: Final = 10_000
# Want of something of lq's own, which says nothing of a name or of a target.
SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# What a resolver says of a name; its other errors are about itself.
_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})
# aiohttp tries a list of addresses again and again, each time without its first.
_MOST_PER_FAMILY: Final = 4
_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class Unresolved(OSError):
    """A name for which no address could be found; its text says why.

    Shape: `errno` is None, but for want of something of lq's own.
    """


class _Failure(NamedTuple):
    """Why there are no addresses. `final` is whether a resolver said so of this name."""

    text: str
    final: bool = False
    shortage: int | None = None


_Answer = tuple[str, ...] | _Failure
_NO_ANSWER: Final = _Failure(f"the resolver did not answer within {format_duration(ASK_MS)}")


class _Known:
    """What is known of a name. Its times are the monotonic clock's, in seconds."""

    __slots__ = ("answer", "fresh_until", "good", "good_until")

    def __init__(self) -> None:
        self.answer: _Answer = _NO_ANSWER
        self.fresh_until = 0.0
        self.good: tuple[str, ...] = ()
        self.good_until = 0.0


class _Question:
    """A name that is asked for. Its times are the monotonic clock's, in seconds."""

    __slots__ = ("answer", "answered", "host", "started", "until")

    def __init__(self, host: str, until: float) -> None:
        self.host = host
        self.until = until
        self.started = False
        self.answer: _Answer | None = None
        self.answered = asyncio.Event()


class Names(AbstractResolver):
    """What aiohttp asks for addresses. `getaddrinfo` blocks, and may do so for as long as it likes.

    uvloop's own lookups share four threads with all that libuv does, and asyncio's executor is
    waited for when the process ends: hence threads of its own, which nobody waits for.
    """

    def __init__(
        self, egress: Egress, clock: Clock, getaddrinfo: GetAddrInfo = socket.getaddrinfo
    ) -> None:
        self._egress = egress
        self._clock = clock
        self._getaddrinfo = getaddrinfo
        self._loop = asyncio.get_running_loop()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._questions: dict[str, _Question] = {}
        self._waiting: deque[_Question] = deque()
        self._threads = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name, of either family. Raises: Unresolved."""
        addresses = tuple(map(str, self._egress.known(host, port)))
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=family, proto=0, flags=_NUMERIC
            )
            for address in addresses or await self._look_up(host)
        ]

    async def close(self) -> None:
        """Leave the threads that still wait to themselves."""

    async def _look_up(self, host: str) -> tuple[str, ...]:
        now = self._clock.monotonic()
        known = self._known.get(host)
        if known is not None and known.fresh_until > now:
            answer = known.answer
        else:
            answer = await self._ask(host, now)
        if not isinstance(answer, _Failure):
            return answer
        if good := self._good(host):
            return good
        text = f"cannot resolve {host}: {answer.text}"
        raise Unresolved(text) if answer.shortage is None else Unresolved(answer.shortage, text)

    def _good(self, host: str) -> tuple[str, ...]:
        """The addresses that a name had minutes ago, if any."""
        known = self._known.get(host)
        if known is None or known.good_until <= self._clock.monotonic():
            return ()
        self._known.move_to_end(host)
        return known.good

    async def _ask(self, host: str, now: float) -> _Answer:
        """Join the question for a name, or be the first to put it."""
        question = self._questions.get(host)
        if question is None:
            if len(self._waiting) >= _MOST_WAITING:
                return _Failure("too many names wait for the resolver")
            question = _Question(host, now + ASK_MS / 1000)
            self._questions[host] = question
            self._waiting.append(question)
        elif not question.started and question.until <= now:
            question.until = now + ASK_MS / 1000
        self._start_threads(now)
        if not question.started and self._good(host):
            return _NO_ANSWER  # its turn comes when other names let go of a thread
        # The time counts from when it was put, so that only the first call waits for it all.
        if question.until > now:
            await self._clock.wait(question.answered, int((question.until - now) * 1000))
        return question.answer or _NO_ANSWER

    def _start_threads(self, now: float) -> None:
        while self._waiting and self._threads < MOST_THREADS:
            question = self._waiting.popleft()
            if question.until <= now:
                del self._questions[question.host]
                continue
            thread = threading.Thread(target=self._run, args=(question,), daemon=True)
            try:
                thread.start()
            except RuntimeError:  # this machine has no thread left; others end
                self._waiting.appendleft(question)
                return
            question.started = True
            self._threads += 1

    def _run(self, question: _Question) -> None:
        """Ask, on a thread."""
        answer: _Answer = _Failure("the lookup failed")
        try:
            answer = _addresses(self._getaddrinfo, question.host)
        finally:
            with suppress(RuntimeError):  # the loop has gone, and with it whoever asked
                self._loop.call_soon_threadsafe(self._learn, question, answer)

    def _learn(self, question: _Question, answer: _Answer) -> None:
        now = self._clock.monotonic()
        self._threads -= 1
        del self._questions[question.host]
        self._keep(question.host, answer, now)
        question.answer = answer
        question.answered.set()
        self._start_threads(now)

    def _keep(self, host: str, answer: _Answer, now: float) -> None:
        known = self._known.setdefault(host, _Known())
        known.answer = answer
        if not isinstance(answer, _Failure):
            known.fresh_until = now + FRESH_MS / 1000
            known.good, known.good_until = answer, now + STALE_MS / 1000
        else:
            known.fresh_until = now + FAILED_MS / 1000
            if answer.final:
                known.good_until = 0.0
        self._known.move_to_end(host)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)


def _addresses(getaddrinfo: GetAddrInfo, host: str) -> _Answer:
    """Ask the system for the addresses of a name; the first few of each family are kept."""
    try:
        found = getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except UnicodeError:
        return _Failure("not a name that can be resolved", final=True)
    except OSError as error:
        return _Failure(
            error.strerror or "the resolver failed",
            final=isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_NAME,
            shortage=error.errno if error.errno in SHORTAGES else None,
        )
    kept: list[str] = []
    for wanted in (socket.AF_INET6, socket.AF_INET):
        named = dict.fromkeys(
            str(address[0]) for family, _, _, _, address in found if family == wanted
        )
        # What needs a zone can be reached by link-local addresses alone.
        kept += [address for address in named if "%" not in address][:_MOST_PER_FAMILY]
    return tuple(kept) or _Failure("it has no address", final=True)
