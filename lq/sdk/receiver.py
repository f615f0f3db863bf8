"""A call of lq's, step by step: verify, read, run the handler, answer.

Owns: what each way to end means to lq, and reporting it where completion is by callback. Never
retries; that is the daemon's.

Invariant: every call is answered, whatever the handler does; nothing of a body is looked at, and
no address in a header is called, before the signature holds. What only concerns the process (a
KeyboardInterrupt, the cancellation of the call itself) goes through.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from traceback import TracebackException
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from lq.errors import LqError
from lq.sdk import callback, settings, verify
from lq.sdk.calling import UNKNOWN, Handler
from lq.sdk.codec import Codec, Encoded, PayloadError
from lq.sdk.http import METHODS, Request, Response, text
from lq.sdk.job import CURRENT, Job, read_job
from lq.sdk.later import LATER
from lq.sdk.outcomes import Fail, Retry
from lq.sdk.sealing import Sealer, is_sealed
from lq.signature import SignatureError, sign

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger("lq")

Completion = Literal["response", "callback", "background"]

_ACCEPTED = Response(202, (), b"")
_RESULTS = Codec[Any](Any)


class Work(NamedTuple):
    """A call whose handler is to run."""

    handler: Handler
    job: Job[Any]
    sealer: Sealer | None


class Receiver:
    """Answers the calls of one queue."""

    def __init__(
        self,
        queue: str,
        *,
        secret: str | Sequence[str] | None,
        encryption_key: str | Sequence[str] | None,
        encrypt: bool,
        completion: Completion,
        codec: Callable[[], Codec[Any]],
    ) -> None:
        self.handler: Handler | None = None
        self._queue = queue
        self._secret = secret
        self._encryption_key = encryption_key
        self._encrypt = encrypt
        self._completion = completion
        self._codec = codec
        self._own_codec: Codec[Any] | None = None
        self._behind: set[asyncio.Task[Response]] = set()

    async def respond(self, request: Request) -> Response:
        """Answer a call; a handler that is not async runs in a thread."""
        import asyncio

        if (refusal := self._admit(request)) is not None:
            return refusal
        work = self._read(request)
        if isinstance(work, Response):
            address = callback.address(request.one("x-lq-callback"))
            return work if address is None else await asyncio.to_thread(_reported, address, work)
        if self._goes_on(work):
            task = asyncio.create_task(self._run(work))
            self._behind.add(task)
            task.add_done_callback(self._behind.discard)
            return _ACCEPTED
        return await self._run(work)

    def respond_sync(self, request: Request) -> Response:
        """`respond` for a server that is not async."""
        if (refusal := self._admit(request)) is not None:
            return refusal
        work = self._read(request)
        if isinstance(work, Response):
            address = callback.address(request.one("x-lq-callback"))
            return work if address is None else _reported(address, work)
        if self._goes_on(work):
            context = copy_context()
            threading.Thread(target=context.run, args=(self._run_sync, work)).start()
            return _ACCEPTED
        return self._run_sync(work)

    def _goes_on(self, work: Work) -> bool:
        """Whether the handler runs on after the call was answered."""
        if work.job.callback is None or self._completion != "callback":
            return False
        return not settings.freezes()

    async def carry_out(self, request: Request) -> Response:
        """Answer a call that comes from this process itself, and is not signed."""
        work = self._read(request)
        return work if isinstance(work, Response) else await self._run(work)

    async def drain(self) -> None:
        """Wait for the handlers that run on after their calls were answered."""
        import asyncio

        while self._behind:
            await asyncio.wait(self._behind)

    async def _run(self, work: Work) -> Response:
        with _Ending(work) as ending:
            ending.returned(await work.handler.call(work.job))
        if work.job.callback is None:
            return ending.response
        import asyncio

        return await asyncio.to_thread(_reported, work.job.callback, ending.response)

    def _run_sync(self, work: Work) -> Response:
        with _Ending(work) as ending:
            ending.returned(work.handler.call_sync(work.job))
        if work.job.callback is None:
            return ending.response
        return _reported(work.job.callback, ending.response)

    def _admit(self, request: Request) -> Response | None:
        """What to answer whoever is not lq, and its HEAD; None for a call of lq's."""
        now = time.time_ns() // 1_000_000
        if request.method not in METHODS:
            return text(405, f"{request.method} is no call of lq's", ("Allow", ", ".join(METHODS)))
        try:
            secrets = settings.secrets(self._secret)
            if request.method == "HEAD":
                return text(200, "", ("x-lq-signature", sign(secrets[0], b"", now)))
            verify.check(request, secrets, now)
        except SignatureError as error:
            return text(401, str(error))
        except LqError as error:
            return self._unable(error)
        LATER.catch_up()
        return None

    def _read(self, request: Request) -> Work | Response:
        """The work that a call asks for, or why it cannot be done."""
        try:
            return self._work(request)
        except PayloadError as error:
            return self._unfit(request, error)
        except LqError as error:
            return self._unable(error)

    def _work(self, request: Request) -> Work:
        """Raises: PayloadError when the body does not fit, LqError when a setting is missing."""
        handler = self.handler
        if handler is None:
            raise LqError(f"the queue {self._queue} has no handler in this app")
        received = Encoded(request.body, request.one("content-type"))
        sealer = None
        if is_sealed(received.content_type):
            sealer = Sealer(self._queue, self._encryption_key)
            received = sealer.unseal(received, "payload")
        elif self._encrypt:
            raise PayloadError("payload", "is not encrypted, and here all are")
        codec = self._codec()
        payload = codec.decode(*received)
        own = handler.payload_type
        if own is not UNKNOWN and not isinstance(own, str) and own != codec.kind:
            # What it says to take is what it gets, once the payload fits the queue's type.
            self._own_codec = self._own_codec or Codec(own)
            payload = self._own_codec.decode(*received)
        return Work(handler, read_job(request, self._queue, payload), sealer)

    def _unable(self, error: LqError) -> Response:
        log.error("a call of %s cannot be answered: %s", self._queue, error.message)
        return text(500, error.message)

    def _unfit(self, request: Request, error: PayloadError) -> Response:
        """Retried like any failure: what does not fit may fit the version that is deployed next."""
        log.warning("a payload of %s does not fit: %s", self._queue, error.message)
        if is_sealed(request.one("content-type")):
            return text(422, "the payload does not fit; the app's log says where")
        return text(422, error.message)


