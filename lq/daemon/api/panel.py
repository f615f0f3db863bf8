"""The way into the panel: links that log in whoever asks for one, once."""

from __future__ import annotations

from lq import wire
from lq.daemon.api.call import NOT_STORED, Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.daemon.sessions import LINK_MS
from lq.errors import Unavailable
from lq.model import Scope


async def link(call: Call) -> Reply:
    wire.refuse_query(call.query)
    sessions = call.engine.sessions
    if sessions.addresses is None:
        raise Unavailable(
            "there is no panel here", hint="[panel] enabled in lq.toml says whether there is"
        )
    outside, here = sessions.addresses()
    code = sessions.link(call.principal)
    shown = wire.encode_panel_link(
        f"{outside}/login#{code}", f"{here}/login#{code}", call.now + LINK_MS
    )
    return Reply(shown, 201, (NOT_STORED,))


_LINK = Operation(
    "Make a link to the panel that logs in whoever opens it, once, as the one who asks",
    {201: "PanelLink"},
    (Unavailable,),
)

ROUTES = (Route("POST", "/api/v1/panel/links", link, (Scope.READ,), _LINK),)
