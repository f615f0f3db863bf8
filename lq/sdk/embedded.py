"""The verbs of a client, carried out by an lq inside this process.

The one door from the SDK to the daemon's code, opened when an orchestrator with `db=` is: an app
that talks to a daemon loads none of it.

Owns: `sqlite:` addresses, and turning runs into the calls that handlers know. Options and answers
are read and written as the API does it, so that an app can move to a daemon and back.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, Unpack
from urllib.parse import quote

from msgspec.json import decode
from msgspec.structs import replace

from lq import wire
from lq.client.errors import api_error
from lq.client.options import option_headers
from lq.client.verbs import ByKey, Json, Ref
from lq.errors import PayloadTooLarge, RequestError, ValidationError
from lq.model import (
    ById,
    Outcome,
    OutcomeKind,
    Pushed,
    PushOutcome,
    Run,
    Schedule,
    ScheduleFilter,
    ScheduleKey,
)
from lq.model import ByKey as StoredKey
from lq.sdk.http import Request, Response
from lq.when import format_instant

if TYPE_CHECKING:
    from lq.client import PushOptions, ScheduleOptions
    from lq.daemon.engine import Engine

T = TypeVar("T")

CarryOut = Callable[[Request], Awaitable[Response]]

_MAX_BODY: Final = 64 * 1024
_MAX_REASON: Final = 200
_FORMS: Final = (
    '"sqlite:///jobs.db", "sqlite:////srv/app/jobs.db" for an absolute path, or "sqlite://" for'
    " memory"
)


def read_place(db: str) -> Path | None:
    """The file that a `sqlite:` address names; None for memory. Raises: ValidationError."""
    if db in {"sqlite://", "sqlite:///:memory:", ":memory:"}:
        return None
    scheme, found, rest = db.partition(":///")
    if not found or scheme != "sqlite" or not rest:
        # Addresses of other databases hold passwords: only their scheme is repeated.
        raise ValidationError.of("db", f"expected {_FORMS}, got {db.partition(':')[0]!r}…")
    if "?" in rest or "\0" in rest or rest.endswith("/"):
        raise ValidationError.of("db", f"expected {_FORMS}; it takes no options")
    return Path(rest)


class EmbeddedClient:
    """As `AsyncClient`, as far as an orchestrator needs it. Opened and closed in one event loop.

    Nothing is sent twice in here, so there are no idempotency keys.
    """

    def __init__(
        self,
        place: Path | None,
        handlers: Mapping[str, CarryOut],
        *,
        concurrency: int | None = None,
        drain_timeout_ms: int | None = None,
    ) -> None:
        """Shape: what is None has the default of the daemon's configuration."""
        from lq.config import Config, Dispatch
        from lq.daemon.embedded import Embedded

        folder = Path() if place is None else place.parent
        dispatch = Dispatch()
        if concurrency is not None:
            dispatch = replace(dispatch, concurrency=concurrency, queue_concurrency=concurrency)
        if drain_timeout_ms is not None:
            dispatch = replace(dispatch, drain_timeout_ms=drain_timeout_ms)
        self._config = Config(data_dir=folder, socket=folder / "lq.sock", dispatch=dispatch)
        self._lq = Embedded(
            place, {name: _handler(call) for name, call in handlers.items()}, self._config
        )

    async def open(self) -> None:
        """Raises: InUse when another process has the file open, DataError, StartError."""
        await self._lq.open()

    async def close(self) -> None:
        """Let what runs end, and give back what does not end in time."""
        await self._lq.close()

    @property
    def is_open_here(self) -> bool:
        """Whether verbs can be used, in this event loop."""
        return self._lq.is_open_here

    async def push(
        self,
        queue: str,
        payload: bytes = b"",
        *,
        idempotency_key: None = None,
        **options: Unpack[PushOptions],
    ) -> Json:
        headers = option_headers(options)

        def verb(engine: Engine) -> Awaitable[Pushed]:
            self._check_size(payload)
            return engine.push(wire.decode_push(queue, _raw(headers), payload))

        return _json(wire.encode_pushed(await self._do(verb), _hide_nothing))

    async def item(self, ref: Ref) -> Json:
        job = await self._do(lambda engine: engine.get(_stored(ref)))
        return _json(wire.encode_full_item(job, _hide_nothing))

    async def cancel(self, ref: Ref) -> Json:
        job = await self._do(lambda engine: engine.cancel(_stored(ref)))
        return _json(wire.encode_item(job, _hide_nothing))

    async def attempts(self, ref: str) -> list[Json]:
        found = await self._do(lambda engine: engine.attempts(ById(ref)))
        return list(_json(wire.encode_attempts(found, ()))["attempts"])

    async def create_schedule(
        self,
        rule: str,
        queue: str,
        payload: bytes = b"",
        *,
        idempotency_key: None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Json:
        headers = {"x-lq-schedule": rule, "x-lq-queue": queue, **option_headers(options)}
        now = _now()

        def verb(engine: Engine) -> Awaitable[tuple[Schedule, PushOutcome]]:
            self._check_size(payload)
            spec = wire.decode_schedule(_raw(headers), payload, now)
            return engine.schedules.create(spec, lambda _: None)

        schedule, outcome = await self._do(verb)
        return _json(wire.encode_schedule(schedule, now, _hide_nothing, outcome))

    async def schedule(self, ref: str) -> Json:
        found = await self._do(lambda engine: engine.schedules.get(_schedule_ref(ref)))
        return _json(wire.encode_full_schedule(found, _now(), _hide_nothing))

    async def delete_schedule(self, ref: str) -> Json:
        found = await self._do(lambda engine: engine.schedules.delete(_schedule_ref(ref)))
        return _json(wire.encode_schedule(found, _now(), _hide_nothing))

    async def schedules(self, *, limit: int = 100, cursor: str | None = None) -> Json:
        wanted = ScheduleFilter(limit=limit, cursor=cursor)
        page = await self._do(lambda engine: engine.schedules.list(wanted))
        return _json(wire.encode_schedules(page, _now(), _hide_nothing))

    async def _do(self, verb: Callable[[Engine], Awaitable[T]]) -> T:
        """Raises: ApiError, as a daemon's refusal is one."""
        engine = self._lq.core.engine
        try:
            return await verb(engine)
        except RequestError as error:
            answer = _json(wire.encode_error(error, ""))
            raise api_error(error.status, answer, {}) from error

    def _check_size(self, payload: bytes) -> None:
        if len(payload) > self._config.max_payload:
            raise PayloadTooLarge(f"a payload has at most {self._config.max_payload} bytes")


def _handler(carry_out: CarryOut) -> Callable[[Run], Awaitable[Outcome]]:
    async def handle(run: Run) -> Outcome:
        return _outcome(await carry_out(_request(run)))

    return handle


def _request(run: Run) -> Request:
    """A run as the call that a daemon would make; unsigned, since it comes from within."""
    job = run.job
    headers = {
        "x-lq-id": job.id,
        "x-lq-queue": quote(job.queue, safe=""),
        "x-lq-attempt": str(job.attempt),
        "x-lq-max-attempts": str(job.max_attempts),
    }
    optional = {
        "x-lq-key": None if job.key is None else quote(job.key, safe=""),
        "Content-Type": job.content_type,
        "traceparent": job.traceparent,
        "tracestate": job.tracestate,
    }
    if job.firing is not None:
        at = job.created_at if job.firing.at is None else job.firing.at
        headers |= {"x-lq-schedule": job.firing.schedule, "x-lq-fire-time": format_instant(at)}
        headers["x-lq-missed"] = str(job.firing.missed)
    headers |= {name: text for name, text in optional.items() if text is not None}
    headers |= job.headers
    return Request(job.method, "/", tuple(headers.items()), job.payload or b"")


def _outcome(response: Response) -> Outcome:
    """What an answer means, as protocol.md has it."""
    said = {name.lower(): text for name, text in response.headers}
    kind, error = OutcomeKind.SUCCEEDED, None
    if not 200 <= response.status < 300:
        final = response.status == 410 or said.get("x-lq-retry") == "no"
        kind = OutcomeKind.REJECTED if final else OutcomeKind.FAILED
        error = _reason(response.body) or f"status {response.status}"
    wait_s = said.get("retry-after", "")
    return Outcome(
        kind=kind,
        error=error,
        headers={"Content-Type": said["content-type"]} if "content-type" in said else {},
        body=response.body[:_MAX_BODY],
        truncated=len(response.body) > _MAX_BODY,
        retry_after_ms=int(wait_s) * 1000 if wait_s.isdecimal() else None,
    )


def _reason(body: bytes) -> str:
    text = " ".join(body[:1000].decode("utf-8", "replace").split())
    return "".join(c if c.isprintable() else " " for c in text)[:_MAX_REASON].strip()


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), text.encode()) for name, text in headers.items()]


def _stored(ref: Ref) -> ById | StoredKey:
    return StoredKey(*ref) if isinstance(ref, ByKey) else ById(ref)


def _schedule_ref(ref: str) -> ById | ScheduleKey:
    return ById(ref) if ref.startswith("sch_") else ScheduleKey(ref)


def _hide_nothing(queue: str) -> tuple[str, ...]:
    return ()


def _now() -> int:
    return time.time_ns() // 1_000_000


def _json(document: bytes) -> Json:
    found: Json = decode(document)
    return found
