"""Scriptlets: which there are. They are made, changed and removed in lq.toml alone."""

from __future__ import annotations

import asyncio

from lq import wire
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.model import Scope


async def listing(call: Call) -> Reply:
    wire.refuse_query(call.query)
    # It looks at files.
    return Reply(await asyncio.to_thread(wire.encode_scriptlets, call.engine.scriptlets.all()))


_LISTING = Operation("List the scriptlets of lq.toml", {200: "Scriptlets"})

ROUTES = (Route("GET", "/api/v1/scriptlets/?", listing, (Scope.ADMIN,), _LISTING),)
