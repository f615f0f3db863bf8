"""Backups, fetched in parts, and the hold after one was put back."""

from __future__ import annotations

from lq import wire
from lq.daemon.api.call import NOT_STORED, Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.errors import Conflict, NotFound
from lq.model import Scope
from lq.wire import describe

_PATH = "/api/v1/backup"
_ADMIN = (Scope.ADMIN,)
_READ = (Scope.READ,)


async def begin(call: Call) -> Reply:
    wire.refuse_query(call.query)
    return Reply(wire.encode_backup(call.engine.backups.begin()), 202)


async def show(call: Call) -> Reply:
    wait_ms = wire.decode_backup_query(call.query)
    return Reply(wire.encode_backup(await call.engine.backups.show(wait_ms)))


async def part(call: Call) -> Reply:
    offset = wire.decode_part_query(call.query)
    found = await call.engine.backups.part(offset)
    return Reply(wire.encode_backup_part(found), headers=(NOT_STORED,))


async def forget(call: Call) -> Reply:
    wire.refuse_query(call.query)
    return Reply(wire.encode_backup(call.engine.backups.forget()))


async def hold(call: Call) -> Reply:
    wire.refuse_query(call.query)
    return Reply(wire.encode_hold(call.engine.holding.hold))


async def release(call: Call) -> Reply:
    skip_missed = wire.decode_release(call.query)
    return Reply(wire.encode_released(await call.engine.holding.release(skip_missed=skip_missed)))


_BEGIN = Operation("Begin to make a backup of this moment", {202: "Backup"}, (Conflict,))
_SHOW = Operation("Tell how far the backup is", {200: "Backup"}, (NotFound,), query=describe.BACKUP)
_PART = Operation(
    "Fetch a part of the backup that is ready",
    {200: "BackupPart"},
    (NotFound, Conflict),
    query=describe.BACKUP_PART,
)
_FORGET = Operation("Let go of the backup, whole or not", {200: "Backup"}, (NotFound,))
_HOLD = Operation("Tell whether a restore holds everything back", {200: "Hold"})
_RELEASE = Operation(
    "Let everything start that a restore holds back",
    {200: "Released"},
    (Conflict,),
    query=describe.RELEASE,
)

ROUTES = (
    Route("POST", _PATH, begin, _ADMIN, _BEGIN),
    Route("GET", _PATH, show, _ADMIN, _SHOW),
    Route("DELETE", _PATH, forget, _ADMIN, _FORGET),
    Route("GET", f"{_PATH}/data", part, _ADMIN, _PART),
    Route("GET", "/api/v1/hold", hold, _READ, _HOLD),
    Route("POST", "/api/v1/release", release, _ADMIN, _RELEASE),
)
