"""The signing secrets: which are valid until when, a new one, and the end of the older ones."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from lq.daemon.api.call import Reply
from lq.daemon.panel.pages import with_query
from lq.daemon.panel.routes import Page
from lq.daemon.panel.visit import Visit
from lq.errors import Conflict, RequestError, ValidationError
from lq.when import parse_duration

_OVERLAP: Final = "24h"


async def show(visit: Visit) -> Reply:
    return visit.page("secret.html", secrets=await visit.get("/secret"))


async def ask_rotate(visit: Visit) -> Reply:
    return await _rotation(visit, _OVERLAP)


async def rotate(visit: Visit) -> Reply:
    overlap = visit.form.get("overlap", "").strip()
    try:
        if not overlap:
            raise ValidationError.of("overlap", 'expected 0s to 90d such as "24h"', "required")
        if visit.form.get("present") != _mark(await visit.get("/secret")):
            raise Conflict(
                "the secret was rotated meanwhile",
                hint="if it shall be rotated once more, send the form again",
            )
        await visit.ask("POST", with_query("/secret/rotate", {"overlap": overlap}))
    except RequestError as error:
        return await _rotation(visit, overlap, error)
    if parse_duration(overlap) == 0:
        return visit.go("/secret", "The secret is rotated. No other is valid any more.")
    return visit.go(
        "/secret",
        "The secret is rotated. Give the new one to your handlers before the overlap ends.",
    )


async def ask_revoke(visit: Visit) -> Reply:
    return visit.page("secret_revoke.html", secrets=await visit.get("/secret"))


async def revoke(visit: Visit) -> Reply:
    await visit.ask("POST", "/secret/revoke-old")
    return visit.go("/secret", "Only the newest secret is valid now.")


async def _rotation(visit: Visit, overlap: str, error: RequestError | None = None) -> Reply:
    secrets = await visit.get("/secret")
    return visit.page(
        "secret_rotate.html",
        present=_mark(secrets),
        older=secrets.get("older", []),
        overlap=overlap,
        error=error,
    )


def _mark(secrets: Any) -> str:
    """Which secret is the newest: a form that is sent twice rotates once."""
    return hashlib.sha256(secrets["secret"].encode()).hexdigest()[:16]


PAGES: Final = (
    Page("GET", "/secret", show),
    Page("GET", "/secret/rotate", ask_rotate),
    Page("POST", "/secret/rotate", rotate),
    Page("GET", "/secret/revoke-old", ask_revoke),
    Page("POST", "/secret/revoke-old", revoke),
)
