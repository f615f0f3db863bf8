"""Schedules: make, look, change, pause, run, and what a rule means."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from lq import firing, wire
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.once import once
from lq.daemon.api.router import Operation, Route
from lq.errors import Conflict, NotFound, TargetNotAllowed
from lq.model import Idempotency, MadeSchedule, Push, PushOutcome, Scope
from lq.wire import describe

_SCHEDULES = "/api/v1/schedules"
_BY_KEY = f"{_SCHEDULES}/byKey/(?P<schedule_key>.*)"
_SCHEDULE = f"{_SCHEDULES}/(?P<schedule>[^/]+)"
_ANY_SCHEDULE = f"{_SCHEDULES}/(?P<schedule>.+)"

# Whoever may push what a schedule pushes may also look after it.
_OWNER = (Scope.PUSH,)
_READER = (Scope.READ, Scope.PUSH)

_PROVEN = frozenset({"validate", "queue", "target"})
"""What decides which endpoint is called, and whether it has to prove itself."""


async def create(call: Call) -> Reply:
    wire.refuse_query(call.query)

    async def act(payload: bytes, asked: Idempotency | None) -> MadeSchedule:
        wanted = wire.decode_schedule(call.request.raw_headers, payload, call.now)
        call.require_push(wanted.push.queue)
        if not wanted.push.validate:
            call.require_trust(wanted.push.queue)
        call.require_scriptlet(wanted.push.target, wanted.push.queue)

        def allowed(push: Push) -> None:
            call.require_push(push.queue)

        return await call.engine.schedules.create_once(wanted, allowed, asked)

    before = call.engine.schedules.made_before
    made = await once(call, ("schedule",), before, act, call.payload)
    status = 201 if made.outcome is PushOutcome.CREATED else 200
    location = ("Location", f"{_SCHEDULES}/{made.schedule.id}")
    return Reply(
        wire.encode_schedule(made.schedule, made.at, call.engine.redactions, made.outcome),
        status,
        (location,),
    )


async def listing(call: Call) -> Reply:
    wanted = wire.decode_schedule_filter(call.query)
    if wanted.queue is not None:
        call.require(Scope.READ, queue=wanted.queue)
    page = await call.engine.schedules.list(replace(wanted, queues=call.principal.queues))
    return Reply(wire.encode_schedules(page, call.now, call.engine.redactions))


async def show(call: Call) -> Reply:
    wire.refuse_query(call.query)
    schedule = await call.engine.schedules.get(call.schedule)
    file = call.engine.schedules.file_origin(schedule)
    return Reply(wire.encode_full_schedule(schedule, call.now, call.engine.redactions, file))


async def edit(call: Call) -> Reply:
    wire.refuse_query(call.query)
    payload = await call.payload()
    wanted = wire.decode_schedule_edit(call.request.raw_headers, payload, call.now)

    def allowed(push: Push) -> None:
        call.require_push(push.queue)
        if wanted.push.keys() & _PROVEN and not push.validate:
            call.require_trust(push.queue)
        if wanted.push.keys() & _PROVEN:
            call.require_scriptlet(push.target, push.queue)

    schedule = await call.engine.schedules.edit(call.schedule, wanted, allowed)
    return Reply(wire.encode_schedule(schedule, call.now, call.engine.redactions))


async def delete(call: Call) -> Reply:
    wire.refuse_query(call.query)
    schedule = await call.engine.schedules.delete(call.schedule)
    return Reply(wire.encode_schedule(schedule, call.now, call.engine.redactions))


async def pause(call: Call) -> Reply:
    wire.refuse_query(call.query)
    schedule = await call.engine.schedules.pause(call.schedule)
    return Reply(wire.encode_schedule(schedule, call.now, call.engine.redactions))


async def resume(call: Call) -> Reply:
    wire.refuse_query(call.query)
    schedule = await call.engine.schedules.resume(call.schedule)
    return Reply(wire.encode_schedule(schedule, call.now, call.engine.redactions))


async def run(call: Call) -> Reply:
    wire.refuse_query(call.query)
    job = await call.engine.schedules.run_now(call.schedule)
    location = ("Location", f"/api/v1/items/{job.id}")
    return Reply(wire.encode_item(job, call.engine.redactions), 201, (location,))


async def upcoming(call: Call) -> Reply:
    wanted = wire.decode_next(call.query)
    times = await call.engine.schedules.next(call.schedule, wanted.count, wanted.after)
    return Reply(wire.encode_times(times))


async def calendar(call: Call) -> Reply:
    wanted = wire.decode_calendar(call.query)
    schedule, month, days = await call.engine.schedules.month(call.schedule, wanted.month)
    spec = schedule.spec
    return Reply(wire.encode_calendar(spec.rule, spec.zone, month, days, call.now))


async def cron(call: Call) -> Reply:
    wanted = wire.decode_cron(call.query, call.now)
    return Reply(await call.engine.schedules.foretell(partial(_explained, wanted, call.now)))


def _explained(wanted: wire.CronQuery, now: int) -> bytes:
    times = firing.times(wanted.rule, wanted.zone, wanted.after, wanted.count)
    return wire.encode_cron(wanted.rule, wanted.zone, times, now)


_BOUND = (NotFound, Conflict)
_SHOW = Operation("Show a schedule", {200: "FullSchedule"}, (NotFound,))
_DELETE = Operation("Forget a schedule; items it has made stay", {200: "Schedule"}, _BOUND)
_EDIT = Operation(
    "Change a schedule: its headers, and a new payload unless the body is empty",
    {200: "Schedule"},
    (*_BOUND, TargetNotAllowed),
    headers=describe.SCHEDULE_EDIT,
    payload=True,
)
_CREATE = Operation(
    "Make a schedule, or update the one with this key; the body is its items' payload",
    {201: "Schedule", 200: "Schedule"},
    (Conflict, TargetNotAllowed),
    headers=describe.SCHEDULE,
    payload=True,
)
_LISTING = Operation("List schedules, by key", {200: "Schedules"}, query=describe.SCHEDULES)
_RUN = Operation(
    "Make an item of a schedule now, besides the planned ones",
    {201: "Item"},
    (*_BOUND, TargetNotAllowed),
)
_PAUSE = Operation("Let a schedule make no more items", {200: "Schedule"}, _BOUND)
_RESUME = Operation("Let a schedule go on from now", {200: "Schedule"}, _BOUND)
_UPCOMING = Operation(
    "List the next times of a schedule", {200: "Times"}, (NotFound,), query=describe.TIMES
)
_CALENDAR = Operation(
    "Count the times of a schedule in a month, day by day",
    {200: "Calendar"},
    (NotFound,),
    query=describe.CALENDAR,
)
_CRON = Operation("Explain a rule without storing it", {200: "Cron"}, query=describe.CRON)

ROUTES = (
    Route("GET", _BY_KEY, show, _READER, _SHOW),  # first: a key may end like another path
    Route("DELETE", _BY_KEY, delete, _OWNER, _DELETE),
    Route("PATCH", _BY_KEY, edit, _OWNER, _EDIT),
    Route("POST", f"{_SCHEDULES}/?", create, _OWNER, _CREATE),
    Route("GET", f"{_SCHEDULES}/?", listing, (Scope.READ,), _LISTING),
    Route("POST", f"{_SCHEDULE}/run", run, _OWNER, _RUN),
    Route("POST", f"{_SCHEDULE}/pause", pause, _OWNER, _PAUSE),
    Route("POST", f"{_SCHEDULE}/resume", resume, _OWNER, _RESUME),
    Route("GET", f"{_SCHEDULE}/next", upcoming, _READER, _UPCOMING),
    Route("GET", f"{_SCHEDULE}/calendar", calendar, _READER, _CALENDAR),
    Route("GET", _ANY_SCHEDULE, show, _READER, _SHOW),
    Route("DELETE", _ANY_SCHEDULE, delete, _OWNER, _DELETE),
    Route("PATCH", _ANY_SCHEDULE, edit, _OWNER, _EDIT),
    Route("GET", "/api/v1/cron/?", cron, (), _CRON),
)