class _Ending:
    """A block that a handler runs in: it ends with a `response`, whatever the handler raises."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.response = Response(204, (), b"")

    def __enter__(self) -> _Ending:
        self._token = CURRENT.set(self._work.job)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        CURRENT.reset(self._token)
        if error is None or not (isinstance(error, Exception) or _is_of_the_handler(error)):
            return False
        self.response = self._failure(error)
        return True

    def returned(self, result: object) -> None:
        """Keep what the handler returned: as JSON, but text and bytes as they are."""
        if isinstance(result, Response):
            self.response = result
            return
        if result is None:
            return
        try:
            encoded = _RESULTS.encode(result)
        except PayloadError as error:
            # The work is done, and must not be repeated for this.
            log.error("a result of %r is not kept: %s", self._work.job.queue, error.message)
            encoded = _RESULTS.encode(f"not kept: {type(result).__name__} has no form in JSON")
        if self._work.sealer is not None:
            encoded = self._work.sealer.seal(encoded, "result")
        self.response = Response(200, (("Content-Type", str(encoded.content_type)),), encoded.body)

    def _failure(self, error: BaseException) -> Response:
        match error:
            case Fail():
                return text(422, error.reason, ("x-lq-retry", "no"))
            case Retry():
                return text(500, error.reason, *error.headers)
        log.error("the handler of %r failed", self._work.job.queue, exc_info=error)
        name = type(error).__name__
        if self._work.sealer is not None:
            return text(500, f"{name}: the app's log says more")
        # Which is str(error), also where that raises.
        said = str(TracebackException(type(error), error, None))
        return text(500, " ".join(f"{name}: {said}".split()).removesuffix(":"))


def _is_of_the_handler(error: BaseException) -> bool:
    """Whether something that it waited for was cancelled, and not the call itself."""
    import asyncio

    if not isinstance(error, asyncio.CancelledError):
        return False
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return True
    return task is None or not task.cancelling()


def _reported(address: str, response: Response) -> Response:
    """Tell lq by callback what a response says, and answer that it has been told."""
    if 200 <= response.status < 300:
        heard = callback.report(address, "complete", response.headers, response.body)
    else:
        heard = callback.report(address, "fail", response.headers, response.body)
    return _ACCEPTED if heard else response
