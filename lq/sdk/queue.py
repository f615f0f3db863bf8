"""A queue as an app sees it: what it pushes to, and the handler that its jobs call.

Owns: the options of a queue, the type of its payloads, and pushing. Keeps no state of jobs: that
is the daemon's. The environment is read when something is needed from it, not before.
Invariant: what does not fit the type is refused before anything leaves the app.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Generic, Unpack, get_args, overload
from typing import TypeVar as _TypeVar
from urllib.parse import quote

from lq.client import ApiError, ByKey
from lq.client.options import LEFT_OUT
from lq.errors import LqError
from lq.sdk import settings
from lq.sdk.calling import UNKNOWN, read_handler
from lq.sdk.codec import NOTHING, Codec
from lq.sdk.connection import Daemon
from lq.sdk.http import Request, Response
from lq.sdk.job import Job, trace
from lq.sdk.options import Defaults, PushOptions, written
from lq.sdk.receiver import Completion, Receiver
from lq.sdk.sealing import Sealer

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    T = _TypeVar("T")

R = _TypeVar("R")
Json = dict[str, Any]


class Queue(Generic[T]):
    """A queue whose payloads are of type T, as in `Queue[Welcome]("welcome", path="/welcome")`."""

    def __init__(
        self,
        name: str,
        *,
        type: type[T] | None = None,  # noqa: A002 (what it is)
        path: str | None = None,
        target: str | None = None,
        base_url: str | None = None,
        secret: str | Sequence[str] | None = None,
        encrypt: bool = False,
        encryption_key: str | Sequence[str] | None = None,
        completion: Completion = "response",
        url: str | None = None,
        token: str | None = None,
        socket: str | Path | None = None,
        **defaults: Unpack[Defaults],
    ) -> None:
        """Shape: payloads are of the type in brackets, else `type`, else what the handler takes.

        lq calls `target`, or `path` below `base_url` (LQ_BASE_URL); a queue with neither of them
        and no handler leaves it to the daemon where its jobs go. `secret` (LQ_SECRET) and
        `encryption_key` (LQ_ENCRYPTION_KEY) may be several, the newest first. The daemon is at
        `url` (LQ_API_URL) with `token` (LQ_TOKEN), else at the `socket` of this machine.
        `completion` is "response" (the handler's result is the answer of the call), "callback"
        (the call is answered 202 at once, and the result reported when the handler is done) or
        "background" (the same, where the platform answers by itself and stops when the call
        ends). `defaults` are said with each push and schedule that does not say otherwise.
        """
        self.name = name
        self._type: Any = type
        self._path = path
        self._target = target
        self._base_url = base_url
        self._encryption_key = encryption_key
        self._encrypt = encrypt
        self._is_called_back = completion != "response"
        self._daemon = Daemon(url, token, socket)
        self._defaults = written(defaults, Defaults)
        self._secret = secret
        self._known_codec: Codec[T] | None = None
        self._receiver = Receiver(
            name,
            secret=secret,
            encryption_key=encryption_key,
            encrypt=encrypt,
            completion=completion,
            codec=lambda: self._codec,
        )

    def __repr__(self) -> str:
        return f"<Queue {self.name!r}>"

    @property
    def path(self) -> str:
        """Where the handler is mounted: as given, else `/lq/` and the name."""
        return self._path or f"/lq/{quote(self.name)}"

    @property
    def target(self) -> str | None:
        """What lq is to call; None to leave it to the daemon. Raises: SettingMissing."""
        if self._target is not None:
            return self._target
        if self._path is None and self._receiver.handler is None:
            return None
        return settings.base_url(self._base_url) + self.path

    @property
    def secrets(self) -> tuple[str, ...]:
        """What proves that a call is lq's, the newest first. Raises: SettingMissing."""
        return settings.secrets(self._secret)

    # Handling

    @overload
    def handler(self, function: Callable[[Job[T]], R], /) -> Callable[[Job[T]], R]: ...
    @overload
    def handler(self, function: Callable[[T], R], /) -> Callable[[T], R]: ...
    @overload
    def handler(self, function: Callable[[], R], /) -> Callable[[], R]: ...
    def handler(self, function: Callable[..., R], /) -> Callable[..., R]:
        """Let a function run the jobs of this queue, and leave it as it is.

        Shape: it takes the job when its argument is annotated as a Job, or is called `job` and
        not annotated; else it takes the payload. It may be async. Raises: TypeError when it
        takes more, or there is a handler already.
        """
        # A type may be local to the function that this stands in, and known by its name alone.
        self.handle_with(function, sys._getframe(1))
        return function

    def handle_with(self, function: Callable[..., Any], caller: FrameType) -> None:
        """As `handler`, on behalf of a caller: the frame that knows the types of the function."""
        if self._receiver.handler is not None:
            raise TypeError(f"the queue {self.name} has a handler already")
        self._receiver.handler = read_handler(function, caller)
        self._known_codec = None

    async def respond(self, request: Request) -> Response:
        """Answer a call of lq's; a handler that is not async runs in a thread."""
        return await self._receiver.respond(request)

    def respond_sync(self, request: Request) -> Response:
        """`respond` for a server that is not async."""
        return self._receiver.respond_sync(request)

    async def carry_out(self, request: Request) -> Response:
        """Answer a call that comes from this process itself, and is not signed."""
        return await self._receiver.carry_out(request)

    async def drain(self) -> None:
        """Wait for handlers whose calls were answered 202 already, as an app does that stops."""
        await self._receiver.drain()

    # Pushing

    async def push(self, payload: T = NOTHING, **options: Unpack[PushOptions]) -> Json:
        """Add a job, after its payload was held against its type: the item that lq made.

        Raises: PayloadError naming the field that does not fit, ValidationError for an option,
        ApiError when lq refuses it, Unreachable.
        """
        sent, told = self._push(payload, options)
        return await self._daemon.async_client().push(self.name, sent, **told)

    def push_sync(self, payload: T = NOTHING, **options: Unpack[PushOptions]) -> Json:
        """`push` for code that is not async."""
        sent, told = self._push(payload, options)
        return self._daemon.client().push(self.name, sent, **told)

    async def push_many(
        self, payloads: Iterable[T], **options: Unpack[PushOptions]
    ) -> AsyncIterator[Json]:
        """Add a job for each payload, in batches: `index`, and `id` and `outcome` or `error`.

        Shape: `options` are for all of them, so that there is no `key`. Raises: as `push`, but for
        a payload that lq refuses, whose result says so.
        """
        once, entries = self._entries(payloads, options)
        client = self._daemon.async_client()
        async for result in client.push_many(self.name, entries, idempotency_key=once):
            yield result

    def push_many_sync(
        self, payloads: Iterable[T], **options: Unpack[PushOptions]
    ) -> Iterator[Json]:
        """`push_many` for code that is not async."""
        once, entries = self._entries(payloads, options)
        return self._daemon.client().push_many(self.name, entries, idempotency_key=once)

    async def cancel(self, item_id: str | None = None, *, key: str | None = None) -> Json | None:
        """End an unprocessed item by its id or key; None when there is none."""
        return await _found(self._daemon.async_client().cancel(self._ref(item_id, key)))

    def cancel_sync(self, item_id: str | None = None, *, key: str | None = None) -> Json | None:
        """`cancel` for code that is not async."""
        return _found_sync(lambda: self._daemon.client().cancel(self._ref(item_id, key)))

    async def get(self, item_id: str | None = None, *, key: str | None = None) -> Json | None:
        """An item by its id, or the unprocessed one of a key; None when there is none."""
        return await _found(self._daemon.async_client().item(self._ref(item_id, key)))

    def get_sync(self, item_id: str | None = None, *, key: str | None = None) -> Json | None:
        """`get` for code that is not async."""
        return _found_sync(lambda: self._daemon.client().item(self._ref(item_id, key)))

    def _push(self, payload: T, options: PushOptions) -> tuple[bytes, dict[str, Any]]:
        sent, told = self.request(payload, written(options, PushOptions), options.get("key"))
        return sent, trace() | told

    def _entries(
        self, payloads: Iterable[T], options: PushOptions
    ) -> tuple[Any, Iterator[dict[str, Any]]]:
        """The idempotency key of a batch, if one is given, and its entries."""
        if options.get("key") is not None:
            raise TypeError("a key is of one job; push it by itself")
        once = options.pop("idempotency_key", None) or LEFT_OUT

        def entries() -> Iterator[dict[str, Any]]:
            for payload in payloads:
                sent, told = self._push(payload, options)
                yield {"payload": sent, **told}

        return once, entries()

    def request(
        self, payload: T, options: Mapping[str, Any], identity: str | None
    ) -> tuple[bytes, dict[str, Any]]:
        """The body and the options of a push or schedule, defaults filled in.

        Shape: `identity` is its key. Raises: PayloadError, SettingMissing.
        """
        encoded = self._codec.encode(payload)
        if self._encrypt:
            if identity is None:
                identity = options.get("idempotency_key")  # other bytes were another request
            sealer = Sealer(self.name, self._encryption_key)
            encoded = sealer.seal(encoded, "payload", identity)
        told: dict[str, Any] = {**self._defaults, **options}
        if "target" not in told and (target := self.target):
            told["target"] = target
        if encoded.content_type is not None:
            told["content_type"] = encoded.content_type
        if self._is_called_back:
            told["completion"] = "callback"
        return encoded.body, told

    @property
    def daemon(self) -> Daemon:
        """Which daemon it pushes to."""
        return self._daemon

    def _ref(self, item_id: str | None, key: str | None) -> str | ByKey:
        if item_id is not None and key is None:
            return item_id
        if item_id is None and key is not None:
            return ByKey(self.name, key)
        raise TypeError("name the item either by its id or by key=")

    @property
    def _codec(self) -> Codec[T]:
        if self._known_codec is None:
            self._known_codec = Codec(self._payload_type())
        return self._known_codec

    def _payload_type(self) -> Any:
        """What payloads are: by argument, as in `Queue[Welcome]`, or as the handler says."""
        if self._type is not None:
            return self._type
        bases = getattr(type(self), "__orig_bases__", ())
        for alias in (getattr(self, "__orig_class__", None), *bases):
            for kind in get_args(alias):
                if not isinstance(kind, _TypeVar):
                    return kind
        handler = self._receiver.handler
        if handler is None or handler.payload_type is UNKNOWN:
            return Any
        if isinstance(handler.payload_type, str):
            raise LqError(
                f"the type {handler.payload_type} of what the handler of {self.name} takes is not"
                " known at run time: import it outside of TYPE_CHECKING, or give Queue(type=…)"
            )
        return handler.payload_type


async def _found(asked: Any) -> Json | None:
    try:
        item: Json = await asked
    except ApiError as error:
        if error.status != 404:
            raise
        return None
    return item


def _found_sync(ask: Callable[[], Json]) -> Json | None:
    try:
        return ask()
    except ApiError as error:
        if error.status != 404:
            raise
        return None
